"""Loads: every good row is there once, every bad one is told, whatever ends the load."""

import gc
import math
import random
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_devstack import OracleCompatibleServer
from flext_plugins_oracle import DatabaseError, LoadReport, OutcomeUnknown, RowRefused
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from packets import COMMIT
from relay import Relay

from flext_plugins.testing import World

Ask = Callable[..., Any]
Table = Callable[[str], str]
Relays = Callable[[OracleCompatibleServer], Relay]
COLUMNS = "id number(9) primary key, name varchar2(5) not null, n number(5,2), at date"
in_threads = pytest.mark.parametrize("world", ["httpx sync"], indirect=True)
"""For what a world makes no difference to."""
SECRET = "CANARY"
"""Part of every value that is refused."""


def people(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": number, "name": "x"} for number in numbers]


def ids(db: Any, table: str) -> list[int]:
    return [row[0] for row in db.rows(f"select id from {table} order by id")]


# what becomes of each record

GOOD: dict[str, Callable[[int, str], Any]] = {
    "plain": lambda key, name: {"id": key, "name": name},
    "other order": lambda key, name: {"name": name, "id": key},
    "other case": lambda key, name: {"ID": key, "Name": name},
    "key as text": lambda key, name: {"id": str(key), "name": name},
    "key as Decimal": lambda key, name: {"id": Decimal(key), "name": name},
    "key as float": lambda key, name: {"id": float(key), "name": name},
    "more columns": lambda key, name: {"id": key, "name": name, "n": 1.5},
    "number as text": lambda key, name: {"id": key, "name": name, "n": "2.25"},
    "number as bool": lambda key, name: {"id": key, "name": name, "n": True},
    "date as text": lambda key, name: {"id": key, "name": name, "at": "2026-11-30T01:02:03"},
    "date": lambda key, name: {"id": key, "name": name, "at": datetime.fromisoformat("2026-11-30")},
    "no date": lambda key, name: {"id": key, "name": name, "at": None, "n": None},
}
BAD: dict[str, tuple[Callable[[int, str], Any], str | None]] = {
    "no name": (lambda key, _: {"id": key, "name": None}, "ORA-01400"),
    "name left out": (lambda key, _: {"id": key}, "ORA-01400"),
    "too long": (lambda key, _: {"id": key, "name": SECRET}, "ORA-12899"),
    "too large": (lambda key, name: {"id": key, "name": name, "n": 12345678}, "ORA-01438"),
    "no number": (lambda key, name: {"id": key, "name": name, "n": SECRET}, "ORA-01722"),
    "not a number": (lambda key, name: {"id": key, "name": name, "n": math.nan}, "DPY-4004"),
    "infinite": (lambda key, name: {"id": key, "name": name, "n": math.inf}, "DPY-4004"),
    "huge": (lambda key, name: {"id": key, "name": name, "n": 10**140}, "DPY-4003"),
    "half a character": (lambda key, _: {"id": key, "name": "\udc80"}, None),
    "an object": (lambda key, _: {"id": key, "name": object()}, "DPY-3002"),
    "nested": (lambda key, name: {"id": key, "name": name, "n": {SECRET: 1}}, "DPY-3002"),
    "unknown column": (lambda key, name: {"id": key, "name": name, "nosuch": 1}, "ORA-00904"),
    "no column": (lambda key, name: {"id": key, "name": name, "a; b": 1}, None),
    "column twice": (lambda key, name: {"id": key, "name": name, "ID": 1}, None),
    "number for a name": (lambda key, name: {"id": key, "name": name, 7: 1}, None),
    "empty": (lambda *_: {}, None),
    "no mapping": (lambda *_: [SECRET], None),
    "nothing": (lambda *_: None, None),
}


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    kinds=st.lists(
        st.tuples(st.sampled_from([*GOOD, *GOOD, *BAD]), st.integers(0, 30)), max_size=24
    ),
    size=st.integers(1, 9),
)
def test_the_table_holds_the_good_rows_and_each_bad_one_is_told(
    ask: Ask, table: Table, kinds: list[tuple[str, int]], size: int
) -> None:
    db, name = ask(), table(COLUMNS)
    records = [
        (GOOD.get(kind) or BAD[kind][0])(key, f"r{number}")
        for number, (kind, key) in enumerate(kinds, 1)
    ]
    report = db.load(name, iter(records), batch_size=size)
    told = {row.number: row for row in report.bad_rows}
    assert [*told] == sorted(told)
    kept = dict(db.rows(f"select name, id from {name}"))
    good = {f"r{number}": key for number, (_, key) in enumerate(kinds, 1) if number not in told}
    assert kept == good
    for number, (kind, key) in enumerate(kinds, 1):
        if kind in BAD:
            assert told[number].code == BAD[kind][1] or told[number].code == "ORA-00900"
        elif number in told:  # another one of this key was taken
            assert told[number].code == "ORA-00001"
            assert key in good.values()
    assert all(row.reason and SECRET not in row.reason for row in told.values())
    assert (report.loaded, report.refused) == (len(good), len(told))
    assert report.resume == len(kinds)


