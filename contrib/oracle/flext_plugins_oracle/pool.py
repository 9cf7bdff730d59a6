"""A pool of sessions to one database."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from flext_plugins import FlextError, Refused

from .errors import DatabaseUnavailable, Exhausted, Late, OutcomeUnknown
from .session import GOODBYE_SECONDS
from .wire import Watch, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins import Connection, Permit

    from .session import Opener, Session
    from .settings import DatabaseSettings

T = TypeVar("T")
IDLE_SECONDS = 60.0
"""After which an idle session is closed, or pinged if it is one of `pool_min`."""
PING_SECONDS = 0.25
"""So long an idle session may take to show that it is there; if it does not, another is opened."""


class Timeouts(NamedTuple):
    """Seconds that each phase may take, `None` for ever, and the call's deadline."""

    pool: float | None
    connect: float | None
    answer: float | None
    deadline: float | None = None
    """On the clock of `time.monotonic`."""

    def short(self) -> Timeouts:
        """The same, but a third of the time to connect: for what nobody waits for."""
        left = self.until(self.connect) - time.monotonic()
        return self._replace(connect=None if left == math.inf else max(left / 3, 0.0))

    def until(self, seconds: float | None) -> float:
        """The time, on that clock, when a phase that begins now must be over."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        return end if self.deadline is None else min(end, self.deadline)


class Usage(NamedTuple):
    """The use that is made of a pool."""

    in_use: int
    idle: int
    limit: int
    """The most sessions; 0 if the pool is closed."""
    waiting: int
    """Callers that wait for a session."""


NOTHING = Usage(0, 0, 0, 0)


class Pool:
    """The sessions of one event loop, or of all threads together.

    That there are no more than `pool_max` of them in use is the business of a permit, for which
    threads and event loops stand in one line.
    """

    def __init__(
        self,
        key: object,
        settings: DatabaseSettings,
        opener: Opener,
        connection: Connection,
        report: Callable[[], None] | None = None,
    ) -> None:
        self.opener, self._settings, self._connection = opener, settings, connection
        self._key, self._report = key, report
        timeout = connection.service.timeout
        self._timeouts = Timeouts(
            timeout.pool,
            settings.connect_timeout or timeout.connect,
            settings.timeout or timeout.read,
        )
        self._idle: list[Session] = []
        self._abandoned: deque[Session] = deque()
        self._in_use = self._waiting = 0
        self._doubted_at = -math.inf
        self._lock = threading.RLock()  # the collector closes iterators under it
        self._is_closed = False
        self._watch = Watch()
        self._threads: ThreadPoolExecutor | None = None
        if connection.asynchronous:
            name = f"oracle {opener.target}"
            self._threads = ThreadPoolExecutor(settings.pool_max + 1, name)  # one closes

    @property
    def usage(self) -> Usage:
        """The use that is made of it now."""
        self._sweep()
        with self._lock:
            limit = 0 if self._is_closed else self._settings.pool_max
            return Usage(self._in_use, len(self._idle), limit, self._waiting)

    def timeouts(self) -> Timeouts:
        """Those of the call under way."""
        call = self._connection.call
        return self._timeouts._replace(deadline=call.deadline if call else None)

    async def place(self) -> Permit:
        """Wait for the right to use a session.

        Raises:
            Exhausted: none became free in time.
        """
        most = self._settings.pool_max
        waits = self._in_use >= most  # as far as this pool can tell: else it is not worth an event
        self._count(waiting=1, tell=waits)
        try:
            return await self._connection.permit(
                self._key, most, timeout=self._timeouts.pool, always=True
            )
        except Refused as error:
            raise Exhausted(
                f"{self.opener.target}: all {most} sessions are busy; pool_max allows no more"
            ) from error
        finally:
            self._count(waiting=-1, tell=waits)

    async def call(self, function: Callable[[], T]) -> T:
        """`function()`, which blocks: in place, or in a thread of the pool's own.

        Raises:
            Refused: the pool is closed.
        """
        if self._is_closed:
            raise Refused("the database is closed")
        if self._threads is None:
            return function()
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    def take(self, timeouts: Timeouts, begin: Callable[[Wire], None]) -> Session:
        """Take a session; the caller gives it back or drops it.

        `begin` is told its wire before anything is waited for.
        """
        self._sweep()
        self._count(in_use=1)
        session: Session | None = None
        try:
            while (session := self._unused()) is not None:
                begin(session.wire)
                if self._is_alive(session, timeouts):
                    return session
                session.close()
            session = self._opened(timeouts, begin)
            self._grow(timeouts, begin, session.wire)
            return session
        except BaseException:
            if session is not None:
                session.close()
            self._count(in_use=-1)
            raise

    def give(self, session: Session) -> None:
        """Take back a session, for others if they can use it."""
        is_whole = session.is_healthy and not session.is_in_transaction
        with self._lock:
            self._in_use -= 1
            is_kept = is_whole and not self._is_closed
            if is_kept:
                session.idle_since = time.monotonic()
                self._idle.append(session)
            surplus = self._surplus()
        self._changed()
        if not is_kept:
            session.close(time.monotonic() + GOODBYE_SECONDS if is_whole else 0)
        for each in surplus:
            each.close()

    def drop(self, session: Session, error: BaseException | None = None) -> None:
        """Take back a session that cannot be used again, because of `error` if there is one."""
        if isinstance(error, (DatabaseUnavailable, OutcomeUnknown)):
            self.doubt()
        session.close()
        self._count(in_use=-1)

    def doubt(self) -> None:
        """Have those that are idle now pinged before they are used: they may have failed too."""
        self._doubted_at = time.monotonic()

    def abandon(self, session: Session) -> None:
        """Take back a session that nobody ended the use of; called by the collector."""
        session.wire.close()  # no lock is taken here
        self._abandoned.append(session)

    def close(self) -> None:
        """Log off the idle sessions now, and the others when they come back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        end = time.monotonic() + GOODBYE_SECONDS  # for all of them
        for session in idle:
            session.close(end)
        self._watch.close()
        self._changed()

    async def aclose(self) -> None:
        """Close like `close`, without stopping the event loop."""
        if self._threads is not None and not self._is_closed:
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, self.close)
            finally:
                self._threads.shutdown(wait=False)

    def _count(self, *, waiting: int = 0, in_use: int = 0, tell: bool = True) -> None:
        with self._lock:
            self._waiting += waiting
            self._in_use += in_use
        if tell:
            self._changed()

    def _changed(self) -> None:
        if self._report is not None:
            self._report()

    def _unused(self) -> Session | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _surplus(self) -> list[Session]:
        """Take out what has been idle for too long and is more than `pool_min`."""
        surplus = []
        long_ago = time.monotonic() - IDLE_SECONDS
        while (
            self._idle
            and self._idle[0].idle_since < long_ago
            and self._in_use + len(self._idle) > self._settings.pool_min
        ):
            surplus.append(self._idle.pop(0))
        return surplus

    def _is_alive(self, session: Session, timeouts: Timeouts) -> bool:
        """Whether it can be used, as far as is known or a ping tells."""
        if session.wire.is_hung_up:
            raise Late("nobody waits for it any more")
        if session.wire.is_stale:
            return False
        if session.idle_since > max(self._doubted_at, time.monotonic() - IDLE_SECONDS):
            return True
        session.end = lambda: timeouts.until(PING_SECONDS)
        try:
            session.ping()
        except FlextError:
            with self._lock:  # they have been idle for longer
                older, self._idle = self._idle, []
            for each in older:
                each.close()
            return False
        return True

    def _opened(self, timeouts: Timeouts, begin: Callable[[Wire], None]) -> Session:
        wire = Wire()
        begin(wire)
        return self.opener.open(self._watch, timeouts.until(timeouts.connect), wire)

    def _grow(self, timeouts: Timeouts, begin: Callable[[Wire], None], own: Wire) -> None:
        """Open further sessions, if the settings want several at once; a failure is no matter.

        The first caller, whose wire is `own`, waits for each at most a third of the time left.
        """
        settings = self._settings
        with self._lock:
            there = self._in_use + len(self._idle)
        wanted = min(max(settings.pool_min, there + settings.pool_increment - 1), settings.pool_max)
        while self._reserve(wanted):
            try:
                session = self._opened(timeouts.short(), begin)
            except BaseException as error:
                self._count(in_use=-1)
                if not isinstance(error, FlextError):
                    raise
                break
            finally:
                begin(own)  # or a caller that gives up would hang up on whoever gets this one
            self.give(session)

    def _reserve(self, wanted: int) -> bool:
        """Count a session that is to be opened, if there are fewer than `wanted`."""
        with self._lock:
            is_missing = self._in_use + len(self._idle) < wanted
            self._in_use += is_missing
        return is_missing

    def _sweep(self) -> None:
        """Count those that the collector found no longer."""
        while self._abandoned:
            with suppress(IndexError):
                session = self._abandoned.popleft()
                session.close()
                self._count(in_use=-1)

    def __del__(self) -> None:
        for session in (*self._idle, *self._abandoned):  # its event loop was closed before
            session.wire.close()
        self._watch.close()
