"""Spans, named and filled by OpenTelemetry's semantic conventions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry import context, trace

# The keys that every instrumentation of OpenTelemetry's imports; it has no public name for them.
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as HTTP_SUPPRESSED
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as SUPPRESSED
from opentelemetry.trace import SpanKind, StatusCode, format_span_id

from flext_plugins import FlextError
from flext_plugins.http import IDEMPOTENT, Origin

from .redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from flext_plugins import Call, Connection, Operation, Request

METHODS = IDEMPOTENT | {"CONNECT", "PATCH", "POST", "QUERY"}
SYSTEMS = {"oracle": "oracle.db"}
"""Systems that the conventions name differently."""
OURS = "flext_plugins_tracing"
"""Marks our own suppression of HTTP instrumentation, under which our spans are still made."""


def is_traced(request: Request) -> bool:
    """Whether OpenTelemetry's own instrumentation makes a span for `request`, or none may be."""
    here = context.get_current()
    if here.get(SUPPRESSED) or here.get(HTTP_SUPPRESSED) not in {None, False, OURS}:
        return True
    if "traceparent" not in request.headers:
        return False
    sent = request.headers["traceparent"]
    span = trace.get_current_span()
    is_client = getattr(span, "kind", None) is SpanKind.CLIENT
    return is_client and f"-{format_span_id(span.get_span_context().span_id)}-" in sent


def server_of(address: str | None) -> dict[str, AttributeValue]:
    """The attributes that name the service at `address` in each attempt's span."""
    if not address:
        return {"server.address": ""}
    origin = Origin.of(address)
    attributes: dict[str, AttributeValue] = {"server.address": origin.host}
    if origin.port is not None:
        attributes["server.port"] = origin.port
    return attributes


def of_request(
    request: Request, call: Call | None, server: Mapping[str, AttributeValue]
) -> tuple[str, dict[str, AttributeValue]]:
    """The name and first attributes of an attempt's span."""
    method = request.method if request.method in METHODS else "HTTP"
    attributes: dict[str, AttributeValue] = {
        "http.request.method": request.method if method != "HTTP" else "_OTHER",
        "url.full": redacted(str(request.url)),
        **server,
    }
    if method == "HTTP":
        attributes["http.request.method_original"] = redacted(request.method)
    if call is None:
        return method, attributes
    if call.attempt > 1:
        attributes["http.request.resend_count"] = call.attempt - 1
    if call.route is None:
        return method, attributes
    # Half a surrogate pair is no Unicode: an exporter would lose the whole batch over it.
    route = call.route.encode(errors="backslashreplace").decode()
    attributes["url.template"] = route
    return f"{method} {route}", attributes


def of_operation(operation: Operation) -> tuple[str, dict[str, AttributeValue]]:
    """The name and first attributes of an operation's span."""
    attributes: dict[str, AttributeValue] = {
        "db.system.name": SYSTEMS.get(operation.system, operation.system),
        "db.operation.name": operation.name,
    }
    target = urlsplit(operation.target if "://" in operation.target else f"//{operation.target}")
    address = target.hostname or ""
    if address:
        attributes["server.address"] = address
    try:
        port = target.port
    except ValueError:
        port = None
    if port:
        attributes["server.port"] = port
    return f"{operation.name} {address}".rstrip(), attributes


class Current:
    """Makes `span` the current one inside a `with`, and ends it in any case.

    If it `is_http`, OpenTelemetry's own instrumentation of the client library makes no second
    span meanwhile.
    """

    __slots__ = ("_connection", "_context", "_span", "_token")

    def __init__(self, span: Span, connection: Connection, *, is_http: bool) -> None:
        self._span, self._connection = span, connection
        self._context = trace.set_span_in_context(span)
        if is_http:
            self._context = context.set_value(HTTP_SUPPRESSED, OURS, self._context)

    def __enter__(self) -> Span:
        self._token = context.attach(self._context)
        return self._span

    def __exit__(
        self,
        _: type[BaseException] | None,
        error: BaseException | None,
        __: TracebackType | None,
    ) -> None:
        try:
            # What collects an abandoned coroutine closes it in a context that is not its own.
            if not isinstance(error, GeneratorExit) or context.get_current() is self._context:
                context.detach(self._token)
            if isinstance(error, Exception):
                _note_error(self._span, error, self._connection)
            elif error is not None:
                self._span.add_event("cancelled")
        finally:
            self._span.end()


def note_status(span: Span, status: int) -> None:
    """Set the answer's status on `span`."""
    span.set_attribute("http.response.status_code", status)
    if status >= 400:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


def _note_error(span: Span, error: Exception, connection: Connection) -> None:
    """Set the error on `span`, without words that may quote the request."""
    failure = connection.failure(error)
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    span.set_attribute("error.type", failure.value if failure else name)
    span.set_status(StatusCode.ERROR)
    details: dict[str, AttributeValue] = {"exception.type": name}
    if message := _message(error):
        details["exception.message"] = message
    span.add_event("exception", details)


def _message(error: BaseException | None) -> str:
    """The text of our own errors, which holds no secret, or the operating system's text."""
    if isinstance(error, FlextError):
        return redacted(str(error))
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        number = getattr(error, "errno", None)
        if isinstance(error, OSError) and isinstance(number, int) and number > 0:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return ""
