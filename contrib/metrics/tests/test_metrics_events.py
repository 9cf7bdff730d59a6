"""What is counted that happens outside the attempts."""

import asyncio
from typing import Any

import pytest
from flext_plugins_circuit_breaker import CircuitOpen
from flext_plugins_metrics import Metrics
from prometheus_client import CollectorRegistry, Counter, Gauge

from flext_plugins import ConfigError, Connection, Host, Stage, events, hookimpl
from flext_plugins.testing import Answer, LoopbackService, World


class Emits:
    """Emits what the request asks for."""

    @hookimpl
    def flext_request(self, request: Any, connection: Any) -> None:
        for number in range(int(request.headers.get("X-Reasons", "0"))):
            connection.emit(events.Retried(connection.call, "retry", f"reason {number}", 0))
        for outcome in request.headers.get("X-Tokens", "").split():
            connection.emit(events.TokenFetched("issuer", outcome, 0.1))
        for text in request.headers.get("X-Pools", "").split():
            system, target, *numbers = text.split(",")
            connection.emit(events.PoolChanged(system, target, *map(int, numbers)))
        for text in request.headers.get("X-Progress", "").split():
            what, done, total, unit = text.split(",")
            connection.emit(events.Progress(what, float(done), float(total) or None, unit))
        connection.emit(object())


class Stumbles:
    """An observer that fails."""

    stage, observer = Stage.CALL, True

    @hookimpl
    def flext_request(self) -> None:
        raise ValueError


