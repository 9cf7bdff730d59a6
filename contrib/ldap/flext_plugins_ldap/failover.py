"""Failover: tries a directory's servers in turn until one answers, and follows referrals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flext_plugins import Failure, FlextError, Operation, Refused

from .errors import DirectoryUnavailable, Referral
from .pool import Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flext_plugins import Call, Connection

    from .pool import Pool, Reader
    from .server import Server, Servers
    from .settings import DirectorySettings

T = TypeVar("T")
SYSTEM = "ldap"
MOST_HOPS = 5
"""Referrals that are followed, one after the other."""


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """One thing to do at the first server that answers."""

    name: str
    """The name of its operations."""
    work: Callable[[Pool, Timeouts, str], T]
    """Does it, given a server's connections, the time that it may take, and the DN."""
    dn: str = ""
    """The entry that it is about, or below which it looks; a referral may name another one."""
    idempotent: bool = False
    """Whether it may be done twice, and so at the next server if an answer is lost."""
    call: Call | None = None
    """The call that its operations belong to; `None` for one of its own."""
    size: int | None = None
    """The number of entries that it is about, if that is known."""
    reader: Reader[Any] | None = None
    """Keeps its place at one server from the first page to the last."""


class Failover:
    """Does jobs at a directory's servers, in an operation for each server that is tried."""

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

    async def run(self, job: Job[T]) -> T:
        """The result from the first server that answers, or from one that it refers to."""
        job = replace(job, call=job.call or self._connection.begin_call())
        places = [(server, job.dn) for server in self._servers.own]
        for hops in range(MOST_HOPS + 1):
            try:
                return await self._run_at_first(places, job)
            except Referral as referral:
                servers = self._servers.referred(referral.urls)
                if not servers or hops == MOST_HOPS:
                    raise
                places = [(server, dn or places[0][1]) for server, dn in servers]
        raise AssertionError  # the last one returned or raised

    async def resume(self, job: Job[T]) -> T:
        """The result from the server at which the job's reader has its place, tried only once."""
        reader = job.reader
        assert reader is not None  # noqa: S101 - only such jobs go on
        assert reader.server is not None  # noqa: S101 - its first page has come
        return await self._run_at_first(
            [(reader.server, reader.dn)], replace(job, idempotent=False)
        )

    async def _run_at_first(self, places: Sequence[tuple[Server, str]], job: Job[T]) -> T:
        """The result from the first of these servers that answers, each with its DN."""
        attributes = {} if job.size is None else {"size": job.size}
        for left, (server, dn) in reversed([*enumerate(reversed(places))]):
            operation = Operation(SYSTEM, job.name, server.target, job.idempotent, attributes)
            try:
                return await self._connection.perform(
                    operation, self._run_at, server, job, dn, call=job.call
                )
            except FlextError as error:
                if not left or not _may_move_on(error, job):
                    raise self._connection.add_context(error) from error.__cause__
        raise AssertionError  # the last one returned or raised

    async def _run_at(self, server: Server, job: Job[T], dn: str) -> T:
        call, reader = self._connection.call, job.reader
        assert call is not None  # noqa: S101 - operations have one
        timeouts = self._timeouts._replace(deadline=call.deadline)
        if reader is None or reader.server is None:
            await server.enter(timeouts)
        if reader is not None:
            reader.server = server
        try:
            return await server.run(lambda pool: job.work(pool, timeouts, dn))
        finally:
            if reader is None:
                server.leave()
            elif reader.is_over:
                reader.leave()


def _may_move_on(error: FlextError, job: Job[Any]) -> bool:
    """Whether the next server may be tried: nothing was sent, or doing it twice does no harm."""
    if isinstance(error, DirectoryUnavailable):
        return job.idempotent or error.failure is Failure.CONNECT
    return isinstance(error, Refused)