@in_threads
def test_a_bad_row_by_itself_is_told_and_one_among_others_loses_none(
    ask: Ask, table: Table
) -> None:
    db, name = ask(), table(COLUMNS)
    for first, make in zip(range(10, 1000, 10), BAD.values(), strict=False):
        bad = make[0](1, "x")
        alone = db.load(name, [bad])
        assert [row.number for row in alone.bad_rows] == [1]
        among = db.load(name, [*people(first, first + 1), bad, *people(first + 2)])
        assert [row.number for row in among.bad_rows] == [3]
        assert among.bad_rows[0].code == alone.bad_rows[0].code
    assert len(ids(db, name)) == 3 * len(BAD)


@in_threads
def test_bytes_for_a_number_are_a_bad_row(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    for records in ([{"id": b"1", "name": "x"}], [*people(2), {"id": b"1", "name": "x"}]):
        assert db.load(name, records).refused == 1
    assert ids(db, name) == [2]


@in_threads
def test_a_column_may_have_values_of_several_types(ask: Ask, table: Table) -> None:
    db, name = ask(), table("n number")
    values = [1, "2", 2.5, True, Decimal("3.25"), None, "4"]
    assert db.load(name, [{"n": value} for value in values]).bad_rows == ()
    found = sorted(row[0] for row in db.rows(f"select n from {name} where n is not null"))
    assert found == [1, 1, 2, 2.5, Decimal("3.25"), 4]


@in_threads
def test_all_rows_may_be_bad(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    report = db.load(name, [{"id": each, "name": None} for each in range(50)], batch_size=20)
    assert (report.loaded, report.refused, report.resume) == (0, 50, 50)
    report = db.load(name, [{"id": each, "name": object()} for each in range(50)], batch_size=20)
    assert [row.number for row in report.bad_rows] == [*range(1, 51)]


@in_threads
def test_a_thousand_bad_rows_are_kept_and_all_are_counted(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    report = db.load(name, ({} for _ in range(2500)))
    assert (report.refused, len(report.bad_rows), report.resume) == (2500, 1000, 2500)
    assert report.bad_rows[-1].number == 1000


@in_threads
def test_a_load_that_cannot_work_stops_at_once(ask: Ask) -> None:
    db, read = ask(), []

    def records() -> Iterator[dict[str, Any]]:
        for record in people(*range(1000)):
            read.append(record)
            yield record

    for on_error in ("report", "raise"):
        for size in (1, 10):
            read.clear()
            with pytest.raises(DatabaseError) as caught:
                db.load("no_such_table", records(), batch_size=size, on_error=on_error)
            assert (caught.value.code, len(read)) == ("ORA-00942", size)
            assert caught.value.report is not None
            assert caught.value.report.resume == 0


@in_threads
def test_no_records_are_no_rows(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    report = db.load(name, [])
    assert (report.loaded, report.refused, report.bad_rows, report.resume) == (0, 0, (), 0)


# the first bad row ends it


def test_with_raise_the_first_bad_row_ends_the_load(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    second = {"id": 9, "name": None}
    kinds = BAD.values() if not db.world.asynchronous else [BAD["too long"]]
    for make, _ in kinds:
        records = [*people(1, 2, 3, 4), make(5, "x"), second, *people(6)]
        with pytest.raises(RowRefused) as caught:
            db.load(name, records, batch_size=4, on_error="raise")
        error = caught.value
        assert error.row is not None
        assert error.report is not None
        assert error.row.number == 5
        assert error.code == error.row.code
        assert SECRET not in str(error)
        assert "record 5: " in str(error)
        assert (error.report.loaded, error.report.resume) == (4, 4)
        assert ids(db, name) == [1, 2, 3, 4]
        db.execute(f"delete from {name}")


@in_threads
def test_with_raise_the_first_is_told_though_a_later_one_is_found_sooner(
    ask: Ask, table: Table
) -> None:
    db, name = ask(), table(COLUMNS)
    records = [*people(1), {"id": 2, "name": None, "n": 1}, {"id": 3, "name": None}, 5]
    with pytest.raises(RowRefused) as caught:
        db.load(name, records, on_error="raise")
    assert caught.value.row is not None
    assert caught.value.row.number == 2


# where records come from


def test_a_generators_error_is_raised_as_it_is_and_what_is_committed_stays(
    ask: Ask, table: Table
) -> None:
    db, name = ask(), table(COLUMNS)

    def records() -> Iterator[dict[str, Any]]:
        yield from people(*range(25))
        raise LookupError("the file is torn")

    with pytest.raises(LookupError, match="the file is torn") as caught:
        db.load(name, records(), batch_size=10)
    assert caught.value.__notes__ == ["the load has come to record 20"]
    assert ids(db, name) == [*range(20)]


def test_an_event_loop_takes_records_as_they_come(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)

    async def records() -> AsyncIterator[dict[str, Any]]:
        for record in people(*range(25)):
            yield record

    if not db.world.asynchronous:
        pytest.skip("threads have no such iterators")
    assert db.load(name, records(), batch_size=10).loaded == 25


@in_threads
def test_progress_is_told_after_each_batch(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    told: list[LoadReport] = []
    records = [*people(1, 2), {}, *people(3, 4)]
    db.load(name, records, batch_size=2, on_progress=told.append)
    assert [(each.resume, each.loaded, each.refused) for each in told] == [
        (2, 2, 0),
        (4, 3, 1),
        (5, 4, 1),
    ]


@in_threads
@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": -1}, {"on_error": "ignore"},
                                   {"name": ""}, {"name": "n" * 129}])  # fmt: skip
def test_an_argument_that_means_nothing_is_refused(
    ask: Ask, table: Table, wrong: dict[str, Any]
) -> None:
    with pytest.raises(DatabaseError, match=next(iter(wrong))):
        ask().load(table(COLUMNS), people(1), **wrong)


@in_threads
def test_a_column_that_came_later_is_known_to_the_next_load(ask: Ask, table: Table) -> None:
    db, name = ask(), table("id number(9)")
    db.load(name, [{"id": 1}])
    db.execute(f"alter table {name} add born date")
    assert db.load(name, [{"id": 2, "born": "1990-05-06"}]).bad_rows == ()
    assert db.rows(f"select born from {name} where id = 2") == [
        (datetime.fromisoformat("1990-05-06"),)
    ]


@pytest.mark.slow
@in_threads
def test_memory_stays_as_it_is_after_the_first_batch(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    sizes: list[int] = []

    def note(_: LoadReport) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(pages * resource.getpagesize() // 2**20)

    report = db.load(name, people(*range(100_000)), on_error="raise", on_progress=note)
    assert (report.loaded, len(sizes)) == (100_000, 100)
    assert max(sizes) - sizes[0] <= 50


# loads that have a name


def test_a_named_load_goes_on_where_it_was(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    assert db.position(name) is None
    with pytest.raises(RowRefused):
        db.load(
            name,
            [*people(*range(25)), {}, *people(*range(26, 40))],
            batch_size=10,
            name=name,
            on_error="raise",
        )
    assert db.position(name) == 20
    report = db.load(name, people(*range(40)), batch_size=7, name=name)
    assert (report.loaded, report.resume, db.position(name)) == (20, 40, 40)
    assert ids(db, name) == [*range(40)]
    assert db.load(name, people(*range(40)), name=name).loaded == 0


@in_threads
def test_a_forgotten_load_begins_anew(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    db.load(name, people(1, 2), name=name)
    db.forget(name)
    db.forget("never begun")
    assert db.position(name) is None
    assert db.load(name, people(1, 2), name=name).refused == 2


@in_threads
def test_numbers_of_bad_rows_count_from_the_first_record_of_all(ask: Ask, table: Table) -> None:
    db, name = ask(), table(COLUMNS)
    db.load(name, people(1, 2, 3), name=name)
    report = db.load(name, [*people(1, 2, 3, 4), {}], name=name)
    assert [row.number for row in report.bad_rows] == [5]


@in_threads
def test_the_table_of_positions_may_have_any_name(ask: Ask, table: Table) -> None:
    name, place = table(COLUMNS), table("x number")
    for loads in (f"flext.{place}p", f'"Loads of {place}"'):
        db = ask(loads_table=loads)
        assert db.position(name) is None
        db.load(name, people(1), name=name)
        assert db.position(name) == 1
        db.forget(name)
        db.execute(f"drop table {loads}")


def test_a_load_that_is_begun_elsewhere_ends_here_and_no_row_is_there_twice(
    ask: Ask, table: Table
) -> None:
    db, name = ask(), table("id number(9), name varchar2(5)")
    begun = False

    def records() -> Iterator[dict[str, Any]]:
        nonlocal begun
        for number, record in enumerate(people(*range(100))):
            if number == 25 and not begun:
                begun = True
                elsewhere()
            yield record

    def elsewhere() -> None:
        with ThreadPoolExecutor(1) as pool, World("httpx sync") as world:
            load = ask(world=world).work(
                "load", name, people(*range(100)), batch_size=10, name=name
            )
            reports.append(pool.submit(load).result())

    reports: list[LoadReport] = []
    with pytest.raises(DatabaseError, match="begun anew elsewhere") as caught:
        db.load(name, records(), batch_size=10, name=name)
    assert caught.value.report is not None
    assert caught.value.report.resume == 20
    assert reports[0].loaded == 80
    assert ids(db, name) == [*range(100)]


# the network


def through(ask: Ask, relay: Relay, **more: Any) -> Any:
    return ask(port=relay.port, **more)


def at(number: int, act: Callable[[], None], count: int = 50) -> Iterator[dict[str, Any]]:
    """Records; before one of them something happens."""
    for record in people(*range(count)):
        if record["id"] == number:
            act()
        yield record


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_named_load_looks_up_the_batch_whose_commit_had_no_answer(
    ask: Ask, table: Table, database: OracleCompatibleServer, relay: Relays
) -> None:
    between, name = relay(database), table("id number(9), name varchar2(5) not null")
    db = through(ask, between)
    records = at(25, lambda: between.fail("cut", after=COMMIT))
    report = db.load(name, (each if each["id"] != 27 else {} for each in records),
                     batch_size=10, name=name)  # fmt: skip
    between.wait()
    assert (report.loaded, report.refused, report.resume) == (49, 1, 50)
    assert [row.number for row in report.bad_rows] == [28]
    assert ids(db, name) == [each for each in range(50) if each != 27]


@in_threads
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_named_load_does_the_batch_again_whose_commit_never_came(
    ask: Ask, table: Table, database: OracleCompatibleServer, relay: Relays
) -> None:
    between, name = relay(database), table("id number(9), name varchar2(5)")
    db = through(ask, between)
    records = at(25, lambda: between.fail("cut", before=COMMIT))
    assert db.load(name, records, batch_size=10, name=name).loaded == 50
    between.wait()
    assert ids(db, name) == [*range(50)]


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_without_a_name_a_lost_answer_is_an_unknown_outcome(
    ask: Ask, table: Table, database: OracleCompatibleServer, relay: Relays
) -> None:
    between, name = relay(database), table("id number(9), name varchar2(5)")
    db = through(ask, between, plugins={"retry": {}})
    with pytest.raises(OutcomeUnknown) as caught:
        db.load(name, at(25, lambda: between.fail("cut", after=COMMIT)), batch_size=10)
    assert caught.value.report is not None
    assert (caught.value.report.loaded, caught.value.report.resume) == (20, 20)
    assert ids(db, name) == [*range(30)]


@in_threads
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_with_retry_a_batch_that_was_cut_is_done_again_and_no_row_is_there_twice(
    ask: Ask, table: Table, database: OracleCompatibleServer, relay: Relays
) -> None:
    between, name = relay(database), table("id number(9), name varchar2(5)")
    db = through(ask, between, plugins={"retry": {}})
    records = at(25, lambda: between.fail("cut", sent=random.Random(4).randrange(900)))
    assert db.load(name, records, batch_size=10, name=name).loaded == 50
    between.wait()
    assert ids(db, name) == [*range(50)]
    gc.collect()
