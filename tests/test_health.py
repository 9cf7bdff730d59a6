"""How services are, asked at once and through their plugins: `host.health()`."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from flext_plugins_devstack.certificates import authority

from flext_plugins import ConfigError, FlextError, Host, Refused, Stage, events, hookimpl
from flext_plugins.testing import Answer

DEAD = "http://127.0.0.1:1"


def health(world, host, *services, **more):
    """All that `host` finds, in this world, with time enough unless a test says otherwise."""
    more.setdefault("timeout", 20)
    if world.asynchronous:
        return world.run(lambda: host.ahealth(*services, **more))
    return host.health(*services, **more)


def of_service(world, host, **more):
    return health(world, host, "service", **more)["service"]


def served(world, service, *plugins, **more):
    """A host whose one service has been called once, by this world's client."""
    host = world.serve(service, *plugins, **{"health": "/health", **more})
    world.get(host)
    service.received.clear()
    return host


def told(**body):
    return Answer(headers={"Content-Type": "application/json"}, body=json.dumps(body).encode())


class Guard:
    """Refuses everything, and counts what it is asked."""

    stage = Stage.GUARD
    asked = 0

    @hookimpl
    async def flext_exchange(self, request, send):
        Guard.asked += 1
        raise Refused("it guards")


class Marks:
    """Adds a header to everything."""

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Mark"] = "seen"


class Credential:
    """Sends a credential, or says that it has none."""

    stage = Stage.AUTH
    identifies = True
    has_one = True

    @hookimpl
    def flext_request(self, request):
        if not self.has_one:
            raise FlextError("there is no token")
        request.headers["Authorization"] = "Bearer t"


REPEATED = {
    "as its version": {"status": "pass", "version": "s3cret-canary"},
    "in its version, encoded": {"status": "pass", "version": "v1 s3cret%2Dcanary"},
    "as its status": {"status": "fail", "version": "s3cret-canary"},
    "with its scheme": {"version": "Bearer s3cret-canary"},
}


class Signs:
    stage = Stage.AUTH

    @hookimpl
    def flext_request(self, request):
        request.headers["Authorization"] = "Bearer s3cret-canary"


@pytest.mark.parametrize("place", REPEATED)
@pytest.mark.parametrize("whose", ["a plugin's", "the configuration's"])
@pytest.mark.contract("service-errors-are-masked")
def test_a_credential_that_a_service_repeats_is_not_in_its_health(
    flext_world, flext_service, place, whose
):
    flext_service.answer = told(**REPEATED[place])
    headers = {} if whose == "a plugin's" else {"X-Key": "s3cret-canary"}
    plugins = [Signs] if whose == "a plugin's" else []
    host = served(flext_world, flext_service, *plugins, headers=headers)

    found = of_service(flext_world, host)

    assert "***" in found.version
    assert "canary" not in json.dumps(found.as_dict())
    assert "canary" not in json.dumps(host.status().as_dict())


def test_a_healthy_service_tells_its_status_latency_and_version(flext_world, flext_service):
    host = served(flext_world, flext_service)
    flext_service.answer = told(status="pass", version="3.1")
    before = time.time()
    found = of_service(flext_world, host)
    assert (found.healthy, found.problem, found.reachable, found.status) == (True, "", True, 200)
    assert (found.version, found.tls, found.credential) == ("3.1", None, None)
    assert 0 < found.latency < 2
    assert before <= found.checked <= time.time()
    (asked,) = flext_service.received
    assert (asked.method, asked.path, asked.headers["cache-control"]) == (
        "GET",
        "/health",
        "no-cache",
    )


def test_a_service_without_such_a_path_is_asked_for_its_address_and_may_answer_anything(
    flext_world, flext_service
):
    host = served(flext_world, flext_service, health=None)
    flext_service.answer = Answer(status=404, body=b"")
    assert of_service(flext_world, host).healthy
    flext_service.answer = Answer(status=500, body=b"")
    assert of_service(flext_world, host).problem == "answered 500"
    assert {each.method for each in flext_service.received} == {"HEAD"}


