"""The whole contract between the host and its plugins.

A plugin is a class with one or more of the eight functions below, marked with `hookimpl`. Each
takes only the arguments that it names. `flext_exchange` and `flext_operation` are `async def`,
`flext_event` and `flext_status` are not, the others may be either.

Looking at or changing one message: `flext_request` and `flext_response`. Timing, guarding,
resending, waiting, recovering: `flext_exchange`. A plugin has the small hooks or `flext_exchange`,
not both.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from flext_plugins._connections.connection import Connection
    from flext_plugins._messages import Request, Response, Send
    from flext_plugins._service import Operation, Proceed, Status
    from flext_plugins.events import Event
    from flext_plugins.hookspecs.typing import Marker

GROUP = "flext_plugins"
"""The entry-point group, and pluggy's project name."""

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(GROUP)
hookimpl: Marker = pluggy.HookimplMarker(GROUP)


class Stage(IntEnum):
    """A plugin's place in the onion; the first is outermost.

    From `CALL`, `RETRY` and `AUTH`, `send` hands a clone of the message inward, so that each
    attempt starts from the unmarked message; from `GUARD` on the message is shared.
    """

    CALL = 1
    """Sees everything below, once per hop: audit log, cache."""
    RETRY = 2
    """May send again; all below happens anew for each attempt."""
    AUTH = 3
    """Finds credentials; fetching one never counts against the target."""
    GUARD = 4
    """May refuse an attempt: circuit breaker, bulkhead."""
    ATTEMPT = 5
    """Sees each attempt: tracing, metrics."""
    MESSAGE = 6
    """Changes the message."""
    SIGN = 7
    """Sees the finished message: HMAC, SigV4."""


@hookspec
def flext_connect(connection: Connection) -> Awaitable[None] | None:
    """Prepare what this connection needs; runs once, when it opens, outermost plugin first.

    `connection.provide(type, value, close=...)` lends something to the application. An exception
    undoes the opening: the plugins before this one disconnect, and what they provided is closed, in
    reverse. What belongs to this connection alone has its place in `connection.state`.
    """


@hookspec
def flext_disconnect(connection: Connection) -> Awaitable[None] | None:
    """Give up what this connection needed; runs once, when it closes, innermost plugin first.

    It runs if this plugin's `flext_connect` did not raise, or there is none; before what was lent
    and the pools are closed, so that `connection.request` still sends. No call is under way, so no
    deadline ends it. It runs neither in a forked child nor for an event loop that was closed
    without `shutdown_asyncgens`, which `asyncio.run` calls. All that is raised is told together.
    """


@hookspec
def flext_request(
    request: Request, connection: Connection
) -> Awaitable[Response | None] | Response | None:
    """Look at or change the message before it is sent, outermost plugin first.

    Return `None`, or a response (`connection.respond(...)`), which answers without sending: inner
    plugins do not run, outer ones see an ordinary response.
    """


@hookspec
def flext_response(
    response: Response, request: Request, connection: Connection
) -> Awaitable[Response | None] | Response | None:
    """Look at or change the answer, innermost plugin first; its body has not been read.

    Return `None`, or the response to go on with; the one that it replaces is closed. Does not run
    when this plugin's own `flext_request` answered, nor when the send failed.
    """


@hookspec
async def flext_exchange(
    request: Request,
    send: Send,
    connection: Connection,
) -> Response:
    """Stand around one exchange; return the response.

    `await send(request)` goes inward and raises what happened there; let such an error pass, or
    recover by returning a response. `send` may be called again once it has returned, if
    `connection.sendable(request)`; the response that it supersedes is closed. Not calling it
    answers or refuses (`raise Refused(...)`) without sending.
    """
    raise NotImplementedError


@hookspec
async def flext_operation(
    operation: Operation,
    proceed: Proceed,
    connection: Connection,
) -> object:
    """Stand around one operation; return its result.

    `await proceed(operation)` goes inward as `send(request)` does in an exchange.
    """


@hookspec
def flext_event(event: Event, connection: Connection) -> None:
    """Take note of a record from `flext_plugins.events`, or of one that a plugin emitted.

    A receiver is always an observer: what it raises is reported and hurts nobody.
    """


@hookspec
def flext_status(connection: Connection) -> Status:
    """Report this plugin's state to somebody who looks in from outside, such as an operator.

    It may be called at any time while the connection is open, from any thread, and returns at once:
    it looks at what is known and asks nobody. The facts are JSON and hold no secret. What it raises
    is reported and hurts nobody.
    """
    raise NotImplementedError


__all__ = [
    "GROUP",
    "Stage",
    "flext_connect",
    "flext_disconnect",
    "flext_event",
    "flext_exchange",
    "flext_operation",
    "flext_request",
    "flext_response",
    "flext_status",
    "hookimpl",
    "hookspec",
]
