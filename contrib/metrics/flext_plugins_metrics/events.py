"""Counts the events that other plugins and the host emit."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from flext_plugins import events

from . import names

if TYPE_CHECKING:
    from flext_plugins import Connection

    from .instruments import FewSeries

CODE = re.compile(r"[A-Za-z0-9._:-]{1,32}")
"""A system's code for an error, and no text about it: `ORA-00001`, `23505`."""

MOST_POOLS = 1000
"""So many pools of a service are added up."""


class EventCounter:
    """Counts one service's events, and ignores records that it does not know."""

    def __init__(self, metrics: FewSeries, service: str) -> None:
        self._metrics, self._service = metrics, service
        self._pools: dict[tuple[Connection, str, str], events.PoolChanged] = {}
        self._lock = threading.Lock()

    def __call__(self, event: object, connection: Connection) -> None:
        service, count = self._service, self._metrics.counter
        match event:
            case events.CallFinished(outcome=outcome, duration=duration):
                count(names.CALLS, service, outcome).inc()
                self._metrics.histogram(names.CALL_DURATION, service).observe(duration)
            case events.HopFinished(call=call, outcome=outcome):
                if outcome == "answered" and call.answered_by is not None:
                    count(names.ANSWERS, service, call.answered_by).inc()
            case events.BodyEnded(error=error):
                if isinstance(error, Exception):  # else it was read, closed or cancelled
                    count(names.BODY_ERRORS, service, kind_of(error, connection)).inc()
            case events.CallRefused(plugin=plugin, kind=kind):
                count(names.REFUSALS, service, plugin or "", kind).inc()
            case events.CallDrained(sent=sent):
                count(names.DRAINED, service, "cut" if sent else "refused").inc()
            case events.PermitAwaited():
                self._count_wait(event)
            case events.Retried(reason=reason):
                count(names.RETRIES, service, reason).inc()
            case events.StateChanged():
                self._set_state(event)
            case events.HealthChecked(healthy=healthy, latency=latency):
                self._metrics.gauge(names.HEALTHY, service).set(healthy)
                if latency is not None:
                    self._metrics.histogram(names.HEALTH_DURATION, service).observe(latency)
            case events.TokenFetched(outcome=outcome):
                count(names.TOKENS, service, outcome).inc()
            case events.PluginFailed(plugin=plugin, hook=hook):
                count(names.PLUGIN_ERRORS, service, plugin, hook).inc()
            case events.PoolChanged():
                self._count_connections(event, connection)
            case events.Progress():
                self._set_progress(event)

    def _count_wait(self, event: events.PermitAwaited) -> None:
        permit = self._service, event.plugin or ""
        pending = self._metrics.gauge(names.PERMITS_PENDING, *permit)
        if event.state == "waiting":
            pending.inc()
        else:
            pending.dec()
            times = self._metrics.histogram(names.PERMIT_WAIT, *permit, event.state)
            times.observe(event.duration)

    def _set_state(self, event: events.StateChanged) -> None:
        for state, value in (event.old, 0), (event.new, 1):
            labels = self._service, event.plugin, event.target, state
            self._metrics.gauge(names.BREAKER, *labels).set(value)

    def _count_connections(self, event: events.PoolChanged, connection: Connection) -> None:
        """Add up the pools to one target: each of the service's connections has its own."""
        key = connection, event.system, event.target
        with self._lock:
            known = self._pools.pop(key, None)
            if event.limit or event.in_use:
                self._pools[key] = event
            if len(self._pools) > MOST_POOLS:  # some plugin tells of none that it was closed
                del self._pools[next(iter(self._pools))]
        system = names.SYSTEMS.get(event.system, event.system)
        labels = self._service, system, event.target
        old = known or events.PoolChanged(event.system, event.target, 0, 0, 0, 0)
        for name, state, more in (
            (names.CONNECTIONS, ("used",), event.in_use - old.in_use),
            (names.CONNECTIONS, ("idle",), event.idle - old.idle),
            (names.CONNECTIONS_MAX, (), event.limit - old.limit),
            (names.CONNECTIONS_PENDING, (), event.waiting - old.waiting),
        ):
            if more or known is None:  # a series is there from the first event on
                self._metrics.gauge(name, *labels, *state).inc(more)

    def _set_progress(self, event: events.Progress) -> None:
        what, unit = event.what, event.unit
        self._metrics.gauge(names.PROGRESS_DONE, self._service, what, unit).set(event.done)
        if event.total is not None:
            total = self._metrics.gauge(names.PROGRESS_EXPECTED, self._service, what, unit)
            total.set(event.total)


def kind_of(error: BaseException, connection: Connection, code: str = "") -> str:
    """The kind of an error: one of few words, the same for all client libraries.

    What did not happen on the wire is its `code`, or else its class.
    """
    if not isinstance(error, Exception):
        return "cancelled"
    failure = connection.failure(error)
    return (code or type(error).__name__) if failure is None else failure.value


def code_of(error: BaseException) -> str:
    """The system's code for the error of an operation, if it has one."""
    code = getattr(error, "code", None)
    text = str(code) if isinstance(code, (int, str)) else ""
    return text if CODE.fullmatch(text) else ""
