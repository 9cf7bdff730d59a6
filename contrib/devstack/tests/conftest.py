from collections.abc import Iterator

import httpx
import pytest
from flext_plugins_devstack import Devstack


@pytest.fixture(scope="module")
def running() -> Iterator[Devstack]:
    with Devstack() as stack:
        yield stack


@pytest.fixture
def stack(running: Devstack) -> Devstack:
    """An unprotected stack without faults; whoever takes a server down need not bring it up again."""
    servers = (running.auth, running.flexcore, running.echo)
    running.auth.token_lifetime = 3600.0
    for server in servers:
        server.clear()
        server.up()
    return running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=10) as client:
        yield client
