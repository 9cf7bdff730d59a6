"""What a connection offers to plugins, and what they lend (DESIGN section 4)."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
from loopback import Answer, echo
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


def test_a_plugin_sends_to_another_service_through_that_services_plugins(server, elsewhere, world):
    seen = []

    class Marks:
        @hookimpl
        def flext_request(self, request, connection):
            request.headers["X-Through"] = connection.service.name
            seen.append((connection.service.name, connection.call.correlation_id))

    elsewhere.answer = token_or_echo
    config = logging_in(server.url, service="tokens")
    config["services"]["tokens"] = {"base_url": f"{elsewhere.url}/auth/", "plugins": {"marks": {}}}
    host = world.host(config, login=Login, marks=Marks)
    with options(correlation_id="c-1"):
        response = world.get(host)

    assert response.json()["headers"]["authorization"] == "token-1"
    (login,) = elsewhere.received
    assert (login.method, login.path, login.body) == ("POST", "/auth/login", b'{"user": "ana"}')
    assert login.headers["x-through"] == "tokens"
    assert seen == [("tokens", "c-1")]


def test_a_service_may_log_in_at_itself(server, world):
    server.answer = token_or_echo
    host = world.host(logging_in(server.url, service="service"), login=Login)

    assert world.get(host).json()["headers"]["authorization"] == "token-1"
    assert server.paths() == ["/login", "/"]
    assert "authorization" not in server.received[0].headers


def test_services_that_log_in_at_each_other_are_a_loop_that_is_named(server, world):
    host = world.host(logging_in(server.url, service="b", b="c", c="service"), login=Login)

    with pytest.raises(ConfigError, match="service -> b -> c -> service"):
        world.get(host)


def test_only_a_service_that_the_settings_name_can_be_sent_to(server, world):
    class Nosy:
        @hookimpl
        async def flext_request(self, connection):
            await connection.request("other", "GET", "/")

    services = {"service": {"base_url": server.url, "plugins": {"nosy": {}}}}
    host = world.host({"services": {**services, "other": {"base_url": server.url}}}, nosy=Nosy)

    with pytest.raises(PluginError, match="'other', which its settings do not name"):
        world.get(host)
    assert server.received == []


def test_and_only_at_that_services_own_origin(server, elsewhere, world):
    class Strays(Login):
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            await connection.request(self.service, "GET", f"{elsewhere.url}/login")
            return await send(request)

    host = world.host(logging_in(server.url, service="service"), login=Strays)
    with pytest.raises(PluginError, match="another origin"):
        world.get(host)
    assert elsewhere.received == []


def test_the_failure_of_another_service_is_not_the_targets(server, elsewhere, world):
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

    config = logging_in(server.url, service="tokens")
    config["services"]["service"]["plugins"]["judges"] = {}
    config["services"]["tokens"] = {"base_url": elsewhere.url}
    host = world.host(config, login=Login, judges=Judges)
    elsewhere.refuse()

    with pytest.raises(PluginError) as caught:
        world.get(host)
    assert isinstance(caught.value.__cause__, world.lib.ConnectError)
    assert judged == [None]


def test_respond_and_request_work_outside_an_exchange(server, world):
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

    server.answer = token_or_echo
    host = world.host(logging_in(server.url, service="service"), login=Opens)
    world.get(host)

    assert isinstance(made[0], httpx.Response)
    assert made[1] == b"token-1"


def test_a_body_that_breaks_while_it_is_read_gives_its_permit_back(server, world):
    class Reads(Login):
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            with pytest.raises(world.lib.RemoteProtocolError):
                await connection.read(await connection.request(self.service, "GET", "/cut"))
            return await send(request)

    server.answer = lambda received: Answer(
        body=b"x" * 100, cut=10 if received.path == "/cut" else None
    )
    config = logging_in(server.url, service="service")
    config["services"]["service"] |= {"max_connections": 1, "timeout": 2}

    assert world.get(world.host(config, login=Reads)).status_code == 200


# sleep, run, deadlines


def test_run_leaves_the_event_loop_free(server, world):
    threads = []

    class Blocks:
        @hookimpl
        async def flext_request(self, connection):
            def work(value):
                threads.append((threading.get_ident(), connection.call.service))
                return value

            assert await connection.run(work, 7) == 7

    world.get(world.serve(server, Blocks))

    ((thread, service),) = threads
    assert service == "service"  # the context comes along
    assert (thread == threading.get_ident()) is not world.asynchronous


@pytest.mark.parametrize("waiting", ["sleep", "run", "gate"])
def test_waiting_ends_with_the_calls_deadline(server, world, waiting):
    class Waits:
        @hookimpl
        async def flext_request(self, request, connection):
            if waiting == "sleep":
                await connection.sleep(5)
            elif waiting == "run":
                await connection.run(time.sleep, 0.2)

    host = world.serve(server, Waits, max_connections=1)
    occupied = threading.Event()

    def slow(received):
        occupied.set()
        return Answer(delay=0.4 if waiting == "gate" and received.path == "/slow" else 0)

    server.answer = slow
    works = []
    if waiting == "gate":
        works.append(world.sender(host, "GET", "/slow"))

    def hasty():
        if works:
            occupied.wait(5)
        with options(deadline=0.1):
            return world.sender(host, "GET", "/")()

    async def ahasty():
        import asyncio

        while works and not occupied.is_set():
            await asyncio.sleep(0.005)
        with options(deadline=0.1):
            return await world.sender(host, "GET", "/")()

    *_, failed = world.all([*works, ahasty if world.asynchronous else hasty])

    assert isinstance(failed, DeadlineExceeded)
    assert isinstance(failed, world.lib.TimeoutException)
    assert "/" not in server.paths()


def test_a_service_has_a_deadline_of_its_own_and_the_earlier_one_counts(server, world):
    host = world.serve(server, deadline=3)
    assert 2 < world.get(host).extensions["flext_plugins.call"].remaining() <= 3
    with options(deadline=1):
        assert world.get(host).extensions["flext_plugins.call"].remaining() <= 1
    with options(deadline=30):
        assert 2 < world.get(host).extensions["flext_plugins.call"].remaining() <= 3


def test_what_a_plugin_causes_ends_with_the_call_that_causes_it(server, elsewhere, world):
    seen = []

    class Sees:
        @hookimpl
        def flext_request(self, connection):
            seen.append(connection.call.remaining())

    config = logging_in(server.url, service="tokens")
    config["services"]["tokens"] = {"base_url": elsewhere.url, "plugins": {"sees": {}}}
    host = world.host(config, login=Login, sees=Sees)
    with options(deadline=2):
        world.get(host)

    assert 1 < seen[0] <= 2


def test_a_gate_that_stays_full_is_the_librarys_own_pool_time_out(server, world):
    judged = []

    class Judges:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                return await send(request)
            except Exception as error:
                judged.append(connection.failure(error))
                raise

    server.answer = lambda _: Answer(delay=0.4)
    host = world.serve(server, Judges, max_connections=1, timeout={"pool": 0.1})
    results = world.all([world.sender(host, "GET", "/")] * 2)

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


def look_up(world, host, *given):
    directory = world.resource(host, Directory)
    if world.asynchronous:
        return world.run(lambda: directory.alook_up(*given))
    return directory.look_up(*given)


def test_an_operation_runs_inside_the_services_plugins_in_their_order(server, world):
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
    host = world.serve(server, Lends, inner, outer)

    assert look_up(world, host, "ana") == "cn=ana"
    assert seen == [
        ("outer", "ldap", "search", "service"),
        ("inner", "ldap", "search", "service"),
        "inner",
        "outer",
    ]


def test_an_operation_tells_its_failure_and_may_be_tried_again(server, world):
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

    host = world.serve(server, Lends, Retries)
    with pytest.raises(Down) as caught:
        look_up(world, host, "ana", Down("no directory"))

    assert judged == [(Failure.CONNECT, 1)]
    assert caught.value.call.attempt == 2
    assert caught.value.service == "service"


def test_an_observer_of_operations_hurts_nobody(server, world):
    class Observes:
        observer = True

        @hookimpl
        async def flext_operation(self, operation, proceed):
            raise KeyError("x")

    assert look_up(world, world.serve(server, Lends, Observes), "ana") == "cn=ana"


def test_a_guard_may_refuse_an_operation(server, world):
    class Guards:
        stage = Stage.GUARD

        @hookimpl
        async def flext_operation(self, operation, proceed):
            raise Refused("directory is down")

    with pytest.raises(Refused) as caught:
        look_up(world, world.serve(server, Lends, Guards), "ana")
    assert (caught.value.plugin, caught.value.call.answered_by) == ("guards", "guards")


def test_a_plugin_takes_no_part_in_operations_of_its_own(server, world):
    class Both(Lends):
        @hookimpl
        async def flext_operation(self, operation, proceed):
            raise AssertionError

    assert look_up(world, world.serve(server, Both), "ana") == "cn=ana"


def test_an_async_function_is_awaited_as_an_operation(server, world):
    class Performs:
        @hookimpl
        async def flext_request(self, request, connection):
            async def work(value):
                await connection.sleep(0)
                return value

            operation = Operation("x", "y", "z")
            request.headers["X-Result"] = await connection.perform(operation, work, "seven")
            assert connection.call.attempt == 1

    response = world.get(world.serve(server, Performs))
    assert response.json()["headers"]["x-result"] == "seven"


def test_drive_belongs_to_sync_connections(server, async_world):
    host = async_world.serve(server, Lends)
    directory = async_world.resource(host, Directory)

    with pytest.raises(PluginError, match="await the coroutine"):
        directory.look_up("ana")


def test_resources_are_found_by_type_and_name(server, world):
    class Numbers:
        @hookimpl
        def flext_connect(self, connection):
            connection.provide(int, 1, name="one")
            connection.provide(int, 2, name="two")
            connection.provide(str, "only")

    host = world.serve(server, Numbers)
    assert world.resource(host, str) == "only"
    assert world.resource(host, int, "two") == 2
    with pytest.raises(ConfigError, match=r"several int: one \(by numbers\), two"):
        world.resource(host, int)
    with pytest.raises(ConfigError, match="lends no float; it has: none"):
        world.resource(host, float)
    with pytest.raises(ConfigError, match="lends no int named 'three'"):
        world.resource(host, int, "three")


def test_providing_the_same_twice_is_an_error(server, world):
    class Twice:
        @hookimpl
        def flext_connect(self, connection):
            connection.provide(str, "a")
            connection.provide(str, "b")

    with pytest.raises(PluginError, match="provides a str already"):
        world.get(world.serve(server, Twice))


def test_a_service_without_an_address_only_lends(world):
    config = {"services": {"service": {"plugins": {"lends": {}}}}}
    host = world.host(config, lends=Lends)

    assert look_up(world, host, "ana") == "cn=ana"
    with pytest.raises(ConfigError, match="no base_url"):
        world.get(host)


# what the host and the application give


def test_the_applications_own_objects_reach_plugins_by_type(server, world):
    class Registry:
        """The application's."""

    class Wants:
        def __init__(self, service: Service):
            self.registry = service.resource(Registry)
            self.other = service.resource(bytes, None)

        @hookimpl
        def flext_request(self, request):
            request.headers["X-Registry"] = str(self.registry is mine and self.other is None)

    host, mine = world.serve(server, Wants), Registry()
    with pytest.raises(ConfigError, match=r"host\.provide\(Registry"):
        host.check()
    host.provide(Registry, mine)

    assert world.get(host).json()["headers"]["x-registry"] == "True"


