"""What becomes of statements when connections are lost: nothing is done twice, or told wrongly."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from driver import connect
from flext_plugins_circuit_breaker import CircuitOpen
from flext_plugins_oracle import DatabaseError, DatabaseUnavailable, OutcomeUnknown
from lent import PATIENCE, Leftovers, wait_until
from packets import COMMIT, EXECUTE

from flext_plugins import DeadlineExceeded, Failure, FlextError, options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flext_plugins_devstack import OracleCompatibleServer
    from relay import Relay

    from flext_plugins.testing import World

pytestmark = pytest.mark.once

LONG = {"connect_timeout": 60.0, "timeout": 60.0}
"""Seconds that no test waits."""
RETRY = {"retry": {"attempts": 3, "backoff": 0.01, "budget_floor": 1000}}
BREAKER = {"circuit-breaker": {"failure_threshold": 1, "recovery_timeout": 60.0}}


def ids(server: OracleCompatibleServer, table: str) -> list[int]:
    with connect(server) as connection:
        return [n for (n,) in connection.cursor().execute(f"select id from {table} order by id")]


def times(relay: Relay, text: str) -> int:
    """How many times the server was sent it."""
    return bytes(relay.sent).lower().count(text.encode())


@pytest.fixture
def numbers(table: Any) -> str:
    """A table of them."""
    name: str = table("id number(10), v varchar2(100)")
    return name


@pytest.fixture
def between(relay: Any, database: OracleCompatibleServer) -> Any:
    """A relay to `database`."""
    return relay(database)


@pytest.fixture(autouse=True)
def _no_alarm(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What is lost is told in errors; SQLAlchemy's log has nothing to add."""
    yield
    assert [each.message for each in caplog.records if each.name.startswith("sqlalchemy")] == []


# a commit


@pytest.mark.parametrize(
    ("fault", "moment", "kept"),
    [("cut", "before", []), ("cut", "after", [1]), ("reset", "after", [1])],
)
@pytest.mark.parametrize("kind", ["execute", "insert", "upsert", "load", "transaction"])
def test_a_commit_whose_answer_is_lost_is_told_as_such_and_never_repeated(
    lend: Any,
    between: Any,
    numbers: str,
    database: OracleCompatibleServer,
    fault: str,
    moment: str,
    kept: list[int],
    kind: str,
) -> None:
    lent = lend(port=between.port, plugins={**RETRY, **BREAKER})
    does: dict[str, Any] = {
        "execute": lambda: lent.execute(f"insert into {numbers} (id) values (1)", idempotent=True),
        "insert": lambda: lent.insert_record(numbers, {"id": 1}),
        "upsert": lambda: lent.upsert(numbers, [{"id": 1}]),
        "load": lambda: lent.load(numbers, [{"id": 1}]),
    }

    async def in_a_transaction() -> None:
        async with lent.transaction() as transaction:
            await transaction.execute(f"insert into {numbers} (id) values (1)")

    between.fail(fault, **{moment: COMMIT})
    with pytest.raises(OutcomeUnknown, match="the answer to the commit was lost") as caught:
        lent.world.run(does.get(kind, in_a_transaction))
    between.wait()
    assert not hasattr(caught.value, "failure")
    assert ids(database, numbers) == kept
    assert times(between, "merge into" if kind == "upsert" else "insert into") == 1
    # The circuit, which one failure opens, is closed.
    assert lent.world.run(lambda: lent.fetch("select 1 from dual")) == [(1,)]


def test_a_commit_that_a_deadline_ends_is_no_failure_of_the_database(
    lend: Any, between: Any, numbers: str
) -> None:
    lent = lend(port=between.port, plugins={**RETRY, **BREAKER}, **LONG)
    between.fail("freeze", after=COMMIT)
    with pytest.raises(OutcomeUnknown), options(deadline=0.5):
        lent.world.run(lambda: lent.execute(f"insert into {numbers} (id) values (1)"))
    between.thaw()
    assert lent.world.run(lambda: lent.fetch(f"select id from {numbers}")) == [(1,)]
    assert times(between, "insert into") == 1


