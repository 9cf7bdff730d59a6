"""Bodies on their way over aiohttp: a request's, and an answer's."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.payload import Payload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable

    from aiohttp.abc import AbstractStreamWriter

    from flext_plugins._clients.httpx.aiohttp import AiohttpTransport, Exchange

PIECE = 64 * 1024
"""Bytes that are written at a time."""
LENGTH = "data for declared Content-Length"


class Upload(Payload):
    """The request's body, each piece of which has the time-out for writing.

    Attributes:
        broken: what the body raised, or was wrong with it.
        is_written: whether all of it is.
    """

    _default_content_type = "application/octet-stream"

    def __init__(
        self, lib: Any, value: Any, request: Any, timeout: float | None, *, is_chunked: bool
    ) -> None:
        super().__init__(value)
        self._lib, self._request, self._timeout = lib, request, timeout
        self._is_chunked = is_chunked
        self.broken: Exception | None = None
        self.is_written = False

    @classmethod
    def of(
        cls, lib: Any, request: Any, timeout: float | None, *, is_chunked: bool
    ) -> Upload | None:
        """The body of `request`, if it has or promises one."""
        value = request.stream
        if isinstance(value, lib.ByteStream):
            value = b"".join(value)
        is_none = request.headers.get("Content-Length", "0") == "0" and not is_chunked
        if value == b"" and is_none:
            return None
        return cls(lib, value, request, timeout, is_chunked=is_chunked)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        """Show nothing of it."""
        return ""

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all of it."""
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write all of it, which has to be as long as was said."""
        length, whole = None if self._is_chunked else content_length, self._value
        try:
            if isinstance(whole, bytes) and length is not None and len(whole) == length <= PIECE:
                await writer.write(whole)  # waits for nothing
            else:
                await self._write_pieces(writer, length)
            await self._in_time(writer.drain())
        except Exception:  # whoever reads an answer already shall not wait for its rest
            if (transport := writer.transport) is not None:
                transport.abort()
            raise
        self.is_written = True

    async def _write_pieces(self, writer: AbstractStreamWriter, length: int | None) -> None:
        written = 0
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                written += len(piece)
                if length is not None and written > length:
                    raise self._wrong(f"Too much {LENGTH}")
                await self._in_time(writer.write(piece))
        if length is not None and written < length:
            raise self._wrong(f"Too little {LENGTH}")

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        whole = self._value
        if isinstance(whole, bytes):
            for start in range(0, len(whole), PIECE):
                yield whole[start : start + PIECE]
            return
        pieces = aiter(whole)
        try:
            async for piece in pieces:
                yield piece
        except Exception as error:
            self.broken = error
            raise
        finally:
            if hasattr(pieces, "aclose"):
                await pieces.aclose()

    async def _in_time(self, writing: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await writing
        except TimeoutError:
            self.broken = self._lib.WriteTimeout("", request=self._request)
            raise

    def _wrong(self, what: str) -> Exception:
        self.broken = self._lib.LocalProtocolError(what, request=self._request)
        return self.broken


class AnswerBody:
    """The body of an answer, each wait for which has the time-out for reading."""

    def __init__(
        self, transport: AiohttpTransport, answer: aiohttp.ClientResponse, exchange: Exchange
    ) -> None:
        self._transport, self._answer, self._exchange = transport, answer, exchange
        if answer.connection is not None:
            # aiohttp would count the time that nobody reads as well.
            exchange.protocol.read_timeout = None
            exchange.protocol.start_timeout()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content, failure = self._answer.content, None
        try:
            while not content.at_eof():
                chunk = content.read_nowait()
                if not chunk:
                    async with asyncio.timeout(self._exchange.read):
                        chunk = await content.readany()
                if chunk:
                    yield chunk
        except (aiohttp.ClientError, OSError) as error:
            failure = self._exchange.failure(self._lost(error))
        if self._transport.closing is not None:  # which may look like the end of the body
            await self._transport.closing
            failure = self._transport.lib.ReadError("The connection was closed")
        if failure is not None:
            raise failure

    def _lost(self, error: Exception) -> Exception:
        """Find what was wrong with the connection, if the body is cut short by that."""
        why = self._exchange.protocol.exception()
        is_cut = isinstance(error, aiohttp.ClientPayloadError)
        return why if is_cut and isinstance(why, aiohttp.ClientOSError) else error

    async def aclose(self) -> None:
        """Let others use the connection, if nothing more is sent on it, or close it."""
        upload = self._exchange.upload
        if self._answer.content.at_eof() and (upload is None or upload.is_written):
            self._answer.release()
        else:
            self._answer.close()
            self._exchange.abort()
