"""Faults that a server commits on request."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Send


@dataclass(frozen=True)
class Fault:
    """A way for coming requests to go wrong.

    `delay` (seconds) comes first, then the other faults. If there are none, or `cut_body` alone,
    the application's own answer follows.

    Raises:
        ValueError: a value is of the wrong type or out of range, or there is no fault in it.
    """

    status: int | None = None  # 200 to 599
    headers: Mapping[str, str] = field(default_factory=dict)  # beside `status` or `redirect`
    delay: float = 0.0  # seconds
    reset: bool = False  # TCP RST in place of an answer
    cut_body: int | None = None  # bytes of the body that arrive before the connection closes
    redirect: str | None = None  # Location; the status is 307 unless `status` says otherwise
    times: int | None = 1  # requests to spoil; None: until clear()
    path: str | None = None  # only requests whose path begins so

    def __post_init__(self) -> None:
        raw: object = self.headers  # may come from JSON, as everything here, whatever its type
        headers = raw.items() if isinstance(raw, Mapping) else [(None, None)]
        valid = {
            "status": _whole(self.status, 200, 599),
            "headers": all(isinstance(text, str) for pair in headers for text in pair),
            "delay": type(self.delay) in (int, float) and 0 <= self.delay < float("inf"),
            "reset": isinstance(self.reset, bool),
            "cut_body": _whole(self.cut_body, 0),
            "redirect": isinstance(self.redirect, str | None),
            "times": _whole(self.times, 1),
            "path": isinstance(self.path, str | None),
        }
        if wrong := [name for name, fine in valid.items() if not fine]:
            raise ValueError(f"fault: bad value for {', '.join(wrong)}")
        answers = self.status is not None or self.redirect is not None
        if self.headers and not answers:
            raise ValueError("fault: headers need a status or a redirect")
        if not (answers or self.delay or self.reset or self.cut_body is not None):
            raise ValueError("fault: ask for one of status, redirect, delay, reset, cut_body")

    def response(self) -> Response | None:
        """Return the answer that replaces the application's own, if any."""
        status, headers = self.status, dict(self.headers)
        if self.redirect is not None:
            status, headers = status or 307, {"Location": self.redirect, **headers}
        if status is None:
            return None
        if status in (204, 304):  # these have no body
            return Response(status_code=status, headers=headers)
        return JSONResponse({"error": f"devstack fault: {status}"}, status, headers)

    async def spoil(
        self,
        answer: Callable[[Send], Awaitable[None]],
        transport: asyncio.Transport,
        receive: Receive,
        send: Send,
    ) -> None:
        """Spoil one request, which `answer` would answer properly."""
        if self.delay:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_until_disconnected(receive), self.delay)
                return  # the client gave up, or the server is going down
        if self.reset:
            at_once = struct.pack("ii", 1, 0)
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            transport.abort()
            await _until_disconnected(receive)
        elif self.cut_body is not None:
            await _cut(self.cut_body, answer, send)
            transport.close()
            await _until_disconnected(receive)
        else:
            await answer(send)


def _whole(value: object, least: int, most: float = float("inf")) -> bool:
    return value is None or (type(value) is int and least <= value <= most)


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut(length: int, answer: Callable[[Send], Awaitable[None]], send: Send) -> None:
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await answer(keep)
    body = b"".join(message.get("body", b"") for message in messages)
    declared = str(max(len(body), length + 1)).encode()
    headers = [pair for pair in messages[0]["headers"] if pair[0] != b"content-length"]
    await send({**messages[0], "headers": [*headers, (b"content-length", declared)]})
    await send({"type": "http.response.body", "body": body[:length], "more_body": True})
