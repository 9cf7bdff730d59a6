"""What `[services.NAME.plugins.tracing]` may say."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class TracingSettings(BaseModel):
    """What is carried on to the service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    baggage: bool = False
    """Send the baggage of the current context too, which other companies then read."""
