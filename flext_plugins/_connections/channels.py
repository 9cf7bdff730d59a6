"""Which connections are open, for how long, and what a fork or a closed loop does to them."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from flext_plugins._chain.drive import drive
from flext_plugins._connections.channel import Channel
from flext_plugins._errors import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flext_plugins._runtime import Runtime

LOOP_SECONDS = 5.0
"""How long `close` waits for an event loop in another thread to close a connection of its own."""


class Channels:
    """One channel per service for sync clients, one per running event loop for async ones."""

    def __init__(self, runtime: Runtime, *, closed: bool = False) -> None:
        self._runtime = runtime
        self._lock = threading.RLock()  # a collected coroutine's `finally` may come back here
        self._sync: dict[str, Channel] = {}
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Channel]]
        self._loops = WeakKeyDictionary()
        self.closed = closed

    def opened(self, service: str, *, asynchronous: bool) -> Channel | None:
        """The channel to `service` in this world, if it is open."""
        channels = self._of_this_loop() if asynchronous else self._sync
        channel = channels.get(service)
        if channel is not None and (channel.is_open or channel.is_opening):
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
        channels = self._of_this_loop() if asynchronous else self._sync
        composed = self._runtime.composed(service)
        with self._lock:
            if self.closed:
                raise Refused("the host is closed")
            channel = channels.get(service)
            if channel is None:
                channel = Channel(
                    composed.service, composed.layers, self._runtime, asynchronous=asynchronous
                )
                channels[service] = channel
        await channel.open()
        return channel

    def _of_this_loop(self) -> dict[str, Channel]:
        """The channels of the running loop; those of closed loops are dropped."""
        loop = asyncio.get_running_loop()
        channels = self._loops.get(loop)
        if channels is None:
            with self._lock:
                for each in [each for each in self._loops if each.is_closed()]:
                    del self._loops[each]
                channels = self._loops.setdefault(loop, {})
        return channels

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

    def _close_sync(self) -> list[Exception]:
        """Admit nobody any more, and close the sync channels."""
        with self._lock:
            self.closed = True
            channels, self._sync = self._sync, {}
        return drive(_close_all(channels, _driven))

    def close(self) -> list[Exception]:
        """Close every channel from outside the loops; gives all that went wrong."""
        return self._close_sync() + self._close_loops()

    async def aclose(self) -> list[Exception]:
        """Close every channel from inside a loop; gives all that went wrong."""
        failures = self._close_sync()
        here = self._loops.pop(asyncio.get_running_loop(), {})
        failures += await _close_all(here, Channel.close)
        return failures + await asyncio.to_thread(self._close_loops)

    def _close_loops(self) -> list[Exception]:
        failures: list[Exception] = []
        for loop, channels in list(self._loops.items()):
            failures += drive(_close_all(channels, partial(_close_in, loop)))
        return failures


async def _close_all(
    channels: dict[str, Channel], close: Callable[[Channel], Awaitable[None]]
) -> list[Exception]:
    """Close channels, last opened first; those that would not close stay in `channels`."""
    failures: list[Exception] = []
    for name, channel in [*reversed(channels.items())]:
        try:
            await close(channel)
            del channels[name]
        except Exception as error:
            failures.append(error)
    return failures


async def _driven(channel: Channel) -> None:
    drive(channel.close(), channel.layers)


async def _close_in(loop: asyncio.AbstractEventLoop, channel: Channel) -> None:
    """Close a channel of a loop that is not the one running here."""
    if loop.is_closed():
        return
    if not loop.is_running():
        loop.run_until_complete(channel.close())
        return
    if asyncio._get_running_loop() is loop:  # noqa: SLF001 - documented, in spite of its name
        raise RuntimeError("inside a running event loop, await host.aclose()")
    try:
        asyncio.run_coroutine_threadsafe(channel.close(), loop).result(LOOP_SECONDS)
    except TimeoutError as error:
        what = f"{channel.service.name!r}: its event loop is busy and closes it later"
        error.args = error.args or (what,)
        raise
