"""What a connection offers to plugins, and what they lend."""

from __future__ import annotations

import gc
import threading
import time
import traceback

import httpx
import pytest
from noting import noting
from pydantic import BaseModel

from flext_plugins import (
    ConfigError,
    Connection,
    DeadlineExceeded,
    Failure,
    FlextError,
    Host,
    Operation,
    PluginError,
    PluginNotFound,
    Refused,
    Secret,
    Service,
    ServiceName,
    ServiceURL,
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


@pytest.mark.contract("request-runs-its-plugins", "correlation-id-is-shared")
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


@pytest.mark.contract("no-part-in-its-own")
def test_a_service_may_log_in_at_itself(flext_service, flext_world):
    flext_service.answer = token_or_echo
    host = flext_world.host(logging_in(flext_service.url, service="service"), login=Login)

    assert flext_world.get(host).json()["headers"]["authorization"] == "token-1"
    assert flext_service.paths() == ["/login", "/"]
    assert "authorization" not in flext_service.received[0].headers


@pytest.mark.contract("no-login-loops")
def test_services_that_log_in_at_each_other_are_a_loop_that_is_named(flext_service, flext_world):
    host = flext_world.host(
        logging_in(flext_service.url, service="b", b="c", c="service"), login=Login
    )

    with pytest.raises(ConfigError, match="service -> b -> c -> service"):
        flext_world.get(host)


@pytest.mark.contract("request-named-services-only")
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


@pytest.mark.contract("request-named-services-only")
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


@pytest.mark.contract("only-its-own-send-passes")
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


@pytest.mark.contract("request-runs-its-plugins")
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

    assert isinstance(made[0].native, httpx.Response)
    assert made[1] == b"token-1"


@pytest.mark.contract("broken-for-all")
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


class Elsewhere:
    """Fetches a token at an address where no configured service is."""

    class Settings(BaseModel):
        url: ServiceURL
        password: Secret | None = None

    stage = Stage.AUTH

    def __init__(self, settings):
        self.url = settings.url

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        answer = await connection.request(self.url.origin, "POST", self.url, json={"pin": "canary"})
        request.headers["Authorization"] = (await connection.read(answer)).decode()
        return await send(request)


def at(url, server, **more):
    plugins = {"elsewhere": {"url": url}, **more.pop("plugins", {})}
    return {"services": {"service": {"base_url": server.url, "plugins": plugins}}, **more}


@pytest.mark.contract("request-runs-its-plugins")
def test_an_address_in_the_settings_is_sent_to_with_the_defaults_and_past_observers_alone(
    flext_service, flext_elsewhere, flext_world
):
    seen = []

    class Watches:
        observer = True

        @hookimpl
        def flext_request(self, connection):
            seen.append(connection.service.name)

    class Marks:
        @hookimpl
        def flext_request(self, request):
            request.headers["X-Marked"] = "yes"

    flext_elsewhere.answer = token_or_echo
    config = at(
        f"{flext_elsewhere.url}/v2/login",
        flext_service,
        plugins={},
        defaults={"headers": {"X-Default": "yes"}, "timeout": 2},
    )
    config["plugins"] = {"watches": {}, "marks": {}, "elsewhere": {"url": flext_elsewhere.url}}
    host = flext_world.host(config, elsewhere=Elsewhere, watches=Watches, marks=Marks)
    response = flext_world.get(host)

    assert response.json()["headers"]["authorization"] == "token-1"
    assert {"x-marked", "x-default"} < response.json()["headers"].keys()
    (login,) = flext_elsewhere.received
    assert (login.method, login.path, login.body) == ("POST", "/v2/login", b'{"pin": "canary"}')
    assert not {"x-marked", "x-default", "authorization"} & login.headers.keys()
    assert seen == [flext_elsewhere.url, "service"]
    assert host.services == ("service",)


@pytest.mark.contract("request-named-services-only")
def test_only_that_origin_can_be_sent_to_and_nobody_else_gets_there(
    flext_service, flext_elsewhere, flext_world
):
    class Strays(Elsewhere):
        @hookimpl
        async def flext_exchange(self, connection):
            await connection.request(self.url.origin, "GET", flext_service.url)

    class Nosy:
        @hookimpl
        async def flext_request(self, connection):
            await connection.request(flext_elsewhere.url, "GET", "/")

    for kind, expected in [(Strays, "another origin"), (Elsewhere, "settings do not name")]:
        config = at(flext_elsewhere.url, flext_service, plugins={"nosy": {}})
        host = flext_world.host(config, elsewhere=kind, nosy=Nosy)
        with pytest.raises(PluginError, match=expected):
            flext_world.get(host)
        flext_elsewhere.received.clear()
    with pytest.raises(ConfigError, match="no service is named"):
        flext_world.get(flext_world.host(config), service=flext_elsewhere.url)
    assert flext_service.received == flext_elsewhere.received == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/token", "expected a URL with http:// or https://"),
        ("ftp://127.0.0.1/token", "expected a URL with http:// or https://"),
        ("https://user:canary@127.0.0.1/token", "without user and password"),
        ("https://:0/", "expected a URL with http:// or https://"),
        ("https://127.0.0.1/token#part", "without #"),
        ("https://127.0.0.1/a token", "percent-encoded"),
        ("env:CANARY", "expected a URL with http:// or https://"),
    ],
)
def test_an_address_that_is_none_is_told_where_it_stands(flext_service, url, expected):
    host = Host(at(url, flext_service))
    host.register(Elsewhere, "elsewhere")
    with pytest.raises(ConfigError, match=expected) as caught:
        host.check()
    assert "plugins.elsewhere.url" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_secrets_do_not_go_to_an_address_over_plain_http_unless_it_is_this_machine(flext_service):
    table = {"url": "http://issuer.example/token", "password": "canary"}
    config = at("", flext_service, plugins={"elsewhere": table})
    host = Host(config)
    host.register(Elsewhere, "elsewhere")
    with pytest.raises(ConfigError, match=r"elsewhere\.url: it would send .* over plain http://"):
        host.check()
    host = Host({**config, "defaults": {"allow_insecure": True}})
    host.register(Elsewhere, "elsewhere")
    host.check()


