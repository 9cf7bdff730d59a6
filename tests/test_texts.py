"""What callers and services say spoils nothing that tells of it: no label, no span, no line."""

from __future__ import annotations

import json
import logging

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flext_plugins import (
    FlextError,
    Operation,
    Refused,
    events,
    hookimpl,
    options,
    raise_for_status,
)
from flext_plugins.testing import Answer

TEXTS = {
    "half a character": "/files/\udcff",
    "a line break": "a\nforged 1",
    "a carriage return": "a\rforged 1",
    "NUL": "a\0b",
    "an escape sequence": "\x1b]0;forged\x07",
    "a line separator": "a\u2028forged",
    "turned around": "a\u202egpj.exe",
    "quotes and backslashes": 'a"b\\c{d="e"}',
    "a megabyte": "aä" * 500_000,
    "a megabyte of halves": "\udcff" * 1_000_000,
}


class Says:
    """Tells of everything with a text that the test chooses."""

    text = ""

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        await connection.perform(operation(self.text), lambda: None)
        for event in told(self.text, connection.call):
            connection.emit(event)
        if "X-Refuse" in request.headers:
            raise Refused(self.text)
        return await send(request)


def operation(text):
    facts = dict.fromkeys(("namespace", "collection", "query"), text)
    return Operation(text, text, text, attributes=facts)


def told(text, call):
    yield events.Retried(call, text, text, 0.1)
    yield events.StateChanged(text, text, text, text, text)
    yield events.TokenFetched(text, "failed", 0.1, text)
    yield events.Progress(text, 1, 2, text)
    yield events.PoolChanged(text, text, 1, 1, 1, 1)
    yield events.CallRefused(call, text, text, None, text)
    yield events.CallFinished(call, text, 0.1, 1)
    yield events.PermitAwaited(call, text, text, 0.1)


@pytest.fixture
def listening(flext_world, flext_service):
    """A host whose service has our metrics and traces, the registry, and the spans' exporter."""
    registry, spans = CollectorRegistry(), InMemorySpanExporter()
    Counter("orders", "The application's own.", registry=registry).inc()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    plugins = {"metrics": {}, "tracing": {}, "says": {}}
    services = {"service": {"base_url": flext_service.url, "plugins": plugins}}
    host = flext_world.host({"services": services}, says=Says)
    host.provide(CollectorRegistry, registry)
    host.provide(TracerProvider, provider)
    yield host, registry, spans, provider
    provider.shutdown()


@pytest.mark.contract("texts-spoil-nothing")
@pytest.mark.parametrize("what", TEXTS)
def test_no_text_spoils_the_page_of_metrics_a_batch_of_spans_or_a_line(
    flext_world, flext_service, listening, caplog, monkeypatch, what
):
    host, registry, spans, provider = listening
    text = TEXTS[what]
    monkeypatch.setattr(Says, "text", text)
    caplog.set_level(logging.DEBUG, "flext_plugins")
    with provider.get_tracer("test").start_as_current_span("around"):
        with options(route=text, user=text):
            assert flext_world.get(host).status_code == 200
            with pytest.raises(Refused):
                flext_world.get(host, headers={"X-Refuse": "1"})
    page = generate_latest(registry)
    labels = [
        value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        for value in sample.labels.values()
    ]
    assert "orders_total 1.0" in page.decode()
    assert [each for each in labels if not (each.isprintable() and len(each) <= 200)] == []
    batch = spans.get_finished_spans()
    assert len(batch) >= 4
    assert len(encode_spans(batch).SerializeToString()) < 200_000
    lines = [each.getMessage() for each in caplog.records if each.name == "flext_plugins"]
    assert len(lines) >= 4
    assert [each for each in lines if not (each.isprintable() and len(each) <= 10_000)] == []


@pytest.mark.contract("texts-spoil-nothing")
@pytest.mark.parametrize("what", TEXTS)
def test_no_text_of_a_service_spoils_an_error(flext_world, flext_service, what):
    problem = json.dumps(dict.fromkeys(("title", "detail", "service"), TEXTS[what][:20_000]))
    flext_service.answer = Answer(
        502, {"Content-Type": "application/problem+json"}, problem.encode()
    )
    answer = flext_world.get(flext_world.serve(flext_service))
    with pytest.raises(FlextError) as caught:
        raise_for_status(answer)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.contract("nothing-grows")
def test_however_many_texts_there_are_the_series_stay_few(flext_world, listening, monkeypatch):
    host, registry, *_ = listening
    for number in range(120):
        monkeypatch.setattr(Says, "text", f"text {number}")
        with options(route=f"/orders/{number}"):
            flext_world.get(host)
    for family in registry.collect():
        for name in {sample.name for sample in family.samples}:
            samples = [each.labels for each in family.samples if each.name == name]
            for label in {each for labels in samples for each in labels} - {"le"}:
                assert len({each.get(label) for each in samples}) <= 102, (name, label)
