"""The plugin: provides databases, and names the database to the service."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from flext_plugins import FlextError, Stage, Status, events, hookimpl

from .database import AsyncOracleDatabase
from .operations import SYSTEM, Operations
from .pool import NOTHING, Pool
from .session import Opener, Session
from .settings import OracleSettings
from .sync import OracleDatabase

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins import Connection, Request

log = logging.getLogger("flext_plugins.oracle")


class Oracle:
    """Provides an `OracleDatabase` or `AsyncOracleDatabase` for each database in the settings.

    What they are asked are operations, which pass the service's plugins as requests do. A service
    without `base_url` has operations only.
    """

    Settings = OracleSettings
    stage = Stage.MESSAGE
    fail_closed = True

    def __init__(self, settings: OracleSettings) -> None:
        self._databases = settings.databases
        self._openers = {name: Opener(each) for name, each in self._databases.items()}
        headers = {settings.database_header: SYSTEM, settings.schema_header: settings.schema_name}
        self._headers = {name: value for name, value in headers.items() if name and value}

    @hookimpl
    async def flext_connect(self, connection: Connection) -> None:
        """Provide the databases, and see whether they answer."""
        report = _reporter(connection) if connection.has_receivers else None
        for name, settings in self._databases.items():
            pool = self._pool(name, connection, report)
            database = AsyncOracleDatabase(name, settings, connection)
            if connection.asynchronous:
                connection.provide(AsyncOracleDatabase, database, name, pool.aclose)
            else:
                threads = OracleDatabase(database, connection)
                connection.provide(OracleDatabase, threads, name, pool.close)
            await self._check(name, connection)

    async def _check(self, name: str | None, connection: Connection) -> None:
        """See whether the database answers; once, so that nobody waits longer than that."""
        settings = self._databases[name]
        operations = Operations(name, settings, connection)
        try:
            await operations.once(operations.operation("health"), Session.ping)
        except FlextError as error:
            if settings.required:
                raise
            # What a server says steers no terminal, and begins no line of the log.
            text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(error))
            service = connection.service.name
            log.warning("%s", text, extra={"service": service, "plugin": connection.plugin.name})

    def _pool(
        self, name: str | None, connection: Connection, report: Callable[[str], None] | None
    ) -> Pool:
        opener = self._openers[name]
        telling = partial(report, opener.target) if report is not None else None
        pool = Pool(name, self._databases[name], opener, connection, telling)
        connection.state.setdefault("pools", {})[name] = pool
        return pool

    @hookimpl
    def flext_status(self, connection: Connection) -> Status:
        """Report the pool of sessions of each database."""
        pools: dict[str | None, Pool] = connection.state.get("pools", {})
        facts = [{"target": each.opener.target, **each.usage._asdict()} for each in pools.values()]
        return Status({"pools": facts})

    @hookimpl
    def flext_request(self, request: Request) -> None:
        """Name the database on the request."""
        for name, value in self._headers.items():
            request.headers[name] = value


def _reporter(connection: Connection) -> Callable[[str], None]:
    """A function that emits the usage of all pools to a target, of several databases too."""
    lock = threading.RLock()

    def report(target: str) -> None:
        with lock:  # so that the latest event has the latest numbers
            every: dict[str | None, Pool] = connection.state["pools"]
            pools = [each for each in every.values() if each.opener.target == target]
            numbers = zip(NOTHING, *(each.usage for each in pools), strict=True)
            connection.emit(events.PoolChanged(SYSTEM, target, *map(sum, numbers)))

    return report
