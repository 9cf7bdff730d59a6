"""The state machine by itself, under a clock of the test's own."""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flext_plugins_circuit_breaker import CircuitBreakerSettings, CircuitOpen, Counts, State
from flext_plugins_circuit_breaker.breaker import Breaker, Change, Permit
from flext_plugins_circuit_breaker.verdict import NEUTRAL, SUCCESS, Verdict

PATIENCE = 5.0
FAILURE = Verdict(failed=True, reason="connect")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def longest(_: float, most: float) -> float:
    """A random number that never varies."""
    return most


def breaker(
    clock: Clock, uniform: Callable[[float, float], float] = longest, **settings: object
) -> Breaker:
    given = {"failure_threshold": 2, "recovery_timeout": 10, **settings}
    return Breaker(
        "http://h:1", CircuitBreakerSettings.model_validate(given), PATIENCE, clock, uniform
    )


def opened(clock: Clock, **settings: Any) -> Breaker:
    made = breaker(clock, **{"failure_threshold": 1, **settings})
    ends(made, FAILURE)
    assert state(made) is State.OPEN
    return made


def ends(made: Breaker, verdict: Verdict) -> Change | None:
    """A call that ends so."""
    return made.settle(made.admit()[0], verdict)


def admitted(made: Breaker) -> Permit:
    return made.admit()[0]


def state(made: Breaker) -> State:
    return made.state  # a call, so that mypy does not take it for unchanging


def refusal(made: Breaker) -> CircuitOpen:
    with pytest.raises(CircuitOpen) as caught:
        made.admit()
    return caught.value


def test_consecutive_failures_open_it_and_a_success_in_between_starts_anew(clock: Clock) -> None:
    made = breaker(clock)
    assert ends(made, FAILURE) is None
    assert ends(made, SUCCESS) is None
    assert ends(made, FAILURE) is None
    change = ends(made, Verdict(failed=True, reason="status 503"))
    assert change == (
        State.CLOSED,
        State.OPEN,
        "consecutive failures: 2, the last one: status 503",
    )


def test_what_says_nothing_of_the_target_neither_counts_nor_starts_anew(clock: Clock) -> None:
    """pybreaker, purgatory, aiobreaker: what they exclude is a success and resets the count."""
    made = breaker(clock)
    ends(made, FAILURE)
    ends(made, NEUTRAL)
    ends(made, FAILURE)
    assert state(made) is State.OPEN


def said(error: CircuitOpen) -> str:
    """What a refusal says of the circuit, its time left out."""
    text = str(error).removeprefix("the circuit for http://h:1 is ")
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", text)


