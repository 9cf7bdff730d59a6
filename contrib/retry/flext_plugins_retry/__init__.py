"""Sends again what may be sent again, and never multiplies an outage."""

from .plugin import Retry
from .settings import RetrySettings

__all__ = ["Retry", "RetrySettings"]
