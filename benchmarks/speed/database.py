"""An Oracle-compatible database through the plugin `oracle`, beside what a program does without it.

*Load* inserts records, each a `dict`, in batches of 1000 that are committed one by one; beside it
stands a loop around the driver's `executemany`, with `batcherrors=True` where bad records are
reported, one of a hundred. *Fetch* reads the rows of a query, 1000 in a round trip, and *execute*
changes a row and commits; beside them stands SQLAlchemy Core with its own pool. Ours are under four
plugins; what is awaited stands beside what is awaited.
"""

from __future__ import annotations

import atexit
import json
from contextlib import contextmanager
from datetime import datetime
from functools import cache, partial
from itertools import cycle, islice
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, NamedTuple

import oracledb
from flext_plugins_devstack import OracleCompatibleServer
from flext_plugins_oracle import AsyncOracleDatabase, OracleDatabase
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from sqlalchemy import URL, create_engine, text

from flext_plugins import Host

from .clients import running
from .measurement import Case, Table
from .signals import Signals
from .target import ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack

    from .measurement import Run

NEEDS = ("greenlet",)
AROUND = ("circuit-breaker", "retry", "metrics", "tracing")
BATCH = 1000
ROWS = 100_000
BEGUN = datetime(2026, 11, 30, 8, 15)  # noqa: DTZ001 - as the driver takes it
COLUMNS = "id number(9), name varchar2(40) not null, price number(10,2), placed date"
INSERT = "INSERT INTO bench_loaded (id, name, price, placed) VALUES (:id, :name, :price, :placed)"
SELECT = "SELECT id, name, price, placed FROM bench_rows WHERE id <= :last"
UPDATE = "UPDATE bench_one SET price = :price WHERE id = :id"
VALUES = {"price": 12.5, "id": 1}


def record(number: int) -> dict[str, Any]:
    """A record that can be loaded."""
    return {"id": number, "name": f"order {number}", "price": number / 4, "placed": BEGUN}


GOOD = [record(number) for number in range(BATCH)]
MIXED = [each | ({"name": None} if each["id"] % 100 == 50 else {}) for each in GOOD]


@cache
def server() -> OracleCompatibleServer:
    """The server, one for all tables: it takes three seconds to start.

    Raises:
        NotInstalled: what it consists of is not there.
    """
    made = OracleCompatibleServer()
    atexit.register(made.close)
    made.up()
    with connected(json.dumps(made.settings())) as connection, connection.cursor() as cursor:
        for name in ("bench_loaded", "bench_rows", "bench_one"):
            cursor.execute(f"CREATE TABLE {name} ({COLUMNS})")
        insert = INSERT.replace("bench_loaded", "bench_one")
        cursor.execute(insert, record(1))
        cursor.execute(
            "INSERT INTO bench_rows SELECT level, 'order ' || level, level / 4, DATE '2026-11-30' "
            f"FROM dual CONNECT BY level <= {ROWS}"
        )
        connection.commit()
    return made


@contextmanager
def serving() -> Iterator[str]:
    """The plugin's settings, as JSON."""
    yield json.dumps(server().settings(timeout=600))


def _arguments(place: str) -> dict[str, Any]:
    """The driver's own, for the same database."""
    settings = json.loads(place)
    names = ("host", "port", "service_name", "password")
    return {"user": settings["username"], **{name: settings[name] for name in names}}


def connected(place: str) -> Any:
    """A connection of the driver's."""
    return oracledb.connect(**_arguments(place))


def _host(place: str) -> Host:
    tables: dict[str, Any] = {"oracle": json.loads(place), **{name: {} for name in AROUND}}
    host, signals = Host({"services": {"shop": {"plugins": tables}}}), Signals()
    host.provide(CollectorRegistry, signals.registry)
    host.provide(TracerProvider, signals.tracers)
    return host


def _url(place: str) -> URL:
    settings = json.loads(place)
    query = {"service_name": settings["service_name"]}
    names = ("username", "password", "host", "port")
    return URL.create("oracle+oracledb", **{name: settings[name] for name in names}, query=query)


