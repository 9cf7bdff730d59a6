"""`once`: one piece of work for all who ask at the same time, in threads and event loops alike."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Hashable
from contextvars import ContextVar
from copy import copy
from typing import Any, TypeAlias

from flext_plugins._call import restore
from flext_plugins._errors import DeadlineExceeded, FlextError
from flext_plugins._waiting import Waker, waker

Work: TypeAlias = Callable[[], Awaitable[Any]]
_leading: ContextVar[tuple[Flight, ...]] = ContextVar("flext_plugins.leading", default=())
LOOK = 0.5
"""Seconds after which who waits looks whether the leader is still there."""


class Flight:
    """Work under way, led by one caller and awaited by others."""

    __slots__ = (
        *("_landed", "_loop", "_waiters", "abandoned", "error", "loop_thread", "result"),
        "waits_for",
    )

    def __init__(self, *, asynchronous: bool) -> None:
        self._loop = asyncio.get_running_loop() if asynchronous else None
        self.loop_thread = threading.get_ident() if asynchronous else None
        """The thread whose event loop the leader runs on; `None` for a sync leader."""
        self.waits_for: list[Flight] = []
        self.abandoned = True
        """Whether it ends without an outcome, as it does until it has one."""
        self._landed = False
        self.result: Any = None
        self.error: Exception | None = None
        self._waiters: list[Waker] = []

    @property
    def is_lost(self) -> bool:
        """Whether nobody may ever end it: the leader's loop was left with the work pending."""
        return not self._landed and self._loop is not None and not self._loop.is_running()

    def join(self, waiter: Waker) -> None:
        """Have `waiter` woken at the end; that may be now, by a collected leader's `finally`."""
        self._waiters.append(waiter)
        if self._landed:
            waiter.wake()

    def land(self) -> None:
        """Wake all who wait."""
        self._landed = True
        for each in self._waiters:
            each.wake()

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
        self._lock = threading.RLock()  # a collected leader's `finally` may come back here
        self._flying: dict[Hashable, Flight] = {}
        self._blocked: dict[int, Flight] = {}  # by thread: what a sync caller waits for there

    async def once(
        self, key: Hashable, work: Work, *, asynchronous: bool, deadline: float | None
    ) -> Any:
        """Give the result of `work`, run by one caller for all who hold `key` at the time.

        A leader that is cancelled, whose own deadline passes or whose event loop ends leaves the
        work to a waiter. Who would wait for itself, directly or through others' flights, runs
        `work` by itself.

        Raises:
            DeadlineExceeded: `deadline` passed while waiting.
        """
        here = threading.get_ident()
        while True:
            mine = _leading.get()
            with self._lock:
                flight = self._flying.get(key)
                if flight is None or flight.is_lost:
                    flight = self._flying[key] = Flight(asynchronous=asynchronous)
                    waiter = None
                elif self._would_deadlock(flight, mine, None if asynchronous else here):
                    break
                else:
                    waiter = waker(asynchronous=asynchronous)
                    flight.join(waiter)
                    for own in mine:
                        own.waits_for.append(flight)
                    if not asynchronous:
                        self._blocked[here] = flight
            if waiter is None:
                return await self._lead(key, flight, work)
            try:
                while not await waiter.wait(_turn_of(deadline)) and not flight.is_lost:
                    pass
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
        try:
            flight.result = await work()
            flight.abandoned = False
        except DeadlineExceeded:
            raise
        except Exception as error:
            flight.error, flight.abandoned = fresh(error), False
            raise
        finally:
            with self._lock:
                if self._flying.get(key) is flight:
                    del self._flying[key]
            flight.land()
            restore(_leading, token)
        return flight.result


def _turn_of(deadline: float | None) -> float:
    """Seconds to wait before the flight is looked at again.

    Raises:
        DeadlineExceeded: `deadline` has passed.
    """
    left = LOOK if deadline is None else deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("no time left, waiting for another caller's work")
    return min(left, LOOK)
