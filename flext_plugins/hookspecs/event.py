"""`flext_event`: something happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import hookspec

if TYPE_CHECKING:
    from flext_plugins.connection import Connection
    from flext_plugins.events import Event


@hookspec
def flext_event(event: Event, connection: Connection) -> None:
    """Take note of a record from `flext_plugins.events`, or of one that a plugin emitted.

    A receiver is always an observer: what it raises is reported and hurts nobody.
    """
