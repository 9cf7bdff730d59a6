"""`once`: single flight across threads, loops and services."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flext_plugins import DeadlineExceeded, Refused, Stage, hookimpl, options
from flext_plugins.testing import Answer


def once_plugin(work, key="key", *, shared=False):
    """A plugin that does `work(connection)` once for all, before each send."""

    class Once:
        stage = Stage.AUTH
        asked = 0

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            Once.asked += 1
            request.headers["X-Got"] = str(
                await connection.once(key, lambda: work(request, connection), shared=shared)
            )
            return await send(request)

    return Once


async def until_asked(plugin, count, connection):
    """Wait for so many callers: under load a thread may start late."""
    while plugin.asked < count:
        await connection.sleep(0.01)
    await connection.sleep(0.1)


@pytest.mark.contract("once-for-all-who-ask")
def test_one_caller_works_for_all_that_ask_at_the_same_time(flext_service, flext_world):
    worked = []

    async def work(request, connection):
        worked.append(1)
        await until_asked(plugin, 20, connection)
        return len(worked)

    plugin = once_plugin(work)
    host = flext_world.serve(flext_service, plugin)
    results = flext_world.all([flext_world.sender(host, "GET", "/")] * 20)

    assert [each.json()["headers"]["x-got"] for each in results] == ["1"] * 20
    assert len(worked) == 1


@pytest.mark.contract("once-for-all-who-ask")
def test_work_is_done_again_for_who_asks_later(flext_service, flext_world):
    worked = []

    async def work(request, connection):
        worked.append(1)

    host = flext_world.serve(flext_service, once_plugin(work))
    flext_world.get(host)
    flext_world.get(host)

    assert len(worked) == 2


@pytest.mark.contract("once-shares-errors")
def test_waiters_share_the_error_and_each_gets_its_own_call(flext_service, flext_world):
    worked = []

    async def work(request, connection):
        worked.append(1)
        await until_asked(plugin, 10, connection)
        raise Refused("no token", retry_after=3)

    plugin = once_plugin(work)
    host = flext_world.serve(flext_service, plugin)
    errors = flext_world.all([flext_world.sender(host, "GET", "/")] * 10)

    assert len(worked) == 1
    assert {type(each).__name__ for each in errors} == {"Refused"}
    assert {each.retry_after for each in errors} == {3}
    assert len({each.call.id for each in errors}) == 10


@pytest.mark.parametrize(
    ("first", "second", "shared", "joined"),
    [
        (("a", "once"), ("a", "once"), False, True),
        (("a", "once"), ("a", "once"), True, True),
        (("a", "once"), ("b", "once"), False, False),
        (("a", "once"), ("b", "once"), True, True),
        (("a", "once"), ("b", "renamed"), False, False),
        (("a", "once"), ("b", "renamed"), True, True),
        (("a", "once"), ("b", "other"), False, False),
        (("a", "once"), ("b", "other"), True, False),
    ],
)
@pytest.mark.contract("once-key")
def test_a_key_belongs_to_a_plugins_instance_or_if_shared_to_its_class(
    flext_service, flext_world, first, second, shared, joined
):
    """`renamed` is the same class by another name, `other` another class."""
    worked = []

    async def work(request, connection):
        worked.append(connection.service.name)
        while plugin.asked + other.asked < 2:
            await connection.sleep(0.01)
        await connection.sleep(0.1)
        return connection.service.name

    plugin, other = once_plugin(work, shared=shared), once_plugin(work, shared=shared)
    services = {
        name: {"base_url": flext_service.url, "plugins": {kind: {}}}
        for name, kind in (first, second)
    }
    host = flext_world.host({"services": services}, once=plugin, renamed=plugin, other=other)
    names = [first[0], second[0]]
    answers = flext_world.all([flext_world.sender(host, "GET", "/", name) for name in names])

    assert len(worked) == (1 if joined else 2)
    if not joined:
        assert [each.json()["headers"]["x-got"] for each in answers] == names


@pytest.mark.contract("once-key")
def test_threads_and_loops_share_one_flight(flext_service):
    from flext_plugins.testing import World

    worked, answers = [], []

    async def work(request, connection):
        worked.append(threading.get_ident())
        await until_asked(plugin, 15, connection)
        return "shared"

    sync, first, second = World("httpx sync"), World("httpx async"), World("httpx2 async")
    plugin = once_plugin(work)
    host = sync.serve(flext_service, plugin)

    def run(world):
        for response in world.all([world.sender(host, "GET", "/")] * 5):
            answers.append(response.json()["headers"]["x-got"])

    threads = [threading.Thread(target=run, args=(world,)) for world in (sync, first, second)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(10)

    assert answers == ["shared"] * 15
    assert len(worked) == 1
    for world in (first, second, sync):
        world.end()


@pytest.mark.contract("once-survives-its-leader")
def test_if_the_leader_is_cancelled_one_waiter_runs_its_own_work(flext_service, flext_async_world):
    world, worked = flext_async_world, []

    async def work(request, connection):
        worked.append(request.url.path)
        await connection.sleep(0.05)
        return request.url.path

    host = world.serve(flext_service, once_plugin(work))

    async def scenario():
        async with world.aconnect(host) as client:
            leader = asyncio.create_task(client.get("/leader"))
            while not worked:
                await asyncio.sleep(0)
            waiters = [asyncio.create_task(client.get(f"/{number}")) for number in range(5)]
            await asyncio.sleep(0.01)
            leader.cancel()
            return await asyncio.gather(*waiters)

    results = world.run(scenario)

    assert worked == ["/leader", "/0"]
    assert {each.json()["headers"]["x-got"] for each in results} == {"/0"}


@pytest.mark.contract("once-survives-its-leader")
def test_a_leader_whose_own_deadline_passes_leaves_the_work_to_a_waiter(flext_service, flext_world):
    worked = []

    async def work(request, connection):
        worked.append(request.url.path)
        if request.url.path == "/hasty":
            await connection.run(time.sleep, 0.1)
        return "done"

    host = flext_world.serve(flext_service, once_plugin(work))

    def hasty():
        with options(deadline=0.05):
            return flext_world.sender(host, "GET", "/hasty")()

    async def ahasty():
        with options(deadline=0.05):
            return await flext_world.sender(host, "GET", "/hasty")()

    def patient():
        while not worked:
            time.sleep(0.001)
        return flext_world.sender(host, "GET", "/patient")()

    async def apatient():
        while not worked:
            await asyncio.sleep(0.001)
        return await flext_world.sender(host, "GET", "/patient")()

    works = [ahasty, apatient] if flext_world.asynchronous else [hasty, patient]
    failed, answered = flext_world.all(works)

    assert isinstance(failed, DeadlineExceeded)
    assert answered.json()["headers"]["x-got"] == "done"
    assert worked == ["/hasty", "/patient"]


# Each begins a call and leaves it in the middle of its work; what it yields is kept meanwhile.


@contextlib.contextmanager
def left_in_a_loop(call, working):
    async def begin():
        task = asyncio.ensure_future(call())
        while not working.is_set():
            await asyncio.sleep(0.001)
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(begin())
    task._log_destroy_pending = False
    yield loop, task
    if not loop.is_closed():
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()


@contextlib.contextmanager
def in_a_closed_loop(call, working):
    with left_in_a_loop(call, working) as (loop, task):
        loop.close()
        del loop, task
        gc.collect()
        yield


@contextlib.contextmanager
def in_a_closed_loop_collected_by_another_thread(call, working):
    with left_in_a_loop(call, working) as kept:
        kept[0].close()
        kept = None
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()
        yield kept


@contextlib.contextmanager
def in_a_closed_loop_whose_task_is_kept(call, working):
    with left_in_a_loop(call, working) as (loop, task):
        loop.close()
        yield task


@contextlib.contextmanager
def in_a_loop_that_stands_still(call, working):
    with left_in_a_loop(call, working) as (_, task):
        yield task


@contextlib.contextmanager
def left_as_a_coroutine(call, close):
    """In a loop that goes on."""
    closed, over = threading.Event(), threading.Event()

    async def begin():
        coroutine = call()
        coroutine.send(None)
        await close(coroutine)
        closed.set()
        await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(begin(),))
    thread.start()
    assert closed.wait(5)
    yield
    over.set()
    thread.join()


def as_a_coroutine_that_is_closed_elsewhere(call, working):
    async def close(coroutine):
        contextvars.copy_context().run(coroutine.close)

    return left_as_a_coroutine(call, close)


def as_a_coroutine_that_is_closed_in_another_thread(call, working):
    async def close(coroutine):
        await asyncio.to_thread(coroutine.close)

    return left_as_a_coroutine(call, close)


LEFT = [
    in_a_closed_loop,
    in_a_closed_loop_collected_by_another_thread,
    in_a_closed_loop_whose_task_is_kept,
    in_a_loop_that_stands_still,
    as_a_coroutine_that_is_closed_elsewhere,
    as_a_coroutine_that_is_closed_in_another_thread,
]


@pytest.mark.parametrize("when", ["who waits", "who comes later"])
@pytest.mark.parametrize("left", LEFT, ids=lambda left: left.__name__.replace("_", " "))
@pytest.mark.contract("once-survives-its-leader")
def test_work_that_was_left_half_done_blocks_nobody(flext_service, flext_world, left, when):
    working = threading.Event()

    async def work(request, connection):
        if request.url.path == "/left":
            working.set()
            await connection.sleep(60)
        return "done"

    host = flext_world.serve(flext_service, once_plugin(work))

    async def leader():
        client = await host.aconnect("service")
        await client.get("/left")

    def other():
        working.wait(5)
        with options(deadline=5):
            return flext_world.get(host, "/other").json()["headers"]["x-got"]

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(other) if when == "who waits" else None
        with left(leader, working) as kept:
            assert (waiting or pool.submit(other)).result() == "done"
            del kept


@pytest.mark.contract("once-survives-its-leader")
def test_a_cancelled_waiter_harms_only_itself(flext_service, flext_async_world):
    world, worked = flext_async_world, []

    async def work(request, connection):
        worked.append(1)
        await connection.sleep(0.05)
        return "fine"

    host = world.serve(flext_service, once_plugin(work))

    async def scenario():
        async with world.aconnect(host) as client:
            tasks = [asyncio.create_task(client.get("/")) for _ in range(6)]
            while not worked:
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            tasks[3].cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    results = world.run(scenario)

    assert len(worked) == 1
    assert [type(each) for each in results].count(world.lib.Response) == 5
    assert isinstance(results[3], asyncio.CancelledError)


@pytest.mark.contract("once-ends-with-the-deadline")
def test_waiting_ends_with_the_deadline(flext_service, flext_world):
    release = threading.Event()

    async def work(request, connection):
        await connection.run(release.wait, 5)
        return "late"

    host = flext_world.serve(flext_service, once_plugin(work))

    def hasty():
        time.sleep(0.05)
        with options(deadline=0.1):
            try:
                return flext_world.sender(host, "GET", "/")()
            finally:
                release.set()

    async def ahasty():
        await asyncio.sleep(0.05)
        with options(deadline=0.1):
            try:
                return await flext_world.sender(host, "GET", "/")()
            finally:
                release.set()

    leader = flext_world.sender(host, "GET", "/")
    answered, failed = flext_world.all([leader, ahasty if flext_world.asynchronous else hasty])

    assert answered.status_code == 200
    assert isinstance(failed, DeadlineExceeded)


@pytest.mark.contract("once-never-deadlocks")
def test_a_sync_caller_on_the_leaders_own_loop_thread_runs_the_work_itself(
    flext_service, flext_async_world
):
    """Waiting there would block the loop that the leader needs."""
    world, worked = flext_async_world, []

    async def work(request, connection):
        worked.append(connection.asynchronous)
        await connection.sleep(0.05)
        return "done"

    host = world.serve(flext_service, once_plugin(work))

    async def scenario():
        async with world.aconnect(host) as client:
            leader = asyncio.create_task(client.get("/"))
            while not worked:
                await asyncio.sleep(0)
            with world.connect(host) as sync:
                inside = sync.get("/")
            return inside, await leader

    for response in world.run(scenario):
        assert response.json()["headers"]["x-got"] == "done"
    assert worked == [True, False]


@pytest.mark.parametrize("order", ["the thread waits first", "the loop's thread waits first"])
@pytest.mark.contract("once-never-deadlocks")
def test_a_sync_caller_is_not_made_to_wait_for_the_loop_it_blocks_at_one_remove(
    flext_service, flext_async_world, order
):
    """A thread's flight waits for the loop's, and the loop's thread would wait for the thread's."""
    world, events = flext_async_world, []
    started = threading.Event()

    async def loops_work(request, connection):
        events.append("loop leads")
        started.set()
        await connection.sleep(0.3)
        return "loop"

    async def threads_work(request, connection):
        events.append("thread leads")
        if order != "the thread waits first":
            await connection.run(time.sleep, 0.1)
        return await connection.once("loop", lambda: loops_work(request, connection))

    class Both:
        stage = Stage.AUTH

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            name = request.url.path[1:]
            work = loops_work if name == "loop" else threads_work
            await connection.once(name, lambda: work(request, connection))
            return await send(request)

    host = world.serve(flext_service, Both)

    def in_thread():
        started.wait(5)
        with world.connect(host) as client, options(deadline=5):
            return client.get("/thread")

    async def scenario():
        async with world.aconnect(host) as client:
            leader = asyncio.create_task(client.get("/loop"))
            thread = asyncio.create_task(asyncio.to_thread(in_thread))
            while "thread leads" not in events:
                await asyncio.sleep(0.001)
            if order == "the thread waits first":
                await asyncio.sleep(0.05)
            with world.connect(host) as sync, options(deadline=5):
                inside = sync.get("/thread")
            return [inside, await leader, await thread]

    assert [each.status_code for each in world.run(scenario)] == [200, 200, 200]


@pytest.mark.parametrize("remove", [1, 2, 3])
@pytest.mark.contract("once-never-deadlocks")
def test_work_that_would_wait_for_itself_runs_by_itself(flext_service, flext_world, remove):
    """`a` needs `b`, which needs `c`, which needs `a`."""
    keys = ["a", "b", "c"][:remove]

    async def fetch(key, depth, connection):
        if depth > 4:
            return "end"
        following = keys[(keys.index(key) + 1) % len(keys)]
        return await connection.once(following, lambda: fetch(following, depth + 1, connection))

    class Nested:
        stage = Stage.AUTH

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            await connection.once("a", lambda: fetch("a", 0, connection))
            return await send(request)

    assert flext_world.get(flext_world.serve(flext_service, Nested)).status_code == 200


@pytest.mark.contract("once-never-deadlocks")
def test_two_flights_that_would_wait_for_each_other_are_found(flext_service, flext_world):
    """Two plugins log in at their own service, each leading its own flight and needing the other's.

    Each login passes the other plugin, which wants its token first.
    """
    from pydantic import BaseModel

    from flext_plugins import ServiceName

    class Settings(BaseModel):
        service: ServiceName

    def login_plugin(name):
        class Login:
            Settings_ = Settings
            stage = Stage.AUTH

            def __init__(self, settings):
                self.service = settings.service

            @hookimpl
            async def flext_exchange(self, request, send, connection):
                async def login():
                    await connection.sleep(0.05)
                    response = await connection.request(self.service, "POST", f"/login/{name}")
                    return (await connection.read(response)).decode()

                request.headers[f"X-{name}"] = await connection.once("token", login)
                return await send(request)

        Login.Settings = Settings
        return Login

    flext_service.answer = lambda received: Answer(body=b"token")
    plugins = {name: login_plugin(name) for name in ("one", "two")}
    config = {name: {"service": "service"} for name in plugins}
    host = flext_world.host(
        {"services": {"service": {"base_url": flext_service.url, "plugins": config}}}, **plugins
    )

    for response in flext_world.all([flext_world.sender(host, "GET", "/")] * 6):
        assert response.status_code == 200
    assert (
        flext_service.received[-1].headers["x-one"]
        == flext_service.received[-1].headers["x-two"]
        == "token"
    )
