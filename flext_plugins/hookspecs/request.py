"""`flext_request`: before each send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import hookspec

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from flext_plugins.connection import Connection
    from flext_plugins.message import Request, Response


@hookspec
def flext_request(
    request: Request, connection: Connection
) -> Awaitable[Response | None] | Response | None:
    """Look at or change the message before it is sent, outermost plugin first.

    Return `None`, or a response (`connection.respond(...)`), which answers without sending: inner
    plugins do not run, outer ones see an ordinary response.
    """
