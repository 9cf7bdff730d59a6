"""Which connections are open, for how long, and what a fork or a closed loop does to them."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from flext_plugins._call import scope
from flext_plugins._chain.drive import drive
from flext_plugins._connections.channel import HOST_CLOSED, Channel, changes
from flext_plugins._connections.log import tell_drained
from flext_plugins._errors import FlextError, Refused, with_notes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from flext_plugins._call import Call
    from flext_plugins._runtime import Runtime

DRAIN_PAUSE = 0.02
"""How often it is looked whether calls are still under way, in seconds."""
LOOP_SECONDS = 5.0
"""How long `close` waits, for each connection of an event loop in another thread, to be closed."""


class _Group(dict[str, Channel]):
    """The channels for sync clients, or those of one event loop, by service."""

    def __init__(self) -> None:
        super().__init__()
        self._keeper: AsyncGenerator[None, None] | None = None
        self._is_closing = False

    async def keep(self) -> None:
        """Close with the running event loop."""
        if self._keeper is None:
            self._keeper = self._with_loop()
            await anext(self._keeper)

    async def _with_loop(self) -> AsyncGenerator[None, None]:
        """Close with the event loop: `asyncio.run` closes the generators that are still open."""
        process = os.getpid()
        try:
            yield
        finally:
            self._keeper = None
            if os.getpid() != process:
                self.clear()  # a forked child's loop ends, and what was opened is the parent's
            if self:
                # The loop warns of generators that begin from now on, and requests need some. It
                # puts its hook back when it runs next.
                sys.set_asyncgen_hooks(firstiter=None)
            if failures := await self.close("its event loop has ended"):
                raise ExceptionGroup("closing with the event loop", failures)

    async def close(self, reason: str) -> list[Exception]:
        """Close all, last opened first, but none before those that may ask it.

        What plugins open meanwhile, to send a last request, is closed too.
        """
        failures: list[Exception] = []
        if self._is_closing:
            return failures
        self._is_closing = True
        try:
            while channels := [*self.values()]:
                targets = frozenset[str]().union(*(each.asks for each in channels))
                channel = [each for each in channels if each.service.name not in targets][-1]
                try:
                    if channel.asynchronous:
                        await channel.close(reason)
                    else:
                        drive(channel.close(reason), channel.layers)
                except Exception as error:
                    failures.append(error)
                self.pop(channel.service.name, None)
        finally:
            self._is_closing = False
        if self._keeper is not None:
            keeper, self._keeper = self._keeper, None
            await keeper.aclose()
        return failures


class Channels:
    """One channel per service for sync clients, one per running event loop for async ones."""

    def __init__(self, runtime: Runtime, *, closed: bool = False) -> None:
        self._runtime = runtime
        self._lock = threading.RLock()  # a collected coroutine's `finally` may come back here
        self._sync = _Group()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Group] = WeakKeyDictionary()
        self.closed = closed
        self.is_draining = False
        """Whether only calls that are under way may go on."""

    def opened(self, service: str, *, asynchronous: bool) -> Channel | None:
        """The channel to `service` in this world, if it is open."""
        channels = self._of_this_loop() if asynchronous else self._sync
        channel = channels.get(service)
        if channel is not None and (channel.is_open or channel.is_changing):
            return channel
        return None

    async def get(self, service: str, *, asynchronous: bool) -> Channel:
        """The channel to `service` in this world, opened if it is not.

        Raises:
            Refused: the host is closed.
            FlextError: the service cannot be composed or opened.
        """
        if (opened := self.opened(service, asynchronous=asynchronous)) is not None:
            return opened
        group = self._of_this_loop() if asynchronous else self._sync
        composed = self._runtime.composed(service)
        is_last = changes(self._runtime)  # a plugin's last request, as its connection closes
        with self._lock:
            if (self.closed or self.refuses_new()) and not is_last:
                raise Refused(HOST_CLOSED)
            channel = group.get(service)
            if channel is None:
                channel = Channel(
                    composed.service, composed.layers, self._runtime, asynchronous=asynchronous
                )
                group[service] = channel
        if asynchronous:
            await group.keep()
        try:
            await channel.open()
        except FlextError as error:
            if self.closed and not is_last:  # what was closed too late may have opened another
                with_notes(error, await group.close(HOST_CLOSED), channel.masked)
            raise
        return channel

    def _of_this_loop(self) -> _Group:
        """The channels of the running loop; those of closed loops are dropped."""
        loop = asyncio.get_running_loop()
        group = self._loops.get(loop)
        if group is None:
            with self._lock:
                for each in [each for each in self._loops if each.is_closed()]:
                    del self._loops[each]
                group = self._loops.setdefault(loop, _Group())
        return group

    async def tidy(self, *, asynchronous: bool) -> None:
        """Close the bodies that were dropped, here and in loops that run elsewhere.

        Those who watch them may hold what the caller waits for.
        """
        here = asyncio.get_running_loop() if asynchronous else None
        for channel in list(self._sync.values()):
            await channel.close_dropped()
        for loop, channels in list(self._loops.items()):
            for channel in [each for each in list(channels.values()) if each.has_dropped]:
                if loop is here:
                    await channel.close_dropped()
                elif loop.is_running():
                    asyncio.run_coroutine_threadsafe(channel.close_dropped(), loop)

    def open(self) -> list[Channel]:
        """Those that are open now, for sync code first; from any thread."""
        with self._lock:
            loops = [each for loop, each in self._loops.items() if not loop.is_closed()]
            channels = [each for world in (self._sync, *loops) for each in [*world.values()]]
        return [each for each in channels if each.is_open]

    def _close_sync(self) -> list[Exception]:
        failures = drive(self._sync.close(HOST_CLOSED))
        self._runtime.watchdog.close()
        return failures

    def refuses_new(self) -> bool:
        """Whether what begins here is refused: it is part of no call that is under way."""
        return self.is_draining and scope.get() is None

    def refused(self, call: Call, *, asynchronous: bool) -> Refused:
        """The error of a `call` that begins now; told to the service's receivers in this world."""
        channel = self.opened(call.service, asynchronous=asynchronous)
        if channel is not None:
            tell_drained(call, channel.emit)
        return Refused(HOST_CLOSED)

    def _drained(self, seconds: float) -> Iterator[float]:
        """Admit no new calls; yield how long to sleep, again and again, until all have ended.

        Between two hops of a call nothing is under way for a moment, so it looks twice.
        """
        until, quiet = time.monotonic() + seconds, 0
        self.is_draining = True
        while quiet < 2 and (left := until - time.monotonic()) > 0:
            yield min(DRAIN_PAUSE, left)
            quiet = 0 if any(each.under_way for each in self.open()) else quiet + 1

    def close(self, drain: float) -> list[Exception]:
        """Close every channel from outside the loops; gives all that went wrong.

        Args:
            drain: seconds that calls which are under way have left.
        """
        for pause in self._drained(drain):
            time.sleep(pause)
        with self._lock:
            self.closed = True
        return self._close_sync() + self._close_loops()

    async def aclose(self, drain: float) -> list[Exception]:
        """Do the same from inside a loop."""
        for pause in self._drained(drain):
            await asyncio.sleep(pause)
        with self._lock:
            self.closed = True
        # A sync channel's plugins may send a last request, for which no loop has to stand still.
        failures = await asyncio.to_thread(self._close_sync) if self._sync else []
        failures += await self._of_this_loop().close(HOST_CLOSED)
        return failures + await asyncio.to_thread(self._close_loops)

    def _close_loops(self) -> list[Exception]:
        failures: list[Exception] = []
        for loop, group in list(self._loops.items()):
            if loop.is_closed():
                group.clear()
            elif group:
                try:
                    failures += _close_in(loop, group)
                except Exception as error:
                    failures.append(error)
        return failures


def _close_in(loop: asyncio.AbstractEventLoop, group: _Group) -> list[Exception]:
    """Close the channels of a loop that is not the one running here."""
    if not loop.is_running():
        return loop.run_until_complete(group.close(HOST_CLOSED))
    if asyncio._get_running_loop() is loop:  # noqa: SLF001 - documented, in spite of its name
        raise RuntimeError("inside a running event loop, await host.aclose()")
    limit = LOOP_SECONDS * len(group)
    closing = asyncio.run_coroutine_threadsafe(group.close(HOST_CLOSED), loop)
    try:
        return closing.result(limit)
    except CancelledError:  # the loop ends meanwhile, which closes what is left
        return []
    except TimeoutError:
        what = "its event loop is busy and closes it later"
        return [TimeoutError(f"{each!r}: {what}") for each in group]
