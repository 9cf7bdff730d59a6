"""Our plugins beside each other, found by name: who stands where, and what that leads to."""

from __future__ import annotations

import pytest
from flext_plugins_circuit_breaker import CircuitOpen

from flext_plugins import Refused
from flext_plugins.testing import Answer

LOGIN = {"scheme": "login", "service": "login", "username": "ana", "password": "pw"}
TOKEN = Answer(body=b'{"access_token": "t", "expires_in": 60}')


@pytest.fixture
def guarded(flext_world, flext_service, flext_elsewhere):
    """A host whose `service` has retry, auth and circuit-breaker, in this order of the file."""
    flext_elsewhere.answer = TOKEN
    plugins = {
        "circuit-breaker": {"failure_threshold": 2},
        "auth": LOGIN,
        "retry": {"attempts": 5, "backoff": 0.001},
    }
    services = {
        "service": {"base_url": flext_service.url, "plugins": plugins},
        "login": {"base_url": flext_elsewhere.url},
    }
    return flext_world.host({"services": services})


def test_retry_stands_around_auth_and_auth_around_the_circuit_breaker(guarded):
    layers = [each.plugin for each in guarded.explain("service").layers]
    assert layers == ["retry", "auth", "circuit-breaker"]


def test_a_circuit_that_opens_ends_the_retries(guarded, flext_world, flext_service):
    flext_service.answer = Answer(503)
    with pytest.raises(flext_world.lib.TransportError) as caught:
        flext_world.get(guarded)
    error = caught.value
    assert isinstance(error, CircuitOpen)
    assert (error.call.attempt, error.call.answered_by) == (3, "circuit-breaker")
    assert error.__notes__ == ["retry: attempt 3 of 5, after status 503, status 503"]
    assert error.sent is True
    assert len(flext_service.received) == 2

    with pytest.raises(CircuitOpen) as again:
        flext_world.get(guarded)
    assert (again.value.call.attempt, again.value.sent) == (1, False)
    assert len(flext_service.received) == 2


def test_a_failure_is_what_the_caller_gets_though_the_circuit_opens(
    guarded, flext_world, flext_service
):
    flext_service.answer = Answer(reset=True)
    with pytest.raises(flext_world.lib.ReadError) as caught:
        flext_world.get(guarded)
    error = caught.value
    assert not isinstance(error, CircuitOpen)
    assert (error.flext_call.attempt, error.flext_call.answered_by) == (3, "circuit-breaker")
    note, _ = error.__notes__
    assert note.startswith("retry: attempt 3 of 5, after read, read, was refused: service: circuit")
    assert len(flext_service.received) == 2


def test_a_token_that_cannot_be_replaced_is_a_refusal_after_something_was_sent(
    guarded, flext_world, flext_service, flext_elsewhere
):
    assert flext_world.get(guarded).status_code == 200
    flext_service.answer, flext_elsewhere.answer = Answer(401), Answer(503)
    with pytest.raises(Refused, match="login") as caught:
        flext_world.get(guarded)
    assert (caught.value.plugin, caught.value.sent) == ("auth", True)
    assert len(flext_service.received) == 2


def test_a_login_that_fails_is_tried_once_for_a_call(
    guarded, flext_world, flext_service, flext_elsewhere
):
    flext_elsewhere.answer = Answer(503)
    with pytest.raises(Refused, match="login"):
        flext_world.get(guarded)
    assert (len(flext_elsewhere.received), len(flext_service.received)) == (1, 0)


def test_a_rejected_token_is_healed_within_an_attempt(
    guarded, flext_world, flext_service, flext_elsewhere
):
    answers = iter([Answer(503), Answer(401), Answer(body=b"in")])
    flext_service.answer = lambda _: next(answers)
    answer = flext_world.get(guarded)
    assert (answer.status_code, answer.content) == (200, b"in")
    assert len(flext_elsewhere.received) == 2
    assert answer.extensions["flext_plugins.call"].attempt == 3
