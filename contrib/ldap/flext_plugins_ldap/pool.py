"""The connections to one server, for one identity and for those that come to prove theirs."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from flext_plugins import Refused

from .errors import DirectoryError, DirectoryUnavailable, Exhausted
from .schema import Schema
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from .server import Server
    from .wire import Address

T = TypeVar("T")
IDLE_SECONDS = 60.0
"""After which a connection is not believed to be one still: firewalls forget without a word."""


class Timeouts(NamedTuple):
    """How long something may take: seconds for each phase, `None` for ever, and the call's end."""

    pool: float | None
    connect: float | None
    answer: float | None
    deadline: float | None = None
    """On the clock of `time.monotonic`."""

    def until(self, seconds: float | None) -> float:
        """When a phase that begins now must be over, on that clock."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        return end if self.deadline is None else min(end, self.deadline)


class Pool:
    """At most `size` connections, which are opened when they are needed.

    Args:
        address: of the server.
        size: connections at most, idle ones and those of users who prove who they are included.
        enter: makes a new session the directory's own, which it stays.
    """

    def __init__(self, address: Address, size: int, enter: Callable[[Session], None]) -> None:
        self.address = address
        self._size, self._enter = size, enter
        self._schema = Schema()
        self._idle: list[Session] = []
        self._count = 0
        self._condition = threading.Condition()
        self._is_closed = False

    def run(self, work: Callable[[Session], T], timeouts: Timeouts) -> T:
        """What `work` gives with a session that is the directory's own.

        Raises:
            Exhausted: all were busy.
            Unreachable: the server is.
            DirectoryError: what `work` raises.
        """
        session = self.take(timeouts)
        try:
            result = work(session)
        except BaseException as error:
            self.back(session, error)
            raise
        self.give(session)
        return result

    def prove(self, dn: str, password: str, timeouts: Timeouts) -> None:
        """Find out whether that is `dn`'s password, over a connection for nothing else.

        Raises:
            AuthenticationFailed: it is not.
        """
        idle = self._slot(timeouts, another=True)
        if idle is not None:
            idle.close()  # its place is wanted
        session = self._open(timeouts, own=False)
        try:
            session.bind(dn, password)
        finally:
            self.drop(session)

    def take(self, timeouts: Timeouts) -> Session:
        """One that is the directory's own, to be given back, or dropped if it is of no more use."""
        while (session := self._slot(timeouts)) is not None:
            if not session.is_stale and time.monotonic() - session.idle_since < IDLE_SECONDS:
                session.until = timeouts.until(timeouts.answer)
                return session
            self.drop(session)
        return self._open(timeouts, own=True)

    def give(self, session: Session) -> None:
        """Take back what can be lent again."""
        with self._condition:
            if not self._is_closed:
                session.idle_since = time.monotonic()
                self._idle.append(session)
                self._condition.notify()
                return
        self.drop(session)

    def drop(self, session: Session | None) -> None:
        """Take back what cannot."""
        if session is not None:
            session.close()
        with self._condition:
            self._count -= 1
            self._condition.notify()

    def back(self, session: Session, error: BaseException) -> None:
        """Take back what `error` happened to: what the server said itself left it as it was."""
        if isinstance(error, DirectoryError) and not isinstance(error, DirectoryUnavailable):
            self.give(session)
        else:
            self.drop(session)

    def check_open(self) -> None:
        """Nothing, unless the host is closed.

        Raises:
            Refused: it is.
        """
        if self._is_closed:
            raise Refused("the directory is closed")

    def exhausted(self) -> Exhausted:
        """The error of who waited for a connection."""
        problem = f"{self.address.target}: all {self._size} connections are busy"
        return Exhausted(f"{problem}; pool_size allows no more")

    def close(self) -> None:
        """Close what is idle now, and the others when they come back."""
        with self._condition:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._condition.notify_all()
        for session in idle:
            self.drop(session)

    def _slot(self, timeouts: Timeouts, *, another: bool = False) -> Session | None:
        """An idle one, the latest used, or the right to open another, which may come first."""
        until = timeouts.until(timeouts.pool)
        with self._condition:
            while True:
                self.check_open()
                if self._idle and not (another and self._count < self._size):
                    return self._idle.pop()
                if self._count < self._size:
                    self._count += 1
                    return None
                left = until - time.monotonic()
                if left <= 0:
                    raise self.exhausted()
                self._condition.wait(None if left == math.inf else left)

    def _open(self, timeouts: Timeouts, *, own: bool) -> Session:
        session = None
        try:
            session = Session(self.address, timeouts.until(timeouts.connect), self._schema)
            if own:
                self._enter(session)
            session.until = timeouts.until(timeouts.answer)
            return session
        except BaseException:
            self.drop(session)
            raise


class Reader(Generic[T]):
    """A search in pages, which keeps one connection of `pool`'s from the first to the last.

    Servers tie a page to the connection that the page before came over.
    """

    def __init__(self, work: Callable[[Session, str, bytes], tuple[T, bytes]]) -> None:
        self.pool: Pool | None = None
        self.server: Server | None = None
        """The one that the application has entered and not left."""
        self.dn = ""
        """The DN below which the latest page was read."""
        self._work = work
        self._session: Session | None = None
        self._cookie = b""
        self._lock = threading.Lock()
        self._is_busy = self._is_closed = False

    @property
    def is_over(self) -> bool:
        """Whether there is no further page."""
        return self._session is None

    def page(self, pool: Pool, timeouts: Timeouts, dn: str) -> T:
        """Read the next page of what is below `dn`."""
        self.dn = dn
        with self._lock:
            if self._is_closed:
                raise Refused("the search was given up")
            self._is_busy, session = True, self._session
        try:
            if session is None:
                session = pool.take(timeouts)
            else:
                session.until = timeouts.until(timeouts.answer)
            result, cookie = self._work(session, dn, self._cookie)
        except BaseException as error:
            self._is_busy, self._session = False, None
            if session is not None:
                pool.back(session, error)
            raise
        self.pool, self._cookie = pool, cookie
        with self._lock:
            self._is_busy = False
            self._session = session if cookie and not self._is_closed else None
        if self._session is None:
            (pool.drop if cookie else pool.give)(session)
        return result

    def close(self) -> None:
        """Read no further; a page that is on its way in another thread is the last."""
        with self._lock:
            self._is_closed = True
            if self._is_busy or self._session is None or self.pool is None:
                return
            session, self._session = self._session, None
        self.pool.drop(session)

    def leave(self) -> None:
        """Let somebody else into the server; without one that was entered, do nothing."""
        if self.server is not None:
            self.server.leave()
            self.server = None
