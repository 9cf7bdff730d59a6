"""A permit has a connection of its own: last in, first out, and only whole ones come back."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from flext_plugins_devstack.certificates import authority

from flext_plugins.testing import Answer

pytestmark = pytest.mark.once

ESTABLISHED, CLOSE_WAIT = "01", "08"
EXPIRY = 2.0
"""Seconds; longer than a slow machine takes for twenty calls at once."""
STREAMS = 100
"""So many calls a connection of HTTP/2 carries."""
LARGE = 1 << 20
"""Bytes of an answer; twenty are more than a connection takes that nobody reads."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def world(flext_httpx_world):
    """urllib3 has a pool of its own."""
    return flext_httpx_world


def sockets(service):
    return [each.socket for each in service.received]


def many(world, host, number):
    """So many at once, each with its status."""
    works = [world.sender(host, "GET", "/") for _ in range(number)]
    return [each.status_code for each in world.all(works)]


@pytest.mark.contract("last-in-first-out")
def test_the_connection_that_was_used_last_is_used_next(flext_service, world):
    flext_service.answer = Answer(delay=0.2)
    host = world.serve(flext_service)
    assert many(world, host, 8) == [200] * 8
    assert flext_service.most_sockets == 8
    flext_service.answer = Answer()
    for _ in range(10):
        world.get(host)
    assert len({*sockets(flext_service)[8:]}) == 1


def waiting_to_be_closed(service):
    """So many of our connections to `service` that it has closed, and we have not."""
    remote = f"0100007F:{service.port:04X}"
    lines = Path("/proc/self/net/tcp").read_text("ascii").splitlines()[1:]
    return sum(line.split()[2:4] == [remote, CLOSE_WAIT] for line in lines)


def until(check):
    end = time.monotonic() + 10
    while not check():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.contract("last-in-first-out")
def test_what_nobody_uses_for_long_is_closed_by_the_next_call(flext_service, world):
    flext_service.answer = Answer(delay=0.2)
    host = world.serve(flext_service, keepalive_expiry=EXPIRY)
    assert many(world, host, 20) == [200] * 20
    opened = flext_service.sockets
    assert opened > 1
    world.get(host)
    assert flext_service.sockets == opened
    time.sleep(EXPIRY + 0.1)
    world.get(host)
    until(lambda: flext_service.sockets == 1)


@pytest.mark.contract("last-in-first-out")
def test_what_the_service_has_closed_is_closed_here_too(flext_service, world):
    flext_service.answer = Answer(raw=OK, delay=0.2)  # then it closes, without having said so
    host = world.serve(flext_service, keepalive_expiry=EXPIRY)
    assert many(world, host, 20) == [200] * 20
    until(lambda: not flext_service.sockets)
    time.sleep(EXPIRY + 0.1)
    flext_service.answer = Answer()
    world.get(host)
    assert waiting_to_be_closed(flext_service) == 0


