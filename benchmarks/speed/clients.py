"""A client with four empty plugins beside the library's own, in all five worlds.

Both send the same absolute URL with `client.get` and read the body.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import httpx
import httpx2
import requests

from flext_plugins import Host

from . import wire
from .chain import Empty
from .measurement import Case, Table, awaited, timed
from .server import BODY
from .target import ratio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack

    from .measurement import Run

PLUGINS = 4
Asking: TypeAlias = "Callable[[Callable[..., Any], str], Callable[[], Any]]"
"""Makes a request to repeat of a client's `get` and an address."""
LOOPBACK_SAMPLE = 0.02
"""Seconds: what the system does for sockets varies more."""


class World(NamedTuple):
    """A client library, sync or async."""

    name: str
    client: Any
    is_async: bool = False


WORLDS = (
    World("httpx", httpx.Client),
    World("httpx async", httpx.AsyncClient, is_async=True),
    World("httpx2", httpx2.Client),
    World("httpx2 async", httpx2.AsyncClient, is_async=True),
    World("requests", requests.Session),
)


def sent(stack: ExitStack, get: Callable[[], Any]) -> Run:
    """A `Run` of a sync `get`, whose answer is looked at once."""
    del stack
    check(get())
    return timed(get)


def asent(runner: asyncio.Runner, get: Callable[[], Awaitable[Any]]) -> Run:
    """The same for an async one."""

    async def once() -> None:
        check(await get())

    runner.run(once())
    return awaited(runner, get)


def check(response: Any) -> None:
    """See that it is the answer.

    Raises:
        RuntimeError: it is another.
    """
    if response.status_code != 200 or response.content != BODY:
        raise RuntimeError(f"answered {response.status_code} with {len(response.content)} bytes")


def running(stack: ExitStack) -> asyncio.Runner:
    """An event loop of a case's own."""
    return stack.enter_context(asyncio.Runner())


def anew(get: Callable[[str], Any], url: str) -> Callable[[], Any]:
    """`get`, each time of another path."""
    numbers = count()
    return lambda: get(f"{url}/orders/{next(numbers)}")


def plain(world: World, stack: ExitStack, url: str, asking: Asking = partial) -> Run:
    """The library's own client, with its defaults."""
    client = world.client()
    if not world.is_async:
        stack.callback(client.close)
        return sent(stack, asking(client.get, url))
    runner = running(stack)
    stack.callback(lambda: runner.run(client.aclose()))
    return asent(runner, asking(client.get, url))


def hosted(host: Host, world: World, stack: ExitStack, url: str, asking: Asking = partial) -> Run:
    """A client of the host's service `flexcore`, and the host closed with it."""
    if not world.is_async:
        stack.enter_context(host)
        return sent(stack, asking(host.connect("flexcore", world.client).get, url))
    runner = running(stack)
    stack.callback(lambda: runner.run(host.aclose()))

    async def connect() -> Any:
        return await host.aconnect("flexcore", world.client)

    return asent(runner, asking(runner.run(connect()).get, url))


def empty_host(url: str, services: tuple[str, ...] = ("flexcore",)) -> Host:
    """A host with the services, each with four empty plugins."""
    names = [f"empty-{number}" for number in range(PLUGINS)]
    service = {"base_url": url, "plugins": {name: {} for name in names}}
    host = Host({"services": {each: dict(service) for each in services}})
    for name in names:
        host.register(type(name, (Empty,), {}), name)
    return host


def composed(world: World, stack: ExitStack, url: str, asking: Asking = partial) -> Run:
    """A client of such a host."""
    return hosted(empty_host(url), world, stack, url, asking)


def _cases() -> tuple[Case, ...]:
    found = []
    for world in WORLDS:
        name = world.name
        found.append(Case(name, f"plain {name}", partial(plain, world)))
        ours = f"{name}, {PLUGINS} empty plugins"
        found.append(Case(ours, ours, partial(composed, world), name))
        new = f"{name}, new paths"
        found.append(Case(new, f"plain {name}", partial(plain, world, asking=anew)))
        anew_ours = partial(composed, world, asking=anew)
        found.append(Case(f"{ours}, new paths", ours, anew_ours, new))
    return tuple(found)


def _table(name: str, title: str, place: Any, limit: float, sample: float) -> Table:
    targets = tuple(
        ratio(
            f"{world.name} with {PLUGINS} empty plugins, to plain {world.name}, {title}",
            limit,
            f"{world.name}, {PLUGINS} empty plugins",
            world.name,
        )
        for world in WORLDS
    )
    return Table(
        name, f"Clients with four empty plugins, {title}", _cases(), targets, place, sample=sample
    )


TABLES = (
    _table("clients-memory", "in memory", wire.memory, 1.05, 0.0125),
    _table("clients-loopback", "over loopback", wire.loopback, 1.03, LOOPBACK_SAMPLE),
)
