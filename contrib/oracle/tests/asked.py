"""A database as a host lends it, whose methods are called in threads and in event loops alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flext_plugins_oracle import AsyncOracleDatabase, OracleDatabase

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins_devstack import OracleCompatibleServer

    from flext_plugins import Host
    from flext_plugins.testing import World


class Asked:
    """A database in one of two worlds; its methods are the database's, sync or not."""

    def __init__(self, world: World, host: Host, name: str | None = None) -> None:
        self.world, self.host, self._name = world, host, name

    @property
    def database(self) -> Any:
        kind = AsyncOracleDatabase if self.world.asynchronous else OracleDatabase
        return self.world.resource(self.host, kind, self._name)

    def work(self, method: str, *args: Any, **options: Any) -> Callable[[], Any]:
        """What `method` does, as a function for `world.all`."""
        database = self.database
        if not method.startswith("fetch"):
            return lambda: getattr(database, method)(*args, **options)
        if not self.world.asynchronous:
            return lambda: list(getattr(database, method)(*args, **options))

        async def found() -> list[Any]:
            return [each async for each in getattr(database, method)(*args, **options)]

        return found

    def together(self, work: Callable[[Any], Any]) -> None:
        """`work(transaction)` in a transaction; in an event loop it is a coroutine's function."""
        database = self.database
        if not self.world.asynchronous:
            with database.transaction() as transaction:
                work(transaction)
            return

        async def run() -> None:
            async with database.transaction() as transaction:
                await work(transaction)

        self.world.run(run)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a query, as tuples."""
        return [tuple(each) for each in self.fetch(statement)]

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *args, **options: self.world.run(self.work(method, *args, **options))


@pytest.fixture
def ask(world: World, database: OracleCompatibleServer) -> Callable[..., Asked]:
    """A host's database at `database`, or at another server.

    Settings are those that work there, and what is given besides; `service` is more of the
    service's configuration, `plugins` are other plugins' tables, `name` is the database's,
    and `world` another one than the test's.
    """

    own = world

    def ask(
        server: OracleCompatibleServer = database,
        service: dict[str, Any] | None = None,
        plugins: dict[str, Any] | None = None,
        provide: dict[type, Any] | None = None,
        name: str | None = None,
        world: World = own,
        **settings: Any,
    ) -> Asked:
        tables = {"oracle": server.settings(**settings), **(plugins or {})}
        services = {"service": {"plugins": tables, **(service or {})}}
        host = world.host({"services": services, "allow_inline_secrets": True})
        for kind, value in (provide or {}).items():
            host.provide(kind, value)
        return Asked(world, host, name)

    return ask
