"""What `[services.NAME.plugins.retry]` may say."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Status: TypeAlias = Annotated[int, Field(ge=400, le=599)]


class RetrySettings(BaseModel):
    """How often, how soon and on what grounds a request is sent again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(default=3, ge=1, le=100)
    """How often a request is sent at most, the first time included."""
    backoff: Seconds = 0.1
    """The longest first wait, in seconds; it doubles each time, and chance picks what is waited."""
    longest_wait: Seconds = 30.0
    """Seconds that no wait exceeds; a service that asks for more gets no further attempt."""
    statuses: tuple[Status, ...] = (408, 429, 502, 503, 504)
    """Answers after which a request is sent again."""
    idempotency_key: bool = False
    """Give requests that lack one an `Idempotency-Key`, so that any method may be sent again."""
    budget: float = Field(default=0.2, ge=0, allow_inf_nan=False)
    """Resends in ten seconds, as a share of the calls in them."""
    budget_floor: NonNegativeInt = 10
    """Resends in ten seconds beside that share, for services with little traffic."""
