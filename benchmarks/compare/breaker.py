"""What circuit breakers do.

An adapter is `Breaker(urls, threshold, recovery)`: it opens after `threshold` failures in a row,
stays open for `recovery` seconds, and closes after one good probe. `get(url)` and `aget(url)` send
a GET through it, read the body, and raise what a caller would see.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import httpx2

from flext_plugins.testing import Answer, LoopbackService

from .measurement import (
    ASYNC,
    OFFERED,
    SYNC,
    Caller,
    NotOffered,
    Outcome,
    behaviour,
    outcome,
    services,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Circuit breakers"
THRESHOLD = 3
RECOVERY = 0.5
"""Seconds."""
BROKEN = Answer(503)


@contextmanager
def guarded(adapter: Any, mode: str) -> Iterator[tuple[Caller, LoopbackService]]:
    """Calls through a breaker, and the server at which they arrive."""
    with services() as (service,):
        service.answer = Answer()
        with Caller(adapter([service.url], THRESHOLD, RECOVERY), mode) as call:
            yield call, service


def opened(call: Caller, service: LoopbackService, answer: Answer = BROKEN) -> None:
    """Fail until it is open, then let the service recover."""
    service.answer = answer
    for _ in range(THRESHOLD):
        call(service.url)
    service.answer = Answer()


def arrives(call: Caller, service: LoopbackService) -> bool:
    """Whether one more call reaches the service."""
    before = len(service.received)
    call(service.url)
    return len(service.received) > before


@behaviour(SYNC, ASYNC, seconds=20)
def half_open_admits_one(adapter: Any, mode: str) -> Outcome:
    """Half-open, one of 20 concurrent callers is let through while it is probed."""
    with guarded(adapter, mode) as (call, service):
        opened(call, service)
        time.sleep(RECOVERY * 1.5)
        service.answer = Answer(delay=0.3)
        before, service.most_active = len(service.received), 0
        call.together(20, service.url)
        arrived = len(service.received) - before
        if arrived > 1 and service.most_active == 1:
            return Outcome(OFFERED, "the others wait for their turn")
        return outcome(arrived == 1, f"{service.most_active} of 20")


@behaviour(SYNC, ASYNC)
def closed_calls_run_in_parallel(adapter: Any, mode: str) -> Outcome:
    """Closed, five calls of 0.5 s run at the same time."""
    with guarded(adapter, mode) as (call, service):
        service.answer = Answer(delay=0.5)
        call.together(5, service.url)
        return outcome(service.most_active == 5, f"{service.most_active} at a time")


@behaviour(ASYNC)
def an_async_call_counts(adapter: Any, mode: str) -> Outcome:
    """Failing calls of an `async def` open it."""
    with guarded(adapter, mode) as (call, service):
        opened(call, service)
        return outcome(not arrives(call, service), "never counted")


@behaviour(SYNC, ASYNC)
def refused_connections_open_it(adapter: Any, mode: str) -> Outcome:
    """Refused connections open it."""
    with guarded(adapter, mode) as (call, service):
        service.refuse()
        for _ in range(THRESHOLD):
            call(service.url)
        service.listen()
        return outcome(not arrives(call, service), "stays closed")


@behaviour(ASYNC)
def a_cancelled_probe_leaves_it_half_open(adapter: Any, mode: str) -> Outcome:
    """A cancelled probe leaves it half-open."""
    with guarded(adapter, mode) as (call, service):
        opened(call, service)
        time.sleep(RECOVERY * 1.5)
        service.answer = Answer(delay=1.0)

        async def cancelled(breaker: Any) -> bool:
            before = len(service.received)
            probe = asyncio.create_task(breaker.aget(service.url))
            for _ in range(100):
                await asyncio.sleep(0.01)
                if len(service.received) > before:
                    break
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)
            return len(service.received) > before

        if not call.run(cancelled):
            return outcome(False, "no probe")
        service.answer = BROKEN  # half-open, one more failure is enough
        if not arrives(call, service):
            return outcome(False, "opens")
        return outcome(not arrives(call, service), "closes")


@behaviour(SYNC, ASYNC)
def broken_bodies_open_it(adapter: Any, mode: str) -> Outcome:
    """Bodies that break mid-stream open it."""
    with guarded(adapter, mode) as (call, service):
        service.answer = Answer(body=b"0123456789", cut=4)
        for _ in range(10):
            call(service.url)
        return outcome(not arrives(call, service), "stays closed")


@behaviour(SYNC, ASYNC)
def client_errors_do_not_count(adapter: Any, mode: str) -> Outcome:
    """Answers such as 404 do not count as failures."""
    with guarded(adapter, mode) as (call, service):
        service.answer = Answer(404)
        for _ in range(10):
            call(service.url)
        return outcome(arrives(call, service), "opens")


@behaviour(SYNC, ASYNC)
def retry_after_is_waited_for(adapter: Any, mode: str) -> Outcome:
    """`Retry-After` sets how long it stays open."""
    with guarded(adapter, mode) as (call, service):
        opened(call, service, Answer(503, {"Retry-After": "2"}))
        time.sleep(RECOVERY * 1.5)
        if arrives(call, service):
            return outcome(False, "probes earlier")
        time.sleep(1.5)
        return outcome(arrives(call, service), "stays open")


@behaviour()
def one_object_serves_both(adapter: Any, _: str) -> Outcome:
    """What sync calls have opened is open for async calls as well."""
    if set(adapter.modes) != {SYNC, ASYNC}:
        raise NotOffered
    with services() as (service,):
        breaker = adapter([service.url], THRESHOLD, RECOVERY * 100)
        with Caller(breaker, ASYNC) as acall:
            opened(Caller(breaker, SYNC), service)
            return outcome(not arrives(acall, service), "two circuits")


@behaviour(SYNC, ASYNC)
def each_origin_has_its_own(adapter: Any, mode: str) -> Outcome:
    """Another origin, here another port of the host, has a circuit of its own."""
    with services(2) as (failing, well):
        well.answer = Answer()
        urls = [failing.url, well.url]
        with Caller(adapter(urls, THRESHOLD, RECOVERY * 100), mode) as call:
            opened(call, failing)
            if arrives(call, failing):
                return outcome(False, "does not open")
            return outcome(arrives(call, well), "opens with the other")


@behaviour(SYNC, ASYNC)
def the_refusal_is_the_clients_own_error(adapter: Any, mode: str) -> Outcome:
    """What an open circuit raises is an error of the client library as well."""
    with guarded(adapter, mode) as (call, service):
        opened(call, service)
        error = call(service.url)
        return outcome(isinstance(error, (httpx.HTTPError, httpx2.HTTPError)), type(error).__name__)


BEHAVIOURS = (
    half_open_admits_one,
    closed_calls_run_in_parallel,
    an_async_call_counts,
    refused_connections_open_it,
    a_cancelled_probe_leaves_it_half_open,
    broken_bodies_open_it,
    client_errors_do_not_count,
    retry_after_is_waited_for,
    one_object_serves_both,
    each_origin_has_its_own,
    the_refusal_is_the_clients_own_error,
)
