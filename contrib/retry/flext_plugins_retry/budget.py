"""Limits resends to a share of a service's traffic, so that retries do not feed an outage."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = 10
"""Seconds of traffic that count."""


@dataclass(slots=True)
class _Second:
    number: int = -WINDOW
    calls: int = 0
    resends: int = 0


class Usage(NamedTuple):
    """The use that was made of a budget."""

    calls: int
    resends: int
    left: int
    """Resends that may be made now."""


class Budget:
    """A share of the last ten seconds' calls, plus a floor; exact to a second, for any threads.

    The rule is that of Finagle's `RetryBudget`, which allows 20 % and ten resends a second. The
    floor here is ten in ten seconds: every process that talks to the service has one.

    Args:
        share: resends for each call.
        floor: resends beside those.
        clock: tells seconds, and never goes back.
    """

    def __init__(
        self, share: float, floor: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._share, self._floor, self._clock = share, floor, clock
        self._lock = threading.RLock()
        self._ring = [_Second() for _ in range(WINDOW)]

    def note_call(self) -> None:
        """Note a first attempt, of which a share may be resent."""
        with self._lock:
            self._now().calls += 1

    def take(self) -> bool:
        """Take one resend from the budget; whether it had one left."""
        with self._lock:
            if self.usage().left < 1:
                return False
            self._now().resends += 1
            return True

    def usage(self) -> Usage:
        """The usage in the last ten seconds."""
        with self._lock:
            now = self._now()
            recent = [each for each in self._ring if each.number > now.number - WINDOW]
            calls = sum(each.calls for each in recent)
            resends = sum(each.resends for each in recent)
            return Usage(calls, resends, max(0, int(self._floor + self._share * calls) - resends))

    def _now(self) -> _Second:
        number = int(self._clock())
        place = number % WINDOW
        if self._ring[place].number != number:
            self._ring[place] = _Second(number)
        return self._ring[place]
