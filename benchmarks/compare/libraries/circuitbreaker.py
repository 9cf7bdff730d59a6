"""circuitbreaker, as in its README: a decorator, `expected_exception` with a predicate."""

from __future__ import annotations

from typing import Any

from circuitbreaker import CircuitBreaker

from .decorated import Decorated, is_callers


class Breaker(Decorated):
    """One object decorates functions of both worlds."""

    def __init__(self, _: Any, threshold: int, recovery: float) -> None:
        made = CircuitBreaker(
            failure_threshold=threshold,
            recovery_timeout=recovery,
            expected_exception=lambda kind, error: (
                issubclass(kind, Exception) and not is_callers(error)
            ),
        )
        super().__init__(made, made)
