"""A span for each attempt, in the words of OpenTelemetry's conventions."""

import asyncio
import contextvars
import os
from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest
from flext_plugins_tracing import Tracing
from flext_plugins_tracing.span_events import span_event
from opentelemetry import baggage, context, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from flext_plugins import Call, Connection, Host, Refused, Service, events, hookimpl, options
from flext_plugins.testing import Answer, LoopbackService, World

Serve = Callable[..., Host]

RETRY = {"retry": {"backoff": 0.001, "attempts": 2}}


class Inside:
    """What is current further in."""

    current: Any = None

    @hookimpl
    def flext_request(self) -> None:
        Inside.current = trace.get_current_span().get_span_context()


class Outside:
    """A connection outside of any call."""

    call = None

    def failure(self, error: BaseException) -> None:
        """None of the wire's."""


class Quiet(Tracing):
    """Tracing by a name of its own."""


def test_a_request_is_a_client_span_in_the_conventions_words(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    with options(route="/orders/{id}"):
        flext_world.get(serve(), "/orders/7?page=2")
    (span,) = spans.ended
    assert (span.name, span.kind) == ("GET /orders/{id}", SpanKind.CLIENT)
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.full": f"{flext_service.url}/orders/7?page=2",
        "url.template": "/orders/{id}",
        "server.address": "127.0.0.1",
        "server.port": flext_service.port,
        "http.response.status_code": 200,
    }
    assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())
    assert span.instrumentation_scope.name == "flext_plugins_tracing"


def test_a_route_that_is_no_unicode_does_not_cost_the_batch(
    flext_world: World, serve: Serve, spans: Any
) -> None:
    with options(route=os.fsdecode(b"/files/\xff")):
        flext_world.get(serve())
    (span,) = spans.ended
    assert span.name == "GET /files/\\udcff"
    assert span.attributes["url.template"] == "/files/\\udcff"
    encode_spans([span]).SerializeToString()


def test_without_a_route_it_is_named_by_the_method_and_never_by_the_path(
    flext_world: World, serve: Serve, spans: Any
) -> None:
    host = serve()
    flext_world.get(host, "/orders/7")
    flext_world.send(host, "PURGE", "/orders/7")
    assert [span.name for span in spans.ended] == ["GET", "HTTP"]
    assert spans.ended[1].attributes["http.request.method"] == "_OTHER"
    assert spans.ended[1].attributes["http.request.method_original"] == "PURGE"


