"""What `[services.NAME.plugins.circuit-breaker]` may say."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt


class CircuitBreakerSettings(BaseModel):
    """When the circuit opens, and how it closes again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    failure_threshold: PositiveInt = 5
    """Consecutive failures that open the circuit."""
    recovery_timeout: PositiveFloat = 60.0
    """Seconds that it stays open before it is probed."""
    half_open_calls: PositiveInt = 1
    """Probes at a time, and successes of theirs that close it."""
