"""The plugin: provides directories, and names the call's user to the service."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from flext_plugins import Stage, Status, events, hookimpl

from .directory import AsyncDirectory
from .failover import SYSTEM
from .identity import Identity
from .pool import NOTHING
from .server import Servers, tls
from .settings import LdapSettings
from .sync import Directory

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from flext_plugins import Connection, Request

    from .pool import Pool
    from .settings import DirectorySettings


class Ldap:
    """Provides a `Directory` or `AsyncDirectory` for each directory in the settings.

    Each question to them is an operation, which passes the service's plugins as requests do. A
    service without `base_url` has operations only.
    """

    Settings = LdapSettings
    stage = Stage.MESSAGE
    fail_closed = True
    identifies = True

    def __init__(self, settings: LdapSettings) -> None:
        self._directories: list[tuple[str | None, DirectorySettings, ssl.SSLContext]] = [
            (name, each, tls(each)) for name, each in settings.directories.items()
        ]
        self._identity = Identity(settings)

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Provide the directories; nothing is sent before somebody uses one."""
        report = _reporter(connection) if connection.has_receivers else None
        for name, settings, context in self._directories:
            servers = Servers(settings, context, report, asynchronous=connection.asynchronous)
            connection.state.setdefault("servers", []).append(servers)
            directory = AsyncDirectory(settings, servers, connection)
            if name is None:
                connection.state["unnamed"] = directory
            if connection.asynchronous:
                connection.provide(AsyncDirectory, directory, name, servers.close)
            else:
                connection.provide(Directory, Directory(directory, connection), name, servers.close)

    @hookimpl
    def flext_status(self, connection: Connection) -> Status:
        """Report the pool of connections to each server."""
        pools = _pools(connection)
        facts = [{"target": each.address.target, **each.usage._asdict()} for each in pools]
        return Status({"pools": facts})

    @hookimpl
    async def flext_request(self, request: Request, connection: Connection) -> None:
        """Name the call's user on the request."""
        await self._identity.mark(request, connection, connection.state.get("unnamed"))


def _pools(connection: Connection) -> list[Pool]:
    servers: list[Servers] = connection.state.get("servers", [])
    return [pool for each in servers for pool in each.pools]


def _reporter(connection: Connection) -> Callable[[str], None]:
    """A function that emits the usage of all pools to a target, of several directories too."""
    lock = threading.RLock()

    def report(target: str) -> None:
        with lock:  # so that the latest event has the latest numbers
            pools = [each for each in _pools(connection) if each.address.target == target]
            numbers = zip(NOTHING, *(each.usage for each in pools), strict=True)
            connection.emit(events.PoolChanged(SYSTEM, target, *map(sum, numbers)))

    return report
