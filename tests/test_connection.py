"""What a connection offers to plugins, and what they lend (DESIGN section 4)."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
from pydantic import BaseModel

from flext_plugins import (
    ConfigError,
    Connection,
    DeadlineExceeded,
    Failure,
    FlextError,
    Operation,
    PluginError,
    Refused,
    Service,
    ServiceName,
    Stage,
    events,
    hookimpl,
    options,
)
from flext_plugins.testing import Answer, echo


class LoginSettings(BaseModel):
    service: ServiceName


class Login:
    """Fetches a token through a service that its settings name, and puts it on the request."""

    Settings = LoginSettings
    stage = Stage.AUTH

    def __init__(self, settings):
        self.service = settings.service

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        answer = await connection.request(self.service, "POST", "login", json={"user": "ana"})
        token = (await connection.read(answer)).decode()
        request.headers["Authorization"] = token
        return await send(request)


def token_or_echo(received):
    return Answer(body=b"token-1") if received.path.endswith("/login") else echo(received)


def logging_in(url, **services):
    return {
        "services": {
            name: {"base_url": url, "plugins": {"login": {"service": target}} if target else {}}
            for name, target in services.items()
        }
    }


# request


def test_a_plugin_sends_to_another_service_through_that_services_plugins(
    flext_service, flext_elsewhere, flext_world
):
    seen = []

    class Marks:
        @hookimpl
        def flext_request(self, request, connection):
            request.headers["X-Through"] = connection.service.name
            seen.append((connection.service.name, connection.call.correlation_id))

    flext_elsewhere.answer = token_or_echo
    config = logging_in(flext_service.url, service="tokens")
    config["services"]["tokens"] = {
        "base_url": f"{flext_elsewhere.url}/auth/",
        "plugins": {"marks": {}},
    }
    host = flext_world.host(config, login=Login, marks=Marks)
    with options(correlation_id="c-1"):
        response = flext_world.get(host)

    assert response.json()["headers"]["authorization"] == "token-1"
    (login,) = flext_elsewhere.received
    assert (login.method, login.path, login.body) == ("POST", "/auth/login", b'{"user": "ana"}')
    assert login.headers["x-through"] == "tokens"
    assert seen == [("tokens", "c-1")]


def test_a_service_may_log_in_at_itself(flext_service, flext_world):
    flext_service.answer = token_or_echo
    host = flext_world.host(logging_in(flext_service.url, service="service"), login=Login)

    assert flext_world.get(host).json()["headers"]["authorization"] == "token-1"
    assert flext_service.paths() == ["/login", "/"]
    assert "authorization" not in flext_service.received[0].headers


def test_services_that_log_in_at_each_other_are_a_loop_that_is_named(flext_service, flext_world):
    host = flext_world.host(
        logging_in(flext_service.url, service="b", b="c", c="service"), login=Login
    )

    with pytest.raises(ConfigError, match="service -> b -> c -> service"):
        flext_world.get(host)


def test_only_a_service_that_the_settings_name_can_be_sent_to(flext_service, flext_world):
    class Nosy:
        @hookimpl
        async def flext_request(self, connection):
            await connection.request("other", "GET", "/")

    services = {"service": {"base_url": flext_service.url, "plugins": {"nosy": {}}}}
    host = flext_world.host(
        {"services": {**services, "other": {"base_url": flext_service.url}}}, nosy=Nosy
    )

    with pytest.raises(PluginError, match="'other', which its settings do not name"):
        flext_world.get(host)
    assert flext_service.received == []


def test_and_only_at_that_services_own_origin(flext_service, flext_elsewhere, flext_world):
    class Strays(Login):
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            await connection.request(self.service, "GET", f"{flext_elsewhere.url}/login")
            return await send(request)

    host = flext_world.host(logging_in(flext_service.url, service="service"), login=Strays)
    with pytest.raises(PluginError, match="another origin"):
        flext_world.get(host)
    assert flext_elsewhere.received == []


def test_the_failure_of_another_service_is_not_the_targets(
    flext_service, flext_elsewhere, flext_world
):
    judged = []

    class Judges:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                return await send(request)
            except FlextError as error:
                judged.append(connection.failure(error))
                raise

    config = logging_in(flext_service.url, service="tokens")
    config["services"]["service"]["plugins"]["judges"] = {}
    config["services"]["tokens"] = {"base_url": flext_elsewhere.url}
    host = flext_world.host(config, login=Login, judges=Judges)
    flext_elsewhere.refuse()

    with pytest.raises(PluginError) as caught:
        flext_world.get(host)
    assert isinstance(caught.value.__cause__, flext_world.lib.ConnectError)
    assert judged == [None]


def test_respond_and_request_work_outside_an_exchange(flext_service, flext_world):
    made = []

    class Opens(Login):
        @hookimpl
        async def flext_exchange(self, request, send):
            return await send(request)

        @hookimpl
        async def flext_connect(self, connection):
            made.append(connection.respond(204))
            answer = await connection.request(self.service, "GET", "/login")
            made.append(await connection.read(answer))
            assert connection.call is None

    flext_service.answer = token_or_echo
    host = flext_world.host(logging_in(flext_service.url, service="service"), login=Opens)
    flext_world.get(host)

    assert isinstance(made[0], httpx.Response)
    assert made[1] == b"token-1"


def test_a_body_that_breaks_while_it_is_read_gives_its_permit_back(flext_service, flext_world):
    class Reads(Login):
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            with pytest.raises(flext_world.lib.RemoteProtocolError):
                await connection.read(await connection.request(self.service, "GET", "/cut"))
            return await send(request)

    flext_service.answer = lambda received: Answer(
        body=b"x" * 100, cut=10 if received.path == "/cut" else None
    )
    config = logging_in(flext_service.url, service="service")
    config["services"]["service"] |= {"max_connections": 1, "timeout": 2}

    assert flext_world.get(flext_world.host(config, login=Reads)).status_code == 200


# sleep, run, deadlines


def test_run_leaves_the_event_loop_free(flext_service, flext_world):
    threads = []

    class Blocks:
        @hookimpl
        async def flext_request(self, connection):
            def work(value):
                threads.append((threading.get_ident(), connection.call.service))
                return value

            assert await connection.run(work, 7) == 7

    flext_world.get(flext_world.serve(flext_service, Blocks))

    ((thread, service),) = threads
    assert service == "service"  # the context comes along
    assert (thread == threading.get_ident()) is not flext_world.asynchronous


@pytest.mark.parametrize("waiting", ["sleep", "run", "gate"])
def test_waiting_ends_with_the_calls_deadline(flext_service, flext_world, waiting):
    class Waits:
        @hookimpl
        async def flext_request(self, request, connection):
            if waiting == "sleep":
                await connection.sleep(5)
            elif waiting == "run":
                await connection.run(time.sleep, 0.2)

    host = flext_world.serve(flext_service, Waits, max_connections=1)
    occupied = threading.Event()

    def slow(received):
        occupied.set()
        return Answer(delay=0.4 if waiting == "gate" and received.path == "/slow" else 0)

    flext_service.answer = slow
    works = []
    if waiting == "gate":
        works.append(flext_world.sender(host, "GET", "/slow"))

    def hasty():
        if works:
            occupied.wait(5)
        with options(deadline=0.1):
            return flext_world.sender(host, "GET", "/")()

    async def ahasty():
        import asyncio

        while works and not occupied.is_set():
            await asyncio.sleep(0.005)
        with options(deadline=0.1):
            return await flext_world.sender(host, "GET", "/")()

    *_, failed = flext_world.all([*works, ahasty if flext_world.asynchronous else hasty])

    assert isinstance(failed, DeadlineExceeded)
    assert isinstance(failed, flext_world.lib.TimeoutException)
    assert "/" not in flext_service.paths()


def test_a_service_has_a_deadline_of_its_own_and_the_earlier_one_counts(flext_service, flext_world):
    host = flext_world.serve(flext_service, deadline=3)
    assert 2 < flext_world.get(host).extensions["flext_plugins.call"].remaining() <= 3
    with options(deadline=1):
        assert flext_world.get(host).extensions["flext_plugins.call"].remaining() <= 1
    with options(deadline=30):
        assert 2 < flext_world.get(host).extensions["flext_plugins.call"].remaining() <= 3


def test_what_a_plugin_causes_ends_with_the_call_that_causes_it(
    flext_service, flext_elsewhere, flext_world
):
    seen = []

    class Sees:
        @hookimpl
        def flext_request(self, connection):
            seen.append(connection.call.remaining())

    config = logging_in(flext_service.url, service="tokens")
    config["services"]["tokens"] = {"base_url": flext_elsewhere.url, "plugins": {"sees": {}}}
    host = flext_world.host(config, login=Login, sees=Sees)
    with options(deadline=2):
        flext_world.get(host)

    assert 1 < seen[0] <= 2


def test_a_gate_that_stays_full_is_the_librarys_own_pool_time_out(flext_service, flext_world):
    judged = []

    class Judges:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                return await send(request)
            except Exception as error:
                judged.append(connection.failure(error))
                raise

    flext_service.answer = lambda _: Answer(delay=0.4)
    host = flext_world.serve(flext_service, Judges, max_connections=1, timeout={"pool": 0.1})
    results = flext_world.all([flext_world.sender(host, "GET", "/")] * 2)

    assert sorted(type(each).__name__ for each in results) == ["PoolTimeout", "Response"]
    assert judged == [Failure.POOL]


# resources and operations


class Directory:
    """What a plugin lends: one body of logic, driven where the world is sync."""

    def __init__(self, connection):
        self.connection = connection

    async def alook_up(self, name, fail=None):
        operation = Operation("ldap", "search", "dir:389", idempotent=True)
        return await self.connection.perform(operation, self._search, name, fail)

    def look_up(self, name, fail=None):
        return self.connection.drive(self.alook_up(name, fail))

    def _search(self, name, fail):
        if fail is not None:
            raise fail
        return f"cn={name}"


class Lends:
    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Directory, Directory(connection))


def look_up(flext_world, host, *given):
    directory = flext_world.resource(host, Directory)
    if flext_world.asynchronous:
        return flext_world.run(lambda: directory.alook_up(*given))
    return directory.look_up(*given)


def test_an_operation_runs_inside_the_services_plugins_in_their_order(flext_service, flext_world):
    seen = []

    def layer(name, stage):
        class Layer:
            @hookimpl
            async def flext_operation(self, operation, proceed, connection):
                seen.append((name, operation.system, operation.name, connection.call.service))
                try:
                    return await proceed(operation)
                finally:
                    seen.append(name)

        Layer.__name__, Layer.stage = name, stage
        return Layer

    inner, outer = layer("inner", Stage.ATTEMPT), layer("outer", Stage.RETRY)
    host = flext_world.serve(flext_service, Lends, inner, outer)

    assert look_up(flext_world, host, "ana") == "cn=ana"
    assert seen == [
        ("outer", "ldap", "search", "service"),
        ("inner", "ldap", "search", "service"),
        "inner",
        "outer",
    ]


def test_an_operation_tells_its_failure_and_may_be_tried_again(flext_service, flext_world):
    judged = []

    class Down(FlextError):
        failure = Failure.CONNECT

    class Retries:
        stage = Stage.RETRY

        @hookimpl
        async def flext_operation(self, operation, proceed, connection):
            try:
                return await proceed(operation)
            except Exception as error:
                judged.append((connection.failure(error), connection.call.attempt))
                return await proceed(operation)

    host = flext_world.serve(flext_service, Lends, Retries)
    with pytest.raises(Down) as caught:
        look_up(flext_world, host, "ana", Down("no directory"))

    assert judged == [(Failure.CONNECT, 1)]
    assert caught.value.call.attempt == 2
    assert caught.value.service == "service"


def test_an_observer_of_operations_hurts_nobody(flext_service, flext_world):
    class Observes:
        observer = True

        @hookimpl
        async def flext_operation(self, operation, proceed):
            raise KeyError("x")

    assert (
        look_up(flext_world, flext_world.serve(flext_service, Lends, Observes), "ana") == "cn=ana"
    )


def test_a_guard_may_refuse_an_operation(flext_service, flext_world):
    class Guards:
        stage = Stage.GUARD

        @hookimpl
        async def flext_operation(self, operation, proceed):
            raise Refused("directory is down")

    with pytest.raises(Refused) as caught:
        look_up(flext_world, flext_world.serve(flext_service, Lends, Guards), "ana")
    assert (caught.value.plugin, caught.value.call.answered_by) == ("guards", "guards")


def test_a_plugin_takes_no_part_in_operations_of_its_own(flext_service, flext_world):
    class Both(Lends):
        @hookimpl
        async def flext_operation(self, operation, proceed):
            raise AssertionError

    assert look_up(flext_world, flext_world.serve(flext_service, Both), "ana") == "cn=ana"


def test_an_async_function_is_awaited_as_an_operation(flext_service, flext_world):
    class Performs:
        @hookimpl
        async def flext_request(self, request, connection):
            async def work(value):
                await connection.sleep(0)
                return value

            operation = Operation("x", "y", "z")
            request.headers["X-Result"] = await connection.perform(operation, work, "seven")
            assert connection.call.attempt == 1

    response = flext_world.get(flext_world.serve(flext_service, Performs))
    assert response.json()["headers"]["x-result"] == "seven"


def test_drive_belongs_to_sync_connections(flext_service, flext_async_world):
    host = flext_async_world.serve(flext_service, Lends)
    directory = flext_async_world.resource(host, Directory)

    with pytest.raises(PluginError, match="await the coroutine"):
        directory.look_up("ana")


def test_resources_are_found_by_type_and_name(flext_service, flext_world):
    class Numbers:
        @hookimpl
        def flext_connect(self, connection):
            connection.provide(int, 1, name="one")
            connection.provide(int, 2, name="two")
            connection.provide(str, "only")

    host = flext_world.serve(flext_service, Numbers)
    assert flext_world.resource(host, str) == "only"
    assert flext_world.resource(host, int, "two") == 2
    with pytest.raises(ConfigError, match=r"several int: one \(by numbers\), two"):
        flext_world.resource(host, int)
    with pytest.raises(ConfigError, match="lends no float; it has: none"):
        flext_world.resource(host, float)
    with pytest.raises(ConfigError, match="lends no int named 'three'"):
        flext_world.resource(host, int, "three")


def test_providing_the_same_twice_is_an_error(flext_service, flext_world):
    class Twice:
        @hookimpl
        def flext_connect(self, connection):
            connection.provide(str, "a")
            connection.provide(str, "b")

    with pytest.raises(PluginError, match="provides a str already"):
        flext_world.get(flext_world.serve(flext_service, Twice))


def test_a_service_without_an_address_only_lends(flext_world):
    config = {"services": {"service": {"plugins": {"lends": {}}}}}
    host = flext_world.host(config, lends=Lends)

    assert look_up(flext_world, host, "ana") == "cn=ana"
    with pytest.raises(ConfigError, match="no base_url"):
        flext_world.get(host)


# what the host and the application give


def test_the_applications_own_objects_reach_plugins_by_type(flext_service, flext_world):
    class Registry:
        """The application's."""

    class Wants:
        def __init__(self, service: Service):
            self.registry = service.resource(Registry)
            self.other = service.resource(bytes, None)

        @hookimpl
        def flext_request(self, request):
            request.headers["X-Registry"] = str(self.registry is mine and self.other is None)

    host, mine = flext_world.serve(flext_service, Wants), Registry()
    with pytest.raises(ConfigError, match=r"host\.provide\(Registry"):
        host.check()
    host.provide(Registry, mine)

    assert flext_world.get(host).json()["headers"]["x-registry"] == "True"


