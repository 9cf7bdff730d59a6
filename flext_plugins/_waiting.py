"""Waiting until another caller wakes one, in a thread or in an event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeAlias

_standing: list[asyncio.AbstractEventLoop] = []
"""The event loops that stand still because a sync caller waits on their thread."""


class ThreadWaker:
    """Wakes one caller that waits in its thread."""

    is_away = is_here = is_lost = False

    def __init__(self) -> None:
        self._calls: SimpleQueue[None] = SimpleQueue()  # the collector may put while its owner gets
        self.wake = partial(self._calls.put, None)

    async def wait(self, seconds: float) -> bool:
        """Wait for `wake`, whether it came before or comes within `seconds`."""
        loop = asyncio._get_running_loop()  # noqa: SLF001 - documented, in spite of its name
        if loop is not None:
            _standing.append(loop)
        try:
            self._calls.get(timeout=seconds)
        except Empty:
            return False
        finally:
            if loop is not None:
                _standing.remove(loop)
        return True


class AsyncWaker:
    """Wakes one caller that waits in its event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._is_woken = False

    @property
    def is_away(self) -> bool:
        """Whether it would not hear: its loop was stopped or closed, or stands still."""
        return not self.loop.is_running() or self.loop in _standing

    @property
    def is_here(self) -> bool:
        """Whether its loop is the one that runs this."""
        return asyncio._get_running_loop() is self.loop  # noqa: SLF001 - as above

    @property
    def is_lost(self) -> bool:
        """Whether its loop is closed, so that it never runs again."""
        return self.loop.is_closed()

    def wake(self) -> None:
        """Wake it, from any thread, as the collector does."""
        self._is_woken = True
        with suppress(RuntimeError):  # its loop is closed: nobody waits there any more
            self.loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> bool:
        """Wait for `wake`, whether it came before or comes within `seconds`."""
        timer = self.loop.call_later(seconds, self._event.set)  # a third of `asyncio.timeout`
        try:
            await self._event.wait()
        finally:
            timer.cancel()
        self._event.clear()
        is_woken, self._is_woken = self._is_woken, False
        return is_woken


Waker: TypeAlias = ThreadWaker | AsyncWaker


def waker(*, asynchronous: bool) -> Waker:
    """A waker for who calls this."""
    return AsyncWaker() if asynchronous else ThreadWaker()
