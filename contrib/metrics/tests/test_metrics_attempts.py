"""What is measured of attempts and operations."""

import os
from typing import Any

import httpx
import pytest
from flext_plugins_metrics import names
from flext_plugins_metrics.collectors import Collectors
from flext_plugins_metrics.exemplar import Exemplars
from flext_plugins_metrics.instruments import MOST, MOST_SERIES, FewSeries
from prometheus_client import CollectorRegistry, generate_latest

from flext_plugins import DeadlineExceeded, Operation, Refused, Stage, hookimpl, options
from flext_plugins.testing import Answer, LoopbackService, World

COUNT = "http_client_request_duration_seconds_count"
SUM = "http_client_request_duration_seconds_sum"
OPERATIONS = "db_client_operation_duration_seconds_count"


class Answers:
    """Answers in the service's place."""

    stage = Stage.SIGN

    @hookimpl
    def flext_request(self, request: Any, connection: Any) -> Any:
        return connection.respond(204) if request.url.path == "/here" else None


class Refuses:
    """Refuses what asks for it, and every operation but one."""

    stage = Stage.SIGN

    @hookimpl
    async def flext_exchange(self, request: Any, send: Any) -> Any:
        if request.url.path == "/here":
            raise Refused("not now")
        return await send(request)

    @hookimpl
    async def flext_operation(self, operation: Any, proceed: Any) -> Any:
        if operation.name == "search":
            raise Refused("not now")
        return await proceed(operation)


class Directory:
    """Asks something that does not speak HTTP."""

    error: Exception | None = None

    @hookimpl
    async def flext_request(self, request: Any, connection: Any) -> None:
        def search() -> None:
            if self.error:
                raise self.error

        for number in range(int(request.headers.get("X-Directories", "1"))):
            operation = Operation("ldap", "search", f"directory-{number}:389")
            try:
                await connection.perform(operation, search)
            except Refused:
                if "X-Without" not in request.headers:
                    raise


class Traces:
    """Marks what is sent, as tracing does."""

    @hookimpl
    def flext_request(self, request: Any) -> None:
        request.headers["traceparent"] = f"00-{'a' * 32}-{'b' * 16}-{request.headers['X-Flags']}"


def test_an_attempt_is_measured_with_its_method_and_status(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    host = serve()
    flext_world.get(host)
    flext_service.answer = Answer(503)
    flext_world.send(host, "POST", "/orders")
    flext_service.answer = Answer(404)
    flext_world.get(host)
    assert registry.all(COUNT) == {
        ("", "GET", "200", ""): 1,
        ("503", "POST", "503", ""): 1,
        ("404", "GET", "404", ""): 1,
    }
    assert registry.get_sample_value(
        COUNT,
        {
            "service": "service",
            "http_request_method": "GET",
            "server_address": "127.0.0.1",
            "server_port": flext_service.url.rpartition(":")[2],
            "http_response_status_code": "200",
            "error_type": "",
            "url_template": "",
        },
    )


def test_its_duration_is_that_of_the_headers(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    flext_service.answer = Answer(delay=0.2)
    flext_world.get(serve())
    assert 0.2 <= registry.total(SUM) < 5
    buckets = registry.all("http_client_request_duration_seconds_bucket", le="0.1")
    assert [*buckets.values()] == [0]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(reset=True), "read"),
        (Answer(delay=2), "timeout"),
        (Answer(raw=b"SSH-2.0-other\r\n"), "protocol"),
    ],
)
def test_so_is_an_attempt_that_fails_in_the_same_words_in_all_libraries(
    flext_world: World,
    flext_service: LoopbackService,
    serve: Any,
    registry: Any,
    answer: Answer,
    kind: str,
) -> None:
    flext_service.answer = answer
    with pytest.raises(flext_world.lib.TransportError):
        flext_world.get(serve(timeout={"read": 0.2}))
    assert registry.all(COUNT) == {(kind, "GET", "", ""): 1}
    assert registry.total(SUM) > 0


