"""Many requests at once, over loopback: awaited in one event loop, or sent by threads.

Each is of the mix that services send (`clients.mixed`), against a plain client of the same library.
A batch is so many requests together; what is told is CPU time per request, so that one CPU serves
its reciprocal in a second.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from importlib import import_module
from itertools import repeat
from time import process_time
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx

from . import wire
from .clients import LOOPBACK_SAMPLE, WORLDS, World, check, connected, hosted, mixed, plain, running
from .measurement import Case, Table
from .peers.aiohttp import Answer, answered, opened
from .signals import Signals
from .stacks import OTEL, our_host
from .target import Target, ratio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack

    from .measurement import Run

Peers: TypeAlias = "dict[str, tuple[str, tuple[str, ...]]]"
"""By their titles: the module in `peers`, and the distributions that it needs."""
SAMPLED = 0.01
"""Of all traces, as services in production do."""
BY_NAME = {each.name: each for each in WORLDS}
ASYNC, ASYNC2, SYNC = BY_NAME["httpx async"], BY_NAME["httpx2 async"], BY_NAME["httpx"]
LIMITS = {
    ASYNC: {1: (1.40, 1.15), 10: (0.95, 0.75), 100: (0.85, 0.50)},
    ASYNC2: {1: (1.65, 1.35), 10: (1.30, 1.10), 100: (0.90, 0.75)},
}
"""Of a plain client, with four plugins, by the number at once: what is held, and what is wanted."""
OVER_LIMITS = {
    ASYNC: {1: (1.20, 0.50), 100: (0.60, 0.35)},
    ASYNC2: {1: (1.25, 0.50), 100: (0.75, 0.35)},
}
"""The same over aiohttp."""
THREADS = {1: (1.40, 1.20), 8: (1.35, 1.20), 32: (1.40, 1.0)}
"""The same, by the number of threads."""
OVER_AIOHTTP = "ours over aiohttp"
MOST, LIMIT_OF_MOST, FLAT = 1000, (0.80, 0.30), 1.15
FEW = httpx.Limits(max_connections=10)
"""With which a plain client is quickest when a thousand wait: it looks through all connections."""


def batches(runner: asyncio.Runner, size: int, send: Callable[[], Awaitable[Any]]) -> Run:
    """A `Run` of as many whole batches as hold so many requests, or one."""

    async def batch() -> None:
        for response in await asyncio.gather(*(send() for _ in range(size))):
            check(response)

    async def sample(number: int) -> float:
        await batch()
        started = process_time()
        for _ in repeat(None, number):
            await batch()
        return process_time() - started

    def run(times: int) -> float:
        number = max(1, round(times / size))
        return runner.run(sample(number)) * times / (number * size)

    return run


def bare(world: World, size: int, stack: ExitStack, url: str, **options: Any) -> Run:
    """A plain client."""
    runner, client = running(stack), world.client(**options)
    stack.callback(lambda: runner.run(client.aclose()))
    return batches(runner, size, partial(mixed(client), url))


def ours(
    world: World,
    sampled: float,
    size: int,
    stack: ExitStack,
    url: str,
    transport: str = "default",
) -> Run:
    """A client of a host."""
    runner = running(stack)
    host = our_host(url, Signals(sampled=sampled), transport=transport)
    stack.callback(lambda: runner.run(host.aclose()))
    return batches(runner, size, partial(mixed(connected(runner, host, world)), url))


def bare_aiohttp(size: int, stack: ExitStack, url: str) -> Run:
    """Aiohttp's own client."""
    runner = running(stack)
    session = opened(0, stack, runner)
    post = mixed(session)

    async def send() -> Answer:
        return await answered(post(url))

    return batches(runner, size, send)


def theirs(name: str, size: int, stack: ExitStack, url: str) -> Run:
    """A peer's client."""
    module: Any = import_module(f".peers.{name}", __package__)
    runner, signals = running(stack), Signals(sampled=SAMPLED)
    return batches(runner, size, module.asynchronous(signals, stack, url, runner, mixed))


def threaded(
    number: int, single: Callable[[ExitStack, str], Run], stack: ExitStack, url: str
) -> Run:
    """A `Run` in which so many threads share the work of `single`."""
    run = single(stack, url)
    threads = stack.enter_context(ThreadPoolExecutor(number))

    def together(times: int) -> float:
        each = max(1, round(times / number))
        started = process_time()
        for done in wait([threads.submit(run, each) for _ in range(number)]).done:
            done.result()
        return (process_time() - started) * times / ((each + 1) * number)  # each warms itself once

    return together


