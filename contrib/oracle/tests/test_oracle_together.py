"""A database under breaker, retry, metrics and tracing, and several databases at once."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from flext_plugins_circuit_breaker import CircuitBreaker, CircuitOpen, State
from flext_plugins_devstack import OracleCompatibleServer
from flext_plugins_oracle import (
    AsyncOracleDatabase,
    ConstraintViolated,
    DatabaseUnavailable,
    OracleDatabase,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry, generate_latest
from relay import Relay

from flext_plugins import ConfigError, FlextError, Refused
from flext_plugins.testing import LoopbackService, World

# Python and the driver's version make no difference to how the plugins stand together.
pytestmark = pytest.mark.once

COUNT = "db_client_operation_duration_seconds_count"


class Seen(SpanProcessor):
    """What has been measured and traced."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.provider = TracerProvider()
        self.provider.add_span_processor(self)
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)

    @property
    def attributes(self) -> list[dict[str, Any]]:
        return [dict(each.attributes or {}) for each in self.spans]

    def series(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The samples of that name, by these labels."""
        return {
            tuple(each.labels[label] for label in labels): each.value
            for metric in self.registry.collect()
            for each in metric.samples
            if each.name == name
        }

    @property
    def text(self) -> str:
        """All that is told outside."""
        told = "".join(each.to_json() for each in self.spans)
        return told + generate_latest(self.registry).decode()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def guarded(ask: Any, seen: Seen) -> Callable[..., Any]:
    """A database under all four; as `ask`, with the breaker's settings in `breaker`."""

    def guarded(*given: Any, breaker: dict[str, Any] | None = None, **settings: Any) -> Any:
        plugins = {
            "retry": {"attempts": 3, "backoff": 0.001},
            "circuit-breaker": {"failure_threshold": 4, **(breaker or {})},
            "metrics": {},
            "tracing": {},
        }
        provide = {CollectorRegistry: seen.registry, TracerProvider: seen.provider}
        return ask(*given, plugins=plugins, provide=provide, **settings)

    return guarded


def circuit(asked: Any, target: str) -> State:
    breaker: CircuitBreaker = asked.world.resource(asked.host, CircuitBreaker)
    return breaker.circuit("oracle", target).state


def test_each_operation_is_a_span_and_a_measurement(
    table: Callable[[str], str], guarded: Any, database: OracleCompatibleServer, seen: Seen
) -> None:
    name = table("id number(9), v varchar2(9)")
    asked = guarded()
    asked.insert_records(name, [{"id": 1, "v": "canary"}, {"id": 2, "v": "canary"}])
    asked.execute(f"update {name} set v = :v where id = 1", {"v": "canary"})
    assert asked.rows(f"select id from {name} where v = 'canary' order by id") == [(1,), (2,)]
    host, port = database.target.split(":")
    common = {
        "db.system.name": "oracle.db",
        "db.namespace": "FLEXT",
        "server.address": host,
        "server.port": int(port),
    }
    assert seen.attributes == [
        {**common, "db.operation.name": "health"},
        {
            **common,
            "db.operation.name": "insert",
            "db.collection.name": name,
            "db.operation.batch.size": 2,
        },
        {**common, "db.operation.name": "execute"},
        {**common, "db.operation.name": "fetch"},
    ]
    assert {each.status.status_code for each in seen.spans} == {StatusCode.UNSET}
    assert seen.series(COUNT, "db_system_name", "db_operation_name", "db_namespace") == {
        ("oracle.db", each, "FLEXT"): 1 for each in ("health", "insert", "execute", "fetch")
    }
    assert circuit(asked, database.target) is State.CLOSED
    for secret in ("canary", "select", database.users["FLEXT"]):
        assert secret not in seen.text


def test_a_statement_is_told_only_if_asked_and_its_values_never(guarded: Any, seen: Seen) -> None:
    statement = "select 1 from dual where 'x' = :v"
    guarded(record_statements=True).fetch(statement, {"v": "canary"})
    assert seen.attributes[-1]["db.query.text"] == statement
    assert "canary" not in seen.text


def test_the_use_of_the_pool_is_measured_and_told_as_a_state(
    guarded: Any, database: OracleCompatibleServer, seen: Seen
) -> None:
    asked = guarded(pool_max=7)
    asked.health()
    states = seen.series("db_client_connection_count", "db_client_connection_state")
    assert states == {("used",): 0, ("idle",): 1}
    assert seen.series("db_client_connection_max") == {(): 7}
    assert asked.world.status(asked.host)["oracle"].facts == {
        "pools": [
            {"target": database.target, "in_use": 0, "idle": 1, "limit": 7, "waiting": 0},
        ]
    }


def test_what_the_database_refuses_is_told_by_its_code_and_says_nothing_about_the_server(
    table: Callable[[str], str], guarded: Any, database: OracleCompatibleServer, seen: Seen
) -> None:
    name = table("id number(9) primary key")
    asked = guarded(breaker={"failure_threshold": 1})
    asked.insert_record(name, {"id": 1})
    for _ in range(3):
        with pytest.raises(ConstraintViolated):
            asked.insert_record(name, {"id": 1})
    assert circuit(asked, database.target) is State.CLOSED
    last = seen.attributes[-1]
    assert last["error.type"] == last["db.response.status_code"] == "ORA-00001"
    counts = seen.series(COUNT, "db_operation_name", "error_type")
    assert counts["insert", "ORA-00001"] == 3


def test_what_fails_on_the_wire_is_done_again_if_it_may_be(
    guarded: Any, relay: Any, database: OracleCompatibleServer, seen: Seen
) -> None:
    way: Relay = relay(database)
    asked = guarded(port=way.port, pool_min=0)
    asked.health()
    way.cut()
    time.sleep(0.1)
    way.refuses = 2
    assert asked.rows("select 1 from dual") == [(1,)]
    counts = seen.series(COUNT, "db_operation_name", "error_type")
    assert counts["fetch", "connect"] == 2
    assert counts["fetch", ""] == 1
    assert circuit(asked, way.target) is State.CLOSED


def test_what_may_not_be_done_twice_is_done_once(
    table: Callable[[str], str], guarded: Any, relay: Any, database: Any, seen: Seen
) -> None:
    name = table("id number(9)")
    way: Relay = relay(database)
    asked = guarded(port=way.port)
    asked.health()
    way.fail("cut", sent=0)
    with pytest.raises(DatabaseUnavailable):
        asked.insert_record(name, {"id": 1})
    counts = seen.series(COUNT, "db_operation_name", "error_type")
    assert [count for (each, _), count in counts.items() if each == "insert"] == [1]
    assert asked.rows(f"select id from {name}") == []


@pytest.mark.once
def test_refused_connections_open_the_circuit_and_it_comes_back_by_itself(
    guarded: Any, run_database: Any
) -> None:
    server = run_database()
    asked = guarded(server, breaker={"recovery_timeout": 0.2, "failure_threshold": 2})
    asked.health()
    server.down()
    for _ in range(2):
        with pytest.raises((DatabaseUnavailable, CircuitOpen)):
            asked.health()
    assert circuit(asked, server.target) is State.OPEN
    with pytest.raises(CircuitOpen, match=f"circuit-breaker: .*{server.target}") as caught:
        asked.execute("delete from anything")
    assert isinstance(caught.value, Refused)
    server.up()
    time.sleep(0.25)
    assert asked.health().target == server.target
    assert circuit(asked, server.target) is State.CLOSED


def test_a_wrong_password_opens_no_circuit(guarded: Any, database: OracleCompatibleServer) -> None:
    asked = guarded(password="wrong", breaker={"failure_threshold": 1})
    with pytest.raises(ConfigError):
        asked.health()
    assert circuit(asked, database.target) is State.CLOSED


def test_a_database_that_is_down_opens_no_circuit_of_http(
    flext_world: World, flext_service: LoopbackService, database: OracleCompatibleServer
) -> None:
    plugins = {
        "circuit-breaker": {"failure_threshold": 1},
        "oracle": database.settings(port=1),
    }
    config = {"base_url": flext_service.url, "plugins": plugins}
    host = flext_world.host({"services": {"service": config}, "allow_inline_secrets": True})
    assert flext_world.get(host).status_code == 200
    breaker: CircuitBreaker = flext_world.resource(host, CircuitBreaker)
    assert breaker.state is State.CLOSED
    assert breaker.circuit("oracle", "127.0.0.1:1").state is State.OPEN
    assert flext_world.get(host).status_code == 200


# several databases


def test_two_users_schemas_are_never_mixed(
    table: Callable[[str], str], world: World, database: OracleCompatibleServer
) -> None:
    """Threads and tasks in turn, over the same service and server."""
    name = table("v varchar2(9)")
    first, second = database.users.items()
    connections = {
        user: database.settings(username=user, password=password, pool_max=2)
        for user, password in (first, second)
    }
    connections["seen"] = database.settings(username=second[0], password=second[1], schema=first[0])
    config = {"services": {"service": {"plugins": {"oracle": {"connections": connections}}}}}
    host = world.host({**config, "allow_inline_secrets": True})
    kind = AsyncOracleDatabase if world.asynchronous else OracleDatabase
    lent = {each: world.resource(host, kind, each) for each in connections}
    who = "select user, sys_context('userenv', 'current_schema') from dual"
    expected = {
        first[0]: (first[0], first[0]),
        second[0]: (second[0], second[0]),
        "seen": (second[0], first[0]),
    }

    def asking(each: str) -> Callable[[], Any]:
        def ask() -> Any:
            return [each, [tuple(row) for row in lent[each].fetch(who)]]

        async def aask() -> Any:
            return [each, [tuple(row) async for row in lent[each].fetch(who)]]

        return aask if world.asynchronous else ask

    found = world.all([asking(each) for each in [*connections] * 8])
    assert [each for each in found if isinstance(each, FlextError)] == []
    assert [rows for _, rows in found] == [[expected[each]] for each, _ in found]
    world.run(lambda: lent[first[0]].insert_record(name, {"v": "x"}))
    assert world.run(lambda: lent["seen"].execute(f"update {name} set v = 'y'")) == 1
