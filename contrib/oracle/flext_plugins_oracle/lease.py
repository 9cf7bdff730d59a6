"""The use that a caller makes of a session, for one operation or several."""

from __future__ import annotations

import threading
from types import NoneType
from typing import TYPE_CHECKING, TypeVar

from .errors import DatabaseError, DatabaseUnavailable, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins import Permit

    from .pool import Pool, Timeouts
    from .session import Session
    from .wire import Wire

T = TypeVar("T")


class Lease:
    """A session of a pool, from the first operation that needs it to the last.

    Whoever gives up waiting for an operation, in an event loop, hangs up: its thread ends at once.
    """

    def __init__(self, find_pool: Callable[[], Pool]) -> None:
        self._find_pool = find_pool
        self._pool: Pool
        self._permit: Permit | None = None
        self._session: Session | None = None
        self._wire: Wire | None = None
        self._lock = threading.Lock()
        self._is_over = self._is_busy = False

    @property
    def is_over(self) -> bool:
        """Whether the session was given back, or lost."""
        return self._is_over

    async def use(self, work: Callable[[Session], T], *, last: bool = False) -> T:
        """`work(session)`, inside an operation; the `last` work ends the lease.

        Raises:
            DatabaseError: the session is lost, or somebody else uses it now.
        """
        with self._lock:
            if self._is_over:
                raise DatabaseError("the session was lost or given back; begin anew")
            if self._is_busy:
                raise DatabaseError("one thread or task at a time may use a transaction")
            self._is_busy = True
        try:
            if self._permit is None:
                self._pool = self._find_pool()
                self._permit = await self._pool.place()
            timeouts = self._pool.timeouts()
            return await self._pool.call(lambda: self._work(work, timeouts, last=last))
        except BaseException as error:
            self._give_up(error)
            raise
        finally:
            self._is_busy = False
            self._leave()

    def end(self, tidy: Callable[[], None] = lambda: None) -> None:
        """Give the session back, if there is one, after `tidy()`; nothing is committed."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            session, self._session = self._session, None
        try:
            tidy()
        finally:
            if session is not None:
                self._pool.give(session)
            self._leave()

    def __del__(self) -> None:
        if self._session is not None:
            self._pool.abandon(self._session)

    def _leave(self) -> None:
        """Let the next caller have a session, if this one is done with its own."""
        if self._is_over and self._permit is not None:
            self._permit.release()

    def _work(self, work: Callable[[Session], T], timeouts: Timeouts, *, last: bool) -> T:
        with self._lock:  # from now on it is this thread's
            session, self._session = self._session, None
        try:
            if session is None:
                session = self._pool.take(timeouts, self._begin)
            else:
                self._begin(session.wire)
            session.end = lambda: timeouts.until(timeouts.answer)
            result = work(session)
        except BaseException as error:
            self._put_back(session, error, last=last)
            raise
        self._put_back(session, None, last=last)
        return result

    def _begin(self, wire: Wire) -> None:
        with self._lock:
            self._wire = wire
            if self._is_over:
                wire.hang_up()

    def _put_back(
        self, session: Session | None, error: BaseException | None, *, last: bool
    ) -> None:
        """Decide, in the thread that worked, what becomes of the session after `error`, if any."""
        is_lost = isinstance(error, (DatabaseUnavailable, OutcomeUnknown))
        is_whole = isinstance(error, (Exception, NoneType)) and not is_lost
        is_whole = is_whole and session is not None and session.is_healthy
        if session is not None and is_whole and (last or self._is_over):
            try:
                session.finish()
            except Exception as second:
                is_whole, error = False, second
        with self._lock:
            self._wire = None
            self._is_over = is_over = self._is_over or last or not is_whole
            self._session = None if is_over else session
        if session is None or not is_over:
            return
        if is_whole:
            self._pool.give(session)
        else:
            self._pool.drop(session, error)

    def _give_up(self, error: BaseException) -> None:
        """Leave nothing behind if this caller stops waiting, or never got a session."""
        with self._lock:
            if isinstance(error, Exception):
                self._is_over = self._is_over or self._session is None
                return
            self._is_over = True
            session, self._session = self._session, None
            if self._wire is not None:  # as long as the thread has not let go of it
                self._wire.hang_up()
                self._pool.doubt()
        if session is not None:
            self._pool.drop(session)
