"""A plugin: lends an SQLite database, each of whose statements passes the service's plugins.

The logic is written once: what is lent to threads drives what is lent to event loops. Register it,
or offer it as an entry point:

host.register(Sqlite, name="sqlite")
rows = host.resource("orders", Database).query("select id from orders where customer = ?", 7)
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel

from flext_plugins import Failure, FlextError, Operation, Seconds, hookimpl

if TYPE_CHECKING:
    from flext_plugins import Connection

Rows: TypeAlias = "list[tuple[Any, ...]]"
DOWN = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN}
"""SQLite's codes for a statement that was not begun."""


class DatabaseError(FlextError):
    """The database refused a statement: its own mistake, and no failure of the wire."""


class DatabaseUnavailable(DatabaseError):
    """The database is locked, or cannot be opened: circuit-breaker counts it, retry tries again."""

    failure = Failure.CONNECT


class SqliteSettings(BaseModel):
    """Settings: the file, and the seconds to wait while others write."""

    path: str
    timeout: Seconds = 5.0


class AsyncDatabase:
    """Reads and changes a database; each statement is an operation."""

    def __init__(self, settings: SqliteSettings, connection: Connection) -> None:
        self._settings, self._connection = settings, connection

    async def query(self, statement: str, *values: object) -> Rows:
        """The rows that a `select` gives."""
        operation = Operation("sqlite", "query", self._settings.path, idempotent=True)
        return await self._connection.perform(operation, self._execute, statement, values)

    async def change(self, statement: str, *values: object) -> Rows:
        """Insert, update or delete; the rows of `returning`, if it is there."""
        operation = Operation("sqlite", "change", self._settings.path)
        return await self._connection.perform(operation, self._execute, statement, values)

    def _execute(self, statement: str, values: tuple[object, ...]) -> Rows:
        seconds = self._connection.timeout(self._settings.timeout)
        try:
            with (
                closing(sqlite3.connect(self._settings.path, timeout=seconds)) as database,
                database,
            ):
                return database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            kind = DatabaseUnavailable if code in DOWN else DatabaseError
            raise kind(str(error)) from error


class Database:
    """Does for threads what `AsyncDatabase` does; any number of them may share it."""

    def __init__(self, database: AsyncDatabase, connection: Connection) -> None:
        self._database, self._connection = database, connection

    def query(self, statement: str, *values: object) -> Rows:
        """See `AsyncDatabase.query`."""
        return self._connection.drive(self._database.query(statement, *values))

    def change(self, statement: str, *values: object) -> Rows:
        """See `AsyncDatabase.change`."""
        return self._connection.drive(self._database.change(statement, *values))


class Sqlite:
    """Lends a `Database` to threads, and an `AsyncDatabase` to each event loop."""

    Settings = SqliteSettings

    def __init__(self, settings: SqliteSettings) -> None:
        self._settings = settings

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Lend it; the file is opened by each statement, so there is nothing to close."""
        database = AsyncDatabase(self._settings, connection)
        if connection.asynchronous:
            connection.provide(AsyncDatabase, database)
        else:
            connection.provide(Database, Database(database, connection))
