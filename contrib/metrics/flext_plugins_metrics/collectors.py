"""The metrics of a Prometheus registry, made once for all services and hosts that use it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from flext_plugins import ConfigError

from .names import NAMES, Name

if TYPE_CHECKING:
    from flext_plugins import Service

    from .names import Kind

KINDS: dict[Kind, type[Counter | Gauge | Histogram]] = {
    "counter": Counter,
    "histogram": Histogram,
    "up-down counter": Gauge,
}


class Collectors:
    """The metrics in one registry.

    Raises:
        ConfigError: the registry has a metric of such a name that is not ours.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._by_name: dict[str, Counter | Gauge | Histogram] = {}
        for each in NAMES:
            try:
                self._by_name[each.name] = _collector(each, registry)
            except ValueError as error:
                for metric in self._by_name.values():
                    registry.unregister(metric)
                raise ConfigError(
                    f"the Prometheus registry already has a metric {each.prometheus!r}; give the "
                    "host another: host.provide(CollectorRegistry, CollectorRegistry())"
                ) from error

    def counter(self, name: Name, *values: str) -> Counter:
        """The counter of that name for these label values."""
        return cast("Counter", self._by_name[name.name].labels(*values))

    def gauge(self, name: Name, *values: str) -> Gauge:
        """The gauge of that name for these label values."""
        return cast("Gauge", self._by_name[name.name].labels(*values))

    def histogram(self, name: Name, *values: str) -> Histogram:
        """The histogram of that name for these label values."""
        return cast("Histogram", self._by_name[name.name].labels(*values))


def _collector(name: Name, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    options: dict[str, Any] = {"registry": registry}
    if name.buckets:
        options["buckets"] = name.buckets
    if name.processes:
        options["multiprocess_mode"] = name.processes
    return KINDS[name.kind](name.prometheus, name.help, name.labels, **options)


_lock = threading.RLock()
_by_registry: WeakKeyDictionary[CollectorRegistry, Collectors] = WeakKeyDictionary()


def collectors(service: Service) -> Collectors:
    """The collectors of the registry that the application provided, or of prometheus-client's own.

    Raises:
        ConfigError: the registry has a metric of such a name that is not ours.
    """
    registry = service.resource(CollectorRegistry, None)
    if registry is None:
        registry = REGISTRY
    with _lock:
        if (known := _by_registry.get(registry)) is None:
            known = _by_registry[registry] = Collectors(registry)
        return known
