"""Requests and responses of requests, as plugins see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from requests.utils import default_headers
from urllib3 import exceptions
from urllib3.util import parse_url

from flext_plugins._clients.bodies import Upload
from flext_plugins._clients.messages import ServiceMessages
from flext_plugins._clients.requests.bodies import whole
from flext_plugins._clients.requests.failures import failure_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flext_plugins._messages import Failure
    from flext_plugins._service import Service

OPTIONS = "flext_plugins.requests"
"""The key in a request's `extensions` under which the session's options for this send stand."""
ENVIRONMENT = "flext_plugins.environment"
"""The key in a request's `extensions` under which the credential of a `.netrc` stands."""


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

    def owns(self, request: Any) -> bool:
        if request.native.url.startswith(self._beginning):
            return True
        try:
            return self._is_own(request.url)
        except exceptions.LocationParseError:
            return False  # a redirect to nowhere: requests has an error of its own for it

    def build(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Any:
        if "://" not in url.partition("?")[0]:
            url = f"{(self._service.base_url or '').rstrip('/')}/{url.lstrip('/')}"
        request = requests.Request(method, url, headers=dict(headers), data=content)
        return RequestView(request.prepare(), {})

    def clone(self, request: Any) -> Any:
        native = request.native.copy()
        body = native.body
        if not isinstance(body, (bytes, str, Upload, type(None))) and not seekable(native):
            native.body = Upload(body, self._begun)
        return RequestView(native, dict(request.extensions))

    def _copy(self, request: Any) -> Any:
        clone = self.clone(request)
        if ENVIRONMENT in clone.extensions:  # sent if neither the service nor a plugin has another
            del clone.headers["Authorization"]
        return clone

    def replayable(self, request: Any) -> bool:
        body = request.stream
        return not isinstance(body, Upload) or not body.begun

    def pool_timeout(self, request: Any) -> float | None:
        del request  # a session's time-outs say nothing of the pool
        return self._service.timeout.pool

    def respond(self, status: int, headers: Mapping[str, str] | None, content: bytes) -> Any:
        native = requests.Response()
        native.status_code = status
        native.headers.update(headers or {})
        native.headers.setdefault("Content-Length", str(len(content)))
        native.raw = whole(content, native.headers, status)
        return ResponseView(native, None)

    def failure(self, error: BaseException) -> Failure | None:
        return failure_of(error)


def seekable(native: Any) -> bool:
    """Whether the body is a file that can be read again."""
    return hasattr(native.body, "seek") and native.body.seekable()
