"""The statements that are made for loads and records: as Oracle gets them, and on other databases."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from elsewhere import Elsewhere
from flext_plugins_devstack.postgres import PostgreSQL
from flext_plugins_oracle.errors import DatabaseError, RowRefused
from flext_plugins_oracle.load import Loading
from flext_plugins_oracle.names import NameRefused
from flext_plugins_oracle.position import Position
from flext_plugins_oracle.statement import inserting, merging
from installed import or_skipped  # type: ignore[import-not-found]
from sqlalchemy import create_engine, event
from sqlalchemy.dialects import oracle
from sqlalchemy.pool import NullPool

ORACLE: Any = oracle.oracledb.dialect()  # type: ignore[no-untyped-call]


# as Oracle gets them


@pytest.mark.parametrize(
    ("table", "columns", "text"),
    [
        ("Orders", ("id", "Name"), "INSERT INTO orders (id, name) VALUES (:c0, :c1)"),
        ("Sales.Orders", ("id",), "INSERT INTO sales.orders (id) VALUES (:c0)"),
        ('"select"', ('"a:b"', '"x y"'), 'INSERT INTO "select" ("a:b", "x y") VALUES (:c0, :c1)'),
        ('"My Sales"."Or.ders"', ("id",), 'INSERT INTO "My Sales"."Or.ders" (id) VALUES (:c0)'),
    ],
)  # fmt: skip
def test_insert(table: str, columns: tuple[str, ...], text: str) -> None:
    assert inserting(ORACLE, table, columns) == text


def test_merge_updates_what_is_no_key() -> None:
    assert merging(ORACLE, "s.t", ("b", "ID", '"x y"'), ("id",), (None, None, None)) == (
        'MERGE INTO s.t t USING (SELECT :c0 AS b, :c1 AS id, :c2 AS "x y" FROM dual) s '
        'ON (t.id = s.id) WHEN MATCHED THEN UPDATE SET b = s.b, "x y" = s."x y" '
        'WHEN NOT MATCHED THEN INSERT (b, id, "x y") VALUES (s.b, s.id, s."x y")'
    )


def test_merge_of_keys_alone_updates_nothing() -> None:
    text = merging(ORACLE, "t", ("a", "b"), ("B", "a"), (None, None))
    assert "ON (t.a = s.a AND t.b = s.b) WHEN NOT MATCHED" in text
    assert "UPDATE" not in text


def test_merge_needs_its_keys() -> None:
    for keys in ((), ("z",), ("a", "z")):
        with pytest.raises(NameRefused, match="keys"):
            merging(ORACLE, "t", ("a", "b"), keys, (None, None))


# on other databases


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The folder of its socket."""
    with TemporaryDirectory(prefix="oracle-") as folder:  # PostgreSQL's user has to get there
        with or_skipped():
            server = PostgreSQL(Path(folder))
        server.up()
        yield folder
        server.down()


