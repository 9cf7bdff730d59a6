"""Statements that are made here, out of checked names and bound values."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, column, insert, table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, Executable

from .names import identifier, table_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Dialect, TableClause
    from sqlalchemy.sql import quoted_name
    from sqlalchemy.sql.compiler import SQLCompiler


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

    def __init__(self, into: TableClause, keys: Sequence[quoted_name]) -> None:
        self.into, self.keys = into, frozenset(keys)


@compiles(Merge)
def _merge(merge: Merge, compiler: SQLCompiler, **_: Any) -> str:
    names = {
        each.name: compiler.preparer.format_column(each, name=each.name) for each in merge.into.c
    }
    binds = {name: compiler.process(_bind(number)) for number, name in enumerate(names)}
    source = ", ".join(f"{binds[name]} AS {text}" for name, text in names.items())
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


class Prepared(NamedTuple):
    """A statement for many rows, whose values stand in the order of its columns."""

    text: str
    columns: tuple[str, ...]


@lru_cache(maxsize=256)
def inserting(dialect: Dialect, name: str, columns: tuple[str, ...]) -> Prepared:
    """An INSERT into the table of that name.

    Raises:
        NameRefused: a name is none.
    """
    into = table_of(name, columns)
    values = {each: _bind(number) for number, each in enumerate(into.c)}
    return Prepared(str(insert(into).values(values).compile(dialect=dialect)), columns)


@lru_cache(maxsize=256)
def merging(
    dialect: Dialect, name: str, columns: tuple[str, ...], keys: tuple[str, ...]
) -> Prepared:
    """A MERGE into the table of that name, whose rows are the same if `keys` are.

    Raises:
        NameRefused: a name is none, or a key is not among the columns.
    """
    merge = Merge(table_of(name, columns), [identifier(each) for each in keys])
    return Prepared(str(merge.compile(dialect=dialect)), columns)


def _bind(number: int) -> Any:
    return bindparam(f"c{number}", required=False, value=None)
