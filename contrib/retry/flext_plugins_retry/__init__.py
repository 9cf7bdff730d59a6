"""Resends failed requests if that is safe, within a budget that keeps an outage small."""

from .plugin import Retry
from .settings import RetrySettings

__all__ = ["Retry", "RetrySettings"]

for _public in (Retry, RetrySettings):
    _public.__module__ = __name__  # where it is imported from, as tracebacks say
