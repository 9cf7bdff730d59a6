"""OpenTelemetry's instruments: the same series, with the same values, as Prometheus has."""

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import pytest
from flext_plugins_circuit_breaker import CircuitOpen
from flext_plugins_metrics import NAMES, Metrics, Name
from flext_plugins_metrics.collectors import Collectors
from flext_plugins_metrics.otel import MeterInstruments
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.utils import floatToGoString

from flext_plugins import ConfigError, Host, Operation, Refused, Stage, events, hookimpl, options
from flext_plugins.testing import Answer, LoopbackService, PluginConformance, World

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""What a scrape shows: values by the name of the sample and its labels."""
PAIRS = {
    "http.client.request.duration": ("s", "http_client_request_duration_seconds"),
    "http.client.active_requests": ("{request}", "http_client_active_requests"),
    "http.client.request.body.size": ("By", "http_client_request_body_size_bytes"),
    "http.client.response.body.size": ("By", "http_client_response_body_size_bytes"),
    "db.client.operation.duration": ("s", "db_client_operation_duration_seconds"),
    "db.client.connection.count": ("{connection}", "db_client_connection_count"),
    "db.client.connection.max": ("{connection}", "db_client_connection_max"),
    "db.client.connection.pending_requests": (
        "{request}",
        "db_client_connection_pending_requests",
    ),
    "flext.calls": ("{call}", "flext_calls_total"),
    "flext.call.duration": ("s", "flext_call_duration_seconds"),
    "flext.plugin.answers": ("{answer}", "flext_plugin_answers_total"),
    "flext.refusals": ("{refusal}", "flext_refusals_total"),
    "flext.drained_calls": ("{call}", "flext_drained_calls_total"),
    "flext.retries": ("{resend}", "flext_retries_total"),
    "flext.token_fetches": ("{fetch}", "flext_token_fetches_total"),
    "flext.breaker.state": ("{circuit}", "flext_breaker_state"),
    "flext.health": ("{service}", "flext_health"),
    "flext.health.duration": ("s", "flext_health_duration_seconds"),
    "flext.permit.wait_time": ("s", "flext_permit_wait_time_seconds"),
    "flext.permit.pending_requests": ("{request}", "flext_permit_pending_requests"),
    "flext.body_errors": ("{body}", "flext_body_errors_total"),
    "flext.plugin.errors": ("{error}", "flext_plugin_errors_total"),
    "flext.plugin.info": ("{plugin}", "flext_plugin_info"),
    "flext.progress.done": ("", "flext_progress_done"),
    "flext.progress.expected": ("", "flext_progress_expected"),
}
STOPWATCHES = ("http_client_request_duration_seconds", "db_client_operation_duration_seconds")
"""Times that each of the two plugins takes by itself, one inside the other."""


class Does:
    """Does what a request asks for: an operation, that fails, and events of all kinds."""

    @hookimpl
    async def flext_request(self, request: Any, connection: Any) -> None:
        if request.url.path == "/events":
            fetch = Operation("oracle", "fetch", "db.example:1521", attributes={"namespace": "A"})
            await connection.perform(fetch, str)
            with contextlib.suppress(Exception):
                await connection.perform(fetch, lambda: 1 / 0)
            for outcome in ("fetched", "failed"):
                connection.emit(events.TokenFetched("issuer", outcome, 0.1))
            connection.emit(events.PoolChanged("ldap", "one:389", 2, 1, 4, 3))
            connection.emit(events.PoolChanged("ldap", "one:389", 1, 2, 4, 0))
            connection.emit(events.Progress("import", 20, 200, "records"))


class Stumbles:
    """An observer that fails."""

    observer = True

    @hookimpl
    def flext_request(self, request: Any) -> None:
        if request.url.path == "/events":
            raise ValueError


class Cache:
    """Answers in the service's place."""

    stage = Stage.CALL

    @hookimpl
    def flext_request(self, request: Any, connection: Any) -> Any:
        return connection.respond(200) if request.url.path == "/cached" else None


class Turns:
    """Lets one slow request go on at a time."""

    stage = Stage.GUARD

    @hookimpl
    async def flext_exchange(self, request: Any, send: Any, connection: Any) -> Any:
        if request.url.path != "/slow":
            return await send(request)
        async with connection.permit("slow", 1):
            return await send(request)


PLUGINS = {"does": Does, "stumbles": Stumbles, "cache": Cache, "turns": Turns}


def answer(received: Any) -> Answer:
    """A service that does by the path what one may do."""
    return {
        "/fails": Answer(503),
        "/slow": Answer(delay=0.2),
        "/stuck": Answer(delay=3),
        "/cut": Answer(body=b"x" * 1000, cut=10),
    }.get(received.path, Answer(body=b"x" * 5000))


