"""A network that goes silent holds nobody longer than his time, and nothing is left of him."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from flext_plugins_oracle import DatabaseUnavailable, OutcomeUnknown, pool
from flext_plugins_oracle.errors import Unreachable
from lent import PATIENCE, Leftovers, wait_until
from packets import COMMIT, EXECUTE

from flext_plugins import DeadlineExceeded, options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flext_plugins_devstack import OracleCompatibleServer
    from lent import Lent
    from relay import Relay

    from flext_plugins.testing import World

pytestmark = pytest.mark.once

SECONDS = 0.15
"""Of the deadline, or of any other end."""
SLACK = 0.3
"""Seconds after it; on a busy machine the quickest of several tries keeps it."""
LONG = {"connect_timeout": 60.0, "timeout": 60.0}
"""Seconds that no test waits: what ends, ends for another reason."""
NUMBERS = "select level n from dual connect by level <= 1000"


class Case:
    """A database behind a relay, and a table."""

    def __init__(self, lent: Lent, relay: Relay, table: str) -> None:
        self.lent, self.relay, self.table = lent, relay, table

    @property
    def insert(self) -> str:
        return f"insert into {self.table} (id) values (1)"


# Each lets the network go silent, and gives what is then in vain.


async def connect(case: Case, _: AsyncExitStack) -> Any:
    case.relay.cut()
    case.relay.freeze()
    return lambda: case.lent.execute(case.insert)


async def acquire(case: Case, stack: AsyncExitStack) -> Any:
    """The session is pinged before it is used."""
    was, pool.IDLE_SECONDS = pool.IDLE_SECONDS, 0.0
    stack.callback(setattr, pool, "IDLE_SECONDS", was)
    case.relay.freeze()
    return lambda: case.lent.execute(case.insert)


async def execute(case: Case, _: AsyncExitStack) -> Any:
    case.relay.freeze()
    return lambda: case.lent.execute(case.insert)


async def answer(case: Case, _: AsyncExitStack) -> Any:
    """The server gets it, and its answer does not come."""
    case.relay.fail("freeze", after=EXECUTE)
    return lambda: case.lent.execute(case.insert)


async def first_batch(case: Case, _: AsyncExitStack) -> Any:
    case.relay.freeze()
    return lambda: case.lent.fetch(NUMBERS, batch_size=10)


async def later_batch(case: Case, stack: AsyncExitStack) -> Any:
    rows = await stack.enter_async_context(closing(case.lent.rows(NUMBERS, batch_size=10)))
    for _ in range(10):
        await anext(rows)
    case.relay.freeze()
    return lambda: anext(rows)


async def commit(case: Case, _: AsyncExitStack) -> Any:
    case.relay.fail("freeze", before=COMMIT)
    return lambda: case.lent.execute(case.insert)


async def commit_of_a_transaction(case: Case, stack: AsyncExitStack) -> Any:
    outer = AsyncExitStack()
    await (await outer.enter_async_context(case.lent.transaction())).execute(case.insert)
    case.relay.freeze()
    return outer.aclose


async def rollback(case: Case, _: AsyncExitStack) -> Any:
    outer = AsyncExitStack()
    await (await outer.enter_async_context(case.lent.transaction())).execute(case.insert)
    case.relay.freeze()

    async def undo() -> None:
        async with outer:
            raise ZeroDivisionError

    return undo


async def insert(case: Case, _: AsyncExitStack) -> Any:
    case.relay.freeze()
    return lambda: case.lent.insert_records(case.table, [{"id": n} for n in range(3)])


async def upsert(case: Case, _: AsyncExitStack) -> Any:
    case.relay.freeze()
    return lambda: case.lent.upsert(case.table, [{"id": 1, "v": "a"}])


async def load(case: Case, _: AsyncExitStack) -> Any:
    def records() -> Any:
        for number in range(100):
            if number == 0:
                case.relay.freeze()
            yield {"id": number}

    return lambda: case.lent.load(case.table, records(), batch_size=10)


async def health(case: Case, _: AsyncExitStack) -> Any:
    case.relay.freeze()
    return case.lent.health


BEGUN = (later_batch, commit_of_a_transaction, rollback)
"""What is in vain belongs to a call that began before."""
COMMITS = (commit, commit_of_a_transaction)
STEPS = [connect, acquire, execute, answer, first_batch, later_batch, commit,
         commit_of_a_transaction, rollback, insert, upsert, load, health]  # fmt: skip


@asynccontextmanager
async def closing(rows: Any) -> AsyncIterator[Any]:
    try:
        yield rows
    finally:
        await rows.aclose()


# Each ends what is in vain after so many seconds.


async def nothing_else(work: Any, _: float) -> None:
    await work()


async def a_deadline(work: Any, seconds: float) -> None:
    with options(deadline=seconds):
        await work()


async def a_time_out(work: Any, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await work()


async def wait_for(work: Any, seconds: float) -> None:
    await asyncio.wait_for(work(), seconds)


async def cancelling(work: Any, seconds: float) -> None:
    task = asyncio.ensure_future(work())
    asyncio.get_running_loop().call_later(seconds, task.cancel)
    await task


@pytest.fixture
def case(lend: Any, relay: Any, database: OracleCompatibleServer, table: Any) -> Any:
    """Makes a `Case`."""
    name = table("id number(10), v varchar2(10)")

    def make(**settings: Any) -> Case:
        between = relay(database)
        made = Case(lend(port=between.port, **{"pool_max": 2, **settings}), between, name)
        # The columns' types are asked for once.
        made.lent.world.run(lambda: made.lent.insert_record(name, {"id": 1, "v": "a"}))
        return made

    return make


async def silenced(case: Case, step: Any, end: Any, seconds: float) -> tuple[Any, float]:
    """What comes of a silence, and after how many seconds."""
    async with AsyncExitStack() as stack:
        work = await step(case, stack)
        started = time.monotonic()
        try:
            await end(work, seconds)
        except BaseException as error:
            return error, time.monotonic() - started
        finally:
            case.relay.thaw()
    raise AssertionError("it was not silent")


async def assert_served(case: Case) -> None:
    """The next caller is served at once, and the pool is whole again."""
    started = time.monotonic()
    with options(deadline=PATIENCE):
        assert await case.lent.fetch("select 1 from dual") == [(1,)]
    assert time.monotonic() - started < PATIENCE
    wait_until(lambda: case.lent.usage[0] == 0)


def assert_ends(
    case: Case, step: Any, end: Any, kind: type[BaseException], seconds: float = SECONDS
) -> None:
    """It ends in time, in the quickest of three tries, and the next is served."""
    taken = []
    for _ in range(3):
        error, lasted = case.lent.world.run(lambda: silenced(case, step, end, seconds))
        assert isinstance(error, kind), (step.__name__, end.__name__, error)
        case.lent.world.run(lambda: assert_served(case))
        taken.append(lasted)
        if lasted < seconds + SLACK:
            return
    raise AssertionError((step.__name__, end.__name__, taken))


@pytest.mark.parametrize("step", STEPS)
def test_a_deadline_ends_a_silence(case: Any, step: Any) -> None:
    kind: type[Exception] = OutcomeUnknown if step in COMMITS else DeadlineExceeded
    if step is rollback:
        kind = ZeroDivisionError  # why it is undone says more
    if step not in BEGUN:
        assert_ends(case(**LONG), step, a_deadline, kind)
        return

    async def begun_with_it(case: Case, stack: AsyncExitStack) -> Any:
        with options(deadline=1.0):
            return await step(case, stack)

    assert_ends(case(**LONG), begun_with_it, nothing_else, kind, 1.0)


@pytest.mark.parametrize("step", STEPS)
def test_a_time_out_of_the_settings_ends_a_silence(case: Any, step: Any) -> None:
    made = case(connect_timeout=1.0, timeout=0.5)
    kind: type[Exception] = DatabaseUnavailable
    seconds = 0.5
    if step in COMMITS:
        kind = OutcomeUnknown
    elif step is rollback:
        kind = ZeroDivisionError
    elif step in (connect, acquire):
        kind, seconds = Unreachable, 1.0
    assert_ends(made, step, nothing_else, kind, seconds)


@pytest.mark.parametrize("world", ["httpx async"], indirect=True)
@pytest.mark.parametrize("step", STEPS)
def test_a_task_that_waits_no_longer_leaves_a_silence(case: Any, step: Any) -> None:
    made = case(**LONG)
    for end in (a_time_out, wait_for):
        assert_ends(made, step, end, TimeoutError)
    assert_ends(made, step, cancelling, asyncio.CancelledError)


@pytest.mark.parametrize("world", ["httpx sync"], indirect=True)
@pytest.mark.parametrize("step", [each for each in STEPS if each is not rollback])
def test_who_interrupts_a_silence_leaves_nothing(case: Any, step: Any) -> None:
    """The driver first asks the server to stop, for as long as the time-out lets it."""

    async def interrupted(work: Any, seconds: float) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        was = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            await work()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, was)

    made = case(connect_timeout=1.0, timeout=1.0)
    error, lasted = made.lent.world.run(lambda: silenced(made, step, interrupted, SECONDS))
    assert isinstance(error, KeyboardInterrupt), (error, lasted)
    assert lasted < PATIENCE
    made.lent.world.run(lambda: assert_served(made))


@pytest.mark.parametrize("step", [execute, first_batch, commit, insert, health])
def test_new_connections_serve_while_old_ones_are_silent(case: Any, step: Any) -> None:
    made = case(**LONG, pool_max=4)
    lent, ready = made.lent, [0]

    async def held() -> None:
        async with lent.transaction() as transaction:
            await transaction.fetch("select 1 from dual")
            ready[0] += 1
            while ready[0] < 3:
                await lent.world.sleep(0.01)

    assert lent.world.all([held] * 3) == [None] * 3
    assert lent.usage == (0, 3)

    async def ask() -> None:
        work = await step(made, AsyncExitStack())
        made.relay.silence()
        made.relay.thaw(old=False)
        with pytest.raises((DeadlineExceeded, OutcomeUnknown)), options(deadline=SECONDS):
            await work()
        started = time.monotonic()
        with options(deadline=PATIENCE):
            assert await lent.fetch("select 1 from dual") == [(1,)]
        assert time.monotonic() - started < pool.PING_SECONDS + 5

    try:
        lent.world.run(ask)
    finally:
        made.relay.thaw()


def test_of_two_hundred_silences_twenty_at_once_nothing_is_left(
    world: World, lend: Any, relay: Any, database: OracleCompatibleServer, table: Any
) -> None:
    between, name = relay(database), table("id number(10), v varchar2(10)")
    before = Leftovers(world, database)
    lent = lend(port=between.port, pool_max=20, pool_min=0, **LONG)

    async def caught(work: Any) -> Any:
        with options(deadline=0.3):
            try:
                return await work()
            except Exception as error:
                return type(error)

    def insert() -> Any:
        return caught(lambda: lent.insert_record(name, {"id": 1}))

    def fetch() -> Any:
        return caught(lambda: lent.fetch(NUMBERS, batch_size=10))

    for _ in range(10):
        between.freeze()
        started = time.monotonic()
        found = lent.world.all([insert, fetch] * 10)
        assert time.monotonic() - started < PATIENCE
        assert found == [DeadlineExceeded] * 20
        between.thaw()
        with options(deadline=PATIENCE):
            assert len(lent.world.run(lambda: lent.fetch(NUMBERS))) == 1000
        wait_until(lambda: lent.usage[0] == 0)
    ready = [0]

    async def held() -> None:
        async with lent.transaction() as transaction:
            await transaction.fetch("select 1 from dual")
            ready[0] += 1
            while ready[0] < 20:
                await lent.world.sleep(0.01)

    with options(deadline=PATIENCE):
        assert lent.world.all([held] * 20) == [None] * 20
    world.close(lent.host)
    before.assert_none()
