"""The state machine against a model of it that remembers everything and knows no generations."""

from collections.abc import Callable

from flext_plugins_circuit_breaker import CircuitBreakerSettings, CircuitOpen, State
from flext_plugins_circuit_breaker.breaker import Breaker, Permit
from flext_plugins_circuit_breaker.verdict import NEUTRAL, SUCCESS, Verdict
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

VERDICTS = {
    "success": SUCCESS,
    "neutral": NEUTRAL,
    "failure": Verdict(failed=True, reason="read"),
    "busy": Verdict(failed=True, reason="status 503", retry_after=7),
    "limited": Verdict(failed=None, reason="status 429", retry_after=4),
}
WINDOW, RATE, LEAST, TIMEOUT, MOST, SLOW, PATIENCE = 5, 0.6, 3, 10.0, 50.0, 2.0, 5.0


class Model:
    """What a circuit is to do, told as plainly as possible."""

    def __init__(self, threshold: int, probes: int) -> None:
        self.threshold, self.probes = threshold, probes
        self.era, self.span, self.asked_until = 0, 0.0, 0.0
        self.become(State.CLOSED, 0)

    def become(self, state: State, now: float) -> None:
        self.state = state
        self.era += 1
        if state is State.OPEN:
            asked = min(self.asked_until - now, MOST)
            again = min(2 * self.span, MOST) if self.span else TIMEOUT
            self.span = again
            self.until = now + (asked if asked > 0 else again)
        elif state is not State.HALF_OPEN:
            self.span = 0.0
        self.ended: list[tuple[bool, bool]] = []
        self.under_way: dict[int, float] = {}
        self.asked_until = 0.0

    def admits(self, number: int, now: float) -> bool:
        if self.state is State.OPEN and now >= self.until:
            self.become(State.HALF_OPEN, now)
        if self.state is State.HALF_OPEN:
            self.forget(now)
            if len(self.under_way) >= self.probes:
                return False
            self.under_way[number] = now + PATIENCE + TIMEOUT
            return True
        return self.state is State.CLOSED

    def forget(self, now: float) -> None:
        for number in [each for each, until in self.under_way.items() if until <= now]:
            del self.under_way[number]

    def mark_answered(self, number: int, now: float) -> None:
        if number in self.under_way:
            self.under_way[number] = now + TIMEOUT

    def ends(self, number: int, era: int, verdict: str, *, slow: bool, now: float) -> None:
        if era != self.era:
            return
        self.under_way.pop(number, None)
        asked = VERDICTS[verdict].retry_after
        if asked:
            self.asked_until = now + asked
        failed = verdict in {"failure", "busy"}
        if failed or verdict == "success":
            self.ended.append((failed, slow))
        if self.state is State.HALF_OPEN:
            if failed or verdict == "limited" or (slow and verdict == "success"):
                self.become(State.OPEN, now)
            elif len(self.ended) == self.probes:
                self.become(State.CLOSED, now)
        elif (failed or verdict == "success") and self.too_much():
            self.become(State.OPEN, now)

    def too_much(self) -> bool:
        row = [each for each, _ in self.ended[-self.threshold :]]
        latest = self.ended[-WINDOW:]
        return (len(row) == self.threshold and all(row)) or any(
            len(latest) >= LEAST and sum(kind) >= RATE * len(latest) - 1e-9
            for kind in zip(*latest, strict=True)
        )


class Circuits(RuleBasedStateMachine):
    """Calls that come, take their time, end somehow or never, and hands that interfere."""

    calls = Bundle("calls")

    @initialize(threshold=st.integers(1, 4), probes=st.integers(1, 3))
    def begin(self, threshold: int, probes: int) -> None:
        self.now, self.number = 0.0, 0
        self.model = Model(threshold, probes)
        uniform: Callable[[float, float], float] = lambda _, most: most  # noqa: E731
        made = CircuitBreakerSettings(
            failure_threshold=threshold,
            failure_rate=RATE,
            slow_rate=RATE,
            slow_call=SLOW,
            window=WINDOW,
            minimum_calls=LEAST,
            recovery_timeout=TIMEOUT,
            max_recovery_timeout=MOST,
            half_open_calls=probes,
        )
        self.breaker = Breaker("target", made, PATIENCE, lambda: self.now, uniform)

    @rule(seconds=st.sampled_from([0.5, 2.5, 4.0, 10.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=calls)
    def admit(self) -> object:
        self.number += 1
        expected = self.model.admits(self.number, self.now)
        try:
            permit, _ = self.breaker.admit()
        except CircuitOpen as error:
            assert not expected
            wait = error.retry_after
            assert (wait is None) == (self.model.state is State.FORCED_OPEN)
            if self.model.state is State.OPEN:
                assert wait == self.model.until - self.now
            return multiple()
        assert expected
        return permit, self.number, self.model.era, self.now

    @rule(target=calls, call=consumes(calls))
    def answer(self, call: tuple[Permit, int, int, float]) -> object:
        permit, number, _, _ = call
        if permit.answered_at is None:
            self.breaker.mark_answered(permit)
            self.model.mark_answered(number, self.now)
        return call

    @rule(call=consumes(calls), verdict=st.sampled_from(sorted(VERDICTS)))
    def settle(self, call: tuple[Permit, int, int, float], verdict: str) -> None:
        permit, number, era, since = call
        until = self.now if permit.answered_at is None else permit.answered_at
        slow = until - since > SLOW
        self.model.ends(number, era, verdict, slow=slow, now=self.now)
        self.breaker.settle(permit, VERDICTS[verdict])

    @rule()
    def trip(self) -> None:
        if self.model.state is not State.FORCED_OPEN:
            self.model.become(State.FORCED_OPEN, self.now)
        self.breaker.trip()

    @rule()
    def reset(self) -> None:
        self.model.become(State.CLOSED, self.now)
        self.breaker.reset()

    @invariant()
    def they_agree(self) -> None:
        assert self.breaker.state is self.model.state
        latest = self.model.ended[-WINDOW:]
        counts = self.breaker.counts
        assert counts.calls == len(latest)
        assert counts.failures == sum(failed for failed, _ in latest)
        assert counts.slow_calls == sum(slow for _, slow in latest)


TestCircuits = Circuits.TestCase
TestCircuits.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