def test_a_call_is_counted_once_however_often_it_was_sent(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    answers = iter([Answer(503), Answer(429), Answer()])
    flext_service.answer = lambda _: next(answers)
    flext_world.get(serve(tables={"retry": {"backoff": 0.001}}))
    assert registry.total("http_client_request_duration_seconds_count") == 3
    assert registry.all("flext_calls_total") == {("answered",): 1}
    assert registry.all("flext_retries_total") == {("429",): 1, ("503",): 1}
    assert registry.total("flext_call_duration_seconds_count") == 1
    attempts = registry.total("http_client_request_duration_seconds_sum")
    assert registry.total("flext_call_duration_seconds_sum") > attempts


def test_a_call_is_counted_once_over_a_redirect_that_is_followed(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    answers = iter([Answer(307, {"Location": "/there"}), Answer()])
    flext_service.answer = lambda _: next(answers)
    flext_world.get(serve(), client_options={"follow_redirects": True})
    assert registry.total("http_client_request_duration_seconds_count") == 2
    assert registry.all("flext_calls_total") == {("answered",): 1}
    assert registry.total("flext_call_duration_seconds_count") == 1


def test_an_open_circuit_is_a_state_and_its_refusals_are_no_attempts(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    flext_service.answer = Answer(500)
    host = serve(tables={"circuit-breaker": {"failure_threshold": 1}})
    flext_world.get(host)
    for _ in range(2):
        with pytest.raises(CircuitOpen):
            flext_world.get(host)
    assert registry.total("http_client_request_duration_seconds_count") == 1
    assert registry.all("flext_calls_total") == {("answered",): 1, ("refused",): 2}
    refused = {("circuit-breaker", "CircuitOpen"): 2}
    assert registry.all("flext_refusals_total") == refused
    origin = flext_service.url
    states = {("circuit-breaker", "closed"): 0, ("circuit-breaker", "open"): 1}
    assert registry.all("flext_breaker_state", origin=origin) == states


def test_guards_of_one_origin_have_states_of_their_own(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    class Limits:
        @hookimpl
        def flext_request(self, connection: Connection) -> None:
            origin = flext_service.url
            connection.emit(events.StateChanged("limits", origin, "flowing", "paused", "429"))
            connection.emit(events.StateChanged("other", origin, "closed", "open", "429"))

    flext_world.get(serve(Limits))
    assert registry.all("flext_breaker_state", origin=flext_service.url) == {
        ("limits", "flowing"): 0,
        ("limits", "paused"): 1,
        ("other", "closed"): 0,
        ("other", "open"): 1,
    }


def test_a_body_that_breaks_is_counted(
    flext_world: World, flext_service: LoopbackService, serve: Any, registry: Any
) -> None:
    host = serve()
    flext_world.get(host)
    flext_service.answer = Answer(body=b"x" * 1000, cut=10)
    with pytest.raises(flext_world.lib.RemoteProtocolError):
        flext_world.get(host)
    assert registry.total("flext_body_errors_total") == 1
    assert registry.all("flext_calls_total") == {("answered",): 1, ("failed",): 1}


def test_tokens_fetched_are_counted(flext_world: World, serve: Any, registry: Any) -> None:
    flext_world.get(serve(Emits), headers={"X-Tokens": "fetched failed failed"})
    assert registry.all("flext_token_fetches_total") == {("failed",): 2, ("fetched",): 1}


def test_reasons_in_free_text_stay_few(flext_world: World, serve: Any, registry: Any) -> None:
    flext_world.get(serve(Emits), headers={"X-Reasons": "130"})
    found = registry.all("flext_retries_total")
    assert (len(found), found[("_OTHER",)]) == (101, 30)


def test_an_observer_that_fails_is_counted(flext_world: World, serve: Any, registry: Any) -> None:
    flext_world.get(serve(Stumbles))
    found = registry.all("flext_plugin_errors_total")
    assert found == {("flext_request", "stumbles"): 1}


def test_it_tells_which_plugins_a_service_has(
    flext_world: World, serve: Any, registry: Any
) -> None:
    flext_world.get(serve(Emits, tables={"retry": {}}))
    assert registry.all("flext_plugin_info") == {
        ("", "emits", ""): 1,
        ("flext-plugins-metrics", "metrics", "1.0.0"): 1,
        ("flext-plugins-retry", "retry", "1.0.0"): 1,
    }


def test_services_and_hosts_share_one_registry(
    flext_world: World, flext_service: LoopbackService, registry: Any
) -> None:
    config = {"base_url": flext_service.url, "plugins": {"metrics": {}}}
    for _ in range(2):
        host = flext_world.host({"services": {"one": config, "two": config}})
        host.provide(CollectorRegistry, registry)
        for service in ("one", "two"):
            flext_world.get(host, service=service)
    for service in ("one", "two"):
        assert registry.total("flext_calls_total", service=service) == 2


def test_metrics_of_such_a_name_that_are_not_ours_are_an_error_that_says_what_to_do(
    registry: Any,
) -> None:
    Counter("flext_calls_total", "somebody else's", registry=registry)
    service = {"base_url": "http://127.0.0.1:9", "plugins": {"metrics": {}}}
    with Host({"services": {"service": service}}) as host:
        host.provide(CollectorRegistry, registry)
        with pytest.raises(ConfigError, match=r"'flext_calls_total'; give the host another"):
            host.check()
    Gauge("http_client_active_requests", "free again", registry=registry)


def test_without_a_registry_of_the_applications_it_is_prometheus_clients_own(
    flext_world: World, flext_service: LoopbackService
) -> None:
    from prometheus_client import REGISTRY

    config = {"base_url": flext_service.url, "plugins": {"metrics": {}}}
    host = flext_world.host({"services": {"of-the-default-registry": config}})
    labels = {"service": "of-the-default-registry", "outcome": "answered"}
    before = REGISTRY.get_sample_value("flext_calls_total", labels) or 0
    flext_world.get(host, service="of-the-default-registry")
    assert REGISTRY.get_sample_value("flext_calls_total", labels) == before + 1


def test_no_configuration_makes_it_more_than_an_observer() -> None:
    assert Metrics.observer


def test_a_pool_of_any_system_is_shown_as_it_is_now(
    flext_world: World, serve: Any, registry: Any
) -> None:
    pools = "ldap,one:389,2,1,4,3 oracle,two:1521,0,5,5,0 ldap,one:389,1,2,4,0"
    flext_world.get(serve(Emits), headers={"X-Pools": pools})
    assert registry.all("db_client_connection_count") == {
        ("one:389", "used", "ldap"): 1,
        ("one:389", "idle", "ldap"): 2,
        ("two:1521", "used", "oracle.db"): 0,
        ("two:1521", "idle", "oracle.db"): 5,
    }
    at_most = {("one:389", "ldap"): 4, ("two:1521", "oracle.db"): 5}
    assert registry.all("db_client_connection_max") == at_most
    waiting = registry.all("db_client_connection_pending_requests")
    assert waiting == {("one:389", "ldap"): 0, ("two:1521", "oracle.db"): 0}


def test_pools_of_a_service_to_one_target_are_added_up(
    flext_service: LoopbackService, registry: Any
) -> None:
    """One belongs to its sync connection, another to an event loop."""
    plugins: dict[str, Any] = {"metrics": {}, "emits": {}}
    service = {"base_url": flext_service.url, "plugins": plugins}
    with Host({"services": {"service": service}}) as host:
        host.provide(CollectorRegistry, registry)
        host.register(Emits, "emits")

        async def emit() -> None:
            async with host.aconnect("service") as client:
                await client.get("/", headers={"X-Pools": "ldap,one:389,2,1,4,1"})

        host.connect("service").get("/", headers={"X-Pools": "ldap,one:389,1,0,4,0"})
        asyncio.run(emit())
        assert registry.all("db_client_connection_count", db_client_connection_state="used") == {
            ("one:389", "ldap"): 3
        }
        assert registry.total("db_client_connection_max") == 8
        host.connect("service").get("/", headers={"X-Pools": "ldap,one:389,0,0,0,0"})
        assert registry.total("db_client_connection_count") == 3
        assert registry.total("db_client_connection_max") == 4


def test_the_progress_of_long_work_is_shown(flext_world: World, serve: Any, registry: Any) -> None:
    progress = "import,10,200,records import,20,200,records export,7,0,bytes"
    flext_world.get(serve(Emits), headers={"X-Progress": progress})
    done = {("records", "import"): 20, ("bytes", "export"): 7}
    assert registry.all("flext_progress_done") == done
    assert registry.all("flext_progress_expected") == {("records", "import"): 200}
