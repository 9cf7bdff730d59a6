"""The plugin: makes a span for each attempt, and passes its trace on to the service."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import SpanKind, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flext_plugins import Stage, events, hookimpl
from flext_plugins.http import is_header_value

from .exporter import Exports, check_installed
from .settings import TracingSettings
from .span import Current, is_traced, note_status, of_operation, of_request, server_of
from .span_events import span_event

if TYPE_CHECKING:
    from flext_plugins import Connection, Operation, Proceed, Request, Response, Send, Service

VERSION = "1.0.0"
MOST_BAGGAGE = 8192
"""Bytes of baggage that are sent on: what W3C has everybody accept."""
_trace_context, _baggage = TraceContextTextMapPropagator(), W3CBaggagePropagator()


class Tracing:
    """Makes a CLIENT span for each attempt and each operation, current while it lasts.

    Spans go to the `TracerProvider` that the application provided to the host; without one to the
    `exporter` in the settings, whose provider the application can use; else to the global provider.
    """

    Settings = TracingSettings
    stage = Stage.ATTEMPT
    observer = True

    def __init__(self, settings: TracingSettings, service: Service) -> None:
        self._settings, self._service = settings, service
        self._server = server_of(service.base_url)
        provider = _provider_of(service)
        self._exports = settings.exporter is not None and provider is None
        if settings.exporter is not None:
            check_installed(settings.exporter)
        # Without a provider it is OpenTelemetry's proxy: the global one may be set later.
        self._tracer = trace.get_tracer(__package__, VERSION, provider)

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Begin to export if the settings say so; closing the connection sends what is left."""
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

        # So that the application's own spans and other users of the provider come along.
        connection.provide(TracerProvider, provider, close=close)  # type: ignore[type-abstract]

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Send,
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
            note_status(span, response.status_code)
        return response

    @hookimpl
    async def flext_operation(
        self,
        operation: Operation,
        proceed: Proceed,
        connection: Connection,
    ) -> object:
        """Proceed inside a span."""
        name, attributes = of_operation(operation)
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        with Current(span, connection, is_http=False):
            return await proceed(operation)

    @hookimpl
    def flext_event(self, event: object, connection: Connection) -> None:
        """Add an event to the current span, which is the caller's."""
        match event:
            case events.CallFinished() | events.HopFinished() | events.BodyEnded(error=None):
                return  # one of each comes with every call, and spans show none of them
        span = trace.get_current_span()
        if span.is_recording() and (details := span_event(event, connection)):
            span.add_event(*details)

    def _mark(self, request: Request) -> None:
        """Put the current trace into the headers."""
        if "tracestate" in request.headers:  # of a trace that the caller named
            del request.headers["tracestate"]
        _trace_context.inject(request.headers)
        if self._settings.baggage and (baggage := _baggage_now()):
            request.headers["baggage"] = baggage


def _baggage_now() -> str:
    """The current baggage as a header's value, or nothing if no header can carry it."""
    carrier: dict[str, str] = {}
    with suppress(UnicodeError):  # half a surrogate pair
        _baggage.inject(carrier)
    value = carrier.get("baggage", "")
    return value if len(value) <= MOST_BAGGAGE and is_header_value(value) else ""


def _provider_of(service: Service) -> TracerProvider | None:
    """The provider from the application, given under OpenTelemetry's interface or the SDK's."""
    provider: TracerProvider | None = service.resource(TracerProvider, None)  # type: ignore[type-abstract]
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    if provider is None and sdk is not None:
        provider = service.resource(sdk.TracerProvider, None)
    return provider
