"""What plugins see of a message, whichever client library carries it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from .service import Call

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
    """Where on the wire an attempt failed."""

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


class Wire(Protocol):
    """One connection's way to the network through one client library, in one world.

    What the chain needs of a library; `flext_plugins.clients` implements it.
    """

    library: str

    def owns(self, request: Any) -> bool:
        """Whether `request` goes to the service's own origin."""

    def bare(self, request: Any, call: Call) -> Awaitable[Any]:
        """Send to any origin, without the service's client certificate."""

    def send(self, request: Any, call: Call) -> Awaitable[Any]:
        """Send `request` to the service; the response's body is unread."""

    async def read(self, message: Any) -> bytes:
        """The decoded body, which stays readable for everybody else."""

    async def close(self, response: Any) -> None:
        """Close `response`; closing twice is fine."""

    def build(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Any:
        """A request whose relative `url` is joined to the service's address."""

    def clone(self, request: Any) -> Any:
        """A request with headers and extensions of its own and the same stream."""

    def adopt(self, request: Any, call: Call) -> Any:
        """A clone with the service's headers and the call's id, where the caller has set none."""

    def respond(self, status: int, headers: Mapping[str, str] | None, content: bytes) -> Any:
        """An answer made here."""

    def failure(self, error: BaseException) -> Failure | None:
        """Where on the wire `error` arose, or `None` if it did not."""

    def replayable(self, request: Any) -> bool:
        """Whether `request` can be sent (again)."""

    def watch(self, response: Any, callback: Callable[[BaseException | None, int], None]) -> None:
        """Call `callback(error, bytes)` once, when the body has ended."""

    def aclose(self) -> Awaitable[None]:
        """Close the pool."""
