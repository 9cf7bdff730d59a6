"""Loading records: array DML in batches, each a transaction, and what became of each record."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from .errors import DatabaseError, DatabaseUnavailable, RowRefused, number_of
from .report import BadRow, LoadReport
from .rows import Record, fitted, grouped, kinds_of, sizes_of
from .statement import inserting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from .position import Position
    from .rows import Group, Kinds, Row, Types
    from .session import Session

OnError: TypeAlias = Literal["report", "raise"]
OnProgress: TypeAlias = Callable[[LoadReport], object]
Records: TypeAlias = Iterable[Record] | AsyncIterable[Record]
KEPT = 1000
"""So many bad rows are kept in the report; all are counted."""
OF_VALUES = frozenset({900, 904, 932, 1460, 1461, 1483})
"""Errors of a statement that only some rows' columns or types of values make."""
OF_ALL = frozenset({54, 60, 1031, 1536, 1950, 2049, 30006, *range(900, 1000), *range(1650, 1660)})
"""The statement, rights, space, locks: an error of one row that would be every row's."""


class Part(NamedTuple):
    """The rows of a batch that one statement inserts, and the numbers of their records."""

    text: str
    kinds: Kinds
    numbers: Sequence[int]
    rows: list[Row]

    @property
    def sizes(self) -> list[Any]:
        """The driver's types of the columns where it cannot guess them."""
        return sizes_of(self.kinds, self.rows)

    def at(self, places: Iterable[int]) -> Part:
        """Those of these places."""
        chosen = [*places]
        rows = [self.rows[each] for each in chosen]
        return self._replace(numbers=[self.numbers[each] for each in chosen], rows=rows)


class Anew(Exception):
    """The batch has to be done again, step by step: nobody knows which of its rows are in."""


class Loading:
    """One load: what has been done, and how a batch is done.

    Args:
        table: the name of the table.
        on_error: what becomes of bad rows.
        position: where the database keeps how far it has come, if anywhere.
    """

    def __init__(self, table: str, on_error: OnError, position: Position | None) -> None:
        self._table, self._on_error, self.position = table, on_error, position
        self._started = time.monotonic()
        self._loaded = self._refused = self.resume = 0
        self._bad: list[BadRow] = []
        self._types: Types | None = None

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

    def insert(self, session: Session, batch: Sequence[Record]) -> list[BadRow]:
        """Insert a batch, without committing; the bad rows.

        Raises:
            RowRefused: a row is bad, and that is to be raised.
            DatabaseError: no row can be inserted, or the load was begun anew elsewhere.
        """
        groups, misfits = grouped(batch)
        bad = [BadRow(self.resume + 1 + each.place, None, each.reason) for each in misfits]
        if self._types is None:
            self._types = session.describe(self._table)
        parts = [self._part(session, each, self._types) for each in groups]
        is_clean = self._on_error == "raise" and not bad
        bad += self._insert(session, parts, len(batch), is_clean=is_clean)
        if bad and self._on_error == "raise":
            row = min(bad)
            raise RowRefused(f"record {row.number}: {row.reason}", row.code, row)
        return sorted(bad)

    def _part(self, session: Session, group: Group, types: Types) -> Part:
        numbers = [self.resume + 1 + place for place in group.places]
        kinds = kinds_of(group.columns, types)
        text = inserting(session.dialect, self._table, group.columns)
        return Part(text, kinds, numbers, fitted(kinds, group.rows))

    def _insert(
        self, session: Session, parts: Sequence[Part], size: int, *, is_clean: bool
    ) -> list[BadRow]:
        """Insert all good rows, and note how far that is; the bad ones."""
        try:
            self._advance(session, size)
            if is_clean:  # no bad rows are expected, which is several times as fast
                for part in parts:
                    _insert_all(session, part)
                return []
            return [bad for part in parts for bad in _tried(session, part, is_careful=False)]
        except Anew:
            session.rollback()
        self._advance(session, size)
        similar = [each for part in parts for each in _of_one_type(part)]
        return [bad for part in similar for bad in _tried(session, part, is_careful=True)]

    def _advance(self, session: Session, size: int) -> None:
        if self.position is not None:
            self.position.advance(session, self.resume, self.resume + size)


def _insert_all(session: Session, part: Part) -> None:
    try:
        session.execute_many(part.text, part.rows, part.sizes)
    except DatabaseUnavailable:
        raise
    except DatabaseError as error:
        raise Anew from error


def _of_one_type(part: Part) -> list[Part]:
    """Part the rows by the types of their values: the driver takes one type a column."""
    found: dict[tuple[type, ...], list[int]] = {}
    for place, row in enumerate(part.rows):
        found.setdefault(tuple(map(type, row)), []).append(place)
    return [part.at(places) for places in found.values()]


def _tried(session: Session, part: Part, *, is_careful: bool) -> list[BadRow]:
    """Insert all good rows; the bad ones. To be careful is to undo what failed, and halve it."""
    numbers, size = part.numbers, len(part.rows)
    if is_careful:
        session.execute("SAVEPOINT flext_rows")
    try:
        errors = session.execute_good(part.text, part.rows, part.sizes)
    except DatabaseUnavailable:
        raise
    except DatabaseError as error:
        if _is_of_all(error, size):
            raise
        number = number_of(error.code)
        if not is_careful and (number is None or size > 1):
            raise Anew from error
        if is_careful:
            session.execute("ROLLBACK TO SAVEPOINT flext_rows")
        if number is not None or size == 1:
            reason = str(error).partition(": ")[2]
            return [BadRow(each, error.code, reason) for each in numbers]
    else:
        bad = [BadRow(numbers[offset], code, reason) for offset, code, reason in errors]
        if told := [each for each in bad if number_of(each.code) in OF_ALL - OF_VALUES]:
            raise DatabaseError(f"load: {told[0].reason}", told[0].code)
        return bad
    halves = range(size // 2), range(size // 2, size)
    return [bad for half in halves for bad in _tried(session, part.at(half), is_careful=True)]


def _is_of_all(error: DatabaseError, size: int) -> bool:
    """Whether this error of a statement for `size` rows is that of any such statement."""
    number = number_of(error.code)
    if number is None or number in OF_VALUES:
        return False
    return size > 1 or number in OF_ALL  # a single row's error comes like a statement's


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
