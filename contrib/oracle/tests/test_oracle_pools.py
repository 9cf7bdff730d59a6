"""How many sessions there are, who has them, and that each comes back."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from flext_plugins_oracle import AsyncOracleDatabase, DatabaseError, DatabaseUnavailable, pool, wire
from lent import Leftovers, wait_until

from flext_plugins import DeadlineExceeded, Failure, Host, Refused, events, hookimpl, options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flext_plugins_devstack import OracleCompatibleServer
    from lent import Lent

    from flext_plugins.testing import World

ONE = "select 1 from dual"
NUMBERS = "select level n from dual connect by level <= 100"


@pytest.fixture
def numbers(table: Any) -> str:
    """A table of them."""
    name: str = table("id number(10)")
    return name


def hold_together(lent: Lent, count: int) -> None:
    """Hold so many sessions at once."""
    ready = [0]

    async def held() -> None:
        async with lent.transaction() as transaction:
            await transaction.fetch(ONE)
            ready[0] += 1
            while ready[0] < count:
                await lent.world.sleep(0.01)

    assert lent.world.all([held] * count) == [None] * count


# how many


def test_so_many_stay_open_as_pool_min_says(lend: Any, relay: Any, database: Any) -> None:
    between = relay(database)
    lent = lend(port=between.port, pool_min=3, pool_max=5)
    assert lent.usage == (0, 3)
    hold_together(lent, 5)
    assert (lent.usage, between.count) == ((0, 5), 5)


def test_so_many_are_opened_at_once_as_pool_increment_says(
    lend: Any, relay: Any, database: Any
) -> None:
    between = relay(database)
    lent = lend(port=between.port, pool_min=0, pool_max=5, pool_increment=2)
    assert lent.usage == (0, 2)
    hold_together(lent, 2)
    assert lent.usage == (0, 2)
    hold_together(lent, 3)
    assert lent.usage[0] == 0
    assert lent.usage[1] in (3, 4)
    hold_together(lent, 5)
    assert lent.usage == (0, 5)


def test_there_are_never_more_than_pool_max(lend: Any, relay: Any, database: Any) -> None:
    between = relay(database)
    lent = lend(port=between.port, pool_min=0, pool_max=3, pool_increment=3)
    between.cut()
    assert (
        lent.world.all([lambda: lent.fetch(NUMBERS)] * 24) == [[(n + 1,) for n in range(100)]] * 24
    )
    assert between.open <= 3
    assert lent.usage[0] == 0


def test_sessions_that_cannot_be_opened_in_advance_are_no_matter(
    lend: Any, relay: Any, database: Any
) -> None:
    between = relay(database)
    lent = lend(port=between.port, pool_min=0)
    between.cut()
    wait_until(lambda: between.open == 0)
    lent = lend(port=between.port, pool_min=4)
    assert lent.usage == (0, 4)


def test_idle_sessions_are_closed_down_to_pool_min_and_those_are_pinged(
    lend: Any, relay: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = relay(database)
    lent = lend(port=between.port, pool_min=2, pool_max=5)
    hold_together(lent, 5)
    assert lent.usage == (0, 5)
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.1)
    time.sleep(0.2)
    assert lent.world.run(lambda: lent.fetch(ONE)) == [(1,)]
    wait_until(lambda: lent.usage == (0, 2))
    wait_until(lambda: between.open == 2)
    time.sleep(0.2)
    opened = between.count
    between.silence()
    try:
        started = time.monotonic()
        assert lent.world.run(lambda: lent.fetch(ONE)) == [(1,)]
        assert time.monotonic() - started < 5
        assert between.count > opened
    finally:
        between.thaw()


def test_a_watch_that_stands_still_keeps_nobody_from_ending(monkeypatch: Any) -> None:
    """As it does once the interpreter ends, whatever it holds, while the collector closes pools."""
    monkeypatch.setattr(wire, "LOOKS", 0.05)
    watch, is_held, go_on = wire.Watch(), threading.Event(), threading.Event()
    with watch.until(wire.Wire(), time.monotonic() + 60):
        pass  # its thread waits now

    def stand_still() -> None:
        with watch._condition:
            is_held.set()
            go_on.wait(20)

    standing = threading.Thread(target=stand_still)
    standing.start()
    assert is_held.wait(20)
    closing = threading.Thread(target=watch.close)
    closing.start()
    closing.join(2)
    assert not closing.is_alive()
    go_on.set()
    standing.join()
    wait_until(lambda: watch._thread is None)  # it was not told, and looked by itself


def test_a_pool_that_stays_busy_is_told(lend: Any, database: Any) -> None:
    lent = lend(pool_max=1, service={"timeout": {"pool": 0.1}})

    async def ask() -> None:
        async with lent.transaction() as transaction:
            await transaction.fetch(ONE)
            with pytest.raises(DatabaseUnavailable, match="all 1 sessions are busy") as caught:
                await lent.fetch(ONE)
            assert caught.value.failure is Failure.POOL
        assert await lent.fetch(ONE) == [(1,)]

    lent.world.run(ask)


# who is told


class Hears:
    """Keeps what it is told of pools."""

    told: list[events.PoolChanged] = []

    @hookimpl
    def flext_event(self, event: object) -> None:
        if isinstance(event, events.PoolChanged):
            self.told.append(event)


def test_changes_are_told_and_the_last_one_is_how_it_is(
    lend: Any, database: OracleCompatibleServer
) -> None:
    Hears.told = []
    lent = lend(register={"hears": Hears}, pool_max=2)
    lent.world.all([lambda: lent.fetch(ONE)] * 8)
    told = Hears.told
    assert {(each.system, each.target, each.limit) for each in told} == {
        ("oracle", database.target, 2)
    }
    assert max(each.in_use for each in told) <= 2
    assert max(each.waiting for each in told) > 0
    assert (told[-1].in_use, told[-1].waiting) == (0, 0)
    assert told[-1].idle == lent.usage[1]
    lent.world.close(lent.host)
    assert told[-1] == events.PoolChanged("oracle", database.target, 0, 0, 0, 0)


# who has them


def test_two_at_once_in_a_transaction_get_a_clear_error(lend: Any, numbers: str) -> None:
    lent = lend(pool_max=1)
    insert = f"insert into {numbers} (id) values (1)"

    async def ask() -> None:
        async with lent.transaction() as transaction:
            await transaction.execute(insert)

            async def one() -> Any:
                try:
                    for _ in range(50):
                        await transaction.execute(insert)
                except DatabaseError as error:
                    return str(error)

            if lent.world.asynchronous:
                found = await asyncio.gather(*[one() for _ in range(4)])
            else:
                found = lent.world.all([one] * 4)
            told = [each for each in found if each]
            assert told
            assert all("one thread or task at a time may use a transaction" in e for e in told)
            await transaction.execute(insert)

    lent.world.run(ask)
    assert lent.usage == (0, 1)


def test_what_is_uncommitted_stays_so_when_a_transaction_ends_while_it_is_used(
    lend: Any, numbers: str, relay: Any, database: Any
) -> None:
    """Whoever has the session next would commit it."""
    between = relay(database)
    lent = lend(port=between.port, pool_max=1)
    insert = f"insert into {numbers} (id) values (1)"
    others: list[Any] = []

    async def ask() -> None:
        with suppress(ZeroDivisionError):
            async with lent.transaction() as transaction:
                await transaction.execute(insert)
                between.freeze()
                if lent.world.asynchronous:
                    others.append(asyncio.ensure_future(transaction.execute(insert)))
                    await asyncio.sleep(0.1)
                else:
                    plain = transaction.plain
                    others.append(threading.Thread(target=lambda: plain.execute(insert)))
                    others[0].start()
                    await lent.world.sleep(0.1)
                threading.Timer(0.1, between.thaw).start()
                raise ZeroDivisionError
        if lent.world.asynchronous:
            await asyncio.wait(others)
        else:
            others[0].join()
        assert await lent.execute(f"insert into {numbers} (id) values (2)") == 1
        assert await lent.fetch(f"select id from {numbers}") == [(2,)]

    lent.world.run(ask)
    wait_until(lambda: lent.usage[0] == 0)


@pytest.mark.parametrize("what", ["transaction", "rows"])
def test_what_nobody_ends_comes_back(lend: Any, numbers: str, what: str) -> None:
    lent = lend(pool_max=1, service={"timeout": {"pool": 10.0}})

    async def leave() -> Any:
        if what == "rows":
            rows = lent.plain.fetch(NUMBERS, batch_size=10)
            await anext(rows) if lent.world.asynchronous else next(rows)
            return rows
        context = lent.plain.transaction()
        if lent.world.asynchronous:
            plain = await context.__aenter__()
            await plain.execute(f"insert into {numbers} (id) values (1)")
        else:
            plain = context.__enter__()
            plain.execute(f"insert into {numbers} (id) values (1)")
        return context

    async def ask() -> None:
        for _ in range(3):
            left = await leave()
            assert lent.usage[0] == 1
            del left
            gc.collect()
            assert await lent.fetch(f"select * from {numbers}") == []

    lent.world.run(ask)
    wait_until(lambda: lent.usage[0] == 0)


def test_what_a_closed_loop_held_comes_back(database: OracleCompatibleServer, numbers: str) -> None:
    """In another loop, whose callers stand in the same line."""
    tables = {"oracle": database.settings(pool_max=1)}
    service = {"plugins": tables, "timeout": {"pool": 10.0}}
    host = Host({"services": {"service": service}, "allow_inline_secrets": True})

    async def held() -> Any:
        lent = await host.aresource("service", AsyncOracleDatabase)
        context = lent.transaction()
        transaction = await context.__aenter__()
        await transaction.execute(f"insert into {numbers} (id) values (1)")
        return context

    async def ask() -> list[Any]:
        lent = await host.aresource("service", AsyncOracleDatabase)
        return [each async for each in lent.fetch(f"select * from {numbers}")]

    loop = asyncio.new_event_loop()
    left = loop.run_until_complete(held())
    loop.close()
    assert asyncio.run(ask()) == []
    del left
    host.close()
    gc.collect()
    wait_until(lambda: database.sessions == 0)


def test_a_deadline_that_passes_within_a_transaction_leaves_nothing(
    lend: Any, numbers: str
) -> None:
    """The commit is not even sent."""
    lent = lend(pool_max=1)

    async def ask() -> None:
        with pytest.raises(DeadlineExceeded), options(deadline=1.0):
            async with lent.transaction() as transaction:
                await transaction.execute(f"insert into {numbers} (id) values (1)")
                await lent.world.sleep(1.1)
        wait_until(lambda: lent.usage[0] == 0)
        assert await lent.fetch(f"select * from {numbers}") == []

    lent.world.run(ask)


def test_closing_the_host_in_mid_use_ends_it(
    lend: Any, world: World, database: OracleCompatibleServer, relay: Any, numbers: str
) -> None:
    between = relay(database)
    before = Leftovers(world, database)
    lent = lend(port=between.port, pool_max=2, timeout=2.0)
    ended = threading.Event()

    async def use() -> Any:
        with pytest.raises((Refused, DatabaseError)):
            while True:
                await lent.fetch(NUMBERS, batch_size=10)
        ended.set()

    async def close() -> None:
        await world.sleep(0.3)
        host: Any = lent.host
        await host.aclose() if world.asynchronous else host.close()

    assert world.all([use, use, close]) == [None] * 3
    assert ended.is_set()
    before.assert_none()


@pytest.mark.once
@pytest.mark.parametrize("world", ["httpx async"], indirect=True)
@pytest.mark.parametrize("what", ["execute", "transaction", "fetch"])
def test_cancelled_at_any_turn_of_the_loop_nothing_is_lost(
    lend: Any, world: World, numbers: str, what: str
) -> None:
    lent = lend(pool_max=1, service={"timeout": {"pool": 10.0}})
    insert = f"insert into {numbers} (id) values (1)"

    async def execute() -> None:
        await lent.execute(insert)

    async def transaction() -> None:
        async with lent.transaction() as plain:
            await plain.execute(insert)
            await plain.execute(insert)

    async def fetch() -> None:
        await lent.fetch(NUMBERS, batch_size=40)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for turns in range(50):
            task = asyncio.ensure_future({"execute": execute, "transaction": transaction,
                                          "fetch": fetch}[what]())  # fmt: skip

            def turn(left: int, task: Any = task) -> None:
                if not task.done():
                    loop.call_soon(turn, left - 1) if left else task.cancel()

            turn(turns)
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None
            assert await lent.fetch(ONE) == [(1,)], f"after {turns} turns"
        count = (await lent.fetch(f"select count(*) n from {numbers}"))[0].n
        assert count % 2 == 0 or what != "transaction"

    world.run(main)
    wait_until(lambda: lent.usage[0] == 0)


# in a child


@contextmanager
def forked(work: Callable[[], Any]) -> Iterator[None]:
    """A child that does `work`, and exits as a program does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork with threads
        pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        code = 1
        try:
            work()
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    yield
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("world", ["httpx sync"], indirect=True)
@pytest.mark.parametrize("encryption", ["plain", "tls"])
def test_a_forked_child_has_sessions_of_its_own_and_the_parent_keeps_its(
    lend: Any, request: pytest.FixtureRequest, encryption: str
) -> None:
    server = request.getfixturevalue("database" if encryption == "plain" else "tls_database")
    lent = lend(server, pool_max=4, pool_min=2)
    plain = lent.plain
    table = f"of_fork_{encryption}"
    plain.execute(f"create table {table} (id number(10))")
    assert lent.usage == (0, 2)

    def child() -> None:
        with plain.transaction() as own:
            assert list(own.fetch(ONE)) == [(1,)]
        assert plain.execute(f"insert into {table} (id) values (1)") == 1
        lent.host.close()

    with plain.transaction() as transaction:
        transaction.execute(f"insert into {table} (id) values (2)")
        with forked(child):
            assert list(transaction.fetch(f"select id from {table}")) == [(2,)]
        transaction.execute(f"insert into {table} (id) values (3)")
    assert sorted(plain.fetch(f"select id from {table}")) == [(1,), (2,), (3,)]
    assert lent.usage == (0, 2)
    plain.execute(f"drop table {table}")


@pytest.mark.parametrize("world", ["httpx sync"], indirect=True)
@pytest.mark.parametrize("way", ["return", "sys.exit"])
def test_a_child_of_multiprocessing_ends_as_any_program_does(
    lend: Any, numbers: str, way: str
) -> None:
    lent = lend(pool_max=2)
    plain = lent.plain

    def child() -> None:
        assert list(plain.fetch(ONE)) == [(1,)]
        if way == "sys.exit":
            sys.exit(0)

    with plain.transaction() as transaction:
        transaction.execute(f"insert into {numbers} (id) values (2)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
        process.join(30)
        assert process.exitcode == 0
        assert list(transaction.fetch(f"select id from {numbers}")) == [(2,)]
    assert list(plain.fetch(f"select id from {numbers}")) == [(2,)]
