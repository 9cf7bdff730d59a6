"""The database for event loops; the one for threads drives it."""

from __future__ import annotations

import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from flext_plugins import FlextError, Operation, events

from .errors import DatabaseError, DatabaseUnavailable, OutcomeUnknown
from .lease import Lease
from .load import Loading, batches
from .names import NameRefused, table_name
from .operations import Operations
from .position import LONGEST, Position
from .report import DatabaseHealth
from .transaction import BATCH_SIZE, AsyncTransaction, Statements

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from flext_plugins import Call, Connection

    from .load import OnError, OnProgress, Records
    from .operations import Reading
    from .report import BadRow, LoadReport
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
        pool = self._operations.find_pool()
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
        lease, call = Lease(self._operations.find_pool), self._connection.begin_call()
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
            records: mappings of columns to values; they are read as they are needed. An error that
                reading raises ends the load and is raised as it is, with a note on where it was.
            batch_size: so many are a transaction, an operation, and in memory.
            on_error: `report` keeps all good records and tells of each bad one; with `raise` the
                first bad one ends the load.
            name: the database keeps how far a load of this name has come, in the transactions of
                its batches. The same load goes on there, whatever ended it before; another one of
                this name that is still under way ends with an error. See `position`, `forget`.
            on_progress: called with the report after each batch.

        Raises:
            RowRefused: a record was bad, and `on_error` is `raise`.
            OutcomeUnknown: the answer to a commit was lost; with a `name` it is looked up, and
                raised only if the database is gone.
            DatabaseError: these and all others have the `report`, once it is known where the load
                begins.
        """
        call = self._connection.begin_call()
        size = self._size(batch_size)
        if on_error not in {"report", "raise"}:
            raise self._problem('on_error is "report" or "raise"')
        try:
            table_name(table)
        except NameRefused as error:
            raise self._problem(f"load: {error}") from None
        loading = Loading(table, on_error, None if name is None else self._position(name))
        if (position := loading.position) is not None:
            operation = self._operations.operation("position", idempotent=True)
            loading.resume = await self._operations.once(operation, position.take_over, call)
        try:
            await self._load(loading, table, records, size, on_progress, call)
        except DatabaseError as error:
            error.report = loading.report
            raise
        except Exception as error:
            error.add_note(f"the load has come to record {loading.resume}")
            raise
        return loading.report

    async def position(self, name: str) -> int | None:
        """So many records the load of this name is done with; `None` if there was none."""
        operation = self._operations.operation("position", idempotent=True)
        return await self._operations.once(operation, self._position(name).look_up)

    async def forget(self, name: str) -> None:
        """Let the next load of this name begin anew; one that is under way ends with an error."""
        operation = self._operations.operation("forget", idempotent=True)
        await self._operations.committed(operation, self._position(name).forget)

    async def _load(
        self,
        loading: Loading,
        table: str,
        records: Records,
        size: int,
        on_progress: OnProgress | None,
        call: Call,
    ) -> None:
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
    ) -> list[BadRow]:
        """Load a batch; its bad rows."""
        operation = self._operations.operation(
            "load", idempotent=loading.position is not None, collection=table, size=len(batch)
        )
        bad: list[BadRow] = []

        def work(session: Session) -> None:
            nonlocal bad
            bad = loading.insert(session, batch)

        try:
            await self._operations.committed(operation, work, call)
        except OutcomeUnknown as error:
            if not await self._is_there(loading, len(batch), error, call):
                await self._operations.committed(operation, work, call)
        return bad

    async def _is_there(
        self, loading: Loading, size: int, error: OutcomeUnknown, call: Call
    ) -> bool:
        """Whether the batch is there whose commit had no answer; if nobody can say, `error`."""
        position = loading.position
        if position is None:
            raise error
        operation = self._operations.operation("position", idempotent=True)
        try:
            found = await self._operations.once(operation, position.settled, call)
        except DatabaseUnavailable as second:
            raise error from second
        except DatabaseError:
            raise
        except FlextError as second:
            raise error from second
        return found == loading.resume + size

    def _position(self, name: str) -> Position:
        if not 0 < len(name.encode("utf-8", "replace")) <= LONGEST:
            raise self._problem(f"a load's name has 1 to {LONGEST} bytes")
        return Position(self._settings.loads_table, name)

    def _problem(self, text: str) -> FlextError:
        return self._connection.add_context(DatabaseError(text))

    async def _change(self, operation: Operation, work: Callable[[Session], T]) -> T:
        return await self._operations.committed(operation, work)

    def _read(self, statement: object, query: Reading[B]) -> AsyncGenerator[B, None]:
        operation = self._operations.operation("fetch", idempotent=True, statement=statement)
        return self._operations.read(operation, query, None, self._connection.begin_call())
