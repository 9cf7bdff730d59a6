"""Requests and responses of requests, as plugins see them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import requests
from requests.utils import default_headers
from urllib3.util import parse_url

from flext_plugins._clients.bodies import Transformed, Upload, original
from flext_plugins._clients.messages import ServiceMessages
from flext_plugins._clients.requests.bodies import whole
from flext_plugins._clients.requests.failures import failure_of
from flext_plugins._clients.requests.uploads import is_buffer, shareable
from flext_plugins._messages import Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flext_plugins._messages import Failure, Start
    from flext_plugins._service import Service

OPTIONS = "flext_plugins.requests"
"""The key in a request's `extensions` under which the session's options for this send stand."""
_ENCODED = re.compile(r"[/?](?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-F]{2})*")
"""A target that urllib3 sends as it is."""
_KEPT = (bytes, str, tuple, Upload, type(None))
"""The types of bodies that clones can share as they are."""
_ENCODING = "Content-Encoding"
HOST = "flext_plugins.host"
"""The key in a request's `extensions` under which the `Host` stands that http.client will send."""
ENVIRONMENT = "flext_plugins.environment"
"""The key in a request's `extensions` under which the credential of a `.netrc` stands."""


class RequestsRequest(Request):
    """A request of requests."""

    __slots__ = ()

    def _target(self) -> str:
        target: str = self.native.path_url
        if _ENCODED.fullmatch(target):
            return target
        # Prepared by hand: urllib3 encodes it as it sends it, by a function that is its own.
        from urllib3.util.url import _encode_target  # noqa: PLC0415

        return _encode_target(target)


class RequestsResponse(Response):
    """A response of requests."""

    __slots__ = ("_extensions",)

    def __init__(
        self, native: Any, request: Request | None = None, service: Service | None = None
    ) -> None:
        super().__init__(native, request, service)
        self._extensions: dict[str, Any] = {}

    @property
    def extensions(self) -> dict[str, Any]:
        return self._extensions

    def unwrapped(self, request: Request) -> Any:
        native = self.native
        native.request, native.extensions = request.native, self._extensions
        # A body is decoded as urllib3's own headers say, which nobody else reads.
        encoding, raw = native.headers.get(_ENCODING), native.raw.headers
        if encoding != raw.get(_ENCODING):
            raw.discard(_ENCODING)
            if encoding is not None:
                raw[_ENCODING] = encoding
        return native


def beginning(address: str | None) -> str:
    """The beginning that only URLs of one origin share: it ends after host and port."""
    url = parse_url(address or "")
    return f"{url.scheme}://{url.netloc}/"


class RequestsMessages(ServiceMessages):
    """The messages of one service in requests."""

    def __init__(self, service: Service) -> None:
        defaults = {name.lower(): value for name, value in default_headers().items()}
        super().__init__(service, defaults)
        base = service.base_url
        self._beginning = beginning(base) if base else ()
        self._host = _host(base) if base else ""

    def is_request(self, value: Any) -> bool:
        return isinstance(value, RequestsRequest)

    def is_response(self, value: Any) -> bool:
        return isinstance(value, RequestsResponse)

    def owns(self, request: Any) -> bool:
        return request.native.url.startswith(self._beginning) or self._is_own(request.native.url)

    def build(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Any:
        if "://" not in url.partition("?")[0]:
            url = f"{(self._service.base_url or '').rstrip('/')}/{url.lstrip('/')}"
        request = requests.Request(method, url, headers=dict(headers), data=content)
        return RequestsRequest(request.prepare(), {}, self._home)

    def clone(self, request: Any) -> Any:
        return request.around(self._copied(request.native), dict(request.extensions))

    def _copied(self, request: Any) -> Any:
        native = request.copy()
        body = original(native.body)
        if not isinstance(body, _KEPT):
            native.body = shareable(native, self._begun)
        return native

    def _copy(self, request: Any) -> Any:
        native = self._copied(request.native)
        clone = RequestsRequest(native, dict(request.extensions), self._home)
        if ENVIRONMENT in clone.extensions:  # sent if neither the service nor a plugin has another
            del native.headers["Authorization"]
        if "Host" not in native.headers:
            is_plain = native.url.startswith(self._beginning)
            clone.extensions[HOST] = native.headers["Host"] = (
                self._host if is_plain else _host(native.url)
            )
        return clone

    def replayable(self, request: Any) -> bool:
        body = original(request.native.body)
        return not isinstance(body, Upload) or body.is_replayable

    def sendable(self, request: Any) -> bool:
        body = original(request.native.body)
        return not isinstance(body, Upload) or not body.begun

    def _certificate(self, request: Request) -> object:
        return self._service.cert or request.extensions.get(OPTIONS, {}).get("cert")

    def _put(self, message: Any, content: bytes) -> None:
        native = message.native
        if isinstance(message, Request):
            native.body = content
        else:
            native.raw = native.raw.replaced(content)

    def _pass_through(self, message: Any, start: Start) -> None:
        native = message.native
        if isinstance(message, Request):
            native.body = Transformed(parts_of(native), start)
        else:
            native.raw = native.raw.transformed(start)

    def pool_timeout(self, request: Any) -> float | None:
        del request  # a session's time-outs say nothing of the pool
        return self._service.timeout.pool

    def waits(self, request: Any) -> bool:
        del request  # urllib3 refuses such time-outs
        return True

    def respond(self, status: int, headers: Mapping[str, str] | None, content: bytes) -> Any:
        native = requests.Response()
        native.status_code = status
        native.headers.update(headers or {})
        native.headers.setdefault("Content-Length", str(len(content)))
        native.raw = whole(content, native.headers, status)
        return RequestsResponse(native)

    def failure(self, error: BaseException) -> Failure | None:
        return failure_of(error)


def _host(address: str) -> str:
    """The value of the header `Host` in a request to `address`, as http.client makes it."""
    url = parse_url(address)
    is_default = url.port in {None, {"http": 80, "https": 443}.get(url.scheme or "")}
    host = (url.host or "").rstrip(".")
    return host if is_default else f"{host}:{url.port}"


def parts_of(native: Any) -> Any:
    """The body of a request as parts that can be iterated over once more, if it can be sent so."""
    body = native.body
    if isinstance(body, str):
        body = body.encode()
    if body is None:
        return (b"",)
    return (bytes(body),) if is_buffer(body) else body
