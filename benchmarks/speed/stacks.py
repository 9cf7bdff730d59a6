"""Credentials, metrics, traces and a circuit breaker around each request, by us and by others.

Each on top of a client library, with an OpenTelemetry SDK of its own (always on, one
`SimpleSpanProcessor`, an exporter that does nothing) and a Prometheus registry of its own. The
ratio is to the plain client of the same library.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from flext_plugins import Host

from . import wire
from .clients import LOOPBACK_SAMPLE, WORLDS, World, asent, hosted, plain, running, sent
from .measurement import Case, Table
from .peers import TOKEN
from .signals import Nowhere, Signals
from .target import overhead

if TYPE_CHECKING:
    from contextlib import ExitStack

    from .measurement import Run
    from .target import Target

ALL = ("auth", "circuit-breaker", "tracing", "metrics")
OTEL = "opentelemetry-instrumentation-httpx"


class Peer(NamedTuple):
    """A module of `peers`, beside the plain client of the world that it is built on."""

    module: str
    world: str
    title: str
    sentence: str
    needs: tuple[str, ...]


_STACK_A = "`httpx.Auth`, prometheus-client, OpenTelemetry's instrumentation"
_STACK_B = "authlib's client, prometheus-client, OpenTelemetry's instrumentation, purgatory"
_CLIENTWRIGHT = "its breaker, series and tracer; the token is a header"
_HTTPWARE = "its breaker and middleware, prometheus-client, OpenTelemetry's instrumentation"
_SESSION = "a session's `auth`, prometheus-client, OpenTelemetry's instrumentation, pybreaker"
_AZURE = "its pipeline with a token and its tracing, prometheus-client; it has no breaker"
_INTERLOCK = "its transport: a breaker and nothing else"

PEERS = (
    Peer("stack_a", "httpx", "stack A", f"{_STACK_A}, pybreaker", ("pybreaker", OTEL)),
    Peer("stack_a", "httpx async", "stack A", f"{_STACK_A}, aiobreaker", ("aiobreaker", OTEL)),
    Peer("clientwright", "httpx", "clientwright", _CLIENTWRIGHT, ("clientwright",)),
    Peer("clientwright", "httpx async", "clientwright", _CLIENTWRIGHT, ("clientwright",)),
    Peer("interlock_cb", "httpx", "interlock-cb", _INTERLOCK, ("interlock-cb",)),
    Peer("interlock_cb", "httpx async", "interlock-cb", _INTERLOCK, ("interlock-cb",)),
    Peer("stack_b", "httpx2", "stack B", _STACK_B, ("authlib", "purgatory", OTEL)),
    Peer("stack_b", "httpx2 async", "stack B", _STACK_B, ("authlib", "purgatory", OTEL)),
    Peer("httpware", "httpx2", "httpware", _HTTPWARE, ("httpware", OTEL)),
    Peer("httpware", "httpx2 async", "httpware", _HTTPWARE, ("httpware", OTEL)),
    Peer("session", "requests", "by hand", _SESSION, ("pybreaker", f"{OTEL[:-5]}requests")),
    Peer("azure_core", "requests", "azure-core", _AZURE, ("azure-core",)),
)


def our_host(
    url: str,
    signals: Signals,
    names: tuple[str, ...] = ALL,
    services: tuple[str, ...] = ("flexcore",),
    transport: str = "default",
) -> Host:
    """A host with the services, each with those plugins."""
    plugins: dict[str, Any] = {name: {} for name in names}
    if "auth" in plugins:
        plugins["auth"] = {"scheme": "bearer", "token": TOKEN}
    service = {"base_url": url, "transport": transport, "plugins": plugins}
    host = Host({"services": {each: dict(service) for each in services}})
    host.provide(CollectorRegistry, signals.registry)
    host.provide(TracerProvider, signals.tracers)
    return host


def ours(names: tuple[str, ...], world: World, stack: ExitStack, url: str) -> Run:
    """A client of such a host."""
    return hosted(our_host(url, Signals(), names), world, stack, url)


def theirs(peer: Peer, world: World, stack: ExitStack, url: str) -> Run:
    """A peer's client.

    Raises:
        RuntimeError: it makes no spans.
    """
    run = _theirs(peer, world, stack, url)
    before = Nowhere.exported
    run(1)
    if Nowhere.exported == before and peer.sentence != _INTERLOCK:
        raise RuntimeError(f"{peer.title} makes no spans")
    return run


def _theirs(peer: Peer, world: World, stack: ExitStack, url: str) -> Run:
    module: Any = import_module(f".peers.{peer.module}", __package__)
    signals = Signals()
    if world.is_async:
        runner = running(stack)
        return asent(runner, module.asynchronous(signals, stack, url, runner))
    run = sent(stack, module.sync(signals, stack, url))
    if peer.module != "session":
        return run
    return lambda times: module.instrumented(signals, partial(run, times))


def aiohttp(middlewares: int, stack: ExitStack, url: str) -> Run:
    """Aiohttp's own client."""
    runner = running(stack)
    module: Any = import_module(".peers.aiohttp", __package__)
    return asent(runner, module.getting(middlewares, stack, url, runner))


def _cases() -> tuple[Case, ...]:
    found = []
    for world in WORLDS:
        name = world.name
        found.append(Case(name, "a plain client", partial(plain, world)))
        all_four = "the plugins `auth`, `circuit-breaker`, `tracing` and `metrics`"
        found.append(Case(f"{name}, ours", all_four, partial(ours, ALL, world), name))
        if world.client in {httpx.Client, httpx.AsyncClient}:
            alone = partial(ours, ("circuit-breaker",), world)
            sentence = "the plugin `circuit-breaker` alone"
            found.append(Case(f"{name}, our breaker", sentence, alone, name))
        found += [
            Case(
                f"{name}, {peer.title}",
                peer.sentence,
                partial(theirs, peer, world),
                name,
                peer.needs,
            )
            for peer in PEERS
            if peer.world == name
        ]
    return tuple(found)


AIOHTTP = (
    Case("aiohttp", "a plain session", partial(aiohttp, 0), needs=("aiohttp",)),
    Case(
        "aiohttp, 4 middlewares",
        "four client middlewares that do nothing",
        partial(aiohttp, 4),
        "aiohttp",
        ("aiohttp",),
    ),
)
"""Over loopback alone: it has no place in common with the others to be answered at."""


def _targets(where: str, limit: float, aim: float) -> tuple[Target, ...]:
    return tuple(
        overhead(
            f"what four plugins add to {name}, to what stack A adds, {where}",
            limit,
            f"{name}, ours",
            name,
            f"{name}, stack A",
            aim,
        )
        for name in ("httpx", "httpx async")
    )


TITLE = "Credentials, metrics, traces and a breaker"
TABLES = (
    Table(
        "stacks-memory",
        f"{TITLE}, in memory",
        _cases(),
        _targets("in memory", 1.05, 0.40),
        wire.memory,
        sample=0.02,
    ),
    Table(
        "stacks-loopback",
        f"{TITLE}, over loopback",
        (*_cases(), *AIOHTTP),
        _targets("over loopback", 1.3, 0.50),
        wire.loopback,
        sample=6 * LOOPBACK_SAMPLE,  # of a difference of differences
    ),
)
