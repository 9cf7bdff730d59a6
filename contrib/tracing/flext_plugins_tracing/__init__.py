"""A span for each attempt, and its trace carried on to the service."""

from .plugin import Tracing
from .settings import TracingSettings

__all__ = ["Tracing", "TracingSettings"]
