"""One circuit: a state machine whose lock is never held across a call; no I/O."""

from __future__ import annotations

import math
import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from flext_plugins import Refused

from .window import window_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import CircuitBreakerSettings
    from .verdict import Verdict


class CircuitOpen(Refused):
    """The target has kept failing, so it was left alone; `retry_after` says when to try again.

    Attributes:
        reason: why the circuit opened, the last time.
        since: the time of the clock on the wall, in seconds, from which on calls are refused: of
            several openings without a closing in between, the first.
    """

    reason: str = ""
    since: float | None = None


class State(Enum):
    """The state of a circuit: what it does with the next call."""

    CLOSED = "closed"
    """Lets it pass."""
    OPEN = "open"
    """Refuses it."""
    HALF_OPEN = "half-open"
    """Lets a few pass as probes and refuses the others."""
    FORCED_OPEN = "forced-open"
    """Refuses it until `reset()`."""
    DISABLED = "disabled"
    """Lets it pass, whatever its outcome."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers counted since the circuit entered its state."""

    calls: int
    """Calls in the window that succeeded or failed."""
    failures: int
    """Failures among `calls`."""
    slow_calls: int
    """Slow ones among `calls`."""
    consecutive_failures: int
    """Failures since the last success."""
    refusals: int
    """Calls refused since the last `reset()`."""


class Change(NamedTuple):
    """A change of state, to be announced once the lock is free."""

    old: State
    new: State
    reason: str


class Phase:
    """One stay in a state: the calls that it admits are a generation, which it counts."""

    def __init__(
        self, state: State, now: float, seconds: float, window: int | str, reason: str = ""
    ) -> None:
        self.state, self.seconds, self.until = state, seconds, now + seconds
        self.reason, self.since = reason, time.time()
        self.admits = state in {State.CLOSED, State.DISABLED}
        self.window = window_of(window)
        self.failures = self.successes = 0  # consecutive ones
        self.last = ""  # why the latest failure was one
        self.retry_at = -math.inf  # when the target wants to be called again
        self.leases: dict[Permit, float] = {}  # probes under way, and when each lapses


class Permit:
    """Permission for one call, of the generation that it carries."""

    __slots__ = ("answered_at", "phase", "started_at")

    def __init__(self, phase: Phase, started_at: float) -> None:
        self.phase, self.started_at = phase, started_at
        self.answered_at: float | None = None


