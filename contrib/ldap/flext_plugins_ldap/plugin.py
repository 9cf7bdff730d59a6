"""The plugin: lends directories, and names the call's user to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flext_plugins import Stage, hookimpl

from .directory import AsyncDirectory
from .identity import Identity
from .settings import LdapSettings

if TYPE_CHECKING:
    from flext_plugins import Connection, Request, Service


class Ldap:
    """Lends `Directory` and `AsyncDirectory`, whose operations pass the service's plugins."""

    Settings = LdapSettings
    stage = Stage.MESSAGE

    def __init__(self, settings: LdapSettings, service: Service) -> None:
        self._settings = settings
        self._identity = Identity(settings) if settings.url else None

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Lend the directories."""

    @hookimpl
    async def flext_request(self, request: Request, connection: Connection) -> None:
        """Name the call's user on the request."""
        if self._identity is not None:
            await self._identity.mark(request, connection, AsyncDirectory())