def test_a_commit_that_the_database_refuses_is_its_error_and_leaves_nothing(
    lend: Any, numbers: str
) -> None:
    lent = lend(pool_max=1)

    async def ask() -> None:
        with pytest.raises(DatabaseError) as caught:
            async with lent.transaction() as transaction:
                await transaction.execute(f"insert into {numbers} (id) values (1)")
                await transaction.execute("no statement at all")
        assert not isinstance(caught.value, (DatabaseUnavailable, OutcomeUnknown))
        assert await lent.fetch(f"select * from {numbers}") == []

    lent.world.run(ask)


# a statement


@pytest.mark.parametrize(("fault", "moment"), [("cut", "before"), ("reset", "after")])
def test_a_statement_that_is_not_idempotent_is_sent_once(
    lend: Any,
    between: Any,
    numbers: str,
    database: OracleCompatibleServer,
    fault: str,
    moment: str,
) -> None:
    lent = lend(port=between.port, plugins=RETRY)
    between.fail(fault, **{moment: EXECUTE})
    with pytest.raises(DatabaseUnavailable) as caught:
        lent.world.run(lambda: lent.execute(f"insert into {numbers} (id) values (1)"))
    between.wait()
    assert caught.value.failure is Failure.READ
    assert times(between, "insert into") == (moment == "after")
    assert ids(database, numbers) == []


@pytest.mark.parametrize(("fault", "moment"), [("cut", "before"), ("reset", "after")])
def test_a_statement_that_is_idempotent_is_repeated_over_another_session(
    lend: Any,
    between: Any,
    numbers: str,
    database: OracleCompatibleServer,
    fault: str,
    moment: str,
) -> None:
    lent = lend(port=between.port, plugins=RETRY)
    statement = f"insert into {numbers} (id) values (1)"
    for _ in range(2):
        between.fail(fault, **{moment: EXECUTE})
        assert lent.world.run(lambda: lent.execute(statement, idempotent=True)) == 1
        between.wait()
    assert ids(database, numbers) == [1, 1]
    between.fail(fault, **{moment: EXECUTE})
    assert lent.world.run(lambda: lent.fetch("select 1 from dual")) == [(1,)]
    between.wait()


def test_nothing_in_a_transaction_is_repeated(
    lend: Any, between: Any, numbers: str, database: OracleCompatibleServer
) -> None:
    lent = lend(port=between.port, plugins=RETRY)

    async def ask() -> None:
        async with lent.transaction() as transaction:
            await transaction.execute(f"insert into {numbers} (id) values (1)")
            between.fail("cut", before=EXECUTE)
            with pytest.raises(DatabaseUnavailable):
                await transaction.execute(f"insert into {numbers} (id) values (2)", idempotent=True)
            between.wait()
            with pytest.raises(DatabaseError, match="the session was lost or given back"):
                await transaction.execute(f"insert into {numbers} (id) values (3)")

    with pytest.raises(DatabaseError, match="the session was lost or given back"):
        lent.world.run(ask)
    assert ids(database, numbers) == []
    assert lent.usage[0] == 0


def test_a_batch_that_breaks_in_its_middle_leaves_nothing_of_itself(
    lend: Any, between: Any, numbers: str, database: OracleCompatibleServer
) -> None:
    lent = lend(port=between.port, plugins=RETRY)
    lent.world.run(lambda: lent.insert_record(numbers, {"id": 0, "v": "x"}))
    records = [{"id": n, "v": "x" * 90} for n in range(1, 2001)]
    between.fail("cut", sent=50_000)
    with pytest.raises(DatabaseUnavailable):
        lent.world.run(lambda: lent.insert_records(numbers, records))
    between.wait()
    between.fail("cut", sent=120_000)
    with pytest.raises(DatabaseUnavailable) as caught:
        lent.world.run(lambda: lent.load(numbers, records, batch_size=500))
    between.wait()
    assert caught.value.report is not None
    resume = caught.value.report.resume
    assert resume > 0
    assert resume % 500 == 0
    assert ids(database, numbers) == [*range(resume + 1)]


