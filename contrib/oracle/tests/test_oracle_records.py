"""Records and rows: inserted, merged, fetched, in rows and in tables of Apache Arrow."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest
from flext_plugins_devstack import OracleCompatibleServer
from flext_plugins_oracle import ConstraintViolated, DatabaseError
from sqlalchemy import Integer, String, column, delete, func, insert, select, update
from sqlalchemy import table as table_clause

Ask = Callable[..., Any]
Table = Callable[[str], str]
COLUMNS = "id number(9) primary key, name varchar2(100), n number(10,2), at date, c clob, b blob"
in_threads = pytest.mark.parametrize("world", ["httpx sync"], indirect=True)
"""For what a world makes no difference to."""


# what goes in comes out


@in_threads
def test_values_come_back_as_they_were(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    record = {
        "id": 1,
        "name": "Ünïcode \U0001f600 'quoted' :bound",
        "n": Decimal("12345678.91"),
        "at": datetime.fromisoformat("2026-11-30T01:02:03"),
        "c": "long" * 10000,
        "b": bytes(range(256)) * 10,
    }
    db.insert_record(name, record)
    (row,) = db.fetch(f"select * from {name}")
    assert row._asdict() == record
    assert (type(row.id), type(row.n)) == (int, Decimal)


@in_threads
def test_what_is_not_said_is_null(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    db.insert_records(name, [{"id": 1}, {"id": 2, "name": None, "c": None, "b": None}])
    assert db.rows(f"select * from {name} order by id") == [
        (1, None, None, None, None, None),
        (2, None, None, None, None, None),
    ]


@in_threads
def test_texts_that_say_a_date_are_dates_in_utc_where_they_say_a_zone(
    ask: Ask, table: Table
) -> None:
    db, name = ask(), table(COLUMNS)
    given = ["2026-11-30", "2026-11-30T01:02:03", "2026-11-30T01:02:03Z",
             "2026-11-30T01:02:03+02:00",
             datetime(2026, 11, 30, 1, tzinfo=timezone(timedelta(hours=2)))]  # fmt: skip
    db.insert_records(name, [{"id": place, "at": each} for place, each in enumerate(given)])
    assert [row[0] for row in db.rows(f"select at from {name} order by id")] == [
        datetime.fromisoformat("2026-11-30"),
        datetime.fromisoformat("2026-11-30T01:02:03"),
        datetime.fromisoformat("2026-11-30T01:02:03"),
        datetime.fromisoformat("2026-11-29T23:02:03"),
        datetime.fromisoformat("2026-11-29T23:00:00"),
    ]


@in_threads
def test_a_time_keeps_its_fraction_of_a_second(ask: Ask, table: Table) -> None:
    db, name = ask(), table("id number(9) primary key, at timestamp")
    at = datetime.fromisoformat("2026-11-30T01:02:03.123456")
    db.insert_record(name, {"id": 1, "at": at})
    db.upsert(name, [{"id": 2, "at": at.isoformat()}])
    db.load(name, [{"id": 3, "at": at.isoformat()}, {"id": 4, "at": None}])
    db.execute(f"insert into {name} values (:id, :at)", {"id": 5, "at": at})
    assert db.rows(f"select at from {name} order by id") == [(at,), (at,), (at,), (None,), (at,)]
    found = db.fetch(f"select id from {name} where at = :at and id = 1", {"at": at})
    assert [row.id for row in found] == [1]


def test_a_time_beyond_the_last_year_is_for_the_database_to_refuse(ask: Ask, table: Table) -> None:
    db, name = ask(), table("id number(9), at date")
    late = ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+01:00"]
    rows = [{"id": place, "at": each} for place, each in enumerate([*late, "2026-11-30"])]
    report = db.load(name, rows)
    assert report.loaded + report.refused == 3
    assert db.rows(f"select at from {name} where id = 2") == [
        (datetime.fromisoformat("2026-11-30"),)
    ]


@in_threads
def test_of_records_that_cannot_all_be_rows_none_is_kept_in_a_transaction(
    ask: Ask, table: Table
) -> None:
    db, name = ask(), table("id number(9) primary key, a number(9)")

    def spoil(transaction: Any) -> None:
        with pytest.raises(DatabaseError, match="id"):
            transaction.upsert(name, [{"id": 1, "a": 1}, {"a": 2}])

    db.together(spoil)
    assert db.rows(f"select * from {name}") == []


@in_threads
def test_what_is_nested_is_json(ask: Ask, table: Table) -> None:
    db, name = ask(), table("id number(9), j json, c clob, v varchar2(50)")
    nested = {"a": [1, {"b": None}]}
    db.insert_record(name, {"id": 1, "j": nested, "c": nested, "v": [1, "x"]})
    (row,) = db.fetch(f"select * from {name}")
    assert row.j == nested
    assert (row.c, row.v) == ('{"a": [1, {"b": null}]}', '[1, "x"]')
    with pytest.raises(DatabaseError):
        db.insert_record(name, {"id": 2, "v": [float("nan")]})


@in_threads
def test_names_may_be_in_any_case_and_have_a_schema(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    db.insert_record(name.upper(), {"ID": 1, "Name": "a"})
    db.insert_record(f"flext.{name}", {"id": 2})
    assert db.load(f"FLEXT.{name}", [{"id": 3}]).loaded == 1
    assert db.upsert(f"flext.{name}", [{"ID": 1, "name": "b"}], ["id"]) == 1
    assert db.rows(f"select id, name from {name} order by id") == [(1, "b"), (2, None), (3, None)]


@in_threads
def test_reserved_words_and_exact_names_stand_in_double_quotes(ask: Ask, table: Table) -> None:
    place = table("x number")
    db, name = ask(), f'"Odd {place}"'
    db.execute(f'create table {name} ("select" number, "a:b ;--" number, "Ü" varchar2(9))')
    try:
        record = {'"select"': 1, '"a:b ;--"': 2, '"Ü"': "x"}
        db.insert_record(name, record)
        assert db.load(name, [record]).loaded == 1
        assert db.upsert(name, [{**record, '"Ü"': "y"}], ['"select"']) >= 1
        assert {*db.rows(f"select * from {name}")} == {(1, 2, "y")}
    finally:
        db.execute(f"drop table {name}")


def test_records_are_inserted_all_or_none(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    assert db.insert_records(name, ({"id": each} for each in range(3))) == 3
    with pytest.raises(ConstraintViolated) as caught:
        db.insert_records(name, [{"id": 7}, {"id": 8, "name": "x"}, {"id": 1}])
    assert caught.value.code == "ORA-00001"
    assert [row[0] for row in db.rows(f"select id from {name} order by id")] == [0, 1, 2]
    assert db.insert_records(name, []) == 0


def test_in_a_transaction_records_that_failed_leave_what_was_done_before(
    ask: Ask, table: Table
) -> None:
    db, name = ask(), table(COLUMNS)
    wrong = [{"id": 5}, {"id": 6}, {"id": 5}]

    def work(transaction: Any) -> None:
        with pytest.raises(ConstraintViolated):
            transaction.insert_records(name, wrong)
        transaction.insert_record(name, {"id": 1})
        with pytest.raises(ConstraintViolated):
            transaction.insert_records(name, wrong)

    async def awork(transaction: Any) -> None:
        with pytest.raises(ConstraintViolated):
            await transaction.insert_records(name, wrong)
        await transaction.insert_record(name, {"id": 1})
        with pytest.raises(ConstraintViolated):
            await transaction.insert_records(name, wrong)

    db.together(awork if db.world.asynchronous else work)
    assert db.rows(f"select id from {name}") == [(1,)]


# upsert


def test_upsert_changes_what_exists_and_inserts_what_does_not(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    db.insert_records(name, [{"id": 1, "name": "a", "n": 5}, {"id": 2, "name": "b"}])
    assert (
        db.upsert(name, [{"id": 2, "name": None}, {"id": 3, "name": "c"}, {"id": 3, "n": 4}]) == 3
    )
    assert db.rows(f"select id, name, n from {name} order by id") == [
        (1, "a", 5),
        (2, None, None),
        (3, "c", 4),
    ]


@in_threads
def test_upsert_takes_several_keys_and_records_of_keys_alone(ask: Ask, table: Table) -> None:
    db, name = ask(), table("a number, b varchar2(9), v number, primary key (a, b)")
    db.upsert(name, [{"a": 1, "b": "x", "v": 1}, {"a": 1, "b": "y", "v": 2}], ["a", "B"])
    db.upsert(
        name, [{"b": "y", "a": 1, "v": 3}, {"a": 1, "b": "x"}, {"a": 2, "b": "x"}], ["a", "b"]
    )
    assert db.rows(f"select a, b, v from {name} order by a, b") == [
        (1, "x", 1),
        (1, "y", 3),
        (2, "x", None),
    ]


@in_threads
@pytest.mark.parametrize(
    ("record", "keys", "problem"),
    [
        ({"name": "x"}, ["id"], "has no id, which is among its keys"),
        ({"id": 1, "name": "x"}, ["id", "n"], "has no n, which is among its keys"),
        ({"id": 1}, [], "needs keys"),
        ({"id": 1}, ["a b"], "is no name"),
        ({}, ["id"], "record 1: it is no mapping"),
    ],
)
def test_upsert_needs_its_keys(
    ask: Ask, table: Table, record: dict[str, Any], keys: list[str], problem: str
) -> None:
    db, name = ask(), table(COLUMNS)
    with pytest.raises(DatabaseError, match=problem):
        db.upsert(name, [record], keys)
    assert db.rows(f"select * from {name}") == []


@in_threads
@pytest.mark.parametrize("length", [3999, 4001, 32768, 200_000])
def test_large_objects_are_inserted_loaded_and_merged(ask: Ask, table: Table, length: int) -> None:
    db, name = ask(), table(COLUMNS)
    text, data = "ü" * length, b"\x00\xff" * (length // 2)
    db.insert_record(name, {"id": 1, "c": text, "b": data})
    db.load(name, [{"id": 2, "c": text, "b": data}], on_error="raise")
    for _ in range(2):
        db.upsert(name, [{"id": 3, "c": text, "b": data}])
        db.upsert(name, [{"id": 4, "c": None, "b": None}])
    found = db.rows(f"select c, b from {name} order by id")
    assert found == [(text, data)] * 3 + [(None, None)]


def test_two_may_upsert_the_same_new_key_at_once(
    ask: Ask, table: Table, database: OracleCompatibleServer
) -> None:
    db, name = ask(), table("id number(9) primary key, name varchar2(9)")
    for key in range(10):
        works = [db.work("upsert", name, [{"id": key, "name": f"n{each}"}]) for each in range(4)]
        assert db.world.all(works) == [1, 1, 1, 1]
    assert [row[0] for row in db.rows(f"select id from {name} order by id")] == [*range(10)]


@in_threads
def test_upsert_takes_texts_and_nothing_for_numbers_and_dates(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    db.upsert(
        name, [{"id": "1", "n": "2.25", "at": "2026-11-30"}, {"id": "2", "n": None, "at": None}]
    )
    db.upsert(name, [{"id": 1, "n": 0.5, "at": None}, {"id": 2, "n": Decimal("0.01"), "at": None}])
    assert db.rows(f"select id, n, at from {name} order by id") == [
        (1, Decimal("0.5"), None),
        (2, Decimal("0.01"), None),
    ]


@in_threads
def test_another_key_that_exists_is_an_error_of_upsert(ask: Ask, table: Table) -> None:
    db, name = ask(), table("id number(9) primary key, name varchar2(9) unique")
    db.upsert(name, [{"id": 1, "name": "a"}])
    with pytest.raises(ConstraintViolated):
        db.upsert(name, [{"id": 2, "name": "b"}, {"id": 3, "name": "a"}])
    assert db.rows(f"select id, name from {name}") == [(1, "a")]


# fetch


@pytest.mark.parametrize("size", [1, 3, 10, 11])
def test_rows_come_in_batches_of_any_size(ask: Ask, table: Table, size: int) -> None:
    db, name = ask(), table("id number(9)")
    db.insert_records(name, [{"id": each} for each in range(10)])
    found = db.fetch(f"select id from {name} where id >= :least order by id", {"least": 0},
                     batch_size=size)  # fmt: skip
    assert [row.id for row in found] == [*range(10)]
    assert db.fetch(f"select id from {name} where id > 10") == []


def test_who_stops_reading_gives_the_session_back(ask: Ask, table: Table) -> None:
    db, name = ask(pool_max=1), table("id number(9)")
    db.insert_records(name, [{"id": each} for each in range(100)])
    statement = f"select id from {name} order by id"
    if db.world.asynchronous:
        database = db.database

        async def some() -> list[int]:
            rows: AsyncIterator[Any] = database.fetch(statement, batch_size=2)
            found = [(await anext(rows)).id, (await anext(rows)).id, (await anext(rows)).id]
            await rows.aclose()  # type: ignore[attr-defined]
            return found

        assert db.world.run(some) == [0, 1, 2]
    else:
        rows: Iterator[Any] = db.database.fetch(statement, batch_size=2)
        assert [row.id for row in islice(rows, 3)] == [0, 1, 2]
        rows.close()  # type: ignore[attr-defined]
    usage = db.health().pool
    assert (usage.in_use, usage.idle) == (0, 1)


@in_threads
def test_a_statement_without_rows_cannot_be_fetched(ask: Ask, table: Table) -> None:
    db, name = ask(), table("id number(9)")
    with pytest.raises(DatabaseError, match="does not return rows"):
        db.fetch(f"insert into {name} values (1)")
    assert db.rows(f"select * from {name}") == []


@pytest.mark.parametrize("size", [0, -1, None, "2"])
@in_threads
def test_a_batch_has_a_size(ask: Ask, size: Any) -> None:
    for method in ("fetch", "fetch_arrow"):
        with pytest.raises(DatabaseError, match="batch_size"):
            getattr(ask(), method)("select 1 from dual", batch_size=size)


@in_threads
def test_a_colon_in_a_literal_or_a_comment_binds_nothing(ask: Ask) -> None:
    statement = "select ':no' a, :yes b, '100%s {0}' c from dual -- :neither"
    assert ask().rows("select ':no' a, '%(x)s' b from dual") == [(":no", "%(x)s")]
    (row,) = ask().fetch(statement, {"yes": ":x'"})
    assert tuple(row) == (":no", ":x'", "100%s {0}")


@in_threads
def test_statements_may_be_sqlalchemys(ask: Ask, table: Table) -> None:
    db, name = ask(), table("id number(9) primary key, name varchar2(9)")
    it = table_clause(name, column("id", Integer), column("name", String))
    assert db.execute(insert(it).values(id=1, name="a")) == 1
    assert db.execute(insert(it), {"id": 2, "name": "b"}) == 1
    assert db.execute(update(it).where(it.c.id.in_([1, 2])).values(name=it.c.name + "!")) == 2
    assert db.fetch(select(it.c.name).where(it.c.id == 2)) == [("b!",)]
    assert db.fetch(select(func.count()).select_from(it)) == [(2,)]
    assert db.execute(delete(it).where(it.c.id.in_([1, 5]))) == 1

    def work(transaction: Any) -> None:
        returning = insert(it).values(id=7, name="c").returning(it.c.id, it.c.name)
        assert [tuple(row) for row in transaction.fetch(returning)] == [(7, "c")]

    db.together(work)
    assert db.rows(f"select id from {name} order by id") == [(2,), (7,)]


# Apache Arrow


@pytest.mark.once
def test_tables_of_arrow_have_the_batches_size_and_exact_decimals(ask: Ask, table: Table) -> None:
    pa = pytest.importorskip("pyarrow")
    db, name = ask(), table(COLUMNS)
    db.insert_records(
        name, [{"id": each, "n": Decimal("0.1") + each, "name": "x"} for each in range(10)]
    )
    tables = db.fetch_arrow(
        f"select id, n, name, at from {name} where id < :most order by id",
        {"most": 10},
        batch_size=4,
    )
    assert [each.num_rows for each in tables] == [4, 4, 2]
    whole = pa.concat_tables(tables)
    assert whole.column("N").to_pylist() == [Decimal("0.10") + each for each in range(10)]
    assert pa.types.is_decimal(whole.schema.field("N").type)
    it = table_clause(name, column("id"))
    found = db.fetch_arrow(select(it.c.id).where(it.c.id.in_([1, 3, 11])).order_by(it.c.id))
    assert [value.as_py() for each in found for value in each.column(0)] == [1, 3]


@pytest.mark.once
@in_threads
def test_an_empty_result_has_no_rows_in_arrow(ask: Ask, table: Table) -> None:
    pytest.importorskip("pyarrow")
    db, name = ask(), table(COLUMNS)
    tables = db.fetch_arrow(f"select id, name from {name}")
    assert [each.num_rows for each in tables] == [0]
    assert tables[0].column_names == ["ID", "NAME"]


@in_threads
def test_what_arrow_needs_is_named_where_it_is_missing(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DatabaseError, match="needs pyarrow: the extra arrow brings it"):
        ask().fetch_arrow("select 1 from dual")
