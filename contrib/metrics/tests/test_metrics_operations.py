"""By what operations are told apart, and how many series they are."""

from collections.abc import Callable
from typing import Any

import pytest
from flext_plugins_metrics.instruments import MOST
from prometheus_client import generate_latest

from flext_plugins import Failure, FlextError, Operation, hookimpl
from flext_plugins.testing import World

Perform = Callable[..., Any]

COUNT = "db_client_operation_duration_seconds_count"


class Lends:
    """Performs what it is given."""

    @hookimpl
    def flext_connect(self, connection: Any) -> None:
        connection.provide(Lends, self)
        self.connection = connection

    def perform(self, operation: Operation, function: Any) -> Any:
        work = self.connection.perform(operation, function)
        return work if self.connection.asynchronous else self.connection.drive(work)


class DatabaseError(FlextError):
    """The database said no."""

    def __init__(self, code: Any) -> None:
        super().__init__("no")
        self.code = code


class DatabaseUnavailable(DatabaseError):
    """There is no connection."""

    failure = Failure.CONNECT


@pytest.fixture
def perform(flext_world: World, serve: Any) -> Perform:
    """Performs an operation in a service with `metrics`; it fails if an error is given."""
    lent = flext_world.resource(serve(Lends), Lends)

    def perform(operation: Operation, error: Exception | None = None) -> None:
        def function() -> None:
            if error:
                raise error

        flext_world.run(lambda: lent.perform(operation, function))

    return perform


def series(registry: Any, *labels: str) -> dict[tuple[str, ...], float]:
    """How many operations, by these labels."""
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == COUNT
    }


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (
            Operation("oracle", "fetch", "db.example:1521", attributes={"namespace": "SHOP"}),
            ("oracle.db", "fetch", "SHOP", "db.example", "1521"),
        ),
        (
            Operation("ldap", "search", "ldaps://ana:canary@[::1]:636"),
            ("ldap", "search", "", "::1", "636"),
        ),
        (Operation("sqlite", "query", "/var/shop.db"), ("sqlite", "query", "", "/var/shop.db", "")),
        (Operation("redis", "get", "cache"), ("redis", "get", "", "cache", "")),
        (Operation("redis", "get", "cache:west"), ("redis", "get", "", "cache:west", "")),
        (
            Operation("documents", "find", "[::1", attributes={"namespace": ["SHOP"]}),
            ("documents", "find", "", "[::1", ""),
        ),
    ],
    ids=lambda value: getattr(value, "target", ""),
)
def test_an_operation_has_its_system_name_database_and_server(
    perform: Perform, registry: Any, operation: Operation, expected: tuple[str, ...]
) -> None:
    perform(operation)
    labels = ("db_system_name", "db_operation_name", "db_namespace")
    assert series(registry, *labels, "server_address", "server_port") == {expected: 1}
    assert b"canary" not in generate_latest(registry)


def test_tables_statements_and_sizes_tell_no_series_apart(perform: Perform, registry: Any) -> None:
    for number in range(5):
        told = {"collection": f"canary{number}", "query": f"canary {number}", "size": number}
        perform(Operation("sql", "fetch", "db:1521", attributes=told))
    assert series(registry, "db_operation_name") == {("fetch",): 5}
    assert b"canary" not in generate_latest(registry)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DatabaseError("ORA-00001"), "ORA-00001"),
        (DatabaseError(68), "68"),
        (DatabaseUnavailable("ORA-12541"), "connect"),
        (DatabaseError(None), "DatabaseError"),
        (DatabaseError("canary: no such customer"), "DatabaseError"),
    ],
    ids=["text", "number", "wire", "none", "sentence"],
)
def test_an_error_is_of_the_systems_own_code_unless_the_wire_failed(
    perform: Perform, registry: Any, error: Exception, kind: str
) -> None:
    with pytest.raises(DatabaseError):
        perform(Operation("sql", "load", "db:1521"), error)
    assert series(registry, "error_type") == {(kind,): 1}
    assert b"canary" not in generate_latest(registry)


def test_however_many_databases_there_are_the_series_stay_few(
    perform: Perform, registry: Any
) -> None:
    for number in range(MOST + 7):
        told = {"namespace": f"SHOP{number}"}
        perform(Operation("sql", "fetch", "db:1521", attributes=told))
    found = series(registry, "db_namespace")
    assert (len(found), found[("_OTHER",)]) == (MOST + 1, 7)


def test_however_many_codes_there_are_the_series_stay_few(perform: Perform, registry: Any) -> None:
    for number in range(MOST + 7):
        with pytest.raises(DatabaseError):
            perform(Operation("sql", "load", "db:1521"), DatabaseError(number))
    found = series(registry, "error_type")
    assert (len(found), found[("_OTHER",)]) == (MOST + 1, 7)
