"""A redis-server that lives for a test: on loopback, with a password, and nothing kept on disk."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

HOST = "127.0.0.1"
PASSWORD = "s3rver-passw0rd"
PATIENCE = 5.0
"""Seconds in which it starts."""


def program() -> str:
    """The path of redis-server; where there is none the test is skipped, or fails under CI."""
    found = shutil.which("redis-server")
    if found is None:
        missing = "redis-server is not installed"
        if os.environ.get("CI"):
            pytest.fail(f"{missing} (nothing is skipped where CI is set)", pytrace=False)
        pytest.skip(f"{missing}; see tools/servers.sh")
    return found


class RedisServer:
    """One that is up, on a port that stays its own while it is down.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        self._program, self._folder = program(), folder
        # Bound and never listening: nobody else is given the port, and redis-server may share it.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((HOST, 0))
        self.port: int = self._reserved.getsockname()[1]
        self.target = f"{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The plugin's settings for it."""
        return {"port": self.port, "password": PASSWORD}

    def up(self) -> None:
        """Start until it answers.

        Raises:
            RuntimeError: it did not start within 5 seconds; the message has its output.
        """
        log = self._folder / "log"
        options = {
            "bind": HOST,
            "port": str(self.port),
            "requirepass": PASSWORD,
            "save": "",
            "appendonly": "no",
            "hz": "500",  # how often it looks whether a blocking pop has waited long enough
            "dir": str(self._folder),
            "logfile": str(log),
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([self._program, *words], stdout=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.down()
                raise RuntimeError(f"redis-server does not start: {log.read_text()}")
            time.sleep(0.005)

    def _answers(self) -> bool:
        try:
            return "PONG" in self.say("PING")
        except OSError:
            return False

    def say(self, *commands: str) -> str:
        """All that it answers to some commands, over a connection for nothing else."""
        lines = (f"AUTH {PASSWORD}", *commands, "QUIT", "")
        with socket.create_connection((HOST, self.port), PATIENCE) as sock:
            sock.sendall("\r\n".join(lines).encode())
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()

    @property
    def clients(self) -> int:
        """The connections that it has, without the one that asks."""
        return len(re.findall(r"^id=", self.say("CLIENT LIST"), re.MULTILINE)) - 1

    def has_clients(self, number: int) -> None:
        """Wait until it has so many connections, which it hears of a little later.

        Raises:
            AssertionError: it has others for 5 seconds.
        """
        end = time.monotonic() + PATIENCE
        while (clients := self.clients) != number:
            assert time.monotonic() < end, f"{clients} connections, not {number}"
            time.sleep(0.005)

    def down(self) -> None:
        """Kill it; connections are refused until `up`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """While its process stands still: connections are accepted, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self._reserved.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._reserved.close()
