"""Whether anything grows: a million exchanges on each way, with all plugins that HTTP has.

A way is a world, or one over aiohttp. Each runs in a process of its own, over loopback. Memory is
the resident set, looked at after a tenth of the exchanges, when all that is kept is there, and at
the end.

    python -m benchmarks.soak [--exchanges N] [WAY ...]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from .page import grid
from .speed import report, wire
from .speed.clients import WORLDS, World, check, connected, mixed
from .speed.footprint import resident
from .speed.signals import Signals
from .speed.stacks import ALL, our_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins import Host


EXCHANGES, AT_ONCE = 1_000_000, 10
MOST = 1024
"""KiB by which the last nine tenths may grow."""
PLUGINS = (*ALL, "retry")
TITLES = ("s", "KiB more", "descriptors more")


class Way(NamedTuple):
    """A client, and the transport of its service."""

    name: str
    world: World
    transport: str = "default"


WAYS = (
    *(Way(each.name, each) for each in WORLDS),
    *(Way(f"{each.name}, aiohttp", each, "aiohttp") for each in WORLDS if each.is_async),
)


class State(NamedTuple):
    """What a process holds."""

    kib: int
    descriptors: int

    @classmethod
    def now(cls) -> State:
        """After a garbage collection."""
        gc.collect()
        return cls(resident() // 1024, len(list(Path("/proc/self/fd").iterdir())))


def driven(host: Host, world: World, url: str) -> Callable[[int], None]:
    """A function that sends so many, one after the other."""
    send = partial(mixed(host.connect("flexcore", world.client)), url)

    def some(number: int) -> None:
        for _ in range(number):
            check(send())

    return some


def awaited(runner: asyncio.Runner, host: Host, world: World, url: str) -> Callable[[int], None]:
    """A function that sends so many, some of them at once."""
    send = partial(mixed(connected(runner, host, world)), url)

    async def each(number: int) -> None:
        for _ in range(number):
            check(await send())

    async def some(number: int) -> None:
        await asyncio.gather(*(each(number // AT_ONCE) for _ in range(AT_ONCE)))

    return lambda number: runner.run(some(number))


def soaked(way: Way, exchanges: int) -> list[str]:
    """What came of one way: a row of the table."""
    world = way.world
    with wire.loopback() as url, asyncio.Runner() as runner:
        host = our_host(url, Signals(sampled=0.01), PLUGINS, transport=way.transport)
        send = awaited(runner, host, world, url) if world.is_async else driven(host, world, url)
        began = monotonic()
        send(exchanges // 10)
        before = State.now()
        send(exchanges - exchanges // 10)
        after = State.now()
        seconds = monotonic() - began
        if world.is_async:
            runner.run(host.aclose())
        else:
            host.close()
    growth, descriptors = after.kib - before.kib, after.descriptors - before.descriptors
    return [way.name, f"{seconds:.0f}", str(growth), str(descriptors)]


def main(given: list[str]) -> int:
    """Whether something grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("ways", nargs="*", help="by default all")
    parser.add_argument("--exchanges", type=int, default=EXCHANGES)
    parser.add_argument("--alone", action="store_true", help="in this process; prints a bare row")
    arguments = parser.parse_args(given)
    wire.no_proxies()
    chosen = [each for each in WAYS if each.name in (arguments.ways or [each.name])]
    if arguments.alone:
        print("\t".join(soaked(chosen[0], arguments.exchanges)))
        return 0
    rows = []
    for way in chosen:
        command = [sys.executable, "-m", __spec__.name, "--alone", way.name]
        command += ["--exchanges", str(arguments.exchanges)]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(ran.stdout.strip().split("\t"))
        print(*rows[-1], file=sys.stderr, flush=True)
    titles = [f"{arguments.exchanges:,} exchanges", *TITLES]
    print(grid([titles, *rows], 1))
    print(f"\n{report.head(report.results([]))}")
    return int(any(int(kib) > MOST or int(more) > 0 for *_, kib, more in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
