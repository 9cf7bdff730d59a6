"""Requests and responses of httpx, and of libraries with the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flext_plugins._clients.bodies import Upload, can_seek, original
from flext_plugins._clients.messages import ServiceMessages
from flext_plugins._messages import Failure, Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flext_plugins._clients.httpx import HttpxLibrary
    from flext_plugins._messages import Start
    from flext_plugins._service import Service

FAILURES = {
    "ConnectError": Failure.CONNECT,
    "ConnectTimeout": Failure.CONNECT,
    "ProxyError": Failure.CONNECT,
    "PoolTimeout": Failure.POOL,
    "TimeoutException": Failure.TIMEOUT,
    "WriteError": Failure.WRITE,
    "ReadError": Failure.READ,
    "CloseError": Failure.READ,
    "RemoteProtocolError": Failure.PROTOCOL,
    "LocalProtocolError": Failure.CALLER,
    "UnsupportedProtocol": Failure.CALLER,
    "InvalidURL": Failure.CALLER,
    "StreamError": Failure.CALLER,
}
"""The library's errors by name; an error is the first that fits, so the narrower come first."""


class HttpxRequest(Request):
    """A request of httpx."""

    __slots__ = ()

    def _target(self) -> str:
        target: bytes = self.native.url.raw_path
        return target.decode("ascii")

    def fields(self) -> list[Any]:
        fields: list[Any] = self.native.headers.raw
        return fields


class HttpxResponse(Response):
    """A response of httpx."""

    __slots__ = ()

    @property
    def extensions(self) -> dict[str, Any]:
        extensions: dict[str, Any] = self.native.extensions
        return extensions

    def unwrapped(self, request: Request) -> Any:
        native = self.native
        native.request = request.native
        return native


class HttpxMessages(ServiceMessages):
    """The messages of one service in one library."""

    def __init__(self, library: HttpxLibrary, service: Service) -> None:
        super().__init__(service, library.defaults)
        self._library, self._lib = library, library.module
        base = self._base = self._lib.URL(service.base_url or "")
        self._origin = (base.raw_scheme, base.raw_host, base.port) if service.base_url else None

    def is_request(self, value: Any) -> bool:
        return isinstance(value, HttpxRequest) and isinstance(value.native, self._lib.Request)

    def is_response(self, value: Any) -> bool:
        return isinstance(value, HttpxResponse) and isinstance(value.native, self._lib.Response)

    def owns(self, request: Any) -> bool:
        url = request.native.url
        return (url.raw_scheme, url.raw_host, url.port) == self._origin or self._is_own(url)

    def build(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Any:
        target = self._lib.URL(url)
        if target.is_relative_url:
            path = self._base.raw_path.rstrip(b"/") + b"/" + target.raw_path.lstrip(b"/")
            target = self._base.copy_with(raw_path=path)
        timeout = self._service.timeout._asdict()
        native = self._lib.Request(
            method, target, headers=headers, content=content, extensions={"timeout": timeout}
        )
        return HttpxRequest(native, native.extensions, self._home)

    def clone(self, request: Any) -> Any:
        native = self._copied(request)
        native.headers.encoding = request.native.headers.encoding  # else each looks for it again
        return request.around(native, native.extensions)

    def _copy(self, request: Any) -> Any:
        native = self._copied(request)
        return HttpxRequest(native, native.extensions, self._home)

    def _copied(self, request: Any) -> Any:
        native = request.native
        stream = native.stream
        if not isinstance(stream, self._lib.ByteStream):
            stream = self._shareable(stream)
        return self._lib.Request(
            native.method,
            native.url,
            headers=native.headers,
            stream=stream,
            extensions=request.extensions,
        )

    def _shareable(self, stream: Any) -> Any:
        """`stream`, of which no two clones send a part each."""
        source = original(stream)
        if isinstance(source, (self._lib.ByteStream, Upload)) or seekable(source):
            return stream
        return self._library.upload(stream, self._begun)

    def replayable(self, request: Any) -> bool:
        stream = original(request.native.stream)
        return isinstance(stream, self._lib.ByteStream) or seekable(stream)

    def sendable(self, request: Any) -> bool:
        stream = request.native.stream
        if isinstance(stream, self._lib.ByteStream):
            return True
        source = original(stream)
        return not source.begun if isinstance(source, Upload) else self.replayable(request)

    def _put(self, message: Any, content: bytes) -> None:
        stream = self._lib.ByteStream(content)
        if isinstance(message, Request):
            message.native.stream = stream
        else:
            self._library.body_of(message).replace(stream)

    def _pass_through(self, message: Any, start: Start) -> None:
        if isinstance(message, Request):
            message.native.stream = self._library.transformed(message.native.stream, start)
        else:
            self._library.body_of(message).transform(start)

    def pool_timeout(self, request: Any) -> float | None:
        seconds: float | None = request.extensions.get("timeout", {}).get("pool")
        return seconds

    def waits(self, request: Any) -> bool:
        timeout = request.extensions.get("timeout", {})
        times = (timeout.get(phase) for phase in ("connect", "read", "write"))
        return not any(isinstance(seconds, (int, float)) and seconds <= 0 for seconds in times)

    def respond(self, status: int, headers: Mapping[str, str] | None, content: bytes) -> Any:
        response = self._lib.Response(status, headers=headers, stream=self._lib.ByteStream(content))
        response.headers.setdefault("Content-Length", str(len(content)))
        return HttpxResponse(response)

    def failure(self, error: BaseException) -> Failure | None:
        return next(
            (kind for each, kind in self._library.failures if isinstance(error, each)), None
        )


def seekable(stream: Any) -> bool:
    """Whether `stream` is a multipart body whose files can all be read again."""
    fields = getattr(stream, "fields", None)
    if fields is None:
        return False
    files = [each.file for each in fields if hasattr(each, "file")]
    return all(isinstance(each, (str, bytes)) or can_seek(each, 0) for each in files)
