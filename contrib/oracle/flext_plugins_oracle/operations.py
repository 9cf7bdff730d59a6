"""Operations: what a database is asked, as the service's plugins see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from flext_plugins import DeadlineExceeded, Operation

from .errors import OutcomeUnknown
from .lease import Lease

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from flext_plugins import Call, Connection

    from .pool import Pool
    from .session import Session
    from .settings import DatabaseSettings

T = TypeVar("T")
B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)
SYSTEM = "oracle"


class Reading(Protocol[B_co]):
    """A query that is read in batches."""

    is_over: bool

    def start(self, session: Session) -> B_co: ...
    def read(self, session: Session) -> B_co: ...
    def close(self) -> None: ...


class Operations:
    """Performs what one database is asked."""

    def __init__(
        self, name: str | None, settings: DatabaseSettings, connection: Connection
    ) -> None:
        self._name, self._settings, self._connection = name, settings, connection

    def find_pool(self) -> Pool:
        """The pool; in a forked child it is the child's from the first operation on."""
        pool: Pool = self._connection.state["pools"][self._name]
        return pool

    def operation(
        self,
        name: str,
        *,
        idempotent: bool = False,
        statement: object = None,
        **attributes: object,
    ) -> Operation:
        """An operation with what plugins may know of it, which is never a value."""
        settings = self._settings
        if statement is not None and settings.record_statements:
            attributes["query"] = str(statement)
        if (namespace := settings.service_name or settings.sid) is not None:
            attributes["namespace"] = namespace
        return Operation(SYSTEM, name, settings.target, idempotent, attributes)

    async def once(
        self, operation: Operation, work: Callable[[Session], T], call: Call | None = None
    ) -> T:
        """`work(session)` with a session of its own, which is new if it has to be done again."""

        async def attempt() -> T:
            return await Lease(self.find_pool).use(work, last=True)

        return await self._connection.perform(operation, attempt, call=call)

    async def committed(
        self, operation: Operation, work: Callable[[Session], T], call: Call | None = None
    ) -> T:
        """`work(session)` in a transaction of its own.

        Raises:
            OutcomeUnknown: the answer to the commit was lost.
        """
        is_sent = False

        def work_and_commit(session: Session) -> T:
            nonlocal is_sent
            is_sent = False
            result = work(session)
            is_sent = True
            session.commit()
            return result

        try:
            return await self.once(operation, work_and_commit, call)
        except DeadlineExceeded as error:
            if is_sent:
                raise self.unknown() from error
            raise

    def unknown(self) -> OutcomeUnknown:
        """The error for a commit that was sent before the deadline and not answered by then."""
        error = OutcomeUnknown("the answer to the commit did not come before the deadline")
        return self._connection.add_context(error)

    async def read(
        self, operation: Operation, query: Reading[B], lease: Lease | None, call: Call
    ) -> AsyncGenerator[B, None]:
        """Yield the batches of a query, over `lease` or a session of their own."""
        own: Lease | None = None

        async def attempt() -> B:
            nonlocal own
            own = Lease(self.find_pool)
            return await own.use(query.start)

        async def further(work: Callable[[Session], B], lease: Lease) -> B:
            return await lease.use(work)

        perform, later = self._connection.perform, self.operation("fetch")
        try:
            if lease is None:
                yield await perform(operation, attempt, call=call)
            else:
                yield await perform(operation, further, query.start, lease, call=call)
            while not query.is_over:
                holder = lease or own
                assert holder is not None  # noqa: S101 - the first batch came over it
                yield await perform(later, further, query.read, holder, call=call)
        finally:
            if own is not None:
                own.end(query.close)