class Breaker:
    """The circuit of one target.

    `admit` a call, then `settle` its outcome. Each change of state begins a new generation, and
    calls of earlier ones no longer count. A permit that is never settled costs nothing while the
    circuit is closed; a probe's is a lease, which lapses `recovery_timeout` after the headers came
    or should have come.

    Args:
        target: names what is guarded, in messages.
        settings: thresholds and times.
        patience: seconds that a call may take until its headers come.
        clock: tells seconds, and never goes back.
        uniform: picks a random number between two.
    """

    def __init__(
        self,
        target: str,
        settings: CircuitBreakerSettings,
        patience: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.target = target
        self._settings, self._patience = settings, patience
        self._clock, self._uniform = clock, uniform
        # Reentrant: a call that is garbage-collected, or a signal's handler, may come in between.
        self._lock = threading.RLock()
        self._refusals = 0
        self._last_failure = ""
        self._outage: tuple[str, float] | None = None  # why and since when calls are refused
        self._span = 0.0  # how long the next opening lasts at most; 0 for the first
        self._at_rest = State.DISABLED if settings.disabled else State.CLOSED
        state = State.FORCED_OPEN if settings.forced_open else self._at_rest
        self._phase = Phase(state, 0, 0, settings.window)
        if settings.forced_open:
            self._outage = "the settings say so", self._phase.since

    @property
    def state(self) -> State:
        """The present state; an open circuit changes when the next call comes, not by itself."""
        return self._phase.state

    @property
    def since(self) -> float:
        """The time of the clock on the wall, in seconds, at which it entered its state."""
        return self._phase.since

    @property
    def reason(self) -> str:
        """The reason for its latest change of state, or an empty text."""
        return self._phase.reason

    @property
    def retry_after(self) -> float | None:
        """The seconds until it may be probed, where it is open; 0 if the next call probes it."""
        phase = self._phase
        return max(0.0, phase.until - self._clock()) if phase.state is State.OPEN else None

    @property
    def last_failure(self) -> str:
        """The reason for which the latest failure was one, whenever; empty if there was none."""
        return self._last_failure

    @property
    def counts(self) -> Counts:
        """The numbers counted since the circuit entered its state."""
        with self._lock:
            totals = self._phase.window.totals(self._clock())
            return Counts(*totals, self._phase.failures, self._refusals)

    def admit(self) -> tuple[Permit, Change | None]:
        """Give a permit for a call, and the change of state that this caused.

        Raises:
            CircuitOpen: the call may not be sent.
        """
        phase = self._phase  # read once; the state of a phase never changes, so no lock is needed
        if phase.admits:
            return Permit(phase, self._clock()), None
        with self._lock:
            now, change = self._clock(), None
            if self._phase.state is State.OPEN and now >= self._phase.until:
                change = self._become(
                    State.HALF_OPEN, f"{self._phase.seconds:g} s have passed", now
                )
            return self._lease(self._phase, now), change

    def _lease(self, phase: Phase, now: float) -> Permit:
        permit = Permit(phase, now)
        if phase.admits:  # somebody closed it meanwhile
            return permit
        if phase.state is State.FORCED_OPEN:
            raise self._refusal("held open until it is reset,")
        if phase.state is State.OPEN:
            raise self._refusal("open", phase.until - now)
        phase.leases = {each: end for each, end in phase.leases.items() if end > now}
        if len(phase.leases) >= self._settings.half_open_calls:
            # Nobody knows when the probes will be back; refusing again costs next to nothing.
            raise self._refusal("being probed", min(1.0, self._settings.recovery_timeout))
        phase.leases[permit] = now + self._patience + self._settings.recovery_timeout
        return permit

    def mark_answered(self, permit: Permit) -> None:
        """Note that the headers came: the time that a caller takes to read the body is its own."""
        permit.answered_at = self._clock()
        if not permit.phase.admits:
            with self._lock:
                leases = permit.phase.leases
                if permit in leases:
                    leases[permit] = permit.answered_at + self._settings.recovery_timeout

    def settle(self, permit: Permit, verdict: Verdict) -> Change | None:
        """Count the outcome of a call; returns the change of state that this caused."""
        with self._lock:
            phase, now = self._phase, self._clock()
            if permit.phase is not phase:
                return None
            phase.leases.pop(permit, None)
            if verdict.retry_after is not None:
                phase.retry_at = now + verdict.retry_after
            if verdict.failed is not None:
                return self._count(phase, permit, verdict, now)
            if phase.state is State.HALF_OPEN and phase.retry_at > now:
                return self._become(State.OPEN, f"a probe was put off: {verdict.reason}", now)
            return None

    def _count(self, phase: Phase, permit: Permit, verdict: Verdict, now: float) -> Change | None:
        limit, ended = self._settings.slow_call, permit.answered_at
        seconds = (now if ended is None else ended) - permit.started_at
        slow = limit is not None and seconds > limit
        phase.window.add(now, failed=bool(verdict.failed), slow=slow)
        if verdict.failed:
            phase.failures, phase.successes, phase.last = phase.failures + 1, 0, verdict.reason
            self._last_failure = verdict.reason
        else:
            phase.failures, phase.successes = 0, phase.successes + 1
        if phase.state is State.HALF_OPEN:
            if phase.failures or slow:
                reason = f"a probe failed: {phase.last}" if phase.failures else "a probe was slow"
                return self._become(State.OPEN, reason, now)
            if phase.successes < self._settings.half_open_calls:
                return None
            return self._become(State.CLOSED, f"successful probes: {phase.successes}", now)
        if phase.state is State.CLOSED and (reason := self._too_much(phase, now)):
            return self._become(State.OPEN, reason, now)
        return None

    def _too_much(self, phase: Phase, now: float) -> str:
        """The reason to open the circuit, or an empty text."""
        settings, last = self._settings, f"the last one: {phase.last}"
        most = settings.failure_threshold
        if most is not None and phase.failures >= most:
            return f"consecutive failures: {phase.failures}, {last}"
        if settings.failure_rate is None and settings.slow_rate is None:
            return ""
        calls, failures, slow = phase.window.totals(now)
        if calls < settings.minimum_calls:
            return ""
        if settings.failure_rate is not None and failures / calls >= settings.failure_rate:
            return f"failures: {failures} of {calls} calls, {last}"
        if settings.slow_rate is not None and slow / calls >= settings.slow_rate:
            return f"slow calls: {slow} of {calls}"
        return ""

    def trip(self, where: str = "") -> Change | None:
        """Refuse every call until `reset`; returns the change of state that this caused."""
        with self._lock:
            if self._phase.state is State.FORCED_OPEN:
                return None
            return self._become(State.FORCED_OPEN, f"tripped by hand{where}", self._clock())

    def reset(self, where: str = "") -> Change | None:
        """Begin anew, with nothing counted; returns the change of state that this caused."""
        with self._lock:
            self._refusals, self._last_failure = 0, ""
            change = self._become(self._at_rest, f"reset by hand{where}", self._clock())
            return None if change.old is change.new else change

    def _become(self, state: State, reason: str, now: float) -> Change:
        old, seconds = self._phase, 0.0
        if state is State.OPEN:
            seconds = self._open_seconds(old.retry_at - now)
        elif state is not State.HALF_OPEN:
            self._span = 0.0
        self._phase = phase = Phase(state, now, seconds, self._settings.window, reason)
        if phase.admits:
            self._outage = None
        elif state is not State.HALF_OPEN:
            self._outage = reason, self._outage[1] if self._outage else phase.since
        return Change(old.state, state, reason)

    def _open_seconds(self, wish: float) -> float:
        """Choose how long to stay open: as the settings say, then up to twice as long each time.

        If the target wishes a wait of its own, that one is taken.
        """
        first, most = self._settings.recovery_timeout, self._settings.max_recovery_timeout
        again = self._span > 0
        self._span = min(most, self._span * 2) if again else first
        if wish > 0:
            return min(wish, most)
        return self._uniform(max(first, self._span / 2), self._span) if again else first

    def _refusal(self, condition: str, seconds: float | None = None) -> CircuitOpen:
        self._refusals += 1
        reason, since = self._outage or ("", time.time())
        clock = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        when = "" if seconds is None else f"; try again in {seconds:.1f} s"
        message = f"the circuit for {self.target} is {condition} since {clock}: {reason}{when}"
        error = CircuitOpen(message, retry_after=seconds)
        error.reason, error.since = reason, since
        return error
