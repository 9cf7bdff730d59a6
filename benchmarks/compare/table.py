"""The tables: made of outcomes, written into the page between two markers, and read from there."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks import page

from . import auth, breaker, clients, libraries, retry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .measurement import Behaviour

GROUPS = {"breaker": breaker, "auth": auth, "retry": retry, "clients": clients}
PAGE = page.DOCS / "explanation/comparison.md"
CLIENTS = ("httpx", "httpx2", "requests")

Cells = dict[str, dict[str, str]]
"""By a table's name and that of a behaviour: one library's cells."""


def behaviours(table: str) -> tuple[Behaviour, ...]:
    """The lines of a table."""
    found: tuple[Behaviour, ...] = GROUPS[table].BEHAVIOURS
    return found


def shown(found: dict[str, Cells], missing: dict[str, str]) -> str:
    """Everything that was measured, as Markdown.

    Args:
        found: by library.
        missing: why a library was not measured.
    """
    return "\n\n".join([_head(missing), *(_section(table, found, missing) for table in GROUPS)])


def _head(missing: dict[str, str]) -> str:
    day = datetime.now(UTC).date()
    used = ", ".join(f"{name} {libraries.version(name)}" for name in CLIENTS)
    versions = {name: missing.get(name) or libraries.version(name) for name in libraries.NAMES}
    rows = [["library", "version"], *([f"`{name}`", str(each)] for name, each in versions.items())]
    return (
        f"Measured on {day} with Python {platform.python_version()}, {used}.\n\n{page.grid(rows)}"
    )


def _section(table: str, found: dict[str, Cells], missing: dict[str, str]) -> str:
    names = libraries.TABLES[table]
    rows = [[GROUPS[table].TITLE, *(f"`{name}`" for name in names)]]
    for each in behaviours(table):
        cells = ["not run" if name in missing else found[name][table][each.name] for name in names]
        rows.append([each.sentence, *cells])
    return page.grid(rows)


def record(text: str) -> None:
    """Put it into the page in place of what was measured before."""
    page.record(PAGE, text)


def recorded() -> dict[str, dict[str, dict[str, str]]]:
    """The page's cells, by title, sentence and library."""
    tables = {}
    for block in page.recorded(PAGE).split("\n\n"):
        if block.startswith("|"):
            (title, *names), _, *rows = _rows(block)
            columns = [name.strip("`") for name in names]
            tables[title] = {
                sentence: dict(zip(columns, cells, strict=True)) for sentence, *cells in rows
            }
    return tables


def _rows(block: str) -> Iterator[list[str]]:
    for line in block.splitlines():
        yield [cell.strip() for cell in line.strip("|").split(" | ")]
