"""The progress of a load of a file, told on stderr, and the rows of it that were bad."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from flext_plugins.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import RecordFile
    from .report import BadRow, LoadReport

SHOWN = 20
"""So many bad rows are told."""
INTERVAL = 1.0
"""Seconds between two lines about the progress, where there is no terminal."""


def visible(text: str) -> str:
    """`text` with what a terminal would obey, or not show, as JSON escapes it, without secrets."""
    text = redact(text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


class Display:
    """A bar in a terminal, a line a second elsewhere, nothing if `quiet`."""

    def __init__(self, records: RecordFile, table: str, *, quiet: bool) -> None:
        self._records, self._quiet = records, quiet
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        is_drawn = not quiet and sys.stderr.isatty() and not self._console.is_dumb_terminal
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[records]} records, {task.fields[refused]} refused"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not is_drawn,
        )
        self._task = self._bar.add_task(visible(table), total=_size(records), records=0, refused=0)
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away; do nothing the second time."""
        self._bar.stop()

    def advance(self, report: LoadReport) -> None:
        """Show how far it has come."""
        self._bar.update(
            self._task,
            completed=self._records.lines.size,
            records=report.resume,
            refused=report.refused,
        )
        if self._bar.disable and time.monotonic() - self._last >= INTERVAL:
            self._last = time.monotonic()
            self.say(f"{report.resume} records, {report.refused} refused")

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        if not self._quiet:
            self._console.print(Text(visible(text)), soft_wrap=True)


def _size(records: RecordFile) -> int | None:
    """The bytes of a file that has an end."""
    with suppress(OSError, ValueError):
        status = os.fstat(records.lines.file.fileno())
        if stat.S_ISREG(status.st_mode):
            return status.st_size
    return None


class BadRows:
    """Bad rows with their lines: the first ones are told, all that a report keeps are kept.

    Args:
        records: which knows their lines.
        display: tells of them.
        file: gets a line of JSON for each.
    """

    def __init__(self, records: RecordFile, display: Display, file: TextIO | None) -> None:
        self._records, self._display, self._file = records, display, file
        self.facts: list[dict[str, Any]] = []

    def note(self, rows: Sequence[BadRow]) -> None:
        """Keep bad rows of the batch that was loaded last, and tell of the first ones of all."""
        for row in rows:
            line = self.keep(row)
            if len(self.facts) <= SHOWN:
                self._display.say(line)
        if self._file is not None:
            self._file.flush()

    def keep(self, row: BadRow) -> str:
        """Keep a bad row of that batch; what is to be told of it."""
        place = self._records.place(row.number)
        reason = place.reason or row.reason
        fact = {"number": row.number, "line": place.line, "code": row.code, "reason": reason}
        self.facts.append(fact)
        if self._file is not None:
            self._file.write(json.dumps(fact) + "\n")
        return f"record {row.number}, line {place.line}: {reason}"

    def end(self, refused: int) -> None:
        """Tell how many more there were."""
        if refused > SHOWN:
            self._display.say(f"and {refused - SHOWN} more")
