"""A database as a host lends it, used in one manner in threads and in event loops."""

from __future__ import annotations

import inspect
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flext_plugins_oracle import AsyncOracleDatabase, OracleDatabase

from flext_plugins.testing import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from flext_plugins_devstack import OracleCompatibleServer

    from flext_plugins import Host

PATIENCE = 20.0
"""Seconds that are a hang's, and no deadline's."""


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until it is true, or fail."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it does not become true"
        time.sleep(0.01)


async def settled(value: Any) -> Any:
    """What a method of either world gave."""
    return await value if inspect.isawaitable(value) else value


class Used:
    """A database or a transaction, whose methods are awaited in threads as well."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.plain, name)
        return lambda *values, **options: settled(method(*values, **options))

    async def rows(self, *values: Any, **options: Any) -> AsyncIterator[Any]:
        """The rows of `fetch`."""
        found = self.plain.fetch(*values, **options)
        if hasattr(found, "__aiter__"):
            async for row in found:
                yield row
        else:
            for row in found:
                yield row

    async def fetch(self, *values: Any, **options: Any) -> list[Any]:
        """All rows of `fetch`."""
        return [row async for row in self.rows(*values, **options)]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Used]:
        """A transaction."""
        found = self.plain.transaction()
        if hasattr(found, "__aenter__"):
            async with found as plain:
                yield Used(plain)
        else:
            with found as plain:
                yield Used(plain)


class Lent(Used):
    """The database of a host's `service`."""

    def __init__(self, world: World, host: Host) -> None:
        self.world, self.host = world, host
        kind = AsyncOracleDatabase if world.asynchronous else OracleDatabase
        super().__init__(world.resource(host, kind))

    @property
    def usage(self) -> tuple[int, int]:
        """How many sessions are in use, and how many idle."""
        status: Any = self.world.status(self.host)["oracle"].facts
        (pool,) = status["pools"]
        return pool["in_use"], pool["idle"]


@pytest.fixture(params=["httpx sync", "httpx async"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Threads, and an event loop."""
    with World(request.param) as made:
        yield made


@pytest.fixture
def lend(world: World, database: OracleCompatibleServer) -> Callable[..., Lent]:
    """A host's database at `database`, or at another server.

    Settings are those that work there, and what is given besides; `service` is more of the service's
    configuration, `plugins` are other plugins' tables, `register` plugins without settings.
    """

    def lend(
        server: OracleCompatibleServer = database,
        service: dict[str, Any] | None = None,
        plugins: dict[str, Any] | None = None,
        register: dict[str, type] | None = None,
        **settings: Any,
    ) -> Lent:
        tables = {"oracle": server.settings(**settings), **(plugins or {})}
        tables |= {each: {} for each in register or {}}
        config = {"services": {"service": {"plugins": tables, **(service or {})}}}
        host = world.host({**config, "allow_inline_secrets": True}, **(register or {}))
        return Lent(world, host)

    return lend


class Leftovers:
    """What is open now, for comparing it with what is open later."""

    def __init__(self, world: World, server: OracleCompatibleServer) -> None:
        world.run(lambda: world.sleep(0))  # an event loop has files of its own
        self._server = server
        self._threads, self._files = self.threads(), files()

    def threads(self) -> list[str]:
        """The plugin's threads."""
        return [each.name for each in threading.enumerate() if each.name.startswith("oracle ")]

    def assert_none(self) -> None:
        """Wait until no more is open than there was."""
        wait_until(lambda: self._server.sessions == 0)
        wait_until(lambda: self.threads() == self._threads)
        wait_until(lambda: files() <= self._files)


def files() -> int:
    """How many files and sockets this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])
