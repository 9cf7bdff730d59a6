"""Turns: the runs of a project come one after the other, in all processes of this machine."""

from __future__ import annotations

import re
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from .errors import PipelineError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POLL_SECONDS = 0.05
STALE_SECONDS = 600.0
"""Meltano takes a run that was cut off for one under way for five minutes."""


@dataclass
class Turn:
    """The time in which a run has its project for itself.

    Meltano refuses to run what it believes to be running still, for five minutes after a crash. Who
    has the lock knows better.
    """

    was_cut_off: bool
    """Whether the run before did not end by itself, or this process was gone."""
    follows_crash: bool
    """Whether one was cut off lately, without telling Meltano's database."""
    is_clean: bool = False
    """Whether this one ended by itself."""


@contextmanager
def alone(lock: Path, run: str, is_stopped: Callable[[], bool]) -> Iterator[Turn]:
    """Have what the file `lock` stands for to oneself, whichever process asks.

    Raises:
        PipelineError: the run was stopped before its turn came.
    """
    lock.parent.mkdir(exist_ok=True)
    with lock.open("a+", encoding="utf-8") as file:
        while not _is_locked(file):
            if is_stopped():
                raise PipelineError("ended before it began")
            time.sleep(POLL_SECONDS)
        crashed, running = _read(file)
        if running:
            crashed = time.time()
        turn = Turn(bool(running), time.time() - crashed < STALE_SECONDS)
        _write(file, f"{crashed} {run}")
        try:
            yield turn
            if turn.is_clean:
                _write(file, f"{crashed}")
        finally:
            _unlock(file)  # closing would not, if a child was forked meanwhile


def _is_locked(file: IO[str]) -> bool:
    if sys.platform != "win32":  # where the plugin starts nothing
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _unlock(file: IO[str]) -> None:
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_UN)


def _read(file: IO[str]) -> tuple[float, str]:
    """When a run was cut off for the last time, and which one is under way, if any."""
    file.seek(0)
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(\S*)", file.read())
    return (float(found[1]), found[2]) if found else (0.0, "")


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
