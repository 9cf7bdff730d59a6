"""A service whose plugin `retry` waits as long as it may, so that a test knows how long."""

from collections.abc import Callable
from typing import Any

import pytest
from flext_plugins_retry import Retry

from flext_plugins import Host, Stage, events, hookimpl
from flext_plugins.testing import LoopbackService, World

Serve = Callable[..., Host]


class Longest(Retry):
    """Leaves nothing to chance, and keeps what it waits."""

    waits: list[float]

    @staticmethod
    def uniform(_: float, longest: float) -> float:
        Longest.waits.append(longest)
        return longest


class Seen:
    """What the other plugins are told."""

    stage = Stage.CALL
    told: list[events.Retried]
    waits: list[float]
    then: Callable[[], object] | None

    @hookimpl
    def flext_event(self, event: object) -> None:
        if isinstance(event, events.Retried):
            self.told.append(event)
            if Seen.then is not None:
                Seen.then()


@pytest.fixture
def serve(flext_world: World, flext_service: LoopbackService, seen: type[Seen]) -> Serve:
    """A host whose `service` is `flext_service`, with `retry` so configured."""

    def serve(*plugins: type, retry: dict[str, Any] | None = None, **service: Any) -> Host:
        tables: dict[str, Any] = {plugin.__name__.lower(): {} for plugin in plugins}
        tables |= {"longest": {"backoff": 0.001, **(retry or {})}, "seen": {}}
        named = {plugin.__name__.lower(): plugin for plugin in plugins}
        config = {"base_url": flext_service.url, "plugins": tables, **service}
        return flext_world.host(
            {"services": {"service": config}}, longest=Longest, seen=seen, **named
        )

    return serve


@pytest.fixture
def seen() -> type[Seen]:
    """Keeps the resends of this test and the waits before them, and runs its `then` at each."""
    Seen.told, Seen.then = [], None
    Seen.waits = Longest.waits = []
    return Seen