class Both:
    """One host after another that is measured for both exporters at a time."""

    def __init__(self, world: World, service: LoopbackService) -> None:
        self.world, self.service = world, service
        self.registry, self.reader = CollectorRegistry(), InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], exemplar_filter=TraceBasedExemplarFilter())

    def host(self, provide: Any = api.MeterProvider) -> Host:
        measured = {"metrics": {}, "otel": {"exporter": "otel"}}
        others = {"retry": {"backoff": 0.001}, **{name: {} for name in PLUGINS}}
        guard = {"circuit-breaker": {"failure_threshold": 1}}
        url = self.service.url
        services = {
            "service": {"base_url": url, "plugins": {**measured, **others}},
            "guarded": {"base_url": url, "plugins": {**measured, **guard}, "max_connections": 1},
        }
        host = self.world.host({"services": services}, otel=Metrics, **PLUGINS)
        host.provide(CollectorRegistry, self.registry)
        host.provide(provide, self.provider)
        return host


@pytest.fixture
def both(flext_world: World, flext_service: LoopbackService) -> Iterator[Both]:
    flext_service.answer = answer
    made = Both(flext_world, flext_service)
    yield made
    made.provider.shutdown()


def shown_by_prometheus(registry: CollectorRegistry) -> Series:
    found: Series = {}
    for metric in registry.collect():
        for sample in metric.samples:
            labels = {key: value for key, value in sample.labels.items() if value}
            if not sample.name.endswith("_created"):
                found[sample.name, frozenset(labels.items())] = sample.value
    return found


def shown_by_otel(reader: InMemoryMetricReader) -> Series:
    """In the words of Prometheus."""
    found: Series = {}
    for metric in metrics_of(reader):
        unit, name = PAIRS[metric.name]
        assert metric.unit == unit
        for point in metric.data.data_points:
            labels = {key.replace(".", "_"): str(value) for key, value in point.attributes.items()}
            if not hasattr(point, "bucket_counts"):
                found[name, frozenset(labels.items())] = point.value
                continue
            bounds = [*map(floatToGoString, point.explicit_bounds), "+Inf"]
            for bound, count in zip(bounds, accumulate(point.bucket_counts), strict=True):
                found[f"{name}_bucket", frozenset({**labels, "le": bound}.items())] = count
            found[f"{name}_count", frozenset(labels.items())] = point.count
            found[f"{name}_sum", frozenset(labels.items())] = point.sum
    return found


def metrics_of(reader: InMemoryMetricReader) -> list[Any]:
    data: Any = reader.get_metrics_data()
    scopes = [scope for each in data.resource_metrics for scope in each.scope_metrics]
    assert {each.scope.name for each in scopes} == {"flext_plugins_metrics"}
    return [metric for scope in scopes for metric in scope.metrics]


def alike(one: Series, other: Series) -> None:
    assert one.keys() == other.keys()
    for (name, labels), value in one.items():
        expected: Any = pytest.approx(value)
        if name.startswith(STOPWATCHES):
            if name.endswith("_bucket") and ("le", "+Inf") not in labels:
                continue
            if name.endswith("_sum"):
                expected = pytest.approx(value, abs=0.1)
        assert other[name, labels] == expected, (name, labels)


def close_meanwhile(both: Both, host: Host) -> None:
    """Close `host` while a call is under way, and another begins."""
    world = both.world
    stuck, late = (world.sender(host, "GET", path) for path in ("/stuck", "/late"))

    def begins() -> bool:
        return host._runtime.channels.is_draining

    def begin_late() -> Any:
        while not begins():
            time.sleep(0.01)
        return late()

    async def abegin_late() -> Any:
        while not begins():
            await asyncio.sleep(0.01)
        return await late()

    outcomes: list[object] = []
    works = [stuck, abegin_late if world.asynchronous else begin_late]
    thread = threading.Thread(target=lambda: outcomes.extend(world.all(works)))
    thread.start()
    while not both.service.active:
        time.sleep(0.01)
    host.close(0.6)
    thread.join()
    assert [type(each) for each in outcomes if not isinstance(each, Refused)] == []


