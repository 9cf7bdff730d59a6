"""What the plugin lends: texts by key, in an SQLite database."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

from flext_plugins import Failure, FlextError, Operation

if TYPE_CHECKING:
    from flext_plugins import Connection

DOWN = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN}
"""SQLite's codes for a statement that was not begun."""
TABLE = "create table if not exists entry (key text primary key check (key <> ''), value text)"
GET = "select value from entry where key = ?"
PUT = "insert or replace into entry values (?, ?)"


class EntriesError(FlextError):
    """The database refused a statement: its own mistake, and no failure of the system."""


class EntriesUnavailable(EntriesError):
    """The database is locked or cannot be opened: guards count it, retries try again."""

    failure = Failure.CONNECT


class AsyncEntries:
    """Texts by key, for one event loop; each statement is an operation."""

    def __init__(self, path: str, timeout: float, connection: Connection) -> None:
        self._path, self._timeout, self._connection = path, timeout, connection

    async def get(self, key: str) -> str | None:
        """The text of that key, or `None`.

        Raises:
            EntriesUnavailable: the database cannot be read now.
        """
        operation = Operation("sqlite", "get", self._path, idempotent=True)
        rows = await self._connection.perform(operation, self._execute, GET, key)
        return rows[0][0] if rows else None

    async def put(self, key: str, value: str) -> None:
        """Set the text of that key.

        Raises:
            EntriesError: the key is empty.
            EntriesUnavailable: the database cannot be written now.
        """
        operation = Operation("sqlite", "put", self._path, idempotent=True)
        await self._connection.perform(operation, self._execute, PUT, key, value)

    def close(self) -> None:
        """Close the database; the next statement would open it again."""
        with self._lock:
            database: sqlite3.Connection | None = self._connection.state.pop("database", None)
            if database is not None:
                database.close()

    @property
    def _lock(self) -> threading.Lock:
        """Lets one statement run at a time, of all those in several threads.

        It is in the connection's state, as the database is, which a forked child has anew.
        """
        lock: threading.Lock = self._connection.state.setdefault("lock", threading.Lock())
        return lock

    def _execute(self, statement: str, *values: str) -> list[tuple[str]]:
        seconds = self._connection.timeout(self._timeout)
        lock = self._lock
        if not lock.acquire(timeout=seconds):
            raise EntriesUnavailable("other statements take too long")
        try:
            database = self._opened(seconds)
            return database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise (EntriesUnavailable if code in DOWN else EntriesError)(str(error)) from error
        finally:
            lock.release()

    def _opened(self, seconds: float) -> sqlite3.Connection:
        """The database, which waits no longer than `seconds` while others write."""
        state = self._connection.state
        if "database" not in state:
            database = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=seconds
            )
            try:
                database.execute("pragma journal_mode = wal")
                database.execute(TABLE)
            except sqlite3.Error:
                database.close()
                raise
            state["database"] = database
        opened: sqlite3.Connection = state["database"]
        opened.execute(f"pragma busy_timeout = {int(seconds * 1000)}")
        return opened


class Entries:
    """Does for threads what `AsyncEntries` does; any number of them may share it."""

    def __init__(self, entries: AsyncEntries, connection: Connection) -> None:
        self._entries, self._connection = entries, connection

    def get(self, key: str) -> str | None:
        """See `AsyncEntries.get`."""
        return self._connection.drive(self._entries.get(key))

    def put(self, key: str, value: str) -> None:
        """See `AsyncEntries.put`."""
        self._connection.drive(self._entries.put(key, value))

    def close(self) -> None:
        """See `AsyncEntries.close`."""
        self._entries.close()
