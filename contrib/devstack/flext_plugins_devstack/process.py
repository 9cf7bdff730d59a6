"""Servers in processes of their own, which end with this one, however it ends."""

import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .server import HOST

# Its process becomes the command. What stays beside it, in the same process group, sees the end of
# its input when the starting process is gone, and signals the group.
WATCHED = """
exec 3<&0
(trap "" "$0"; cat <&3 >/dev/null; kill -s "$0" 0) &
exec 3<&-
exec "$@" </dev/null
"""


class NotInstalled(Exception):
    """A program is not installed; the message names the command that installs it."""


class Watched:
    """A command that runs until `end`, or until this process is gone.

    Args:
        command: its words.
        log: where its output goes.
        ending: the name of the signal that ends it.
        environment: its variables.
        user: whose process it is; by default ours.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        ending: str = "KILL",
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self._ending = ending
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - a program that was found
                ["/bin/sh", "-c", WATCHED, ending, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env=environment,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it, and wait until it has ended."""
        self._process.send_signal(getattr(signal, f"SIG{self._ending}"))
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def listens(port: int) -> bool:
    """Whether connections to that port on loopback are accepted."""
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True
