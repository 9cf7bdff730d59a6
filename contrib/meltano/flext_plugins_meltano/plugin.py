"""The plugin: lends pipelines, at the service or on this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from flext_plugins import ConfigError, Stage, hookimpl

from .local import LocalRunner
from .pipelines import AsyncPipelines
from .service import ServiceRunner
from .settings import MeltanoSettings
from .sync import Pipelines

if TYPE_CHECKING:
    from flext_plugins import Connection, Service


class Meltano:
    """Lends `Pipelines` to threads, and `AsyncPipelines` to each event loop.

    They run at the service, or in the project on this machine that the settings name.
    """

    Settings = MeltanoSettings
    stage = Stage.MESSAGE
    fail_closed = True

    def __init__(self, settings: MeltanoSettings, service: Service) -> None:
        if not settings.is_local and service.base_url is None:
            raise ConfigError("needs project, dbt_project, or the base_url of a service")
        if settings.is_local and sys.platform == "win32":
            raise ConfigError("project: pipelines run on Linux and macOS, not on Windows")
        self._settings = settings

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Lend the pipelines; nothing runs before somebody asks."""
        close = None
        if self._settings.is_local:
            local = LocalRunner(self._settings, connection)
            pipelines = AsyncPipelines(local, self._settings, connection)
            close = local.aclose if connection.asynchronous else local.close
        else:
            runner = ServiceRunner(self._settings, connection)
            pipelines = AsyncPipelines(runner, self._settings, connection)
        if connection.asynchronous:
            connection.provide(AsyncPipelines, pipelines, close=close)
        else:
            connection.provide(Pipelines, Pipelines(pipelines, connection), close=close)
