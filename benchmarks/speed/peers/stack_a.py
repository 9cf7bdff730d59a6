"""Stack A: `httpx.Auth`, prometheus-client, OpenTelemetry's instrumentation, a breaker.

The breaker is pybreaker, and aiobreaker where it is awaited, since pybreaker counts no `async def`.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from benchmarks.speed.signals import Series, Signals

from . import BEARER

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Generator
    from contextlib import ExitStack


class Bearer(httpx.Auth):
    """Puts the token on every request."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = BEARER
        yield request


def sync(signals: Signals, stack: ExitStack, url: str) -> Callable[[], Any]:
    """With pybreaker."""
    from pybreaker import CircuitBreaker  # noqa: PLC0415 - where only the async one is there

    client = stack.enter_context(httpx.Client(auth=Bearer()))
    HTTPXClientInstrumentor.instrument_client(client, tracer_provider=signals.tracers)
    breaker = CircuitBreaker(fail_max=5, reset_timeout=60)
    return Series(signals.registry).told(partial(breaker.call, client.get), url)


def asynchronous(
    signals: Signals,
    stack: ExitStack,
    url: str,
    runner: asyncio.Runner,
    asking: Callable[[Any], Callable[[str], Awaitable[Any]]] = attrgetter("get"),
) -> Callable[[], Awaitable[Any]]:
    """With aiobreaker."""
    from aiobreaker import CircuitBreaker  # noqa: PLC0415 - where only the sync one is there

    client = httpx.AsyncClient(auth=Bearer())
    stack.callback(lambda: runner.run(client.aclose()))
    HTTPXClientInstrumentor.instrument_client(client, tracer_provider=signals.tracers)
    breaker = CircuitBreaker(fail_max=5)
    return Series(signals.registry).atold(partial(breaker.call_async, asking(client)), url)