@pytest.fixture(params=["sqlite", "postgresql"])
def open_session(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], Elsewhere]]:
    """Opens sessions on a database with a table of people."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / 'db'}", poolclass=NullPool)
        # Its driver begins no transaction for a savepoint.
        event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    else:
        pytest.importorskip("pg8000")
        folder = request.getfixturevalue("postgresql")
        engine = create_engine(
            "postgresql+pg8000://postgres@/postgres",
            connect_args={"unix_sock": f"{folder}/.s.PGSQL.5432"},
            poolclass=NullPool,
        )
    opened: list[Elsewhere] = []

    def run() -> Elsewhere:
        opened.append(Elsewhere(engine))
        return opened[-1]

    session = run()
    session.execute("CREATE TABLE people (id integer primary key, name varchar(9) not null)")
    session.commit()
    yield run
    for one in opened:
        one.rollback()
    for each in ("people", "flext_loads"):
        session.execute(f"DROP TABLE IF EXISTS {each}")
    session.commit()
    for one in opened:
        one.close()


def ids(session: Elsewhere) -> list[int]:
    found = [row[0] for row in session.execute("SELECT id FROM people ORDER BY id")]
    session.rollback()
    return found


def test_a_load_keeps_the_good_rows_and_its_position(
    open_session: Callable[[], Elsewhere],
) -> None:
    session: Any = open_session()
    loading = Loading("people", "report", Position("flext_loads", "x"))
    assert loading.position is not None
    assert loading.position.look_up(session) is None
    assert loading.position.take_over(session) == 0
    batch: list[Any] = [
        *[{"id": 1, "name": "a"}, {"NAME": "b", "id": 2}, {"id": 1, "name": "c"}, {"id": 4}, 5],
        *[{"id": 6, "name": "f", "nosuch": 1}, {"id": 7, "name": object()}, {"id": 8, "name": "h"}],
    ]
    bad = loading.insert(session, batch)
    session.commit()
    loading.count(len(batch), bad)
    assert [(row.number, row.code) for row in bad] == [
        (3, "ORA-00001"),
        (4, "ORA-01400"),
        (5, None),
        (6, "ORA-00904"),
        (7, None),
    ]
    assert ids(session) == [1, 2, 8]
    assert loading.position.look_up(session) == loading.resume == 8


def test_with_raise_the_batch_of_the_first_bad_row_is_undone(
    open_session: Callable[[], Elsewhere],
) -> None:
    session: Any = open_session()
    loading = Loading("people", "raise", None)
    loading.count(1, loading.insert(session, [{"id": 1, "name": "a"}]))
    session.commit()
    with pytest.raises(RowRefused) as caught:
        loading.insert(session, [{"id": 2, "name": "b"}, {"id": 1, "name": "c"}])
    session.rollback()
    assert caught.value.row is not None
    assert (caught.value.row.number, caught.value.code) == (3, "ORA-00001")
    assert (ids(session), loading.resume) == ([1], 1)


def test_who_begins_a_load_anew_ends_the_run_before(open_session: Callable[[], Elsewhere]) -> None:
    first: Any = open_session()
    second: Any = open_session()
    old, new = Position("flext_loads", "x'; --"), Position("flext_loads", "x'; --")
    assert old.take_over(first) == 0
    old.advance(first, 0, 10)
    first.commit()
    assert old.settled(first) == 10
    assert new.take_over(second) == 10
    for ended in (lambda: old.advance(first, 10, 20), lambda: old.settled(first)):
        with pytest.raises(DatabaseError, match="begun anew elsewhere"):
            ended()
        first.rollback()
    new.advance(second, 10, 15)
    second.commit()
    assert new.look_up(first) == 15
    new.forget(first)
    first.commit()
    assert new.look_up(first) is None
    with pytest.raises(DatabaseError, match="or forgotten"):
        new.advance(second, 15, 20)
    second.rollback()


@pytest.mark.parametrize("open_session", ["postgresql"], indirect=True)
def test_merge_changes_and_inserts(open_session: Callable[[], Elsewhere]) -> None:
    session: Any = open_session()
    session.execute("CREATE OR REPLACE VIEW dual AS SELECT 'X' AS dummy")
    text = merging(session.dialect, "people", ("name",), ("name",), (None,))
    assert text.startswith("MERGE INTO people t")
    session.execute("CREATE TABLE pairs (a varchar(9) primary key, b varchar(9))")
    text = merging(session.dialect, "pairs", ("a", "b"), ("a",), (None, None))
    for rows in ([("x", "1"), ("y", "2")], [("y", "3"), ("z", None)]):
        session.execute_many(text, rows, ())
    found = [tuple(row) for row in session.execute("SELECT a, b FROM pairs ORDER BY a")]
    assert found == [("x", "1"), ("y", "3"), ("z", None)]
    session.rollback()


# of any length

MILLION = """
import asyncio, resource
from flext_plugins_oracle.load import Loading, batches
from sqlalchemy.dialects import oracle

class Wire:
    dialect, rows = oracle.oracledb.dialect(), 0
    def describe(self, table): return {}
    def execute_good(self, text, rows, sizes):
        self.rows += len(rows)
        return [(0, "ORA-00001", "twice")]

async def main():
    wire, loading = Wire(), Loading("t", "report", None)
    records = ({"id": n, "name": f"name {n}", "n": n / 2} for n in range(1_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async for batch in batches(records, 1000, 0):
        loading.count(len(batch), loading.insert(wire, batch))
    report = loading.report
    print(report.loaded, report.refused, wire.rows,
          (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)

asyncio.run(main())
"""


@pytest.mark.once
def test_a_million_records_need_no_more_memory_than_a_thousand() -> None:
    told = subprocess.run(
        [sys.executable, "-c", MILLION], capture_output=True, text=True, check=True, timeout=120
    )
    loaded, refused, rows, mebibytes = map(int, told.stdout.split())
    assert (loaded, refused, rows) == (999_000, 1000, 1_000_000)
    assert mebibytes <= 50
