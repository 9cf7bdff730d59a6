"""`connection.permit`: callers wait for each other, in threads and event loops alike."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest
from pydantic import BaseModel

from flext_plugins import (
    Connection,
    DeadlineExceeded,
    Operation,
    PluginError,
    Refused,
    ServiceName,
    Stage,
    events,
    hookimpl,
    options,
)
from flext_plugins._permits import Holding, Permits
from flext_plugins.testing import Answer, World


class Lends:
    """Lends its connection, for a test to ask it for permits outside of a call."""

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Connection, connection)


async def lent(world, host, service="service"):
    if world.asynchronous:
        return await host.aresource(service, Connection)
    return host.resource(service, Connection)


def bulkhead(capacity, *, body=False, **limits):
    """A plugin that lets so many exchanges and operations go on at a time."""

    class Bulkhead:
        stage = Stage.GUARD

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            if not body:
                async with connection.permit("key", capacity, **limits):
                    return await send(request)
            permit = await connection.permit("key", capacity, **limits)
            response = await send(request)
            connection.watch(response, lambda *_: permit.release())
            return response

        @hookimpl
        async def flext_operation(self, operation, proceed, connection):
            async with connection.permit("key", capacity, **limits):
                return await proceed(operation)

    return Bulkhead


class Crowd:
    """Counts those who are inside."""

    def __init__(self):
        self.lock = threading.Lock()
        self.inside = self.most = self.passed = 0

    @contextlib.contextmanager
    def enter(self):
        with self.lock:
            self.inside += 1
            self.passed += 1
            self.most = max(self.most, self.inside)
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1


class Waits:
    """One who waits, at the first look."""

    loop, is_away, is_here, is_lost = None, False, False, False

    def wake(self):
        pass


def permits_of(host):
    """The only permits that plugins of `host` have asked for."""
    (permits,) = host._runtime.permits._by_key.values()
    return permits


def until(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


async def auntil(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def are_in_line(host, count):
    return lambda: len(permits_of(host)._line) == count


def assert_all_back(host):
    permits = permits_of(host)
    assert len(permits._free) == permits.capacity
    assert not permits._line
    assert not permits._granted
    assert not permits.in_loops


@contextlib.contextmanager
def loop_in_a_thread():
    """An event loop that runs elsewhere."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


# how many


@pytest.mark.contract("permit-bounds")
async def test_no_more_than_its_capacity_go_on_at_a_time(flext_service, flext_world):
    host, crowd = flext_world.serve(flext_service, Lends), Crowd()
    connection = await lent(flext_world, host)

    async def caller():
        async with connection.permit("key", 3):
            with crowd.enter():
                await connection.sleep(0.005)

    await flext_world.together(20, caller)
    assert (crowd.most, crowd.passed) == (3, 20)
    assert_all_back(host)


@pytest.mark.contract("permit-bounds")
def test_a_bulkhead_bounds_what_the_service_has_to_answer_at_a_time(flext_service, flext_world):
    flext_service.answer = Answer(delay=0.01)
    host = flext_world.serve(flext_service, bulkhead(2))
    for answer in flext_world.all([flext_world.sender(host, "GET", "/")] * 12):
        assert answer.status_code == 200
    assert flext_service.most_active == 2
    assert_all_back(host)


@pytest.mark.contract("permit-bounds")
async def test_who_is_refused_inside_or_fails_gives_its_permit_back(flext_service, flext_world):
    host = flext_world.serve(flext_service, bulkhead(1, queue=0))
    client = await flext_world.client(host)
    for _ in range(3):
        flext_service.answer = Answer(reset=True)
        with pytest.raises(flext_world.lib.TransportError):
            await client.get("/")
    flext_service.answer = Answer(200)
    assert (await client.get("/")).status_code == 200


# whose


@pytest.mark.parametrize(
    ("first", "second", "shared", "joined"),
    [
        (("a", "lends"), ("a", "lends"), False, True),
        (("a", "lends"), ("b", "lends"), False, False),
        (("a", "lends"), ("b", "lends"), True, True),
        (("a", "lends"), ("b", "renamed"), True, True),
        (("a", "lends"), ("b", "other"), True, False),
    ],
)
@pytest.mark.contract("permit-key")
async def test_a_key_belongs_to_a_plugins_instance_or_if_shared_to_its_class(
    flext_service, flext_world, first, second, shared, joined
):
    """`renamed` is the same class by another name, `other` another class."""
    other = type("Other", (Lends,), {})
    services = {
        name: {"base_url": flext_service.url, "plugins": {plugin: {}}}
        for name, plugin in (first, second)
    }
    host = flext_world.host({"services": services}, lends=Lends, renamed=Lends, other=other)
    connections = [await lent(flext_world, host, name) for name, _ in (first, second)]

    async with connections[0].permit("key", 1, shared=shared):
        again = connections[1].permit("key", 1, queue=0, shared=shared)
        with pytest.raises(Refused) if joined else contextlib.nullcontext():
            async with again:
                pass


