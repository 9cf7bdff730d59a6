"""Messages as plugins see them, whichever client library carries them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    BodyEnd = Callable[[BaseException | None, int], None]
    """How a body ended: the error, or `None`, and the bytes that had passed."""


class Request(Protocol):
    """A request; httpx's and httpx2's own objects satisfy it as they are."""

    stream: Any
    extensions: Any

    @property
    def method(self) -> str: ...
    @method.setter
    def method(self, value: str) -> None: ...

    @property
    def headers(self) -> MutableMapping[str, str]:
        """Fields by case-insensitive name."""

    @property
    def url(self) -> Any:
        """Has `scheme`, `host`, `port`, `path`; `str()` gives the whole."""


class Response(Protocol):
    """An answer whose body has not been read."""

    stream: Any
    extensions: Any

    @property
    def status_code(self) -> int: ...
    @status_code.setter
    def status_code(self, value: int) -> None: ...

    @property
    def headers(self) -> MutableMapping[str, str]:
        """Fields by case-insensitive name."""

    @property
    def request(self) -> Any: ...


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
