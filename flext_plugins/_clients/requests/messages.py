"""requests' messages as plugins see them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from requests.exceptions import ChunkedEncodingError
from requests.exceptions import ConnectionError as WireError
from urllib3 import HTTPResponse, exceptions
from urllib3.util import parse_url

from flext_plugins._clients.bodies import NO_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flext_plugins._messages import BodyEnd


class RequestView:
    """A `PreparedRequest` as plugins see it."""

    __slots__ = ("extensions", "native")

    def __init__(self, native: Any, extensions: dict[str, Any]) -> None:
        self.native, self.extensions = native, extensions

    @property
    def method(self) -> str:
        method: str = self.native.method
        return method

    @method.setter
    def method(self, value: str) -> None:
        self.native.method = value

    @property
    def url(self) -> Any:
        return parse_url(self.native.url)

    @property
    def headers(self) -> Any:
        return self.native.headers

    @property
    def stream(self) -> Any:
        return self.native.body

    @stream.setter
    def stream(self, value: Any) -> None:
        self.native.body = value


class ResponseView:
    """A `Response` as plugins see it."""

    __slots__ = ("_request", "extensions", "native")

    def __init__(self, native: Any, request: RequestView | None) -> None:
        self.native, self._request = native, request
        self.extensions: dict[str, Any] = {}

    @property
    def status_code(self) -> int:
        status: int = self.native.status_code
        return status

    @status_code.setter
    def status_code(self, value: int) -> None:
        self.native.status_code = value

    @property
    def headers(self) -> Any:
        return self.native.headers

    @property
    def stream(self) -> Any:
        return self.native.raw

    @stream.setter
    def stream(self, value: Any) -> None:
        self.native.raw = value

    @property
    def request(self) -> Any:
        return self._request

    @request.setter
    def request(self, value: RequestView) -> None:
        self._request = value
        self.native.request = value.native


class Raw:
    """urllib3's response, counted; tells how it ended, and gives back its permit then."""

    def __init__(
        self, raw: Any, closed: Callable[[], Any] | None = None, limit: Any = NO_LIMIT
    ) -> None:
        self._raw, self._source, self._closed, self._limit = raw, raw, closed, limit
        self._watchers: list[BodyEnd] = []
        self._ended: tuple[BaseException | None, int] | None = None
        self._broken: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def watch(self, callback: BodyEnd) -> None:
        """Call `callback` at the end, or now if that has been."""
        if self._ended is None:
            self._watchers.append(callback)
        else:
            callback(*self._ended)

    def replay(self, data: bytes) -> None:
        """Give `data`, which has been read already, to who reads next."""
        self._source = made(data, self._raw.headers)
        self._watchers, self._ended = [], None

    def _end(self, error: BaseException | None) -> None:
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()
        if self._ended is None:
            self._ended = error and translated(error), self._source.tell()
            for callback in self._watchers:
                callback(*self._ended)

    def _break(self, error: Exception) -> None:
        self._broken = error
        self._raw.close()
        self._end(error)

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
        self._end(None)

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
            self._end(None)
        return data

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            self._end(None)


def made(data: bytes, headers: Any, status: int = 200) -> HTTPResponse:
    """urllib3's response around `data`, which is whole whatever `Content-Length` says."""
    return HTTPResponse(
        io.BytesIO(data), headers, status, preload_content=False, enforce_content_length=False
    )


def translated(error: BaseException) -> BaseException:
    """urllib3's error as requests would raise it while a body is read."""
    if isinstance(error, exceptions.ProtocolError):
        return ChunkedEncodingError(error)
    return WireError(error) if isinstance(error, exceptions.HTTPError) else error
