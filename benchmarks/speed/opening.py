"""What it costs to compose a service of eight plugins, and to open a connection to one.

Composing: from a configuration that has been read, with the plugins' classes known, to their
instances in order and checked; each time for a service of its own. In pluggy's case the same eight
plugins are made and registered in a manager of the service's own, with our specifications; nothing
is ordered, and no settings are validated. Opening: `host.connect` of a composed service for the
first time, and `httpx.Client()`. With its first request a connection also makes its pool.
"""

from __future__ import annotations

import gc
from contextlib import ExitStack
from functools import partial
from time import process_time
from typing import TYPE_CHECKING, Any

import httpx
import pluggy

from flext_plugins import Host, hookspecs

from . import wire
from .chain import Empty
from .measurement import Case, Table
from .target import ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from .measurement import Run

NAMES = tuple(f"empty-{number}" for number in range(8))
KINDS = {name: type(name, (Empty,), {}) for name in NAMES}


def _services(number: int, plugins: tuple[str, ...] = NAMES) -> Host:
    """A host that has composed nothing but one service, so that the plugins' classes are known."""
    names = ["known", *(f"service-{each}" for each in range(number))]
    service = {"base_url": "http://127.0.0.1:9", "plugins": {name: {} for name in plugins}}
    host = Host({"services": {name: dict(service) for name in names}})
    for name in plugins:
        host.register(KINDS[name], name)
    host.check("known")
    return host


def composing(_: ExitStack, __: str) -> Run:
    """Compose a service of eight plugins."""

    def run(times: int) -> float:
        with _services(times) as host:
            started = process_time()
            for number in range(times):
                host.check(f"service-{number}")
            return process_time() - started

    return run


def registering(_: ExitStack, __: str) -> Run:
    """Register eight plugins in a manager of their own."""

    def run(times: int) -> float:
        started = process_time()
        for _ in range(times):
            manager = pluggy.PluginManager("flext_plugins")
            manager.add_hookspecs(hookspecs)
            for name, kind in KINDS.items():
                manager.register(kind(), name)
        return process_time() - started

    return run


def connecting(work: Callable[[Any], Any], _: ExitStack, __: str) -> Run:
    """Open a connection with four plugins to a composed service, and do `work` with the client."""

    def run(times: int) -> float:
        with _services(times, NAMES[:4]) as host:
            host.check()
            work(host.connect("known"))
            gc.collect()  # of composing, which is not measured here
            started = process_time()
            for number in range(times):
                work(host.connect(f"service-{number}"))
            return process_time() - started

    return run


def _nothing(client: Any) -> None:
    """It is open."""


def _once(client: Any) -> None:
    client.get("http://127.0.0.1:9")


def made(options: Callable[[], dict[str, Any]], work: Callable[[Any], Any], *_: Any) -> Run:
    """Make an `httpx.Client`, and do `work` with it."""
    given = options()

    def run(times: int) -> float:
        with ExitStack() as stack:
            started = process_time()
            for _ in range(times):
                client = httpx.Client(**given)
                stack.callback(client.close)
                work(client)
            return process_time() - started

    return run


def _shared() -> dict[str, Any]:
    return {"verify": httpx.create_ssl_context(), "trust_env": False}


TABLES = (
    Table(
        "composing",
        "Composing a service of eight plugins",
        (
            Case("pluggy", "eight plugins registered in a manager of their own", registering),
            Case("composed", "a service of eight plugins composed", composing, "pluggy"),
        ),
        (
            ratio(
                "composing a service of 8 plugins, to registering them in pluggy",
                0.17,
                "composed",
                "pluggy",
            ),
        ),
        unit="µs per service",
        sample=0.03,
    ),
    Table(
        "opening",
        "Opening a connection with four plugins",
        (
            Case("httpx.Client()", "with its defaults", partial(made, dict, _nothing)),
            Case(
                "httpx.Client, shared",
                "with a TLS context that is there, and `trust_env=False`",
                partial(made, _shared, _nothing),
                "httpx.Client()",
            ),
            Case(
                "connect",
                "`host.connect` of a composed service",
                partial(connecting, _nothing),
                "httpx.Client()",
            ),
            Case(
                "connect, 1 request",
                "the same with its first request, in memory",
                partial(connecting, _once),
                "httpx.Client()",
            ),
        ),
        (
            ratio(
                "opening a connection on a composed service, to httpx.Client()",
                1 / 160,
                "connect",
                "httpx.Client()",
            ),
        ),
        wire.memory,
        unit="µs per connection",
        sample=0.005,  # what is not measured takes longer: the host, its services
        part=0.00125,
    ),
)
