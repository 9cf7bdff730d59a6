"""Credentials, metrics, traces and a circuit breaker around each request, by us and by others.

All on top of the same client library, each with an OpenTelemetry SDK of its own (always on, one
`SimpleSpanProcessor`, an exporter that does nothing) and a Prometheus registry of its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from flext_plugins import Host

from . import stack_a, wire
from .clients import LOOPBACK_SAMPLE, WORLDS, World, hosted, plain
from .measurement import Case, Table
from .signals import Signals
from .target import overhead

if TYPE_CHECKING:
    from contextlib import ExitStack

    from .measurement import Run

TOKEN = "0123456789abcdef0123456789abcdef"
SYNC, ASYNC, *_ = WORLDS


def our_host(url: str, signals: Signals) -> Host:
    """A host with one service and the four plugins."""
    plugins: dict[str, Any] = {"auth": {"scheme": "bearer", "token": TOKEN}}
    plugins |= {"circuit-breaker": {}, "tracing": {}, "metrics": {}}
    host = Host({"services": {"flexcore": {"base_url": url, "plugins": plugins}}})
    host.provide(CollectorRegistry, signals.registry)
    host.provide(TracerProvider, signals.tracers)
    return host


def ours(world: World, stack: ExitStack, url: str) -> Run:
    """A client of such a host."""
    return hosted(our_host(url, Signals()), world, stack, url)


def _stack_a(world: World, stack: ExitStack, url: str) -> Run:
    run = stack_a.async_run if world.is_async else stack_a.sync_run
    return run(TOKEN, Signals(), stack, url)


def _cases() -> tuple[Case, ...]:
    found = []
    for world in (SYNC, ASYNC):
        name = world.name
        breaker = "aiobreaker" if world.is_async else "pybreaker"
        found += [
            Case(name, f"plain {name}", partial(plain, world)),
            Case(
                f"{name}, ours",
                "the plugins auth, circuit-breaker, tracing and metrics",
                partial(ours, world),
                name,
            ),
            Case(
                f"{name}, stack A",
                f"httpx.Auth, {breaker}, OpenTelemetry's instrumentation, prometheus-client",
                partial(_stack_a, world),
                name,
                (breaker, "opentelemetry-instrumentation-httpx"),
            ),
        ]
    return tuple(found)


def _table(name: str, title: str, place: Any, limit: float, sample: float) -> Table:
    targets = tuple(
        overhead(
            f"what four plugins add to {name}, to what stack A adds, {title}",
            limit,
            f"{name}, ours",
            name,
            f"{name}, stack A",
        )
        for name in (SYNC.name, ASYNC.name)
    )
    title = f"Credentials, metrics, traces and a breaker, {title}"
    return Table(name, title, _cases(), targets, place, sample=sample)


TABLES = (
    _table("stacks-memory", "in memory", wire.memory, 0.40, 0.008),
    _table("stacks-loopback", "over loopback", wire.loopback, 0.50, LOOPBACK_SAMPLE),
)
