"""A flext-auth and a FlexCore that want to be logged in at."""

from collections.abc import Iterator
from typing import Any

import pytest
from flext_plugins_devstack import Devstack


@pytest.fixture(scope="session")
def running() -> Iterator[Devstack]:
    with Devstack(protected=True) as stack:
        yield stack


class Fresh:
    """A server that nobody has talked to yet, as far as it tells."""

    def __init__(self, server: Any) -> None:
        server.up()
        server.clear()
        self._server, self._before = server, len(server.received)
        self._logins = getattr(server, "logins", 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    @property
    def received(self) -> list[Any]:
        return list(self._server.received[self._before :])

    @property
    def logins(self) -> int:
        return int(self._server.logins - self._logins)


class Stack:
    """A protected stack without faults."""

    def __init__(self, running: Devstack) -> None:
        running.auth.token_lifetime = 3600.0
        self.running = running
        self.auth, self.flexcore = Fresh(running.auth), Fresh(running.flexcore)
        self.elsewhere = Fresh(running.elsewhere)


@pytest.fixture
def stack(running: Devstack) -> Stack:
    return Stack(running)
