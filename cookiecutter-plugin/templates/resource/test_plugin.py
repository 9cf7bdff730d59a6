"""What the plugin does, in all client libraries, sync and async."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flext_plugins import (
    Connection,
    DeadlineExceeded,
    Failure,
    Host,
    Operation,
    Proceed,
    hookimpl,
    options,
)
from flext_plugins.testing import Record, World

from {{ cookiecutter.__package }} import (
    {{ ['AsyncEntries', 'Entries', 'EntriesError', 'EntriesUnavailable', cookiecutter.__class] | sort | join(',\n    ') }},
)

NAME = "{{ cookiecutter.name }}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "entries.db"


def host(world: World, path: Path, witness: type | None = None, **settings: Any) -> Host:
    plugins: dict[str, Any] = {NAME: {"path": str(path), **settings}}
    classes: dict[str, type] = {NAME: {{ cookiecutter.__class }}}
    if witness is not None:
        plugins["witness"], classes["witness"] = {}, witness
    return world.host({"services": {"service": {"plugins": plugins}}}, **classes)


def entries(world: World, lender: Host) -> Any:
    return world.resource(lender, AsyncEntries if world.asynchronous else Entries)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else writes."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("begin immediate")
    try:
        yield
    finally:
        database.close()


class Failures:
    """Notes what guards and retries would make of an operation's error."""

    def __init__(self) -> None:
        self.seen = SEEN

    @hookimpl
    async def flext_operation(
        self, operation: Operation, proceed: Proceed, connection: Connection
    ) -> object:
        try:
            return await proceed(operation)
        except Exception as error:
            self.seen.append(connection.failure(error))
            raise


SEEN: list[Failure | None] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def test_what_was_put_is_there(flext_world: World, path: Path) -> None:
    lent = entries(flext_world, host(flext_world, path))
    flext_world.run(lambda: lent.put("a", "first"))
    flext_world.run(lambda: lent.put("a", "second"))
    assert flext_world.run(lambda: lent.get("a")) == "second"
    assert flext_world.run(lambda: lent.get("b")) is None


def test_each_statement_is_an_operation_that_may_be_repeated(
    flext_world: World, flext_record: Record, path: Path
) -> None:
    lent = entries(flext_world, host(flext_world, path, flext_record.of()))
    flext_world.run(lambda: lent.put("a", "b"))
    flext_world.run(lambda: lent.get("a"))
    seen = [each.operation for each in flext_record.hooks("flext_operation")]
    assert seen == [
        Operation("sqlite", "put", str(path), idempotent=True),
        Operation("sqlite", "get", str(path), idempotent=True),
    ]


def test_a_database_that_is_down_counts_as_one(flext_world: World, tmp_path: Path) -> None:
    lent = entries(flext_world, host(flext_world, tmp_path / "no" / "folder", Failures))
    with pytest.raises(EntriesUnavailable) as unavailable:
        flext_world.run(lambda: lent.get("a"))
    assert (unavailable.value.service, unavailable.value.plugin) == ("service", NAME)
    assert SEEN == [Failure.CONNECT]


def test_a_statement_that_is_refused_counts_for_nothing(flext_world: World, path: Path) -> None:
    lent = entries(flext_world, host(flext_world, path, Failures))
    with pytest.raises(EntriesError, match="CHECK"):
        flext_world.run(lambda: lent.put("", "b"))
    assert SEEN == [None]


def test_a_database_that_stays_locked_counts_as_down(flext_world: World, path: Path) -> None:
    lent = entries(flext_world, host(flext_world, path, Failures, timeout=0.05))
    flext_world.run(lambda: lent.put("a", "b"))
    with locked(path), pytest.raises(EntriesUnavailable, match="locked"):
        flext_world.run(lambda: lent.put("a", "c"))
    assert SEEN == [Failure.CONNECT]


def test_a_database_that_was_locked_at_first_is_opened_later(
    flext_world: World, path: Path
) -> None:
    lent = entries(flext_world, host(flext_world, path, timeout=0.05))
    with locked(path), pytest.raises(EntriesUnavailable):
        flext_world.run(lambda: lent.get("a"))
    assert flext_world.run(lambda: lent.get("a")) is None


def test_nothing_is_waited_for_longer_than_the_deadline(flext_world: World, path: Path) -> None:
    lent = entries(flext_world, host(flext_world, path, timeout=4))
    flext_world.run(lambda: lent.put("a", "b"))
    started = time.monotonic()
    with locked(path), options(deadline=0.2), pytest.raises(DeadlineExceeded):
        flext_world.run(lambda: lent.put("a", "c"))
    assert time.monotonic() - started < 3


def test_the_database_is_closed_with_the_host(flext_world: World, path: Path) -> None:
    lender = host(flext_world, path)
    lent = entries(flext_world, lender)
    flext_world.run(lambda: lent.put("a", "b"))
    journal = path.with_name(f"{path.name}-wal")  # there as long as somebody has it open
    assert journal.exists()
    flext_world.close(lender)
    assert not journal.exists()
