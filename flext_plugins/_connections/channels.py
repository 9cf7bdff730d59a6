"""Which connections are open, for how long, and what a fork or a closed loop does to them."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from flext_plugins._chain.drive import drive
from flext_plugins._connections.channel import Line
from flext_plugins._errors import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flext_plugins._composition import Composition
    from flext_plugins._connections.channel import Ground

LOOP_SECONDS = 5.0
"""How long `close` waits for an event loop in another thread to close a connection of its own."""


class Lines:
    """One line per service for sync, one per running event loop for async."""

    def __init__(
        self, ground: Ground, composed: Callable[[str], Composition], *, closed: bool = False
    ) -> None:
        self._ground, self._composed = ground, composed
        self._lock = threading.Lock()
        self._sync: dict[str, Line] = {}
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Line]]
        self._loops = WeakKeyDictionary()
        self.closed = closed

    def opened(self, service: str, *, asynchronous: bool) -> Line | None:
        """The line to `service` in this world, if it is open."""
        lines = self._of_this_loop() if asynchronous else self._sync
        line = lines.get(service)
        return line if line is not None and (line.is_open or line.is_opening) else None

    async def get(self, service: str, *, asynchronous: bool) -> Line:
        """The line to `service` in this world, opened if it is not.

        Raises:
            Refused: the host is closed.
            FlextError: the service cannot be composed or opened.
        """
        if (opened := self.opened(service, asynchronous=asynchronous)) is not None:
            return opened
        lines = self._of_this_loop() if asynchronous else self._sync
        composed = self._composed(service)
        with self._lock:
            if self.closed:
                raise Refused("the host is closed")
            line = lines.get(service)
            if line is None:
                line = Line(
                    composed.service, composed.layers, self._ground, asynchronous=asynchronous
                )
                lines[service] = line
        await line.open()
        return line

    def _of_this_loop(self) -> dict[str, Line]:
        """The lines of the running loop; those of closed loops are dropped."""
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            with self._lock:
                for each in [each for each in self._loops if each.is_closed()]:
                    del self._loops[each]
                found = self._loops.setdefault(loop, {})
        return found

    def _close_sync(self) -> list[Exception]:
        """Admit nobody any more, and close the sync lines."""
        with self._lock:
            self.closed = True
            lines, self._sync = self._sync, {}
        return drive(_close_all(lines, _driven))

    def close(self) -> list[Exception]:
        """Close every line from outside the loops; gives all that went wrong."""
        return self._close_sync() + self._close_loops()

    async def aclose(self) -> list[Exception]:
        """The same from inside a loop."""
        failures = self._close_sync()
        here = self._loops.pop(asyncio.get_running_loop(), {})
        failures += await _close_all(here, Line.close)
        return failures + await asyncio.to_thread(self._close_loops)

    def _close_loops(self) -> list[Exception]:
        failures: list[Exception] = []
        for loop, lines in list(self._loops.items()):
            failures += drive(_close_all(lines, partial(_close_in, loop)))
        return failures


async def _close_all(
    lines: dict[str, Line], close: Callable[[Line], Awaitable[None]]
) -> list[Exception]:
    """Close lines, last opened first; those that would not close stay in `lines`."""
    failures: list[Exception] = []
    for name, line in [*reversed(lines.items())]:
        try:
            await close(line)
            del lines[name]
        except Exception as error:
            failures.append(error)
    return failures


async def _driven(line: Line) -> None:
    drive(line.close(), line.layers)


async def _close_in(loop: asyncio.AbstractEventLoop, line: Line) -> None:
    """Close a line of a loop that is not the one running here."""
    if loop.is_closed():
        return
    if not loop.is_running():
        loop.run_until_complete(line.close())
        return
    if asyncio._get_running_loop() is loop:  # noqa: SLF001 - documented, in spite of its name
        raise RuntimeError("inside a running event loop, await host.aclose()")
    try:
        asyncio.run_coroutine_threadsafe(line.close(), loop).result(LOOP_SECONDS)
    except TimeoutError as error:
        what = f"{line.service.name!r}: its event loop is busy and closes it later"
        error.args = error.args or (what,)
        raise
