"""The example of a resource does what it says in every world, under the plugins that guard it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from flext_plugins_circuit_breaker import CircuitBreaker, CircuitOpen
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry

from flext_plugins import DeadlineExceeded, Failure, Host, Stage, hookimpl, options
from flext_plugins.testing import PluginConformance

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from database import (
    AsyncDatabase,
    Database,
    DatabaseError,
    DatabaseUnavailable,
    Sqlite,
)

pytestmark = pytest.mark.once

IDS = "select id from orders order by id"
INSERT = "insert into orders values (?)"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "orders.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("create table orders (id integer primary key)")
        database.execute(INSERT, (7,))
    return str(file)


@contextmanager
def locked(path):
    """While somebody else writes."""
    with closing(sqlite3.connect(path, check_same_thread=False)) as database:
        database.execute("begin exclusive")
        yield database


class Writer:
    """Somebody else who writes, until the third attempt."""

    stage = Stage.ATTEMPT
    database = None
    attempts = 0

    @hookimpl
    async def flext_operation(self, operation, proceed, connection):
        Writer.attempts += 1
        if connection.call.attempt == 3:
            Writer.database.rollback()
        return await proceed(operation)


def lending(world, path, timeout=0.02, **plugins):
    """A host whose service lends the database, and has these plugins beside it."""
    sqlite = {"path": path, "timeout": timeout}
    service = {"plugins": {"sqlite": sqlite, **plugins}}
    return world.host({"services": {"service": service}}, sqlite=Sqlite, writer=Writer)


def ask(world, host, method, *args):
    database = world.resource(host, AsyncDatabase if world.asynchronous else Database)
    return world.run(lambda: getattr(database, method)(*args))


def test_what_is_changed_is_read(flext_world, path):
    host = lending(flext_world, path)
    assert ask(flext_world, host, "change", "insert into orders values (?) returning id", 8) == [
        (8,)
    ]
    assert ask(flext_world, host, "query", IDS) == [(7,), (8,)]


def test_what_cannot_be_done_is_not_done_at_all(flext_world, path):
    host = lending(flext_world, path)
    with pytest.raises(DatabaseError, match="sqlite: UNIQUE constraint failed"):
        ask(flext_world, host, "change", "insert into orders values (8), (7)")
    assert ask(flext_world, host, "query", IDS) == [(7,)]


def test_its_errors_say_whose_they_are_and_whether_the_database_is_down(flext_world, path):
    host = lending(flext_world, path)
    with locked(path), pytest.raises(DatabaseUnavailable) as caught:
        ask(flext_world, host, "query", IDS)
    assert str(caught.value) == "service: sqlite: database is locked"
    assert caught.value.failure is Failure.CONNECT
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)

    with pytest.raises(DatabaseUnavailable, match="unable to open"):
        ask(flext_world, lending(flext_world, f"{path}/nowhere"), "query", IDS)

    with pytest.raises(DatabaseError, match="no such table") as caught:
        ask(flext_world, host, "query", "select * from nowhere")
    assert not hasattr(caught.value, "failure")


def test_a_query_is_tried_again_while_the_database_is_locked(flext_world, path):
    Writer.attempts = 0
    host = lending(flext_world, path, retry={"backoff": 0.01}, writer={})
    with locked(path) as Writer.database:
        assert ask(flext_world, host, "query", IDS) == [(7,)]
    assert Writer.attempts == 3


def test_a_change_is_tried_once_and_so_is_a_statement_that_is_wrong(flext_world, path):
    Writer.attempts = 0
    host = lending(flext_world, path, retry={"backoff": 0.01}, writer={})
    with locked(path) as Writer.database, pytest.raises(DatabaseUnavailable):
        ask(flext_world, host, "change", INSERT, 8)
    with pytest.raises(DatabaseError):
        ask(flext_world, host, "query", "select * from nowhere")
    assert Writer.attempts == 2


def test_the_circuit_opens_while_the_database_is_locked_and_not_for_what_is_wrong(
    flext_world, path
):
    host = lending(flext_world, path, **{"circuit-breaker": {"failure_threshold": 3}})
    for _ in range(5):
        with pytest.raises(DatabaseError, match="no such table"):
            ask(flext_world, host, "query", "select * from nowhere")
    with locked(path):
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                ask(flext_world, host, "query", IDS)
    with pytest.raises(CircuitOpen):
        ask(flext_world, host, "query", IDS)


def test_a_caller_in_a_hurry_opens_no_circuit(flext_world, path):
    host = lending(flext_world, path, 30, **{"circuit-breaker": {"failure_threshold": 1}})
    with locked(path):
        started = time.monotonic()
        with options(deadline=0.1), pytest.raises(DeadlineExceeded):
            ask(flext_world, host, "query", IDS)
        assert time.monotonic() - started < 10
    assert flext_world.resource(host, CircuitBreaker).circuit("sqlite", path).state.value == (
        "closed"
    )
    assert ask(flext_world, host, "query", IDS) == [(7,)]


def test_a_metric_and_a_span_are_there_without_a_line(flext_world, path):
    registry, provider, exporter = CollectorRegistry(), TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    host = lending(flext_world, path, metrics={}, tracing={})
    host.provide(CollectorRegistry, registry)
    host.provide(TracerProvider, provider)
    assert ask(flext_world, host, "query", IDS) == [(7,)]

    (metric,) = [
        each for each in registry.collect() if each.name == "db_client_operation_duration_seconds"
    ]
    (count,) = [each for each in metric.samples if each.name.endswith("_count")]
    assert (count.labels["db_system_name"], count.labels["db_operation_name"], count.value) == (
        "sqlite",
        "query",
        1,
    )
    (span,) = exporter.get_finished_spans()
    assert (span.kind, span.attributes["db.operation.name"]) == (SpanKind.CLIENT, "query")


def test_threads_share_one_and_each_event_loop_has_its_own(path):
    service = {"plugins": {"sqlite": {"path": path}}}
    with Host({"services": {"service": service}}) as host:
        host.register(Sqlite, name="sqlite")

        async def own():
            database = await host.aresource("service", AsyncDatabase)
            assert database is await host.aresource("service", AsyncDatabase)
            assert await database.query(IDS) == [(7,)]
            return database

        assert asyncio.run(own()) is not asyncio.run(own())
        assert host.resource("service", Database) is host.resource("service", Database)


class TestSqlite(PluginConformance):
    plugin = Sqlite

    @pytest.fixture(autouse=True)
    def _file(self, path):
        self.settings = {"path": path, "timeout": 0.02}

    async def exercise(self, trial):
        kind = AsyncDatabase if trial.world.asynchronous else Database
        database = await trial.resource(kind)
        assert await trial.call(database.query, IDS) == [(7,)]


class TestSqliteThatCannotBeOpened(PluginConformance):
    """Its errors are failures; the kit would say so if they were not."""

    plugin = Sqlite

    @pytest.fixture(autouse=True)
    def _nowhere(self, path):
        self.settings = {"path": f"{path}/nowhere", "timeout": 0.02}

    async def exercise(self, trial):
        kind = AsyncDatabase if trial.world.asynchronous else Database
        database = await trial.resource(kind)
        with pytest.raises(DatabaseUnavailable):
            await trial.call(database.query, IDS)
