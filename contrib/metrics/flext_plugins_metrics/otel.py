"""The metrics as OpenTelemetry's instruments."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import Meter, MeterProvider, get_meter_provider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from .instruments import OTHER
from .names import NAMES, Name

if TYPE_CHECKING:
    from flext_plugins import Service

VERSION = "1.0.0"
NUMBERS = {"http.response.status_code", "server.port"}
"""Attributes that are numbers by the conventions."""


class Series:
    """One instrument with the attributes of one series, used as one of prometheus-client's is."""

    __slots__ = ("_attributes", "_instrument", "_values")

    def __init__(
        self, instrument: Any, attributes: dict[str, str | int], values: dict[object, float]
    ) -> None:
        self._instrument, self._attributes, self._values = instrument, attributes, values

    def inc(self, amount: float = 1, /) -> None:
        """Add `amount`."""
        self._instrument.add(amount, self._attributes)

    def dec(self, amount: float = 1, /) -> None:
        """Take `amount` off."""
        self._instrument.add(-amount, self._attributes)

    def set(self, value: float, /) -> None:
        """Put `value` in place of what was there.

        A synchronous gauge would be shown only once in some versions of the SDK, and with delta
        temporality in all.
        """
        key = self._instrument, frozenset(self._attributes.items())
        with _lock:
            before = self._values.get(key, 0)
            self._values[key] = value
            self._instrument.add(value - before, self._attributes)

    def observe(self, amount: float, exemplar: dict[str, str] | None = None, /) -> None:
        """Record `amount`, of that trace or of the current one."""
        context = None if exemplar is None else _context(**exemplar)
        self._instrument.record(amount, self._attributes, context)


class MeterInstruments:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._values: dict[object, float] = {}
        """What each series was last set to."""
        self._by_name = {each.name: _instrument(each, meter) for each in NAMES}

    def series(self, name: Name, *values: str) -> Series:
        """The series of that instrument; an empty value is no attribute."""
        attributes: dict[str, str | int] = {
            key: int(value) if key in NUMBERS and value != OTHER else value
            for key, value in zip(name.attributes, values, strict=True)
            if value
        }
        return Series(self._by_name[name.name], attributes, self._values)

    counter = gauge = histogram = series


_lock = threading.RLock()  # the collector may come back here
_by_provider: WeakKeyDictionary[MeterProvider, MeterInstruments] = WeakKeyDictionary()


def instruments(service: Service) -> MeterInstruments:
    """The instruments of the provider that the application provided, or of the global one.

    The global one may be set later; what is counted before is lost.
    """
    provider: MeterProvider | None = service.resource(MeterProvider, None)  # type: ignore[type-abstract]
    sdk = sys.modules.get("opentelemetry.sdk.metrics")
    if provider is None and sdk is not None:
        provider = service.resource(sdk.MeterProvider, None)
    if provider is None:
        provider = get_meter_provider()
    with _lock:
        if (known := _by_provider.get(provider)) is None:
            known = MeterInstruments(provider.get_meter(__package__, VERSION))
            _by_provider[provider] = known
        return known


def _instrument(name: Name, meter: Meter) -> Any:
    match name.kind:
        case "counter":
            return meter.create_counter(name.name, name.unit, name.help)
        case "up-down counter":
            return meter.create_up_down_counter(name.name, name.unit, name.help)
        case "histogram":
            bounds = name.buckets
            return meter.create_histogram(
                name.name, name.unit, name.help, explicit_bucket_boundaries_advisory=bounds
            )


def _context(trace_id: str, span_id: str) -> Context:
    """A context in which that span is the current one."""
    sampled = TraceFlags(TraceFlags.SAMPLED)
    span = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=sampled)
    return trace.set_span_in_context(NonRecordingSpan(span), Context())
