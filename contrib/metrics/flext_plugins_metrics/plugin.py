"""The plugin: measures each attempt and operation, and counts what it is told of the rest."""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry

from flext_plugins import Stage, hookimpl
from flext_plugins.http import IDEMPOTENT, Origin

from . import names
from .collectors import OTHER, Bounded, collectors
from .exemplar import Exemplars
from .told import Told, kind_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import Gauge, Histogram

    from flext_plugins import Connection, Operation, Request, Response, Service

METHODS = IDEMPOTENT | {"CONNECT", "PATCH", "POST", "QUERY"}
"""RFC 9110's, PATCH and QUERY; any other is `_OTHER`, as OpenTelemetry has it."""


class _Answered(NamedTuple):
    """Where the facts about one kind of answered or failed attempt go."""

    duration: Histogram
    exemplars: Exemplars
    request_size: Histogram | None
    response_ended: Callable[[BaseException | None, int], None] | None


class Metrics:
    """Measures a service's traffic for Prometheus.

    The metrics are in the registry that the application gave to `host.provide`, else in
    prometheus-client's own.
    """

    stage = Stage.ATTEMPT
    observer = True

    def __init__(self, service: Service) -> None:
        registry = service.resource(CollectorRegistry, None)
        self._metrics = collectors(REGISTRY if registry is None else registry)
        self._service = service.name
        self._address = Origin.of(service.base_url).host if service.base_url else service.name
        self._told = Told(self._metrics, service.name)
        self._active: dict[str, Gauge] = {}
        self._answered: dict[tuple[str, int, str, str], _Answered] = {}
        self._operations: dict[tuple[str, str, str, str], Histogram] = {}
        self._bounded: defaultdict[str, Bounded] = defaultdict(Bounded)

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Say who takes part."""
        for each in connection.service.plugins:
            labels = (self._service, each.name, each.distribution or "", each.version or "")
            self._metrics.gauge(names.PLUGIN_INFO, *labels).set(1)

    @hookimpl
    def flext_event(self, event: object, connection: Connection) -> None:
        """Count what happens outside of the attempts."""
        self._told(event, connection)

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Callable[[Request], Awaitable[Response]],
        connection: Connection,
    ) -> Response:
        """Measure one attempt, unless another plugin answered or refused in the service's place."""
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
                found = self._of(method, 0, kind_of(error, connection), call.route)
                found.duration.observe(passed, found.exemplars(passed, request))
            raise
        passed = perf_counter() - started
        active.dec()
        if call.answered_by is None:
            status = response.status_code
            found = self._of(method, status, str(status) if status >= 400 else "", call.route)
            found.duration.observe(passed, found.exemplars(passed, request))
            self._sizes(found, request, response, connection)
        return response

    def _sizes(
        self, found: _Answered, request: Request, response: Response, connection: Connection
    ) -> None:
        if found.request_size is not None and "Content-Length" in request.headers:
            length = request.headers["Content-Length"]
            if length.isdigit():
                found.request_size.observe(int(length))
        if found.response_ended is not None:
            connection.watch(response, found.response_ended)

    @hookimpl
    async def flext_operation(
        self,
        operation: Operation,
        proceed: Callable[[Operation], Awaitable[object]],
        connection: Connection,
    ) -> object:
        """Measure one operation."""
        call: Any = connection.call
        before, kind = call.answered_by, ""
        started = perf_counter()
        try:
            return await proceed(operation)
        except BaseException as error:
            kind = kind_of(error, connection)
            raise
        finally:
            passed = perf_counter() - started
            if call.answered_by in {None, before}:
                self._operation_of(operation, kind).observe(passed)

    def _active_of(self, method: str) -> Gauge:
        made = self._metrics.gauge(names.ACTIVE, self._service, method, self._address)
        return self._active.setdefault(method, made)

    def _of(self, method: str, status: int, kind: str, route: str | None) -> _Answered:
        template = self._bounded["route"](route) if route else ""
        key = method, status, kind, template
        if (found := self._answered.get(key)) is not None:
            return found
        http = (self._service, method, self._address, str(status) if status else "")
        of = self._metrics.histogram
        made = _Answered(
            of(names.DURATION, *http, kind, template),
            Exemplars(names.SECONDS),
            of(names.REQUEST_SIZE, *http) if status else None,
            _ended(of(names.RESPONSE_SIZE, *http)) if status else None,
        )
        return self._answered.setdefault(key, made)

    def _operation_of(self, operation: Operation, kind: str) -> Histogram:
        system, name = self._bounded["system"], self._bounded["operation"]
        target = self._bounded["target"](operation.target)
        key = system(operation.system), name(operation.name), target, kind
        if (found := self._operations.get(key)) is not None:
            return found
        made = self._metrics.histogram(names.OPERATION, self._service, *key)
        return self._operations.setdefault(key, made)


def _ended(sizes: Histogram) -> Callable[[BaseException | None, int], None]:
    return lambda _, size: sizes.observe(size)