def _awaited(world: World, peers: Peers) -> tuple[Case, ...]:
    found = []
    for size in LIMITS[world]:
        name = f"{world.name}, {size} at once"
        found.append(Case(name, "a plain client", partial(bare, world, size)))
        four = partial(ours, world, SAMPLED, size)
        found.append(Case(f"{name}, ours", "our four plugins", four, name))
        if size in {1, 100}:
            every = partial(ours, world, 1.0, size)
            said = "our four plugins, every trace sampled"
            found.append(Case(f"{name}, ours, all sampled", said, every, name))
            over = partial(ours, world, SAMPLED, size, transport="aiohttp")
            said = "our four plugins over aiohttp"
            found.append(Case(f"{name}, {OVER_AIOHTTP}", said, over, name))
            alone = partial(bare_aiohttp, size)
            found.append(Case(f"{name}, aiohttp", "a plain session of aiohttp", alone, name))
            found += [
                Case(f"{name}, {title}", title, partial(theirs, module, size), name, needs)
                for title, (module, needs) in peers.items()
            ]
    return tuple(found)


def _targets(world: World) -> tuple[Target, ...]:
    ways = (" over aiohttp", OVER_AIOHTTP, OVER_LIMITS), ("", "ours", LIMITS)
    return tuple(
        ratio(
            f"four plugins{way} around {size} at once, to plain {world.name}",
            limit,
            f"{world.name}, {size} at once, {title}",
            f"{world.name}, {size} at once",
            aim,
        )
        for way, title, limits in ways
        for size, (limit, aim) in limits[world].items()
    )


def _many(name: str, world: World, peers: Peers) -> Table:
    return Table(
        name,
        f"{world.name}, many at once",
        _awaited(world, peers),
        _targets(world),
        wire.loopback,
        times=200,
        rounds=20,
        brief=(100, 20),
    )


def _threads() -> Table:
    cases, targets = [], []
    four = partial(_hosted, SYNC)
    for number, (limit, aim) in THREADS.items():
        name = f"{number} threads"
        single = partial(plain, SYNC, asking=mixed)
        cases.append(Case(name, "a plain client", partial(threaded, number, single)))
        sentence = "our four plugins"
        cases.append(Case(f"{name}, ours", sentence, partial(threaded, number, four), name))
        said = f"four plugins around the calls of {number} threads, to plain httpx"
        targets.append(ratio(said, limit, f"{name}, ours", name, aim))
    title = "httpx, sent by threads"
    return Table("threads", title, tuple(cases), tuple(targets), wire.loopback, times=96, rounds=20)


def _hosted(world: World, stack: ExitStack, url: str, sampled: float = SAMPLED) -> Run:
    return hosted(our_host(url, Signals(sampled=sampled)), world, stack, url, mixed)


def _singly(name: str, where: str, place: Any, targets: tuple[Target, ...] = ()) -> Table:
    cases = []
    for world in WORLDS:
        cases.append(Case(world.name, "a plain client", partial(plain, world, asking=mixed)))
        for title, sampled in ("ours", SAMPLED), ("ours, all sampled", 1.0):
            said = "our four plugins" + (", every trace sampled" if sampled == 1 else "")
            four = partial(_hosted, world, sampled=sampled)
            cases.append(Case(f"{world.name}, {title}", said, four, world.name))
    title = f"What services send, {where}"
    return Table(name, title, tuple(cases), targets, place, sample=2 * LOOPBACK_SAMPLE)


A_THOUSAND = f"{MOST} at once"
TABLES = (
    _singly("mix-memory", "in memory", wire.memory),
    _singly(
        "mix-loopback",
        "over loopback",
        wire.loopback,
        (ratio("four plugins, to plain requests", 1.75, "requests, ours", "requests", 1.15),),
    ),
    _many(
        "many-httpx",
        ASYNC,
        {
            "stack A": ("stack_a", ("aiobreaker", OTEL)),
            "clientwright": ("clientwright", ("clientwright",)),
        },
    ),
    _many("many-httpx2", ASYNC2, {"httpware": ("httpware", ("httpware", OTEL))}),
    Table(
        "many-thousand",
        "httpx async, a thousand at once",
        (
            Case(
                A_THOUSAND,
                "a plain client of 10 connections, its best",
                partial(bare, ASYNC, MOST, limits=FEW, timeout=60),
            ),
            Case(
                f"{A_THOUSAND}, ours",
                "our four plugins",
                partial(ours, ASYNC, SAMPLED, MOST),
                A_THOUSAND,
            ),
            Case("10 at once, ours", "our four plugins", partial(ours, ASYNC, SAMPLED, 10)),
        ),
        (
            ratio(
                f"four plugins around {MOST} at once, to plain httpx async",
                LIMIT_OF_MOST[0],
                f"{A_THOUSAND}, ours",
                A_THOUSAND,
                LIMIT_OF_MOST[1],
            ),
            ratio(
                f"a request of {MOST} at once, to one of 10 at once",
                FLAT,
                f"{A_THOUSAND}, ours",
                "10 at once, ours",
            ),
        ),
        wire.loopback,
        times=MOST,
        rounds=10,
        brief=(MOST, 5),
    ),
    _threads(),
)
