"""Many requests at once: httpx's async client over loopback, and what stands around it.

A batch is so many requests that are awaited together; what is told is CPU time per request, so that
one CPU serves its reciprocal in a second.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import repeat
from time import process_time
from typing import TYPE_CHECKING, Any

import httpx

from . import wire
from .clients import empty_host, running
from .measurement import Case, Table
from .peers import stack_a
from .signals import Signals
from .stacks import OTEL, our_host
from .target import ratio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack

    from flext_plugins import Host

    from .measurement import Run

AT_ONCE = (1, 10, 100)
LIMITS = {10: 0.85, 100: 0.75}
"""Of a plain client, with four plugins, by the number at once."""


def batches(runner: asyncio.Runner, size: int, get: Callable[[], Awaitable[Any]]) -> Run:
    """A `Run` of as many whole batches as hold so many requests, or one."""

    async def batch() -> None:
        await asyncio.gather(*(get() for _ in range(size)))

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


def plain(size: int, stack: ExitStack, url: str) -> Run:
    """A plain client."""
    runner, client = running(stack), httpx.AsyncClient()
    stack.callback(lambda: runner.run(client.aclose()))
    return batches(runner, size, partial(client.get, url))


def ours(host: Callable[[str], Host], size: int, stack: ExitStack, url: str) -> Run:
    """A client of a host."""
    runner, made = running(stack), host(url)
    stack.callback(lambda: runner.run(made.aclose()))

    async def connect() -> httpx.AsyncClient:
        return await made.aconnect("flexcore")

    return batches(runner, size, partial(runner.run(connect()).get, url))


def theirs(size: int, stack: ExitStack, url: str) -> Run:
    """Stack A."""
    runner = running(stack)
    return batches(runner, size, stack_a.asynchronous(Signals(), stack, url, runner))


def _cases(size: int) -> tuple[Case, ...]:
    name = f"{size} at once"
    four = partial(our_host, signals=Signals())
    return (
        Case(name, f"a plain client, {size} requests at a time", partial(plain, size)),
        Case(
            f"{name}, 4 empty plugins", "four empty plugins", partial(ours, empty_host, size), name
        ),
        Case(f"{name}, ours", "our four plugins", partial(ours, four, size), name),
        Case(f"{name}, stack A", "stack A", partial(theirs, size), name, ("aiobreaker", OTEL)),
    )


TABLES = (
    Table(
        "concurrency",
        "httpx async, many requests at once, over loopback",
        tuple(case for size in AT_ONCE for case in _cases(size)),
        tuple(
            ratio(
                f"four plugins around {size} at once, to plain httpx async",
                limit,
                f"{size} at once, ours",
                f"{size} at once",
            )
            for size, limit in LIMITS.items()
        ),
        wire.loopback,
        times=2 * AT_ONCE[-1],
        rounds=20,
    ),
)
