"""The same as stack A on requests: a session's auth, pybreaker, prometheus-client, OpenTelemetry.

OpenTelemetry instruments all sessions of a program, not one; the caller says when.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import requests
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from pybreaker import CircuitBreaker

from benchmarks.speed.signals import Series, Signals

from . import BEARER

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack


def _authorized(request: requests.PreparedRequest) -> requests.PreparedRequest:
    request.headers["Authorization"] = BEARER
    return request


def sync(signals: Signals, stack: ExitStack, url: str) -> Callable[[], Any]:
    """A `requests.Session`."""
    session = stack.enter_context(requests.Session())
    session.auth = _authorized
    breaker = CircuitBreaker(fail_max=5, reset_timeout=60)
    return Series(signals.registry).told(partial(breaker.call, session.get), url)


def instrumented(signals: Signals, work: Callable[[], Any]) -> Any:
    """Do `work` while sessions are traced."""
    instrumentor = RequestsInstrumentor()
    instrumentor.instrument(tracer_provider=signals.tracers)
    try:
        return work()
    finally:
        instrumentor.uninstrument()
