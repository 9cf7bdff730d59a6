"""Beside OpenTelemetry's own instrumentation there is one span for each request."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.utils import (
    suppress_http_instrumentation,
    suppress_instrumentation,
)
from opentelemetry.propagate import inject
from pydantic import BaseModel

from flext_plugins import Connection, Host, Request, ServiceName, hookimpl
from flext_plugins.testing import LoopbackService, World

Serve = Callable[..., Host]


class AsksSettings(BaseModel):
    service: ServiceName


class Asks:
    """Asks another service while a request is under way."""

    Settings = AsksSettings

    def __init__(self, settings: AsksSettings) -> None:
        self.service = settings.service

    @hookimpl
    async def flext_request(self, request: Request, connection: Connection) -> None:
        await connection.close(await connection.request(self.service, "GET", "key"))


@pytest.fixture(params=["httpx", "requests"])
def instrumented(request: Any, spans: Any) -> Iterator[Any]:
    """Its library, as it is without plugins."""
    kind = HTTPXClientInstrumentor if request.param == "httpx" else RequestsInstrumentor
    kind().instrument(tracer_provider=spans.provider)
    yield httpx if request.param == "httpx" else requests
    kind().uninstrument()


def test_a_library_that_is_instrumented_makes_no_second_span(
    flext_world: World, flext_service: LoopbackService, instrumented: Any, serve: Serve, spans: Any
) -> None:
    instrumented.get(f"{flext_service.url}/bare")
    assert len(spans.ended) == 1  # it does make spans
    flext_world.get(serve(), "/traced")
    assert len(spans.ended) == 2
    (_, received) = flext_service.received
    assert trace.format_span_id(spans.ended[1].context.span_id) in received.headers["traceparent"]


def test_a_client_that_is_instrumented_makes_the_only_span(
    flext_service: LoopbackService, spans: Any
) -> None:
    with Host(
        {"services": {"service": {"base_url": flext_service.url, "plugins": {"tracing": {}}}}}
    ) as host:
        host.provide(trace.TracerProvider, spans.provider)
        client = host.connect("service")
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=spans.provider)
        client.get("/")
    (span,) = spans.ended
    assert span.instrumentation_scope.name == "opentelemetry.instrumentation.httpx"
    sent = flext_service.received[0].headers["traceparent"]
    assert trace.format_span_id(span.context.span_id) in sent


def test_a_caller_that_carries_its_trace_on_by_hand_gets_a_span_all_the_same(
    flext_world: World, serve: Serve, spans: Any
) -> None:
    headers: dict[str, str] = {}
    with spans.tracer.start_as_current_span("the caller's"):
        inject(headers)
        flext_world.get(serve(), headers=headers)
    assert [span.name for span in spans.ended] == ["GET", "the caller's"]


def test_the_trace_of_a_span_around_the_request_may_be_bytes(
    flext_world: World, serve: Serve, spans: Any
) -> None:
    headers: dict[str, str] = {}
    with spans.tracer.start_as_current_span("around", kind=trace.SpanKind.CLIENT):
        inject(headers)
        sent: Any = {name: value.encode() for name, value in headers.items()}
        flext_world.get(serve(), headers=sent)
    assert [span.name for span in spans.ended] == ["around"]


def test_what_an_instrumentation_outside_covers_is_not_traced_again(
    flext_world: World, serve: Serve, spans: Any
) -> None:
    with suppress_http_instrumentation():
        flext_world.get(serve())
    assert spans.started == 0


def test_a_service_that_is_asked_meanwhile_is_traced_too(
    flext_world: World, flext_service: LoopbackService, spans: Any
) -> None:
    url = flext_service.url
    asks = {"base_url": url, "plugins": {"asks": {"service": "other"}, "tracing": {}}}
    other = {"base_url": f"{url}/other", "plugins": {"tracing": {}}}
    host = flext_world.host({"services": {"service": asks, "other": other}}, asks=Asks)
    host.provide(trace.TracerProvider, spans.provider)
    flext_world.get(host)
    inner, outer = spans.ended
    assert inner.attributes["url.full"] == f"{url}/other/key"
    assert inner.parent == outer.context


def test_what_sends_spans_is_not_traced(flext_world: World, serve: Serve, spans: Any) -> None:
    with suppress_instrumentation():
        flext_world.get(serve())
    assert spans.started == 0