ILL = {
    "answered 503": Answer(status=503),
    "answered 404": Answer(status=404),
    "answered 302": Answer(status=302, headers={"Location": "/login"}),
    "answered 401": Answer(status=401),
    "says that it is 'DOWN'": told(status="DOWN"),
    "says that it is 'unhealthy'": told(status=" unhealthy ", version="1"),
    "says that it is 'Unavailable'": told(data={"status": "Unavailable"}),
    "says that it is not well": told(healthy=False),
    "says that it is not well  ": told(status="ok", success=False),
    "the queue is full": told(ok=False, problem="the queue is full"),
    "read: ": Answer(reset=True),
    "no time left": Answer(delay=3),
}


@pytest.mark.parametrize("problem", ILL)
@pytest.mark.contract("health-heeds-answers")
def test_what_is_wrong_is_said(flext_world, flext_service, problem):
    host = served(flext_world, flext_service)
    flext_service.answer = ILL[problem]
    started = time.monotonic()
    found = of_service(flext_world, host, timeout=0.4 if problem == "no time left" else 20)
    assert not found.healthy
    assert problem.strip(" ") in found.problem
    assert found.reachable is (found.status is not None)
    assert time.monotonic() - started < 3


BOMB = gzip.compress(b'{"status": "down", "x": "%s"}' % (b"x" * 60_000))
BODIES = {
    "compressed": (BOMB, "application/json"),
    "a list": (b"[1]", "application/json"),
    "no JSON": (b"{", "application/json"),
    "nested without end": (b"[" * 60_000, "application/json"),
    "a version that is no text": (b'{"version": {"a": 1}, "status": 3}', "application/json"),
    "a page": (b'{"version": "1"}', "text/html"),
    "too long": (b'{"version": "1", "x": "%s"}' % (b"x" * 70_000), "application/json"),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_tells_nothing_is_passed_over(flext_world, flext_service, what):
    host = served(flext_world, flext_service)
    body, kind = BODIES[what]
    encoded = {"Content-Encoding": "gzip"} if what == "compressed" else {}
    flext_service.answer = Answer(headers={"Content-Type": kind, **encoded}, body=body)
    found = of_service(flext_world, host)
    assert (found.healthy, found.version, found.status) == (True, None, 200)
    assert flext_service.received[-1].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("digits", [1, 5000])
def test_a_body_says_the_same_however_it_is_sent(flext_world, flext_service, digits):
    host = served(flext_world, flext_service)
    said = {"Content-Type": "Application/JSON; charset=utf-8"}
    body = b'{"status": "DOWN", "version": "2", "n": %s}' % (b"7" * digits)
    flext_service.answer = Answer(headers=said, chunks=[body[:20], body[20:]])
    found = of_service(flext_world, host)
    assert (found.problem, found.version) == ("says that it is 'DOWN'", "2")


def test_a_body_that_breaks_is_a_problem_of_a_service_that_was_reached(flext_world, flext_service):
    host = served(flext_world, flext_service)
    said = {"Content-Type": "application/json"}
    flext_service.answer = Answer(headers=said, body=b"x" * 100, cut=10)
    found = of_service(flext_world, host)
    assert (found.healthy, found.reachable, found.status) == (False, True, 200)
    assert found.problem.startswith("its answer's body: ")


def test_a_service_that_is_not_there_is_not_reachable(flext_world, flext_service):
    host = served(flext_world, flext_service)
    flext_service.refuse()
    found = of_service(flext_world, host)
    assert (found.healthy, found.reachable, found.latency) == (False, False, None)
    assert found.problem.startswith("connect: ")


@pytest.mark.contract("health-passes-guards")
def test_it_goes_through_the_plugins_but_those_that_guard_or_send_again(flext_world, flext_service):
    host = flext_world.serve(flext_service, Guard, Marks, health="/health")
    Guard.asked = 0
    assert of_service(flext_world, host).healthy
    assert flext_service.received[-1].headers["x-mark"] == "seen"
    assert Guard.asked == 0


@pytest.mark.contract("health-passes-guards")
def test_no_circuit_opens_by_it_and_none_that_is_open_hides_the_service(flext_world, flext_service):
    plugins = {"circuit-breaker": {"failure_threshold": 2}, "retry": {"attempts": 3}}
    host = served(flext_world, flext_service, plugins=plugins)

    def circuit():
        (found,) = flext_world.status(host)["circuit-breaker"].facts["circuits"]
        return found["state"]

    flext_service.answer = Answer(status=503)
    for _ in range(10):
        assert not of_service(flext_world, host).healthy
    assert len(flext_service.received) == 10
    assert circuit() == "closed"
    flext_world.status(host)["circuit-breaker"].actions["trip"]()
    assert circuit() == "forced-open"
    flext_service.answer = Answer()
    assert of_service(flext_world, host).healthy
    assert circuit() == "forced-open"


def test_a_credential_is_accepted_refused_or_missing(flext_world, flext_service):
    host = served(flext_world, flext_service, Credential)
    assert of_service(flext_world, host).credential == "accepted"
    flext_service.answer = Answer(status=403)
    found = of_service(flext_world, host)
    assert (found.credential, found.problem) == ("refused", "answered 403")
    Credential.has_one = False
    try:
        found = of_service(flext_world, host)
    finally:
        Credential.has_one = True
    assert (found.credential, found.reachable) == ("missing", None)
    assert "there is no token" in found.problem


@pytest.mark.contract("health-passes-guards")
def test_an_answer_of_a_plugins_is_none_of_the_services(flext_world, flext_service):
    class Cache:
        stage = Stage.CALL

        @hookimpl
        def flext_request(self, connection):
            return connection.respond(200)

    host = flext_world.serve(flext_service, Cache, health="/health")
    found = of_service(flext_world, host)
    assert (found.healthy, found.reachable) == (False, None)
    assert found.problem == "the answer is plugin 'cache''s"


@pytest.mark.contract("health-ends-in-time")
def test_all_are_asked_at_once(flext_world, flext_service):
    flext_service.answer = Answer(delay=0.3)
    services = {f"s{n}": {"base_url": flext_service.url, "health": "/"} for n in range(20)}
    host = flext_world.host({"services": services})
    started = time.monotonic()
    found = health(flext_world, host, timeout=5)
    assert [*found] == [*services]
    assert all(each.healthy for each in found.values())
    assert time.monotonic() - started < 20 * 0.3
    assert flext_service.most_active > 5


@pytest.mark.contract("health-ends-in-time")
def test_one_that_cannot_be_composed_is_told_beside_the_others(flext_world, flext_service):
    services = {
        "well": {"base_url": flext_service.url},
        "wrong": {"base_url": flext_service.url, "plugins": {"no-such-plugin": {}}},
    }
    found = health(flext_world, flext_world.host({"services": services}))
    assert found["well"].healthy
    assert "no-such-plugin" in found["wrong"].problem
    assert found["wrong"].reachable is None


def test_a_name_that_no_service_has_is_an_error(flext_world, flext_service):
    host = flext_world.serve(flext_service)
    with pytest.raises(ConfigError, match="no service is named 'servise'.*'service'"):
        health(flext_world, host, "servise")


@pytest.mark.parametrize(
    "path",
    [
        "wellness",
        "//evil.example/",
        "http://evil.example/",
        "",
        "/\\evil.example",
        "/a#b",
        "/a b",
        "/ö",
    ],
)
def test_the_path_is_a_path(path):
    with pytest.raises(ConfigError, match=r"services\.s\.health: .*expected a path, such as /heal"):
        Host({"services": {"s": {"base_url": DEAD, "health": path}}})


class Store:
    """A resource that is as it is told."""

    problem: object = None

    def health(self):
        if isinstance(self.problem, Exception):
            raise self.problem
        return self.problem() if callable(self.problem) else self.problem


class AsyncStore(Store):
    """One for event loops."""

    async def health(self):
        await asyncio.sleep(0)
        return Store.health(self)


class Lends:
    """Lends a store."""

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Store, AsyncStore() if connection.asynchronous else Store())
        connection.provide(dict, {})  # which has no health


