"""A permit has a connection of its own: last in, first out, and only whole ones come back."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from flext_plugins_devstack.certificates import authority

from flext_plugins.testing import Answer

pytestmark = pytest.mark.once

CLOSE_WAIT = "08"
EXPIRY = 2.0
"""Seconds; longer than a slow machine takes for twenty calls at once."""
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
    if not world.asynchronous:  # asyncio closes by itself
        until(lambda: waiting_to_be_closed(flext_service) > 0)
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


def leave(world, host):
    """Open a stream, and leave it at its headers."""
    if world.asynchronous:

        async def work():
            async with world.aconnect(host) as client, client.stream("GET", "/"):
                pass

        world.run(work)
    else:
        with world.connect(host) as client, client.stream("GET", "/"):
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
        self._config, self._over = config, asyncio.Event()
        (listening,) = config.create_sockets().secure_sockets
        listening.listen(100)
        self.url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        config.bind = [f"fd://{listening.detach()}"]

    async def app(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.connections.add(scope["client"])
        if scope["path"] == "/slow":
            await asyncio.sleep(0.02)
        version = scope["http_version"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": version})

    @contextmanager
    def running(self):
        from hypercorn.asyncio import serve

        loop = asyncio.new_event_loop()
        serving = serve(self.app, self._config, shutdown_trigger=self._over.wait)
        thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
        thread.start()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(self._over.set)
            thread.join(10)
            loop.close()


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


def test_many_calls_share_one_connection_of_http2(http2, world):
    host = world.host(service_of(http2))
    world.get(host)
    works = [world.sender(host, "GET", "/slow") for _ in range(20)]
    assert {each.content for each in world.all(works)} == {b"2"}
    assert len(http2.connections) == 1


def test_a_service_that_speaks_no_http2_is_spoken_to_without(http1, world):
    host = world.host(service_of(http1, max_connections=3))
    works = [world.sender(host, "GET", "/slow") for _ in range(12)]
    assert {each.content for each in world.all(works)} == {b"1.1"}
    assert len(http1.connections) <= 3


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
    assert len(http2.connections) == 1
