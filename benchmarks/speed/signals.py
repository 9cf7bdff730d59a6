"""What the measured stacks tell: spans, and series in a registry of their own."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from prometheus_client import CollectorRegistry, Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan


class Nowhere(SpanExporter):
    """Counts spans."""

    exported = 0
    """By all of them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        Nowhere.exported += len(spans)
        return SpanExportResult.SUCCESS


class Signals:
    """Where one stack's spans and series go."""

    def __init__(self, exporter: SpanExporter | None = None, sampled: float = 1.0) -> None:
        self.registry = CollectorRegistry()
        sampler = TraceIdRatioBased(sampled)
        self.tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(exporter or Nowhere()))


class Series:
    """A histogram of durations and a counter of requests, by method, host and status.

    What a program does with prometheus-client where no framework does it.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "host", "status")
        what = "Requests by what came of them."
        self._duration = Histogram(
            "client_request_duration_seconds", "How long they took.", labels, registry=registry
        )
        self._requests = Counter("client_requests", what, labels, registry=registry)

    def _tell(self, host: str, status: str, started: float) -> None:
        self._duration.labels("GET", host, status).observe(perf_counter() - started)
        self._requests.labels("GET", host, status).inc()

    def told(self, get: Callable[[str], Any], url: str) -> Callable[[], Any]:
        """`get(url)`, counted."""
        host = urlsplit(url).hostname or ""

        def call() -> Any:
            started = perf_counter()
            try:
                response = get(url)
            except Exception as error:
                self._tell(host, type(error).__name__, started)
                raise
            self._tell(host, str(response.status_code), started)
            return response

        return call

    def atold(self, get: Callable[[str], Awaitable[Any]], url: str) -> Callable[[], Awaitable[Any]]:
        """The same for one that is awaited."""
        host = urlsplit(url).hostname or ""

        async def call() -> Any:
            started = perf_counter()
            try:
                response = await get(url)
            except Exception as error:
                self._tell(host, type(error).__name__, started)
                raise
            self._tell(host, str(response.status_code), started)
            return response

        return call
