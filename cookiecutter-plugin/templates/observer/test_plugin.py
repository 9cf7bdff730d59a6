"""What the plugin does, in all client libraries, sync and async."""

from typing import Any

import pytest
from flext_plugins import Host, options
from flext_plugins.testing import Answer, LoopbackService, Record, World

from {{ cookiecutter.__package }} import {{ ['Slow', cookiecutter.__class] | sort | join(', ') }}

NAME = "{{ cookiecutter.name }}"


def host(world: World, service: LoopbackService, record: Record, **settings: Any) -> Host:
    """A host with the plugin, and with a witness that hears of events."""
    plugins = {NAME: settings, "witness": {}}
    config = {"base_url": service.url, "plugins": plugins}
    classes = {NAME: {{ cookiecutter.__class }}, "witness": record.of()}
    return world.host({"services": {"service": config}}, **classes)


def test_a_slow_attempt_is_told_as_event_and_logged(
    flext_world: World,
    flext_service: LoopbackService,
    flext_record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flext_service.answer = Answer(201, delay=0.05)
    flext_world.send(host(flext_world, flext_service, flext_record, threshold=0.04), "PUT", "/7")
    (slow,) = flext_record.events(Slow)
    assert (slow.service, slow.method, slow.path, slow.outcome) == ("service", "PUT", "/7", "201")
    assert slow.seconds >= 0.04
    assert "service: PUT /7 took" in caplog.text


def test_a_quick_attempt_is_not_told(
    flext_world: World,
    flext_service: LoopbackService,
    flext_record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flext_world.get(host(flext_world, flext_service, flext_record, threshold=30))
    assert flext_record.events(Slow) == []
    assert "took" not in caplog.text


def test_a_failure_is_told_and_stays_the_librarys_own(
    flext_world: World, flext_service: LoopbackService, flext_record: Record
) -> None:
    flext_service.answer = Answer(reset=True)
    with pytest.raises(flext_world.lib.ReadError):
        flext_world.get(host(flext_world, flext_service, flext_record, threshold=0))
    (slow,) = flext_record.events(Slow)
    assert slow.outcome == "read"


def test_no_query_is_told(
    flext_world: World,
    flext_service: LoopbackService,
    flext_record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flext_world.get(host(flext_world, flext_service, flext_record, threshold=0), "/a?code=7351")
    (slow,) = flext_record.events(Slow)
    assert slow.path == "/a"
    assert "7351" not in [each.getMessage() for each in caplog.records if NAME in each.name]


def test_the_route_stands_for_the_path(
    flext_world: World, flext_service: LoopbackService, flext_record: Record
) -> None:
    with options(route="/orders/{id}"):
        flext_world.get(host(flext_world, flext_service, flext_record, threshold=0), "/orders/7")
    (slow,) = flext_record.events(Slow)
    assert slow.path == "/orders/{id}"
