"""Series that the plugin counts with, whichever exporter it is for."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Protocol

from flext_plugins.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from .names import Name

OTHER = "_OTHER"
"""Stands for all values beyond those that a label may have."""
MOST, MOST_SERIES = 100, 2000
"""Values of a label, and series of a metric, for each service; beyond them all is `_OTHER`."""
LONGEST = 200
"""Characters of a value."""


class Counter(Protocol):
    """Counts up."""

    def inc(self, amount: float = ..., /) -> None: ...


class Gauge(Protocol):
    """Shows what is now."""

    def inc(self, amount: float = ..., /) -> None: ...
    def dec(self, amount: float = ..., /) -> None: ...
    def set(self, value: float, /) -> None: ...


class Histogram(Protocol):
    """Sorts values into buckets."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = ..., /) -> None: ...


class Instruments(Protocol):
    """All of them; `values` are those of a metric's attributes, in their order, empty for none."""

    def counter(self, name: Name, *values: str) -> Counter: ...
    def gauge(self, name: Name, *values: str) -> Gauge: ...
    def histogram(self, name: Name, *values: str) -> Histogram: ...


class LabelValues:
    """Keeps a label's values few: the first 100 stay what they are, the others are `_OTHER`."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return `value`, escaped and cut as far as it has to be, or `_OTHER` if there are enough.

        Exporters write UTF-8, and lose all that goes with what cannot be written so.
        """
        if value in self._values:
            return value
        value = printable(value, LONGEST)
        if value not in self._values:
            if len(self._values) >= MOST:
                return OTHER
            self._values.add(value)
        return value


class FewSeries:
    """One service's series, of which there are few, whatever callers and services say.

    Args:
        instruments: make the series; the first attribute of each is the service's name.
    """

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._values: defaultdict[tuple[str, str], LabelValues] = defaultdict(LabelValues)
        self._series: defaultdict[str, dict[tuple[str, ...], Any]] = defaultdict(dict)

    def counter(self, name: Name, *values: str) -> Counter:
        """The counter of that name for these label values."""
        counter: Counter = self._of(self._instruments.counter, name, values)
        return counter

    def gauge(self, name: Name, *values: str) -> Gauge:
        """The gauge of that name for these label values."""
        gauge: Gauge = self._of(self._instruments.gauge, name, values)
        return gauge

    def histogram(self, name: Name, *values: str) -> Histogram:
        """The histogram of that name for these label values."""
        histogram: Histogram = self._of(self._instruments.histogram, name, values)
        return histogram

    def _of(self, make: Callable[..., Any], name: Name, values: tuple[str, ...]) -> Any:
        known = self._series[name.name]
        if (series := known.get(values)) is not None:
            return series
        service, *others = values
        pairs = zip(name.attributes[1:], others, strict=True)
        few = [value and self._values[name.name, label](value) for label, value in pairs]
        if (service, *few) not in known and len(known) >= MOST_SERIES:
            few = [value and OTHER for value in few]
        series = known.get((service, *few))
        if series is None:
            series = known.setdefault((service, *few), make(name, service, *few))
        return series
