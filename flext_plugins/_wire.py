"""What the chain needs of a client library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from flext_plugins._call import Call
    from flext_plugins._messages import Failure

    BodyEnd = Callable[[BaseException | None, int], None]
    """How a body ended: the error, or `None`, and the bytes that had passed."""


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
