"""The signatures that a hook may have, for type checkers.

A hook is called with the arguments that it names, so each protocol stands for one choice of them;
who names `send` or `proceed` names what to hand it. `hookimpl` takes a function that fits any of
the eight hooks, for it cannot see the function's name. An assignment can:
`hook: RequestHook = Tenant.flext_request`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from flext_plugins._connections.connection import Connection
    from flext_plugins._messages import Request, Response, Send
    from flext_plugins._service import Operation, Proceed, Status
    from flext_plugins.events import Event

__all__ = [
    "AnyHook",
    "ConnectHook",
    "DisconnectHook",
    "EventHook",
    "ExchangeHook",
    "Marker",
    "OperationHook",
    "RequestHook",
    "ResponseHook",
    "StatusHook",
]

R_co = TypeVar("R_co", covariant=True)

Prepared: TypeAlias = "Awaitable[None] | None"
Answer: TypeAlias = "Awaitable[Response | None] | Response | None"
Sent: TypeAlias = "Coroutine[Any, Any, Response]"
Result: TypeAlias = "Coroutine[Any, Any, object]"


class _Nothing(Protocol[R_co]):
    def __call__(self, plugin: Any, /) -> R_co: ...


class _Connection(Protocol[R_co]):
    def __call__(self, plugin: Any, /, *, connection: Connection) -> R_co: ...


class _Request(Protocol[R_co]):
    def __call__(self, plugin: Any, /, *, request: Request) -> R_co: ...


class _RequestConnection(Protocol[R_co]):
    def __call__(self, plugin: Any, /, *, request: Request, connection: Connection) -> R_co: ...


class _Response(Protocol):
    def __call__(self, plugin: Any, /, *, response: Response) -> Answer: ...


class _ResponseConnection(Protocol):
    def __call__(self, plugin: Any, /, *, response: Response, connection: Connection) -> Answer: ...


class _ResponseRequest(Protocol):
    def __call__(self, plugin: Any, /, *, response: Response, request: Request) -> Answer: ...


class _ResponseRequestConnection(Protocol):
    def __call__(
        self, plugin: Any, /, *, response: Response, request: Request, connection: Connection
    ) -> Answer: ...


class _RequestSend(Protocol):
    def __call__(self, plugin: Any, /, *, request: Request, send: Send) -> Sent: ...


class _RequestSendConnection(Protocol):
    def __call__(
        self, plugin: Any, /, *, request: Request, send: Send, connection: Connection
    ) -> Sent: ...


class _Operation(Protocol):
    def __call__(self, plugin: Any, /, *, operation: Operation) -> Result: ...


class _OperationConnection(Protocol):
    def __call__(
        self, plugin: Any, /, *, operation: Operation, connection: Connection
    ) -> Result: ...


class _OperationProceed(Protocol):
    def __call__(self, plugin: Any, /, *, operation: Operation, proceed: Proceed) -> Result: ...


class _OperationProceedConnection(Protocol):
    def __call__(
        self, plugin: Any, /, *, operation: Operation, proceed: Proceed, connection: Connection
    ) -> Result: ...


class _Event(Protocol):
    def __call__(self, plugin: Any, /, *, event: Event) -> None: ...


class _EventConnection(Protocol):
    def __call__(self, plugin: Any, /, *, event: Event, connection: Connection) -> None: ...


_Responding: TypeAlias = (
    _Response | _ResponseConnection | _ResponseRequest | _ResponseRequestConnection
)
_Sending: TypeAlias = _RequestSend | _RequestSendConnection
_Performing: TypeAlias = (
    _Operation | _OperationConnection | _OperationProceed | _OperationProceedConnection
)
_Noting: TypeAlias = _Event | _EventConnection

ConnectHook: TypeAlias = _Nothing[Prepared] | _Connection[Prepared]
DisconnectHook: TypeAlias = ConnectHook
RequestHook: TypeAlias = (
    _Nothing[Answer] | _Connection[Answer] | _Request[Answer] | _RequestConnection[Answer]
)
ResponseHook: TypeAlias = RequestHook | _Responding
ExchangeHook: TypeAlias = (
    _Nothing[Sent] | _Connection[Sent] | _Request[Sent] | _RequestConnection[Sent] | _Sending
)
OperationHook: TypeAlias = _Nothing[Result] | _Connection[Result] | _Performing
EventHook: TypeAlias = _Nothing[None] | _Connection[None] | _Noting
StatusHook: TypeAlias = _Nothing["Status"] | _Connection["Status"]

AnyHook = TypeVar("AnyHook", bound=ResponseHook | _Sending | _Performing | _Noting | StatusHook)


class Marker(Protocol):
    """The type of `hookimpl`: gives back the function, if it may be a hook."""

    def __call__(self, function: AnyHook, /) -> AnyHook: ...
