"""The verdict on an answer falls when its body ends, breaks or is closed."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from flext_plugins_circuit_breaker import CircuitBreaker, CircuitOpen, Counts, State

from flext_plugins.testing import Answer, LoopbackService, World

SOON = 0.2
BODY = b"x" * 400_000


class Talk:
    """A client of a guarded service, and its circuit."""

    def __init__(self, world: World, client: Any, circuit: CircuitBreaker) -> None:
        self.world, self.plain, self.circuit = world, client.plain, circuit

    def state(self) -> State:
        return self.circuit.state

    async def opened(self) -> Any:
        """An answer whose body is unread."""
        if self.world.name == "requests":
            return self.plain.get("/", stream=True)
        answer = self.plain.send(self.plain.build_request("GET", "/"), stream=True)
        return await answer if self.world.asynchronous else answer

    async def closed(self, answer: Any) -> None:
        await answer.aclose() if self.world.asynchronous else answer.close()

    async def read(self, answer: Any) -> None:
        if self.world.name == "requests":
            assert answer.content
        else:
            await answer.aread() if self.world.asynchronous else answer.read()

    async def begun(self, answer: Any) -> None:
        """Read the beginning and go away."""
        if self.world.asynchronous:
            async for _ in answer.aiter_raw():
                break
        else:
            next(answer.iter_content(9) if self.world.name == "requests" else answer.iter_raw())
        await self.closed(answer)


async def talk(world: World, url: str, **breaker: Any) -> Talk:
    plugins = {"circuit-breaker": {"recovery_timeout": SOON, **breaker}}
    service = {"base_url": url, "plugins": plugins, "timeout": {"read": 0.2}}
    host = world.host({"services": {"service": service}})
    client = await world.client(host)
    if world.asynchronous:
        return Talk(world, client, await host.aresource("service", CircuitBreaker))
    return Talk(world, client, host.resource("service", CircuitBreaker))


async def half_opened(talk: Talk, service: LoopbackService) -> Any:
    """A probe under way: an answer whose body is unread."""
    service.answer = Answer(503)
    await talk.closed(await talk.opened())
    assert talk.state() is State.OPEN
    await talk.world.sleep(SOON)
    service.answer = Answer(body=BODY)
    return await talk.opened()


async def test_ten_bodies_that_break_in_mid_stream_open_it(
    flext_world: World, flext_service: LoopbackService
) -> None:
    """interlock has settled at the headers, and stays closed."""
    guarded = await talk(flext_world, flext_service.url, failure_threshold=10)
    flext_service.answer = Answer(body=BODY, cut=1000)
    for _ in range(10):
        assert guarded.state() is State.CLOSED
        with pytest.raises(flext_world.lib.RemoteProtocolError):
            await guarded.read(await guarded.opened())
    with pytest.raises(CircuitOpen):
        await guarded.opened()
    assert len(flext_service.received) == 10


async def test_so_do_bodies_of_chunks_and_of_answers_that_count_for_nothing(
    flext_world: World, flext_service: LoopbackService
) -> None:
    guarded = await talk(flext_world, flext_service.url, failure_threshold=2)
    flext_service.answer = Answer(404, body=BODY, cut=10)
    with pytest.raises(flext_world.lib.RemoteProtocolError):
        await guarded.read(await guarded.opened())
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    flext_service.answer = Answer(raw=head + b"5\r\nhel")
    with pytest.raises(flext_world.lib.RemoteProtocolError):
        await guarded.read(await guarded.opened())
    assert guarded.state() is State.OPEN


async def test_a_body_that_the_caller_closes_early_is_no_failure(
    flext_world: World, flext_service: LoopbackService
) -> None:
    guarded = await talk(flext_world, flext_service.url, failure_threshold=1)
    flext_service.answer = Answer(body=BODY)
    for _ in range(3):
        await guarded.begun(await guarded.opened())
    assert guarded.circuit.counts == Counts(3, 0, 0, 0, 0)


async def test_an_application_that_reads_slowly_makes_no_call_slow(
    flext_world: World, flext_service: LoopbackService
) -> None:
    slow = {"slow_rate": 1, "slow_call": 0.5, "minimum_calls": 1}
    guarded = await talk(flext_world, flext_service.url, **slow)
    answer = await guarded.opened()
    await flext_world.sleep(0.6)
    await guarded.read(answer)
    assert guarded.circuit.counts == Counts(1, 0, 0, 0, 0)


async def test_an_answer_that_is_a_failure_counts_at_once_whatever_becomes_of_its_body(
    flext_world: World, flext_service: LoopbackService
) -> None:
    guarded = await talk(flext_world, flext_service.url, failure_threshold=2)
    flext_service.answer = Answer(500, body=BODY, cut=1000)
    answer = await guarded.opened()
    assert guarded.circuit.counts.failures == 1
    with pytest.raises(flext_world.lib.RemoteProtocolError):
        await guarded.read(answer)
    assert guarded.circuit.counts.failures == 1


@pytest.mark.parametrize("how", ["read", "begun", "closed"])
async def test_a_probe_closes_it_when_its_body_has_ended(
    flext_world: World, flext_service: LoopbackService, how: str
) -> None:
    guarded = await talk(flext_world, flext_service.url, failure_threshold=1)
    answer = await half_opened(guarded, flext_service)
    assert guarded.state() is State.HALF_OPEN
    await getattr(guarded, how)(answer)
    assert guarded.state() is State.CLOSED


async def test_a_probe_whose_body_breaks_opens_it_again(
    flext_world: World, flext_service: LoopbackService
) -> None:
    guarded = await talk(flext_world, flext_service.url, failure_threshold=1)
    await guarded.closed(await half_opened(guarded, flext_service))
    flext_service.answer = Answer(503)
    await guarded.closed(await guarded.opened())
    await flext_world.sleep(SOON)
    flext_service.answer = Answer(body=BODY, cut=1000)
    answer = await guarded.opened()
    assert guarded.state() is State.HALF_OPEN
    with pytest.raises(flext_world.lib.RemoteProtocolError):
        await guarded.read(answer)
    assert guarded.state() is State.OPEN


async def test_a_probe_whose_body_is_never_closed_loses_its_place(
    flext_world: World, flext_service: LoopbackService
) -> None:
    guarded = await talk(flext_world, flext_service.url, failure_threshold=1)
    forgotten = await half_opened(guarded, flext_service)
    with pytest.raises(CircuitOpen):
        await guarded.opened()
    await flext_world.sleep(SOON)
    await guarded.read(await guarded.opened())
    assert guarded.state() is State.CLOSED
    await guarded.closed(forgotten)
    assert guarded.circuit.counts.calls == 0  # of another generation


@pytest.fixture
def stalling() -> Iterator[str]:
    """The URL of a service whose bodies begin and never go on."""

    def serve() -> None:
        while True:
            try:
                connection = server.accept()[0]
            except OSError:
                return
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n012")
            connections.append(connection)

    connections: list[socket.socket] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    for connection in connections:
        connection.close()


async def test_a_body_that_stalls_is_a_failure(flext_world: World, stalling: str) -> None:
    guarded = await talk(flext_world, stalling, failure_threshold=1)
    with pytest.raises(flext_world.lib.TransportError):
        await guarded.read(await guarded.opened())
    assert guarded.state() is State.OPEN


async def test_a_cancelled_read_says_nothing(flext_async_world: World, stalling: str) -> None:
    guarded = await talk(flext_async_world, stalling, failure_threshold=1, recovery_timeout=60)
    guarded.circuit._breaker._become(State.HALF_OPEN, "for the test", 0)

    async def read(answer: Any) -> None:
        async for _ in answer.aiter_raw():
            begun.set()

    for _ in range(2):  # so the first has given its place back
        begun = asyncio.Event()
        answer = await guarded.opened()
        reading = asyncio.create_task(read(answer))
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await answer.aclose()
        assert guarded.state() is State.HALF_OPEN
    assert guarded.circuit.counts.calls == 0
