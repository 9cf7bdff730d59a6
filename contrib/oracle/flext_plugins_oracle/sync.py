"""The database for threads, which drives the coroutines of the async one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from .transaction import BATCH_SIZE

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa  # type: ignore[import-untyped]
    from sqlalchemy import Executable, Row

    from flext_plugins import Connection

    from .database import AsyncOracleDatabase
    from .load import OnError, OnProgress
    from .report import DatabaseHealth, LoadReport
    from .rows import Record
    from .transaction import Statements

T = TypeVar("T")


class SyncStatements:
    """Does for threads what `Statements` does."""

    def __init__(self, statements: Statements, connection: Connection) -> None:
        self._statements, self._connection = statements, connection

    def execute(
        self,
        statement: str | Executable,
        values: Mapping[str, Any] | None = None,
        *,
        idempotent: bool = False,
    ) -> int:
        """See `AsyncOracleDatabase.execute`."""
        return self._drive(self._statements.execute(statement, values, idempotent=idempotent))

    def insert_record(self, table: str, record: Record) -> None:
        """See `AsyncOracleDatabase.insert_record`."""
        self._drive(self._statements.insert_record(table, record))

    def insert_records(self, table: str, records: Iterable[Record]) -> int:
        """See `AsyncOracleDatabase.insert_records`."""
        return self._drive(self._statements.insert_records(table, records))

    def upsert(self, table: str, records: Iterable[Record], keys: Sequence[str] = ("id",)) -> int:
        """See `AsyncOracleDatabase.upsert`."""
        return self._drive(self._statements.upsert(table, records, keys))

    def fetch(
        self,
        statement: str | Executable,
        values: Mapping[str, Any] | None = None,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[Row[Any]]:
        """See `AsyncOracleDatabase.fetch`."""
        batches = self._statements.batches(statement, values, batch_size=batch_size)
        for batch in self._connection.iterate(batches):
            yield from batch

    def fetch_arrow(
        self,
        statement: str | Executable,
        values: Mapping[str, Any] | None = None,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[pa.Table]:
        """See `AsyncOracleDatabase.fetch_arrow`."""
        tables = self._statements.fetch_arrow(statement, values, batch_size=batch_size)
        yield from self._connection.iterate(tables)

    def _drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._connection.drive(coroutine)


class Transaction(SyncStatements):
    """Statements that are committed together, or not at all; one thread at a time uses it."""


class OracleDatabase(SyncStatements):
    """Does for threads what `AsyncOracleDatabase` does; any number of them may share it."""

    def __init__(self, database: AsyncOracleDatabase, connection: Connection) -> None:
        super().__init__(database, connection)
        self._database = database

    def health(self) -> DatabaseHealth:
        """See `AsyncOracleDatabase.health`."""
        return self._drive(self._database.health())

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """See `AsyncOracleDatabase.transaction`."""
        transaction = self._database.begin()
        try:
            yield Transaction(transaction, self._connection)
        except BaseException:
            self._drive(transaction.rollback())
            raise
        self._drive(transaction.commit())

    def load(
        self,
        table: str,
        records: Iterable[Record],
        *,
        batch_size: int = BATCH_SIZE,
        on_error: OnError = "report",
        name: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> LoadReport:
        """See `AsyncOracleDatabase.load`."""
        loading = self._database.load(
            table,
            records,
            batch_size=batch_size,
            on_error=on_error,
            name=name,
            on_progress=on_progress,
        )
        return self._drive(loading)

    def position(self, name: str) -> int | None:
        """See `AsyncOracleDatabase.position`."""
        return self._drive(self._database.position(name))

    def forget(self, name: str) -> None:
        """See `AsyncOracleDatabase.forget`."""
        self._drive(self._database.forget(name))
