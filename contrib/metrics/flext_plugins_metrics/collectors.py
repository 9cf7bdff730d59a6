"""The metrics in one registry, made once for all services and hosts that use it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from flext_plugins import ConfigError

from .names import NAMES, Name

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

OTHER = "_OTHER"
"""What stands for all values beyond those that a label may have."""
MOST = 100


class Collectors:
    """The metrics in one registry.

    Raises:
        ConfigError: the registry has a metric of such a name that is not ours.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        for each in NAMES:
            try:
                self._made[each.name] = _made(each, registry)
            except ValueError as error:
                for metric in self._made.values():
                    registry.unregister(metric)
                raise ConfigError(
                    f"the Prometheus registry already has a metric {each.name!r}; give the host "
                    "another: host.provide(CollectorRegistry, CollectorRegistry())"
                ) from error

    def counter(self, name: Name, *labels: str) -> Counter:
        """The counter with these values of its labels."""
        return cast("Counter", self._made[name.name].labels(*labels))

    def gauge(self, name: Name, *labels: str) -> Gauge:
        """The gauge with these values of its labels."""
        return cast("Gauge", self._made[name.name].labels(*labels))

    def histogram(self, name: Name, *labels: str) -> Histogram:
        """The histogram with these values of its labels."""
        return cast("Histogram", self._made[name.name].labels(*labels))


def _made(name: Name, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    options: dict[str, Any] = {"registry": registry}
    if name.buckets:
        options["buckets"] = name.buckets
    if name.processes:
        options["multiprocess_mode"] = name.processes
    return name.kind(name.name, name.help, name.labels, **options)


_lock = threading.Lock()
_known: WeakKeyDictionary[CollectorRegistry, Collectors] = WeakKeyDictionary()


def collectors(registry: CollectorRegistry) -> Collectors:
    """Those in `registry`, made if there are none.

    Raises:
        ConfigError: the registry has a metric of such a name that is not ours.
    """
    with _lock:
        if (found := _known.get(registry)) is None:
            found = _known[registry] = Collectors(registry)
        return found


class Bounded:
    """Keeps a label's values few: the first 100 stay what they are, the others are `_OTHER`."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """`value`, or what stands for it."""
        if value not in self._known:
            if len(self._known) >= MOST:
                return OTHER
            self._known.add(value)
        return value
