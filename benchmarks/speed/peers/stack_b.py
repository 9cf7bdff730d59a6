"""Stack B: authlib's clients, which are httpx2's, purgatory, prometheus-client, OpenTelemetry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuth2Client
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
from purgatory import AsyncCircuitBreakerFactory, SyncCircuitBreakerFactory

from benchmarks.speed.signals import Series, Signals

from . import TOKEN

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack


def _token() -> dict[str, Any]:
    return {"access_token": TOKEN, "token_type": "Bearer", "expires_at": time.time() + 86400}


def sync(signals: Signals, stack: ExitStack, url: str) -> Callable[[], Any]:
    """With `SyncCircuitBreakerFactory` as a decorator."""
    client = stack.enter_context(OAuth2Client(token=_token()))
    HTTPX2ClientInstrumentor.instrument_client(client, tracer_provider=signals.tracers)
    guarded = SyncCircuitBreakerFactory(default_threshold=5)("flexcore")
    return Series(signals.registry).told(guarded(client.get), url)


def asynchronous(
    signals: Signals, stack: ExitStack, url: str, runner: asyncio.Runner
) -> Callable[[], Awaitable[Any]]:
    """With `AsyncCircuitBreakerFactory` as a decorator."""
    client = AsyncOAuth2Client(token=_token())
    stack.callback(lambda: runner.run(client.aclose()))
    HTTPX2ClientInstrumentor.instrument_client(client, tracer_provider=signals.tracers)
    guarded = AsyncCircuitBreakerFactory(default_threshold=5)("flexcore")
    return Series(signals.registry).atold(guarded(client.get), url)