BROKEN = {
    "that breaks": Answer(cut=1),
    "that comes to nothing": Answer(reset=True),
    "that comes too late": Answer(delay=1),
    "that nobody reads": Answer(body=b"x" * 1_000_000),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.contract("cancellation-unwinds")
def test_a_connection_is_not_used_again_after_an_answer(flext_service, world, what):
    host = world.serve(flext_service, max_connections=1, timeout=0.5)
    flext_service.answer = Answer()
    world.get(host)
    flext_service.answer = BROKEN[what]
    if what == "that nobody reads":
        leave(world, host)
    else:
        with pytest.raises(world.lib.TransportError):
            world.get(host)
    flext_service.answer = Answer()
    for _ in range(3):
        assert world.get(host).status_code == 200
    first, spoiled, *others = sockets(flext_service)
    assert spoiled == first
    assert first not in others
    assert len({*others}) == 1
    until(lambda: flext_service.sockets == 1)


def leave(world, host, path="/"):
    """Open a stream, and leave it at its headers."""
    if world.asynchronous:

        async def work():
            async with world.aconnect(host) as client, client.stream("GET", path):
                pass

        world.run(work)
    else:
        with world.connect(host) as client, client.stream("GET", path):
            pass


def test_what_a_service_closes_in_order_is_opened_again(flext_service, world):
    flext_service.answer = Answer(headers={"Connection": "close"})
    host = world.serve(flext_service, max_connections=1)
    assert [world.get(host).status_code for _ in range(3)] == [200] * 3
    assert len({*sockets(flext_service)}) == 3


# HTTP/2


class Http2:
    """A real server of HTTP/2, in a thread of its own; `protocols` are those that it offers."""

    def __init__(self, folder, protocols=("h2", "http/1.1")):
        from hypercorn.config import Config  # only where these tests run

        made = authority(folder / "tls")
        self.ca, self.connections = str(made.path), set()
        config = Config()
        config.bind = ["127.0.0.1:0"]
        config.certfile = config.keyfile = str(made.server)
        config.alpn_protocols = [*protocols]
        config.accesslog = config.errorlog = None
        config.graceful_timeout = 0.1
        config.keep_alive_timeout = 600  # as it stands, a slow machine has idle ones closed
        self._config, self._over = config, asyncio.Event()
        (listening,) = config.create_sockets().secure_sockets
        listening.listen(100)
        self.port = listening.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        config.bind = [f"fd://{listening.detach()}"]

    async def app(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.connections.add(scope["client"])
        path, version = scope["path"], scope["http_version"].encode()
        await asyncio.sleep({"/slow": 0.02, "/slower": 1}.get(path, 0))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if path == "/large":
            for _ in range(LARGE >> 16):
                await send(
                    {"type": "http.response.body", "body": bytes(1 << 16), "more_body": True}
                )
        await send({"type": "http.response.body", "body": version})

    @contextmanager
    def running(self):
        from hypercorn.asyncio import serve

        begun = threading.Event()

        async def serving():
            self._loop = asyncio.get_running_loop()
            begun.set()
            await serve(self.app, self._config, shutdown_trigger=self._over.wait)

        thread = threading.Thread(target=asyncio.run, args=(serving(),))  # it ends its tasks too
        thread.start()
        begun.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._over.set)
            thread.join(10)


@pytest.fixture
def http2(tmp_path):
    with Http2(tmp_path).running() as server:
        yield server


@pytest.fixture
def http1(tmp_path):
    with Http2(tmp_path, ["http/1.1"]).running() as server:
        yield server


def service_of(server, **more):
    service = {"base_url": server.url, "verify": server.ca, "http2": True, **more}
    return {"services": {"service": service}}


@pytest.mark.contract("last-in-first-out")
def test_calls_of_an_event_loop_share_a_connection_of_http2(http2, flext_async_world):
    host = flext_async_world.host(service_of(http2))
    flext_async_world.get(host)
    works = [flext_async_world.sender(host, "GET", "/slow") for _ in range(STREAMS)]
    assert {each.content for each in flext_async_world.all(works)} == {b"2"}
    assert len(http2.connections) == 1


@pytest.mark.contract("last-in-first-out")
def test_the_next_connections_are_opened_beyond_a_hundred_calls(http2, flext_async_world):
    host = flext_async_world.host(service_of(http2, keepalive_expiry=60))
    flext_async_world.get(host)
    works = [flext_async_world.sender(host, "GET", "/slow") for _ in range(2 * STREAMS + 1)]
    assert {each.content for each in flext_async_world.all(works)} == {b"2"}
    assert 2 <= len(http2.connections) <= 12
    before = len(http2.connections)
    assert {each.content for each in flext_async_world.all(works)} == {b"2"}
    assert len(http2.connections) == before


@pytest.mark.contract("permits-bound-exchanges")
def test_before_the_first_answer_no_more_are_opened_than_there_may_be(http2, flext_async_world):
    host = flext_async_world.host(service_of(http2, max_connections=5, timeout=5))
    works = [flext_async_world.sender(host, "GET", "/slow") for _ in range(60)]
    assert {each.content for each in flext_async_world.all(works)} == {b"2"}
    assert len(http2.connections) <= 5


@pytest.mark.contract("permits-bound-exchanges")
def test_who_finds_every_connection_of_http2_full_waits_no_longer_than_for_a_permit(
    http2, flext_async_world
):
    world, timeout = flext_async_world, {"pool": 0.1, "connect": 5, "read": 5, "write": 5}
    host = world.host(service_of(http2, max_connections=1, timeout=timeout))
    world.get(host)
    works = [world.sender(host, "GET", "/slower") for _ in range(STREAMS + 1)]
    answers = world.all(works)
    (refused,) = [each for each in answers if isinstance(each, Exception)]
    assert isinstance(refused, world.lib.PoolTimeout)
    assert "no connection was free for 0.1 s" in str(refused)
    assert len(http2.connections) == 1


@pytest.mark.contract("last-in-first-out")
def test_threads_have_connections_of_their_own_in_http2(http2, world):
    """The library's own come to grief over one that they share."""
    host, interval = world.host(service_of(http2, max_connections=8)), sys.getswitchinterval()
    works = [world.sender(host, "GET", "/slow") for _ in range(64)]
    sys.setswitchinterval(1e-6)
    try:
        answers = world.all(works)
    finally:
        sys.setswitchinterval(interval)
    assert [each.content for each in answers] == [b"2"] * 64
    assert len(http2.connections) <= 8


@pytest.mark.contract("last-in-first-out")
def test_answers_of_http2_that_nobody_reads_leave_room_for_others(http2, world):
    """A connection of httpcore's takes 16 MiB of them, and then waits for ever."""
    host = world.host(service_of(http2, timeout=5))
    for _ in range(20):
        leave(world, host, "/large")
    assert len(world.get(host, "/large").content) > LARGE


@pytest.mark.contract("last-in-first-out")
def test_what_shares_a_connection_with_an_answer_that_nobody_reads_goes_on(
    http2, flext_async_world
):
    world = flext_async_world
    host = world.host(service_of(http2))

    async def both():
        async with world.aconnect(host) as client:
            await client.get("/")
            slower = asyncio.ensure_future(client.get("/slower"))
            await asyncio.sleep(0.2)
            async with client.stream("GET", "/large"):
                pass
            assert len(http2.connections) == 1
            await client.get("/")
            assert len(http2.connections) == 2
            return await slower

    assert world.run(both).content == b"2"


@pytest.mark.contract("permits-bound-exchanges")
def test_a_service_that_speaks_no_http2_is_spoken_to_without(http1, world):
    """And has as many connections, each for itself."""
    host = world.host(service_of(http1, max_connections=3, timeout=5))
    works = [world.sender(host, "GET", "/slow") for _ in range(12)]
    for _ in range(2):
        assert {each.content for each in world.all(works)} == {b"1.1"}
    assert len(http1.connections) <= 3


@pytest.mark.contract("permits-bound-exchanges")
def test_its_permits_are_as_many_as_its_connections(http1, flext_async_world):
    world, timeout = flext_async_world, {"pool": 0.1, "connect": 5, "read": 5, "write": 5}
    host = world.host(service_of(http1, max_connections=1, timeout=timeout))
    world.get(host)
    answers = world.all([world.sender(host, "GET", "/slower") for _ in range(2)])
    (refused,) = [each for each in answers if isinstance(each, Exception)]
    assert "no connection was free for 0.1 s" in str(refused)


@pytest.mark.contract("cancellation-unwinds")
def test_who_is_cancelled_on_a_connection_that_is_being_made_harms_no_other(
    http2, flext_async_world
):
    """At each of the first turns of the loop, over connections that nobody has used."""
    world = flext_async_world

    async def thrice(turns):
        host = world.host(service_of(http2, max_connections=3, timeout=5))
        async with host, world.aconnect(host) as client:
            cancelled, *others = (asyncio.ensure_future(client.get("/slow")) for _ in range(3))
            for _ in range(turns):
                await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            for each in others:
                assert (await each).content == b"2", f"after {turns} turns"

    for turns in range(40):
        world.run(lambda turns=turns: thrice(turns))
    until(lambda: not connected_to(http2))


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
@pytest.mark.contract("cancellation-unwinds")
def test_who_is_cancelled_in_a_tls_handshake_leaves_no_socket(
    tmp_path, flext_async_world, protocol
):
    """httpcore leaves it to the collector; a `trace` of the application's goes on to be told."""
    world, steps = flext_async_world, []

    async def trace(event, details):
        steps.append(event)

    async def alone(client, turns):
        call = asyncio.ensure_future(client.get("/slow", extensions={"trace": trace}))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])

    async def every(server):
        host = world.host(service_of(server, timeout=5))
        async with host, world.aconnect(host) as client:
            for turns in range(40):
                await alone(client, turns)
            assert connected_to(server) <= 1

    with Http2(tmp_path, [protocol]).running() as server:
        world.run(lambda: every(server))
        until(lambda: not connected_to(server))
    assert "connection.connect_tcp.complete" in steps


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
@pytest.mark.contract("cancellation-unwinds")
def test_a_host_that_closes_while_calls_connect_leaves_nothing_open(
    tmp_path, flext_async_world, protocol
):
    world = flext_async_world

    async def closed(server, turns):
        host = world.host(service_of(server, max_connections=3, timeout=5))
        async with world.aconnect(host) as client:
            calls = [asyncio.ensure_future(client.get("/")) for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
            await host.aclose()
            await asyncio.wait(calls)
            for each in calls:
                each.exception()

    with Http2(tmp_path, [protocol]).running() as server:
        for turns in range(0, 40, 3):
            world.run(lambda turns=turns: closed(server, turns))
            until(lambda: not connected_to(server))


def connected_to(server):
    """So many connections of ours to `server` that are established."""
    remote = f"0100007F:{server.port:04X}"
    lines = Path("/proc/self/net/tcp").read_text("ascii").splitlines()[1:]
    return sum(line.split()[2:4] == [remote, ESTABLISHED] for line in lines)


@pytest.mark.contract("cancellation-unwinds")
def test_a_cancelled_stream_of_http2_harms_no_other_call(http2, flext_async_world):
    """At each of the first turns of the loop."""
    world = flext_async_world
    host = world.host(service_of(http2, max_connections=1, timeout=5))

    async def every():
        async with world.aconnect(host) as client:
            await client.get("/")
            for turns in range(60):
                cancelled, other = (asyncio.ensure_future(client.get("/slow")) for _ in range(2))
                for _ in range(turns):
                    await asyncio.sleep(0)
                cancelled.cancel()
                await asyncio.wait([cancelled])
                assert (await other).content == b"2", f"after {turns} turns"
                assert (await client.get("/")).content == b"2", f"after {turns} turns"

    world.run(every)