@pytest.mark.contract("deadline-reaches-further")
def test_a_request_of_a_plugins_own_ends_with_the_calls_deadline(
    flext_service, flext_elsewhere, flext_world
):
    flext_elsewhere.answer = Answer(delay=20)
    config = at(flext_elsewhere.url, flext_service, defaults={"timeout": 25})
    host = flext_world.host(config, elsewhere=Elsewhere)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught, options(deadline=0.3):
        flext_world.get(host)
    assert isinstance(caught.value, flext_world.lib.TimeoutException)
    assert f"the answer of {flext_elsewhere.url}" in str(caught.value)
    assert time.monotonic() - started < 10
    assert flext_service.received == []


@pytest.mark.parametrize("failing", ["wire", "opening", "origin"])
@pytest.mark.contract("errors-show-no-secret")
def test_what_a_plugin_sends_is_in_no_frame_of_ours_and_on_no_error(
    flext_service, flext_elsewhere, flext_world, failing
):
    class Fails:
        observer = True

        @hookimpl
        def flext_connect(self, connection):
            if failing == "opening" and connection.service.name != "service":
                raise ValueError("no")

    class Strays(Elsewhere):
        @hookimpl
        async def flext_exchange(self, connection):
            await connection.request(
                self.url.origin,
                "GET",
                flext_service.url,
                content=b"canary",
                headers={"X": "canary"},
            )

    flext_elsewhere.answer = Answer(reset=True)
    config = at(flext_elsewhere.url, flext_service) | {"plugins": {"fails": {}}}
    kind = Strays if failing == "origin" else Elsewhere
    host = flext_world.host(config, elsewhere=kind, fails=Fails)
    with pytest.raises(PluginError) as caught:
        flext_world.get(host)

    errors, shown = [caught.value], []
    for error in errors:
        errors += [each for each in (error.__cause__, error.__context__) if each]
        shown += [str(error), repr(vars(error))]
        shown += [repr(getattr(vars(error).get("request"), "body", None))]
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "flext_plugins" in frame.f_code.co_filename:
                shown += [repr(each) for each in frame.f_locals.values()]
    assert len(shown) > 10
    assert [each for each in shown if "canary" in each] == []


# sleep, run, deadlines


@pytest.mark.contract("operation-work")
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
@pytest.mark.contract("deadline-covers-the-call")
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


@pytest.mark.contract("deadline-covers-the-call")
def test_a_service_has_a_deadline_of_its_own_and_the_earlier_one_counts(flext_service, flext_world):
    host = flext_world.serve(flext_service, deadline=3)
    assert 2 < flext_world.get(host).extensions["flext_plugins.call"].remaining() <= 3
    with options(deadline=1):
        assert flext_world.get(host).extensions["flext_plugins.call"].remaining() <= 1
    with options(deadline=30):
        assert 2 < flext_world.get(host).extensions["flext_plugins.call"].remaining() <= 3


@pytest.mark.contract("deadline-reaches-further")
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


