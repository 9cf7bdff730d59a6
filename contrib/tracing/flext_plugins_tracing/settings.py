"""What `[services.NAME.plugins.tracing]` may say."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, field_validator, model_validator
from pydantic_core import PydanticCustomError

Exporter: TypeAlias = Literal["otlp", "console"]


class TracingSettings(BaseModel):
    """What is carried on to the service, and where spans go if the application does not say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    baggage: bool = False
    """Send the baggage of the current context too, which other companies then read."""
    exporter: Exporter | None = None
    """Where spans go; `None` leaves it to the application."""
    endpoint: str | None = None
    """The address of an OTLP receiver; else what OpenTelemetry's own variables say."""

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise PydanticCustomError("endpoint", "expected http://host:port or https://host:port")
        if "@" in url.netloc:
            expected = "expected no user; OTEL_EXPORTER_OTLP_HEADERS is for credentials"
            raise PydanticCustomError("endpoint", expected)
        return value

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        if self.endpoint is not None and self.exporter != "otlp":
            raise PydanticCustomError("unused", "endpoint is of no use without exporter = 'otlp'")
        return self
