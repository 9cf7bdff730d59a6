"""Measures a service's traffic for Prometheus."""

from .exposition import app
from .names import NAMES, Name
from .plugin import Metrics

__all__ = ["NAMES", "Metrics", "Name", "app"]
