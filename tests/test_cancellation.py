"""A call that is cancelled ends at once, whoever cancels it, and leaves the connection fit for use."""

from __future__ import annotations

import asyncio
import contextlib
from types import coroutine

import anyio
import anyio.lowlevel
import pytest
import uvloop

from flext_plugins import Host
from flext_plugins._clients.cancellation import shielded
from flext_plugins.testing import Answer

EVER = 300
"""So many turns of the loop in a row, with nothing waited for, go on for ever."""


@coroutine
def counted(awaitable, turning):
    """`awaitable`, which fails once it turns round the loop for ever, and notes that."""
    inner = awaitable.__await__()
    step, argument, turns = inner.send, None, 0
    while True:
        try:
            waited = step(argument)
        except StopIteration as end:
            return end.value
        turns = turns + 1 if waited is None else 0
        step, argument = inner.send, None
        if turns > EVER:
            turns = 0
            turning.append(awaitable)
            step, argument = inner.throw, AssertionError("it turns for ever")
            continue
        try:
            yield waited
        except BaseException as error:
            step, argument = inner.throw, error


@contextlib.contextmanager
def after(turns, act):
    """Call `act` after so many turns of the loop, if the block lasts until then."""
    loop, over = asyncio.get_running_loop(), False

    def turn(left):
        if over:
            return
        if left:
            loop.call_soon(turn, left - 1)
        else:
            act()

    turn(turns)
    try:
        yield
    finally:
        over = True


def now():
    return asyncio.get_running_loop().time()


# Each calls, is cancelled after so many turns, and gives whether the call then ended as it should.


async def by_its_task(call, turns):
    task = asyncio.ensure_future(call())
    with after(turns, task.cancel):
        await asyncio.wait([task])
    return task.cancelled() or task.result()


async def by_its_task_at_every_turn(call, turns):
    def again():
        task.cancel()
        asyncio.get_running_loop().call_soon(lambda: task.done() or again())

    task = asyncio.ensure_future(call())
    with after(turns, again):
        await asyncio.wait([task])
    return task.cancelled() or task.result()


async def by_a_time_out(call, turns):
    try:
        async with asyncio.timeout(None) as timeout:
            with after(turns, lambda: timeout.reschedule(now())):
                return await call()
    except TimeoutError:
        return timeout.expired()


async def by_a_sibling(call, turns):
    async def sibling():
        for _ in range(turns):
            await asyncio.sleep(0)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sibling())
            await call()
            await asyncio.sleep(60)  # Python 3.11 counts wrong if its task fails after the block
    except* LookupError:
        pass
    return True


async def by_a_scope(call, turns):
    with anyio.CancelScope() as scope, after(turns, scope.cancel):
        return await call()
    return scope.cancelled_caught


async def by_the_scope_around_a_scope(call, turns):
    with anyio.CancelScope() as outer, after(turns, outer.cancel):
        with anyio.CancelScope(), anyio.CancelScope():
            return await call()
    return outer.cancelled_caught


async def by_a_scope_that_moves_on(call, turns):
    def expire():
        scope.deadline = now()

    with anyio.move_on_after(60) as scope, after(turns, expire):
        return await call()
    return scope.cancelled_caught


async def by_a_scope_that_fails(call, turns):
    def expire():
        scope.deadline = now()

    try:
        with anyio.fail_after(60) as scope, after(turns, expire):
            return await call()
    except TimeoutError:
        return scope.cancelled_caught


async def by_a_task_group(call, turns):
    async with anyio.create_task_group() as group:
        group.start_soon(call)
        with after(turns, group.cancel_scope.cancel):
            await call()
    return True


async def by_a_sibling_in_a_task_group(call, turns):
    async def sibling():
        for _ in range(turns):
            await asyncio.sleep(0)
        raise LookupError

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(sibling)
            await call()
    except* LookupError:
        pass
    return True


async def in_finally(call, turns):
    with anyio.CancelScope() as scope:
        try:
            with after(turns, scope.cancel):
                await asyncio.sleep(60)
        finally:
            await call()
    return scope.cancelled_caught


async def in_finally_of_its_task(call, turns):
    async def main():
        try:
            await asyncio.sleep(60)
        finally:
            await call()

    task = asyncio.ensure_future(main())
    with after(turns, task.cancel):
        await asyncio.wait([task])
    return task.cancelled()


