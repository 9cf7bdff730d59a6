"""The plugin: measures each attempt and operation, and counts events."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from prometheus_client import REGISTRY, CollectorRegistry

from flext_plugins import Stage, hookimpl
from flext_plugins.http import IDEMPOTENT, Origin

from . import names
from .collectors import OTHER, LabelValues, collectors
from .events import EventCounter, code_of, kind_of
from .exemplar import Exemplars

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Gauge, Histogram

    from flext_plugins import Connection, Operation, Proceed, Request, Response, Send, Service

METHODS = IDEMPOTENT | {"CONNECT", "PATCH", "POST", "QUERY"}
"""RFC 9110's, PATCH and QUERY; OpenTelemetry calls any other `_OTHER`."""
OPERATION_KEY = ("system", "operation", "namespace", "target", "error")
"""What tells an operation's series apart."""


class _Instruments(NamedTuple):
    """The metrics of one kind of attempt, by method, status, error and route."""

    duration: Histogram
    exemplars: Exemplars
    request_size: Histogram | None
    response_ended: Callable[[BaseException | None, int], None] | None


class Metrics:
    """Measures a service's traffic for Prometheus.

    The metrics are in the registry that the application gave to `host.provide`, or else in
    prometheus-client's default one.
    """

    stage = Stage.ATTEMPT
    observer = True

    def __init__(self, service: Service) -> None:
        registry = service.resource(CollectorRegistry, None)
        self._metrics = collectors(REGISTRY if registry is None else registry)
        self._service = service.name
        self._address = Origin.of(service.base_url).host if service.base_url else service.name
        self._count_event = EventCounter(self._metrics, service.name)
        self._active: dict[str, Gauge] = {}
        self._instruments: dict[tuple[str, int, str, str], _Instruments] = {}
        self._operations: dict[tuple[str, ...], Histogram] = {}
        self._label_values: defaultdict[str, LabelValues] = defaultdict(LabelValues)

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Set the info metric of each of the service's plugins."""
        for each in connection.service.plugins:
            labels = (self._service, each.name, each.distribution or "", each.version or "")
            self._metrics.gauge(names.PLUGIN_INFO, *labels).set(1)

    @hookimpl
    def flext_event(self, event: object, connection: Connection) -> None:
        """Count an event."""
        self._count_event(event, connection)

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Send,
        connection: Connection,
    ) -> Response:
        """Measure an attempt, unless another plugin answers or refuses in the service's place."""
        call: Any = connection.call
        method = request.method if request.method in METHODS else OTHER
        active = self._active.get(method) or self._active_of(method)
        active.inc()
        started = perf_counter()
        try:
            response = await send(request)
        except BaseException as error:
            passed = perf_counter() - started
            active.dec()
            if call.answered_by is None:
                instruments = self._of(method, 0, kind_of(error, connection), call.route)
                instruments.duration.observe(passed, instruments.exemplars(passed, request))
            raise
        passed = perf_counter() - started
        active.dec()
        if call.answered_by is None:
            status = response.status_code
            instruments = self._of(method, status, str(status) if status >= 400 else "", call.route)
            instruments.duration.observe(passed, instruments.exemplars(passed, request))
            self._sizes(instruments, request, response, connection)
        return response

    def _sizes(
        self,
        instruments: _Instruments,
        request: Request,
        response: Response,
        connection: Connection,
    ) -> None:
        if instruments.request_size is not None and "Content-Length" in request.headers:
            length = request.headers["Content-Length"]
            if length.isdigit():
                instruments.request_size.observe(int(length))
        if instruments.response_ended is not None:
            connection.watch(response, instruments.response_ended)

    @hookimpl
    async def flext_operation(
        self,
        operation: Operation,
        proceed: Proceed,
        connection: Connection,
    ) -> object:
        """Measure an operation."""
        call: Any = connection.call
        before, kind = call.answered_by, ""
        started = perf_counter()
        try:
            return await proceed(operation)
        except BaseException as error:
            kind = kind_of(error, connection, code_of(error))
            raise
        finally:
            passed = perf_counter() - started
            if call.answered_by in {None, before}:
                self._operation_of(operation, kind).observe(passed)

    def _active_of(self, method: str) -> Gauge:
        gauge = self._metrics.gauge(names.ACTIVE, self._service, method, self._address)
        return self._active.setdefault(method, gauge)

    def _of(self, method: str, status: int, kind: str, route: str | None) -> _Instruments:
        template = self._label_values["route"](route) if route else ""
        key = method, status, kind, template
        if (instruments := self._instruments.get(key)) is not None:
            return instruments
        http = (self._service, method, self._address, str(status) if status else "")
        of = self._metrics.histogram
        instruments = _Instruments(
            of(names.DURATION, *http, kind, template),
            Exemplars(names.SECONDS),
            of(names.REQUEST_SIZE, *http) if status else None,
            _observer(of(names.RESPONSE_SIZE, *http)) if status else None,
        )
        return self._instruments.setdefault(key, instruments)

    def _operation_of(self, operation: Operation, kind: str) -> Histogram:
        namespace = operation.attributes.get("namespace")
        if not isinstance(namespace, str):
            namespace = ""
        key = operation.system, operation.name, namespace, operation.target, kind
        if (histogram := self._operations.get(key)) is not None:
            return histogram
        few = [
            self._label_values[what](value) for what, value in zip(OPERATION_KEY, key, strict=True)
        ]
        system, name, namespace, target, kind = few
        labels = names.SYSTEMS.get(system, system), name, namespace, *_server_of(target), kind
        histogram = self._metrics.histogram(names.OPERATION, self._service, *labels)
        if OTHER in few:
            return histogram
        return self._operations.setdefault(key, histogram)


def _server_of(target: str) -> tuple[str, str]:
    """The address and port of an operation's target; all of it is the address if it has none."""
    with suppress(ValueError):
        url = urlsplit(target if "://" in target else f"//{target}")
        if url.hostname and target != OTHER:
            return url.hostname, str(url.port or "")
    return target, ""


def _observer(sizes: Histogram) -> Callable[[BaseException | None, int], None]:
    return lambda _, size: sizes.observe(size)
