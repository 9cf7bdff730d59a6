"""Watches whether an event loop goes on, and if it does not, where it stands still."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from flext_plugins.testing._source import frames_of, where

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TICK = 0.001
"""Seconds between two looks at whether an event loop still runs."""
STILL = 0.02
"""Seconds without a tick after which it is worthwhile to look where the loop is."""


class Pauses:
    """The longest pause of an event loop that may be a plugin's.

    The machine's own pauses are not, if it can be seen that the loop was not inside the plugin.

    Attributes:
        seconds: how long it stood still.
        place: the plugin's hook and line where it did, if they could be seen.
    """

    def __init__(self, plugin: type | None) -> None:
        self._plugin = plugin
        self._last, self._places = 0.0, list[str]()
        self.seconds, self.place = 0.0, ""

    async def during(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """`await work()`, with the loop that runs it watched, from another thread as well."""
        self._last, ended = time.perf_counter(), threading.Event()
        looking = threading.Thread(target=self._look, args=(threading.get_ident(), ended))
        looking.start()
        ticking = asyncio.ensure_future(self._tick())
        await asyncio.sleep(0)  # it ticks before the work begins
        try:
            return await work()
        finally:
            await asyncio.sleep(2 * TICK)
            ticking.cancel()
            ended.set()
            looking.join()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            pause, places = now - self._last - TICK, self._places
            self._last, self._places = now, []
            place = next(filter(None, places), "")
            if pause > self.seconds and (place or not places):  # else it stood still elsewhere
                self.seconds, self.place = pause, place

    def _look(self, thread: int, ended: threading.Event) -> None:
        while not ended.wait(STILL / 4):
            if self._plugin is not None and time.perf_counter() - self._last > STILL:
                frame = sys._current_frames().get(thread)  # noqa: SLF001 - there is no other way
                self._places.append(where(frames_of(frame), self._plugin))