class Faulty:
    """What cannot be looked at."""

    @property
    def healthy(self):
        raise OSError(111, "secret")


class Found:
    """What a database says of itself."""

    latency = 0.25
    version = "23.1"

    def __init__(self, healthy=True):
        self.healthy = healthy


RESOURCES = {
    "it gives nothing": (None, True, ""),
    "it tells more": (Found(), True, ""),
    "it gives False": (False, False, "says that it is not well"),
    "it tells that it is not well": (Found(healthy=False), False, "says that it is not well"),
    "it tells so in a mapping": ({"status": "DOWN"}, False, "says that it is 'DOWN'"),
    "it tells so in a text": ("unhealthy", False, "says that it is 'unhealthy'"),
    "it gives an error": (lambda _: OSError(111, "secret"), False, "Connection refused"),
    "it gives an address": ("127.0.0.1:389", True, ""),
    "it gives a mapping": (
        {"status": "degraded", "healthy": True, "components": {"a": "down"}},
        True,
        "",
    ),
    "it refuses": (Refused("all are in use"), False, "all are in use"),
    "it breaks": (OSError(111, "secret"), False, "Connection refused"),
    "what it gives breaks": (Faulty(), False, "Connection refused"),
}


@pytest.mark.parametrize("what", RESOURCES)
@pytest.mark.contract("health-heeds-answers")
def test_resources_are_asked_by_their_own_health(flext_httpx_world, monkeypatch, what):
    result, healthy, problem = RESOURCES[what]
    monkeypatch.setattr(Store, "problem", result)
    services = {"service": {"plugins": {"lends": {}}}}
    host = flext_httpx_world.host({"services": services}, lends=Lends)
    found = of_service(flext_httpx_world, host)
    (store,) = found.resources
    assert (store.kind, store.plugin, store.healthy) == ("Store", "lends", healthy)
    assert problem in store.problem
    assert found.healthy is healthy
    assert found.problem == (f"Store: {store.problem}" if problem else "")
    assert (store.version, store.latency > 0) == (getattr(result, "version", None), True)
    assert "secret" not in repr(found)


