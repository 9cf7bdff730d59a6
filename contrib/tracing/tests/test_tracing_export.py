"""Spans over OTLP, to a receiver that reads them, and the service's own span below ours."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from flext_plugins import ConfigError, Host
from flext_plugins.testing import Answer, LoopbackService, World

Serve = Callable[..., Host]


def exported(receiver: LoopbackService) -> list[Any]:
    """All spans that came, decoded."""
    return [
        span
        for received in receiver.received
        for resource in ExportTraceServiceRequest.FromString(received.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def configured(url: str, *receivers: str) -> dict[str, Any]:
    """A service for each receiver, the first named `service`."""
    names = ["service", *(f"service-{number}" for number in range(1, len(receivers)))]
    return {
        "services": {
            name: {
                "base_url": url,
                "plugins": {"tracing": {"exporter": "otlp", "endpoint": receiver}},
            }
            for name, receiver in zip(names, receivers, strict=True)
        }
    }


def lent(world: World, host: Host) -> Any:
    """The provider that the settings of `service` made."""

    async def found() -> Any:
        return await host.aresource("service", trace.TracerProvider)

    if world.asynchronous:
        return world.run(found)
    return host.resource("service", trace.TracerProvider)  # type: ignore[type-abstract]


@pytest.fixture
def receiver(flext_elsewhere: LoopbackService) -> LoopbackService:
    flext_elsewhere.answer = Answer(200, {"Content-Type": "application/x-protobuf"}, b"")
    return flext_elsewhere


@pytest.fixture
def asgi(spans: Any) -> Iterator[str]:
    """A Starlette app under OpenTelemetry's own instrumentation."""

    async def order(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["id"])

    app = OpenTelemetryMiddleware(
        Starlette(routes=[Route("/orders/{id}", order)]),
        tracer_provider=spans.provider,
        exclude_spans=["receive", "send"],
    )
    config = uvicorn.Config(app, port=0, lifespan="off", ws="none", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_the_services_span_is_the_child_of_ours(
    flext_world: World, asgi: str, receiver: LoopbackService, spans: Any
) -> None:
    host = flext_world.host(configured(asgi, receiver.url))
    assert flext_world.get(host, "/orders/7?token=canary").text == "7"
    flext_world.close(host)
    (ours,) = exported(receiver)
    end = time.monotonic() + 5.0
    while not spans.ended and time.monotonic() < end:  # the service ends its own after it answered
        time.sleep(0.005)
    (theirs,) = spans.ended
    assert theirs.kind is trace.SpanKind.SERVER
    assert theirs.parent.span_id.to_bytes(8) == ours.span_id
    assert theirs.context.trace_id.to_bytes(16) == ours.trace_id
    said = {each.key: each.value.string_value for each in ours.attributes}
    assert said["url.full"] == f"{asgi}/orders/7?token=REDACTED"
    assert [each.path for each in receiver.received] == ["/v1/traces"]


def test_sending_spans_makes_no_spans(
    flext_world: World, flext_service: LoopbackService, receiver: LoopbackService, spans: Any
) -> None:
    RequestsInstrumentor().instrument(tracer_provider=spans.provider)
    try:
        host = flext_world.host(configured(flext_service.url, receiver.url))
        flext_world.get(host)
        flext_world.close(host)
    finally:
        RequestsInstrumentor().uninstrument()
    assert len(exported(receiver)) + len(spans.ended) == 1


def test_services_with_the_same_receiver_share_an_exporter(
    flext_world: World, flext_service: LoopbackService, receiver: LoopbackService
) -> None:
    host = flext_world.host(configured(flext_service.url, receiver.url, receiver.url))
    before = threading.active_count()
    flext_world.get(host)
    one = threading.active_count()
    flext_world.get(host, service="service-1")
    assert (before < one, threading.active_count()) == (True, one)
    flext_world.close(host)
    assert len(exported(receiver)) == 2


def test_a_programs_own_spans_go_where_those_of_its_requests_go(
    flext_world: World, flext_service: LoopbackService, receiver: LoopbackService
) -> None:
    host = flext_world.host(configured(flext_service.url, receiver.url))
    with lent(flext_world, host).get_tracer("orders").start_as_current_span("check"):
        flext_world.get(host)
    flext_world.close(host)
    request, check = exported(receiver)
    assert (check.name, request.parent_span_id) == ("check", check.span_id)
    assert request.trace_id == check.trace_id


def test_a_receiver_that_is_away_harms_nobody(
    flext_world: World,
    flext_service: LoopbackService,
    receiver: LoopbackService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    receiver.refuse()
    host = flext_world.host(configured(flext_service.url, receiver.url))
    assert flext_world.get(host).status_code == 200
    flext_world.close(host)


def test_the_applications_provider_comes_before_the_settings(
    flext_world: World, serve: Serve, receiver: LoopbackService, spans: Any
) -> None:
    host = serve(tracing={"exporter": "otlp", "endpoint": receiver.url})
    flext_world.get(host)
    flext_world.close(host)
    assert (len(spans.ended), receiver.received) == (1, [])


def test_the_console_gets_spans_where_they_are_in_nobodys_way(
    flext_world: World, flext_service: LoopbackService, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins = {"tracing": {"exporter": "console"}}
    service = {"base_url": flext_service.url, "plugins": plugins}
    flext_world.get(flext_world.host({"services": {"service": service}}))
    out, err = capsys.readouterr()
    assert (out, json.loads(err)["name"]) == ("", "GET")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"endpoint": "http://a.example:4318"}, "endpoint is of no use without exporter = 'otlp'"),
        ({"exporter": "otlp", "endpoint": "a.example:4318"}, "expected http://host:port"),
        ({"exporter": "otlp", "endpoint": "http://ana:canary@a.example"}, "expected no user"),
    ],
    ids=["unused", "no address", "user"],
)
def test_wrong_settings_are_told(settings: dict[str, str], said: str) -> None:
    tracing = {"base_url": "http://a.example", "plugins": {"tracing": settings}}
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        Host({"services": {"service": tracing}}).check()
    assert "canary" not in str(caught.value)