def test_shared_gives_one_object_per_host(flext_service, flext_world):
    made = []

    class Cache:
        """One for all services."""

    class Shares:
        def __init__(self, service):
            made.append(service.shared(Cache, Cache))

        @hookimpl
        def flext_request(self):
            """Something to be a plugin for."""

    services = {name: {"base_url": flext_service.url, "plugins": {"shares": {}}} for name in "ab"}
    flext_world.host({"services": services}, shares=Shares).check()
    flext_world.host({"services": services}, shares=Shares).check()

    assert made[0] is made[1]
    assert made[2] is made[3] is not made[0]


def test_the_connection_knows_its_service_and_plugins(flext_service, flext_world):
    seen = []

    class Asks:
        @hookimpl
        def flext_request(self, connection):
            assert isinstance(connection, Connection)
            seen.extend(connection.service.plugins)
            seen.append(connection.asynchronous)

    flext_world.get(flext_world.serve(flext_service, Asks))

    assert seen == [("asks", None, None), flext_world.asynchronous]


def test_one_plugin_instance_serves_all_connections_of_a_service(flext_service):
    from flext_plugins.testing import World

    made = []

    class Counts:
        def __init__(self):
            made.append(self)

        @hookimpl
        def flext_request(self):
            assert self is made[0]

    sync, async_ = World("httpx sync"), World("httpx async")
    host = sync.serve(flext_service, Counts)
    sync.get(host)
    async_.get(host)

    assert len(made) == 1
    async_.end()
    sync.end()


def test_an_event_of_a_nested_call_goes_to_its_own_service(
    flext_service, flext_elsewhere, flext_world
):
    heard = []

    class Hears:
        @hookimpl
        def flext_event(self, event, connection):
            if isinstance(event, events.CallFinished):
                heard.append((connection.service.name, event.call.service))

    config = logging_in(flext_service.url, service="tokens")
    config["plugins"] = {"hears": {}}
    config["services"]["tokens"] = {"base_url": flext_elsewhere.url}
    flext_world.get(flext_world.host(config, login=Login, hears=Hears))

    assert heard == [("tokens", "tokens"), ("service", "service")]
