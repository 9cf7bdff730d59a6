"""The database for event loops; the one for threads drives it."""

from __future__ import annotations

import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from flext_plugins import FlextError, Operation, events

from .errors import DatabaseError, OutcomeUnknown
from .lease import Lease
from .load import Loading, Place, batches, begin_at, position_of
from .operations import Operations
from .report import DatabaseHealth
from .transaction import BATCH_SIZE, AsyncTransaction, Statements

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from flext_plugins import Call, Connection

    from .load import OnError, OnProgress, Records
    from .operations import Reading
    from .report import LoadReport
    from .session import Session
    from .settings import DatabaseSettings

T = TypeVar("T")
B = TypeVar("B")


class AsyncOracleDatabase(Statements):
    """Reads and changes a database over a pool of sessions.

    Each method is one operation or several, which pass the service's plugins. All raise
    `DatabaseUnavailable` if the database does not answer, `DatabaseError` if it says no, and what
    plugins raise: an open circuit's `CircuitOpen`, which is a `Refused`, or `DeadlineExceeded`.
    """

    def __init__(
        self, name: str | None, settings: DatabaseSettings, connection: Connection
    ) -> None:
        super().__init__(Operations(name, settings, connection), connection)
        self._settings = settings

    async def health(self) -> DatabaseHealth:
        """Measure a round trip; ask for the server's version, and the use of the pool."""

        def work(session: Session) -> tuple[str, float]:
            started = time.perf_counter()
            session.ping()
            return session.version, time.perf_counter() - started

        operation = self._operations.operation("health", idempotent=True)
        version, latency = await self._operations.once(operation, work)
        pool = self._operations.pool
        return DatabaseHealth(self._settings.target, version, latency, pool.usage)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncTransaction]:
        """Statements that are committed together at the end of `async with`; an error undoes them.

        It holds a session from its first statement on. Its deadline runs from its beginning.

        Raises:
            OutcomeUnknown: the answer to the commit was lost.
        """
        transaction = self.begin()
        try:
            yield transaction
        except BaseException:
            await transaction.rollback()
            raise
        await transaction.commit()

    def begin(self) -> AsyncTransaction:
        """A transaction that somebody else ends."""
        lease, call = Lease(self._operations.pool), self._connection.begin_call()
        return AsyncTransaction(self._operations, self._connection, lease, call)

    async def load(
        self,
        table: str,
        records: Records,
        *,
        batch_size: int = BATCH_SIZE,
        on_error: OnError = "report",
        name: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> LoadReport:
        """Insert records of any number, in batches that are committed one by one.

        Args:
            table: its name.
            records: mappings of columns to values; they are read as they are needed.
            batch_size: so many are a transaction, an operation, and in memory.
            on_error: `report` keeps all good records and tells of each bad one; with `raise` the
                first bad one ends the load.
            name: the database keeps how far a load of this name has come, in the transactions of
                its batches. The same load goes on there, whatever ended it before.
            on_progress: called with the report after each batch.

        Raises:
            RowRefused: a record was bad, and `on_error` is `raise`.
            OutcomeUnknown: the answer to a commit was lost; with a `name` it is looked up, and
                raised only if the database is gone.
            DatabaseError: these and all others have the `report`.
        """
        call = self._connection.begin_call()
        loading = Loading(table, on_error, self._place(name))
        try:
            await self._load(loading, table, records, batch_size, on_progress, call)
        except DatabaseError as error:
            error.report = loading.report
            raise
        except FlextError as error:
            error.add_note(f"the load has come to record {loading.resume}")
            raise
        return loading.report

    async def _load(
        self,
        loading: Loading,
        table: str,
        records: Records,
        size: int,
        on_progress: OnProgress | None,
        call: Call,
    ) -> None:
        place = loading.place
        if place is not None:
            operation = self._operations.operation("position", idempotent=True)
            loading.resume = await self._operations.once(
                operation, lambda session: begin_at(session, place), call
            )
        async with aclosing(batches(records, size, loading.resume)) as every:
            async for batch in every:
                bad = await self._load_batch(loading, table, batch, call)
                loading.count(len(batch), bad)
                if on_progress is not None:
                    on_progress(loading.report)
                if self._connection.has_receivers:
                    self._connection.emit(events.Progress("load", loading.resume, None, "records"))

    async def _load_batch(
        self, loading: Loading, table: str, batch: Sequence[Any], call: Call
    ) -> list[Any]:
        """Load a batch; its bad rows."""
        place = loading.place
        operation = self._operations.operation(
            "load", idempotent=place is not None, collection=table, size=len(batch)
        )
        try:
            bad = await self._operations.committed(
                operation, lambda session: loading.insert(session, batch), call
            )
        except OutcomeUnknown:
            if place is None:
                raise
            looking = self._operations.operation("position", idempotent=True)
            position = await self._operations.once(
                looking, lambda session: position_of(session, place), call
            )
            if position != loading.resume + len(batch):
                raise
            bad = None
        return bad or []

    def _place(self, name: str | None) -> Place | None:
        if name is None:
            return None
        if not name or len(name.encode()) > 128:
            problem = "a load's name has 1 to 128 bytes"
            raise self._connection.add_context(DatabaseError(problem))
        return Place(self._settings.loads_table, name)

    async def _change(self, operation: Operation, work: Callable[[Session], T]) -> T:
        return await self._operations.committed(operation, work)

    def _read(self, statement: object, query: Reading[B]) -> AsyncGenerator[B, None]:
        operation = self._operations.operation("fetch", idempotent=True, statement=statement)
        return self._operations.read(operation, query, None, self._connection.begin_call())
