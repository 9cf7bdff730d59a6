"""A program in a process group of its own, of which nothing is left when it is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

# The shell becomes the program. What stays beside it, in the same process group, sees the end of
# its input when this process is gone, however it went, and kills the group.
WATCHED = """
exec 3<&0
(trap "" TERM; cat <&3; kill -s KILL 0) >/dev/null 2>&1 &
exec 3<&-
exec "$@" </dev/null
"""
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
LONGEST_LINE = 65_536
"""Bytes; the rest of a longer line is passed over."""


class Process:
    """Runs a program, once.

    Args:
        words: the program and its arguments, which everybody on this machine can see.
        folder: where it runs.
        environment: its variables; secrets belong here.
        on_line: is told each line of its output, one at a time.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        on_line: Callable[[bytes], None],
    ) -> None:
        self._words, self._folder, self._environment = words, folder, environment
        self._on_line = on_line
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._telling = threading.Lock(), threading.Lock()
        self._is_stopped = False

    def run(self) -> int | None:
        """Run it to its end; its exit code, or `None` if it was stopped before it began.

        Raises:
            OSError: it cannot be started.
        """
        with self._lock:
            if self._is_stopped:
                return None
            self._process = process = subprocess.Popen(  # noqa: S603 - words are checked
                ["/bin/sh", "-c", WATCHED, "sh", *self._words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=dict(self._environment),
                start_new_session=True,
                umask=0o077,
            )
        helping = [
            threading.Thread(target=work, args=arguments, daemon=True)
            for work, *arguments in ((self._clear, process), (self._read, process.stderr))
        ]
        for each in helping:
            each.start()
        try:
            self._read(process.stdout)
        except BaseException:
            self._signal(process, KILL)
            raise
        finally:
            for each in helping:
                each.join()
            code = process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
        return code

    def stop(self, seconds: float) -> None:
        """Tell it to end, and end it by force after so many seconds; thread-safe.

        Once told, it is not told again, but zero seconds end it at once.
        """
        with self._lock:
            was_stopped, self._is_stopped = self._is_stopped, True
            process = self._process
        if process is None or (was_stopped and seconds):
            return
        self._signal(process, signal.SIGTERM)
        killing = threading.Timer(seconds, self._kill)
        killing.daemon = True
        killing.start()

    def _kill(self) -> None:
        """End it by force, if it has not ended: its id may be another's afterwards."""
        with self._lock:
            if self._process is not None:
                self._signal(self._process, KILL)

    def _read(self, pipe: IO[bytes] | None) -> None:
        """Read lines of one of its two outputs, which it may write at the same time."""
        assert pipe is not None  # noqa: S101 - there are two
        while line := pipe.readline(LONGEST_LINE):
            is_whole = line.endswith(b"\n")
            with self._telling:
                self._on_line(line)
            while not is_whole and (rest := pipe.readline(LONGEST_LINE)):
                is_whole = rest.endswith(b"\n")

    def _clear(self, process: subprocess.Popen[bytes]) -> None:
        """When the program is over, end what it has left behind, which keeps its output open."""
        if sys.platform == "linux":  # it stays a zombie, so that its id is nobody else's yet
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        self._signal(process, KILL)
        with self._lock:
            self._process = None

    def _signal(self, process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        if sys.platform != "win32":  # where the plugin starts nothing
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
