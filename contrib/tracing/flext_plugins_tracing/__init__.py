"""Makes a span for each attempt, and passes its trace on to the service."""

from .plugin import Tracing
from .settings import TracingSettings

__all__ = ["Tracing", "TracingSettings"]

for _public in (Tracing, TracingSettings):
    _public.__module__ = __name__  # where it is imported from, as tracebacks say
