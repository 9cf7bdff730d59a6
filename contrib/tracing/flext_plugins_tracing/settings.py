"""The settings in `[services.NAME.plugins.tracing]`."""

from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, field_validator, model_validator
from pydantic_core import PydanticCustomError

Exporter: TypeAlias = Literal["otlp", "console"]


class TracingSettings(BaseModel):
    """Settings: what is passed on to the service, and where spans go by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    baggage: bool = False
    """Whether to send the current context's baggage too, which the service then can read."""
    exporter: Exporter | None = None
    """Where spans go: `otlp` (protobuf over HTTP) or `console` (standard error); without it the
    application says where."""
    endpoint: str | None = None
    """The address of an OTLP receiver; by default what `OTEL_EXPORTER_OTLP_ENDPOINT` says, or port
    4318 of this machine."""

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