@pytest.mark.contract("permit-key")
async def test_keys_do_not_limit_each_other(flext_service, flext_world):
    connection = await lent(flext_world, flext_world.serve(flext_service, Lends))
    async with connection.permit("one", 1), connection.permit(("two", 2), 1, queue=0):
        pass


@pytest.mark.contract("permit-key")
def test_threads_and_event_loops_share_one_count(flext_service):
    sync, first, second = World("httpx sync"), World("httpx async"), World("httpx2 async")
    flext_service.answer = Answer(delay=0.005)
    host, answers = sync.serve(flext_service, bulkhead(3)), []

    def run(world):
        answers.extend(world.all([world.sender(host, "GET", "/")] * 10))

    threads = [threading.Thread(target=run, args=(world,)) for world in (sync, first, second)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)

    assert [each.status_code for each in answers] == [200] * 30
    assert flext_service.most_active == 3
    assert_all_back(host)
    for world in (first, second, sync):
        world.end()


@pytest.mark.contract("permit-key")
async def test_another_capacity_for_the_same_key_is_the_plugins_mistake(flext_service, flext_world):
    class Changes:
        capacity = 1

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            async with connection.permit("key", self.capacity):
                return await send(request)

    client = await flext_world.client(flext_world.serve(flext_service, Changes))
    others = {2: "the capacity 2, not 1", 0: "the capacity 0", 10**9: "the capacity 1000000000"}
    for Changes.capacity, said in ((1, ""), *others.items()):
        if not said:
            await client.get("/")
            continue
        with pytest.raises(PluginError, match=f"service: changes: .*{said}"):
            await client.get("/")


@pytest.mark.contract("permit-key")
async def test_keys_that_nobody_uses_any_more_are_forgotten(flext_service, flext_world):
    """Or one for each user would be kept for ever; those in use are never forgotten."""
    host = flext_world.serve(flext_service, Lends)
    connection = await lent(flext_world, host)
    async with connection.permit("used", 1):
        for number in range(2000):
            async with connection.permit(number, 1):
                pass
        assert len(host._runtime.permits._by_key) <= 1001
        with pytest.raises(Refused):
            await connection.permit("used", 1, queue=0)


# in turn


@pytest.mark.contract("permit-in-turn")
async def test_who_comes_first_is_first(flext_service, flext_world):
    host, order, asked = flext_world.serve(flext_service, Lends), [], []
    connection = await lent(flext_world, host)
    first = await connection.permit("key", 1)

    async def caller():
        number = len(asked)
        while not are_in_line(host, number)():  # one after the other
            await connection.sleep(0.001)
        asked.append(number)
        async with connection.permit("key", 1):
            order.append(number)

    async def release():
        while not are_in_line(host, 8)():
            await connection.sleep(0.001)
        first.release()

    if flext_world.asynchronous:
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(caller())
                await asyncio.sleep(0)
            group.create_task(release())
    else:
        with ThreadPoolExecutor(9) as pool:
            for number in range(8):
                pool.submit(connection.drive, caller())
                until(are_in_line(host, number + 1))
            connection.drive(release())
    assert order == list(range(8))
    assert_all_back(host)


@pytest.mark.contract("permit-in-turn")
def test_threads_and_event_loops_stand_in_one_line(flext_service):
    order = []

    async def caller(connection, name):
        async with connection.permit("key", 1):
            order.append(name)

    with World("httpx sync") as world, loop_in_a_thread() as one, loop_in_a_thread() as two:
        host = world.serve(flext_service, Lends)
        sync = host.resource("service", Connection)

        def in_loop(loop, name):
            async def ask():
                await caller(await host.aresource("service", Connection), name)

            return asyncio.run_coroutine_threadsafe(ask(), loop).result

        def in_thread(name):
            thread = threading.Thread(target=lambda: sync.drive(caller(sync, name)))
            thread.start()
            return thread.join

        first = sync.drive(_taken(sync))
        joins = []
        for number in range(9):
            ways = partial(in_loop, one), in_thread, partial(in_loop, two)
            joins.append(ways[number % 3](number))
            until(are_in_line(host, number + 1))
        first.release()
        for join in joins:
            join(10)
        assert order == list(range(9))
        assert_all_back(host)


async def _taken(connection, *args, **options):
    return await connection.permit(*(args or ("key", 1)), **options)


@pytest.mark.contract("permit-in-turn")
async def test_who_releases_and_asks_again_stands_behind_those_who_wait(flext_service, flext_world):
    """Or one that is quick would starve the others."""
    host, order = flext_world.serve(flext_service, Lends), []
    connection = await lent(flext_world, host)

    async def greedy():
        for _ in range(200):
            async with connection.permit("key", 1):
                order.append("greedy")
                while not (permits_of(host)._line or "modest" in order):
                    await connection.sleep(0.001)

    async def modest():
        while not order:
            await connection.sleep(0.001)
        async with connection.permit("key", 1):
            order.append("modest")

    works = [greedy, modest]
    await flext_world.together(2, partial(_next_of, works))
    assert order[:3] == ["greedy", "modest", "greedy"]


async def _next_of(works):
    await works.pop()()


