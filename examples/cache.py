"""A plugin: keeps answers in memory as long as the service says, and only what is nobody's own.

A tee takes a copy as the application reads, so that a large answer is never waited for. Register
it, or offer it as an entry point:

host.register(Cache, name="cache")
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, PositiveInt

from flext_plugins import Stage, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins import Connection, Request, Response, Send


class Kept(NamedTuple):
    """An answer, its body as it was on the wire."""

    until: float
    status: int
    headers: dict[str, str]
    body: bytes


class CacheSettings(BaseModel):
    """How many answers are kept, and how many bytes of each at most."""

    answers: PositiveInt = 1000
    size: PositiveInt = 2**20


class Cache:
    """Answers a `GET` from memory while the service's `max-age` lasts."""

    Settings = CacheSettings
    stage = Stage.CALL

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._kept: dict[tuple[str, str | None], Kept] = {}

    @hookimpl
    async def flext_exchange(
        self, request: Request, send: Send, connection: Connection
    ) -> Response:
        """Answer, or send and keep the answer."""
        key = str(request.url), request.headers.get("Accept-Encoding")
        kept = self._kept.get(key)
        is_usual = request.method == "GET" and "Cache-Control" not in request.headers
        if is_usual and kept is not None and kept.until > time.monotonic():
            return connection.respond(kept.status, kept.headers, kept.body)
        response = await send(request)
        seconds = _seconds(response)
        sent = connection.sent(response)
        may_keep = is_usual and seconds and sent is not None and not sent.identified
        if may_keep and (connection.size(response) or 0) <= self._settings.size:
            until = time.monotonic() + seconds
            headers = {name.lower(): value for name, value in response.headers.items()}
            for name in ("content-length", "transfer-encoding"):  # `respond` says its own
                headers.pop(name, None)
            keep = lambda body: self._keep(key, Kept(until, 200, headers, body))  # noqa: E731
            connection.transform(response, lambda: Tee(keep, self._settings.size))
        return response

    def _keep(self, key: tuple[str, str | None], kept: Kept) -> None:
        self._kept[key] = kept
        while len(self._kept) > self._settings.answers:
            self._kept.pop(next(iter(self._kept)), None)


class Tee:
    """Takes a copy of a body as it passes, and hands it on when it is whole."""

    def __init__(self, keep: Callable[[bytes], None], most: int) -> None:
        self._keep, self._most = keep, most
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        """`chunk` itself."""
        self._size += len(chunk)
        if self._size <= self._most:
            self._chunks.append(chunk)
        return chunk

    def end(self) -> bytes:
        """Nothing more."""
        if self._size <= self._most:
            self._keep(b"".join(self._chunks))
        return b""


def _seconds(response: Response) -> int:
    """The seconds for which the answer may be kept for everybody."""
    told = response.headers.get("Cache-Control", "").lower()
    is_private = {"no-store", "no-cache", "private"} & {each.strip() for each in told.split(",")}
    varies = "Vary" in response.headers or "Set-Cookie" in response.headers
    if response.status_code != 200 or is_private or varies:
        return 0
    age = re.search(r"max-age=(\d{1,9})", told)
    return int(age[1]) if age else 0
