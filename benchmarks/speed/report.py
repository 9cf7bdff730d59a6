"""What was measured, for a terminal and for the page."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from .measurement import medians, quartiles
from .tables import lacking, opened

if TYPE_CHECKING:
    from .measurement import Round, Table


def grid(rows: list[list[str]], left: int = 1) -> str:
    """`rows` as a table in Markdown, its first `left` columns to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    rule = [
        "-" * width if place < left else f"{'-' * (width - 1)}:"
        for place, width in enumerate(widths)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def number(value: float) -> str:
    """Three digits, and all that stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def measured(table: Table, rounds: int) -> list[Round]:
    """All of its cases that are there."""
    rounds = min(rounds, table.rounds or rounds)
    with ExitStack() as stack:
        return opened(table, [each.name for each in table.cases], stack).rounds(rounds)


def shown(table: Table, found: list[Round]) -> str:
    """Its cases, what each takes, and the quartiles of its ratio to its base."""
    times = medians(found)
    rows = [[table.title, table.unit, "lower", "median", "upper"]]
    for case in table.cases:
        if lack := lacking(case):
            rows.append([case.name, f"not installed: {', '.join(lack)}", "", "", ""])
            continue
        ratios = ["", "1", ""]
        if case.base:
            base = case.base
            ratios = [f"{each:.3g}" for each in quartiles(r[case.name] / r[base] for r in found)]
        rows.append([case.name, number(times[case.name] * table.factor), *ratios])
    return grid(rows)
