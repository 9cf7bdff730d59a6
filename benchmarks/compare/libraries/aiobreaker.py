"""aiobreaker, as in its documentation: a decorator, `exclude` with a predicate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aiobreaker import CircuitBreaker

from .decorated import Decorated, is_callers


class Breaker(Decorated):
    """One object decorates functions of both worlds."""

    def __init__(self, _: Any, threshold: int, recovery: float) -> None:
        made = CircuitBreaker(
            fail_max=threshold, timeout_duration=timedelta(seconds=recovery), exclude=[is_callers]
        )
        # Used without arguments it takes functions only, and no bound methods.
        super().__init__(made(), made())