@pytest.mark.contract("health-ends-in-time")
@pytest.mark.once
def test_one_that_never_ends_is_left_behind(flext_service):
    ends = threading.Event()

    class Deaf(Lends):
        @hookimpl
        def flext_connect(self):
            ends.wait(20)

    services = {
        "deaf": {"base_url": flext_service.url, "plugins": {"deaf": {}}},
        "well": {"base_url": flext_service.url},
    }
    with Host({"services": services}) as host:
        host.register(Deaf, "deaf")
        try:
            found = host.health(timeout=0.2)
        finally:
            ends.set()
    assert found["deaf"].problem == "no answer within 0.2 s"
    assert found["well"].healthy


@pytest.mark.once
@pytest.mark.contract("health-ends-in-time")
def test_one_that_hangs_has_one_thread_and_one_permit_however_often_it_is_asked(flext_service):
    """Nothing ends what a resource does by itself."""
    ends, asked = threading.Event(), []

    class Trickles(Store):
        def health(self):
            asked.append(None)
            ends.wait(20)

    class Lender:
        @hookimpl
        def flext_connect(self, connection):
            connection.provide(Store, Trickles())

    def threads():
        return [each for each in threading.enumerate() if each.name == "flext-plugins health"]

    before = {*threads()}
    with Host({"services": {"s": {"plugins": {"lender": {}}}}}) as host:
        host.register(Lender, "lender")
        try:
            for _ in range(5):
                assert host.health(timeout=0.1)["s"].problem == "no answer within 0.1 s"
            assert len({*threads()} - before) == 1
            assert len(asked) == 1
        finally:
            ends.set()
        assert host.health()["s"].healthy


LEAVES = """
from threading import Event
from flext_plugins import Host, hookimpl

class Deaf:
    def health(self):
        Event().wait()

class Lender:
    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Deaf, Deaf())

host = Host({"services": {"s": {"plugins": {"lender": {}}}}})
host.register(Lender, "lender")
print(host.health(timeout=0.1)["s"].problem)
"""


