"""The metrics of a registry, made once for all services and hosts that use it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from flext_plugins import ConfigError

from .names import NAMES, Name

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

OTHER = "_OTHER"
"""Stands for all values beyond those that a label may have."""
MOST = 100


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
                    f"the Prometheus registry already has a metric {each.name!r}; give the host "
                    "another: host.provide(CollectorRegistry, CollectorRegistry())"
                ) from error

    def counter(self, name: Name, *labels: str) -> Counter:
        """The counter of that name for these label values."""
        return cast("Counter", self._by_name[name.name].labels(*labels))

    def gauge(self, name: Name, *labels: str) -> Gauge:
        """The gauge of that name for these label values."""
        return cast("Gauge", self._by_name[name.name].labels(*labels))

    def histogram(self, name: Name, *labels: str) -> Histogram:
        """The histogram of that name for these label values."""
        return cast("Histogram", self._by_name[name.name].labels(*labels))


def _collector(name: Name, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    options: dict[str, Any] = {"registry": registry}
    if name.buckets:
        options["buckets"] = name.buckets
    if name.processes:
        options["multiprocess_mode"] = name.processes
    return name.kind(name.name, name.help, name.labels, **options)


_lock = threading.RLock()
_by_registry: WeakKeyDictionary[CollectorRegistry, Collectors] = WeakKeyDictionary()


def collectors(registry: CollectorRegistry) -> Collectors:
    """The collectors of `registry`, made if it has none.

    Raises:
        ConfigError: the registry has a metric of such a name that is not ours.
    """
    with _lock:
        if (known := _by_registry.get(registry)) is None:
            known = _by_registry[registry] = Collectors(registry)
        return known


class LabelValues:
    """Keeps a label's values few: the first 100 stay what they are, the others are `_OTHER`."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return `value`, or `_OTHER` if there are enough already.

        What is no Unicode, such as half a surrogate pair, is escaped: the page is UTF-8.
        """
        if value in self._values:
            return value
        value = value.encode(errors="backslashreplace").decode()
        if value not in self._values:
            if len(self._values) >= MOST:
                return OTHER
            self._values.add(value)
        return value
