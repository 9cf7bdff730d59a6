"""All tables, in the order of the page. Another one is a module with `TABLES`, listed here."""

from __future__ import annotations

import os
from importlib import metadata
from shutil import which
from typing import TYPE_CHECKING

from . import chain, clients, concurrency, database, directory, footprint, opening, stacks
from .measurement import Bench

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack

    from .measurement import Case, Table

MODULES = (chain, clients, stacks, concurrency, directory, database, opening, footprint)
TABLES: tuple[Table, ...] = tuple(table for module in MODULES for table in module.TABLES)


def version(name: str) -> str | None:
    """Which version of a distribution is installed, if any."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def lacking(case: Case) -> list[str]:
    """The distributions and programs that a case needs and that are not there."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [each for each in case.needs if version(each) is None and which(each, path=path) is None]


def opened(table: Table, names: Iterable[str], stack: ExitStack) -> Bench:
    """The cases of these names, ready to be measured until `stack` is closed."""
    url = stack.enter_context(table.place())
    chosen = set(names)
    cases = [each for each in table.cases if each.name in chosen and not lacking(each)]
    return Bench({each.name: each.open(stack, url) for each in cases}, table)
