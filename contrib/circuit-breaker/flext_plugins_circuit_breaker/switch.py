"""A switch for a service's circuits that every process of this machine heeds."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from flext_plugins import ConfigError

if TYPE_CHECKING:
    from typing import Literal

OTHERS_MAY_WRITE = 0o002
READABLE = 0o644
"""Who may look into the folder reads the file, whichever user wrote it: root by `sudo`, perhaps."""
LONGEST = 120
"""Characters of a service's name in the name of a file, escapes included."""


class News(NamedTuple):
    """Something that another process has done."""

    action: str
    """`trip` or `reset`."""
    process: int


class Switch:
    """A file that says what was done last, by whichever process; the last one to do something wins.

    Whoever uses it sees to it that only one thread does at a time, what it leads to included.

    Args:
        folder: where the file is; made if it is not there, for this user alone.
        service: whose circuits.

    Raises:
        ConfigError: the folder cannot be made or used, or anybody could write there.
    """

    def __init__(self, folder: Path, service: str) -> None:
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
            mode = folder.stat().st_mode
        except OSError as error:
            raise ConfigError(f"shared: {folder} is no folder: {error.strerror}") from None
        if mode & OTHERS_MAY_WRITE:
            raise ConfigError(f"shared: anybody may write in {folder}; name a folder of your own")
        if not os.access(folder, os.X_OK):
            raise ConfigError(f"shared: {folder} is another user's, so that nothing there is seen")
        name = quote(service, safe="")
        if len(name) > LONGEST:
            name = name[:LONGEST] + hashlib.sha256(service.encode()).hexdigest()
        self._path = folder / f"{name}.circuit"
        self._seen: tuple[int, int] | None = None
        before = self.news()
        if before is not None and before.action == "trip":
            self._seen = None  # it holds for those that start later too, and a reset does not

    def post(self, action: Literal["trip", "reset"]) -> None:
        """Tell the other processes, those that start later included.

        Raises:
            OSError: it cannot be written.
        """
        folder = self._path.parent
        folder.mkdir(0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=folder, prefix="new-")
        try:
            with os.fdopen(number, "w", encoding="ascii") as file:
                file.write(f"{action} {os.getpid()}")
                Path(name).chmod(READABLE)
                file.flush()
                # The file keeps these under its new name. To look there afterwards would be to
                # take for seen what another process may have put in its place meanwhile.
                seen = _mark(os.fstat(number))
            Path(name).replace(self._path)  # whole or not at all
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        self._seen = seen

    def has_news(self) -> bool:
        """Whether another process has done something; while there is no file, none has."""
        try:
            return _mark(self._path.stat()) != self._seen
        except OSError:
            return False

    def news(self) -> News | None:
        """Give what another process did last."""
        try:
            with self._path.open(encoding="ascii") as file:
                self._seen = _mark(os.fstat(file.fileno()))
                action, process = file.read(100).split()
                return News(action, int(process)) if action in {"trip", "reset"} else None
        except (OSError, ValueError):  # somebody's hand was in it
            return None


def _mark(found: os.stat_result) -> tuple[int, int]:
    """Tell one file from those that had its name before."""
    return found.st_mtime_ns, found.st_ino
