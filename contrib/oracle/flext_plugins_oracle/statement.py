"""Statements that are made here, out of checked names and bound values."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import oracledb
from sqlalchemy import bindparam, column, insert, table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, Executable

from .names import NameRefused, identifier, table_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Dialect, TableClause
    from sqlalchemy.sql import quoted_name
    from sqlalchemy.sql.compiler import SQLCompiler

    from .rows import Kinds

_CASTS = {
    oracledb.DB_TYPE_NUMBER: "NUMBER",
    oracledb.DB_TYPE_DATE: "DATE",
    oracledb.DB_TYPE_TIMESTAMP: "TIMESTAMP",
}


def table_of(name: str, columns: Sequence[str] = ()) -> TableClause:
    """SQLAlchemy's table of that name.

    Raises:
        NameRefused: a name is none.
    """
    schema, own = table_name(name)
    return table(own, *(column(identifier(each)) for each in columns), schema=schema)


class Merge(Executable, ClauseElement):
    """Oracle's MERGE of one row: updates the row with the same key, or inserts it."""

    inherit_cache = False

    def __init__(
        self, into: TableClause, keys: Sequence[quoted_name], casts: Sequence[str | None]
    ) -> None:
        self.into, self.keys, self.casts = into, frozenset(keys), casts


@compiles(Merge)
def _merge(merge: Merge, compiler: SQLCompiler, **_: Any) -> str:
    names = {
        each.name: compiler.preparer.format_column(each, name=each.name) for each in merge.into.c
    }
    binds = [compiler.process(_bind(number)) for number in range(len(names))]
    # By itself a bind has its value's type, and a NULL that of a text.
    typed = [
        f"CAST({bind} AS {cast})" if cast else bind
        for bind, cast in zip(binds, merge.casts, strict=True)
    ]
    pairs = zip(typed, names.values(), strict=True)
    source = ", ".join(f"{bind} AS {text}" for bind, text in pairs)
    matches = [f"t.{text} = s.{text}" for name, text in names.items() if name in merge.keys]
    changes = [f"{text} = s.{text}" for name, text in names.items() if name not in merge.keys]
    # No alias in SET and INSERT: Oracle needs none, and some servers that speak its wire know none.
    parts = (
        f"MERGE INTO {compiler.preparer.format_table(merge.into)} t",
        f"USING (SELECT {source} FROM dual) s ON ({' AND '.join(matches)})",  # noqa: S608
        f"WHEN MATCHED THEN UPDATE SET {', '.join(changes)}" if changes else "",
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(names.values())})",
        f"VALUES ({', '.join(f's.{text}' for text in names.values())})",
    )
    return " ".join(filter(None, parts))


@lru_cache(maxsize=256)
def inserting(dialect: Dialect, name: str, columns: tuple[str, ...]) -> str:
    """An INSERT into the table of that name, of values in the order of these columns.

    Raises:
        NameRefused: a name is none.
    """
    into = table_of(name, columns)
    values = {each: _bind(number) for number, each in enumerate(into.c)}
    return str(insert(into).values(values).compile(dialect=dialect))


@lru_cache(maxsize=256)
def merging(
    dialect: Dialect, name: str, columns: tuple[str, ...], keys: tuple[str, ...], kinds: Kinds
) -> str:
    """A MERGE into the table of that name, of values in the order of these columns.

    Rows are the same if their `keys` are; `kinds` are the columns' types.

    Raises:
        NameRefused: a name is none, or a key is not among the columns.
    """
    into, same = table_of(name, columns), [identifier(each) for each in keys]
    if missing := [each for each in same if each not in into.c]:
        raise NameRefused(f"upsert: a record has no {missing[0]}, which is among its keys")
    if not same:
        raise NameRefused("upsert: it needs keys, columns in which a record and its row agree")
    merge = Merge(into, same, [_CASTS.get(each) for each in kinds])
    return str(merge.compile(dialect=dialect))


def _bind(number: int) -> Any:
    return bindparam(f"c{number}", required=False, value=None)
