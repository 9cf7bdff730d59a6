"""Sets up OpenTelemetry's SDK for programs that do not do so themselves."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from flext_plugins import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from .settings import Exporter

Target: TypeAlias = "tuple[Exporter, str | None]"
"""An exporter, and its endpoint."""
PATH = "/v1/traces"
NEEDED = {
    "console": "opentelemetry.sdk.trace.export",
    "otlp": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
}


class Exports:
    """A host's tracer providers by target, shared by its open connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Target, tuple[TracerProvider, int]] = {}

    def acquire(self, target: Target) -> TracerProvider:
        """Get the provider for `target`, made for the first user."""
        with self._lock:
            provider, users = self._open.get(target) or (_provider(*target), 0)
            self._open[target] = provider, users + 1
            return provider

    def release(self, target: Target) -> None:
        """Give a provider back; the last user has it send its remaining spans, and waits."""
        with self._lock:
            provider, users = self._open.pop(target)
            if users > 1:
                self._open[target] = provider, users - 1
                return
        provider.shutdown()


def check_installed(exporter: Exporter) -> None:
    """Check that the SDK is installed.

    Raises:
        ConfigError: it is not.
    """
    try:
        import_module(NEEDED[exporter])
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed: the extra `otlp` of flext-plugins-tracing"
        raise ConfigError(f"exporter = {exporter!r}: {missing}") from None


def _provider(exporter: Exporter, endpoint: str | None) -> TracerProvider:
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - only if it is asked for
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    provider = TracerProvider()
    if exporter == "console":  # where it is in nobody's way
        console = ConsoleSpanExporter(out=sys.stderr)
        provider.add_span_processor(SimpleSpanProcessor(console))
    else:
        provider.add_span_processor(BatchSpanProcessor(_otlp(endpoint)))
    return provider


def _otlp(endpoint: str | None) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    if endpoint is not None and not endpoint.endswith(PATH):
        endpoint = endpoint.rstrip("/") + PATH
    return OTLPSpanExporter(endpoint)
