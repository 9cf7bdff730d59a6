"""A real HTTP/1.1 server on 127.0.0.1, told what to answer and how to fail."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Sequence  # noqa: TC003 - `typing.get_type_hints` looks here
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h11

if TYPE_CHECKING:
    from collections.abc import Coroutine

PATIENCE = 5.0
"""Seconds for the server's own thread to do what it is told."""


@dataclass(frozen=True)
class Received:
    """One request, as it arrived."""

    method: str
    path: str
    """With the query, as it stood in the request's first line."""
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    socket: int
    """Which of the server's connections it came by, counted from 1."""


@dataclass(frozen=True)
class Answer:
    """An answer, or a way to fail."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    delay: float = 0.0
    """Seconds to wait first."""
    reset: bool = False
    """Reset the connection instead of answering."""
    cut: int | None = None
    """Promise the body, send so many bytes of it, and hang up."""
    raw: bytes | None = None
    """Send these bytes instead, and hang up."""
    chunks: Sequence[bytes] = ()
    """Send these instead of the body, one by one, without saying how long they are together."""
    pause: float = 0.0
    """Seconds between two chunks."""


def echo(received: Received) -> Answer:
    """The request, as JSON: what a `LoopbackService` answers until it is told otherwise."""
    told = {"method": received.method, "path": received.path, "headers": received.headers}
    body = json.dumps({**told, "body": received.body.decode("latin-1")}).encode()
    return Answer(headers={"Content-Type": "application/json"}, body=body)


class LoopbackService:
    """A service that listens on a free port of 127.0.0.1, in a thread of its own, until `close`.

    Attributes:
        answer: an `Answer`, or a function that gives one for what was `Received`; it may be
            replaced at any time. At first the service answers with what it received, as JSON.
        received: all requests so far, in the order in which they were complete.
        errors: what the function `answer` raised; the connection is reset then, and the fixtures
            fail the test.
        port: where it listens; `refuse` and `listen` keep it.
        sockets: how many connections are open now.
        most_sockets: how many connections were open at a time, at most.
        active: how many requests are being answered now.
        most_active: how many requests were being answered at a time, at most.
    """

    def __init__(self) -> None:
        self.answer: Answer | Callable[[Received], Answer] = echo
        self.received: list[Received] = []
        self.errors: list[Exception] = []
        self.sockets = self.most_sockets = self.active = self.most_active = 0
        self._opened = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.listen()

    @property
    def url(self) -> str:
        """Its origin, such as `http://127.0.0.1:40123`."""
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        """The path of each request so far."""
        return [each.path for each in self.received]

    def listen(self) -> None:
        """Accept connections again, on the same port as before."""

        async def start() -> None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, backlog=1024
            )
            self.port = self._server.sockets[0].getsockname()[1]

        self._do(start())

    def refuse(self) -> None:
        """Break all connections, and refuse new ones until `listen`."""

        async def stop() -> None:
            for _ in range(3):  # what is being accepted belongs to a server that still is one
                await asyncio.sleep(0)
            if self._server is not None:
                self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()

        self._do(stop())

    def close(self) -> None:
        """Stop for good; the fixtures do it after each test."""
        self.refuse()
        self._do(asyncio.sleep(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._opened += 1
        number = self._opened
        self.sockets += 1
        self.most_sockets = max(self.most_sockets, self.sockets)
        self._writers.add(writer)
        try:
            await self._converse(reader, writer, number)
        except (ConnectionError, h11.RemoteProtocolError, asyncio.IncompleteReadError):
            pass  # the client hung up, or speaks something else
        except asyncio.CancelledError:
            pass  # closed in the middle of an answer; `asyncio.streams` would log it as an error
        finally:
            self.sockets -= 1
            self._writers.discard(writer)
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        http = h11.Connection(h11.SERVER)
        while (received := await _read(http, reader, number)) is not None:
            self.received.append(received)
            self.active += 1
            self.most_active = max(self.most_active, self.active)
            try:
                answer = self._decide(received)
                if not await _reply(http, writer, answer, received.method):
                    return
            finally:
                self.active -= 1
            http.start_next_cycle()

    def _decide(self, received: Received) -> Answer:
        answer = self.answer
        try:
            return answer if isinstance(answer, Answer) else answer(received)
        except Exception as error:
            self.errors.append(error)
            return Answer(reset=True)


async def _read(http: h11.Connection, reader: asyncio.StreamReader, number: int) -> Received | None:
    """The next request, if there is one."""
    head, body = None, b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return Received(
                head.method.decode(),
                head.target.decode(),
                {name.decode(): value.decode("latin-1") for name, value in head.headers},
                body,
                number,
            )
        else:
            return None


async def _reply(
    http: h11.Connection, writer: asyncio.StreamWriter, answer: Answer, method: str
) -> bool:
    """Whether the connection can go on afterwards."""
    if answer.delay:
        await asyncio.sleep(answer.delay)
    if answer.reset:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False
    if answer.raw is not None:
        writer.write(answer.raw)
        await writer.drain()
        return False
    is_bare = method == "HEAD" or answer.status in {204, 304}  # whatever its body
    length = ("Content-Length", str(len(answer.body)))
    headers = [*answer.headers.items()]
    if not answer.chunks and answer.status != 204:
        headers.append(length)
    writer.write(http.send(h11.Response(status_code=answer.status, headers=headers)) or b"")
    if not is_bare:
        parts = answer.chunks or [answer.body if answer.cut is None else answer.body[: answer.cut]]
        for number, part in enumerate(parts):
            await asyncio.sleep(answer.pause if number else 0)
            writer.write(http.send(h11.Data(data=part)) or b"")
            await writer.drain()
    await writer.drain()
    if answer.cut is not None:
        return False
    writer.write(http.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    return http.our_state is not h11.MUST_CLOSE
