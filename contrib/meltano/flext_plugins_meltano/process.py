"""A program in a process group of its own, of which nothing is left when it is over."""

from __future__ import annotations

import math
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, cast
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

# The shell becomes the program. What stays beside it, in the same process group, sees the end of
# its input when this process is gone, however it went, and kills the group.
WATCHED = """
exec 3<&0
(trap "" TERM; read -r _ <&3; kill -s KILL 0) >/dev/null 2>&1 &
exec 3<&-
exec "$@" </dev/null
"""
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
LONGEST_LINE = 65_536
"""Bytes; the rest of a longer line is passed over."""
LINGERS = 1.0
"""Seconds that its outputs are read after its end: what has left its group may keep them open."""
LOOKS = 0.05
"""Seconds between two looks at whether it has ended, while it says nothing."""


class Lines:
    """Cuts what comes into lines."""

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self._on_line, self._rest, self._is_too_long = on_line, b"", False

    def feed(self, data: bytes) -> None:
        """Take more bytes; none are the end."""
        *whole, self._rest = (self._rest + data).split(b"\n") if data else (self._rest, b"")
        for line in whole:
            if line and not self._is_too_long:
                self._on_line(line[:LONGEST_LINE])
            self._is_too_long = False
        if len(self._rest) > LONGEST_LINE:
            if not self._is_too_long:
                self._on_line(self._rest[:LONGEST_LINE])
            self._rest, self._is_too_long = b"", True


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
        self._lock = threading.Lock()
        self._is_stopped = False
        self._ended = threading.Event()
        _running.add(self)

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
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=dict(self._environment),
                start_new_session=True,
                umask=0o077,
            )
        clearing = threading.Thread(target=self._clear, args=(process,), daemon=True)
        clearing.start()
        try:
            self._read(process)
        except BaseException:
            self._signal(process, KILL)
            raise
        finally:
            clearing.join()
            code = process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
        return code

    def leave(self) -> None:
        """Let go of the program in a forked child, which would keep it from seeing our end."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def stop(self, seconds: float) -> None:
        """Tell it to end, and end it by force after so many seconds; thread-safe.

        Once told, it is not told again, but zero seconds end it at once.
        """
        with self._lock:
            was_stopped, self._is_stopped = self._is_stopped, True
            if self._process is None or (was_stopped and seconds):
                return
            self._signal(self._process, signal.SIGTERM)
        killing = threading.Timer(seconds, self._kill)
        killing.daemon = True
        killing.start()

    def _kill(self) -> None:
        """End it by force, if it has not ended: its id may be another's afterwards."""
        with self._lock:
            if self._process is not None:
                self._signal(self._process, KILL)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Read what it says, on both outputs at the same time, until it has ended."""
        outputs = {each: Lines(self._on_line) for each in (process.stdout, process.stderr) if each}
        give_up = math.inf
        with selectors.DefaultSelector() as selector:
            for each in outputs:
                selector.register(each, selectors.EVENT_READ)
            while selector.get_map() and time.monotonic() < give_up:
                for key, _ in selector.select(LOOKS):
                    data = os.read(key.fd, LONGEST_LINE)
                    outputs[cast("IO[bytes]", key.fileobj)].feed(data)
                    if not data:
                        selector.unregister(key.fileobj)
                if self._ended.is_set():
                    give_up = min(give_up, time.monotonic() + LINGERS)

    def _clear(self, process: subprocess.Popen[bytes]) -> None:
        """When the program is over, end what it has left behind, which keeps its output open."""
        if sys.platform == "linux":  # it stays a zombie, so that its id is nobody else's yet
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        with self._lock:
            self._signal(process, KILL)
            self._process = None
        self._ended.set()

    def _signal(self, process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        if sys.platform != "win32":  # where the plugin starts nothing
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)


_running: WeakSet[Process] = WeakSet()


def _leave_all() -> None:
    for each in list(_running):
        each.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
