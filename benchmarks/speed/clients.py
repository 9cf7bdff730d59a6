"""A client with four empty plugins beside the library's own, in all five worlds.

Both send the same absolute URL with `client.get` and read the body.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import httpx
import httpx2
import requests

from flext_plugins import Host

from . import wire
from .chain import Empty
from .measurement import Case, Table, awaited, timed
from .server import BODY, LONGER
from .target import ratio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack

    from .measurement import Run

PLUGINS = 4
Asking: TypeAlias = "Callable[[Any], Callable[[str], Any]]"
"""Makes of a client what sends a request to an address, again and again."""
ORDER = {
    "order": "0123456789abcdef",
    "lines": [
        {"sku": f"FLEX-{number:04}", "quantity": 1, "price": 12.5, "currency": "EUR"}
        for number in range(14)
    ],
}
"""A kibibyte of JSON."""
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
    if response.status_code != 200 or response.content not in {BODY, LONGER}:
        raise RuntimeError(f"answered {response.status_code} with {len(response.content)} bytes")


def running(stack: ExitStack) -> asyncio.Runner:
    """An event loop of a case's own."""
    return stack.enter_context(asyncio.Runner())


again: Asking = attrgetter("get")
"""A GET of the same address each time."""


def mixed(client: Any) -> Callable[[str], Any]:
    """What services send: a POST of JSON, each time another path, with parameters and a header."""
    numbers, post = count(), client.post

    def send(url: str) -> Any:
        number = next(numbers)
        return post(
            f"{url}/customers/{number}/orders",
            params={"page": number % 7, "state": "open"},
            headers={"X-Request-Id": f"{number:032x}"},
            json=ORDER,
        )

    return send


def plain(world: World, stack: ExitStack, url: str, asking: Asking = again) -> Run:
    """The library's own client, with its defaults."""
    client = world.client()
    if not world.is_async:
        stack.callback(client.close)
        return sent(stack, partial(asking(client), url))
    runner = running(stack)
    stack.callback(lambda: runner.run(client.aclose()))
    return asent(runner, partial(asking(client), url))


def hosted(host: Host, world: World, stack: ExitStack, url: str, asking: Asking = again) -> Run:
    """A client of the host's service `flexcore`, and the host closed with it."""
    if not world.is_async:
        stack.enter_context(host)
        return sent(stack, partial(asking(host.connect("flexcore", world.client)), url))
    runner = running(stack)
    stack.callback(lambda: runner.run(host.aclose()))
    return asent(runner, partial(asking(connected(runner, host, world)), url))


def connected(runner: asyncio.Runner, host: Host, world: World) -> Any:
    """An async client of the host's service `flexcore`."""

    async def connect() -> Any:
        return await host.aconnect("flexcore", world.client)

    return runner.run(connect())


def empty_host(url: str, services: tuple[str, ...] = ("flexcore",)) -> Host:
    """A host with the services, each with four empty plugins."""
    names = [f"empty-{number}" for number in range(PLUGINS)]
    service = {"base_url": url, "plugins": {name: {} for name in names}}
    host = Host({"services": {each: dict(service) for each in services}})
    for name in names:
        host.register(type(name, (Empty,), {}), name)
    return host


def composed(world: World, stack: ExitStack, url: str) -> Run:
    """A client of such a host."""
    return hosted(empty_host(url), world, stack, url)


def _cases() -> tuple[Case, ...]:
    found = []
    for world in WORLDS:
        name = world.name
        found.append(Case(name, f"plain {name}", partial(plain, world)))
        ours = f"{name}, {PLUGINS} empty plugins"
        found.append(Case(ours, ours, partial(composed, world), name))
    return tuple(found)


MEMORY, LOOPBACK = (1.2, 1.25, 1.75, 1.75, 1.6), (1.1, 1.1, 1.25, 1.2, 1.3)
"""Of a plain client, in the worlds' order: what it took in November 2026, rounded up."""


def _table(name: str, title: str, place: Any, limits: tuple[float, ...], sample: float) -> Table:
    targets = tuple(
        ratio(
            f"{world.name} with {PLUGINS} empty plugins, to plain {world.name}, {title}",
            limit,
            f"{world.name}, {PLUGINS} empty plugins",
            world.name,
        )
        for world, limit in zip(WORLDS, limits, strict=True)
    )
    return Table(
        name, f"Clients with four empty plugins, {title}", _cases(), targets, place, sample=sample
    )


TABLES = (
    _table("clients-memory", "in memory", wire.memory, MEMORY, 0.0125),
    _table("clients-loopback", "over loopback", wire.loopback, LOOPBACK, LOOPBACK_SAMPLE),
)
