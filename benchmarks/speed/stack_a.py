"""Stack A: `httpx.Auth`, prometheus-client, OpenTelemetry's instrumentation, a breaker.

As their documentations say, put together as a program does that has no framework for it. The
breaker is pybreaker, and aiobreaker where it is awaited, since pybreaker counts no `async def`.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from prometheus_client import CollectorRegistry, Counter, Histogram

from .clients import asent, running, sent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from contextlib import ExitStack

    from .measurement import Run
    from .signals import Signals


class Bearer(httpx.Auth):
    """Puts a token on every request."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._value
        yield request


class Series:
    """A histogram of durations and a counter of requests, by method, host and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "host", "status")
        what = "Requests by what came of them."
        self._duration = Histogram(
            "client_request_duration_seconds", "How long they took.", labels, registry=registry
        )
        self._requests = Counter("client_requests", what, labels, registry=registry)

    def tell(self, method: str, host: str, status: str, started: float) -> None:
        """Count one that ends now."""
        self._duration.labels(method, host, status).observe(perf_counter() - started)
        self._requests.labels(method, host, status).inc()

    def told(self, get: Callable[[str], Any], url: str) -> Callable[[], Any]:
        """`get(url)`, counted."""
        host = httpx.URL(url).host

        def call() -> Any:
            started = perf_counter()
            try:
                response = get(url)
            except Exception as error:
                self.tell("GET", host, type(error).__name__, started)
                raise
            self.tell("GET", host, str(response.status_code), started)
            return response

        return call

    def atold(self, get: Callable[[str], Awaitable[Any]], url: str) -> Callable[[], Awaitable[Any]]:
        """The same for one that is awaited."""
        host = httpx.URL(url).host

        async def call() -> Any:
            started = perf_counter()
            try:
                response = await get(url)
            except Exception as error:
                self.tell("GET", host, type(error).__name__, started)
                raise
            self.tell("GET", host, str(response.status_code), started)
            return response

        return call


def calling(client: httpx.Client, signals: Signals, url: str) -> Callable[[], Any]:
    """Get `url` through pybreaker and an instrumented client."""
    from pybreaker import CircuitBreaker  # noqa: PLC0415 - it may not be there

    HTTPXClientInstrumentor.instrument_client(client, tracer_provider=signals.tracers)
    breaker = CircuitBreaker(fail_max=5, reset_timeout=60)
    return Series(signals.registry).told(partial(breaker.call, client.get), url)


def acalling(client: httpx.AsyncClient, signals: Signals, url: str) -> Callable[[], Awaitable[Any]]:
    """The same through aiobreaker."""
    from aiobreaker import CircuitBreaker  # noqa: PLC0415 - it may not be there

    HTTPXClientInstrumentor.instrument_client(client, tracer_provider=signals.tracers)
    breaker = CircuitBreaker(fail_max=5)
    return Series(signals.registry).atold(partial(breaker.call_async, client.get), url)


def sync_run(token: str, signals: Signals, stack: ExitStack, url: str) -> Run:
    """A `Run` of the sync one."""
    client = stack.enter_context(httpx.Client(auth=Bearer(token)))
    return sent(stack, calling(client, signals, url))


def async_run(token: str, signals: Signals, stack: ExitStack, url: str) -> Run:
    """A `Run` of the async one."""
    runner, client = running(stack), httpx.AsyncClient(auth=Bearer(token))
    stack.callback(lambda: runner.run(client.aclose()))
    return asent(runner, acalling(client, signals, url))
