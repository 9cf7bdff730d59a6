"""Tables in Markdown, and the part of a page that holds what was measured."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def grid(rows: list[list[str]], right: int = 0) -> str:
    """`rows`, the first of them the head, as a table with its last `right` columns to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = len(widths) - right
    lines = [
        [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    rule = [
        "-" * width if place < left else "-" * (width - 1) + ":"
        for place, width in enumerate(widths)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def record(page: Path, text: str) -> None:
    """Put `text` into the page in place of what was measured before."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def recorded(page: Path) -> str:
    """What the page says was measured."""
    _, rest = page.read_text(encoding="utf-8").split(BEGIN)
    text, _ = rest.split(END)
    return text.strip()
