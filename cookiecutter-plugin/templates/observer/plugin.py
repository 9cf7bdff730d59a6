"""The plugin."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flext_plugins import Stage, hookimpl

from .settings import {{ cookiecutter.__class }}Settings

if TYPE_CHECKING:
    from flext_plugins import Connection, Request, Response, Send

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slow:
    """An event: an attempt took long until its headers, or an error, came."""

    service: str
    method: str
    path: str
    """The call's route if the application gave one; without the query, which may hold secrets."""
    outcome: str
    """The answer's status, or the kind of failure."""
    seconds: float


class {{ cookiecutter.__class }}:
    """{{ cookiecutter.__sentence }}."""

    Settings = {{ cookiecutter.__class }}Settings
    stage = Stage.ATTEMPT
    observer = True  # what goes wrong here hurts no call

    def __init__(self, settings: {{ cookiecutter.__class }}Settings) -> None:
        self._threshold = settings.threshold

    @hookimpl
    async def flext_exchange(
        self, request: Request, send: Send, connection: Connection
    ) -> Response:
        """Measure one attempt."""
        started = time.perf_counter()
        outcome = "cancelled"
        try:
            response = await send(request)
            outcome = str(response.status_code)
            return response
        except Exception as error:
            failure = connection.failure(error)
            outcome = failure.value if failure else type(error).__name__
            raise
        finally:
            seconds = time.perf_counter() - started
            if seconds >= self._threshold:
                self._tell(request, connection, outcome, seconds)

    def _tell(self, request: Request, connection: Connection, outcome: str, seconds: float) -> None:
        call = connection.call
        path = (call.route if call else None) or request.url.path
        slow = Slow(connection.service.name, request.method, path, outcome, seconds)
        LOG.warning("%s: %s %s took %.3f s: %s", slow.service, slow.method, path, seconds, outcome)
        connection.emit(slow)