def test_what_is_not_installed_is_named_with_the_extra_that_has_it() -> None:
    program = """
import sys
sys.modules["opentelemetry.exporter"] = None
from flext_plugins import ConfigError, Host
tracing = {"base_url": "http://a.example", "plugins": {"tracing": {"exporter": "otlp"}}}
try:
    Host({"services": {"service": tracing}}).check()
except ConfigError as error:
    print(error)
"""
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert " is not installed: the extra `otlp` of flext-plugins-tracing" in ran.stdout


def test_no_sdk_is_loaded_unless_the_settings_ask_for_it() -> None:
    program = "import sys, flext_plugins_tracing; print('opentelemetry.sdk' in sys.modules)"
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "False\n"


@pytest.mark.skipif("FLEXT_OTLP_ENDPOINT" not in os.environ, reason="no FLEXT_OTLP_ENDPOINT")
def test_a_receiver_of_ones_own_such_as_jaeger_takes_them(
    flext_world: World,
    flext_service: LoopbackService,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There it is a trace of the service `flext-plugins-tests`: the world, and two attempts below."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "flext-plugins-tests")
    caplog.set_level(logging.DEBUG, "urllib3")  # which tells each answer to the exporter
    config = configured(flext_service.url, os.environ["FLEXT_OTLP_ENDPOINT"])
    config["services"]["service"]["plugins"]["retry"] = {"backoff": 0.001}
    answers = iter([Answer(503), Answer(200)])
    flext_service.answer = lambda received: next(answers)
    host = flext_world.host(config)
    with lent(flext_world, host).get_tracer("tests").start_as_current_span(flext_world.name):
        flext_world.get(host, "/orders/7")
    flext_world.close(host)
    (answer,) = [each for each in caplog.messages if "/v1/traces" in each]
    assert re.search(r'"POST \S*/v1/traces HTTP/1.1" 200 ', answer)