@pytest.mark.parametrize("fault", ["cut", "reset"])
def test_a_fetch_that_breaks_at_a_later_batch_does_not_begin_anew(
    lend: Any, between: Any, fault: str
) -> None:
    lent = lend(port=between.port, plugins=RETRY, pool_max=1)
    query = "select level n, rpad('x', 100) from dual connect by level <= 1000"
    rows: list[int] = []

    async def ask() -> None:
        async for row in lent.rows(query, batch_size=10):
            if not rows:
                between.fail(fault, received=10_000)
            rows.append(row.n)

    with pytest.raises(DatabaseUnavailable):
        lent.world.run(ask)
    between.wait()
    assert rows == [*range(1, len(rows) + 1)]
    assert 10 <= len(rows) < 200
    assert times(between, "connect by level") == 1
    assert lent.world.run(lambda: lent.fetch("select 1 from dual")) == [(1,)]


def test_sessions_that_were_closed_while_idle_cost_nothing(lend: Any, between: Any) -> None:
    lent = lend(port=between.port)
    for _ in range(3):
        assert lent.world.run(lambda: lent.fetch("select 1 from dual")) == [(1,)]
        between.cut()
        wait_until(lambda: between.open == 0)
    between.cut()
    assert lent.world.run(lent.health).pool.in_use == 0


# the server


def test_a_server_that_is_killed_and_restarted_costs_errors_and_nothing_more(
    lend: Any, world: World, run_database: Any
) -> None:
    """16 callers all the while, each of whom owns a row that only grows."""
    server = run_database()
    before = Leftovers(world, server)
    with connect(server) as connection:
        connection.cursor().execute("create table t (id number(10), n number(10))")
        for number in range(16):
            connection.cursor().execute(f"insert into t values ({number}, 0)")
        connection.commit()
    plugins = {"circuit-breaker": {"failure_threshold": 3, "recovery_timeout": 0.05,
                                   "max_recovery_timeout": 0.1}}  # fmt: skip
    lent = lend(server, service={"deadline": 5.0}, plugins=plugins)
    ended = threading.Event()
    found: list[list[Any]] = [[] for _ in range(16)]
    counts = [(0, 0)] * 16
    longest = [0.0]

    def caller(number: int) -> Any:
        update = f"update t set n = n + 1 where id = {number}"

        async def ask() -> None:
            least = most = 0
            while not ended.is_set():
                started = time.monotonic()
                try:
                    assert await lent.execute(update) == 1
                    least, most = least + 1, most + 1
                    ((own, n),) = await lent.fetch(f"select id, n from t where id = {number}")
                    assert own == number
                    assert least <= n <= most
                    least = most = n
                    found[number].append(None)
                except FlextError as error:
                    most += isinstance(error, OutcomeUnknown)
                    found[number].append(error)
                    await world.sleep(0.01)
                longest[0] = max(longest[0], time.monotonic() - started)
            counts[number] = least, most

        return ask

    def faults() -> None:
        try:
            wait_until(lambda: all(each and each[-1] is None for each in found))
            server.down()
            time.sleep(0.2)
            server.up()
            wait_until(lambda: all(each and each[-1] is None for each in found))
        finally:
            ended.set()

    thread = threading.Thread(target=faults)
    thread.start()
    assert world.all([caller(number) for number in range(16)]) == [None] * 16
    thread.join()
    kinds = Counter(type(each) for one in found for each in one)
    assert kinds[type(None)] > 16
    assert kinds[CircuitOpen] > 0
    assert [*filter(lambda kind: issubclass(kind, DatabaseUnavailable), kinds)]
    allowed = (type(None), CircuitOpen, DatabaseUnavailable, OutcomeUnknown, DeadlineExceeded)
    assert [kind for kind in kinds if not issubclass(kind, allowed)] == []
    assert longest[0] < PATIENCE
    rows = dict(world.run(lambda: lent.fetch("select id, n from t")))
    assert all(low <= rows[number] <= high for number, (low, high) in enumerate(counts))
    assert lent.usage[0] == 0
    world.close(lent.host)
    before.assert_none()
