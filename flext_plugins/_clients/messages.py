"""The part of messages that all client libraries share: the service's headers, the call's id."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from flext_plugins._call import CORRELATION, Call, correlation
from flext_plugins._messages import Request, Response
from flext_plugins._wire import Messages
from flext_plugins.http import Origin
from flext_plugins.redaction import is_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flext_plugins._messages import Start
    from flext_plugins._service import Service

_MOST_DIGITS = 18
"""Of a length; Python refuses to read 5000."""


class ServiceMessages(Messages):
    """The messages of one service.

    Args:
        service: whose headers are added.
        defaults: the headers that a client sends though nobody set them, by lower-case name.
    """

    def __init__(self, service: Service, defaults: Mapping[str, str]) -> None:
        self._service, self._defaults = service, defaults
        self._begun: WeakValueDictionary[int, Any] = WeakValueDictionary()
        """Bodies that can be sent once and have been, by `id`."""
        self._home = Origin.of(service.base_url) if service.base_url else None

    def _is_own(self, url: Any) -> bool:
        """Whether `url` leads to the service's own origin, in any spelling."""
        try:
            return Origin.of(url) == self._home
        except ValueError:
            return False

    @abstractmethod
    def _copy(self, request: Any) -> Any:
        """A clone of a request that is the client's, which must not change in the least."""

    @abstractmethod
    def _put(self, message: Request | Response, content: bytes) -> None:
        """Make `content` the body of `message`."""

    @abstractmethod
    def _pass_through(self, message: Request | Response, start: Start) -> None:
        """Have the body of `message` transformed as it passes."""

    def replace(self, message: Request | Response, content: bytes) -> None:
        self._put(message, content)
        message.headers.pop("Transfer-Encoding", None)
        message.headers["Content-Length"] = str(len(content))

    def transform(self, message: Request | Response, start: Start) -> None:
        is_request = isinstance(message, Request)
        if self.size(message) == 0 and (is_request or _has_no_body(message)):
            return
        self._pass_through(message, start)
        message.headers.pop("Content-Length", None)
        if is_request:
            message.headers["Transfer-Encoding"] = "chunked"

    def identified(self, request: Request) -> bool:
        names = {name.lower() for name in request.headers}
        if request.url.scheme == "https" and self._certificate(request):
            return True
        return any(is_secret(name) or name in self._secret_headers for name in names)

    def _certificate(self, request: Request) -> object:  # noqa: ARG002 - libraries may look there
        """The client certificate that is shown, if it comes to TLS."""
        return self._service.cert

    @cached_property
    def _secret_headers(self) -> frozenset[str]:
        headers = self._service.headers.items()
        return frozenset(name.lower() for name, value in headers if value.reference)

    def size(self, message: Request | Response) -> int | None:
        headers, is_request = message.headers, isinstance(message, Request)
        if not is_request and _has_no_body(message):
            return 0
        if "Transfer-Encoding" in headers:
            return None
        length = headers.get("Content-Length")
        if length is None:
            return 0 if is_request else None
        is_number = length.isascii() and length.isdigit() and len(length) <= _MOST_DIGITS
        return int(length) if is_number else None

    def adopt(self, request: Any, call: Call) -> Any:
        clone = self._copy(request)
        headers = clone.headers
        for name, value in self._service.headers.items():
            if headers.get(name) in (None, self._defaults.get(name.lower())):
                headers[name] = value.get_secret_value()
        if CORRELATION in headers and (own := correlation(headers[CORRELATION])) is not None:
            call.correlation_id = own
        else:
            headers[CORRELATION] = call.correlation_id
        return clone


def _has_no_body(response: Any) -> bool:
    """Whether an answer has none, whatever its headers say (RFC 9112, section 6.3)."""
    is_for_head = response.request is not None and response.request.method == "HEAD"
    return is_for_head or response.status_code in {204, 304} or response.status_code < 200
