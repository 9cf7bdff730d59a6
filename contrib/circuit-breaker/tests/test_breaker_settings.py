"""What the settings take, and what `Retry-After` means."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from flext_plugins_circuit_breaker import CircuitBreakerSettings
from flext_plugins_circuit_breaker.verdict import Judge, retry_after
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flext_plugins import ConfigError, Failure, Host


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


@pytest.mark.parametrize("window", [0, -1, "0s", "a minute", "60 minutes", 1.5, "-1s", None])
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


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 120 ", 120),
        ("9" * 5000, float("inf")),
        ("0", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("٣", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("Fri, 31 Feb 2040 08:49:37 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_nothing(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize("shown", ["GMT", "-0000", "+0200"])
def test_retry_after_may_be_a_date(shown: str) -> None:
    date = datetime.now(UTC) + timedelta(seconds=90)
    text = format_datetime(date, usegmt=True).replace("GMT", shown)
    if shown == "+0200":
        text = format_datetime(date + timedelta(hours=2)).replace("+0000", shown)
    found = retry_after(text)
    assert found is not None
    assert 80 < found < 91


@given(
    st.text()
    | st.from_regex(
        r"\w{3}, \d{1,9} \w{3} \d{1,9} \d+:\d+(:\d+)? ([+-]\d{4,9}|GMT)", fullmatch=True
    )
)
def test_no_header_that_a_target_may_send_breaks_anything(value: str) -> None:
    found = retry_after(value)
    assert found is None or found > 0
