"""How connections end: each plugin gives up what it had, the innermost first, and may still send."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import warnings

import pytest
from pydantic import BaseModel

from flext_plugins import (
    Host,
    PluginError,
    Refused,
    ServiceName,
    Stage,
    events,
    hookimpl,
    options,
)

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


class Lives:
    """Notes when it connects and disconnects, and when what it lends is closed."""

    fails = ""

    @hookimpl
    def flext_connect(self, connection):
        self.note("connect")
        connection.provide(str, self.name, self.name, close=lambda: self.note("close"))

    @hookimpl
    def flext_disconnect(self, connection):
        self.note("disconnect")

    def note(self, what):
        self.seen.append(f"{self.name} {what}")
        if self.fails == what:
            raise ValueError(f"{self.name} {what}")


def lives(name, seen, **more):
    return type(name, (Lives,), {"name": name, "seen": seen, **more})


class Session:
    """Logs out at a service that its settings name, as its connection closes."""

    class Settings(BaseModel):
        at: ServiceName

    def __init__(self, settings, service):
        self.at, self.name = settings.at, service.name

    @hookimpl
    async def flext_disconnect(self, connection):
        path = f"/logout/{self.name}"
        answer = await connection.request(self.at, "POST", path)
        assert await connection.read(answer) is not None


def logging_out(service, **targets):
    """A configuration of services on one server, each of which logs out at another."""
    names = [*targets, *(each for each in targets.values() if each not in targets)]
    return {
        "services": {
            name: {
                "base_url": service.url,
                "plugins": {"session": {"at": targets[name]}} if name in targets else {},
            }
            for name in names
        }
    }


# The order of closing


@pytest.mark.contract("disconnect-comes-first")
def test_plugins_disconnect_innermost_first_before_what_they_lent_is_closed(
    flext_service, flext_world
):
    seen = []
    host = flext_world.serve(flext_service, *[lives(name, seen) for name in ("a", "b")])
    flext_world.get(host)
    flext_world.close(host)
    flext_world.close(host)

    connected = ["a connect", "b connect"]
    assert seen == [*connected, "b disconnect", "a disconnect", "b close", "a close"]


@pytest.mark.contract("disconnect-comes-first")
def test_a_plugin_that_only_disconnects_does_and_may_await(flext_service, flext_world):
    seen = []

    class Leaves:
        @hookimpl
        async def flext_disconnect(self, connection):
            await connection.sleep(0.01)
            seen.append(await connection.run(str, connection.service.name))

    host = flext_world.serve(flext_service, Leaves)
    flext_world.get(host)
    flext_world.close(host)

    assert seen == ["service"]


@pytest.mark.contract("disconnect-comes-first")
def test_nothing_disconnects_from_what_was_never_opened(flext_service, flext_world):
    seen = []
    host = flext_world.serve(flext_service, lives("a", seen))
    host.check()
    flext_world.close(host)

    assert seen == []


@pytest.mark.contract("disconnect-comes-first")
def test_no_call_is_under_way_whoever_closes(flext_service, flext_elsewhere, flext_world):
    """Here an opening fails that a call has caused, whose time is up by then."""
    calls = []

    class Asks(Session):
        stage = Stage.AUTH

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            with pytest.raises(PluginError, match="KeyError"):
                await connection.request(self.at, "GET", "/")
            return await send(request)

        @hookimpl
        def flext_disconnect(self): ...

    class Fails:
        @hookimpl
        async def flext_connect(self, connection):
            calls.append(connection.call.remaining())
            await connection.run(time.sleep, 0.11)
            raise KeyError

    class Leaves:
        @hookimpl
        async def flext_disconnect(self, connection):
            calls.append(connection.call)
            await connection.sleep(0.01)

    config = {
        "services": {
            "service": {"base_url": flext_service.url, "plugins": {"asks": {"at": "other"}}},
            "other": {"base_url": flext_elsewhere.url, "plugins": {"leaves": {}, "fails": {}}},
        }
    }
    host = flext_world.host(config, asks=Asks, leaves=Leaves, fails=Fails)
    with options(deadline=5):
        flext_world.get(host)

    assert 0 < calls[0] <= 5
    assert calls[1:] == [None]


# What may still be sent


@pytest.mark.contract("disconnect-may-send")
def test_a_plugin_may_send_to_its_own_service_as_it_disconnects(flext_service, flext_world):
    host = flext_world.host(logging_out(flext_service, a="a"), session=Session)
    flext_world.get(host, service="a")
    flext_world.close(host)

    assert flext_service.paths() == ["/", "/logout/a"]


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.contract("disconnect-may-send")
def test_a_service_closes_after_those_that_may_ask_it(flext_service, flext_world, first):
    """Whichever was opened first."""
    host = flext_world.host(logging_out(flext_service, a="b", b="c"), session=Session)
    for name in sorted("abc", reverse=first == "b"):
        flext_world.get(host, f"/{name}", service=name)
    flext_world.close(host)

    assert flext_service.paths()[3:] == ["/logout/a", "/logout/b"]


@pytest.mark.contract("disconnect-may-send")
def test_a_service_that_was_not_open_is_opened_for_the_last_request_and_closed(
    flext_service, flext_world
):
    host = flext_world.host(logging_out(flext_service, a="b", b="c"), session=Session)
    flext_world.get(host, service="a")
    flext_world.close(host)

    assert flext_service.paths()[1:] == ["/logout/a", "/logout/b"]
    with pytest.raises(Refused, match="the host is closed"):
        flext_world.get(host, service="c")


@pytest.mark.contract("opens-once")
async def test_while_a_connection_opens_nobody_gets_through(flext_service, flext_world):
    """Whoever comes meanwhile waits, in whichever task or thread."""
    seen = []

    class Slow:
        has_opened = False

        @hookimpl
        async def flext_connect(self, connection):
            await connection.sleep(0.2)
            self.has_opened = True

        @hookimpl
        def flext_request(self):
            seen.append(self.has_opened)

    host = flext_world.serve(flext_service, Slow)
    senders = [flext_world.sender(host, "GET", "/") for _ in range(3)]
    if flext_world.asynchronous:
        await asyncio.gather(*(each() for each in senders))
    else:
        flext_world.all(senders)
    assert seen == [True] * 3


@pytest.mark.contract("disconnect-may-send")
def test_while_a_connection_closes_nobody_else_gets_through(flext_service, flext_world):
    closing, refused = threading.Event(), threading.Event()

    class Slow(Session):
        @hookimpl
        async def flext_disconnect(self, connection):
            closing.set()
            await connection.run(refused.wait, 5)
            await connection.close(await connection.request(self.at, "GET", "/last"))

    host = flext_world.host(logging_out(flext_service, a="a"), session=Slow)
    send = flext_world.sender(host, "GET", "/late", service="a")
    flext_world.get(host, service="a")

    def late():
        closing.wait(5)
        with pytest.raises(Refused, match="the host is closed"):
            send()
        refused.set()

    async def alate():
        while not closing.is_set():
            await asyncio.sleep(0.005)
        with pytest.raises(Refused, match="the host is closed"):
            await send()
        refused.set()

    works = [host.aclose, alate] if flext_world.asynchronous else [host.close, late]
    assert flext_world.all(works) == [None, None]
    assert flext_service.paths() == ["/", "/last"]


@pytest.mark.contract("disconnected-takes-no-part")
def test_what_has_disconnected_takes_no_part_in_the_last_requests_of_others(
    flext_service, flext_world
):
    seen = []

    class Inner:
        @hookimpl
        def flext_request(self):
            seen.append("inner request")

        @hookimpl
        def flext_disconnect(self):
            seen.append("inner disconnect")

        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.CallFinished):
                seen.append("inner event")

    class Open:
        """Has nothing to give up, so it stays until the end."""

        @hookimpl
        def flext_request(self):
            seen.append("open request")

        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.CallFinished):
                seen.append("open event")

    config = logging_out(flext_service, a="a")
    config["services"]["a"]["plugins"] |= {"open": {}, "inner": {}}
    host = flext_world.host(config, session=Session, open=Open, inner=Inner)
    flext_world.get(host, service="a")
    flext_world.close(host)

    assert sorted(seen[:4]) == ["inner event", "inner request", "open event", "open request"]
    assert seen[4:] == ["inner disconnect", "open request", "open event"]


# What goes wrong


@pytest.mark.contract("disconnect-failures-are-told")
def test_what_disconnecting_raises_is_told_together_and_all_of_it_runs(flext_service, flext_world):
    seen = []
    plugins = [
        lives("a", seen, fails="disconnect"),
        lives("b", seen, fails="close"),
        lives("c", seen, fails="disconnect"),
    ]
    host = flext_world.serve(flext_service, *plugins)
    flext_world.get(host)
    with pytest.raises(ExceptionGroup) as caught:
        flext_world.close(host)

    assert seen[3:6] == ["c disconnect", "b disconnect", "a disconnect"]
    assert seen[6:] == ["c close", "b close", "a close"]
    (of_service,) = caught.value.exceptions
    first, second, third = of_service.exceptions
    assert (first.plugin, first.hook, first.service) == ("c", "flext_disconnect", "service")
    assert str(first).startswith("service: c: flext_disconnect raised ValueError at test_disconn")
    assert second.plugin == "a"
    assert isinstance(third, ValueError)


@pytest.mark.contract("disconnect-failures-are-told")
def test_an_observer_that_cannot_disconnect_is_reported(flext_service, flext_world):
    heard = []

    class Hears:
        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.PluginFailed):
                heard.append((event.plugin, event.hook, type(event.error)))

    class Watches:
        observer = True

        @hookimpl
        async def flext_disconnect(self):
            raise Refused("no")

    host = flext_world.serve(flext_service, Hears, Watches)
    flext_world.get(host)
    flext_world.close(host)

    assert heard == [("watches", "flext_disconnect", Refused)]


@pytest.mark.contract("disconnect-failures-are-told")
def test_one_that_awaits_what_a_sync_connection_cannot_is_named_and_the_rest_runs(
    flext_service, flext_sync_world
):
    seen = []

    class Sleeps:
        @hookimpl
        async def flext_disconnect(self):
            await asyncio.sleep(0.001)

    class AlsoSleeps(Sleeps):
        pass

    host = flext_sync_world.serve(flext_service, lives("a", seen), Sleeps, AlsoSleeps)
    flext_sync_world.get(host)
    with pytest.raises(ExceptionGroup) as caught:
        flext_sync_world.close(host)

    assert [each.plugin for each in caught.value.exceptions[0].exceptions] == [
        "alsosleeps",
        "sleeps",
    ]
    assert seen == ["a connect", "a disconnect", "a close"]


@pytest.mark.contract("disconnect-failures-are-told")
def test_a_cancellation_ends_what_waits_and_the_rest_still_runs(flext_service, flext_async_world):
    seen = []

    class Hangs:
        @hookimpl
        async def flext_disconnect(self, connection):
            seen.append("hangs")
            await connection.sleep(60)

    host = flext_async_world.serve(flext_service, lives("a", seen), Hangs)
    flext_async_world.get(host)

    async def close():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await host.aclose()

    flext_async_world.run(close)

    assert seen == ["a connect", "hangs", "a disconnect", "a close"]


@pytest.mark.contract("opening-is-all-or-nothing")
def test_if_an_opening_fails_those_that_had_connected_disconnect_in_reverse(
    flext_service, flext_world
):
    seen = []

    class Leaves:
        @hookimpl
        def flext_disconnect(self):
            seen.append("leaves disconnect")

    plugins = [
        lives("a", seen, fails="disconnect"),
        Leaves,
        lives("c", seen, fails="connect"),
        lives("d", seen),
    ]
    host = flext_world.serve(flext_service, *plugins)
    for _ in range(2):
        with pytest.raises(PluginError, match="c: flext_connect raised ValueError") as caught:
            flext_world.get(host)
        (note,) = caught.value.__notes__
        assert note.startswith("while undoing the opening: PluginError(")
        assert "flext_disconnect raised ValueError" in note
    flext_world.close(host)

    once = ["a connect", "c connect", "leaves disconnect", "a disconnect", "a close"]
    assert seen == once * 2


@pytest.mark.contract("opening-is-all-or-nothing")
def test_an_observer_that_could_not_connect_does_not_disconnect(flext_service, flext_world):
    seen = []
    kind = lives("a", seen, fails="connect", observer=True)
    host = flext_world.serve(flext_service, kind)
    flext_world.get(host)
    flext_world.close(host)

    assert seen == ["a connect"]


@pytest.mark.contract("closed-host-refuses")
def test_what_was_connecting_while_the_host_closed_disconnects(flext_service, flext_world):
    connecting, closed, seen = threading.Event(), threading.Event(), []

    class Slow(lives("slow", seen)):
        @hookimpl
        async def flext_connect(self, connection):
            connecting.set()
            await connection.run(closed.wait, 5)

    host = flext_world.serve(flext_service, lives("a", seen), Slow, lives("never", seen))

    def close():
        connecting.wait(5)
        host.close()
        closed.set()

    async def aclose():
        while not connecting.is_set():
            await asyncio.sleep(0.005)
        await host.aclose()
        closed.set()

    refused, _ = flext_world.all(
        [flext_world.sender(host, "GET", "/"), aclose if flext_world.asynchronous else close]
    )

    assert isinstance(refused, Refused)
    assert seen == ["a connect", "slow disconnect", "a disconnect", "a close"]


# Loops, threads and forks


@pytest.mark.contract("connections-end-with-their-loop")
def test_plugins_disconnect_as_their_loop_ends_and_may_still_send(flext_service, flext_async_world):
    """Both of the asking services and the asked one end together with the loop."""
    told = []
    host = Host(logging_out(flext_service, a="b", b="b", c="b"))
    host.register(Session, "session")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        for name in ("b", "a", "c"):
            async with flext_async_world.aconnect(host, name) as client:
                await client.get(f"/{name}")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            asyncio.run(main())
            paths = flext_service.paths()
            assert sorted(paths[-3:-1]) == ["/logout/a", "/logout/c"]
            assert paths[-1] == "/logout/b"
        gc.collect()
    host.close()

    assert len(flext_service.received) == 12
    assert told == []


@pytest.mark.contract("disconnect-failures-are-told")
def test_what_goes_wrong_as_a_loop_ends_its_exception_handler_is_told(
    flext_service, flext_async_world
):
    told, seen = [], []
    host = Host({"services": {"a": {"base_url": flext_service.url, "plugins": {"lives": {}}}}})
    host.register(lives("lives", seen, fails="disconnect"), "lives")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        async with flext_async_world.aconnect(host, "a") as client:
            await client.get("/")

    asyncio.run(main())
    host.close()

    ((of_service,),) = [each.exceptions for each in told]
    assert [each.plugin for each in of_service.exceptions] == ["lives"]
    assert seen == ["lives connect", "lives disconnect", "lives close"]


@pytest.mark.contract("no-disconnect-without-closing")
def test_a_loop_that_is_closed_without_ceremony_disconnects_nobody(
    flext_service, flext_async_world
):
    seen = []
    host = Host({"services": {"a": {"base_url": flext_service.url, "plugins": {"lives": {}}}}})
    host.register(lives("lives", seen), "lives")

    async def main():
        async with flext_async_world.aconnect(host, "a") as client:
            await client.get("/")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        host.close()
        gc.collect()

    assert seen == ["lives connect"]


@FORKS
@pytest.mark.contract("no-disconnect-without-closing")
def test_a_forked_child_disconnects_from_what_it_has_opened_itself_alone(
    flext_service, flext_sync_world
):
    seen = []
    host = flext_sync_world.serve(flext_service, lives("a", seen))
    flext_sync_world.get(host)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork with threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            host.close()
            code = 0 if seen == ["a connect"] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    flext_sync_world.close(host)

    assert seen == ["a connect", "a disconnect", "a close"]


@pytest.mark.contract("closing-from-elsewhere")
def test_closing_from_outside_a_running_loop_keeps_to_the_order_of_who_asks_whom(
    flext_service, flext_async_world
):
    host = Host(logging_out(flext_service, a="b", b="b"))
    host.register(Session, "session")
    ready, stop = threading.Event(), asyncio.Event()

    async def main():
        for name in ("a", "b"):
            async with flext_async_world.aconnect(host, name) as client:
                await client.get("/")
        ready.set()
        await stop.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    ready.wait(5)
    host.close()
    loop.call_soon_threadsafe(stop.set)
    thread.join(5)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

    assert flext_service.paths()[2:] == ["/logout/a", "/logout/b"]


@pytest.mark.contract("closing-from-elsewhere")
def test_a_loop_that_ends_while_it_is_closed_from_outside_closes_the_rest_itself(
    flext_service, flext_async_world
):
    ready, closing, seen = threading.Event(), threading.Event(), []

    class Hangs:
        @hookimpl
        async def flext_disconnect(self, connection):
            closing.set()
            await connection.sleep(60)

    host = Host({"services": {"a": {"base_url": flext_service.url, "plugins": {"b": {}, "h": {}}}}})
    host.register(lives("b", seen), "b")
    host.register(Hangs, "h")

    async def main():
        async with flext_async_world.aconnect(host, "a") as client:
            await client.get("/")
        ready.set()
        while not closing.is_set():
            await asyncio.sleep(0.005)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    ready.wait(5)
    host.close()
    thread.join(5)

    assert seen == ["b connect", "b disconnect", "b close"]


@pytest.mark.contract("closing-from-elsewhere")
def test_a_loop_goes_on_while_sync_connections_are_closed_from_inside_of_it(
    flext_service, flext_sync_world
):
    ticked = threading.Event()

    class Waits:
        @hookimpl
        def flext_disconnect(self):
            assert ticked.wait(5)

    host = flext_sync_world.serve(flext_service, Waits)
    flext_sync_world.get(host)

    async def main():
        asyncio.get_running_loop().call_later(0.02, ticked.set)
        await host.aclose()

    asyncio.run(main())


# The state of a connection


@pytest.mark.contract("state-per-connection")
def test_each_plugin_has_a_state_of_its_own_for_each_connection(flext_service, flext_world):
    seen = []

    class Keeps:
        @hookimpl
        def flext_connect(self, connection):
            assert connection.state == {}
            connection.state["number"] = 1

        @hookimpl
        def flext_request(self, request, connection):
            connection.state["number"] += 1

        @hookimpl
        def flext_disconnect(self, connection):
            seen.append((type(self).__name__, connection.state["number"]))

    class Other(Keeps):
        @hookimpl
        def flext_request(self, connection): ...

    host = flext_world.serve(flext_service, Keeps, Other)
    flext_world.get(host)

    async def main():
        async with host.aconnect("service") as client:
            for _ in range(2):
                await client.get("/")

    for _ in range(2):
        asyncio.run(main())
        assert seen[-2:] == [("Other", 1), ("Keeps", 3)]
    flext_world.get(host)
    flext_world.close(host)

    assert seen[4:] == [("Other", 1), ("Keeps", 3)]


@pytest.mark.contract("state-per-connection")
def test_a_connection_that_opens_anew_has_an_empty_state(flext_service, flext_world):
    states, fails = [], [True, False]

    class Keeps:
        @hookimpl
        def flext_connect(self, connection):
            states.append(dict(connection.state))
            connection.state["half"] = "open"

    class Fails:
        @hookimpl
        def flext_connect(self):
            if fails.pop(0):
                raise KeyError

    host = flext_world.serve(flext_service, Keeps, Fails)
    with pytest.raises(PluginError):
        flext_world.get(host)
    flext_world.get(host)

    assert states == [{}, {}]