def test_so_is_a_refused_connection_and_the_deadline(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    host = serve()
    flext_service.answer = Answer(delay=2)
    with options(deadline=0.2), pytest.raises(DeadlineExceeded):
        flext_world.get(host)
    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError):
        flext_world.get(host)
    found = registry.all(COUNT)
    assert found[("connect", "GET", "", "")] == 1
    assert registry.total(COUNT) == 2
    assert {kind for kind, *_ in found} <= {"connect", "timeout", "DeadlineExceeded"}


def test_a_cancelled_attempt_is_measured_as_that_and_no_longer_active(
    flext_async_world: World, flext_service: LoopbackService, registry: Any
) -> None:
    import asyncio

    from prometheus_client import CollectorRegistry

    service = {"base_url": flext_service.url, "plugins": {"metrics": {}}}
    host = flext_async_world.host({"services": {"service": service}})
    host.provide(CollectorRegistry, registry)
    flext_service.answer = Answer(delay=2)

    async def cancelled() -> None:
        async with flext_async_world.aconnect(host) as client:
            task = asyncio.create_task(client.get("/"))
            while registry.total("http_client_active_requests") == 0:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    flext_async_world.run(cancelled)
    assert registry.all(COUNT) == {("cancelled", "GET", "", ""): 1}
    assert registry.all("http_client_active_requests") == {("GET",): 0}


