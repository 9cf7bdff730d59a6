"""A span for each operation, in the words of OpenTelemetry's conventions for databases."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.trace import SpanKind, StatusCode

from flext_plugins import Connection, Failure, FlextError, Host, Operation, hookimpl
from flext_plugins.testing import World

Serve = Callable[..., Host]
Perform = Callable[..., Any]

TEXTS = ("db.namespace", "db.collection.name", "db.query.text")
STATEMENT = "select total from orders where customer = :customer"


class Lends:
    """Performs what it is given."""

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
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


class Reply(Exception):
    """Of a driver, by whose `code` nobody can look anything up."""

    code = "canary: no such customer"


@pytest.fixture
def perform(flext_world: World, serve: Serve) -> Perform:
    """Performs an operation in a service with `tracing`."""
    lent = flext_world.resource(serve(Lends), Lends)

    def perform(operation: Operation, function: Any = str) -> Any:
        return flext_world.run(lambda: lent.perform(operation, function))

    return perform


def raising(error: Exception) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def test_an_operation_is_a_span_in_the_words_for_databases(perform: Perform, spans: Any) -> None:
    search = Operation("ldap", "search", "directory:389", attributes={"password": "canary"})
    assert perform(search, is_http_instrumentation_enabled)  # it may use HTTP
    with pytest.raises(ConnectionRefusedError):
        perform(search, raising(ConnectionRefusedError(111, "x")))
    found, failed = spans.ended
    assert (found.name, found.kind) == ("search directory:389", SpanKind.CLIENT)
    assert dict(found.attributes) == {
        "db.system.name": "ldap",
        "db.operation.name": "search",
        "server.address": "directory",
        "server.port": 389,
    }
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.events[0].attributes["exception.message"] == "Connection refused"
    assert failed.attributes["error.type"] == "builtins.ConnectionRefusedError"


def test_what_it_tells_of_itself_is_in_the_span_from_its_beginning_and_nothing_else(
    perform: Perform, spans: Any
) -> None:
    told = {
        "namespace": "SHOP",
        "collection": "ORDERS",
        "size": 500,
        "query": STATEMENT,
        "values": ["canary"],
    }
    seen: list[Any] = []
    perform(
        Operation("oracle", "insert", "db.example:1521", attributes=told),
        lambda: seen.append(dict(spans.begun[0].attributes)),
    )
    assert seen == [
        {
            "db.system.name": "oracle.db",
            "db.operation.name": "insert",
            "db.namespace": "SHOP",
            "db.collection.name": "ORDERS",
            "db.operation.batch.size": 500,
            "db.query.text": STATEMENT,
            "server.address": "db.example",
            "server.port": 1521,
        }
    ]
    assert "canary" not in spans.text


@pytest.mark.parametrize(
    ("told", "target", "expected"),
    [
        ({"namespace": "SHOP", "collection": "ORDERS"}, "db:1521", "fetch ORDERS"),
        ({"namespace": "SHOP", "query": STATEMENT}, "db:1521", "fetch SHOP"),
        ({"query": STATEMENT, "size": 2}, "db:1521", "fetch db:1521"),
        ({}, "oracle://ana:pw@db:1521", "fetch db:1521"),
        ({}, "orders", "fetch orders"),
        ({}, "db:west", "fetch db"),
        ({}, "[::1", "fetch"),
        ({}, "/var/orders.db", "fetch"),
    ],
)
def test_its_name_is_the_operations_and_the_table_else_the_database_else_the_server(
    perform: Perform, spans: Any, told: dict[str, Any], target: str, expected: str
) -> None:
    perform(Operation("sql", "fetch", target, attributes=told))
    assert [each.name for each in spans.ended] == [expected]


@pytest.mark.parametrize("size", [0, 1, None, "500"])
def test_what_is_no_batch_has_no_size(perform: Perform, spans: Any, size: Any) -> None:
    perform(Operation("sql", "insert", "db:1521", attributes={"size": size}))
    assert "db.operation.batch.size" not in spans.ended[0].attributes


def test_what_is_told_in_another_form_is_left_out(perform: Perform, spans: Any) -> None:
    told = {"namespace": "", "collection": ["ORDERS", "ITEMS"], "query": {"$match": "canary"}}
    perform(Operation("documents", "find", "db:1521", attributes=told))
    (span,) = spans.ended
    assert span.name == "find db:1521"
    assert not {*TEXTS} & {*span.attributes}


def test_a_statement_is_masked_as_an_address_is_and_cut(perform: Perform, spans: Any) -> None:
    query = f"attach 'https://ana:canary@db.example/?token=canary'; {'x' * 3000}"
    perform(Operation("sql", "execute", "db:1521", attributes={"query": query}))
    text = spans.ended[0].attributes["db.query.text"]
    assert text.startswith("attach 'https://REDACTED:REDACTED@db.example/?token=REDACTED")
    assert (len(text), "canary" in spans.text) == (2048, False)


def test_what_is_no_unicode_does_not_cost_the_batch(perform: Perform, spans: Any) -> None:
    odd = os.fsdecode(b"ORDERS\xff")
    told = {"namespace": odd, "collection": odd, "query": odd}
    perform(Operation("sql", "fetch", "db:1521", attributes=told))
    (span,) = spans.ended
    assert span.name == "fetch ORDERS\\udcff"
    assert {span.attributes[name] for name in TEXTS} == {"ORDERS\\udcff"}
    encode_spans([span]).SerializeToString()


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (DatabaseError("ORA-00001"), "ORA-00001", "ORA-00001"),
        (DatabaseError(68), "68", "68"),
        (DatabaseUnavailable("ORA-12541"), "ORA-12541", "connect"),
        (DatabaseError(None), None, f"{__name__}.DatabaseError"),
        (DatabaseError(b"1"), None, f"{__name__}.DatabaseError"),
        (Reply(), None, f"{__name__}.Reply"),
    ],
    ids=["text", "number", "wire", "none", "bytes", "sentence"],
)
def test_an_error_is_of_the_systems_own_code_unless_the_wire_failed(
    perform: Perform, spans: Any, error: Exception, status: str | None, kind: str
) -> None:
    with pytest.raises(type(error)):
        perform(Operation("sql", "insert", "db:1521"), raising(error))
    (span,) = spans.ended
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes.get("db.response.status_code") == status
    assert span.attributes["error.type"] == kind
    assert "canary" not in spans.text


def test_a_requests_error_has_no_code_of_a_database(
    flext_world: World, serve: Serve, spans: Any
) -> None:
    class Fails:
        @hookimpl
        def flext_request(self) -> None:
            raise DatabaseError("ORA-00001")

    with pytest.raises(DatabaseError):
        flext_world.get(serve(Fails))
    (span,) = spans.ended
    assert "db.response.status_code" not in span.attributes
    assert "ORA" not in span.attributes["error.type"]
