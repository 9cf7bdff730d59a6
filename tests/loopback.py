"""A real HTTP/1.1 server on 127.0.0.1, told what to answer and how to fail."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h11


@dataclass(frozen=True)
class Received:
    """One request, as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    socket: int


@dataclass(frozen=True)
class Answer:
    """What to answer, or how to fail."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    delay: float = 0.0
    reset: bool = False
    """Reset the connection instead of answering."""
    cut: int | None = None
    """Promise the body, send so many bytes of it, and hang up."""
    raw: bytes | None = None
    """Send this instead, and hang up."""


def echo(received: Received) -> Answer:
    """The request, as JSON."""
    told = {"method": received.method, "path": received.path, "headers": received.headers}
    body = json.dumps({**told, "body": received.body.decode("latin-1")}).encode()
    return Answer(headers={"Content-Type": "application/json"}, body=body)


class Server:
    """Runs in a thread of its own; `answer` may be replaced at any time."""

    def __init__(self) -> None:
        self.answer: Callable[[Received], Answer] = echo
        self.received: list[Received] = []
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
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [each.path for each in self.received]

    def listen(self) -> None:
        """Accept connections, on the same port as before."""

        async def start() -> None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, backlog=1024
            )
            self.port = self._server.sockets[0].getsockname()[1]

        self._do(start())

    def refuse(self) -> None:
        """Refuse connections until `listen`."""

        async def stop() -> None:
            assert self._server is not None
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()

        self._do(stop())

    def close(self) -> None:
        self.refuse()
        self._do(asyncio.sleep(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._opened += 1
        number = self._opened
        self.sockets += 1
        self.most_sockets = max(self.most_sockets, self.sockets)
        self._writers.add(writer)
        try:
            await self._converse(reader, writer, number)
        except (ConnectionError, h11.RemoteProtocolError, asyncio.IncompleteReadError):
            pass
        finally:
            self.sockets -= 1
            self._writers.discard(writer)
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        http = h11.Connection(h11.SERVER)
        while True:
            head, body = None, b""
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(await reader.read(65536))
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return
            assert head is not None
            received = Received(
                head.method.decode(),
                head.target.decode(),
                {name.decode(): value.decode("latin-1") for name, value in head.headers},
                body,
                number,
            )
            self.received.append(received)
            self.active += 1
            self.most_active = max(self.most_active, self.active)
            try:
                if not await self._reply(http, writer, self.answer(received), head.method):
                    return
            finally:
                self.active -= 1
            http.start_next_cycle()

    async def _reply(
        self, http: h11.Connection, writer: asyncio.StreamWriter, answer: Answer, method: bytes
    ) -> bool:
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
        headers = [*answer.headers.items(), ("Content-Length", str(len(answer.body)))]
        writer.write(http.send(h11.Response(status_code=answer.status, headers=headers)) or b"")
        if method != b"HEAD":
            part = answer.body if answer.cut is None else answer.body[: answer.cut]
            writer.write(http.send(h11.Data(data=part)) or b"")
        await writer.drain()
        if answer.cut is not None:
            return False
        writer.write(http.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return http.our_state is not h11.MUST_CLOSE
