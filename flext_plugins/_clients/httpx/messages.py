"""Requests and responses of httpx, and of libraries with the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flext_plugins._clients.bodies import Upload
from flext_plugins._clients.messages import ServiceMessages
from flext_plugins._messages import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flext_plugins._clients.httpx import HttpxLibrary
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


class HttpxMessages(ServiceMessages):
    """The messages of one service in one library."""

    def __init__(self, library: HttpxLibrary, service: Service) -> None:
        super().__init__(service, library.defaults)
        self._library, self._lib = library, library.module
        base = self._base = self._lib.URL(service.base_url or "")
        self._origin = (base.raw_scheme, base.raw_host, base.port) if service.base_url else None

    def owns(self, request: Any) -> bool:
        url = request.url
        return (url.raw_scheme, url.raw_host, url.port) == self._origin or self._is_own(url)

    def build(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Any:
        target = self._lib.URL(url)
        if target.is_relative_url:
            path = self._base.raw_path.rstrip(b"/") + b"/" + target.raw_path.lstrip(b"/")
            target = self._base.copy_with(raw_path=path)
        timeout = self._service.timeout._asdict()
        return self._lib.Request(
            method, target, headers=headers, content=content, extensions={"timeout": timeout}
        )

    def clone(self, request: Any) -> Any:
        clone = self._copy(request)
        clone.headers.encoding = request.headers.encoding  # else each copy looks for it again
        return clone

    def _copy(self, request: Any) -> Any:
        stream = request.stream
        if not isinstance(stream, (self._lib.ByteStream, Upload)) and not seekable(stream):
            stream = self._library.upload(stream, self._begun)
        return self._lib.Request(
            request.method,
            request.url,
            headers=request.headers,
            stream=stream,
            extensions=request.extensions,
        )

    def replayable(self, request: Any) -> bool:
        stream = request.stream
        if isinstance(stream, Upload):
            return not stream.begun
        return isinstance(stream, self._lib.ByteStream) or seekable(stream)

    def pool_timeout(self, request: Any) -> float | None:
        seconds: float | None = request.extensions.get("timeout", {}).get("pool")
        return seconds

    def respond(self, status: int, headers: Mapping[str, str] | None, content: bytes) -> Any:
        response = self._lib.Response(status, headers=headers, stream=self._lib.ByteStream(content))
        response.headers.setdefault("Content-Length", str(len(content)))
        return response

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
    return all(isinstance(each, (str, bytes)) or each.seekable() for each in files)
