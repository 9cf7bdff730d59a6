"""Stops sending to a service that keeps failing, and probes it later."""

from .breaker import CircuitOpen
from .plugin import CircuitBreaker
from .settings import CircuitBreakerSettings

__all__ = ["CircuitBreaker", "CircuitBreakerSettings", "CircuitOpen"]