@pytest.mark.contract("permits-bound-exchanges")
def test_a_gate_that_stays_full_is_the_librarys_own_pool_time_out(flext_service, flext_world):
    judged = []

    flext_service.answer = lambda _: Answer(delay=0.4)
    host = flext_world.serve(
        flext_service, noting(judged), max_connections=1, timeout={"pool": 0.1}
    )
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


@pytest.mark.contract("operation-onion")
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


@pytest.mark.contract("operation-onion", "failure-kinds")
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


@pytest.mark.contract("operation-onion", "observer-hurts-nobody")
def test_an_observer_of_operations_hurts_nobody(flext_service, flext_world):
    class Observes:
        observer = True

        @hookimpl
        async def flext_operation(self, operation, proceed):
            raise KeyError("x")

    assert (
        look_up(flext_world, flext_world.serve(flext_service, Lends, Observes), "ana") == "cn=ana"
    )


@pytest.mark.contract("operation-onion")
def test_a_guard_may_refuse_an_operation(flext_service, flext_world):
    class Guards:
        stage = Stage.GUARD

        @hookimpl
        async def flext_operation(self, operation, proceed):
            raise Refused("directory is down")

    with pytest.raises(Refused) as caught:
        look_up(flext_world, flext_world.serve(flext_service, Lends, Guards), "ana")
    assert (caught.value.plugin, caught.value.call.answered_by) == ("guards", "guards")


@pytest.mark.contract("no-part-in-its-own")
def test_a_plugin_takes_no_part_in_operations_of_its_own(flext_service, flext_world):
    class Both(Lends):
        @hookimpl
        async def flext_operation(self, operation, proceed):
            raise AssertionError

    assert look_up(flext_world, flext_world.serve(flext_service, Both), "ana") == "cn=ana"


@pytest.mark.contract("operation-work")
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


def test_a_resource_of_a_service_that_cannot_be_composed_leaves_no_coroutine_behind(flext_world):
    """pytest fails where one is never awaited."""
    host = flext_world.host({"services": {"service": {"plugins": {"nonesuch": {}}}}})
    with pytest.raises(PluginNotFound):
        flext_world.resource(host, str)
    gc.collect()


@pytest.mark.contract("resources-by-type-and-name")
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
    with pytest.raises(ConfigError, match=r"lends no float; it has: .*str \(by numbers\)"):
        flext_world.resource(host, float)
    with pytest.raises(ConfigError, match="lends no int named 'three'"):
        flext_world.resource(host, int, "three")


@pytest.mark.contract("resources-by-type-and-name")
def test_providing_the_same_twice_is_an_error(flext_service, flext_world):
    class Twice:
        @hookimpl
        def flext_connect(self, connection):
            connection.provide(str, "a")
            connection.provide(str, "b")

    with pytest.raises(PluginError, match="provides a str already"):
        flext_world.get(flext_world.serve(flext_service, Twice))


@pytest.mark.contract("resources-by-type-and-name")
def test_a_service_without_an_address_only_lends(flext_world):
    config = {"services": {"service": {"plugins": {"lends": {}}}}}
    host = flext_world.host(config, lends=Lends)

    assert look_up(flext_world, host, "ana") == "cn=ana"
    with pytest.raises(ConfigError, match="no base_url"):
        flext_world.get(host)


# what the host and the application give


@pytest.mark.contract("shared-by-the-host")
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


@pytest.mark.contract("shared-by-the-host")
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

    assert seen == [
        ("asks", None, None, Stage.MESSAGE, False),
        flext_world.asynchronous,
    ]


@pytest.mark.contract("one-instance-per-service")
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


@pytest.mark.contract("events-reach-every-receiver")
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


@pytest.mark.contract("one-instance-per-service")
def test_a_plugin_can_ask_by_what_name_it_goes(flext_service, flext_world):
    seen = []

    class Named:
        @hookimpl
        def flext_connect(self, connection):
            seen.append(connection.plugin)

    config = {"base_url": flext_service.url, "plugins": {"one": {}, "two": {}}}
    host = flext_world.host({"services": {"service": config}}, one=Named, two=Named)
    flext_world.get(host)
    assert [(each.name, each.stage) for each in seen] == [
        ("one", Stage.MESSAGE),
        ("two", Stage.MESSAGE),
    ]


@pytest.mark.contract("resources-by-type-and-name")
def test_what_is_lent_is_of_its_type(flext_service, flext_world):
    class Lends:
        @hookimpl
        def flext_connect(self, connection):
            connection.provide(bytes, "text")

    host = flext_world.serve(flext_service, Lends)
    with pytest.raises(PluginError, match="lends provides as a bytes what is none: str"):
        flext_world.resource(host, bytes)
