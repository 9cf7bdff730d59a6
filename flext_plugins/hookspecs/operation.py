"""`flext_operation`: around each operation that is not HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import hookspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flext_plugins.connection import Connection
    from flext_plugins.service import Operation


@hookspec
async def flext_operation(
    operation: Operation,
    proceed: Callable[[Operation], Awaitable[object]],
    connection: Connection,
) -> object:
    """Stand around one operation; return its result.

    `await proceed(operation)` goes inward as `send(request)` does in an exchange.
    """
