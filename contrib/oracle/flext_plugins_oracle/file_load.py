"""A load of a file, for the command: what became of its records, and what ended it."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flext_plugins import FlextError

from .errors import DatabaseError, RowRefused
from .records import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator
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
        self, path: Path, records: RecordFile, display: Display, bad_rows: BadRows
    ) -> None:
        self._where = "standard input" if str(path) == "-" else str(path)
        self._records = records
        self._display, self._bad_rows = display, bad_rows
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
        """Load all of it, or as much as can be; only `status` and its neighbours tell."""
        try:
            with self._display, _interrupting(self._records):
                self.report = database.load(
                    table,
                    self._records,
                    batch_size=batch_size,
                    on_error=on_error,
                    name=name,
                    on_progress=self._advance,
                )
        except RowRefused as error:
            self.report = error.report
            self._end(str(error) if error.row is None else self._bad_rows.keep(error.row))
        except FlextError as error:
            self.report = (
                error.report if isinstance(error, DatabaseError) else None
            ) or self.report
            self.error = error
            self._end(str(error))
        except (FileError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._end(f"{self._where}: {reason or type(error).__name__}")
        except KeyboardInterrupt:
            where = " in the middle of a batch, which may be there" * self._records.is_abrupt
            self._end(f"interrupted{where}", INTERRUPTED)
        if self.report is not None:
            self._bad_rows.end(self.report.refused)
            if self.report.refused:
                self.status = self.status or FAILED

    def facts(self) -> dict[str, Any]:
        """What came of it, for programs; `resume` is `None` if it is not known."""
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
        """What came of it, in a line; nothing if nothing was done."""
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

    def _end(self, problem: str, status: int = FAILED) -> None:
        self.problem, self.status = problem, status


@contextmanager
def _interrupting(records: RecordFile) -> Iterator[None]:
    """Let Ctrl-C stop between two batches, unless it is ignored, as in the background."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: records.stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