def test_requests_are_active_until_the_headers(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    during = []

    def answer(_: Any) -> Answer:
        during.append(registry.total("http_client_active_requests"))
        return Answer()

    flext_service.answer = answer
    flext_world.get(serve())
    assert during == [1]
    assert registry.total("http_client_active_requests") == 0


def test_what_another_plugin_answers_was_not_sent(
    flext_world: World, serve: Any, registry: Any
) -> None:
    host = serve(Answers)
    flext_world.get(host, "/here")
    assert registry.total(COUNT) == 0
    flext_world.get(host, "/there")
    assert registry.total(COUNT) == 1


def test_what_another_plugin_refuses_was_neither_sent_nor_done(
    flext_world: World, serve: Any, registry: Any
) -> None:
    host = serve(Refuses)
    with pytest.raises(Refused):
        flext_world.get(host, "/here")
    with pytest.raises(Refused):
        flext_world.get(serve(Refuses, Directory))
    assert registry.total("flext_refusals_total") == 2
    assert registry.total(COUNT) == 0
    assert registry.total("db_client_operation_duration_seconds_count") == 0


def test_an_attempt_is_measured_also_where_a_plugin_did_without_an_operation(
    flext_world: World, serve: Any, registry: Any
) -> None:
    flext_world.get(serve(Refuses, Directory), "/there", headers={"X-Without": "1"})
    assert registry.all("flext_refusals_total") == {("refuses", "Refused"): 1}
    assert registry.all(COUNT) == {("", "GET", "200", ""): 1}


def test_the_sizes_of_bodies_are_measured(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    flext_service.answer = Answer(body=b"x" * 5000)
    flext_world.send(serve(), "POST", "/", content=b"y" * 300)
    assert registry.all("http_client_request_body_size_bytes_sum") == {("POST", "200"): 300}
    assert registry.all("http_client_response_body_size_bytes_sum") == {("POST", "200"): 5000}


def test_the_size_of_a_stream_is_unknown(flext_world: World, serve: Any, registry: Any) -> None:
    flext_world.send(serve(), "POST", "/", content=flext_world.upload(b"y" * 300))
    assert registry.total("http_client_request_body_size_bytes_count") == 0


def test_a_path_is_a_label_only_as_the_calls_route(
    flext_world: World, serve: Any, registry: Any
) -> None:
    host = serve()
    with options(route="/orders/{id}"):
        flext_world.get(host, "/orders/1")
        flext_world.get(host, "/orders/2")
    flext_world.get(host, "/secret?token=1")
    assert registry.all(COUNT) == {
        ("", "GET", "200", "/orders/{id}"): 2,
        ("", "GET", "200", ""): 1,
    }


def test_however_many_routes_there_are_the_series_stay_few(
    flext_world: World, serve: Any, registry: Any
) -> None:
    host = serve()
    for number in range(MOST + 7):
        with options(route=f"/orders/{number}"):
            flext_world.get(host)
    found = registry.all(COUNT)
    assert len(found) == MOST + 1
    assert found[("", "GET", "200", "_OTHER")] == 7


def test_a_route_that_is_no_unicode_does_not_break_the_page(
    flext_world: World, serve: Any, registry: Any
) -> None:
    host = serve()
    with options(route=os.fsdecode(b"/files/\xff")):
        flext_world.get(host)
    assert registry.all(COUNT) == {("", "GET", "200", "/files/\\udcff"): 1}
    assert b'url_template="/files/\\\\udcff"' in generate_latest(registry)


def test_an_unknown_method_is_other(flext_world: World, serve: Any, registry: Any) -> None:
    host = serve()
    for method in ("BREW", "PROPFIND"):
        flext_world.send(host, method, "/")
    assert registry.all(COUNT) == {("", "_OTHER", "200", ""): 2}


def test_a_sampled_trace_is_the_exemplar(flext_world: World, serve: Any, registry: Any) -> None:
    host = serve(Traces)
    for flags in ("00", "no such"):
        flext_world.get(host, headers={"X-Flags": flags})
    assert exemplars(registry) == []
    assert registry.total(COUNT) == 2
    flext_world.get(host, headers={"X-Flags": "01"})
    assert exemplars(registry) == [{"trace_id": "a" * 32, "span_id": "b" * 16}]


def test_an_exemplar_stays_in_its_bucket_for_a_second() -> None:
    now = 7.0
    chosen = Exemplars((0.1, 1.0), lambda: now)
    request: Any = httpx.Request(
        "GET", "http://a", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    )
    given = [chosen(seconds, request) is not None for seconds in (0.1, 0.05, 0.5, 0.6, 2.0, 3.0)]
    assert given == [True, False, True, False, True, False]
    now += 1.0
    unsampled: Any = httpx.Request("GET", "http://a")
    assert chosen(0.05, unsampled) is None
    assert chosen(0.05, request) == {"trace_id": "a" * 32, "span_id": "b" * 16}


def exemplars(registry: Any) -> list[dict[str, str]]:
    return [
        sample.exemplar.labels
        for metric in registry.collect()
        for sample in metric.samples
        if sample.exemplar
    ]


def test_operations_are_measured_also_when_they_fail(
    flext_world: World, serve: Any, registry: Any
) -> None:
    host = serve(Directory)
    flext_world.get(host)
    Directory.error = TimeoutError("secret")
    try:
        with pytest.raises(Exception, match="directory: flext_request raised TimeoutError"):
            flext_world.get(host)
    finally:
        Directory.error = None
    labels = {"db_system_name": "ldap", "db_operation_name": "search", "db_namespace": ""}
    assert registry.all(OPERATIONS, **labels, server_port="389") == {("",): 1, ("TimeoutError",): 1}


def test_however_many_targets_there_are_the_series_stay_few(
    flext_world: World, serve: Any, registry: Any
) -> None:
    flext_world.get(serve(Directory), headers={"X-Directories": str(MOST + 7)})
    found = {
        sample.labels["server_address"]: sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == OPERATIONS
    }
    assert (len(found), found["_OTHER"]) == (MOST + 1, 7)


def test_whatever_a_service_answers_the_series_stay_few(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    statuses = iter(range(200, 200 + MOST + 7))
    flext_service.answer = lambda _: Answer(next(statuses))
    host = serve()
    for _ in range(MOST + 7):
        flext_world.get(host)
    assert len(registry.all(COUNT)) <= MOST + 8
    assert registry.total(COUNT) == MOST + 7


def test_however_the_values_of_labels_combine_the_series_of_a_metric_stay_few() -> None:
    registry = CollectorRegistry()
    series = FewSeries(Collectors(registry))
    for number in range(50 * 50):
        one, other = divmod(number, 50)
        series.counter(names.REFUSALS, "api", f"plugin {one}", f"reason {other}").inc()
    found = [
        sample
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "flext_refusals_total"
    ]
    assert len(found) == MOST_SERIES + 1
    assert sum(each.value for each in found) == 50 * 50
    assert found[-1].labels == {"service": "api", "plugin": "_OTHER", "reason": "_OTHER"}
