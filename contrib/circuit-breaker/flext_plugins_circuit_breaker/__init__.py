"""Stops calls to a service that keeps failing, and probes it later."""

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

for _public in (Circuit, CircuitBreaker, CircuitBreakerSettings, CircuitOpen, Counts, State):
    _public.__module__ = __name__  # where it is imported from, as tracebacks say
