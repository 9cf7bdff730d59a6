"""The kit: what this project tests itself with, for those who write plugins.

`pytest_plugins = ["flext_plugins.testing"]` in the topmost conftest.py brings the fixtures; pytest
never loads them unasked. It needs the extra `testing`.

PYTEST_DONT_REWRITE: a conftest.py may import names from here before pytest does.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from flext_plugins._publication import publish
from flext_plugins.testing._conformance import PluginConformance
from flext_plugins.testing._distribution import install
from flext_plugins.testing._record import Record, Seen
from flext_plugins.testing._service import Answer, LoopbackService, Received, echo
from flext_plugins.testing._trial import Trial
from flext_plugins.testing._waiting import without_waiting
from flext_plugins.testing._world import HTTPX, WORLDS, Client, World, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flext_plugins._host import Host

__all__ = [
    "Answer",
    "Client",
    "LoopbackService",
    "PluginConformance",
    "Received",
    "Record",
    "Seen",
    "Trial",
    "World",
    "echo",
    "flext_async_world",
    "flext_distribution",
    "flext_elsewhere",
    "flext_httpx_world",
    "flext_record",
    "flext_service",
    "flext_sync_world",
    "flext_without_waiting",
    "flext_world",
    "install",
    "without_waiting",
]


@pytest.fixture
def flext_service() -> Iterator[LoopbackService]:
    """A service on loopback, to be told what to answer and how to fail."""
    yield from _service()


@pytest.fixture
def flext_elsewhere() -> Iterator[LoopbackService]:
    """Another service on loopback, of another origin."""
    yield from _service()


@pytest.fixture(params=WORLDS)
def flext_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Runs the test in each of five worlds: httpx and httpx2, sync and async, and requests."""
    yield from _world(request)


@pytest.fixture(params=HTTPX)
def flext_httpx_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Runs a test of what is httpx's own with httpx and httpx2, sync and async."""
    yield from _world(request)


@pytest.fixture(params=[each for each in WORLDS if each.endswith(" sync")])
def flext_sync_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Runs a test of threads with the sync clients of httpx, httpx2 and requests."""
    yield from _world(request)


@pytest.fixture(params=[each for each in WORLDS if each.endswith(" async")])
def flext_async_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Runs a test of event loops with the async clients of httpx and httpx2."""
    yield from _world(request)


@pytest.fixture
def flext_record() -> Record:
    """Records what each hook saw, of the plugins that are made with its `of`."""
    return Record()


@pytest.fixture
def flext_without_waiting() -> Iterator[Callable[[Host], Host]]:
    """Lets no plugin of a host wait or refuse until the test ends; a call takes the host."""
    with ExitStack() as stack:
        yield lambda host: stack.enter_context(without_waiting(host))


@pytest.fixture
def flext_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """Makes an installed plugin that is not, until the test ends; a call is like `install`."""
    site, before = tmp_path / "flext-site", set(sys.modules)
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    made: list[str] = []

    def installed(name: str, *args: Any, **options: Any) -> Path:
        made.append(name.replace("-", "_"))
        return install(site, name, *args, **options)

    yield installed
    for name in made:
        if name not in before:
            sys.modules.pop(name, None)


def _service() -> Iterator[LoopbackService]:
    made = LoopbackService()
    yield made
    made.close()
    if made.errors:
        raise made.errors[0]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the worlds go over another transport."""
    parser.addoption(
        "--flext-transport",
        default="default",
        help="the transport of services that name none, in the worlds that it can serve",
    )


def _world(request: pytest.FixtureRequest) -> Iterator[World]:
    transport: str = request.config.getoption("--flext-transport")
    with opened(request.param, transport) as world:
        yield world


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test in its world; one without a world is none of our business."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    values = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}
    worlds = [value for value in values.values() if isinstance(value, World)]
    if len(worlds) != 1:
        return None
    worlds[0].run(lambda: test(**values))
    return True


publish(__name__, [globals()[name] for name in __all__])
