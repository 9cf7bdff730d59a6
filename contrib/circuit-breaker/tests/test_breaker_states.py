"""The state machine by itself, under a clock of the test's own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flext_plugins_circuit_breaker import CircuitBreakerSettings, CircuitOpen
from flext_plugins_circuit_breaker.breaker import Breaker, State
from pydantic import ValidationError


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker(clock: Clock, threshold: int = 2, calls: int = 1) -> Breaker:
    settings = CircuitBreakerSettings(
        failure_threshold=threshold, recovery_timeout=10, half_open_calls=calls
    )
    return Breaker("http://h:1", settings, clock)


def opened(clock: Clock, calls: int = 1) -> Breaker:
    made = breaker(clock, 1, calls)
    made.failed(made.admit()[0], "connect")
    assert state(made) is State.OPEN
    return made


def state(made: Breaker) -> State:
    return made.state  # a call, so that mypy does not take it for unchanging


def refusal(made: Breaker) -> CircuitOpen:
    with pytest.raises(CircuitOpen) as caught:
        made.admit()
    return caught.value


def test_consecutive_failures_open_it_and_a_success_in_between_starts_anew(clock: Clock) -> None:
    made = breaker(clock)
    assert made.failed(made.admit()[0], "connect") is None
    assert made.succeeded(made.admit()[0]) is None
    assert made.failed(made.admit()[0], "connect") is None
    change = made.failed(made.admit()[0], "status 503")
    assert change == (
        State.CLOSED,
        State.OPEN,
        "consecutive failures: 2, the last one: status 503",
    )


def test_a_dropped_call_neither_counts_nor_starts_anew(clock: Clock) -> None:
    made = breaker(clock)
    made.failed(made.admit()[0], "connect")
    made.dropped(made.admit()[0])
    made.failed(made.admit()[0], "connect")
    assert state(made) is State.OPEN


def test_it_refuses_until_the_recovery_timeout_has_passed_and_says_how_long(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 7.75
    error = refusal(made)
    assert error.retry_after == 2.25
    assert str(error) == "the circuit for http://h:1 is open; try again in 2.2 s"
    clock.now += 2.25
    _, change = made.admit()
    assert change == (State.OPEN, State.HALF_OPEN, "10 s have passed")


def test_while_it_is_probed_others_are_told_to_try_again_soon(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 10
    made.admit()
    error = refusal(made)
    assert error.retry_after == 1.0
    assert str(error) == "the circuit for http://h:1 is being probed; try again in 1.0 s"


def test_a_successful_probe_closes_it_and_the_count_starts_anew(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 10
    change = made.succeeded(made.admit()[0])
    assert change == (State.HALF_OPEN, State.CLOSED, "successful probes: 1")
    assert made.admit()[1] is None


def test_a_failed_probe_opens_it_for_the_whole_time_again(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 25
    change = made.failed(made.admit()[0], "timeout")
    assert change == (State.HALF_OPEN, State.OPEN, "a probe failed: timeout")
    assert refusal(made).retry_after == 10


def test_a_dropped_probe_gives_its_place_to_the_next_caller(clock: Clock) -> None:
    made = opened(clock)
    clock.now += 10
    made.dropped(made.admit()[0])
    assert state(made) is State.HALF_OPEN
    made.admit()
    refusal(made)


def test_so_many_probes_at_a_time_and_so_many_successes_as_half_open_calls_says(
    clock: Clock,
) -> None:
    made = opened(clock, calls=3)
    clock.now += 10
    generations = [made.admit()[0] for _ in range(3)]
    refusal(made)
    assert made.succeeded(generations[0]) is None
    generations.append(made.admit()[0])
    refusal(made)
    assert made.succeeded(generations[1]) is None
    assert state(made) is State.HALF_OPEN
    assert made.succeeded(generations[2]) is not None
    assert state(made) is State.CLOSED
    assert made.failed(generations[3], "connect") is None
    assert state(made) is State.CLOSED


@pytest.mark.parametrize("end", ["succeeded", "failed", "dropped"])
def test_what_was_admitted_before_the_last_change_counts_for_nothing(
    clock: Clock, end: str
) -> None:
    made = breaker(clock)
    late, *failing = [made.admit()[0] for _ in range(3)]
    for each in failing:
        made.failed(each, "connect")

    def ends(generation: int) -> None:
        if end == "failed":
            made.failed(generation, "read")
        else:
            getattr(made, end)(generation)

    ends(late)
    assert state(made) is State.OPEN
    clock.now += 10
    probe, _ = made.admit()
    ends(late)
    assert state(made) is State.HALF_OPEN
    refusal(made)
    made.succeeded(probe)
    ends(late)
    ends(probe)
    assert made.failed(made.admit()[0], "connect") is None
    assert made.failed(made.admit()[0], "connect") is not None


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


@pytest.mark.parametrize("key", ["failure_threshold", "recovery_timeout", "half_open_calls"])
@pytest.mark.parametrize("value", [0, -1, "many"])
def test_settings_are_positive(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        CircuitBreakerSettings.model_validate({key: value})


def test_the_defaults_are_five_failures_sixty_seconds_and_one_probe() -> None:
    found = CircuitBreakerSettings().model_dump()
    assert found == {"failure_threshold": 5, "recovery_timeout": 60, "half_open_calls": 1}
