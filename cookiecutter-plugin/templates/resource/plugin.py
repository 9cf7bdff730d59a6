"""The plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flext_plugins import hookimpl

from .entries import AsyncEntries, Entries
from .settings import {{ cookiecutter.__class }}Settings

if TYPE_CHECKING:
    from flext_plugins import Connection


class {{ cookiecutter.__class }}:
    """{{ cookiecutter.__sentence }}."""

    Settings = {{ cookiecutter.__class }}Settings

    def __init__(self, settings: {{ cookiecutter.__class }}Settings) -> None:
        self._settings = settings

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Lend `Entries` to threads, and `AsyncEntries` to each event loop."""
        settings = self._settings
        entries = AsyncEntries(settings.path, settings.timeout, connection)
        if connection.asynchronous:
            connection.provide(AsyncEntries, entries, close=entries.close)
        else:
            lent = Entries(entries, connection)
            connection.provide(Entries, lent, close=lent.close)
