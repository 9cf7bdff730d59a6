"""The settings in `[services.NAME.plugins.metrics]`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class MetricsSettings(BaseModel):
    """Settings: who reads what is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exporter: Literal["prometheus", "otel"] = "prometheus"
    """What it is measured for: `prometheus`, which reads a page, or `otel`, OpenTelemetry, whose
    `MeterProvider` is the application's."""
