"""The plugin."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flext_plugins import Refused, Stage, hookimpl
from flext_plugins.http import retry_after

from .settings import {{ cookiecutter.__class }}Settings

if TYPE_CHECKING:
    from flext_plugins import Connection, Request, Response, Send


class Paused(Refused):
    """Nothing was sent: the service asked for a pause that is not over."""


class {{ cookiecutter.__class }}:
    """{{ cookiecutter.__sentence }}."""

    Settings = {{ cookiecutter.__class }}Settings
    stage = Stage.GUARD

    def __init__(self, settings: {{ cookiecutter.__class }}Settings) -> None:
        self._settings = settings
        self._until = 0.0  # by time.monotonic(); one number for all threads and event loops

    @hookimpl
    async def flext_exchange(
        self, request: Request, send: Send, connection: Connection
    ) -> Response:
        """Refuse during a pause, otherwise send, and see whether a pause begins."""
        if not connection.waits:  # in an application's tests nothing is refused or counted
            return await send(request)
        left = self._until - time.monotonic()
        if left > 0:
            raise Paused("the service asked for a pause", retry_after=left)
        response = await send(request)
        seconds = retry_after(response.headers)
        if seconds is not None and response.status_code in self._settings.statuses:
            until = time.monotonic() + min(seconds, self._settings.longest)
            self._until = max(self._until, until)  # a late answer shortens no pause
        return response
