"""A run, told to people: live on stderr, and in lines of what came of it."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flext_plugins.redaction import redact

if TYPE_CHECKING:
    from .status import ExecutionStatus

SHOWN = 5
"""So many complaints are told."""
STREAMS = 10
"""So many streams are told in a line, and drawn in a terminal: those with most records."""
INTERVAL = 1.0
"""Seconds between two lines about the records, where there is no terminal."""


def visible(text: str) -> str:
    """`text` with what a terminal would obey, or not show, as JSON escapes it, without secrets."""
    text = redact(text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def say(text: str) -> None:
    """Print a line on stderr."""
    _console().print(Text(visible(text)), soft_wrap=True)


def describe(status: ExecutionStatus) -> list[str]:
    """Describe a run, in a line for each thing that is known of it."""
    is_well = status.state == "succeeded"
    took = f" in {status.duration:.1f} s" if status.duration is not None else ""
    first = f"{'ok' if is_well else status.state}{_records(status)}{took}"
    codes = () if is_well else status.exit_codes.items()
    named = {
        "error": status.error,
        "failed": ", ".join(status.failures),
        "exit codes": ", ".join(f"{name} {code}" for name, code in codes),
    }
    lines = [first, *(f"{name}: {text}" for name, text in named.items() if text)]
    lines += [f"complaint: {text}" for text in status.complaints[:SHOWN]]
    if len(status.complaints) > SHOWN:
        lines.append(f"and {len(status.complaints) - SHOWN} more complaints")
    return [*map(visible, lines)]


def facts(service: str, status: ExecutionStatus) -> dict[str, Any]:
    """Give the same to programs."""
    return {
        "service": service,
        "id": status.id,
        "state": status.state,
        "records": dict(status.records),
        "error": status.error,
        "failures": [*status.failures],
        "complaints": [*status.complaints],
        "exit_codes": dict(status.exit_codes),
        "seconds": None if status.duration is None else round(status.duration, 3),
    }


class Display:
    """State, records by stream and time: drawn in a terminal, lines elsewhere, none if `quiet`."""

    def __init__(self, run: str, *, quiet: bool) -> None:
        self._run, self._quiet = run, quiet
        self._status: ExecutionStatus | None = None
        self._began, self._last = time.monotonic(), 0.0
        self._line = ""
        console = _console()
        self._is_drawn = not quiet and sys.stderr.isatty() and not console.is_dumb_terminal
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console, transient=True, get_renderable=self._table, refresh_per_second=5
        )

    def __enter__(self) -> Self:
        if self._is_drawn:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, status: ExecutionStatus) -> None:
        """Show how it stands."""
        self._status = status
        if self._quiet or self._is_drawn or status.is_over:
            return
        line, now = f"{status.state}{_records(status)}", time.monotonic()
        if line == self._line or (status.records and now - self._last < INTERVAL):
            return
        self._line, self._last = line, now if status.records else 0.0
        say(line)

    def _table(self) -> Table:
        status, seconds = self._status, time.monotonic() - self._began
        table = Table.grid(padding=(0, 1))
        state = status.state if status else "submitted"
        count = f", {_count(status)}" if status and status.records else ""
        texts = (self._run, f"{state}{count}, {seconds:.0f} s")
        table.add_row(self._spinner, *(Text(visible(each)) for each in texts))
        for stream, number in _most(status) if status else ():
            table.add_row("", Text(visible(stream)), Text(str(number)))
        return table


def _console() -> Console:
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def _most(status: ExecutionStatus) -> list[tuple[str, int]]:
    return sorted(status.records.items(), key=lambda each: -each[1])[:STREAMS]


def _count(status: ExecutionStatus) -> str:
    return f"{status.moved} record{'' if status.moved == 1 else 's'}"


def _records(status: ExecutionStatus) -> str:
    """The records, if any were counted: a tap may tell of none and move some."""
    if not status.records:
        return ""
    streams = ", ".join(f"{stream} {number}" for stream, number in _most(status))
    more = ", ..." if len(status.records) > STREAMS else ""
    return f": {_count(status)} ({streams}{more})"