def traffic(both: Both, host: Host) -> None:
    """Something of everything that is measured."""
    world = both.world
    with options(route="/orders/{id}"):
        world.get(host, "/orders/1")
    world.send(host, "POST", "/", content=b"y" * 300)
    world.send(host, "BREW", "/")
    for path in ("/fails", "/cached", "/cached", "/events"):
        world.get(host, path)
    with pytest.raises(world.lib.RemoteProtocolError):
        world.get(host, "/cut")
    world.all([world.sender(host, "GET", "/slow")] * 2)
    world.all([world.sender(host, "GET", "/slow", service="guarded")] * 2)
    ask = host.ahealth if world.asynchronous else host.health
    assert world.run(lambda: ask(timeout=20))["service"].healthy
    world.get(host, "/fails", service="guarded")
    with pytest.raises(CircuitOpen):
        world.get(host, service="guarded")
    close_meanwhile(both, host)


def test_both_exporters_have_every_series_with_the_same_value(both: Both) -> None:
    traffic(both, both.host())
    of_prometheus, of_otel = shown_by_prometheus(both.registry), shown_by_otel(both.reader)
    alike(of_prometheus, of_otel)
    names = {name for name, _ in of_otel}
    for _, name in PAIRS.values():
        assert names & {name, f"{name}_count"}, name


def test_several_services_and_hosts_are_added_up_in_both(both: Both) -> None:
    for _ in range(2):
        host = both.host(MeterProvider)  # as programs write that have imported the SDK's
        for service in ("service", "guarded"):
            both.world.get(host, service=service)
    of_otel = shown_by_otel(both.reader)
    alike(shown_by_prometheus(both.registry), of_otel)
    for service in ("service", "guarded"):
        labels = frozenset({("service", service), ("outcome", "answered")})
        assert of_otel["flext_calls_total", labels] == 2


def test_the_hits_of_a_cache_are_counted_and_are_no_attempts(both: Both) -> None:
    host = both.host()
    for path in ("/cached", "/other", "/cached"):
        both.world.get(host, path)
    shown = shown_by_otel(both.reader)
    hits = frozenset({("service", "service"), ("plugin", "cache")})
    assert shown["flext_plugin_answers_total", hits] == 2
    assert total(shown, "http_client_request_duration_seconds_count") == 1


def test_who_waits_for_a_permit_is_counted_and_for_how_long(both: Both) -> None:
    pending: list[float] = []

    def noting(received: Any) -> Answer:
        time.sleep(0.1)  # until the other one waits
        pending.append(total(shown_by_prometheus(both.registry), "flext_permit_pending_requests"))
        return answer(received)

    both.service.answer = noting
    host = both.host()
    for service in ("service", "guarded"):
        both.world.all([both.world.sender(host, "GET", "/slow", service=service)] * 2)
    assert pending == [1, 0, 1, 0]
    shown = shown_by_otel(both.reader)
    name = "flext_permit_wait_time_seconds"
    of_plugin = frozenset({("service", "service"), ("plugin", "turns"), ("outcome", "granted")})
    of_host = frozenset({("service", "guarded"), ("outcome", "granted")})
    for labels in (of_plugin, of_host):
        assert shown[f"{name}_count", labels] == 1
        assert 0.1 < shown[f"{name}_sum", labels] < 5


def test_calls_that_closing_refuses_and_cuts_are_told_apart(both: Both) -> None:
    close_meanwhile(both, both.host())
    shown = shown_by_otel(both.reader)
    for outcome in ("refused", "cut"):
        labels = frozenset({("service", "service"), ("outcome", outcome)})
        assert shown["flext_drained_calls_total", labels] == 1


def total(shown: Series, name: str) -> float:
    return sum(value for (each, _), value in shown.items() if each == name)


def test_what_was_set_once_is_shown_again_and_again(both: Both) -> None:
    """A gauge of the SDK's would be there for the first reader only."""
    both.world.get(both.host())
    for _ in range(2):
        assert total(shown_by_otel(both.reader), "flext_plugin_info") == 7


def test_a_sampled_trace_is_the_exemplar_in_opentelemetry_too(both: Both) -> None:
    host = both.host()
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    both.world.get(host, headers={"traceparent": trace})
    (durations,) = [
        each for each in metrics_of(both.reader) if each.name == "http.client.request.duration"
    ]
    (point,) = durations.data.data_points
    (exemplar,) = point.exemplars
    assert (exemplar.trace_id, exemplar.span_id) == (int("a" * 32, 16), int("b" * 16, 16))


# names


def test_names_follow_opentelemetrys_rules() -> None:
    assert {each.name: (each.unit, each.prometheus) for each in NAMES} == PAIRS


