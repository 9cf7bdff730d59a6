"""An application's tests at full speed: nothing waits, and no test pays for the one before."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flext_plugins._host import Host


@contextmanager
def without_waiting(host: Host) -> Iterator[Host]:
    """Let no plugin of `host` wait or refuse, for an application's tests.

    Sleeps return at once, circuit breakers count and refuse nothing, limiters and permits let
    everything through. Retry resends as ever, but without waiting and beside its budget. Whatever
    the service does is still what the application gets. No configuration and no variable can say
    it.
    """
    runtime = host._runtime  # noqa: SLF001 - the kit is of the same package
    before, runtime.waits = runtime.waits, False
    try:
        yield host
    finally:
        runtime.waits = before