async def by_a_scope_and_by_its_task(call, turns):
    async def main():
        with anyio.CancelScope() as scope, after(turns, scope.cancel):
            return await call()

    task = asyncio.ensure_future(main())
    with after(turns, task.cancel):
        await asyncio.wait([task])
    return task.cancelled() or task.result()


async def not_by_the_scope_around_a_shield(call, turns):
    with anyio.CancelScope() as outer, after(turns, outer.cancel):
        with anyio.CancelScope(shield=True):
            status = await call()
        await anyio.lowlevel.checkpoint()
    return status == 200


CANCELLED = [
    *(by_its_task, by_its_task_at_every_turn, by_a_time_out, by_a_sibling, by_a_scope),
    *(by_the_scope_around_a_scope, by_a_scope_that_moves_on, by_a_scope_that_fails),
    *(by_a_task_group, by_a_sibling_in_a_task_group, in_finally, by_a_scope_and_by_its_task),
]
NOT_CANCELLED = [in_finally_of_its_task, not_by_the_scope_around_a_shield]
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
if hasattr(asyncio, "eager_task_factory"):

    def eager():
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    LOOPS["eager tasks"] = eager


def cancels_at_every_turn(service, world, way, loop, address="/"):
    """Cancel a call in this way at each of the first turns; the one connection answers the next."""
    host = Host({"services": {"service": service}})
    turning = []

    async def main():
        client = await host.aconnect("service", world.lib.AsyncClient)

        async def call():
            return (await counted(client.get(address), turning)).status_code

        for turns in range(50):
            assert await way(call, turns), f"after {turns} turns"
            assert not asyncio.current_task().cancelling(), f"after {turns} turns"
            for _ in range(3):  # where a cancellation would land that is left over
                await asyncio.sleep(0)
            assert await call() == 200, f"after {turns} turns"
        await host.aclose()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
    assert not turning


every_way = pytest.mark.parametrize(
    "way", CANCELLED + NOT_CANCELLED, ids=lambda way: way.__name__.replace("_", " ")
)


@pytest.mark.parametrize("connection", ["warm", "cold"])
@pytest.mark.parametrize("loop", LOOPS)
@every_way
@pytest.mark.contract("cancellation-ends-at-once")
def test_a_call_that_is_cancelled_ends_at_once(
    flext_service, flext_async_world, way, loop, connection
):
    flext_service.answer = Answer(headers={"Connection": "close"} if connection == "cold" else {})
    service = {"base_url": flext_service.url, "max_connections": 1, "timeout": 5}
    cancels_at_every_turn(service, flext_async_world, way, loop)


@every_way
@pytest.mark.contract("cancellation-ends-at-once")
def test_so_does_one_to_another_origin_where_calls_share_a_pool(
    flext_service, flext_async_world, way
):
    flext_service.answer = Answer(headers={"Connection": "close"})
    service = {"base_url": "http://127.0.0.1:9", "max_connections": 1, "timeout": 5}
    cancels_at_every_turn(service, flext_async_world, way, "asyncio", flext_service.url)


@pytest.mark.parametrize("way", CANCELLED, ids=lambda way: way.__name__.replace("_", " "))
@pytest.mark.contract("cancellation-is-put-off")
def test_a_cancellation_lands_at_no_mere_turn(way):
    landed = []

    async def work():
        try:
            for _ in range(20):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            landed.append("at a turn")
            raise
        await asyncio.sleep(60)

    async def call():
        await shielded(work())

    async def main():
        for turns in range(10):
            assert await way(call, turns)

    asyncio.run(main())
    assert landed == []


@pytest.mark.parametrize("way", CANCELLED, ids=lambda way: way.__name__.replace("_", " "))
@pytest.mark.contract("cancellation-ends-at-once")
def test_what_waits_for_nothing_is_cancelled_too(way):
    """An upload can be such, while the service reads as fast."""

    turning = []

    async def turns():
        while True:
            await asyncio.sleep(0)

    async def waits_for_nothing():
        await shielded(turns())

    async def call():
        await counted(waits_for_nothing(), turning)

    async def main():
        assert await way(call, 5)
        assert not asyncio.current_task().cancelling()

    asyncio.run(main())
    assert not turning
