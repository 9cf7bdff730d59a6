"""pybreaker, as in its README: a breaker as a decorator, `exclude` with a predicate."""

from __future__ import annotations

from typing import Any

import pybreaker

from .decorated import Decorated, is_callers


class Breaker(Decorated):
    """Its asynchronous calls are Tornado's; it takes an `async def` all the same (its issue 7)."""

    modes = ("sync",)
    accepts = frozenset({"an_async_call_counts"})

    def __init__(self, _: Any, threshold: int, recovery: float) -> None:
        made = pybreaker.CircuitBreaker(
            fail_max=threshold, reset_timeout=recovery, exclude=[is_callers]
        )
        super().__init__(made, made)
