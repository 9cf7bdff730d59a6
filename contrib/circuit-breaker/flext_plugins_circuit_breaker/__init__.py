"""Stops sending to a service that keeps failing, and probes it later."""

from .breaker import CircuitOpen, Counts, State
from .plugin import Circuit, CircuitBreaker
from .settings import CircuitBreakerSettings

__all__ = [
    "Circuit",
    "CircuitBreaker",
    "CircuitBreakerSettings",
    "CircuitOpen",
    "Counts",
    "State",
]