def test_the_service_is_told_of_the_attempts_own_span(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    with spans.tracer.start_as_current_span("the caller's") as caller:
        old = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": "old=1"}
        answer = flext_world.get(serve(), headers=old)
    span, _ = spans.ended
    ids = [format_trace_id(span.context.trace_id), format_span_id(span.context.span_id)]
    sent = flext_service.received[0].headers
    assert sent["traceparent"].split("-")[1:3] == ids
    assert "tracestate" not in sent
    assert span.parent == caller.get_span_context()
    assert answer.request.headers["traceparent"] == old["traceparent"]  # the caller's own request


def test_baggage_is_sent_only_where_it_is_asked_for(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    token = context.attach(baggage.set_baggage("customer", "acme"))
    try:
        flext_world.get(serve())
        flext_world.get(serve(tracing={"baggage": True}))
    finally:
        context.detach(token)
    kept, sent = [each.headers.get("baggage") for each in flext_service.received]
    assert (kept, sent) == (None, "customer=acme")


def test_nothing_is_sent_where_nobody_has_configured_tracing(
    flext_world: World, flext_service: LoopbackService
) -> None:
    host = flext_world.host(
        {"services": {"service": {"base_url": flext_service.url, "plugins": {"tracing": {}}}}}
    )
    own = {"traceparent": "the-callers", "tracestate": "its=own"}
    assert flext_world.get(host, headers=own).status_code == 200
    assert own.items() <= flext_service.received[0].headers.items()


def test_an_error_status_is_an_error_of_that_type(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    host = serve()
    for status in (302, 404, 503):
        flext_service.answer = Answer(status)
        flext_world.get(host)
    errors = [span.attributes.get("error.type") for span in spans.ended]
    assert errors == [None, "404", "503"]
    codes = [span.status.status_code for span in spans.ended]
    assert codes == [StatusCode.UNSET, StatusCode.ERROR, StatusCode.ERROR]


def test_a_failure_on_the_wire_is_of_the_same_type_in_all_worlds(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    host = serve(timeout={"read": 0.2})
    flext_service.answer = Answer(delay=1)
    with pytest.raises(flext_world.lib.TimeoutException):
        flext_world.get(host)
    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError) as caught:
        flext_world.get(host)
    assert [span.attributes["error.type"] for span in spans.ended] == ["timeout", "connect"]
    (event,) = spans.ended[1].events
    kind = type(caught.value)
    assert event.name == "exception"
    assert event.attributes["exception.type"] == f"{kind.__module__}.{kind.__qualname__}"
    assert event.attributes["exception.message"] == "Connection refused"
    assert spans.ended[1].status.status_code is StatusCode.ERROR


def test_each_attempt_has_a_span_and_the_callers_tells_of_the_resend(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    answers = iter([Answer(503), Answer(200)])
    flext_service.answer = lambda received: next(answers)
    with spans.tracer.start_as_current_span("the caller's"):
        flext_world.get(serve(tables=RETRY))
    first, second, caller = spans.ended
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    assert {each.parent.span_id for each in (first, second)} == {caller.context.span_id}
    sent = [each.headers["traceparent"].split("-")[2] for each in flext_service.received]
    assert sent == [format_span_id(each.context.span_id) for each in (first, second)]
    (retried,) = caller.events
    assert retried.name == "flext.retried"
    assert (retried.attributes["flext.plugin"], retried.attributes["flext.reason"]) == (
        "retry",
        "503",
    )


def test_refusals_and_changes_of_state_are_events_on_the_callers_span(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    flext_service.answer = Answer(500)
    with spans.tracer.start_as_current_span("the caller's"):
        host = serve(tables={"circuit-breaker": {"failure_threshold": 1}})
        flext_world.get(host)
        with pytest.raises(Refused):
            flext_world.get(host)
    attempt, caller = spans.ended
    assert attempt.events == ()
    changed, refused = caller.events
    assert (changed.name, refused.name) == ("flext.state_changed", "flext.refused")
    assert changed.attributes["flext.new"] == "open"
    assert refused.attributes["flext.plugin"] == "circuit-breaker"


def test_the_span_is_current_for_what_is_further_in(
    flext_world: World, serve: Serve, spans: Any
) -> None:
    flext_world.get(serve(Inside))
    assert Inside.current == spans.ended[0].context


def test_a_body_that_breaks_is_an_event_on_the_span_that_reads_it(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    flext_service.answer = Answer(body=b"0123456789", cut=4)
    with spans.tracer.start_as_current_span("the caller's"):
        with pytest.raises(Exception, match=r"(?i)incomplete|closed|broken"):
            flext_world.get(serve())
    attempt, caller = spans.ended
    assert attempt.status.status_code is StatusCode.UNSET
    (event,) = caller.events
    assert event.name == "flext.body_failed"
    assert event.attributes["flext.failure"] in {"read", "protocol"}  # by the library


def test_a_body_that_nobody_waited_for_is_no_event() -> None:
    ended = events.BodyEnded(Call("service"), asyncio.CancelledError(), 3)
    assert span_event(ended, cast("Connection", Outside())) is None


async def test_a_cancelled_request_ends_its_span_and_is_no_error(
    flext_async_world: World, flext_service: LoopbackService, spans: Any
) -> None:
    host = flext_async_world.serve(flext_service, Quiet)
    host.provide(trace.TracerProvider, spans.provider)
    client = await flext_async_world.client(host)
    flext_service.answer = Answer(delay=5)
    task = asyncio.ensure_future(client.get("/"))
    while not flext_service.received and not flext_service.active:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (span,) = spans.ended
    assert [event.name for event in span.events] == ["cancelled"]
    assert (span.status.status_code, "error.type" in span.attributes) == (StatusCode.UNSET, False)


@pytest.mark.parametrize("here", [True, False], ids=["itself", "another task"])
def test_an_abandoned_coroutine_ends_its_span_whoever_closes_it(
    caplog: pytest.LogCaptureFixture, spans: Any, here: bool
) -> None:
    class Waits:
        def __await__(self) -> Any:
            yield

    async def send(request: Any) -> Any:
        await Waits()

    tracing: Any = Tracing(
        Tracing.Settings(), Service("service", _provided={trace.TracerProvider: spans.provider})
    )
    request = httpx.Request("GET", "http://a.example/")
    work = tracing.flext_exchange(request, send, Outside())
    task = contextvars.copy_context()
    task.run(work.send, None)
    assert task.run(trace.get_current_span).get_span_context() == spans.begun[0].context
    closing = task if here else contextvars.copy_context()
    closing.run(work.close)
    assert not closing.run(trace.get_current_span).get_span_context().is_valid
    assert [event.name for event in spans.ended[0].events] == ["cancelled"]
    assert caplog.records == []


UNCARRIED = {
    "half a character": ("customer", "\udcff"),
    "half a character in its name": ("\udcff", "acme"),
    "too long": ("customer", "a" * 10_000),
}


@pytest.mark.parametrize("what", UNCARRIED)
def test_baggage_that_no_header_can_carry_is_left_out(
    flext_world: World, flext_service: LoopbackService, serve: Serve, what: str
) -> None:
    token = context.attach(baggage.set_baggage(*UNCARRIED[what]))
    try:
        assert flext_world.get(serve(tracing={"baggage": True})).status_code == 200
    finally:
        context.detach(token)
    [received] = flext_service.received
    assert "baggage" not in received.headers
    assert "traceparent" in received.headers
