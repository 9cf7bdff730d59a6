"""httpware around httpx2: its breaker, a middleware, prometheus-client, OpenTelemetry.

What it tells of itself are events on spans that others make.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import httpx2
from httpware import (
    AsyncClient,
    AsyncKeyedCircuitBreaker,
    Client,
    KeyedCircuitBreaker,
    async_before_request,
    before_request,
)
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor

from benchmarks.speed.signals import Series, Signals

from . import BEARER

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack


def _authorized(request: httpx2.Request) -> httpx2.Request:
    request.headers["Authorization"] = BEARER
    return request


async def _aauthorized(request: httpx2.Request) -> httpx2.Request:
    return _authorized(request)


def sync(signals: Signals, stack: ExitStack, url: str) -> Callable[[], Any]:
    """Its `Client`."""
    client: Any = stack.enter_context(httpx2.Client())
    HTTPX2ClientInstrumentor.instrument_client(client, tracer_provider=signals.tracers)
    middleware = [before_request(_authorized), KeyedCircuitBreaker()]
    wrapped = stack.enter_context(Client(httpx2_client=client, middleware=middleware))
    return Series(signals.registry).told(wrapped.get, url)


def asynchronous(
    signals: Signals,
    stack: ExitStack,
    url: str,
    runner: asyncio.Runner,
    asking: Callable[[Any], Callable[[str], Awaitable[Any]]] = attrgetter("get"),
) -> Callable[[], Awaitable[Any]]:
    """Its `AsyncClient`."""
    client: Any = httpx2.AsyncClient()
    stack.callback(lambda: runner.run(client.aclose()))
    HTTPX2ClientInstrumentor.instrument_client(client, tracer_provider=signals.tracers)
    middleware = [async_before_request(_aauthorized), AsyncKeyedCircuitBreaker()]
    wrapped = AsyncClient(httpx2_client=client, middleware=middleware)
    return Series(signals.registry).atold(asking(wrapped), url)
