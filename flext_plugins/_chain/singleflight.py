"""`once`: one piece of work for all who ask at the same time, in threads and event loops alike."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from contextvars import ContextVar
from copy import copy
from typing import Any, TypeAlias

from flext_plugins._errors import DeadlineExceeded, FlextError

Work: TypeAlias = Callable[[], Awaitable[Any]]
_leading: ContextVar[tuple[Flight, ...]] = ContextVar("flext_plugins.leading", default=())


class Flight:
    """Work under way, led by one caller and awaited by others."""

    __slots__ = ("_wakers", "abandoned", "error", "landed", "loop_thread", "result", "waits_for")

    def __init__(self, loop_thread: int | None) -> None:
        self.loop_thread = loop_thread
        """The thread whose event loop the leader runs on; `None` for a sync leader."""
        self.waits_for: list[Flight] = []
        self.landed = self.abandoned = False
        self.result: Any = None
        self.error: Exception | None = None
        self._wakers: list[Callable[[], object]] = []

    def join(self, waker: Callable[[], object]) -> None:
        self._wakers.append(waker)

    def land(self) -> list[Callable[[], object]]:
        self.landed = True
        return self._wakers

    def outcome(self) -> Any:
        """The result, or its error raised; each waiter gets a `FlextError` of its own."""
        if self.error is None:
            return self.result
        raise fresh(self.error) from self.error.__cause__


def fresh(error: Exception) -> Exception:
    """A copy of a `FlextError`, for each caller's own facts to be filled in; others as they are."""
    if not isinstance(error, FlextError):
        return error
    try:
        mine = copy(error)
    except TypeError:  # a plugin's own class that cannot be made from its `args`
        return error
    mine.__cause__ = error.__cause__
    return mine


class SingleFlight:
    """The work under way in one host, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flying: dict[Hashable, Flight] = {}
        self._blocked: dict[int, Flight] = {}  # by thread: what a sync caller waits for there

    async def once(
        self, key: Hashable, work: Work, *, asynchronous: bool, deadline: float | None
    ) -> Any:
        """Give the result of `work`, run by one caller for all who hold `key` at the time.

        A leader that is cancelled, or whose own deadline passes, leaves the work to a waiter. Who
        would wait for itself, directly or through others' flights, runs `work` by itself.

        Raises:
            DeadlineExceeded: `deadline` passed while waiting.
        """
        here = threading.get_ident()
        while True:
            mine = _leading.get()
            with self._lock:
                flight = self._flying.get(key)
                if flight is None:
                    flight = self._flying[key] = Flight(here if asynchronous else None)
                    waker = None
                elif self._would_deadlock(flight, mine, None if asynchronous else here):
                    break
                else:
                    waker = _AsyncWaker() if asynchronous else _ThreadWaker()
                    flight.join(waker.wake)
                    for own in mine:
                        own.waits_for.append(flight)
                    if not asynchronous:
                        self._blocked[here] = flight
            if waker is None:
                return await self._lead(key, flight, work)
            try:
                await waker.wait(deadline)
            finally:
                with self._lock:
                    for own in mine:
                        own.waits_for.remove(flight)
                    if not asynchronous:
                        del self._blocked[here]
            if not flight.abandoned:
                return flight.outcome()
        return await work()

    def _would_deadlock(
        self, flight: Flight, mine: tuple[Flight, ...], blocking: int | None
    ) -> bool:
        """Whether `flight` needs, at any remove, one of `mine` or the loop that would block."""
        needs: set[Flight] = set()
        stack = [flight]
        while stack:
            if (each := stack.pop()) not in needs:
                needs.add(each)
                stack.extend(each.waits_for)
                if each.loop_thread in self._blocked:
                    stack.append(self._blocked[each.loop_thread])
        stuck = blocking is not None and any(each.loop_thread == blocking for each in needs)
        return stuck or not needs.isdisjoint(mine)

    async def _lead(self, key: Hashable, flight: Flight, work: Work) -> Any:
        token = _leading.set((*_leading.get(), flight))
        flight.abandoned = True
        try:
            flight.result = await work()
            flight.abandoned = False
        except DeadlineExceeded:
            raise
        except Exception as error:
            flight.error, flight.abandoned = fresh(error), False
            raise
        finally:
            _leading.reset(token)
            with self._lock:
                if self._flying.get(key) is flight:
                    del self._flying[key]
                wakers = flight.land()
            for wake in wakers:
                wake()
        return flight.result


class _ThreadWaker:
    def __init__(self) -> None:
        self._event = threading.Event()
        self.wake = self._event.set

    async def wait(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if not self._event.wait(left):
            raise DeadlineExceeded("no time left, waiting for another caller's work")


class _AsyncWaker:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def wake(self) -> None:
        with suppress(RuntimeError):  # the waiter's loop is closed: nobody waits there any more
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        try:
            async with asyncio.timeout(left):
                await self._event.wait()
        except TimeoutError:
            raise DeadlineExceeded("no time left, waiting for another caller's work") from None
