"""The plugin."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from flext_plugins import Stage, hookimpl

from .settings import {{ cookiecutter.__class }}Settings

if TYPE_CHECKING:
    from flext_plugins import Connection, Request

UNSIGNED = "UNSIGNED"
"""Stands for a body that can be sent only once: to read it would mean to hold all of it."""


class {{ cookiecutter.__class }}:
    """{{ cookiecutter.__sentence }}."""

    Settings = {{ cookiecutter.__class }}Settings
    stage = Stage.SIGN  # innermost: what is signed here is changed by nobody afterwards
    fail_closed = True  # no configuration may have it send what is not signed

    def __init__(self, settings: {{ cookiecutter.__class }}Settings) -> None:
        self._settings = settings

    @hookimpl
    async def flext_request(self, request: Request, connection: Connection) -> None:
        """Name the client, and sign the client, the method, the target and the body."""
        settings = self._settings
        body = UNSIGNED
        if connection.replayable(request):
            body = hashlib.sha256(await connection.read(request)).hexdigest()
        text = "\n".join((settings.client, request.method, request.url.target, body))
        key = settings.key.get_secret_value().encode()  # here, since it may have been renewed
        request.headers["X-Client"] = settings.client
        request.headers[settings.header] = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
