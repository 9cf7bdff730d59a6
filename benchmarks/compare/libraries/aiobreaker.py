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
        # It takes plain functions only, as in its examples, and no bound methods.
        super().__init__(
            lambda call: made(lambda url: call(url)), lambda call: made(_function(call))
        )


def _function(call: Any) -> Any:
    async def function(url: str) -> Any:
        return await call(url)

    return function
