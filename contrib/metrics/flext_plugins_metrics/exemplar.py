"""Exemplars: a trace of one attempt for each bucket of a histogram."""

from __future__ import annotations

import math
import re
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flext_plugins import Request

TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f][13579bdf]")
"""W3C's header of a sampled trace."""
SECONDS = 1.0
"""Seconds before an exemplar may be replaced."""


class Exemplars:
    """The exemplars of one histogram: a new one in each bucket once a second.

    Only the latest is ever scraped, and to note one costs as much as eight observations.
    """

    def __init__(
        self, bounds: Sequence[float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bounds, self._clock = bounds, clock
        self._until = [-math.inf] * (len(bounds) + 1)

    def __call__(self, seconds: float, request: Request) -> dict[str, str] | None:
        """The trace of a `request` that took so long, if it is sampled and its bucket wants one."""
        bucket, now = bisect_left(self._bounds, seconds), self._clock()
        if now < self._until[bucket] or "traceparent" not in request.headers:
            return None
        header: Any = request.headers["traceparent"]  # bytes, of a session of requests
        match = TRACEPARENT.fullmatch(header) if isinstance(header, str) else None
        if match is None:
            return None
        self._until[bucket] = now + SECONDS
        return {"trace_id": match[1], "span_id": match[2]}
