"""Measures a service's traffic, for Prometheus or OpenTelemetry."""

from pathlib import Path

from .exposition import app
from .names import NAMES, Name
from .plugin import Metrics
from .settings import MetricsSettings

DASHBOARD = Path(__file__).with_name("dashboard.json")
"""For Grafana."""
RULES = Path(__file__).with_name("rules.yml")
"""Alerts and recorded series for Prometheus."""

__all__ = ["DASHBOARD", "NAMES", "RULES", "Metrics", "MetricsSettings", "Name", "app"]

for _public in (Metrics, MetricsSettings, Name, app):
    _public.__module__ = __name__  # where it is imported from, as tracebacks say
