"""Spans, named and filled by OpenTelemetry's semantic conventions."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import context, trace

# The keys that every instrumentation of OpenTelemetry's imports; it has no public name for them.
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as HTTP_SUPPRESSED
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as SUPPRESSED
from opentelemetry.trace import SpanKind, StatusCode, format_span_id

from flext_plugins import FlextError
from flext_plugins.http import IDEMPOTENT, Origin

from .redaction import redacted, shown_as

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from flext_plugins import Call, Connection, Operation, Request

METHODS = IDEMPOTENT | {"CONNECT", "PATCH", "POST", "QUERY"}
SYSTEMS = {"oracle": "oracle.db"}
"""Systems that the conventions name differently."""
CODE = re.compile(r"[A-Za-z0-9._:-]{1,32}")
"""A system's code for an error, and no text about it: `ORA-00001`, `23505`."""
OURS = "flext_plugins_tracing"
"""Marks our own suppression of HTTP instrumentation, under which our spans are still made."""


def is_traced(request: Request) -> bool:
    """Whether OpenTelemetry's own instrumentation makes a span for `request`, or none may be."""
    here = context.get_current()
    if here.get(SUPPRESSED) or here.get(HTTP_SUPPRESSED) not in {None, False, OURS}:
        return True
    if "traceparent" not in request.headers:
        return False
    sent: Any = request.headers["traceparent"]  # bytes, of a session of requests
    if isinstance(sent, bytes):
        sent = sent.decode("latin-1")
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
    route = attributes["url.template"] = shown_as(call.route)
    return f"{method} {route}", attributes


def of_operation(operation: Operation) -> tuple[str, dict[str, AttributeValue]]:
    """The name and first attributes of an operation's span."""
    entity, server = _server_of_operation(operation.target)
    attributes: dict[str, AttributeValue] = {
        "db.system.name": shown_as(SYSTEMS.get(operation.system, operation.system)),
        "db.operation.name": shown_as(operation.name),
        **server,
    }
    if operation.attributes:
        entity = _describe(operation.attributes, attributes) or entity
    return shown_as(f"{operation.name} {entity}".rstrip()), attributes


@lru_cache(256)
def _server_of_operation(target: str) -> tuple[str, Mapping[str, AttributeValue]]:
    """The server as the name of an operation's span has it, and its attributes."""
    server: dict[str, AttributeValue] = {}
    with suppress(ValueError):
        url = urlsplit(target if "://" in target else f"//{target}")
        if url.hostname:
            server["server.address"] = shown_as(url.hostname)
        if url.port:
            server["server.port"] = url.port
    return ":".join(map(str, server.values())), server


def _describe(told: Mapping[str, object], attributes: dict[str, AttributeValue]) -> str:
    """Add what an operation tells of itself; return what it is about, if that is told."""
    entity = ""
    for key, name in ("namespace", "db.namespace"), ("collection", "db.collection.name"):
        if isinstance(value := told.get(key), str) and value:
            entity = attributes[name] = shown_as(value)
    if isinstance(size := told.get("size"), int) and size > 1:  # one alone is no batch
        attributes["db.operation.batch.size"] = size
    if isinstance(query := told.get("query"), str):
        attributes["db.query.text"] = redacted(" ".join(query.split()))
    return entity


class Current:
    """Makes `span` the current one inside a `with`, and ends it in any case.

    If it `is_http`, OpenTelemetry's own instrumentation of the client library makes no second
    span meanwhile.
    """

    __slots__ = ("_connection", "_context", "_is_http", "_span", "_token")

    def __init__(self, span: Span, connection: Connection, *, is_http: bool) -> None:
        self._span, self._connection, self._is_http = span, connection, is_http
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
                code = "" if self._is_http else _code(error)
                _note_error(self._span, error, self._connection, code)
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


def _note_error(span: Span, error: Exception, connection: Connection, code: str) -> None:
    """Set the error on `span`, without words that may quote the request."""
    failure = connection.failure(error)
    name = shown_as(f"{type(error).__module__}.{type(error).__qualname__}")
    kinds = {"error.type": failure.value if failure else code or name}
    if code:
        kinds["db.response.status_code"] = code
    span.set_attributes(kinds)
    span.set_status(StatusCode.ERROR)
    details: dict[str, AttributeValue] = {"exception.type": name}
    if message := _message(error):
        details["exception.message"] = message
    span.add_event("exception", details)


def _code(error: Exception) -> str:
    """The system's code for the error of an operation, if it has one."""
    code = getattr(error, "code", None)
    text = str(code) if isinstance(code, (int, str)) else ""
    return text if CODE.fullmatch(text) else ""


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