def test_shared_gives_one_object_per_host(server, world):
    made = []

    class Cache:
        """One for all services."""

    class Shares:
        def __init__(self, service):
            made.append(service.shared(Cache, Cache))

        @hookimpl
        def flext_request(self):
            """Something to be a plugin for."""

    services = {name: {"base_url": server.url, "plugins": {"shares": {}}} for name in "ab"}
    world.host({"services": services}, shares=Shares).check()
    world.host({"services": services}, shares=Shares).check()

    assert made[0] is made[1]
    assert made[2] is made[3] is not made[0]


def test_the_connection_knows_its_service_and_plugins(server, world):
    seen = []

    class Asks:
        @hookimpl
        def flext_request(self, connection):
            assert isinstance(connection, Connection)
            seen.extend(connection.service.plugins)
            seen.append(connection.asynchronous)

    world.get(world.serve(server, Asks))

    assert seen == [("asks", None, None), world.asynchronous]


def test_one_plugin_instance_serves_all_connections_of_a_service(server):
    from conftest import World

    made = []

    class Counts:
        def __init__(self):
            made.append(self)

        @hookimpl
        def flext_request(self):
            assert self is made[0]

    sync, async_ = World("httpx sync"), World("httpx async")
    host = sync.serve(server, Counts)
    sync.get(host)
    async_.get(host)

    assert len(made) == 1
    async_.end()
    sync.end()


def test_an_event_of_a_nested_call_goes_to_its_own_service(server, elsewhere, world):
    heard = []

    class Hears:
        @hookimpl
        def flext_event(self, event, connection):
            if isinstance(event, events.CallFinished):
                heard.append((connection.service.name, event.call.service))

    config = logging_in(server.url, service="tokens")
    config["plugins"] = {"hears": {}}
    config["services"]["tokens"] = {"base_url": elsewhere.url}
    world.get(world.host(config, login=Login, hears=Hears))

    assert heard == [("tokens", "tokens"), ("service", "service")]