def _records(number: int, on_error: str) -> Iterator[dict[str, Any]]:
    return islice(cycle(GOOD if on_error == "raise" else MIXED), number)


def _batches(number: int, on_error: str) -> Iterator[list[dict[str, Any]]]:
    records = _records(number, on_error)
    while batch := [*islice(records, BATCH)]:
        yield batch


class Ours:
    """What a program does with an `OracleDatabase`."""

    def __init__(self, stack: ExitStack, place: str) -> None:
        self._database = stack.enter_context(_host(place)).resource("shop", OracleDatabase)

    def load(self, on_error: Any, number: int) -> None:
        """Load so many records."""
        self._database.load("bench_loaded", _records(number, on_error), on_error=on_error)

    def fetch(self, number: int) -> None:
        """Fetch so many rows."""
        for _ in self._database.fetch(SELECT, {"last": number}):
            pass

    def execute(self, number: int) -> None:
        """Change a row so many times."""
        for _ in range(number):
            self._database.execute(UPDATE, VALUES)


class Bare:
    """What a program does with the driver, or with SQLAlchemy Core."""

    def __init__(self, stack: ExitStack, place: str) -> None:
        self._connection = stack.enter_context(connected(place))
        self._engine = create_engine(_url(place), arraysize=BATCH)
        stack.callback(self._engine.dispose)
        self._select, self._update = text(SELECT), text(UPDATE)

    def load(self, on_error: str, number: int) -> None:
        """Load so many records."""
        with self._connection.cursor() as cursor:
            for batch in _batches(number, on_error):
                cursor.executemany(INSERT, batch, batcherrors=on_error == "report")
                cursor.getbatcherrors()
                self._connection.commit()

    def fetch(self, number: int) -> None:
        """Fetch so many rows."""
        with self._engine.connect() as connection:
            options = {"yield_per": BATCH}
            for _ in connection.execute(self._select, {"last": number}, execution_options=options):
                pass

    def execute(self, number: int) -> None:
        """Change a row so many times."""
        for _ in range(number):
            with self._engine.begin() as connection:
                connection.execute(self._update, VALUES)


class AsyncOurs:
    """What a program does with an `AsyncOracleDatabase`."""

    def __init__(self, stack: ExitStack, place: str) -> None:
        self._run, host = running(stack).run, _host(place)
        stack.callback(lambda: self._run(host.aclose()))
        self._database = self._run(host.aresource("shop", AsyncOracleDatabase))

    def load(self, on_error: Any, number: int) -> None:
        """Load so many records."""
        records = _records(number, on_error)
        self._run(self._database.load("bench_loaded", records, on_error=on_error))

    def fetch(self, number: int) -> None:
        """Fetch so many rows."""

        async def fetch() -> None:
            async for _ in self._database.fetch(SELECT, {"last": number}):
                pass

        self._run(fetch())

    def execute(self, number: int) -> None:
        """Change a row so many times."""

        async def execute() -> None:
            for _ in range(number):
                await self._database.execute(UPDATE, VALUES)

        self._run(execute())


class AsyncBare:
    """What a program does with the driver's `asyncio` mode, or with SQLAlchemy's."""

    def __init__(self, stack: ExitStack, place: str) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - asks for greenlet

        self._run = running(stack).run

        async def connect() -> Any:
            return await oracledb.connect_async(**_arguments(place))

        self._connection = self._run(connect())
        stack.callback(lambda: self._run(self._connection.close()))
        self._engine = create_async_engine(_url(place), arraysize=BATCH)
        stack.callback(lambda: self._run(self._engine.dispose()))
        self._select, self._update = text(SELECT), text(UPDATE)

    def load(self, on_error: str, number: int) -> None:
        """Load so many records."""

        async def load() -> None:
            with self._connection.cursor() as cursor:
                for batch in _batches(number, on_error):
                    await cursor.executemany(INSERT, batch, batcherrors=on_error == "report")
                    cursor.getbatcherrors()
                    await self._connection.commit()

        self._run(load())

    def fetch(self, number: int) -> None:
        """Fetch so many rows."""

        async def fetch() -> None:
            async with self._engine.connect() as connection:
                result = await connection.stream(
                    self._select, {"last": number}, execution_options={"yield_per": BATCH}
                )
                async for rows in result.partitions():  # row by row takes a multiple
                    for _ in rows:
                        pass

        self._run(fetch())

    def execute(self, number: int) -> None:
        """Change a row so many times."""

        async def execute() -> None:
            for _ in range(number):
                async with self._engine.begin() as connection:
                    await connection.execute(self._update, VALUES)

        self._run(execute())


