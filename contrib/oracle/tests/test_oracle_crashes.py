"""Named loads of processes that are killed, or that are two at once."""

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from typing import Any

import pytest
from driver import connect
from flext_plugins_devstack import OracleCompatibleServer
from loader import is_good, load

Table = Callable[[str], str]


@pytest.fixture(scope="module")
def processes() -> Iterator[Any]:
    """Forks processes that have imported what a load needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["loader"])
    yield context
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def settings_of(database: OracleCompatibleServer) -> dict[str, Any]:
    return database.settings(timeout=60, connect_timeout=60)


def state(database: OracleCompatibleServer, table: str) -> tuple[int, list[int]]:
    """The position and the rows, of one moment."""
    with connect(database) as connection:
        query = (
            f"select p.position, t.id from flext_loads p left join {table} t on 1 = 1"
            " where p.name = :name order by t.id"
        )
        found = connection.cursor().execute(query, [table]).fetchall()
    return (int(found[0][0]) if found else 0), [row[1] for row in found if row[1] is not None]


@pytest.mark.parametrize(
    "kills", [pytest.param(3, marks=pytest.mark.once), pytest.param(20, marks=pytest.mark.slow)]
)
def test_after_a_kill_the_table_holds_what_the_position_says_and_the_load_goes_on(
    database: OracleCompatibleServer, table: Table, processes: Any, kills: int
) -> None:
    total = 150 * kills
    name, chance = table("id number(9), name varchar2(9) not null"), random.Random(7)
    reached = []
    for _ in range(kills):
        is_under_way = processes.Event()
        size = chance.choice([5, 10, 20, 30])
        process = processes.Process(
            target=load, args=(settings_of(database), name, total, size, is_under_way)
        )
        process.start()
        assert is_under_way.wait(60)
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        process.join(60)
        position, rows = state(database, name)
        assert rows == [number for number in range(1, position + 1) if is_good(number)]
        reached.append(position)
    assert reached == sorted(reached)
    assert 0 < reached[0] < reached[-1]
    load(settings_of(database), name, total, 500, processes.Event())
    assert state(database, name) == (total, [*filter(is_good, range(1, total + 1))])


@pytest.mark.once
def test_of_two_processes_with_one_load_one_goes_on_and_the_other_is_told(
    database: OracleCompatibleServer, table: Table, processes: Any
) -> None:
    total = 2000  # enough for the second to begin while the first is at it
    name, told = table("id number(9), name varchar2(9) not null"), processes.Queue()
    is_under_way = processes.Event()
    arguments = (settings_of(database), name, total, 20, is_under_way, told)
    both = [processes.Process(target=load, args=arguments) for _ in range(2)]
    both[0].start()
    assert is_under_way.wait(60)
    both[1].start()
    ends = [told.get(timeout=60), told.get(timeout=60)]
    for process in both:
        process.join(60)
    assert total in ends
    assert any("begun anew elsewhere" in str(each) for each in ends)
    assert state(database, name)[1] == [*filter(is_good, range(1, total + 1))]
