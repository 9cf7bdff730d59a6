"""The interface to a client library: protocols that each folder in `_clients` implements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flext_plugins._errors import AnswerTooLong, FlextError
from flext_plugins._logging import harmless
from flext_plugins._messages import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from flext_plugins._call import Call
    from flext_plugins._messages import BodyEnd
    from flext_plugins._service import Service


class Load(NamedTuple):
    """Exchanges through a wire."""

    under_way: int = 0
    """Those that have a permit."""
    waiting: int = 0
    """Those that wait for one."""
    limit: int = 0


class Library(Protocol):
    """A client library."""

    name: str
    refused: type[Exception]
    """The library's transport error, which a `Refused` is as well when it leaves a client."""
    timed_out: type[Exception]
    """All of the library's time-outs."""
    bad_status: type[Exception]
    """The library's error for a status of 400 or above."""

    def wire(self, service: Service, runtime: Any, *, asynchronous: bool) -> Wire:
        """A new way to `service`, which belongs to the host behind `runtime`."""

    def check(self, service: Service, runtime: Any, *, asynchronous: bool) -> None:
        """See that there is a transport for a client of `service`.

        Raises:
            ConfigError: there is none.
        """

    def is_async(self, kind: type) -> bool:
        """Whether a client or transport class belongs to an event loop."""

    def transport(self, kind: type, runtime: Any, service: str) -> Any:
        """A transport of the class `kind` through the connection to `service`."""

    def client(self, kind: type, runtime: Any, service: Service, options: dict[str, Any]) -> Any:
        """An instance of the client class `kind` on top of the connection to `service`."""


class Messages(Protocol):
    """One service's messages in one client library."""

    def is_request(self, value: Any) -> bool:
        """Whether `value` is a request as hooks see those of this library."""

    def is_response(self, value: Any) -> bool:
        """Whether `value` is a response as hooks see those of this library."""

    def owns(self, request: Any) -> bool:
        """Whether `request` goes to the service's own origin."""

    def build(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Any:
        """A request whose relative `url` is joined to the service's address."""

    def adopt(self, request: Any, call: Call) -> Any:
        """A clone with the service's headers and the call's id, where the caller has set none."""

    def clone(self, request: Any) -> Any:
        """A request with headers and extensions of its own and the same stream."""

    def respond(self, status: int, headers: Mapping[str, str] | None, content: bytes) -> Any:
        """An answer made here."""

    def failure(self, error: BaseException) -> Failure | None:
        """The place on the wire where `error` arose, or `None`."""

    def replayable(self, request: Any) -> bool:
        """Whether the body of `request` is the same each time it is sent."""

    def sendable(self, request: Any) -> bool:
        """Whether `request` can be sent now: it is replayable, or was never begun to be sent."""

    def identified(self, request: Any) -> bool:
        """Whether `request` says who asks, by a header or a client certificate."""

    def replace(self, message: Any, content: bytes) -> None:
        """Make `content` the body of `message`, as it stands on the wire."""

    def transform(self, message: Any, start: Any) -> None:
        """Have the body of `message` transformed as it passes, by what `start()` gives."""

    def size(self, message: Any) -> int | None:
        """The bytes of the body on the wire, if they are known before it is read."""

    def pool_timeout(self, request: Any) -> float | None:
        """Seconds that `request` waits for a free connection."""

    def waits(self, request: Any) -> bool:
        """Whether the time-outs of `request` leave its service any time."""


class Wire(Protocol):
    """One connection's way to the network through one client library, in one world."""

    library: Library
    messages: Messages
    asynchronous: bool
    """Whether it belongs to an event loop; if not, nothing that it does waits for one."""
    receiver: Any
    """The channel that it belongs to, which is told what happens here."""

    def send(self, request: Any, call: Call) -> Awaitable[Any]:
        """Send `request` to the service; the response's body is unread."""

    def bare(self, request: Any, call: Call) -> Awaitable[Any]:
        """Send to any origin, without the service's client certificate."""

    async def read(self, message: Any, most: int) -> bytes:
        """The decoded body, which stays readable for everybody else.

        Raises:
            AnswerTooLong: it is an answer of more than `most` bytes, as sent or decoded.
        """

    async def close(self, response: Any) -> None:
        """Close `response`; closing twice is fine."""

    def watch(self, response: Any, callback: BodyEnd) -> None:
        """Call `callback(error, bytes)` once, when the body has ended."""

    @property
    def load(self) -> Load:
        """The exchanges through it now."""

    @property
    def has_dropped(self) -> bool:
        """Whether there are bodies that were collected before anybody closed them."""

    def close_dropped(self) -> Awaitable[None]:
        """Close those bodies."""

    def aclose(self) -> Awaitable[None]:
        """Close the pool."""


OF_CALLER = "flext_of_caller"
"""The attribute of an error that the caller's own request has led to, whatever its class."""


def blame_caller(error: BaseException) -> None:
    """Mark `error` as the caller's own, for `failure_of`."""
    harmless(setattr, error, OF_CALLER, True)


def failure_of(error: BaseException, wire: Wire | None) -> Failure | None:
    """Find where on the wire `error` arose, by its class or by the library; `None` if nowhere."""
    if getattr(error, OF_CALLER, False):
        return Failure.CALLER
    declared = getattr(type(error), "failure", None)
    if isinstance(declared, Failure):
        return declared
    if isinstance(error, AnswerTooLong):
        return Failure.READ
    if wire is None or isinstance(error, FlextError):
        return None
    return wire.messages.failure(error)


def builder(
    headers: Mapping[str, str] | None, content: bytes, json: Any
) -> Callable[[Messages, str, str], Any]:
    """A function that builds a request, so that the caller's frame holds no part of it."""
    headers = dict(headers or {})
    if json is not None:
        from json import dumps  # noqa: PLC0415

        content = dumps(json).encode()
        headers = {"Content-Type": "application/json", **headers}
    return lambda messages, method, url: messages.build(method, url, headers, content)
