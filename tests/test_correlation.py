"""One id ties a call's requests, events, log lines and errors together, across services."""

from __future__ import annotations

import logging
import uuid

import pytest
from pydantic import BaseModel
from structlog.contextvars import bound_contextvars

from flext_plugins import Refused, ServiceName, Stage, events, hookimpl, options
from flext_plugins._call import _tell_replaced
from flext_plugins.testing import Answer

HEADER = "x-correlation-id"
CANNOT_BE_SENT = ["with blank", "two\nlines", "ümlaut", "x" * 129, ""]


def ids(server):
    return [each.headers.get(HEADER) for each in server.received]


def call_of(response):
    return response.extensions["flext_plugins.call"]


@pytest.mark.contract("correlation-id-is-sent")
def test_each_call_has_an_id_of_its_own_which_the_service_is_told(flext_service, flext_world):
    host = flext_world.serve(flext_service)
    one, two = (flext_world.get(host) for _ in range(2))

    assert ids(flext_service) == [call_of(one).correlation_id, call_of(two).correlation_id]
    assert call_of(one).correlation_id == call_of(one).id != call_of(two).id
    assert HEADER not in {name.lower() for name in one.request.headers}


@pytest.mark.contract("correlation-id-is-sent")
def test_the_application_says_it_by_options_or_else_by_structlogs_context(
    flext_service, flext_world
):
    host = flext_world.serve(flext_service)
    with bound_contextvars(correlation_id="bound"):
        flext_world.get(host)
        with options(correlation_id="said"):
            flext_world.get(host)
    with bound_contextvars(correlation_id=uuid.UUID(int=7)):
        flext_world.get(host)

    assert ids(flext_service) == ["bound", "said", str(uuid.UUID(int=7))]


@pytest.mark.contract("correlation-id-is-sent")
def test_the_callers_own_header_wins_and_becomes_the_calls_id(flext_service, flext_world):
    host = flext_world.serve(flext_service, headers={"X-Correlation-ID": "the-services"})
    with options(correlation_id="said"):
        response = flext_world.get(host, headers={"X-Correlation-ID": "mine"})

    assert ids(flext_service) == ["mine"]
    assert call_of(response).correlation_id == "mine"


@pytest.mark.parametrize("wrong", ["with blank", "x" * 129])
@pytest.mark.contract("correlation-id-is-checked")
def test_a_header_that_is_none_is_replaced(flext_service, flext_world, wrong):
    host = flext_world.serve(flext_service)
    response = flext_world.get(host, headers={"X-Correlation-ID": wrong})

    assert ids(flext_service) == [call_of(response).id]


@pytest.mark.parametrize("wrong", CANNOT_BE_SENT)
@pytest.mark.contract("correlation-id-is-checked")
def test_what_the_application_says_wrong_is_its_error(wrong):
    with pytest.raises(ValueError, match="1 to 128 characters of visible ASCII") as caught:
        with options(correlation_id=wrong):
            pass
    assert wrong == "" or wrong not in str(caught.value)


@pytest.mark.parametrize("wrong", CANNOT_BE_SENT)
@pytest.mark.contract("correlation-id-is-checked")
def test_what_came_from_outside_wrong_is_replaced_which_is_said_once(
    flext_service, flext_world, caplog, wrong
):
    _tell_replaced.cache_clear()
    host = flext_world.serve(flext_service)
    with bound_contextvars(correlation_id=wrong):
        responses = [flext_world.get(host) for _ in range(2)]

    assert ids(flext_service) == [call_of(each).id for each in responses]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "such ones are replaced" in record.getMessage()


@pytest.mark.contract("correlation-id-is-shared")
def test_hops_and_attempts_share_it(flext_service, flext_world):
    class Resends:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send):
            await send(request)
            return await send(request)

    flext_service.answer = lambda received: Answer(
        302 if received.path == "/" else 200, {"Location": "/next"}
    )
    host = flext_world.serve(flext_service, Resends)
    flext_world.get(host, client_options={"follow_redirects": True})

    assert len(flext_service.received) == 4
    assert len(set(ids(flext_service))) == 1


@pytest.mark.contract("own-origin-only")
def test_another_origin_is_told_nothing(flext_service, flext_elsewhere, flext_world):
    flext_world.get(flext_world.serve(flext_service), flext_elsewhere.url)

    assert ids(flext_elsewhere) == [None]


class Asks:
    """Asks another service first."""

    class Settings(BaseModel):
        service: ServiceName

    def __init__(self, settings):
        self.at = settings.service

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        await connection.close(await connection.request(self.at, "GET", "/token"))
        return await send(request)


@pytest.mark.contract("correlation-id-is-shared")
def test_what_a_plugin_asks_another_service_carries_it(flext_service, flext_elsewhere, flext_world):
    services = {
        "service": {"base_url": flext_service.url, "plugins": {"asks": {"service": "tokens"}}},
        "tokens": {"base_url": flext_elsewhere.url},
    }
    host = flext_world.host({"services": services}, asks=Asks)
    response = flext_world.get(host)
    flext_world.get(host, headers={"X-Correlation-ID": "mine"})

    expected = [call_of(response).correlation_id, "mine"]
    assert (ids(flext_service), ids(flext_elsewhere)) == (expected, expected)


@pytest.mark.contract("correlation-id-is-shared")
def test_events_log_lines_and_errors_carry_it(flext_service, flext_world, caplog):
    caplog.set_level(logging.INFO)
    told = []

    class Hears:
        observer = True

        @hookimpl
        def flext_event(self, event, connection):
            told.append((connection.call.correlation_id, event))

    class Refuses:
        @hookimpl
        def flext_request(self, connection):
            connection.emit(events.StateChanged("guard", "http://x", "closed", "open", "5 times"))
            raise Refused("maintenance")

    host = flext_world.serve(flext_service, Hears, Refuses)
    with options(correlation_id="c-1"), pytest.raises(Refused) as caught:
        flext_world.get(host)

    assert caught.value.call.correlation_id == "c-1"
    lines = [each for each in caplog.records if each.name == "flext_plugins"]
    assert [each.correlation_id for each in lines] == ["c-1", "c-1"]
    assert [each.call_id for each in lines] == [caught.value.call.id] * 2
    assert {type(event).__name__ for _, event in told} == {
        "StateChanged",
        "CallRefused",
        "HopFinished",
        "CallFinished",
    }
    assert {told_id for told_id, _ in told} == {"c-1"}


@pytest.mark.contract("correlation-id-is-shared", "call-on-everything")
def test_a_wire_error_carries_it(flext_service, flext_world):
    flext_service.refuse()
    with options(correlation_id="c-1"), pytest.raises(flext_world.lib.ConnectError) as caught:
        flext_world.get(flext_world.serve(flext_service))

    assert caught.value.flext_call.correlation_id == "c-1"