@pytest.mark.once
def test_a_program_ends_though_one_hangs():
    done = subprocess.run(
        [sys.executable, "-c", LEAVES], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "no answer within 0.1 s\n"


class Leaves:
    """Does what no plugin should."""

    error = SystemExit

    @hookimpl
    def flext_request(self):
        raise Leaves.error


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError])
def test_what_a_plugin_raises_is_its_services_problem(
    flext_world, flext_service, monkeypatch, error
):
    if flext_world.asynchronous and error is SystemExit:
        pytest.skip("it ends an event loop, whoever raises it")
    monkeypatch.setattr(Leaves, "error", error)
    services = {
        "left": {"base_url": flext_service.url, "plugins": {"leaves": {}}},
        "well": {"base_url": flext_service.url},
    }
    found = health(flext_world, flext_world.host({"services": services}, leaves=Leaves))
    assert found["left"].problem == f"asking raised {error.__name__}"
    assert found["well"].healthy


@pytest.mark.once
def test_a_resource_that_blocks_does_not_stop_the_event_loop(flext_service):
    class Blocks(Store):
        def health(self):
            time.sleep(0.5)

    class Lender:
        @hookimpl
        def flext_connect(self, connection):
            connection.provide(Store, Blocks())

    async def ask():
        async with Host({"services": {"s": {"plugins": {"lender": {}}}}}) as host:
            host.register(Lender, "lender")
            asking, ticks = asyncio.ensure_future(host.ahealth()), 0
            while not asking.done():
                await asyncio.sleep(0.01)
                ticks += 1
            return ticks

    assert asyncio.run(ask()) > 5


@pytest.mark.once
@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), 1e12])
def test_a_time_that_is_none_is_refused(timeout):
    with Host({}) as host, pytest.raises(ValueError, match="takes a positive number of seconds"):
        host.health(timeout=timeout)


@contextmanager
def tls_server(folder):
    """A service over TLS that answers each connection once; gives its address and its CA."""
    made = authority(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server)
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()

    def answer():
        while True:
            peer, _ = listener.accept()
            with peer:
                if is_over.is_set():
                    return
                try:
                    with context.wrap_socket(peer, server_side=True) as tls:
                        tls.recv(65536)
                        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                except OSError:
                    pass

    thread = threading.Thread(target=answer)
    thread.start()
    port = listener.getsockname()[1]
    try:
        yield f"https://127.0.0.1:{port}", str(made.path)
    finally:
        is_over.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
        listener.close()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(
    ("verify", "tls"), [(True, "failed"), ("CA", "verified"), (False, "not verified")]
)
def test_tls_is_verified_or_not_or_has_failed(flext_world, tmp_path, verify, tls):
    with tls_server(tmp_path) as (url, ca):
        service = {"base_url": url, "verify": ca if verify == "CA" else verify, "health": "/"}
        host = flext_world.host({"services": {"service": service}})
        try:
            flext_world.get(host)
        except flext_world.lib.TransportError:
            assert tls == "failed"
        found = of_service(flext_world, host)
    assert found.tls == tls
    assert found.reachable is (tls != "failed")


def test_what_was_found_last_is_in_the_status_and_told_to_the_plugins(flext_world, flext_service):
    seen = []

    class Sees:
        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.HealthChecked):
                seen.append(event)

    host = served(flext_world, flext_service, Sees)
    assert host.status().services["service"].health is None
    flext_service.answer = Answer(status=503)
    found = of_service(flext_world, host)
    assert host.status().services["service"].health == found
    assert json.loads(json.dumps(host.status().as_dict()))
    assert seen == [events.HealthChecked(False, "answered 503", found.latency)]


def test_a_failure_that_only_it_saw_is_no_warning_in_the_log(flext_world, flext_service, caplog):
    host = served(flext_world, flext_service)
    flext_service.refuse()
    assert not of_service(flext_world, host).healthy
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


def test_a_host_that_is_closed_says_so(flext_world, flext_service):
    host = served(flext_world, flext_service)
    flext_world.close(host)
    assert "the host is closed" in of_service(flext_world, host).problem
