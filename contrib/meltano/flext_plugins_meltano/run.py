"""One run of a program on this machine."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flext_plugins import ConfigError

from .errors import RunCancelled, RunFailed
from .job import Dbt
from .process import Process
from .status import ExecutionStatus
from .turn import alone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flext_plugins import Call

    from .job import Job
    from .log import Log
    from .project import Project
    from .status import State


class Run:
    """One run: its program, and what is known of it.

    Args:
        job: what it does.
        words: the program and its arguments.
        folder: where it runs.
        environment: its variables.
        lock: the file that stands for its project.
        log: reads what it says.
        call: the call that it belongs to, whose deadline ends it.
    """

    def __init__(
        self,
        job: Job,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        lock: Path,
        log: Log,
        call: Call,
    ) -> None:
        self.id, self.job, self.folder, self.lock = str(uuid4()), job, folder, lock
        self.log, self.call = log, call
        self.words, self.environment = [*words], dict(environment)
        self.files: dict[str, Mapping[str, Any]] = {}
        """Contents of files that only their owner can read, by the variable that names the file."""
        self.project: Project | None = None
        """Meltano's, which is tidied when the run is over."""
        self.options_at = 0
        """Where among the words further options of Meltano's may stand."""
        self.over = threading.Event()
        self._state: State = "queued"
        self._error: str | None = None
        self._code: int | None = None
        self._started: float | None = None
        self._duration: float | None = None
        self._process: Process | None = None
        self._stopped_for: str | None = None
        self._has_begun = self._is_finished = self._is_concluded = False
        self._lock = threading.Lock()

    @property
    def status(self) -> ExecutionStatus:
        """Its state, records and whatever else is known."""
        status = self._status()
        if status.is_over and not self.over.is_set():  # the operation around it goes on
            return replace(status, state="running")
        return status

    def _status(self) -> ExecutionStatus:
        log, duration = self.log, self._duration
        if duration is None and self._started is not None:
            duration = time.monotonic() - self._started
        codes = {} if self._code is None else {self.job.program: self._code}
        return ExecutionStatus(
            self.id,
            self._state,
            dict(log.records),
            self._error,
            tuple(log.failures),
            tuple(log.complaints),
            {**log.exit_codes, **codes},
            duration,
        )

    @property
    def _results(self) -> Path:
        """The file in which dbt says what became of each model and test."""
        return self.folder / "target" / "run_results.json"

    @property
    def is_stopped(self) -> bool:
        """Whether somebody wants it to end."""
        return self._stopped_for is not None

    def stop(self, kill_after: float) -> None:
        """Have it end, at once if it has not begun; thread-safe, and returns at once."""
        left = self.call.remaining()
        reason = "it was ended" if left is None or left > 0 else "the deadline of its call passed"
        with self._lock:
            self._stopped_for = self._stopped_for or reason
            process = self._process
            if not self._has_begun:
                self._error, self._state = self._stopped_for, "cancelled"
                self.over.set()
        if process is not None:
            process.stop(kill_after)

    def execute(self, kill_after: float) -> ExecutionStatus:
        """Run the program to its end, which the call's deadline hastens.

        Raises:
            RunFailed: it failed.
            RunCancelled: it was stopped.
            ConfigError: the program cannot be started.
        """
        with self._lock:
            self._has_begun = self._stopped_for is None
        left = self.call.remaining()
        hurrying = threading.Timer(left or 0.0, self.stop, (kill_after,))
        hurrying.daemon = True
        if left is not None:
            hurrying.start()
        try:
            with ExitStack() as cleaning:
                self._code = self._run(cleaning) if self._has_begun else None
            return self._ended()
        except Exception as error:
            self._fail(error)
            raise
        finally:
            hurrying.cancel()
            self._finish()

    def conclude(self, error: BaseException | None) -> None:
        """Note that its operation is over, because of `error` if there was one.

        Whoever waits goes on when this and the program's end have come, so that metrics and spans
        are there by then.
        """
        with self._lock:
            self._is_concluded = True
            is_finished = self._is_finished or not self._has_begun
        if is_finished:
            self._fail(error)
            self.over.set()

    def _fail(self, error: BaseException | None) -> None:
        if self._state in {"queued", "running"}:
            self._error = str(error) if error is not None else "a plugin answered in its place"
            self._state = "cancelled" if self.is_stopped else "failed"

    def _finish(self) -> None:
        if self._started is not None:
            self._duration = time.monotonic() - self._started
        self.environment.clear()
        self.files.clear()
        with self._lock:
            self._is_finished = True
            is_concluded = self._is_concluded
        if is_concluded:
            self.over.set()

    def _run(self, cleaning: ExitStack) -> int | None:
        words = self.words
        turn = cleaning.enter_context(alone(self.lock, self.id, lambda: self.is_stopped))
        if self.project is not None:
            if turn.follows_crash:
                words = [*words[: self.options_at], "--force", *words[self.options_at :]]
            self.project.clear(0.0 if turn.was_cut_off else time.time())
            cleaning.callback(self.project.clear, time.time())
        self.environment |= self._written(cleaning)
        with self._lock:
            if self.is_stopped:
                return None
            self._process = Process(words, self.folder, self.environment, self.log.line)
        if isinstance(self.job, Dbt):  # or what the run before has written would be told
            self._results.unlink(missing_ok=True)
        self._started, self._state = time.monotonic(), "running"
        try:
            code = self._process.run()
        except OSError as error:
            problem = f"{words[0]}: cannot be started ({type(error).__name__})"
            raise ConfigError(problem) from None
        turn.is_clean = code is not None and 0 <= code < 128  # beyond, a signal ended it
        return code

    def _written(self, cleaning: ExitStack) -> dict[str, str]:
        """The variables that name the files, which are removed in the end."""
        variables = {}
        for variable, content in self.files.items():
            number, name = tempfile.mkstemp(".json", "flext-")  # for its owner alone
            cleaning.callback(_remove, name)
            with os.fdopen(number, "w", encoding="utf-8") as file:
                json.dump(content, file)
            variables[variable] = name
        return variables

    def _ended(self) -> ExecutionStatus:
        if self._stopped_for is not None:
            self._error, self._state = self._stopped_for, "cancelled"
            raise RunCancelled(f"{self.job.name}: {self._error}", self._status())
        if isinstance(self.job, Dbt):
            self.log.read_results(self._results)
        if self._code == 0 and not self.log.failures:
            self._state = "succeeded"
            return self._status()
        failed = ", ".join(self.log.failures)
        self._error = failed or self.log.reason or f"exit code {self._code}"
        self._state = "failed"
        raise RunFailed(f"{self.job.name}: {self._error}", self._status())


def _remove(name: str) -> None:
    with suppress(OSError):
        Path(name).unlink()
