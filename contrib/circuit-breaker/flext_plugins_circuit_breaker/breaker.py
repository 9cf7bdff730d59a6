"""One circuit: a state machine under a lock that is never held across a call; no I/O."""

from __future__ import annotations

import threading
import time
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from flext_plugins import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import CircuitBreakerSettings


class CircuitOpen(Refused):
    """The target has kept failing, so nothing was sent; `retry_after` says when to try again."""


class State(Enum):
    """What a circuit does with the next call."""

    CLOSED = "closed"
    """Lets it pass."""
    OPEN = "open"
    """Refuses it."""
    HALF_OPEN = "half-open"
    """Lets a few pass as probes and refuses the others."""


class Change(NamedTuple):
    """A change of state, to be told once the lock is free."""

    old: State
    new: State
    reason: str


class Breaker:
    """The circuit of one target.

    `admit` a call, then say what became of it with `succeeded`, `failed` or `dropped` and the
    generation that `admit` gave. Each change of state begins a generation; what was admitted in an
    earlier one counts for nothing.

    Args:
        target: what is guarded, for messages.
        settings: thresholds and times.
        clock: seconds that only ever go forward.
    """

    def __init__(
        self,
        target: str,
        settings: CircuitBreakerSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.target = target
        self._settings, self._clock = settings, clock
        self._lock = threading.Lock()
        self._state = State.CLOSED
        self._generation = 0
        self._count = 0  # consecutive failures while closed, successes while half-open
        self._probing = 0
        self._probe_at = 0.0

    @property
    def state(self) -> State:
        """What it is in now; an open one changes when the next call comes, not by itself."""
        return self._state

    def admit(self) -> tuple[int, Change | None]:
        """The generation under which a call may go out, and the change that this made.

        Raises:
            CircuitOpen: it may not.
        """
        with self._lock:
            if self._state is State.CLOSED:
                return self._generation, None
            change = None
            if self._state is State.OPEN:
                left = self._probe_at - self._clock()
                if left > 0:
                    raise self._refusal("open", left)
                waited = f"{self._settings.recovery_timeout:g} s have passed"
                change = self._become(State.HALF_OPEN, waited)
            if self._probing >= self._settings.half_open_calls:
                # Nobody knows when the probes will be back; refusing again costs next to nothing.
                raise self._refusal("being probed", min(1.0, self._settings.recovery_timeout))
            self._probing += 1
            return self._generation, change

    def succeeded(self, generation: int) -> Change | None:
        """The call came back well."""
        with self._lock:
            if generation != self._generation:
                return None
            if self._state is State.CLOSED:
                self._count = 0
                return None
            self._probing -= 1
            self._count += 1
            if self._count < self._settings.half_open_calls:
                return None
            return self._become(State.CLOSED, f"successful probes: {self._count}")

    def failed(self, generation: int, reason: str) -> Change | None:
        """The call failed, and it was the target's doing."""
        with self._lock:
            if generation != self._generation:
                return None
            if self._state is State.HALF_OPEN:
                return self._become(State.OPEN, f"a probe failed: {reason}")
            self._count += 1
            if self._count < self._settings.failure_threshold:
                return None
            failures = f"consecutive failures: {self._count}, the last one: {reason}"
            return self._become(State.OPEN, failures)

    def dropped(self, generation: int) -> None:
        """The call ended in a way that says nothing about the target."""
        with self._lock:
            if generation == self._generation and self._state is State.HALF_OPEN:
                self._probing -= 1

    def _become(self, state: State, reason: str) -> Change:
        change = Change(self._state, state, reason)
        self._state = state
        self._generation += 1
        self._count = self._probing = 0
        if state is State.OPEN:
            self._probe_at = self._clock() + self._settings.recovery_timeout
        return change

    def _refusal(self, condition: str, seconds: float) -> CircuitOpen:
        message = f"the circuit for {self.target} is {condition}; try again in {seconds:.1f} s"
        return CircuitOpen(message, retry_after=seconds)
