"""What the settings take, and what `Retry-After` means."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from flext_plugins_circuit_breaker import CircuitBreakerSettings
from flext_plugins_circuit_breaker.verdict import Judge
from pydantic import ValidationError

from flext_plugins import ConfigError, Failure, Host

PAST = "Sun, 06 Nov 1994 08:49:37 GMT"


def said(**breaker: object) -> str:
    """What is told about settings that cannot be used."""
    table = {"base_url": "http://localhost", "plugins": {"circuit-breaker": breaker}}
    with pytest.raises(ConfigError) as caught:
        Host({"services": {"one": table}}).check()
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def test_the_defaults_are_five_failures_in_a_row_sixty_seconds_and_one_probe() -> None:
    assert CircuitBreakerSettings().model_dump() == {
        "failure_threshold": 5,
        "failure_rate": None,
        "slow_rate": None,
        "slow_call": None,
        "window": 100,
        "minimum_calls": 20,
        "failure_statuses": ("5xx",),
        "failure_kinds": ("connect", "timeout", "read", "write", "protocol"),
        "recovery_timeout": 60,
        "max_recovery_timeout": 300,
        "half_open_calls": 1,
        "forced_open": False,
        "disabled": False,
        "shared": None,
    }


def test_a_rate_takes_the_place_of_the_count_unless_both_are_given() -> None:
    """Or a rate over a hundred calls would seldom be waited for."""
    assert CircuitBreakerSettings(failure_rate=0.5).failure_threshold is None
    both = CircuitBreakerSettings(failure_rate=0.5, failure_threshold=7)
    assert both.failure_threshold == 7
    assert CircuitBreakerSettings(slow_rate=0.5, slow_call=2).failure_threshold == 5


def test_a_small_window_and_a_long_timeout_bring_their_own_limits() -> None:
    assert CircuitBreakerSettings(failure_rate=0.5, window=10).minimum_calls == 10
    assert CircuitBreakerSettings(failure_rate=0.5, window="60s").minimum_calls == 20
    assert CircuitBreakerSettings(recovery_timeout=900).max_recovery_timeout == 900


@pytest.mark.parametrize(
    ("window", "meant"), [(10, 10), ("10", 10), ("10s", "10s"), ("0.5 s", "0.5s")]
)
def test_a_window_is_calls_or_seconds(window: int | str, meant: int | str) -> None:
    assert CircuitBreakerSettings(failure_rate=0.5, window=window).window == meant


TOO_MUCH = [10**30, "9" * 5000, "9" * 400 + "s", f"0.{'0' * 320}1s"]
"""What no memory holds, and seconds that are no number or no time."""


@pytest.mark.parametrize(
    "window", [0, -1, "0s", "a minute", "60 minutes", 1.5, "-1s", None, *TOO_MUCH]
)
def test_a_window_that_is_neither_is_told_what_was_expected(window: object) -> None:
    assert said(failure_rate=0.5, window=window) == (
        "services.one.plugins.circuit-breaker.window: "
        "expected a number of calls, such as 100, or of seconds, such as '60s'"
    )


@pytest.mark.parametrize(
    ("breaker", "problem"),
    [
        ({"slow_rate": 0.5}, "slow_rate and slow_call go together"),
        ({"slow_call": 2}, "slow_rate and slow_call go together"),
        (
            {"window": 50},
            "window and minimum_calls are of no use without failure_rate or slow_rate",
        ),
        (
            {"failure_rate": 0.5, "window": 10, "minimum_calls": 11},
            "minimum_calls is more than window holds",
        ),
        (
            {"recovery_timeout": 60, "max_recovery_timeout": 30},
            "max_recovery_timeout is less than recovery_timeout",
        ),
        (
            {"forced_open": True, "disabled": True},
            "forced_open and disabled contradict each other",
        ),
        (
            {"failure_statuses": [], "failure_kinds": []},
            "failure_statuses and failure_kinds are empty, so that nothing opens it",
        ),
        (
            {"slow_call": 2, "forced_open": True, "disabled": True},
            "slow_rate and slow_call go together; forced_open and disabled contradict each other",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_one_clear_error(
    breaker: dict[str, object], problem: str
) -> None:
    assert said(**breaker) == f"services.one.plugins.circuit-breaker: {problem}"


def test_an_unknown_key_is_told_with_the_nearest_valid_one() -> None:
    assert "did you mean 'failure_threshold'" in said(threshold=5)


@pytest.mark.parametrize(
    "key",
    ["failure_threshold", "recovery_timeout", "max_recovery_timeout", "half_open_calls"],
)
@pytest.mark.parametrize("value", [0, -1, "many", float("inf"), float("nan")])
def test_numbers_are_positive_and_finite(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        CircuitBreakerSettings.model_validate({key: value})


@pytest.mark.parametrize("value", [0, 1.01, 50, -0.5])
def test_a_rate_is_a_share(value: float) -> None:
    with pytest.raises(ValidationError):
        CircuitBreakerSettings(failure_rate=value)


@pytest.mark.parametrize("kind", ["pool", "caller"])
def test_what_is_never_the_targets_failure_cannot_be_made_one(kind: str) -> None:
    assert "failure_kinds.0: expected 'connect', 'timeout', 'read'" in said(failure_kinds=[kind])


@pytest.mark.parametrize("status", [200, 399, 600, "3xx"])
def test_no_answer_below_400_can_be_made_a_failure(status: object) -> None:
    with pytest.raises(ValidationError):
        CircuitBreakerSettings.model_validate({"failure_statuses": [status]})


def test_every_other_failure_on_the_wire_counts_unless_it_is_left_out() -> None:
    judge = Judge(CircuitBreakerSettings(failure_kinds=("connect",)))
    assert judge.failure(Failure.CONNECT).failed
    assert judge.failure(Failure.READ).failed is None
    usual = Judge(CircuitBreakerSettings())
    counted = [kind for kind in Failure if usual.failure(kind).failed]
    assert [kind for kind in Failure if kind not in counted] == [Failure.POOL, Failure.CALLER]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("9" * 5000, 2**31), ("0", None), ("soon", None), (PAST, None), (None, None)],
)
def test_a_busy_target_says_how_long_it_wants_to_be_left_alone(
    status: int, value: str | None, seconds: float | None
) -> None:
    response: Any = httpx.Response(status, headers={"Retry-After": value} if value else {})
    assert Judge(CircuitBreakerSettings()).answer(response).retry_after == seconds


def test_it_may_say_it_with_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    response: Any = httpx.Response(503, headers={"Retry-After": date})
    assert Judge(CircuitBreakerSettings()).answer(response).retry_after == pytest.approx(90, abs=10)


def test_a_target_that_is_not_busy_says_nothing_of_the_kind() -> None:
    response: Any = httpx.Response(502, headers={"Retry-After": "7"})
    assert Judge(CircuitBreakerSettings()).answer(response).retry_after is None


@pytest.mark.parametrize(("timeout", "is_told"), [(3, True), (0.3, True), (0.2, False)])
def test_a_deadline_that_always_comes_first_is_told_since_a_hang_would_open_nothing(
    timeout: float, is_told: bool
) -> None:
    service = {"base_url": "http://localhost", "deadline": 0.3, "timeout": timeout}
    host = Host({"services": {"one": {**service, "plugins": {"circuit-breaker": {}}}}})
    if not is_told:
        host.check()
        return
    with pytest.raises(ConfigError, match=r"timeout.read is .*, and deadline is 0.3: a service"):
        host.check()
