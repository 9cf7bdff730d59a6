"""Bodies of requests' responses on their way."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from requests.exceptions import ChunkedEncodingError
from requests.exceptions import ConnectionError as WireError
from urllib3 import HTTPResponse, exceptions

from flext_plugins._clients.bodies import NO_LIMIT, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Raw(Watched):
    """urllib3's response, counted; tells how it ended, and gives back its permit then."""

    def __init__(
        self, raw: Any, on_close: Callable[[], Any] | None = None, limit: Any = NO_LIMIT
    ) -> None:
        super().__init__()
        self._raw, self._source, self._on_close, self._limit = raw, raw, on_close, limit
        self._broken: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def replay(self, data: bytes) -> None:
        """Give `data`, which has been read already, to who reads next."""
        self._source = whole(data, self._raw.headers)
        self._watchers, self._ending = [], None

    def _over(self, error: BaseException | None) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
        self._end(error and translated(error), self._source.tell())

    def _break(self, error: Exception) -> None:
        self._broken = error
        self._raw.close()
        self._over(error)

    def _check(self) -> None:
        if self._broken is not None:  # urllib3 would give nothing, as if the body were complete
            raise self._broken

    def stream(self, *args: Any, **options: Any) -> Iterator[bytes]:
        self._check()
        try:
            chunks = self._source.stream(*args, **options)
            while (chunk := self._next(chunks)) is not None:
                yield chunk
        except Exception as error:
            self._break(error)
            raise
        self._over(None)

    def _next(self, chunks: Iterator[bytes]) -> bytes | None:
        with self._limit:
            return next(chunks, None)

    def read(self, *args: Any, **options: Any) -> bytes:
        self._check()
        try:
            with self._limit:
                data: bytes = self._source.read(*args, **options)
        except Exception as error:
            self._break(error)
            raise
        if not data:
            self._over(None)
        return data

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            self._over(None)


def whole(data: bytes, headers: Any, status: int = 200) -> HTTPResponse:
    """urllib3's response around `data`, which is whole whatever `Content-Length` says."""
    return HTTPResponse(
        io.BytesIO(data), headers, status, preload_content=False, enforce_content_length=False
    )


def translated(error: BaseException) -> BaseException:
    """urllib3's error as requests would raise it while a body is read."""
    if isinstance(error, exceptions.ProtocolError):
        return ChunkedEncodingError(error)
    return WireError(error) if isinstance(error, exceptions.HTTPError) else error
