"""`flext_connect`: a connection opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import hookspec

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from flext_plugins.connection import Connection


@hookspec
def flext_connect(connection: Connection) -> Awaitable[None] | None:
    """Prepare what this connection needs; runs once, when it opens, outermost plugin first.

    `connection.provide(type, value, close=...)` lends something to the application. An exception
    undoes the opening: what plugins before this one provided is closed, in reverse.
    """