@pytest.mark.parametrize("name", NAMES, ids=lambda each: each.name)
def test_each_instrument_shows_the_same_for_the_same_values(name: Name) -> None:
    """Exactly: on a bucket's bound too, and with attributes that are numbers or empty."""
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    provider = MeterProvider([reader])
    meter = provider.get_meter("flext_plugins_metrics")
    numbers = {"http.response.status_code": "503", "server.port": "8080"}
    for instruments in (Collectors(registry), MeterInstruments(meter)):
        count(instruments, name, [numbers.get(each, "") for each in name.attributes])
        count(instruments, name, [numbers.get(each, "some") for each in name.attributes])
    assert shown_by_otel(reader) == shown_by_prometheus(registry)
    (metric,) = metrics_of(reader)
    assert metric.description == name.help
    for point in metric.data.data_points:
        assert {type(point.attributes[each]) for each in numbers if each in name.attributes} <= {
            int
        }


def count(instruments: Any, name: Name, values: list[str]) -> None:
    match name.kind:
        case "counter":
            instruments.counter(name, *values).inc()
            instruments.counter(name, *values).inc(2)
        case "up-down counter":
            instruments.gauge(name, *values).set(7)
            instruments.gauge(name, *values).set(2)
            instruments.gauge(name, *values).inc(3)
            instruments.gauge(name, *values).dec()
        case "histogram":
            for value in (*name.buckets, 0.0, 1e12):
                instruments.histogram(name, *values).observe(value)


# providers


def measured(url: str = "http://127.0.0.1:9") -> dict[str, Any]:
    plugins = {"metrics": {"exporter": "otel"}}
    return {"services": {"service": {"base_url": url, "plugins": plugins}}}


def test_without_a_provider_nothing_is_counted_and_nothing_fails(
    flext_world: World, flext_service: LoopbackService
) -> None:
    failed: list[object] = []

    class Hears:
        @hookimpl
        def flext_event(self, event: object) -> None:
            if isinstance(event, events.PluginFailed):
                failed.append(event)

    config = measured(flext_service.url)
    config["services"]["service"]["plugins"]["hears"] = {}
    for provide in (False, True):
        host = flext_world.host(config, hears=Hears)
        if provide:
            host.provide(api.MeterProvider, api.NoOpMeterProvider())  # type: ignore[type-abstract]
        assert flext_world.get(host).status_code == 200
    assert failed == []


GLOBAL = """
import sys
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from flext_plugins import Host

plugins = {"metrics": {"exporter": "otel"}}
with Host({"services": {"service": {"base_url": sys.argv[1], "plugins": plugins}}}) as host:
    client = host.connect("service")
    client.get("/")
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    client.get("/")
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    (calls,) = [each for each in scope.metrics if each.name == "flext.calls"]
    print(*(point.value for point in calls.data.data_points))
"""


def ran(program: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_without_one_of_the_hosts_it_is_the_global_one_which_may_be_set_later(
    flext_service: LoopbackService,
) -> None:
    assert ran(GLOBAL, flext_service.url) == "1\n"


def test_a_provider_that_is_none_is_told_where_it_is_given() -> None:
    kinds: tuple[Any, ...] = (api.MeterProvider, MeterProvider)
    with Host(measured()) as host:
        for kind in kinds:
            wanted = r"host.provide\(MeterProvider, \.\.\.\) takes an instance of it"
            with pytest.raises(ConfigError, match=wanted):
                host.provide(kind, CollectorRegistry())


def test_an_exporter_that_is_none_is_told_with_those_that_there_are() -> None:
    config = measured()
    config["services"]["service"]["plugins"]["metrics"]["exporter"] = "statsd"
    with pytest.raises(ConfigError, match="'prometheus' or 'otel'") as caught, Host(config) as host:
        host.check()
    assert "services.service.plugins.metrics.exporter" in str(caught.value)


MISSING = """
import sys
sys.modules["opentelemetry.metrics"] = None
from flext_plugins import ConfigError, Host
plugins = {"metrics": {"exporter": "otel"}}
service = {"base_url": "http://a.example", "plugins": plugins}
try:
    Host({"services": {"service": service}}).check()
except ConfigError as error:
    print(error)
"""


def test_what_is_not_installed_is_named_with_the_extra_that_has_it() -> None:
    assert " is not installed: the extra `otel` of flext-plugins-metrics" in ran(MISSING)


def test_nothing_of_opentelemetry_is_loaded_unless_the_settings_ask_for_it() -> None:
    program = "import sys, flext_plugins_metrics; print('opentelemetry' in sys.modules)"
    assert ran(program) == "False\n"


class TestMetricsForOpenTelemetry(PluginConformance):
    plugin = Metrics
    settings = {"exporter": "otel"}

    def prepare(self, host: Host) -> None:
        provider = MeterProvider([InMemoryMetricReader()])
        host.provide(api.MeterProvider, provider)  # type: ignore[type-abstract]
