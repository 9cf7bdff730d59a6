"""The plugin: measures each attempt and operation, and counts events."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from flext_plugins import ConfigError, Stage, hookimpl
from flext_plugins.http import IDEMPOTENT, Origin

from . import names
from .collectors import collectors
from .events import EventCounter, code_of, kind_of
from .exemplar import Exemplars
from .instruments import MOST_SERIES, OTHER, FewSeries
from .settings import MetricsSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins import Connection, Operation, Proceed, Request, Response, Send, Service

    from .instruments import Gauge, Histogram, Instruments

METHODS = IDEMPOTENT | {"CONNECT", "PATCH", "POST", "QUERY"}
"""RFC 9110's, PATCH and QUERY; OpenTelemetry calls any other `_OTHER`."""


class _Instruments(NamedTuple):
    """The metrics of one kind of attempt, by method, status, error and route."""

    duration: Histogram
    exemplars: Exemplars
    request_sizes: Callable[[], Histogram] | None
    """A series begins with its first value, as OpenTelemetry has it."""
    response_ended: Callable[[BaseException | None, int], None] | None


class Metrics:
    """Measures a service's traffic, for Prometheus or OpenTelemetry.

    The metrics are in the `CollectorRegistry`, or go to the `MeterProvider`, that the application
    gave to `host.provide`, or else prometheus-client's default one or the global one.
    """

    Settings = MetricsSettings
    stage = Stage.ATTEMPT
    observer = True

    def __init__(self, settings: MetricsSettings, service: Service) -> None:
        self._metrics = FewSeries(_instruments(settings, service))
        self._service = service.name
        self._server = service.name, ""
        if service.base_url:
            origin = Origin.of(service.base_url)
            self._server = origin.host, str(origin.port or "")
        self._count_event = EventCounter(self._metrics, service.name)
        self._active: dict[str, Gauge] = {}
        self._instruments: dict[tuple[str, int, str, str], _Instruments] = {}

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
        if instruments.request_sizes is not None and "Content-Length" in request.headers:
            size = connection.size(request)
            if size is not None:
                instruments.request_sizes().observe(size)
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
        gauge = self._metrics.gauge(names.ACTIVE, self._service, method, *self._server)
        return self._active.setdefault(method, gauge)

    def _of(self, method: str, status: int, kind: str, route: str | None) -> _Instruments:
        key = method, status, kind, route or ""
        if (instruments := self._instruments.get(key)) is not None:
            return instruments
        http = (self._service, method, *self._server, str(status) if status else "")
        of = self._metrics.histogram
        instruments = _Instruments(
            of(names.DURATION, *http, kind, route or ""),
            Exemplars(names.SECONDS),
            partial(of, names.REQUEST_SIZE, *http) if status else None,
            _observer(of(names.RESPONSE_SIZE, *http)) if status else None,
        )
        if len(self._instruments) < MOST_SERIES:
            self._instruments[key] = instruments
        return instruments

    def _operation_of(self, operation: Operation, kind: str) -> Histogram:
        namespace = operation.attributes.get("namespace")
        if not isinstance(namespace, str):
            namespace = ""
        system = names.SYSTEMS.get(operation.system, operation.system)
        labels = system, operation.name, namespace, *_server_of(operation.target), kind
        return self._metrics.histogram(names.OPERATION, self._service, *labels)


def _instruments(settings: MetricsSettings, service: Service) -> Instruments:
    """The instruments of the exporter in the settings.

    Raises:
        ConfigError: it is not installed, or the registry has a metric of such a name.
    """
    if settings.exporter == "prometheus":
        return collectors(service)
    try:
        from .otel import instruments  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed: the extra `otel` of flext-plugins-metrics"
        raise ConfigError(f"exporter = 'otel': {missing}") from None
    return instruments(service)


@lru_cache(256)
def _server_of(target: str) -> tuple[str, str]:
    """The address and port of an operation's target; all of it is the address if it has none."""
    with suppress(ValueError):
        url = urlsplit(target if "://" in target else f"//{target}")
        if url.hostname:
            return url.hostname, str(url.port or "")
    return target, ""


def _observer(sizes: Histogram) -> Callable[[BaseException | None, int], None]:
    return lambda _, size: sizes.observe(size)
