"""Records, which are mappings, as rows of values for a statement."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import oracledb

from .names import NameRefused, identifier

Record: TypeAlias = Mapping[str, Any]
Row: TypeAlias = tuple[Any, ...]
Types: TypeAlias = Mapping[str, Any]
"""The driver's type of each column, by its name in upper case if that means any case."""

DATES = frozenset({oracledb.DB_TYPE_DATE, oracledb.DB_TYPE_TIMESTAMP, oracledb.DB_TYPE_TIMESTAMP_TZ,
                   oracledb.DB_TYPE_TIMESTAMP_LTZ})  # fmt: skip
TEXTS = frozenset({oracledb.DB_TYPE_VARCHAR, oracledb.DB_TYPE_NVARCHAR, oracledb.DB_TYPE_CHAR,
                   oracledb.DB_TYPE_NCHAR, oracledb.DB_TYPE_CLOB,
                   oracledb.DB_TYPE_NCLOB})  # fmt: skip


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
    return "it names a column twice" if len({*names}) < len(names) else None


def fitted(columns: Sequence[str], types: Types, rows: list[Row]) -> list[Row]:
    """Rows whose values are what the columns are made of, where JSON and CSV have no word for it.

    ISO 8601 becomes a date, `true` a number where the column is one, and what is nested JSON.
    """
    fits = [_FITS.get(types.get(_key(each))) for each in columns]
    values = [*zip(*rows, strict=True)]
    changed = False
    for place, fit in enumerate(fits):
        # Most columns hold nothing to change, and to look at all types of a column is quick.
        kinds = {*map(type, values[place])}
        if fit is not None and any(issubclass(kind, fit.kinds) for kind in kinds):
            values[place] = tuple(map(fit.change, values[place]))
            changed = True
    return [*zip(*values, strict=True)] if changed else rows


def _key(column: str) -> str:
    name = identifier(column)
    return str(name) if name.quote else name.upper()


class _Fit(NamedTuple):
    """What is done with the values of these kinds in a column."""

    kinds: tuple[type, ...]
    change: Callable[[Any], Any]


def _date(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:  # the database may know what it is
            return value
    return value


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _text(value: Any) -> Any:
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else value


_FITS: Mapping[Any, _Fit] = {
    **dict.fromkeys(DATES, _Fit((str,), _date)),
    **dict.fromkeys(TEXTS, _Fit((dict, list), _text)),
    oracledb.DB_TYPE_NUMBER: _Fit((bool,), _number),
}
