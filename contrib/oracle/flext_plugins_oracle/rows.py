"""Records, which are mappings, as rows of values for a statement."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import oracledb

from .names import NameRefused, identifier

Record: TypeAlias = Mapping[str, Any]
Row: TypeAlias = tuple[Any, ...]
Types: TypeAlias = Mapping[str, Any]
"""The driver's type of each column, by its name in upper case if that means any case."""
Kinds: TypeAlias = tuple[Any, ...]
"""The same, in the order of a row's values."""

DATES = frozenset({oracledb.DB_TYPE_DATE, oracledb.DB_TYPE_TIMESTAMP, oracledb.DB_TYPE_TIMESTAMP_TZ,
                   oracledb.DB_TYPE_TIMESTAMP_LTZ})  # fmt: skip
TEXTS = frozenset({oracledb.DB_TYPE_VARCHAR, oracledb.DB_TYPE_NVARCHAR, oracledb.DB_TYPE_CHAR,
                   oracledb.DB_TYPE_NCHAR, oracledb.DB_TYPE_CLOB,
                   oracledb.DB_TYPE_NCLOB})  # fmt: skip

FRACTIONS = {
    oracledb.DB_TYPE_TIMESTAMP: oracledb.DB_TYPE_TIMESTAMP,
    oracledb.DB_TYPE_TIMESTAMP_TZ: oracledb.DB_TYPE_TIMESTAMP_TZ,
    oracledb.DB_TYPE_TIMESTAMP_LTZ: oracledb.DB_TYPE_TIMESTAMP_TZ,
}
"""How times are bound, by the column's type: unasked, the driver leaves out fractions of a second,
and the zone, in whose place the session's would come."""
TOLD = frozenset({oracledb.DB_TYPE_CLOB, oracledb.DB_TYPE_NCLOB, oracledb.DB_TYPE_BLOB,
                  oracledb.DB_TYPE_JSON})  # fmt: skip
"""Types that the driver cannot always guess from a value."""
SMALL = 1000
"""So many characters are at most 4000 bytes."""


class Group(NamedTuple):
    """Rows of the same columns."""

    columns: tuple[str, ...]
    places: list[int]
    """Where the record of each row stands among the records, from 0."""
    rows: list[Row]
    pick: Callable[[Record], Row]
    """Makes a row of a record."""


class Misfit(NamedTuple):
    """A record that cannot be a row."""

    place: int
    """Among the records, from 0."""
    reason: str


def grouped(records: Iterable[object]) -> tuple[list[Group], list[Misfit]]:
    """Sort records by their columns, in the order in which these appear."""
    groups: dict[tuple[str, ...], Group] = {}
    misfits: list[Misfit] = []
    for place, record in enumerate(records):
        if not isinstance(record, (dict, Mapping)) or not record:  # a dict is told at once
            misfits.append(Misfit(place, "it is no mapping of columns to values"))
            continue
        columns = tuple(record)
        group = groups.get(columns)
        if group is None:
            same = tuple(sorted(columns, key=str))
            if reason := problem_of(same):
                misfits.append(Misfit(place, reason))
                continue
            group = groups.setdefault(same, Group(same, [], [], _picking(same)))
            groups[columns] = group
        group.places.append(place)
        group.rows.append(group.pick(record))
    return [*{id(group): group for group in groups.values()}.values()], misfits


def _picking(columns: tuple[str, ...]) -> Callable[[Record], Row]:
    pick = itemgetter(*columns)
    return pick if len(columns) > 1 else lambda record: (pick(record),)


@lru_cache(maxsize=256)
def problem_of(columns: tuple[str, ...]) -> str | None:
    """The problem of these names of columns, if there is one."""
    try:
        names = [identifier(each) for each in columns]
    except NameRefused as error:
        return str(error)
    keys = {*map(_key, columns)}
    return "it names a column twice" if min(len({*names}), len(keys)) < len(names) else None


def kinds_of(columns: Sequence[str], types: Types) -> Kinds:
    """The driver's type of each column, `None` where nobody knows."""
    return tuple(types.get(_key(each)) for each in columns)


def fitted(kinds: Kinds, rows: list[Row]) -> list[Row]:
    """Rows whose values are what the columns are made of, where JSON and CSV have no word for it.

    ISO 8601 becomes a date, which is UTC's if it says a zone, since the driver keeps none; `true` a
    number where the column is one, and what is nested JSON.
    """
    fits = [_FITS.get(each) for each in kinds]
    values = [*zip(*rows, strict=True)]
    changed = False
    for place, fit in enumerate(fits):
        # Most columns hold nothing to change, and to look at all types of a column is quick.
        found = {*map(type, values[place])}
        if fit is not None and any(issubclass(each, fit.kinds) for each in found):
            values[place] = tuple(map(fit.change, values[place]))
            changed = True
    return [*zip(*values, strict=True)] if changed else rows


def sizes_of(kinds: Kinds, rows: Sequence[Row]) -> list[Any]:
    """The driver's type of each column where it cannot be guessed from these values; else `None`.

    Oracle takes a value of more than 4000 bytes without one for INSERT, and nowhere else.
    """
    return [
        FRACTIONS.get(kind, kind)
        if (kind in TOLD or kind in FRACTIONS)
        and _is_to_be_told(kind, [row[place] for row in rows])
        else None
        for place, kind in enumerate(kinds)
    ]


def fractions_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The driver's type of each time with a fraction of a second, which it would drop."""
    return {
        name: oracledb.DB_TYPE_TIMESTAMP
        for name, value in values.items()
        if isinstance(value, datetime) and value.microsecond
    }


def _is_to_be_told(kind: Any, values: Sequence[Any]) -> bool:
    if kind in FRACTIONS:
        return all(each is None or isinstance(each, datetime) for each in values)
    if kind == oracledb.DB_TYPE_JSON:
        return all(each is None or isinstance(each, (dict, list)) for each in values)
    return any(_size(each) > SMALL for each in values) or all(each is None for each in values)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes)) else 0


def _key(column: str) -> str:
    name = identifier(column)
    return str(name) if name.quote else name.upper()


class _Fit(NamedTuple):
    """Find what is done with the values of these kinds in a column."""

    kinds: tuple[type, ...]
    change: Callable[[Any], Any]


def _date(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:  # the database may know what it is
            return value
    if isinstance(value, datetime) and value.tzinfo is not None:
        try:
            return value.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:  # beyond the year 9999: the database refuses the text
            return value.isoformat()
    return value


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _text(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        try:
            return json.dumps(value, default=str, allow_nan=False)
        except (ValueError, TypeError, RecursionError):  # the driver says that it is no text
            return value
    return value


_FITS: Mapping[Any, _Fit] = {
    **dict.fromkeys(DATES, _Fit((str, datetime), _date)),
    **dict.fromkeys(TEXTS, _Fit((dict, list), _text)),
    oracledb.DB_TYPE_NUMBER: _Fit((bool,), _number),
}
