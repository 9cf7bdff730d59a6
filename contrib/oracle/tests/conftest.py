"""A server that speaks Oracle's protocol, one that only refuses, and a relay that loses words."""

import os
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_devstack import OracleCompatibleServer

sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))
from asked import ask  # noqa: F401 - a fixture
from driver import connect
from installed import or_skipped  # type: ignore[import-not-found]
from lent import lend, world  # noqa: F401 - fixtures
from listener import Listener
from real import RealOracle
from relay import Relay


def serving(**options: Any) -> OracleCompatibleServer:
    """One that is up, or the test is skipped."""
    with or_skipped():
        server = OracleCompatibleServer(**options)
    return server.__enter__()


@pytest.fixture(scope="session")
def database() -> Iterator[OracleCompatibleServer]:
    """For tests that leave it as it was; a real Oracle if `FLEXT_ORACLE_DSN` names one."""
    made = RealOracle.named() or serving()
    yield made
    made.close()


@pytest.fixture(scope="session")
def tls_database() -> Iterator[OracleCompatibleServer]:
    """The same over TLS, and nothing else."""
    made = serving(tls=True)
    yield made
    made.close()


@pytest.fixture
def run_database() -> Iterator[Callable[..., OracleCompatibleServer]]:
    """Makes others, for tests that kill or set them up: see `OracleCompatibleServer`; 2 s each."""
    made: list[OracleCompatibleServer] = []

    def run(**options: Any) -> OracleCompatibleServer:
        made.append(serving(**options))
        return made[-1]

    yield run
    for each in made:
        each.close()


NUMBERS = count()


@pytest.fixture
def table(database: OracleCompatibleServer) -> Iterator[Callable[[str], str]]:
    """Makes a table of these columns, and gives its name, which no other has; drops it."""
    made: list[str] = []

    def make(columns: str) -> str:
        name = f"t_{os.getpid()}_{next(NUMBERS)}"
        with connect(database) as connection:
            connection.cursor().execute(f"create table {name} ({columns})")
        made.append(name)
        return name

    yield make
    if made:
        with connect(database) as connection:
            for name in made:
                connection.cursor().execute(f"drop table {name}")


@pytest.fixture
def relay() -> Iterator[Callable[..., Relay]]:
    """Makes a `Relay` to a server."""
    made: list[Relay] = []

    def run(server: OracleCompatibleServer) -> Relay:
        made.append(Relay(server.port))
        return made[-1]

    yield run
    for each in made:
        each.close()


@pytest.fixture
def listener() -> Iterator[Callable[..., Listener]]:
    """Makes a `Listener`."""
    made: list[Listener] = []

    def run(*arguments: Any, **options: Any) -> Listener:
        made.append(Listener(*arguments, **options))
        return made[-1]

    yield run
    for each in made:
        each.close()