class Work(NamedTuple):
    """What is measured of each side."""

    name: str
    title: str
    method: str
    base: str
    """What stands beside ours."""
    sentence: str
    limit: float
    times: int
    brief: tuple[int, int]
    """`times` and `rounds` of a check."""
    rounds: int = 3
    arguments: tuple[str, ...] = ()
    unit: str = "row"


WORKS = (
    Work(
        name="load",
        title="load of 100,000 rows",
        method="load",
        base="executemany",
        sentence="a loop around the driver's `executemany`",
        limit=1.15,
        times=ROWS,
        brief=(1000, 6),
        arguments=("raise",),
    ),
    Work(
        name="report",
        title="load of 2,000 rows, bad ones reported",
        method="load",
        base="executemany, batcherrors",
        sentence="the same loop with `batcherrors=True`",
        limit=1.15,
        times=2000,
        brief=(50, 6),
        arguments=("report",),
    ),
    Work(
        name="fetch",
        title="fetch of 100,000 rows",
        method="fetch",
        base="SQLAlchemy Core",
        sentence="an engine, its pool, `yield_per`",
        limit=1.1,
        times=ROWS,
        brief=(1000, 6),
    ),
    Work(
        name="execute",
        title="one execute",
        method="execute",
        base="SQLAlchemy Core",
        sentence="an engine, its pool, `engine.begin`",
        limit=1.15,
        times=5,
        brief=(5, 24),
        rounds=60,
        unit="statement",
    ),
)


def opened(
    side: Any, work: Work, clock: Callable[[], float], some: int, stack: ExitStack, place: str
) -> Run:
    """A method of one of these classes, which is done for so many times `some`."""
    do = partial(getattr(side(stack, place), work.method), *work.arguments)
    tidier = stack.enter_context(connected(place))

    def run(times: int) -> float:
        if work.method == "load":
            tidier.cursor().execute("TRUNCATE TABLE bench_loaded")
        started = clock()
        do(times * some)
        return (clock() - started) / some

    run(1)  # connects
    return run


def _cases(work: Work, clock: Callable[[], float], some: int, suffix: str = "") -> Iterator[Case]:
    for world, bare, kind in ("", Bare, Ours), (" async", AsyncBare, AsyncOurs):
        base = f"{work.base}{world}{suffix}"
        awaited = ", awaited" if world else ""
        one = partial(opened, bare, work, clock, some)
        yield Case(base, f"{work.sentence}{awaited}", one, needs=NEEDS)
        sentence = f"`{'Async' if world else ''}OracleDatabase` under four plugins"
        one = partial(opened, kind, work, clock, some)
        yield Case(f"ours{world}{suffix}", sentence, one, base, NEEDS)


def _table(work: Work) -> Table:
    targets = tuple(
        ratio(
            f"{work.title}{world}, to {work.base}",
            work.limit,
            f"ours{world}",
            f"{work.base}{world}",
        )
        for world in ("", " async")
    )
    return Table(
        f"database-{work.name}",
        f"A database: {work.title}",
        tuple(_cases(work, perf_counter, 1)),
        targets,
        serving,
        unit=f"µs per {work.unit}",
        times=work.times,
        rounds=work.rounds,
        brief=work.brief,
    )


TABLES = (
    *map(_table, WORKS),
    Table(
        "database-cpu",
        "A database: CPU time",
        tuple(
            case
            for work in WORKS
            for case in _cases(work, process_time, 4 * work.brief[0], f", {work.name}")
        ),
        place=serving,
        unit="µs each",
        times=1,
        rounds=12,
    ),
)
