"""What plugins report to somebody who looks in from outside."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flext_plugins import PluginError, Status, events, hookimpl


def status_of(host):
    """What is reported now, asked in a thread that has no part in any connection."""
    found = []
    thread = threading.Thread(target=lambda: found.append(host._runtime.channels.status()))
    thread.start()
    thread.join()
    return found[0]


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
    from flext_plugins import Host

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
            worlds = [each["counter"].facts["asynchronous"] for each in found["used"]]
            assert worlds == [False, True, True]
        assert [each["counter"].facts["asynchronous"] for each in status_of(host)["used"]] == [
            False
        ]
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
