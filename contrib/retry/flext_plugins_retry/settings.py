"""The settings in `[services.NAME.plugins.retry]`."""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from flext_plugins import Seconds

Status: TypeAlias = Annotated[int, Field(ge=400, le=599)]


class RetrySettings(BaseModel):
    """Settings: how often, how soon and after which failures a request is sent again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(default=3, ge=1, le=100)
    """The most times that a request is sent, the first included."""
    backoff: Seconds = 0.1
    """Bound of the first wait, in seconds; it doubles each time, and waits are random below it."""
    longest_wait: Seconds = 30.0
    """Bound of every wait in seconds; a service that asks for more gets no further attempt."""
    statuses: tuple[Status, ...] = (408, 429, 502, 503, 504)
    """Answers after which a request is sent again."""
    idempotency_key: bool = False
    """Give requests that lack one an `Idempotency-Key`, so that any method may be sent again."""
    budget: float = Field(default=0.2, ge=0, le=100, allow_inf_nan=False)
    """Resends in ten seconds, as a share of the calls in them."""
    budget_floor: int = Field(default=10, ge=0, le=1_000_000)
    """Resends in ten seconds beside that share, for services with little traffic."""
