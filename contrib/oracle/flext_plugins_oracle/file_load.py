"""A load of a file, for the command: what became of its records, and what ended it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flext_plugins import FlextError

from .errors import DatabaseError, RowRefused
from .records import FileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .load import OnError
    from .progress import BadRows, Display
    from .records import RecordFile
    from .report import LoadReport
    from .sync import OracleDatabase

FAILED, INTERRUPTED = 1, 130


class FileLoad:
    """Loads a file, once.

    Attributes:
        report: how far it has come, if it is known.
        problem: what ended it before its time, in a line.
        error: the same, if it is for the caller to raise.
        status: the exit status.
    """

    def __init__(
        self,
        path: Path,
        records: RecordFile,
        display: Display,
        bad_rows: BadRows,
        tell: Callable[[FileLoad], None],
    ) -> None:
        self._where = "standard input" if str(path) == "-" else str(path)
        self._records = records
        self._display, self._bad_rows, self._tell = display, bad_rows, tell
        self.report: LoadReport | None = None
        self.problem: str | None = None
        self.error: FlextError | None = None
        self.status = 0

    def perform(
        self,
        database: OracleDatabase,
        table: str,
        *,
        batch_size: int,
        on_error: OnError,
        name: str | None,
    ) -> None:
        """Load all of it, or as much as can be, and tell."""
        try:
            with self._display, self._interruptible():
                self.report = database.load(
                    table,
                    self._records,
                    batch_size=batch_size,
                    on_error=on_error,
                    name=name,
                    on_progress=self._advance,
                )
        except (FlextError, FileError, OSError, KeyboardInterrupt) as error:
            self._fail(error)
        if self.report is not None:
            self._bad_rows.end(self.report.refused)
            if self.report.refused:
                self.status = self.status or FAILED
        self._tell(self)

    def facts(self) -> dict[str, Any]:
        """Tell programs what came of it; `resume` is `None` if it is not known."""
        report = self.report
        return {
            "loaded": report.loaded if report else 0,
            "refused": report.refused if report else 0,
            "resume": report.resume if report else None,
            "seconds": round(report.seconds, 3) if report else None,
            "bad_rows": self._bad_rows.facts,
            "error": self.problem,
        }

    def summary(self) -> str:
        """Tell what came of it, in a line; nothing if nothing was done."""
        report = self.report
        if report is None:
            return ""
        before = report.resume - report.loaded - report.refused
        refused = f", {report.refused} refused" if report.refused else ""
        facts = f"{report.loaded} loaded{refused} in {report.seconds:.1f} s"
        after = f", after the {before} that were done before" if before else ""
        if self.problem is None:
            return f"{'' if refused else 'ok: '}{facts}{after}"
        return f"stopped after record {report.resume}: {facts}{after}"

    def _advance(self, report: LoadReport) -> None:
        self.report = report
        self._bad_rows.note(report.bad_rows[len(self._bad_rows.facts) :])
        self._display.advance(report)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, DatabaseError):
            self.report = error.report or self.report
        if isinstance(error, RowRefused) and error.row is not None:
            self._end(self._bad_rows.keep(error.row))
        elif isinstance(error, FlextError):
            self.error = error
            self._end(str(error))
        elif isinstance(error, KeyboardInterrupt):
            self._end("interrupted", INTERRUPTED)
        else:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._end(f"{self._where}: {reason or type(error).__name__}")

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let Ctrl-C stop between two batches, unless it is ignored, as in the background."""
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, *_: object) -> None:
        if not self._records.is_stopped or self._records.lines.is_reading:
            self._records.stop()
            return
        # The driver, told so by an exception, would wait for the server before it ends.
        self._display.close()
        self._end("interrupted in the middle of a batch, which may be there", INTERRUPTED)
        self._tell(self)
        sys.stdout.flush()
        os._exit(INTERRUPTED)

    def _end(self, problem: str, status: int = FAILED) -> None:
        self.problem, self.status = problem, status
