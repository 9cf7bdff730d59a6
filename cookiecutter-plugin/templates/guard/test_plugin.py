"""What the plugin does, in all client libraries, sync and async."""

from collections.abc import Callable
from typing import Any

import pytest
from flext_plugins import Host
from flext_plugins.testing import Answer, LoopbackService, World

from {{ cookiecutter.__package }} import {{ ['Paused', cookiecutter.__class] | sort | join(', ') }}

NAME = "{{ cookiecutter.name }}"
BUSY = Answer(503, {"Retry-After": "30"})


def host(world: World, service: LoopbackService, **settings: Any) -> Host:
    config = {"base_url": service.url, "plugins": {NAME: settings}}
    return world.host({"services": {"service": config}}, **{NAME: {{ cookiecutter.__class }}})


def test_nothing_is_sent_while_the_service_wants_to_be_left_alone(
    flext_world: World, flext_service: LoopbackService
) -> None:
    sender = host(flext_world, flext_service)
    flext_service.answer = BUSY
    assert flext_world.get(sender).status_code == 503
    with pytest.raises(Paused, match=f"service: {NAME}: the service asked for a pause") as refusal:
        flext_world.get(sender)
    assert len(flext_service.received) == 1
    assert refusal.value.retry_after is not None
    assert 0 < refusal.value.retry_after <= 30
    assert not refusal.value.sent


def test_a_refusal_is_the_librarys_own_transport_error(
    flext_world: World, flext_service: LoopbackService
) -> None:
    sender = host(flext_world, flext_service)
    flext_service.answer = BUSY
    flext_world.get(sender)
    with pytest.raises(flext_world.lib.TransportError):
        flext_world.get(sender)


def test_when_the_pause_is_over_it_sends_again(
    flext_world: World, flext_service: LoopbackService
) -> None:
    sender = host(flext_world, flext_service, longest=0.01)
    flext_service.answer = BUSY
    flext_world.get(sender)
    flext_service.answer = Answer(200)
    flext_world.run(lambda: flext_world.sleep(0.05))
    assert flext_world.get(sender).status_code == 200


def test_no_pause_is_longer_than_the_longest(
    flext_world: World, flext_service: LoopbackService
) -> None:
    sender = host(flext_world, flext_service, longest=5)
    flext_service.answer = BUSY
    flext_world.get(sender)
    with pytest.raises(Paused) as refusal:
        flext_world.get(sender)
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after <= 5


@pytest.mark.parametrize(
    "answer",
    [Answer(503), Answer(200, {"Retry-After": "30"}), Answer(500, {"Retry-After": "30"})],
    ids=["for no time", "with success", "with another error"],
)
def test_an_answer_that_asks_for_no_pause_makes_none(
    flext_world: World, flext_service: LoopbackService, answer: Answer
) -> None:
    sender = host(flext_world, flext_service)
    flext_service.answer = answer
    flext_world.get(sender)
    flext_world.get(sender)
    assert len(flext_service.received) == 2


def test_in_an_applications_tests_it_refuses_nothing(
    flext_world: World,
    flext_service: LoopbackService,
    flext_without_waiting: Callable[[Host], Host],
) -> None:
    sender = flext_without_waiting(host(flext_world, flext_service))
    flext_service.answer = BUSY
    flext_world.get(sender)
    assert flext_world.get(sender).status_code == 503
