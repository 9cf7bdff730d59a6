"""What plugins report to somebody who looks in from outside."""

from __future__ import annotations

import asyncio
import json
import os
import threading

import pytest

from flext_plugins import Host, PluginError, Status, events, hookimpl
from flext_plugins.status import ConnectionStatus, PluginVersion, ServiceStatus
from flext_plugins.testing import Answer


def status_of(host):
    """The plugins' facts by service, asked in a thread that has no part in any connection."""
    found = []
    thread = threading.Thread(target=lambda: found.append(host.status()))
    thread.start()
    thread.join()
    services = found[0].services.items()
    opened = {name: [each.plugins for each in service.connections] for name, service in services}
    return {name: plugins for name, plugins in opened.items() if plugins}


class Counter:
    """Reports how many requests it has seen, and can forget them."""

    def __init__(self):
        self.seen = 0

    @hookimpl
    def flext_request(self):
        self.seen += 1

    @hookimpl
    def flext_status(self, connection):
        facts = {"seen": self.seen, "asynchronous": connection.asynchronous}
        return Status(facts, {"forget": self.forget})

    def forget(self):
        self.seen = 0


class Silent:
    """Reports nothing: it has no such hook."""

    @hookimpl
    def flext_request(self): ...


@pytest.mark.contract("status-from-any-thread")
def test_a_plugin_reports_its_state_to_any_thread_and_is_told_what_to_do(
    flext_world, flext_service
):
    host = flext_world.serve(flext_service, Counter, Silent)
    assert status_of(host) == {}
    flext_world.get(host)
    flext_world.get(host)
    assert [*status_of(host)] == ["service"]
    state = flext_world.status(host)["counter"]
    assert state.facts == {"seen": 2, "asynchronous": flext_world.asynchronous}
    state.actions["forget"]()
    assert [each.facts["seen"] for each in flext_world.status(host).values()] == [0]


@pytest.mark.contract("status-from-any-thread")
def test_each_open_connection_reports_that_of_sync_code_first(flext_service):
    plugins = {"counter": {}}
    services = {
        "used": {"base_url": flext_service.url, "plugins": plugins},
        "never-opened": {"base_url": flext_service.url, "plugins": plugins},
    }

    async def opened(host):
        await (await host.aconnect("used")).aclose()
        return status_of(host)

    with Host({"services": services}) as host:
        host.register(Counter, "counter")
        with asyncio.Runner() as first, asyncio.Runner() as second:
            first.run(opened(host))
            second.run(opened(host))
            host.connect("used").close()
            found = status_of(host)
            assert [*found] == ["used"]
            worlds = [each["counter"]["asynchronous"] for each in found["used"]]
            assert worlds == [False, True, True]
        assert [each["counter"]["asynchronous"] for each in status_of(host)["used"]] == [False]
    assert status_of(host) == {}


@pytest.mark.contract("status-from-any-thread")
def test_a_connection_that_is_being_opened_is_not_asked(flext_world, flext_service):
    found = []

    class Looks(Counter):
        @hookimpl
        def flext_connect(self):
            found.append(status_of(host))

    host = flext_world.serve(flext_service, Looks)
    flext_world.get(host)
    assert found == [{}]
    assert [*status_of(host)] == ["service"]


class Fails:
    """Has nothing to report but an error."""

    @hookimpl
    def flext_status(self):
        raise ValueError("no idea")


class Odd:
    """Reports what is no status."""

    @hookimpl
    def flext_status(self):
        return {"up": True}


@pytest.mark.parametrize(("plugin", "kind"), [(Fails, ValueError), (Odd, PluginError)])
@pytest.mark.contract("status-is-an-observer")
def test_a_plugin_that_cannot_report_hurts_nobody_and_is_reported_itself(
    flext_world, flext_service, flext_record, plugin, kind
):
    host = flext_world.serve(flext_service, plugin, Counter, flext_record.of())
    flext_world.get(host)
    facts = {"seen": 1, "asynchronous": flext_world.asynchronous}
    assert facts in [each.facts for each in flext_world.status(host).values()]
    (failed,) = flext_record.events(events.PluginFailed)
    assert failed.hook == "flext_status"
    assert type(failed.error) is kind
    assert flext_world.get(host).status_code == 200


def test_a_status_is_a_plain_function(flext_world, flext_service):
    class Waits:
        @hookimpl
        async def flext_status(self): ...

    with pytest.raises(PluginError, match="flext_status must not be async def"):
        flext_world.get(flext_world.serve(flext_service, Waits))


@pytest.mark.contract("events-reach-every-receiver")
def test_a_plugin_can_ask_whether_anybody_would_hear_of_an_event(
    flext_world, flext_service, flext_record
):
    found = []

    class Asks:
        @hookimpl
        def flext_connect(self, connection):
            found.append(connection.has_receivers)

    flext_world.get(flext_world.serve(flext_service, Asks))
    flext_world.get(flext_world.serve(flext_service, Asks, flext_record.of()))
    assert found == [False, True]


@pytest.mark.contract("status-from-any-thread")
async def test_a_host_tells_of_its_services_and_what_goes_on(flext_world, flext_service):
    services = {
        "used": {"base_url": flext_service.url, "max_connections": 2, "plugins": {"counter": {}}},
        "unused": {"base_url": "http://ana:s3cret@unused.example?token=s3cret"},
    }
    host = flext_world.host({"services": services}, counter=Counter)
    client = (await flext_world.client(host, "used")).plain
    if flext_world.name == "requests":
        answer = client.get("/", stream=True)
    else:
        request = client.build_request("GET", "/")
        answer = client.send(request, stream=True)
        answer = await answer if flext_world.asynchronous else answer

    status = host.status()
    assert (status.process, status.closed, status.sources) == (os.getpid(), False, ("code",))
    assert [*status.services] == ["used", "unused"]
    assert status.services["unused"] == ServiceStatus("http://unused.example?token=***", (), ())
    used = status.services["used"]
    assert used.plugins == (PluginVersion("counter", None, None),)
    world = "async" if flext_world.asynchronous else "sync"
    facts = {"counter": {"seen": 1, "asynchronous": flext_world.asynchronous}}
    assert used.connections == (ConnectionStatus(world, 1, 0, 2, facts),)

    if flext_world.asynchronous:
        await answer.aclose()
    else:
        answer.close()
    assert host.status().services["used"].connections[0].under_way == 0
    assert "s3cret" not in json.dumps(status.as_dict())


async def test_who_waits_for_a_permit_is_counted(flext_async_world, flext_service):
    flext_service.answer = Answer(delay=0.3)
    host = flext_async_world.serve(flext_service, max_connections=1)
    client = (await flext_async_world.client(host)).plain
    calls = [asyncio.create_task(client.get("/")) for _ in range(3)]
    await asyncio.sleep(0.15)
    (connection,) = host.status().services["service"].connections
    assert (connection.under_way, connection.waiting, connection.limit) == (1, 2, 1)
    await asyncio.gather(*calls)


def test_a_status_composes_nothing_so_that_more_can_be_provided(flext_service):
    with Host({"services": {"a": {"base_url": flext_service.url, "plugins": {"x": {}}}}}) as host:
        assert host.status().services["a"].plugins == ()
        host.register(Counter, "x")
        host.check()
        assert [each.name for each in host.status().services["a"].plugins] == ["x"]
    assert host.status().closed
