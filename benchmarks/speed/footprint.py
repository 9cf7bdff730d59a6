"""Memory of an open connection: what a process grows by, divided by how many were opened.

Each number is of a process of its own, which opens some to begin with, so that what all share is
there. A connection of ours counts with its service's composition; no request has been sent, and
with the first one its pool is made as well.
"""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from . import wire
from .clients import empty_host
from .measurement import Case, Table
from .signals import Signals
from .stacks import our_host

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from flext_plugins import Host

    from .measurement import Run

SOME, MANY = 20, 200
URL = "http://127.0.0.1:9"


def default(number: int) -> list[Any]:
    """Httpx's clients, as they are made by default."""
    return [httpx.Client() for _ in range(number)]


def shared(number: int) -> list[Any]:
    """Httpx's clients, with one TLS context for all."""
    context = httpx.create_ssl_context()
    return [httpx.Client(verify=context, trust_env=False) for _ in range(number)]


def _names(number: int) -> tuple[str, ...]:
    return tuple(f"service-{each}" for each in range(number))


def _connected(host: Host, number: int, *, sending: bool) -> list[Any]:
    clients: list[Any] = [host]
    for each in range(number):
        client = host.connect(f"service-{each}")
        if sending:
            client.get(URL)
        clients.append(client)
    return clients


def connected(number: int, *, sending: bool = False) -> list[Any]:
    """Clients of as many services with four empty plugins."""
    return _connected(empty_host(URL, _names(number)), number, sending=sending)


def four(number: int) -> list[Any]:
    """Clients of as many services with our four plugins, which have sent."""
    host = our_host(URL, Signals(), services=_names(number))
    return _connected(host, number, sending=True)


KINDS: dict[str, tuple[str, Callable[[int], list[Any]]]] = {
    "httpx.Client()": ("with its defaults", default),
    "httpx.Client, shared": ("with a TLS context for all, and `trust_env=False`", shared),
    "connect": ("a service with four empty plugins, composed and connected", connected),
    "connect, 1 request": (
        "the same after a request, in memory",
        partial(connected, sending=True),
    ),
    "connect, ours": ("the same with our four plugins", four),
}


def resident() -> int:
    """Bytes of memory that this process has now, or had at most where the system does not say."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def grown(name: str) -> float:
    """By how much this process grows for each of many that are opened."""
    _, opened = KINDS[name]
    with wire.memory():
        kept = [opened(SOME)]
        gc.collect()
        before = resident()
        kept.append(opened(MANY))
        gc.collect()
        return (resident() - before) / MANY


def _run(name: str, _: ExitStack, __: str) -> Run:
    def run(times: int) -> float:
        command = [sys.executable, "-m", "benchmarks.speed.footprint", name]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(ran.stdout) * times

    return run


TABLES = (
    Table(
        "footprint",
        "Memory of an open connection",
        tuple(
            Case(name, sentence, partial(_run, name), "httpx.Client()" if number else None)
            for number, (name, (sentence, _)) in enumerate(KINDS.items())
        ),
        unit="KiB per connection",
        factor=1 / 1024,
        times=1,
        rounds=5,
    ),
)

if __name__ == "__main__":
    print(grown(sys.argv[1]))
