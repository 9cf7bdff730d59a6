"""How long to wait, and what the settings may say."""

import random

import pytest
from flext_plugins_retry import RetrySettings
from flext_plugins_retry.wait import backoff
from pydantic import ValidationError

from flext_plugins import ConfigError, Host


def test_the_bound_doubles_up_to_the_longest_wait() -> None:
    bounds = [backoff(0.1, 1.0, resend, max) for resend in range(1, 7)]
    assert bounds == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff(0.1, 30.0, 99, max) == 30.0


def test_chance_picks_from_the_whole_range() -> None:
    uniform = random.Random(7).uniform
    picked = [backoff(1.0, 30.0, 1, uniform) for _ in range(1000)]
    assert 0 <= min(picked) < 0.05
    assert 0.95 < max(picked) <= 1
    assert 0.45 < sum(picked) / len(picked) < 0.55


def test_the_defaults_are_these() -> None:
    assert RetrySettings().model_dump() == {
        "attempts": 3,
        "backoff": 0.1,
        "longest_wait": 30,
        "statuses": (408, 429, 502, 503, 504),
        "idempotency_key": False,
        "budget": 0.2,
        "budget_floor": 10,
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("attempts", each) for each in (0, 101, "many")],
        *[("backoff", each) for each in (0, -1, float("inf"), float("nan"))],
        *[("longest_wait", each) for each in (0, float("inf"))],
        *[("statuses", each) for each in (503, [200], [600], ["many"])],
        ("idempotency_key", "sometimes"),
        *[("budget", each) for each in (-0.1, float("inf"), float("nan"))],
        *[("budget_floor", each) for each in (-1, 1.5, 10**30)],
    ],
)
def test_settings_that_make_no_sense_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        RetrySettings.model_validate({key: value})


def test_an_unknown_key_is_told_with_the_nearest_valid_one() -> None:
    table = {"base_url": "http://localhost", "plugins": {"retry": {"attempt": 5}}}
    with pytest.raises(ConfigError, match="did you mean 'attempts'"):
        Host({"services": {"one": table}}).check()