@pytest.mark.contract("permit-in-turn")
def test_nobody_starves_in_a_crowd_that_comes_again_and_again(flext_service):
    turns, over = dict.fromkeys(range(12), 0), threading.Event()

    async def comes(connection, number):
        while not over.is_set():
            async with connection.permit("key", 1):
                turns[number] += 1
                if sum(turns.values()) == 1200:
                    over.set()

    async def in_loop(number):
        await comes(await host.aresource("service", Connection), number)

    with World("httpx sync") as world, loop_in_a_thread() as one, loop_in_a_thread() as two:
        host = world.serve(flext_service, Lends)
        sync = host.resource("service", Connection)
        first = sync.drive(_taken(sync))
        with ThreadPoolExecutor(12) as pool:
            waits = [pool.submit(sync.drive, comes(sync, number)) for number in range(4)]
            for loop, numbers in ((one, range(4, 8)), (two, range(8, 12))):
                waits += [
                    asyncio.run_coroutine_threadsafe(in_loop(number), loop) for number in numbers
                ]
            until(are_in_line(host, 12))
            first.release()
            for each in waits:
                each.result(20)
        assert min(turns.values()) >= 30, turns  # of a hundred, if none were ever late


@pytest.mark.contract("permit-in-turn")
def test_a_newcomer_gets_nothing_that_is_about_to_be_dealt_out():
    permits = Permits(1)
    assert permits.take()
    permits._join(Waits(), None)
    with permits._lock:
        permits.give()
        assert not permits.take()


# refusals and deadlines


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"queue": 0}, "all 2 permits are taken, and nobody may wait for one"),
        ({"timeout": 0.05}, "all 2 permits are taken, and none came back for 0.05 s"),
        ({"timeout": 0}, "all 2 permits are taken, and none came back for 0 s"),
    ],
)
@pytest.mark.contract("permit-refuses")
async def test_who_may_not_wait_is_refused_and_told_why(flext_service, flext_world, limits, said):
    connection = await lent(flext_world, flext_world.serve(flext_service, Lends))
    async with connection.permit("key", 2), connection.permit("key", 2):
        with pytest.raises(Refused) as caught:
            await connection.permit("key", 2, **limits)
    assert caught.value.args == (said,)
    await connection.permit("key", 2, **limits)


@pytest.mark.contract("permit-refuses")
async def test_only_so_many_wait_as_the_queue_allows(flext_service, flext_world):
    host, release = flext_world.serve(flext_service, Lends), threading.Event()
    connection = await lent(flext_world, host)

    async def caller():
        try:
            async with connection.permit("key", 1, queue=3):
                while not release.is_set():
                    await connection.sleep(0.001)
        except Refused as error:
            refusals.append(error.args[0])
            if len(refusals) == 6:
                release.set()
            return "refused"
        return "admitted"

    refusals = []
    came = await flext_world.together(10, caller)
    assert (came.count("admitted"), came.count("refused")) == (4, 6)
    assert {*refusals} == {"all 1 permits are taken, and 3 callers wait already"}
    assert_all_back(host)


@pytest.mark.contract("permit-refuses")
async def test_a_refusal_names_the_plugin_and_is_told(flext_service, flext_world, flext_record):
    host = flext_world.serve(flext_service, bulkhead(1, queue=0), flext_record.of())
    client = await flext_world.client(host)
    connections = []

    def busy(received):
        connections.append(received)
        until(lambda: flext_record.events(events.CallRefused))
        return Answer(200)

    flext_service.answer = busy

    async def caller():
        try:
            await client.get("/")
        except flext_world.lib.TransportError as error:
            errors.append(error)

    errors = []
    await flext_world.together(2, caller)
    (refused,) = errors
    assert isinstance(refused, Refused)
    assert (refused.plugin, refused.call.answered_by) == ("bulkhead", "bulkhead")
    (event,) = flext_record.events(events.CallRefused)
    assert event.reason == "all 1 permits are taken, and nobody may wait for one"
    assert len(connections) == 1


@pytest.mark.contract("permit-refuses")
async def test_waiting_ends_with_the_calls_deadline(flext_service, flext_world):
    host = flext_world.serve(flext_service, Lends, bulkhead(1, timeout=5))
    connection = await lent(flext_world, host)
    client = await flext_world.client(host)

    permits = host._runtime.permits.of((("service", "bulkhead"), "key"), 1)
    assert permits.take()
    began = time.monotonic()
    with options(deadline=0.2), pytest.raises(DeadlineExceeded) as caught:
        await client.get("/")
    assert time.monotonic() - began < 2
    assert "no time left, waiting for bulkhead's permit" in str(caught.value)
    assert isinstance(caught.value, flext_world.lib.TimeoutException)
    assert connection.failure(caught.value) is None
    assert flext_service.received == []
    permits.give()
    assert (await client.get("/")).status_code == 200


# back again


