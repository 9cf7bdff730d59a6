"""The way from one thing that is asked to the server that answers."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from flext_plugins import DeadlineExceeded, Failure, FlextError, Operation, Refused, options

from .errors import DirectoryUnavailable, Exhausted, Late, Referral, Unreachable
from .pool import Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flext_plugins import Connection

    from .pool import Pool, Reader
    from .server import Server, Servers
    from .settings import DirectorySettings

T = TypeVar("T")
F = TypeVar("F", bound=FlextError)
Work: TypeAlias = "Callable[[Pool, Timeouts, str], T]"
"""What is done at a server, below or to the DN that it is about there."""
SYSTEM = "ldap"
MOST_HOPS = 5
"""From one server to the next that it refers to."""


class SharedDeadline:
    """One thing that the application asked for, in however many operations."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        """Of the first operation, and so of all."""

    @contextmanager
    def limited(self) -> Iterator[None]:
        """The next operation has the time that is left."""
        if self.deadline is None:
            yield
            return
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("no time left, waiting for the directory")
        with options(deadline=left):
            yield


class Failover:
    """Finds the server that answers, in an operation for each that is tried."""

    def __init__(
        self, settings: DirectorySettings, servers: Servers, connection: Connection
    ) -> None:
        self._servers, self._connection = servers, connection
        timeout = connection.service.timeout
        self._timeouts = Timeouts(
            timeout.pool,
            settings.connect_timeout or timeout.connect,
            settings.timeout or timeout.read,
        )

    async def ask(
        self,
        name: str,
        work: Work[T],
        dn: str = "",
        *,
        idempotent: bool = False,
        deadline: SharedDeadline | None = None,
        size: int | None = None,
        reader: Reader[Any] | None = None,
    ) -> T:
        """What the first server that answers says, or one that it refers to.

        Args:
            name: of the operation.
            work: what is done at the server.
            dn: below or to which.
            idempotent: whether it may be done again, and at another server.
            deadline: what the operation is part of.
            size: how many entries it is about.
            reader: keeps its place at the server until it is over.
        """
        places = [(server, dn) for server in self._servers.own]
        deadline = deadline or SharedDeadline()
        for hops in range(MOST_HOPS + 1):
            try:
                return await self._at(
                    places, name, work, deadline, idempotent=idempotent, size=size, reader=reader
                )
            except Referral as referred:
                referrals = self._servers.referred(referred.urls)
                if not referrals or hops == MOST_HOPS:
                    raise
                places = [(server, named or places[0][1]) for server, named in referrals]
        raise AssertionError  # the last one returned or raised

    async def on(
        self, reader: Reader[Any], name: str, work: Work[T], dn: str, deadline: SharedDeadline
    ) -> T:
        """What the server says at which `reader` has its place; it is asked once."""
        assert reader.place is not None  # noqa: S101 - its first page has come
        return await self._at([(reader.place, dn)], name, work, deadline, reader=reader)

    async def _at(
        self,
        places: Sequence[tuple[Server, str]],
        name: str,
        work: Work[T],
        deadline: SharedDeadline,
        *,
        idempotent: bool = False,
        size: int | None = None,
        reader: Reader[Any] | None = None,
    ) -> T:
        """What the first of these servers that answers says."""
        attributes = {} if size is None else {"size": size}
        for left, (server, dn) in reversed([*enumerate(reversed(places))]):
            operation = Operation(SYSTEM, name, server.target, idempotent, attributes)
            try:
                with deadline.limited():
                    result: T = await self._connection.perform(
                        operation, self._run, server, work, dn, deadline, reader
                    )
                return result
            except Refused as error:
                if not left:
                    raise self.told(error) from error.__cause__
            except DirectoryUnavailable as error:
                may_be_done = error.failure is not Failure.CONNECT and not idempotent
                if not left or may_be_done:
                    raise self.told(error) from error.__cause__
            except FlextError as error:
                raise self.told(error) from error.__cause__
        raise AssertionError  # the last one returned or raised

    async def _run(
        self,
        server: Server,
        work: Work[T],
        dn: str,
        deadline: SharedDeadline,
        reader: Reader[Any] | None,
    ) -> T:
        call = self._connection.call
        assert call is not None  # noqa: S101 - operations have one
        deadline.deadline = call.deadline
        call.check(f"the directory at {server.target}")
        timeouts = self._timeouts._replace(deadline=call.deadline)
        try:
            if reader is None or reader.place is None:
                await server.enter(timeouts)
            if reader is not None:
                reader.place = server
            try:
                return await server.run(lambda pool, timeouts: work(pool, timeouts, dn), timeouts)
            finally:
                if reader is None or reader.is_over:
                    leave(server, reader)
        except (Late, Exhausted, Unreachable):
            call.check(f"the directory at {server.target}")  # it was the deadline that came
            raise

    def told(self, error: F) -> F:
        """`error`, saying whose it is."""
        if error.plugin is None:
            error.plugin, error.distribution = "ldap", "flext-plugins-ldap"
        error.service = error.service or self._connection.service.name
        return error


def leave(server: Server, reader: Reader[Any] | None) -> None:
    """Have no place at `server` any more."""
    if reader is not None:
        reader.place = None
    server.leave()
