"""The plugin: a span for each attempt, and its trace carried on to the service."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import SpanKind, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flext_plugins import Stage, events, hookimpl

from .exporter import Exports, check_installed
from .moment import told
from .settings import TracingSettings
from .span import Current, answered, is_traced, of_operation, of_request, server_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flext_plugins import Connection, Operation, Request, Response, Service

VERSION = "1.0.0"
_trace_context, _baggage = TraceContextTextMapPropagator(), W3CBaggagePropagator()


class Tracing:
    """Makes a CLIENT span for each attempt and each operation, current while it lasts.

    Spans go to the `TracerProvider` that the application provided to the host, else to the
    `exporter` in the settings, whose provider it lends, else to the global provider.
    """

    Settings = TracingSettings
    stage = Stage.ATTEMPT
    observer = True

    def __init__(self, settings: TracingSettings, service: Service) -> None:
        self._settings, self._service = settings, service
        self._server = server_of(service.base_url)
        provider = _provided(service)
        self._exports = settings.exporter is not None and provider is None
        if settings.exporter is not None:
            check_installed(settings.exporter)
        # Without a provider it is OpenTelemetry's proxy: the global one may be set later.
        self._tracer = trace.get_tracer(__package__, VERSION, provider)

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Begin to export, where the settings say so; closing the connection sends what is left."""
        exporter = self._settings.exporter
        if exporter is None or not self._exports:
            return
        target, exports = (
            (exporter, self._settings.endpoint),
            self._service.shared(Exports, Exports),
        )
        provider = exports.acquire(target)
        self._tracer = trace.get_tracer(__package__, VERSION, provider)

        async def close() -> None:
            await connection.run(exports.release, target)

        # So that an application's own spans, and what else is to hear of these, come along.
        connection.provide(TracerProvider, provider, close=close)  # type: ignore[type-abstract]

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Callable[[Request], Awaitable[Response]],
        connection: Connection,
    ) -> Response:
        """Send inside a span, which ends at the headers."""
        if is_traced(request):
            return await send(request)
        name, attributes = of_request(request, connection.call, self._server)
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        with Current(span, connection, is_http=True):
            if span.get_span_context().is_valid:
                self._mark(request)
            response = await send(request)
            answered(span, response.status_code)
        return response

    @hookimpl
    async def flext_operation(
        self,
        operation: Operation,
        proceed: Callable[[Operation], Awaitable[object]],
        connection: Connection,
    ) -> object:
        """Proceed inside a span."""
        name, attributes = of_operation(operation)
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        with Current(span, connection, is_http=False):
            return await proceed(operation)

    @hookimpl
    def flext_event(self, event: object, connection: Connection) -> None:
        """Note on the current span, the caller's, what happens around attempts."""
        match event:
            case events.CallFinished() | events.BodyEnded(error=None):
                return  # each call has one of both, and spans tell nothing of them
        span = trace.get_current_span()
        if span.is_recording() and (found := told(event, connection)):
            span.add_event(*found)

    def _mark(self, request: Request) -> None:
        """Put the current span's trace into the headers."""
        if "tracestate" in request.headers:  # of a trace that the caller named
            del request.headers["tracestate"]
        _trace_context.inject(request.headers)
        if self._settings.baggage:
            _baggage.inject(request.headers)


def _provided(service: Service) -> TracerProvider | None:
    """What the application provided, by the interface's name or by the SDK's class."""
    found: TracerProvider | None = service.resource(TracerProvider, None)  # type: ignore[type-abstract]
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    if found is None and sdk is not None:
        found = service.resource(sdk.TracerProvider, None)
    return found