@pytest.mark.contract("permit-comes-back-once")
async def test_a_permit_is_released_once_however_often_and_by_whom(flext_service, flext_world):
    host = flext_world.serve(flext_service, Lends)
    connection = await lent(flext_world, host)
    permit = await connection.permit("key", 1)
    threads = [threading.Thread(target=permit.release) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    permit.release()
    assert_all_back(host)
    async with connection.permit("key", 1) as entered:
        entered.release()
        async with connection.permit("key", 1):
            entered.release()
            with pytest.raises(Refused):
                await connection.permit("key", 1, queue=0)
    assert_all_back(host)


@pytest.mark.contract("permit-comes-back-once")
async def test_a_release_in_a_thread_wakes_who_waits_in_a_loop_and_the_other_way_round(
    flext_service, flext_world
):
    host = flext_world.serve(flext_service, Lends)
    connection = await lent(flext_world, host)
    permit = await connection.permit("key", 1)

    def release():
        until(are_in_line(host, 1))
        if flext_world.asynchronous:
            permit.release()
        else:
            with loop_in_a_thread() as loop:
                loop.call_soon_threadsafe(permit.release)
                until(lambda: permits_of(host)._free or not permits_of(host)._line)

    thread = threading.Thread(target=release)
    thread.start()
    async with connection.permit("key", 1, timeout=10):
        pass
    thread.join()
    assert_all_back(host)


@pytest.mark.contract("permit-comes-back-once")
async def test_a_bulkhead_may_hold_to_the_end_of_the_body(flext_service, flext_world):
    """Which the application reads where and when it likes, here in another thread."""
    flext_service.answer = Answer(body=b"x" * 300_000)
    host = flext_world.serve(flext_service, bulkhead(1, body=True, queue=0))
    client = await flext_world.client(host)
    response = await _streamed(flext_world, client)
    with pytest.raises(Refused):
        await client.get("/")
    if flext_world.asynchronous:
        await response.aclose()
    else:
        thread = threading.Thread(target=response.close)
        thread.start()
        thread.join()
    assert_all_back(host)
    assert (await client.get("/")).status_code == 200


async def _streamed(world, client):
    """A response whose body is unread."""
    if world.name == "requests":
        return client.plain.request("GET", "/", stream=True)
    sent = client.plain.send(client.plain.build_request("GET", "/"), stream=True)
    return await sent if world.asynchronous else sent


@pytest.mark.contract("permit-comes-back-once")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("limits", [{"timeout": 10}, {"queue": 0}], ids=str)
async def test_a_body_that_nobody_closes_gives_it_back_when_it_is_collected(
    flext_service, flext_world, limits
):
    """The exchange that would close it waits for the very permit that it holds."""
    flext_service.answer = Answer(body=b"x" * 300_000)
    host = flext_world.serve(flext_service, bulkhead(1, body=True, **limits))
    client = await flext_world.client(host)
    for _ in range(3):
        response = await _streamed(flext_world, client)
        del response
        gc.collect()
    assert (await client.get("/")).status_code == 200


@pytest.mark.contract("permit-comes-back-once")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("drops", ["sync", "async"])
def test_so_does_one_that_was_dropped_in_another_thread_or_loop(flext_service, flext_world, drops):
    """Where nobody may ever send again."""
    flext_service.answer = Answer(body=b"x" * 300_000)
    host = flext_world.serve(flext_service, bulkhead(1, body=True, timeout=10))

    def request():
        return httpx.Request("GET", flext_service.url)

    def drop():
        host.transport("service", httpx.BaseTransport).handle_request(request())

    async def adrop():
        transport = host.transport("service", httpx.AsyncBaseTransport)
        await transport.handle_async_request(request())

    with loop_in_a_thread() as loop:
        if drops == "sync":
            drop()
        else:
            asyncio.run_coroutine_threadsafe(adrop(), loop).result(10)
        gc.collect()
        assert flext_world.get(host).status_code == 200
        asyncio.run_coroutine_threadsafe(host.aclose(), loop).result(10)


@pytest.mark.parametrize("cycle", [False, True], ids=["at once", "by the cyclic collector"])
@pytest.mark.contract("permit-comes-back-once")
async def test_a_permit_that_is_dropped_comes_back(flext_service, flext_world, cycle):
    host = flext_world.serve(flext_service, Lends)
    connection = await lent(flext_world, host)
    permit = await connection.permit("key", 1)
    if cycle:
        holder = [permit]
        holder.append(holder)
        del holder
    del permit
    gc.collect()
    async with connection.permit("key", 1, queue=0):
        pass


@pytest.mark.contract("permit-comes-back-once")
def test_the_collector_waits_for_nobody(flext_service, flext_world):
    """It strikes in any thread and under any lock, here under that of who deals permits out."""
    host = flext_world.serve(flext_service, Lends)

    async def ask(**limits):
        return await _taken(await lent(flext_world, host), "key", 1, **limits)

    permit = flext_world.run(ask)
    with ThreadPoolExecutor(1) as pool:
        sync = host.resource("service", Connection)
        waiter = pool.submit(lambda: sync.drive(_taken(sync)))
        until(are_in_line(host, 1))
        with permits_of(host)._lock:
            began = time.monotonic()
            del permit
            gc.collect()
            assert time.monotonic() - began < 5  # a collection takes a second on a slow machine
        waiter.result(10).release()
    assert_all_back(host)


@pytest.mark.contract("permit-comes-back-once")
def test_who_deals_them_out_looks_again_for_what_came_back_meanwhile():
    """Or the next in line would not be told."""

    class Struck:
        """A lock: the collector strikes at the last moment before it is let go."""

        def __init__(self, lock):
            self.acquire, self.let_go = lock.acquire, lock.release

        def release(self):
            struck, holdings[:] = [*holdings], []
            for each in struck:
                each.release()
            self.let_go()

    permits = Permits(3)
    holdings = [Holding(permits) for _ in range(3) if permits.take()]
    for _ in range(3):
        permits._join(Waits(), None)
    permits._lock = Struck(permits._lock)
    holdings.pop().release()
    assert len(permits._granted) == 3


@pytest.mark.contract("permit-comes-back-once")
async def test_a_permit_is_awaited_once_and_not_released_before(flext_service, flext_world):
    connection = await lent(flext_world, flext_world.serve(flext_service, Lends))
    permit = connection.permit("key", 1)
    with pytest.raises(PluginError, match="nobody had awaited"):
        permit.release()
    await permit
    with pytest.raises(PluginError, match="awaited once"):
        await permit


# cancelled


@pytest.mark.contract("permit-waiters-may-leave")
def test_a_cancelled_waiter_costs_nothing(flext_service, flext_async_world):
    world = flext_async_world
    host = world.serve(flext_service, Lends)

    async def scenario():
        connection = await lent(world, host)
        first = await connection.permit("key", 1)
        waiters = [asyncio.ensure_future(_taken(connection)) for _ in range(3)]
        await auntil(are_in_line(host, 3))
        waiters[0].cancel()
        waiters[2].cancel()
        await asyncio.sleep(0)
        first.release()
        (await waiters[1]).release()
        assert waiters[0].cancelled()
        assert waiters[2].cancelled()

    world.run(scenario)
    assert_all_back(host)


@pytest.mark.contract("permit-waiters-may-leave")
def test_who_is_granted_one_while_it_is_cancelled_gives_it_to_the_next(
    flext_service, flext_async_world
):
    world = flext_async_world
    host = world.serve(flext_service, Lends)

    async def scenario(cancel_first):
        connection = await lent(world, host)
        first = await connection.permit("key", 1)
        chosen, following = (asyncio.ensure_future(_taken(connection)) for _ in range(2))
        await auntil(are_in_line(host, 2))
        steps = [chosen.cancel, first.release]
        for step in steps if cancel_first else reversed(steps):
            step()
        async with asyncio.timeout(0.5):
            (await following).release()
        assert chosen.cancelled()

    for cancel_first in (False, True):
        world.run(lambda first=cancel_first: scenario(first))
        assert_all_back(host)


@pytest.mark.contract("permit-waiters-may-leave")
async def test_who_has_waited_too_long_leaves_the_line(flext_service, flext_world):
    host = flext_world.serve(flext_service, Lends)
    connection = await lent(flext_world, host)
    for _ in range(20):
        async with connection.permit("key", 1):
            with pytest.raises(Refused):
                await connection.permit("key", 1, timeout=0.002)
    assert_all_back(host)


# passed over


def standing_still(loop, thread):
    loop.call_soon_threadsafe(time.sleep, 2.5)


def stopped(loop, thread):
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def closed(loop, thread):
    stopped(loop, thread)
    loop.close()


@pytest.mark.parametrize("leave", [standing_still, stopped, closed], ids=lambda each: each.__name__)
@pytest.mark.contract("permit-passes-over")
def test_who_does_not_take_what_it_was_granted_is_passed_over(flext_service, flext_world, leave):
    """Its loop stands still, or was stopped or closed: the next waits a second or two."""
    host = flext_world.serve(flext_service, Lends)

    async def ask(**limits):
        return await _taken(await lent(flext_world, host), "key", 1, **limits)

    async def ask_in_a_loop():
        return await _taken(await host.aresource("service", Connection))

    first = flext_world.run(ask)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    waiter = asyncio.run_coroutine_threadsafe(ask_in_a_loop(), loop)
    until(are_in_line(host, 1))
    leave(loop, thread)
    first.release()
    began = time.monotonic()
    second = flext_world.run(partial(ask, timeout=5))
    assert time.monotonic() - began < 2.3
    second.release()
    if leave is closed:
        return
    if leave is stopped:
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
    waiter.result(5).release()  # it has kept its place
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert_all_back(host)


@pytest.mark.contract("permit-passes-over")
def test_who_was_passed_over_keeps_its_place(flext_service):
    """Those behind it get the permits while its loop stands still, and no more of them after it."""
    order = []

    async def ask(name):
        connection = await host.aresource("service", Connection)
        async with connection.permit("key", 1):
            order.append(name)
            await connection.run(goes_on.wait, 10)

    with World("httpx sync") as world, loop_in_a_thread() as one, loop_in_a_thread() as two:
        host, goes_on = world.serve(flext_service, Lends), threading.Event()
        sync = host.resource("service", Connection)
        first = sync.drive(_taken(sync))
        waits = []
        for number, (loop, name) in enumerate([(one, "still"), (two, "a"), (two, "b")]):
            waits.append(asyncio.run_coroutine_threadsafe(ask(name), loop))
            until(are_in_line(host, number + 1))
        one.call_soon_threadsafe(time.sleep, 2.5)
        first.release()
        until(lambda: order == ["a"])
        until(lambda: not permits_of(host)._late)  # it is heard of again
        goes_on.set()
        for each in waits:
            each.result(10)
        assert order == ["a", "still", "b"]


@pytest.mark.contract("permit-comes-back-once")
def test_a_permit_held_in_a_loop_that_was_closed_comes_back(flext_service, flext_world):
    """Although what holds it is never collected."""
    host, kept = flext_world.serve(flext_service, Lends), []

    async def hold():
        kept.append(await _taken(await host.aresource("service", Connection)))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(hold())
    loop.close()

    async def scenario():
        connection = await lent(flext_world, host)
        async with connection.permit("key", 1, queue=0):
            kept[0].release()
            with pytest.raises(Refused):
                await connection.permit("key", 1, queue=0)

    flext_world.run(scenario)


# no deadlocks


@pytest.mark.contract("permit-never-deadlocks")
def test_a_sync_caller_is_refused_on_the_thread_of_the_loop_that_holds_all(
    flext_service, flext_async_world
):
    """Waiting there would stop the loop, and nobody could give one back."""
    world = flext_async_world
    host = world.serve(flext_service, Lends)

    async def scenario():
        connection, sync = await lent(world, host), host.resource("service", Connection)
        first = await _taken(connection, "key", 2)
        sync.drive(_taken(sync, "key", 2)).release()  # one was free
        second = await _taken(connection, "key", 2)
        with pytest.raises(Refused, match="which waiting would stop"):
            sync.drive(_taken(sync, "key", 2, timeout=2))
        first.release()
        sync.drive(_taken(sync, "key", 2)).release()
        second.release()

    world.run(scenario)
    assert_all_back(host)


@pytest.mark.contract("permit-never-deadlocks")
def test_a_sync_caller_does_not_wait_behind_the_loop_that_it_stops(
    flext_service, flext_async_world
):
    """Those in line in its own loop cannot take what is granted: it is their turn afterwards."""
    world = flext_async_world
    host = world.serve(flext_service, Lends)

    async def scenario():
        connection = await lent(world, host)
        sync = host.resource("service", Connection)
        first = await asyncio.to_thread(lambda: sync.drive(_taken(sync)))
        waiters = [asyncio.ensure_future(_taken(connection)) for _ in range(5)]
        await auntil(are_in_line(host, 5))
        timer = threading.Timer(0.1, first.release)
        timer.start()
        began = time.monotonic()
        sync.drive(_taken(sync, "key", 1, timeout=5)).release()
        assert time.monotonic() - began < 0.9
        timer.join()
        for each in waiters:
            (await each).release()

    world.run(scenario)
    assert_all_back(host)


class OneAtATime:
    """Asks a service while it holds the only permit; its operations need one too."""

    class Settings(BaseModel):
        asks: ServiceName | None = None

    stage = Stage.GUARD

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        async with connection.permit("key", 1, timeout=1, shared=True):
            if self.settings.asks:
                answer = await connection.request(self.settings.asks, "GET", "/asked")
                await connection.close(answer)
            return await send(request)

    @hookimpl
    async def flext_operation(self, operation, proceed, connection):
        async with connection.permit("key", 1, timeout=1, shared=True):
            return await proceed(operation)


class Performs:
    """Performs an operation for each message."""

    @hookimpl
    async def flext_request(self, request, connection):
        await connection.perform(Operation("ldap", "search", "directory"), str)


@pytest.mark.contract("permit-never-deadlocks")
def test_a_call_that_holds_a_permit_gets_it_again(
    flext_service, flext_elsewhere, flext_world, flext_record
):
    """By an operation further in, or at another service whose plugin wants the same one."""
    services = {
        "service": {
            "base_url": flext_service.url,
            "plugins": {"one-at-a-time": {"asks": "other"}, "performs": {}},
        },
        "other": {
            "base_url": flext_elsewhere.url,
            "plugins": {"one-at-a-time": {}, "performs": {}},
        },
    }
    host = flext_world.host({"services": services}, one_at_a_time=OneAtATime, performs=Performs)
    for answer in flext_world.all([flext_world.sender(host, "GET", "/")] * 3):
        assert answer.status_code == 200
    assert flext_service.most_active == 1
    assert len(flext_elsewhere.received) == 3
    assert_all_back(host)


@pytest.mark.contract("permit-never-deadlocks")
async def test_a_call_gets_it_again_for_itself_and_not_for_the_next_call(
    flext_service, flext_world
):
    """Though the next one is made where the first was, whose body is unread."""
    flext_service.answer = Answer(body=b"x" * 300_000)
    host = flext_world.serve(flext_service, bulkhead(1, body=True, queue=0))
    client = await flext_world.client(host)
    response = await _streamed(flext_world, client)
    for _ in range(2):
        with pytest.raises(Refused, match="all 1 permits are taken"):
            await client.get("/")
    closing = (response.aclose if flext_world.asynchronous else response.close)()
    if closing is not None:
        await closing
    assert (await client.get("/")).status_code == 200


@pytest.mark.contract("permit-never-deadlocks")
def test_what_a_call_holds_is_held_in_its_own_context_only(flext_service, flext_async_world):
    """A task that was started before waits like anybody else; one that was started inside goes on."""
    world, outcomes = flext_async_world, []

    class Splits:
        stage = Stage.GUARD

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            async def ask(name):
                await started.wait()
                try:
                    async with connection.permit("key", 1, queue=0):
                        outcomes.append((name, "admitted"))
                except Refused:
                    outcomes.append((name, "refused"))

            started = asyncio.Event()
            before = asyncio.create_task(ask("before"))
            async with connection.permit("key", 1):
                started.set()
                await before
                await asyncio.create_task(ask("inside"))
                await ask("itself")
            return await send(request)

    host = world.serve(flext_service, Splits)
    assert world.get(host).status_code == 200
    assert outcomes == [("before", "refused"), ("inside", "admitted"), ("itself", "admitted")]
    assert_all_back(host)


# what else a hook may await


@pytest.mark.parametrize("told", [True, False], ids=["by perform", "by itself"])
@pytest.mark.contract("deadline-covers-the-call")
def test_a_wait_of_asyncios_own_ends_with_the_deadline_if_the_call_is_told_of_it(
    flext_service, flext_async_world, told
):
    class Waits:
        @hookimpl
        async def flext_request(self, request, connection):
            lock = asyncio.Lock()
            await lock.acquire()
            asyncio.get_running_loop().call_later(0.4, lock.release)
            if told:
                await connection.perform(Operation("own", "lock", "here"), lock.acquire)
            else:
                await lock.acquire()

    host = flext_async_world.serve(flext_service, Waits)
    began = time.monotonic()
    with options(deadline=0.05), pytest.raises(DeadlineExceeded):
        flext_async_world.get(host)
    assert (time.monotonic() - began < 0.4) is told
    assert flext_service.received == []


@pytest.mark.contract("cancellation-unwinds")
def test_a_cancellation_ends_a_wait_of_asyncios_own(flext_service, flext_async_world):
    world, ended = flext_async_world, []

    class Waits:
        @hookimpl
        async def flext_request(self, request, connection):
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(connection.call)

    host = world.serve(flext_service, Waits)

    async def scenario():
        async with world.aconnect(host) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.get("/")

    world.run(scenario)
    assert len(ended) == 1


@pytest.mark.contract("sync-awaits-the-connection-only")
def test_a_lock_of_asyncios_serves_one_event_loop_and_no_thread(flext_service, flext_world):
    class Locks:
        lock = asyncio.Lock()

        @hookimpl
        async def flext_request(self, request, connection):
            async with self.lock:
                await connection.sleep(0.05)

    host = flext_world.serve(flext_service, Locks)
    came = flext_world.all([flext_world.sender(host, "GET", "/")] * 2)
    if flext_world.asynchronous:
        with World("httpx async") as second:
            came = second.all([second.sender(host, "GET", "/")] * 2)
            second.run(host.aclose)
    failed = [each for each in came if isinstance(each, PluginError)]
    assert len(failed) == 1
    assert failed[0].plugin == "locks"


# forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.contract("fork-starts-afresh")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_all_permits(flext_service):
    """Although one was held at the time of the fork, and somebody waited, and dealt them out."""
    with World("httpx sync") as world:
        host = world.serve(flext_service, bulkhead(1, timeout=5, shared=True))
        flext_service.answer = lambda received: Answer(delay=0.3 * (received.path == "/slow"))
        slow = threading.Thread(target=world.sender(host, "GET", "/slow"))
        slow.start()
        until(lambda: flext_service.active == 1)
        waits = threading.Thread(target=world.sender(host, "GET", "/waits"))
        waits.start()
        until(are_in_line(host, 1))
        with permits_of(host)._lock:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    with options(deadline=5):
                        code = 0 if world.get(host, "/child").status_code == 200 else 2
                finally:
                    os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        slow.join()
        waits.join()
        assert_all_back(host)


# many


class Work:
    """Goes through a bulkhead as an operation, in threads and in tasks."""

    def __init__(self, connection, crowd):
        self.connection, self.crowd = connection, crowd

    async def do(self, seconds):
        async def work():
            with self.crowd.enter():
                await self.connection.sleep(seconds)

        await self.connection.perform(Operation("test", "work", "target"), work)


def lending_work(crowd):
    class LendsWork:
        @hookimpl
        def flext_connect(self, connection):
            connection.provide(Work, Work(connection, crowd))

    return LendsWork


CALLERS, CAPACITY = 1000, 10
SEEDS = range(int(os.environ.get("FLEXT_ROUNDS", "1")))


def crowded(service, seed, callers):
    """So many callers in threads and in two event loops at once, of whom a third give up."""
    chance, crowd, came = random.Random(seed), Crowd(), []
    with World("httpx sync") as world, loop_in_a_thread() as one, loop_in_a_thread() as two:
        host = world.serve(service, bulkhead(CAPACITY), lending_work(crowd))
        work = host.resource("service", Work)

        def in_thread(gives_up, patience):
            with options(deadline=patience) if gives_up else contextlib.nullcontext():
                try:
                    work.connection.drive(work.do(0.002))
                except DeadlineExceeded:
                    came.append("gave up")
                else:
                    came.append("passed")

        async def in_task(gives_up, patience):
            task = asyncio.ensure_future((await host.aresource("service", Work)).do(0.002))
            if gives_up:
                asyncio.get_running_loop().call_later(patience, task.cancel)
            await asyncio.wait([task])
            came.append("gave up" if task.cancelled() or task.exception() else "passed")

        waits, must_pass = [], 0
        for _ in range(callers):
            gives_up, patience = chance.random() < 1 / 3, chance.uniform(0.0001, 0.2)
            must_pass += not gives_up
            if chance.random() < 0.2:
                thread = threading.Thread(target=in_thread, args=(gives_up, patience))
                thread.start()
                waits.append(thread.join)
            else:
                task = in_task(gives_up, patience)
                loop = chance.choice([one, two])
                waits.append(asyncio.run_coroutine_threadsafe(task, loop).result)
        for wait in waits:
            wait(60)
        assert len(came) == callers
        assert "gave up" in came
        assert came.count("passed") >= must_pass
        assert crowd.most <= CAPACITY
        until(lambda: len(permits_of(host)._free) == CAPACITY)
        assert_all_back(host)
    return crowd


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.contract("permit-bounds", "permit-waiters-may-leave")
def test_a_thousand_callers_of_whom_a_third_give_up_never_exceed_the_capacity(flext_service, seed):
    """In threads and tasks at once: all others get their turn, and all permits are back."""
    assert crowded(flext_service, seed, CALLERS).most == CAPACITY


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1020))
def test_thousands_of_callers_never_exceed_the_capacity(flext_service, seed):
    crowded(flext_service, seed, 3 * CALLERS)


