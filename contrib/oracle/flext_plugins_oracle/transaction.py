"""Statements, and transactions of several of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from flext_plugins import DeadlineExceeded, FlextError

from .errors import ConstraintViolated, DatabaseError, number_of
from .names import NameRefused
from .query import ArrowQuery, Query
from .rows import fitted, grouped, kinds_of, sizes_of
from .statement import inserting, merging

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    import pyarrow as pa  # type: ignore[import-untyped]
    from sqlalchemy import Executable, Row

    from flext_plugins import Call, Connection, Operation

    from .lease import Lease
    from .operations import Operations, Reading
    from .rows import Kinds, Record
    from .session import Session

T = TypeVar("T")
B = TypeVar("B")
BATCH_SIZE = 1000
DUPLICATE = 1


class Statements:
    """The methods of both a database and a transaction in it."""

    def __init__(self, operations: Operations, connection: Connection) -> None:
        self._operations, self._connection = operations, connection

    async def execute(
        self,
        statement: str | Executable,
        values: Mapping[str, Any] | None = None,
        *,
        idempotent: bool = False,
    ) -> int:
        """Execute a statement that changes something; the number of rows that it changed.

        Args:
            statement: SQL with placeholders such as `:id`, or one of SQLAlchemy's.
            values: for the placeholders; they are bound, and never become part of the statement.
            idempotent: whether it may be done twice, and so again if the connection is lost before
                the commit.

        Raises:
            ConstraintViolated: a row breaks a rule of its table.
            OutcomeUnknown: the answer to the commit was lost.
        """
        bound = self._bound(values)
        operation = self._operations.operation(
            "execute", idempotent=idempotent, statement=statement
        )
        return await self._change(operation, lambda session: session.change(statement, bound))

    async def insert_record(self, table: str, record: Record) -> None:
        """Insert a record, a mapping of columns to values."""
        await self.insert_records(table, [record])

    async def insert_records(self, table: str, records: Iterable[Record]) -> int:
        """Insert records, all or none; how many. For many of them there is `load`.

        They may have different columns; one that a record has not gets its default.
        """
        every = [*records]

        def work(session: Session) -> int:
            return _write(
                session,
                table,
                every,
                lambda columns, _: inserting(session.dialect, table, columns),
            )

        operation = self._operations.operation("insert", collection=table, size=len(every))
        return await self._change(operation, partial(_all_or_none, work, table))

    async def upsert(
        self, table: str, records: Iterable[Record], keys: Sequence[str] = ("id",)
    ) -> int:
        """Insert records that do not exist, and change those that do, all or none; how many.

        Args:
            table: its name.
            records: each has all of `keys`.
            keys: the columns in which a record and its row are the same; NULL is the same as
                nothing.
        """
        every, same = [*records], tuple(keys)

        def merge(session: Session) -> int:
            return _write(
                session,
                table,
                every,
                lambda columns, kinds: merging(session.dialect, table, columns, same, kinds),
            )

        def work(session: Session) -> int:
            try:
                return session.all_or_none(partial(merge, session))
            except ConstraintViolated as error:
                if number_of(error.code) != DUPLICATE:
                    raise
                return merge(session)  # somebody else has inserted it meanwhile: now it is there

        operation = self._operations.operation(
            "upsert", idempotent=True, collection=table, size=len(every)
        )
        return await self._change(operation, partial(_all_or_none, work, table))

    async def fetch(
        self,
        statement: str | Executable,
        values: Mapping[str, Any] | None = None,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> AsyncGenerator[Row[Any], None]:
        """Yield the rows of a query; each batch is an operation, read when it is needed.

        All batches come over one session, which is held until the last one or until the iterator
        is closed. The deadline runs from the first batch on.

        Args:
            statement: SQL with placeholders such as `:id`, or one of SQLAlchemy's.
            values: for the placeholders; they are bound, and never become part of the statement.
            batch_size: so many rows come in a round trip, and are in memory.
        """
        async with aclosing(self.batches(statement, values, batch_size=batch_size)) as each:
            async for batch in each:
                for row in batch:
                    yield row

    def batches(
        self,
        statement: str | Executable,
        values: Mapping[str, Any] | None = None,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> AsyncGenerator[Sequence[Row[Any]], None]:
        """Fetch like `fetch`, but yield a batch at a time."""
        query = Query(statement, self._bound(values), self._size(batch_size))
        return self._read(statement, query)

    async def fetch_arrow(
        self,
        statement: str | Executable,
        values: Mapping[str, Any] | None = None,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> AsyncGenerator[pa.Table, None]:
        """Fetch like `fetch`, but yield a table of Apache Arrow for each batch.

        The extra `arrow` brings what it needs.
        """
        query = ArrowQuery(statement, self._bound(values), self._size(batch_size))
        async with aclosing(self._read(statement, query)) as tables:
            async for table in tables:
                if table is not None:
                    yield table

    def _bound(self, values: object) -> dict[str, Any] | None:
        """The values for placeholders, which may be bound more than once.

        Raises:
            DatabaseError: they are no mapping, or a name is no text.
        """
        if values is None:
            return None
        bound: dict[Any, Any] = dict(values) if isinstance(values, Mapping) else {None: None}
        if not all(isinstance(name, str) and name for name in bound):
            problem = "values are a mapping of the placeholders' names to what is bound"
            raise self._connection.add_context(DatabaseError(problem))
        return bound

    def _size(self, size: object) -> int:
        """The size of a batch.

        Raises:
            DatabaseError: it is none.
        """
        if not isinstance(size, int) or size < 1:
            problem = "batch_size is a number of rows, from 1"
            raise self._connection.add_context(DatabaseError(problem))
        return size

    async def _change(self, operation: Operation, work: Callable[[Session], T]) -> T:
        raise NotImplementedError

    def _read(self, statement: object, query: Reading[B]) -> AsyncGenerator[B, None]:
        raise NotImplementedError


def _rows(records: Sequence[Record]) -> list[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
    """The records as rows, by their columns."""
    groups, misfits = grouped(records)
    if misfits:
        raise DatabaseError(f"record {misfits[0].place + 1}: {misfits[0].reason}")
    return [(group.columns, group.rows) for group in groups]


def _write(
    session: Session,
    table: str,
    records: Sequence[Record],
    statement_of: Callable[[tuple[str, ...], Kinds], str],
) -> int:
    """Execute a statement, made of columns and their kinds, for each group of the records."""
    types, count = session.types_of(table), 0
    for columns, rows in _rows(records):
        kinds = kinds_of(columns, types)
        values = fitted(kinds, rows)
        text = statement_of(columns, kinds)
        count += session.execute_many(text, values, sizes_of(kinds, values))
    return count


def _all_or_none(work: Callable[[Session], int], table: str, session: Session) -> int:
    try:
        return session.all_or_none(lambda: work(session))
    except DatabaseError:
        session.opener.types.pop(table, None)  # it may have been altered
        raise
    except NameRefused as error:
        raise DatabaseError(str(error)) from None


class AsyncTransaction(Statements):
    """Statements that are committed together, or not at all; one task at a time uses it."""

    def __init__(
        self, operations: Operations, connection: Connection, lease: Lease, call: Call
    ) -> None:
        super().__init__(operations, connection)
        self._lease, self._call = lease, call
        self._is_used = False

    async def commit(self) -> None:
        """Commit, at the end of `transaction()`."""
        if not self._is_used:
            self._lease.end()
            return
        is_sent = False

        def work(session: Session) -> None:
            nonlocal is_sent
            is_sent = True
            session.commit()

        try:
            await self._perform(self._operations.operation("commit"), work, last=True)
        except DeadlineExceeded as error:
            if is_sent:
                raise self._operations.unknown() from error
            raise
        finally:
            self._lease.end()

    async def rollback(self) -> None:
        """Undo everything, at the end of `transaction()`; a session that cannot is closed."""
        try:
            if self._is_used and not self._lease.is_over:
                operation = self._operations.operation("rollback")
                await self._perform(operation, lambda session: session.rollback(), last=True)
        except FlextError:
            pass  # why it is undone says more
        finally:
            self._lease.end()

    async def _perform(
        self, operation: Operation, work: Callable[[Session], T], *, last: bool = False
    ) -> T:
        async def use() -> T:
            return await self._lease.use(work, last=last)

        self._is_used = True
        return await self._connection.perform(operation, use, call=self._call)

    async def _change(self, operation: Operation, work: Callable[[Session], T]) -> T:
        # Nothing in a transaction is repeated by itself: with its session the whole of it is lost.
        return await self._perform(replace(operation, idempotent=False), work)

    def _read(self, statement: object, query: Reading[B]) -> AsyncGenerator[B, None]:
        self._is_used = True
        operation = self._operations.operation("fetch", statement=statement)
        return self._operations.read(operation, query, self._lease, self._call)
