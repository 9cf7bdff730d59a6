"""Loading records: array DML in batches, each a transaction, and what became of each record."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Callable, Iterable
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from .errors import DatabaseError, DatabaseUnavailable, RowRefused, number_of
from .report import BadRow, LoadReport
from .rows import Record, fitted, grouped
from .statement import inserting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from .rows import Row
    from .session import Session

OnError: TypeAlias = Literal["report", "raise"]
OnProgress: TypeAlias = Callable[[LoadReport], object]
Records: TypeAlias = Iterable[Record] | AsyncIterable[Record]
KEPT = 1000
"""So many bad rows are kept in the report; all are counted."""
NO_SUCH_TABLE, NO_SUCH_COLUMN, EXISTS = 942, 904, 955


class Way(Enum):
    """A way to insert a batch; another one begins anew, after a rollback."""

    WHOLE = auto()
    """All rows or none: the quickest."""
    REPORTING = auto()
    """The database takes the good rows, and tells of the bad ones."""
    CAREFUL = auto()
    """The same from savepoint to savepoint, for values that the driver stops at."""


WAYS: dict[OnError, list[Way]] = {
    "raise": [Way.WHOLE, Way.REPORTING, Way.CAREFUL],
    "report": [Way.REPORTING, Way.CAREFUL],
}


class Place(NamedTuple):
    """The row in which the database keeps how far a load of this name has come."""

    table: str
    name: str


class Loading:
    """One load: what has been done, and how a batch is done.

    Args:
        table: the name of the table.
        on_error: what becomes of bad rows.
        place: where its progress is kept in the database, if anywhere.
    """

    def __init__(self, table: str, on_error: OnError, place: Place | None) -> None:
        self._table, self._on_error, self.place = table, on_error, place
        self._started = time.monotonic()
        self._loaded = self._refused = self.resume = 0
        self._bad: list[BadRow] = []

    @property
    def report(self) -> LoadReport:
        """The report, as far as it has come."""
        seconds = time.monotonic() - self._started
        bad = tuple(self._bad)
        return LoadReport(self._table, self._loaded, self._refused, bad, self.resume, seconds)

    def count(self, size: int, bad: Sequence[BadRow]) -> None:
        """Note that a batch of `size` records is committed, all but the bad ones."""
        self._loaded += size - len(bad)
        self._refused += len(bad)
        self._bad += bad[: KEPT - len(self._bad)]
        self.resume += size

    def insert(self, session: Session, batch: Sequence[Record]) -> list[BadRow] | None:
        """Insert a batch, without committing; the bad rows, or `None` if it is there already.

        Raises:
            RowRefused: a row is bad, and that is to be raised.
        """
        *quick, careful = WAYS[self._on_error]
        for way in quick:
            try:
                return self._try(session, batch, way)
            except Unclear:
                session.rollback()
        return self._try(session, batch, careful)

    def _try(self, session: Session, batch: Sequence[Record], way: Way) -> list[BadRow] | None:
        if self.place is not None and not self._advance(session, self.place, len(batch)):
            return None
        return self._insert(session, batch, way)

    def _advance(self, session: Session, place: Place, size: int) -> bool:
        """Say in the same transaction how far the load has come; whether it had not already."""
        old, new = self.resume, self.resume + size
        values = {"new": new, "old": old, "name": place.name}
        statement = (
            f"UPDATE {place.table} SET position = :new WHERE name = :name AND position = :old"  # noqa: S608 - checked
        )
        if session.execute(statement, values).rowcount:
            return True
        position = position_of(session, place)
        if position == new:
            return False
        raise DatabaseError(
            f"load {place.name!r}: another one of this name is under way, at record {position}"
        )

    def _insert(self, session: Session, batch: Sequence[Record], way: Way) -> list[BadRow]:
        groups, misfits = grouped(batch)
        first = self.resume + 1
        bad = [BadRow(first + each.place, None, each.reason) for each in misfits]
        self._raise_first(bad)
        types = session.types_of(self._table)
        for group in groups:
            text = inserting(session.dialect, self._table, group.columns).text
            numbers = [first + place for place in group.places]
            rows = fitted(group.columns, types, group.rows)
            bad += _tried(session, text, numbers, rows, way)
            self._raise_first(bad)
        return sorted(bad)

    def _raise_first(self, bad: Sequence[BadRow]) -> None:
        if bad and self._on_error == "raise":
            row = min(bad)
            raise RowRefused(f"record {row.number}: {row.reason}", row.code, row)


class Unclear(Exception):
    """Which row is bad cannot be told: a bad one failed them all, or the driver cannot write it."""


def _tried(
    session: Session, text: str, numbers: list[int], rows: list[Row], way: Way
) -> list[BadRow]:
    """Insert all good rows of records with these numbers; the bad ones."""
    careful = way is Way.CAREFUL
    if careful:
        session.execute("SAVEPOINT flext_rows")
    try:
        errors = session.execute_all(text, rows, reporting=way is not Way.WHOLE)
    except DatabaseUnavailable:
        raise
    except DatabaseError as error:
        number = number_of(error.code)
        if way is Way.WHOLE or (number is None and not careful):
            raise Unclear from error
        # A single row's error comes like a statement's.
        if number is not None and (len(rows) > 1 or _stops(number)) and number != NO_SUCH_COLUMN:
            raise
        if careful:
            session.execute("ROLLBACK TO SAVEPOINT flext_rows")
        if number is not None or len(rows) == 1:
            reason = str(error).partition(": ")[2]
            return [BadRow(number, error.code, reason) for number in numbers]
    else:
        return [BadRow(numbers[offset], code, reason) for offset, code, reason in errors]
    half = len(rows) // 2
    return [
        bad
        for part in (slice(half), slice(half, None))
        for bad in _tried(session, text, numbers[part], rows[part], Way.CAREFUL)
    ]


def _stops(number: int) -> bool:
    """Whether this error of one row would be every row's: the statement, rights, space, locks."""
    return (
        900 <= number < 1000
        or number in {54, 60, 1031, 1536, 1950, 2049, 30006}
        or (1650 <= number < 1660)
    )


def position_of(session: Session, place: Place) -> int | None:
    """Ask how far the load of that name has come; `None` if there was none."""
    statement = f"SELECT position FROM {place.table} WHERE name = :name"  # noqa: S608 - checked
    found = session.execute(statement, {"name": place.name}).scalar()
    return None if found is None else int(found)


def begin_at(session: Session, place: Place) -> int:
    """Ask how far the load of that name has come, and note that there is one."""
    try:
        position = position_of(session, place)
    except DatabaseError as error:
        if number_of(error.code) != NO_SUCH_TABLE:
            raise
        position = None
        _make(session, place)
    if position is None:
        values = {"name": place.name}
        session.execute(f"INSERT INTO {place.table} (name, position) VALUES (:name, 0)", values)  # noqa: S608 - checked
        session.commit()
    return position or 0


def _make(session: Session, place: Place) -> None:
    columns = "name VARCHAR2(128) PRIMARY KEY, position NUMBER(19) NOT NULL"
    try:
        session.execute(f"CREATE TABLE {place.table} ({columns})")
    except DatabaseError as error:
        if number_of(error.code) != EXISTS:  # somebody else was faster
            raise


async def batches(records: Records, size: int, skip: int) -> AsyncGenerator[list[Any], None]:
    """Yield records in lists of `size`, without the first `skip`."""
    if not isinstance(records, AsyncIterable):
        rest = islice(records, skip, None)
        while batch := [*islice(rest, size)]:
            yield batch
        return
    batch = []
    async for record in records:
        if skip:
            skip -= 1
            continue
        batch.append(record)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