class Model:
    """Says who holds a permit and who waits, in one event loop."""

    def __init__(self, capacity):
        self.capacity, self.held, self.line = capacity, [], []

    def ask(self, caller):
        self.line.append(caller)
        self._grant()

    def leave(self, caller):
        (self.held if caller in self.held else self.line).remove(caller)
        self._grant()

    def _grant(self):
        while self.line and len(self.held) < self.capacity:
            self.held.append(self.line.pop(0))


async def played(connection, seed, steps):
    """Do things at random, and have the model say after each who holds a permit."""
    chance = random.Random(seed)
    capacity = chance.randint(1, 3)
    model, tasks = Model(capacity), {}

    async def caller(number):
        permit = await connection.permit(("key", seed), capacity)
        entered.append(number)
        try:
            await ends[number].wait()
        finally:
            if number % 3:
                permit.release()
            del permit

    ends, entered = {}, []
    for number in range(steps):
        step = chance.choice(["ask", "ask", "end", "cancel", "end and cancel"])
        if step == "ask":
            ends[number] = asyncio.Event()
            tasks[number] = asyncio.ensure_future(caller(number))
            await asyncio.sleep(0)
            model.ask(number)
        if step in {"end", "end and cancel"} and model.held:
            chosen = chance.choice(model.held)
            ends[chosen].set()
            if step == "end and cancel":
                for _ in range(chance.randint(0, 3)):
                    await asyncio.sleep(0)
            model.leave(chosen)
        if step in {"cancel", "end and cancel"} and (model.held or model.line):
            chosen = chance.choice(model.held + model.line[:2])
            tasks[chosen].cancel()
            model.leave(chosen)
        for _ in range(12):
            await asyncio.sleep(0)
        holding = {each for each in entered if not tasks[each].done()}
        assert holding == {*model.held}, f"step {number}: {step}"
    for each in tasks.values():
        each.cancel()
    await asyncio.wait(tasks.values())


@pytest.mark.contract("permit-in-turn", "permit-waiters-may-leave")
def test_whatever_callers_do_the_right_ones_hold_the_permits(flext_service, flext_async_world):
    host = flext_async_world.serve(flext_service, Lends)

    async def scenario():
        connection = await lent(flext_async_world, host)
        for seed in range(30):
            await played(connection, seed, 60)

    flext_async_world.run(scenario)


@pytest.mark.slow
def test_whatever_callers_do_for_long_the_right_ones_hold_the_permits(flext_service):
    with World("httpx async") as world:
        host = world.serve(flext_service, Lends)

        async def scenario(seed):
            await played(await lent(world, host), seed, 300)

        for seed in range(1000, 1500):
            world.run(lambda seed=seed: scenario(seed))
