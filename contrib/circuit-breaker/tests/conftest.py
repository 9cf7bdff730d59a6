"""A FlexCore that fails when told."""

from collections.abc import Iterator
from typing import Any

import pytest
from flext_plugins_devstack import Devstack


@pytest.fixture(scope="session")
def running() -> Iterator[Devstack]:
    with Devstack() as stack:
        yield stack


class Fresh:
    """A server that nobody has talked to yet, as far as it tells."""

    def __init__(self, server: Any) -> None:
        server.up()
        server.clear()
        self._server, self._before = server, len(server.received)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    @property
    def received(self) -> list[Any]:
        return list(self._server.received[self._before :])


class Stack:
    """A stack without faults."""

    def __init__(self, running: Devstack) -> None:
        self.flexcore, self.echo = Fresh(running.flexcore), Fresh(running.echo)


@pytest.fixture
def stack(running: Devstack) -> Stack:
    return Stack(running)
