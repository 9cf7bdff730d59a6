"""A PostgreSQL of Debian or Ubuntu with the extension orafce, reached by a Unix socket alone."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from .process import NotInstalled, Watched
from .server import PATIENCE

PROGRAMS, EXTENSIONS = Path("/usr/lib/postgresql"), Path("/usr/share/postgresql")
"""The folders of Debian and Ubuntu, with one for each version."""
INSTALL = "apt-get install '^postgresql-[0-9]+-orafce$'"
"""Brings the PostgreSQL that it extends."""
USER = "postgres"
"""Who runs it where we are root, and its only role."""
# Not synchronous_commit: what was committed has to survive `down`.
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",
}


def programs() -> Path:
    """Find the folder of its programs, those of the newest version that has orafce.

    Raises:
        NotInstalled: there is none.
    """
    found = sorted(
        (int(each.parents[1].name), each.parents[1].name)
        for each in EXTENSIONS.glob("*/extension/orafce.control")
        if re.fullmatch(r"\d+", each.parents[1].name)
    )
    for _, version in reversed(found):
        if (PROGRAMS / version / "bin" / "initdb").exists():
            return PROGRAMS / version / "bin"
    raise NotInstalled(f"PostgreSQL with orafce is not installed: {INSTALL} (Debian, Ubuntu)")


def environment() -> dict[str, str]:
    """Give our variables without those that libpq reads."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


class PostgreSQL:
    """One in a process of its own.

    Args:
        folder: for its files, made by us; where we are root it becomes its user's.

    Attributes:
        conninfo: how libpq connects.

    Raises:
        NotInstalled: PostgreSQL or orafce is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._programs, self._folder = programs(), folder
        self._user = USER if folder.stat().st_uid == 0 else None
        if self._user is not None:
            shutil.chown(folder, self._user)
        self.conninfo = f"host={folder} port=5432 user={USER} dbname={USER}"
        self._process: Watched | None = None

    def up(self) -> None:
        """Start until it answers; does nothing when running.

        Raises:
            RuntimeError: it did not start within 5 seconds; the message has its output.
        """
        if self._process is not None:
            return
        data, log = self._folder / "data", self._folder / "postgres.log"
        if not data.exists():
            self._initialize(data)
        options = {"unix_socket_directories": str(self._folder), "port": "5432", **OPTIONS}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self._process = Watched(
            [self._programs / "postgres", "-D", data, *words],
            log,
            ending="QUIT",
            environment=environment(),
            user=self._user,
        )
        end = time.monotonic() + PATIENCE
        while self._psql("select 1").returncode:
            if not self._process.is_running or time.monotonic() > end:
                self.down()
                raise RuntimeError(f"PostgreSQL does not start: {log.read_text()}")
            time.sleep(0.01)

    def down(self) -> None:
        """End it, without a word to its clients; what was committed stays."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def ask(self, query: str) -> str:
        """Give what a query answers, as text.

        Raises:
            RuntimeError: it is refused; the message says why.
        """
        done = self._psql(query)
        if done.returncode:
            raise RuntimeError(f"PostgreSQL refuses {query!r}: {done.stderr}")
        return done.stdout.strip()

    def _psql(self, query: str) -> "subprocess.CompletedProcess[str]":
        words = ["-XqAt", "-d", self.conninfo, "-c", query]
        return subprocess.run(  # noqa: S603 - the program that was found
            [self._programs / "psql", *words],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _initialize(self, data: Path) -> None:
        options = ["--auth=trust", f"--username={USER}", "--no-sync"]
        locale = ["--encoding=UTF8", "--locale=C.UTF-8"]
        self._run(["initdb", "-D", data, *options, *locale])
        self._run(["postgres", "--single", "-F", "-D", data, USER], "create extension orafce;\n")

    def _run(self, words: Sequence[str | Path], lines: str = "") -> None:
        done = subprocess.run(  # noqa: S603 - a program that was found
            [self._programs / words[0], *words[1:]],
            input=lines,
            cwd=self._folder,
            env=environment(),
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]} fails: {done.stdout}{done.stderr}")
