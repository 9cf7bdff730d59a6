"""The plugin: provides directories, and names the call's user to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flext_plugins import Stage, hookimpl

from .directory import AsyncDirectory
from .identity import Identity
from .server import Servers, tls
from .settings import LdapSettings
from .sync import Directory

if TYPE_CHECKING:
    import ssl

    from flext_plugins import Connection, Request

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
        for name, settings, context in self._directories:
            servers = Servers(settings, context, asynchronous=connection.asynchronous)
            directory = AsyncDirectory(settings, servers, connection)
            if name is None:
                connection.state["unnamed"] = directory
            if connection.asynchronous:
                connection.provide(AsyncDirectory, directory, name, servers.close)
            else:
                connection.provide(Directory, Directory(directory, connection), name, servers.close)

    @hookimpl
    async def flext_request(self, request: Request, connection: Connection) -> None:
        """Name the call's user on the request."""
        await self._identity.mark(request, connection, connection.state.get("unnamed"))
