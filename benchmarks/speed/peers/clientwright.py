"""clientwright with its breaker, its Prometheus series and its tracer; the token is a header."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from clientwright import AdapterDeps, ClientConfig, ClientRuntime, build, build_sync
from clientwright.adapters.observability import OpenTelemetryTracer, PrometheusClientMetrics

from . import BEARER

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack

    from benchmarks.speed.signals import Signals


def _made(signals: Signals) -> tuple[ClientConfig, AdapterDeps]:
    """Without its retries, which stack A has none of."""
    config = ClientConfig("flexcore", retry=None, headers={"Authorization": BEARER})
    return config, AdapterDeps(
        metrics=PrometheusClientMetrics(registry=signals.registry),
        tracer=OpenTelemetryTracer(signals.tracers),
        runtime=ClientRuntime.for_config(config),
    )


def sync(signals: Signals, stack: ExitStack, url: str) -> Callable[[], Any]:
    """Its `httpx.Client`."""
    return partial(stack.enter_context(build_sync("httpx", *_made(signals))).get, url)


def asynchronous(
    signals: Signals,
    stack: ExitStack,
    url: str,
    runner: asyncio.Runner,
    asking: Callable[[Any], Callable[[str], Awaitable[Any]]] = attrgetter("get"),
) -> Callable[[], Awaitable[Any]]:
    """Its `httpx.AsyncClient`."""
    client = build("httpx", *_made(signals))
    stack.callback(lambda: runner.run(client.aclose()))
    return partial(asking(client), url)