def test_it_refuses_until_the_recovery_timeout_has_passed_and_says_how_long(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 7.75
    error = refusal(made)
    assert error.retry_after == 2.25
    assert error.reason == "consecutive failures: 1, the last one: connect"
    assert said(error) == f"open since TIME: {error.reason}; try again in 2.2 s"
    clock.now += 2.25
    _, change = made.admit()
    assert change == (State.OPEN, State.HALF_OPEN, "10 s have passed")


def test_while_it_is_probed_others_are_told_to_try_again_soon(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 10
    made.admit()
    error = refusal(made)
    assert error.retry_after == 1.0
    why = "consecutive failures: 1, the last one: connect"
    assert said(error) == f"being probed since TIME: {why}; try again in 1.0 s"


def test_a_successful_probe_closes_it_and_the_count_starts_anew(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 10
    change = ends(made, SUCCESS)
    assert change == (State.HALF_OPEN, State.CLOSED, "successful probes: 1")
    assert made.admit()[1] is None
    assert made.counts == Counts(0, 0, 0, 0, 0)


def test_a_failed_probe_opens_it_again(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 25
    change = ends(made, Verdict(failed=True, reason="timeout"))
    assert change == (State.HALF_OPEN, State.OPEN, "a probe failed: timeout")


def test_the_first_opening_lasts_exactly_and_the_next_grow_up_to_the_most(clock: Clock) -> None:
    made = opened(clock, max_recovery_timeout=70)
    lasted = [refusal(made).retry_after]
    for _ in range(4):
        clock.now += lasted[-1] or 0
        ends(made, FAILURE)
        lasted.append(refusal(made).retry_after)
    assert lasted == [10, 20, 40, 70, 70]
    clock.now += 70
    ends(made, SUCCESS)
    ends(made, FAILURE)
    assert refusal(made).retry_after == 10


def test_repeated_openings_are_spread_so_that_many_programs_do_not_probe_at_once(
    clock: Clock,
) -> None:
    """Between the last time and the next, so never sooner than before."""
    asked: list[tuple[float, float]] = []

    def uniform(least: float, most: float) -> float:
        asked.append((least, most))
        return least

    made = breaker(clock, uniform, failure_threshold=1, max_recovery_timeout=70)
    ends(made, FAILURE)
    for _ in range(4):
        clock.now += refusal(made).retry_after or 0
        ends(made, FAILURE)
    assert asked == [(10, 20), (20, 40), (35, 70), (35, 70)]
    assert refusal(made).retry_after == 35


def test_it_stays_open_as_long_as_the_target_asks(clock: Clock) -> None:
    made = breaker(clock)
    ends(made, Verdict(failed=True, reason="status 503", retry_after=3))
    clock.now += 1
    ends(made, FAILURE)
    assert refusal(made).retry_after == 2
    clock.now += 2
    ends(made, Verdict(failed=True, reason="status 503", retry_after=25))
    assert refusal(made).retry_after == 25


@pytest.mark.parametrize("seconds", [301.0, 1e9, float("inf")])
def test_what_the_target_asks_for_is_capped(clock: Clock, seconds: float) -> None:
    """Or one bad answer takes the service away for years."""
    made = breaker(clock, failure_threshold=1)
    ends(made, Verdict(failed=True, reason="status 503", retry_after=seconds))
    assert refusal(made).retry_after == 300


def test_a_wish_that_has_passed_is_forgotten(clock: Clock) -> None:
    made = breaker(clock)
    ends(made, Verdict(failed=True, reason="status 503", retry_after=3))
    clock.now += 4
    ends(made, FAILURE)
    assert refusal(made).retry_after == 10


def test_a_rate_limit_does_not_open_it_but_puts_a_probe_off(clock: Clock) -> None:
    limited = Verdict(failed=None, reason="status 429", retry_after=30)
    made = breaker(clock)
    for _ in range(9):
        assert ends(made, limited) is None
    ends(made, FAILURE)
    ends(made, FAILURE)
    assert refusal(made).retry_after == 30
    clock.now += 30
    change = ends(made, limited)
    assert change == (State.HALF_OPEN, State.OPEN, "a probe was put off: status 429")
    assert refusal(made).retry_after == 30


def test_a_dropped_probe_gives_its_place_to_the_next_caller(clock: Clock) -> None:
    """resilience4j: a call whose outcome was ignored kept its place, and it stayed half-open."""
    made = opened(clock)
    clock.now += 10
    ends(made, NEUTRAL)
    assert state(made) is State.HALF_OPEN
    made.admit()
    refusal(made)


def test_so_many_probes_at_a_time_and_so_many_successes_as_half_open_calls_says(
    clock: Clock,
) -> None:
    made = opened(clock, half_open_calls=3)
    clock.now += 10
    permits = [admitted(made) for _ in range(3)]
    refusal(made)
    assert made.settle(permits[0], SUCCESS) is None
    permits.append(admitted(made))
    refusal(made)
    assert made.settle(permits[1], SUCCESS) is None
    assert state(made) is State.HALF_OPEN
    assert made.settle(permits[2], SUCCESS) is not None
    assert state(made) is State.CLOSED
    assert made.settle(permits[3], FAILURE) is None
    assert made.counts.failures == 0


def test_a_probe_that_is_never_heard_of_again_loses_its_place(clock: Clock) -> None:
    """resilience4j waits for ever for it, unless told otherwise."""
    made = opened(clock)
    clock.now += 10
    lost = admitted(made)
    clock.now += PATIENCE + 9.99
    refusal(made)
    clock.now += 0.01
    made.admit()
    refusal(made)
    assert made.settle(lost, SUCCESS) is not None  # late, but it did come back
    assert state(made) is State.CLOSED


def test_a_probe_whose_body_is_never_closed_loses_its_place(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 10
    lost = admitted(made)
    clock.now += 2
    made.mark_answered(lost)
    clock.now += 9.99
    refusal(made)
    clock.now += 0.01
    following = admitted(made)
    made.mark_answered(lost)  # too late: the place is another's
    refusal(made)
    made.settle(following, NEUTRAL)
    admitted(made)


@pytest.mark.parametrize("verdict", [SUCCESS, FAILURE, NEUTRAL])
def test_what_was_admitted_before_the_last_change_counts_for_nothing(
    clock: Clock, verdict: Verdict
) -> None:
    """pybreaker, purgatory, circuitbreaker, aiobreaker: a late result counts in the state it finds."""
    made = breaker(clock)
    late, *failing = [admitted(made) for _ in range(3)]
    for each in failing:
        made.settle(each, FAILURE)
    assert made.settle(late, verdict) is None
    assert state(made) is State.OPEN
    clock.now += 10
    probe = admitted(made)
    assert made.settle(late, verdict) is None
    assert state(made) is State.HALF_OPEN
    refusal(made)
    made.settle(probe, SUCCESS)
    made.settle(late, verdict)
    made.settle(probe, verdict)
    assert ends(made, FAILURE) is None
    assert ends(made, FAILURE) is not None


def test_many_threads_at_once_find_one_place(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 10
    ready = threading.Barrier(20)

    def ask() -> bool:
        ready.wait(10)
        try:
            made.admit()
        except CircuitOpen:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(lambda _: ask(), range(20))) == 1


def test_no_failure_of_many_threads_is_lost(clock: Clock) -> None:
    made = breaker(clock, failure_threshold=2000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ends(made, FAILURE), range(1999)))
    assert state(made) is State.CLOSED
    ends(made, FAILURE)
    assert state(made) is State.OPEN


def test_a_closed_circuit_lets_calls_pass_while_another_thread_counts(clock: Clock) -> None:
    """The closed path waits for no lock."""
    made = breaker(clock)
    with made._lock:
        caller = threading.Thread(target=admitted, args=(made,), daemon=True)
        caller.start()
        caller.join(10)
        assert not caller.is_alive()


def test_a_call_that_is_collected_while_another_is_counted_blocks_nobody(clock: Clock) -> None:
    """Its coroutine is closed wherever the collector happens to run, and settles from there."""
    made = breaker(clock, failure_threshold=9)
    abandoned, counted = admitted(made), admitted(made)

    def collecting() -> float:
        made._clock = clock
        made.settle(abandoned, FAILURE)
        return clock()

    made._clock = collecting
    caller = threading.Thread(target=made.settle, args=(counted, FAILURE), daemon=True)
    caller.start()
    caller.join(10)
    assert not caller.is_alive()
    assert made.counts.failures == 2


def test_a_rate_of_failures_opens_it_that_no_count_in_a_row_would(clock: Clock) -> None:
    """circuitbreaker, pybreaker: two failures of three calls, for ever, never open them."""
    made = breaker(clock, failure_threshold=3, failure_rate=0.6, window=30, minimum_calls=9)
    changes = [ends(made, each) for each in [FAILURE, FAILURE, SUCCESS] * 3]
    assert changes[:-1] == [None] * 8
    reason = "failures: 6 of 9 calls, the last one: connect"
    assert changes[-1] == (State.CLOSED, State.OPEN, reason)


def test_a_rate_is_of_the_latest_calls_alone(clock: Clock) -> None:
    made = breaker(clock, failure_threshold=99, failure_rate=0.5, window=10)
    for each in [FAILURE] * 4 + [SUCCESS] * 6:
        assert ends(made, each) is None
    for _ in range(4):  # for each that comes, one goes
        assert ends(made, FAILURE) is None
    assert made.counts == Counts(10, 4, 0, 4, 0)
    assert ends(made, FAILURE) is not None


def test_a_rate_is_of_the_latest_seconds_alone(clock: Clock) -> None:
    made = breaker(clock, failure_rate=0.5, window="60s", minimum_calls=4, failure_threshold=99)
    for _ in range(3):
        ends(made, FAILURE)
    clock.now += 61
    assert made.counts == Counts(0, 0, 0, 3, 0)
    for _ in range(3):
        assert ends(made, FAILURE) is None
        clock.now += 15
    assert ends(made, FAILURE) is not None


def test_a_window_of_seconds_takes_the_same_room_for_any_number_of_calls(clock: Clock) -> None:
    made = breaker(clock, failure_rate=1, window="10s", minimum_calls=1, failure_threshold=99)
    for _ in range(5000):
        ends(made, SUCCESS)
        clock.now += 0.01
    window = made._phase.window
    assert len(window._buckets) <= 10  # type: ignore[attr-defined]
    assert 900 <= made.counts.calls <= 1000


def slow(made: Breaker, clock: Clock, seconds: float = 3) -> Change | None:
    """A successful call that takes so long."""
    permit = admitted(made)
    clock.now += seconds
    return made.settle(permit, SUCCESS)


def test_a_rate_of_slow_calls_opens_it(clock: Clock) -> None:
    made = breaker(clock, slow_rate=0.5, slow_call=2, minimum_calls=4)
    for seconds in (2, 2, 2.1):
        assert slow(made, clock, seconds) is None
    assert slow(made, clock) == (State.CLOSED, State.OPEN, "slow calls: 2 of 4")
    clock.now += 10
    assert slow(made, clock) == (State.HALF_OPEN, State.OPEN, "a probe was slow")


def test_what_the_application_takes_to_read_a_body_makes_no_call_slow(clock: Clock) -> None:
    made = breaker(clock, slow_rate=0.5, slow_call=2, minimum_calls=1)
    permit = admitted(made)
    clock.now += 1
    made.mark_answered(permit)
    clock.now += 60
    assert made.settle(permit, SUCCESS) is None
    assert made.counts == Counts(1, 0, 0, 0, 0)


def test_tripped_by_hand_it_refuses_until_it_is_reset(clock: Clock) -> None:
    made = breaker(clock)
    late = admitted(made)
    assert made.trip() == (State.CLOSED, State.FORCED_OPEN, "tripped by hand")
    assert made.trip() is None
    made.settle(late, SUCCESS)
    clock.now += 1e6
    error = refusal(made)
    assert error.retry_after is None
    assert said(error) == "held open until it is reset, since TIME: tripped by hand"
    assert made.reset() == (State.FORCED_OPEN, State.CLOSED, "reset by hand")
    assert ends(made, SUCCESS) is None


def test_a_reset_begins_anew(clock: Clock) -> None:
    made = breaker(clock)
    ends(made, FAILURE)
    late = admitted(made)
    assert made.reset() is None  # it was closed
    assert made.counts == Counts(0, 0, 0, 0, 0)
    made.settle(late, FAILURE)
    assert ends(made, FAILURE) is None
    ends(made, FAILURE)
    clock.now += 10
    ends(made, FAILURE)
    assert made.reset() == (State.OPEN, State.CLOSED, "reset by hand")
    ends(made, FAILURE)
    ends(made, FAILURE)
    assert refusal(made).retry_after == 10  # as the first time


def test_forced_open_it_refuses_from_the_start_until_it_is_reset(clock: Clock) -> None:
    made = breaker(clock, forced_open=True)
    assert state(made) is State.FORCED_OPEN
    refusal(made)
    made.reset()
    assert ends(made, SUCCESS) is None


def test_disabled_it_counts_and_refuses_nothing_unless_tripped(clock: Clock) -> None:
    made = breaker(clock, disabled=True)
    for _ in range(9):
        assert ends(made, FAILURE) is None
    assert state(made) is State.DISABLED
    assert made.counts == Counts(9, 9, 0, 9, 0)
    made.trip()
    refusal(made)
    made.reset()
    assert state(made) is State.DISABLED


def test_it_counts_what_it_refuses(clock: Clock) -> None:
    made = opened(clock)
    for _ in range(3):
        refusal(made)
    assert made.counts.refusals == 3
    made.reset()
    assert made.counts.refusals == 0


def test_through_probes_that_fail_it_says_since_when_calls_are_refused_and_why_the_last_time(
    clock: Clock,
) -> None:
    before = time.time()
    made = opened(clock)
    first = refusal(made)
    assert first.since is not None
    assert before <= first.since <= time.time()
    clock.now += 10
    ends(made, Verdict(failed=True, reason="status 503"))
    again = refusal(made)
    assert (again.since, again.reason) == (first.since, "a probe failed: status 503")
    assert made.last_failure == "status 503"
    assert made.since > first.since
    clock.now += 100
    ends(made, SUCCESS)
    assert state(made) is State.CLOSED
    assert made.last_failure == "status 503"
    ends(made, FAILURE)
    assert refusal(made).since != first.since
    made.reset()
    assert made.last_failure == ""


def test_one_that_the_settings_hold_open_says_so(clock: Clock) -> None:
    error = refusal(breaker(clock, forced_open=True))
    assert said(error) == "held open until it is reset, since TIME: the settings say so"
