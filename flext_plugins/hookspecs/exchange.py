"""`flext_exchange`: around each send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import hookspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flext_plugins.connection import Connection
    from flext_plugins.message import Request, Response


@hookspec
async def flext_exchange(
    request: Request,
    send: Callable[[Request], Awaitable[Response]],
    connection: Connection,
) -> Response:
    """Stand around one exchange; return the response.

    `await send(request)` goes inward and raises what happened there; let such an error pass, or
    recover by returning a response. `send` may be called again once it has returned, if
    `connection.replayable(request)`; the response that it supersedes is closed. Not calling it
    answers or refuses (`raise Refused(...)`) without sending.
    """
    raise NotImplementedError
