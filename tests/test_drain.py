"""Closing a host is no outage: calls under way get their time, and then a refusal."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest
from test_logging import told

from flext_plugins import Host, Operation, Refused, events, hookimpl
from flext_plugins.testing import Answer


class Judges:
    """Notes what became of each attempt, and would send again what failed."""

    seen: list[object] = []

    @hookimpl
    async def flext_exchange(self, request, connection, send):
        for _ in range(3):
            try:
                response = await send(request)
            except Exception as error:
                self.seen.append(connection.failure(error))
                if not connection.failure(error):
                    raise
            else:
                self.seen.append(response.status_code)
                return response
        raise AssertionError("sent three times")


class Hears:
    """Keeps what is told of closing, and whether the call that it is about was there."""

    told: list[object] = []

    @hookimpl
    def flext_event(self, event, connection):
        if isinstance(event, events.CallDrained):
            self.told.append((event.sent, connection.call is event.call))


@pytest.fixture(autouse=True)
def _forget():
    Judges.seen.clear()
    Hears.told.clear()


def begun(world, work):
    """A thread in which `work` goes on in its world, and what it comes to."""
    outcome = []

    def run():
        try:
            outcome.append(world.run(work))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def closed(host, drain):
    started = time.monotonic()
    host.close(drain)
    return time.monotonic() - started


def busy(service):
    while not service.active:
        time.sleep(0.01)


@pytest.mark.contract("closing-drains")
def test_a_call_under_way_has_the_time_that_it_needs(flext_service, flext_world):
    flext_service.answer = Answer(delay=0.4)
    host = flext_world.serve(flext_service, Judges)
    thread, outcome = begun(flext_world, flext_world.sender(host, "GET", "/"))
    busy(flext_service)
    took = closed(host, 5)
    thread.join()
    assert outcome[0].status_code == 200
    assert Judges.seen == [200]
    assert took < 2


@pytest.mark.contract("closing-drains")
def test_after_that_it_is_refused_which_is_nobodys_failure(flext_service, flext_world, caplog):
    flext_service.answer = Answer(delay=0.8)
    host = flext_world.serve(flext_service, Judges)
    thread, outcome = begun(flext_world, flext_world.sender(host, "GET", "/"))
    busy(flext_service)
    closed(host, 0.2)
    thread.join()
    error = outcome[0]
    assert isinstance(error, Refused)
    assert isinstance(error, flext_world.lib.TransportError)
    assert "the host is closed" in str(error)
    assert error.sent
    assert Judges.seen == [None]
    assert len(flext_service.received) == 1
    assert told(caplog) == ["closed with 1 calls under way"]


@pytest.mark.contract("closing-drains")
def test_new_calls_are_refused_at_once(flext_service, flext_world):
    flext_service.answer = Answer(delay=0.5)
    host = flext_world.serve(flext_service)
    thread, outcome = begun(flext_world, flext_world.sender(host, "GET", "/"))
    busy(flext_service)
    closing = threading.Thread(target=host.close, args=(5,))
    closing.start()
    time.sleep(0.1)
    refused = []

    def other():
        try:
            host.connect("service").get("/new")
        except Refused as error:
            refused.append(error)

    another = threading.Thread(target=other)
    another.start()
    another.join(0.3)
    closing.join()
    thread.join()
    (error,) = refused
    assert "the host is closed" in str(error)
    assert not error.sent
    assert outcome[0].status_code == 200
    assert flext_service.paths() == ["/"]


@pytest.mark.contract("drained-call-is-told")
def test_a_call_that_closing_refuses_is_told_and_so_is_one_that_it_cuts(flext_service, flext_world):
    flext_service.answer = Answer(delay=1)
    host = flext_world.serve(flext_service, Judges, Hears)

    def late():
        time.sleep(0.3)
        return flext_world.get(host, "/late")

    async def alate():
        await asyncio.sleep(0.3)
        return await (await flext_world.client(host)).plain.get("/late")

    def work():
        senders = [flext_world.sender(host, "GET", "/")]
        return flext_world.all([*senders, alate if flext_world.asynchronous else late])

    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.extend(work()))
    thread.start()
    busy(flext_service)
    closed(host, 0.6)
    thread.join()
    assert all(isinstance(each, Refused) for each in outcomes)
    assert Hears.told == [(False, True), (True, True)]


class Insists:
    """Sends again what was refused."""

    @hookimpl
    async def flext_exchange(self, request, send):
        try:
            return await send(request)
        except Refused:
            return await send(request)


@pytest.mark.contract("drained-call-is-told")
def test_it_is_told_once_also_of_a_call_that_is_sent_again(flext_service, flext_world):
    flext_service.answer = Answer(delay=0.5)
    host = flext_world.serve(flext_service, Insists, Hears)
    thread, outcome = begun(flext_world, flext_world.sender(host, "GET", "/"))
    busy(flext_service)
    closed(host, 0)
    thread.join()
    assert isinstance(outcome[0], Refused)
    assert Hears.told == [(True, True)]


@pytest.mark.contract("drained-call-is-told")
def test_nothing_is_told_of_calls_that_end_in_time(flext_service, flext_world):
    flext_service.answer = Answer(delay=0.2)
    host = flext_world.serve(flext_service, Hears)
    thread, outcome = begun(flext_world, flext_world.sender(host, "GET", "/"))
    busy(flext_service)
    closed(host, 5)
    thread.join()
    assert outcome[0].status_code == 200
    assert Hears.told == []


@pytest.mark.contract("closing-drains", "drained-call-is-told")
def test_a_body_under_way_is_waited_for_and_then_refused(flext_service, flext_httpx_world):
    world = flext_httpx_world
    flext_service.answer = Answer(chunks=[b"a"] * 30, pause=0.1)
    host = world.serve(flext_service, Hears)
    reading = threading.Event()

    def sync():
        with world.connect(host) as client, client.stream("GET", "/") as response:
            for _ in response.iter_raw():
                reading.set()

    async def asynchronous():
        async with world.aconnect(host) as client, client.stream("GET", "/") as response:
            async for _ in response.aiter_raw():
                reading.set()

    thread, outcome = begun(world, asynchronous if world.asynchronous else sync)
    reading.wait(5)
    took = closed(host, 0.5)
    thread.join()
    assert isinstance(outcome[0], Refused)
    assert isinstance(outcome[0], world.lib.TransportError)
    assert outcome[0].sent
    assert Hears.told == [(True, True)]
    assert 0.4 < took < 2


class Slow:
    """Lends what takes its time."""

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Slow.Work, Slow.Work(connection))

    class Work:
        def __init__(self, connection):
            self.connection = connection

        async def do(self):
            return await self.connection.perform(Operation("slow", "do", "it"), self._sleep)

        async def _sleep(self):
            await self.connection.sleep(0.3)
            return "done"


@pytest.mark.contract("closing-drains", "drained-call-is-told")
def test_an_operation_under_way_is_waited_for(flext_service):
    with Host({"services": {"slow": {"plugins": {"slow": {}, "hears": {}}}}}) as host:
        host.register(Slow, "slow")
        host.register(Hears, "hears")

        async def operate():
            work = await host.aresource("slow", Slow.Work)
            doing = asyncio.create_task(work.do())
            await asyncio.sleep(0.05)
            await host.aclose(drain=5)
            assert doing.done()
            with pytest.raises(Refused):
                await work.do()
            return await doing

        assert asyncio.run(operate()) == "done"
        assert Hears.told == [(False, True)]


@pytest.mark.contract("closing-drains")
def test_leaving_the_block_drains_for_as_long_as_the_configuration_says(flext_service):
    flext_service.answer = Answer(delay=0.4)
    config = {"host": {"drain": 5}, "services": {"service": {"base_url": flext_service.url}}}

    async def calls():
        async with Host(config) as host:
            client = await host.aconnect("service")
            call = asyncio.create_task(client.get("/"))
            await asyncio.sleep(0.1)
        return call.done() and call.result().status_code

    assert asyncio.run(calls()) == 200
    outcome = []
    with Host(config) as host:
        client = host.connect("service")
        thread = threading.Thread(target=lambda: outcome.append(client.get("/").status_code))
        thread.start()
        time.sleep(0.1)
    thread.join()
    assert outcome == [200]


def test_a_time_that_is_none_closes_nothing(flext_service, flext_world):
    host = flext_world.serve(flext_service)
    with pytest.raises(TypeError):
        flext_world.run(lambda: host.aclose("5") if flext_world.asynchronous else host.close("5"))
    assert flext_world.get(host).status_code == 200


def test_nothing_is_said_where_nothing_is_under_way(flext_service, flext_world, caplog):
    caplog.set_level(logging.DEBUG, "flext_plugins")
    host = flext_world.serve(flext_service)
    flext_world.get(host)
    started = time.monotonic()
    flext_world.close(host)
    assert time.monotonic() - started < 1
    assert told(caplog, logging.DEBUG) == []
