"""Windows over the latest calls, in memory that does not grow with their number."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol

BUCKETS = 10
"""Parts of a window of seconds, which forgets one part at a time."""


class Totals(NamedTuple):
    """The calls in a window."""

    calls: int = 0
    failures: int = 0
    slow: int = 0


class Window(Protocol):
    """The latest calls."""

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """Note a call that ended."""

    def totals(self, now: float) -> Totals:
        """Add up the calls in the window."""


class CallWindow:
    """The latest `size` calls: a ring."""

    def __init__(self, size: int) -> None:
        self._calls: deque[tuple[bool, bool]] = deque(maxlen=size)
        self._failures = self._slow = 0

    def add(self, now: float, *, failed: bool, slow: bool) -> None:  # noqa: ARG002
        if len(self._calls) == self._calls.maxlen:
            was_failed, was_slow = self._calls[0]
            self._failures -= was_failed
            self._slow -= was_slow
        self._calls.append((failed, slow))
        self._failures += failed
        self._slow += slow

    def totals(self, now: float) -> Totals:  # noqa: ARG002
        return Totals(len(self._calls), self._failures, self._slow)


class TimeWindow:
    """The calls of the latest `seconds`, to the tenth: a ring of buckets."""

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self._buckets: deque[tuple[int, Totals]] = deque(maxlen=BUCKETS)

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        bucket, totals = int(now // self._width), Totals()
        if self._buckets and self._buckets[-1][0] == bucket:
            totals = self._buckets.pop()[1]
        added = Totals(totals.calls + 1, totals.failures + failed, totals.slow + slow)
        self._buckets.append((bucket, added))

    def totals(self, now: float) -> Totals:
        first = now // self._width - BUCKETS
        inside = [totals for bucket, totals in self._buckets if bucket > first]
        return Totals(*map(sum, zip(*inside, strict=True))) if inside else Totals()


def window_of(size: int | str) -> Window:
    """Make a window of `size` calls, or of seconds if it ends with an `s`."""
    return CallWindow(size) if isinstance(size, int) else TimeWindow(float(size.rstrip("s")))
