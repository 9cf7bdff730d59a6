"""Messages as plugins see them, whichever client library carries them."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, cast

from flext_plugins._errors import PluginError
from flext_plugins.http import URL

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Self

    from flext_plugins._service import Service
    from flext_plugins.http import Origin

    BodyEnd: TypeAlias = Callable[[BaseException | None, int], None]
    """How a body ended: the error, or `None`, and the bytes that had passed."""

Start: TypeAlias = "Callable[[], Transformation]"
"""Begins the transformation of a body."""

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 9110, section 5.6.2)."""


def _refuse_stream(message: object, _: object) -> None:
    name = "request" if isinstance(message, Request) else "response"
    raise PluginError(
        f"{name}.stream cannot be replaced: use `connection.replace` or `connection.transform`"
    )


class Request:
    """A request, as it is on its way to the service."""

    __slots__ = ("_origin", "_url", "extensions", "native")

    def __init__(
        self,
        native: Any,
        extensions: dict[str, Any],
        origin: Origin | None = None,
        url: URL | None = None,
    ) -> None:
        self.native = native
        """The client library's own, which is not for plugins."""
        self.extensions = extensions
        """For a plugin's own notes, and the host's."""
        self._origin, self._url = origin, url

    def __repr__(self) -> str:
        return f"<Request {self.method}>"

    def around(self, native: Any, extensions: dict[str, Any]) -> Self:
        """A request to the same address, of another message of the client library."""
        return type(self)(native, extensions, self._origin, self._url)

    @abstractmethod
    def _target(self) -> str:
        """The target in the first line, in origin-form."""

    @property
    def method(self) -> str:
        method: str = self.native.method
        return method

    @method.setter
    def method(self, value: str) -> None:
        if type(value) is not str or not TOKEN.fullmatch(value):
            raise PluginError("request.method takes the name of a method, such as 'GET'")
        self.native.method = value

    @property
    def url(self) -> URL:
        """The address, as it will be sent; it cannot be replaced."""
        if self._url is None:
            self._url = URL(cast("Origin", self._origin), self._target())
        return self._url

    @url.setter
    def url(self, _: object) -> None:
        raise PluginError("request.url cannot be replaced: a request keeps its address")

    @property
    def headers(self) -> MutableMapping[str, str]:
        """Fields by case-insensitive name, `Host` among them; change them in place."""
        headers: MutableMapping[str, str] = self.native.headers
        return headers

    def fields(self) -> list[Any]:
        """The headers as they are, to be compared."""
        return [*self.headers.items()]

    stream = property(None, _refuse_stream)


class Response:
    """An answer whose body has not been read."""

    __slots__ = ("native", "request", "sent", "service")

    def __init__(
        self, native: Any, request: Request | None = None, service: Service | None = None
    ) -> None:
        self.native = native
        """The client library's own, which is not for plugins."""
        self.request = request
        """The request that the plugin itself sent."""
        self.sent = request
        """The request as it was sent in the end; `None` for an answer that a plugin made."""
        self.service = service
        """The service that answered; `None` likewise."""

    def __repr__(self) -> str:
        return f"<Response {self.status_code}>"

    @property
    @abstractmethod
    def extensions(self) -> dict[str, Any]:
        """For a plugin's own notes, and the host's."""

    @abstractmethod
    def unwrapped(self, request: Request) -> Any:
        """The client library's own, as the answer to the client's `request`."""

    @property
    def status_code(self) -> int:
        status: int = self.native.status_code
        return status

    @status_code.setter
    def status_code(self, value: int) -> None:
        code: object = value
        if not (isinstance(code, int) and 100 <= code <= 999):
            raise PluginError("response.status_code takes a number from 100 to 999")
        self.native.status_code = int(code)

    @property
    def headers(self) -> MutableMapping[str, str]:
        """Fields by case-insensitive name; change them in place."""
        headers: MutableMapping[str, str] = self.native.headers
        return headers

    stream = property(None, _refuse_stream)


Send: TypeAlias = Callable[[Request], Awaitable[Response]]
"""The way inward for a request, which a `flext_exchange` awaits."""


class Sent(NamedTuple):
    """A request as it was sent in the end, as far as a plugin further out may know of it."""

    headers: frozenset[str]
    """The names, in lower case, of the headers that were added or changed further in."""
    identified: bool
    """Whether it said who asks, so that the answer may be for that one alone."""


class Transformation(Protocol):
    """A change to a body as it passes, such as compression."""

    def feed(self, chunk: bytes, /) -> bytes:
        """The bytes that go on in place of `chunk`; there may be none."""

    def end(self) -> bytes:
        """The bytes that follow at the end of a whole body."""


class Failure(Enum):
    """The place on the wire where an attempt failed."""

    CONNECT = "connect"
    """Before anything was written, connect time-outs included."""
    TIMEOUT = "timeout"
    WRITE = "write"
    READ = "read"
    PROTOCOL = "protocol"
    """The other side broke HTTP."""
    POOL = "pool"
    """No connection was free in time: our own congestion."""
    CALLER = "caller"
    """The request could not be sent as it was."""
