"""A run that a command follows to its end, and what a signal does to it."""

from __future__ import annotations

import math
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .errors import RunFailed, StillRunning
from .progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .progress import Display
    from .status import ExecutionStatus
    from .sync import Execution

FAILED, SIGNALLED = 1, 128
SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform != "win32":
    SIGNALS.append(signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal came.

    Attributes:
        code: the exit status that says so.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = SIGNALLED + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C and its like raise `Interrupted`, but for those that are ignored."""

    def interrupt(number: int, _: Any) -> None:
        raise Interrupted(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    caught = {number: each for number, each in before.items() if each is not signal.SIG_IGN}
    for number in caught:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, each in caught.items():
            signal.signal(number, each)


class Following:
    """Follows a run, once.

    Args:
        execution: the run.
        display: shows how it stands.
        ends_with_us: whether it is to end if nobody follows it any more; else it goes on.
        advice: how to look at it later.

    Attributes:
        status: how it stood when somebody looked last.
        problem: why it is followed no more, if that is not the run's end.
        code: the exit status.
    """

    def __init__(
        self, execution: Execution, display: Display, *, ends_with_us: bool, advice: str
    ) -> None:
        self._execution, self._display = execution, display
        self._ends_with_us, self._advice = ends_with_us, advice
        self.status: ExecutionStatus | None = None
        self.problem: str | None = None
        self.code = 0

    def perform(self, timeout: float | None) -> None:
        """Follow it to its end, or so many seconds."""
        try:
            with self._display:
                self._wait(timeout)
        except Interrupted as signalled:
            self._leave("interrupted", signalled.code)
        except StillRunning as error:
            self.status = error.status
            self._leave(f"still running after {timeout:g} s", FAILED)

    def _leave(self, why: str, code: int) -> None:
        self.problem, self.code = why, code
        if not self._ends_with_us:
            self.problem = f"{why}; it goes on: {self._advice}"
            return
        say(f"{why}: waiting for its programs to end")
        try:
            self._execution.cancel()
            self._wait()
        except Interrupted:
            self._execution.cancel()  # told twice, it ends at once
            self._wait()
        self.code = code

    def _wait(self, timeout: float | None = None) -> None:
        try:
            self.status = self._execution.wait(math.inf if timeout is None else timeout, self._note)
        except RunFailed as error:
            self.status, self.code = error.status, FAILED

    def _note(self, status: ExecutionStatus) -> None:
        self.status = status
        self._display.show(status)
