"""A pool of connections to one server, for the configured account and for users' logins."""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from flext_plugins import Refused

from .errors import DirectoryError, DirectoryUnavailable, Exhausted
from .schema import Schema
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import SecretStr

    from .server import Server
    from .wire import Address

T = TypeVar("T")
IDLE_SECONDS = 60.0
"""After which an idle connection is dropped: firewalls forget connections silently."""


class Timeouts(NamedTuple):
    """Seconds that each phase may take, `None` for ever, and the call's deadline."""

    pool: float | None
    connect: float | None
    answer: float | None
    deadline: float | None = None
    """On the clock of `time.monotonic`."""

    def until(self, seconds: float | None) -> float:
        """The time, on that clock, when a phase that begins now must be over."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        return end if self.deadline is None else min(end, self.deadline)


class Usage(NamedTuple):
    """The use that is made of a pool."""

    in_use: int
    idle: int
    limit: int
    """The most connections; 0 if the pool is closed."""
    waiting: int
    """Callers that wait for a connection."""


NOTHING = Usage(0, 0, 0, 0)


class Pool:
    """Opens connections when they are needed, at most `size` at a time.

    Args:
        address: the server's.
        size: the most connections, including idle ones and those of users who log in.
        enter: binds a new session to the configured account.
        report: called each time that the usage may have changed, with the server's address.
    """

    def __init__(
        self,
        address: Address,
        size: int,
        enter: Callable[[Session], None],
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.address = address
        self._size, self._enter = size, enter
        self._schema = Schema()
        self._idle: list[Session] = []
        self._count = self._waiting = 0
        self._condition = threading.Condition()
        self._is_closed = False
        self._report = report

    def run(self, work: Callable[[Session], T], timeouts: Timeouts) -> T:
        """Call `work` with a session of the configured account; its result.

        Raises:
            Exhausted: all connections are busy.
            Unreachable: the server cannot be reached.
            DirectoryError: `work` raised it.
        """
        session = self.take(timeouts)
        try:
            result = work(session)
        except BaseException as error:
            self.back(session, error)
            raise
        self.give(session)
        return result

    def prove(self, dn: str, password: SecretStr, timeouts: Timeouts) -> None:
        """Check the password of `dn`, over a connection for nothing else.

        Raises:
            AuthenticationFailed: it is wrong.
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
        """Take a session of the configured account; the caller gives it back or drops it."""
        while (session := self._slot(timeouts)) is not None:
            if not session.is_stale and time.monotonic() - session.idle_since < IDLE_SECONDS:
                session.until = timeouts.until(timeouts.answer)
                return session
            self.drop(session)
        return self._open(timeouts, own=True)

    def give(self, session: Session) -> None:
        """Take back a session that can be used again."""
        with self._condition:
            is_kept = not self._is_closed
            if is_kept:
                session.idle_since = time.monotonic()
                self._idle.append(session)
                self._condition.notify()
        if is_kept:
            self._changed()
        else:
            self.drop(session)

    def drop(self, session: Session | None) -> None:
        """Take back a session that cannot be used again, or the place of one."""
        if session is not None:
            session.close()
        with self._condition:
            self._count -= 1
            self._condition.notify()
        self._changed()

    def back(self, session: Session, error: BaseException) -> None:
        """Take back a session after `error`, which the server's own answer does not break."""
        if isinstance(error, DirectoryError) and not isinstance(error, DirectoryUnavailable):
            self.give(session)
        else:
            self.drop(session)

    def check_open(self) -> None:
        """Check that the host is open.

        Raises:
            Refused: it is closed.
        """
        if self._is_closed:
            raise Refused("the directory is closed")

    def exhausted(self) -> Exhausted:
        """The error for a caller that waited for a connection in vain."""
        problem = f"{self.address.target}: all {self._size} connections are busy"
        return Exhausted(f"{problem}; pool_size allows no more")

    def close(self) -> None:
        """Close the idle sessions now, and the others when they come back."""
        with self._condition:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._condition.notify_all()
            self._count -= len(idle)
        for session in idle:
            session.close()
        self._changed()

    @property
    def usage(self) -> Usage:
        """The use that is made of it now."""
        with self._condition:
            idle, limit = len(self._idle), 0 if self._is_closed else self._size
            return Usage(self._count - idle, idle, limit, self._waiting)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the caller among those that wait, as long as a `with` lasts."""
        with self._condition:
            self._waiting += 1
        self._changed()
        try:
            yield
        finally:
            with self._condition:
                self._waiting -= 1
            self._changed()

    def _changed(self) -> None:
        if self._report is not None:
            self._report(self.address.target)

    def _slot(self, timeouts: Timeouts, *, another: bool = False) -> Session | None:
        """The idle session used last, or `None` with the right to open another."""
        with self._condition:
            is_free, session = self._free(another=another)
        if not is_free:
            with self.waiting():
                session = self._awaited(timeouts.until(timeouts.pool), another=another)
        self._changed()
        return session

    def _awaited(self, until: float, *, another: bool) -> Session | None:
        with self._condition:
            while True:
                is_free, session = self._free(another=another)
                if is_free:
                    return session
                left = until - time.monotonic()
                if left <= 0:
                    raise self.exhausted()
                self._condition.wait(None if left == math.inf else left)

    def _free(self, *, another: bool) -> tuple[bool, Session | None]:
        """Whether there is a place, which is taken, and the session in it."""
        self.check_open()
        if self._idle and not (another and self._count < self._size):
            return True, self._idle.pop()
        if self._count < self._size:
            self._count += 1
            return True, None
        return False, None

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
    """Reads a search page by page, over one connection from the first page to the last.

    Servers accept the request for a page only on the connection of the page before.
    """

    def __init__(self, work: Callable[[Session, str, bytes], tuple[T, bytes]]) -> None:
        self.pool: Pool | None = None
        self.server: Server | None = None
        """The server that this search has entered and not left."""
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
        """Read no further; a page that another thread is reading is the last."""
        with self._lock:
            self._is_closed = True
            if self._is_busy or self._session is None or self.pool is None:
                return
            session, self._session = self._session, None
        self.pool.drop(session)

    def leave(self) -> None:
        """Leave the server, if this search has entered one."""
        if self.server is not None:
            self.server.leave()
            self.server = None
