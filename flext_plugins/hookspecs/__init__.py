"""The whole contract between the host and its plugins.

A plugin is a class with one or more of the six functions below, marked with `hookimpl`. Each takes
only the arguments that it names. `flext_exchange` and `flext_operation` are `async def`,
`flext_event` is not, the others may be either.

Looking at or changing one message: `flext_request` and `flext_response`. Timing, guarding,
resending, waiting, recovering: `flext_exchange`. A plugin has the small hooks or `flext_exchange`,
not both.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from .signatures import Marker

GROUP = "flext_plugins"
"""The entry-point group, and pluggy's project name."""

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(GROUP)
hookimpl: Marker = pluggy.HookimplMarker(GROUP)


class Stage(IntEnum):
    """Where a plugin stands in the onion; the first is outermost.

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


from .connect import flext_connect  # noqa: E402 - the specifications need the marker above
from .event import flext_event  # noqa: E402
from .exchange import flext_exchange  # noqa: E402
from .operation import flext_operation  # noqa: E402
from .request import flext_request  # noqa: E402
from .response import flext_response  # noqa: E402

__all__ = [
    "GROUP",
    "Stage",
    "flext_connect",
    "flext_event",
    "flext_exchange",
    "flext_operation",
    "flext_request",
    "flext_response",
    "hookimpl",
    "hookspec",
]
