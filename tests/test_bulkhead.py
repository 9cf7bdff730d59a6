"""The example of a bulkhead, held to what it says of itself and to the rules for plugins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flext_plugins import Operation, Refused, hookimpl
from flext_plugins.testing import Answer, PluginConformance

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from bulkhead import Bulkhead

pytestmark = pytest.mark.once


class TestBulkhead(PluginConformance):
    plugin = Bulkhead
    settings = {"calls": 4, "queue": 1000}  # a crowd may wait, so that nobody is refused


def guarded(world, service, **settings):
    plugins = {"bulkhead": settings, "lends": {}}
    config = {"services": {"service": {"base_url": service.url, "plugins": plugins}}}
    return world.host(config, bulkhead=Bulkhead, lends=Lends)


class Search:
    """An operation of a directory."""

    def __init__(self, connection):
        self.connection = connection

    async def do(self):
        return await self.connection.perform(Operation("ldap", "search", "directory"), str)


class Lends:
    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Search, Search(connection))


def test_so_many_calls_are_answered_at_a_time_and_the_others_wait(flext_service, flext_world):
    flext_service.answer = Answer(delay=0.01)
    host = guarded(flext_world, flext_service, calls=3)
    answers = flext_world.all([flext_world.sender(host, "GET", "/")] * 15)
    assert [each.status_code for each in answers] == [200] * 15
    assert flext_service.most_active == 3


def test_one_call_too_many_is_refused(flext_service, flext_world):
    flext_service.answer = Answer(delay=0.2)
    host = guarded(flext_world, flext_service, calls=1, queue=2)
    answers = flext_world.all([flext_world.sender(host, "GET", "/")] * 5)
    refused = [each for each in answers if isinstance(each, Refused)]
    assert len(refused) == 2
    assert {str(each) for each in refused} == {
        "service: bulkhead: all 1 permits are taken, and 2 callers wait already"
    }


def test_who_waits_too_long_is_refused(flext_service, flext_world):
    flext_service.answer = Answer(delay=0.3)
    host = guarded(flext_world, flext_service, calls=1, timeout=0.05)
    answers = flext_world.all([flext_world.sender(host, "GET", "/")] * 2)
    (refused,) = [each for each in answers if isinstance(each, Refused)]
    assert str(refused).endswith("all 1 permits are taken, and none came back for 0.05 s")


async def test_a_body_that_is_still_read_counts_and_so_does_an_operation(
    flext_service, flext_world
):
    flext_service.answer = Answer(body=b"x" * 300_000)
    host = guarded(flext_world, flext_service, calls=1, queue=0)
    client = (await flext_world.client(host)).plain
    if flext_world.asynchronous:
        search = await host.aresource("service", Search)
        response = await client.send(client.build_request("GET", "/"), stream=True)
    else:
        search = host.resource("service", Search)
        stream = {"stream": True}
        response = (
            client.request("GET", "/", **stream)
            if flext_world.name == "requests"
            else client.send(client.build_request("GET", "/"), **stream)
        )
    with pytest.raises(Refused):
        await search.do()
    if flext_world.asynchronous:
        await response.aclose()
    else:
        response.close()
    assert await search.do() == ""
