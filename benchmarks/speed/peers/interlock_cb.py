"""interlock-cb's transports: a circuit breaker and nothing else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
from interlock import Registry
from interlock.integrations.httpx import (
    AsyncCircuitBreakerTransport,
    CircuitBreakerTransport,
    HttpStatusClassifier,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack

    from benchmarks.speed.signals import Signals


def sync(_: Signals, stack: ExitStack, url: str) -> Callable[[], Any]:
    """Around `httpx.HTTPTransport`."""
    registry = Registry(classifier=HttpStatusClassifier())
    transport = CircuitBreakerTransport(httpx.HTTPTransport(), registry=registry)
    return partial(stack.enter_context(httpx.Client(transport=transport)).get, url)


def asynchronous(
    _: Signals, stack: ExitStack, url: str, runner: asyncio.Runner
) -> Callable[[], Awaitable[Any]]:
    """Around `httpx.AsyncHTTPTransport`."""
    registry = Registry(classifier=HttpStatusClassifier())
    transport = AsyncCircuitBreakerTransport(httpx.AsyncHTTPTransport(), registry=registry)
    client = httpx.AsyncClient(transport=transport)
    stack.callback(lambda: runner.run(client.aclose()))
    return partial(client.get, url)
