"""`flext_response`: after each answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import hookspec

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from flext_plugins.connection import Connection
    from flext_plugins.message import Request, Response


@hookspec
def flext_response(
    response: Response, request: Request, connection: Connection
) -> Awaitable[Response | None] | Response | None:
    """Look at or change the answer, innermost plugin first; its body has not been read.

    Return `None`, or the response to go on with; the one that it replaces is closed. Does not run
    when this plugin's own `flext_request` answered, nor when the send failed.
    """
