"""The budget by itself, under a clock of the test's own; then an outage."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flext_plugins_retry.budget import Budget

from flext_plugins.testing import Answer, LoopbackService, World


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(budget: Budget, most: int = 1000) -> int:
    """How many resends it allows now."""
    count = 0
    while count < most and budget.take():
        count += 1
    return count


def note_calls(budget: Budget, count: int) -> None:
    for _ in range(count):
        budget.note_call()


def test_without_calls_the_floor_is_allowed() -> None:
    assert taken(Budget(0.2, 3, Clock())) == 3
    assert taken(Budget(0.2, 0, Clock())) == 0


def test_calls_allow_their_share_beside_the_floor() -> None:
    budget = Budget(0.2, 3, Clock())
    note_calls(budget, 9)
    assert taken(budget) == 4
    note_calls(budget, 1)
    assert taken(budget) == 1
    note_calls(budget, 990)
    assert taken(budget) == 198


def test_a_share_of_nothing_leaves_the_floor() -> None:
    budget = Budget(0, 1, Clock())
    note_calls(budget, 100)
    assert taken(budget) == 1


def test_what_is_ten_seconds_old_counts_no_longer() -> None:
    clock = Clock()
    budget = Budget(0.5, 2, clock)
    note_calls(budget, 10)
    assert taken(budget) == 7
    clock.now += 9
    assert taken(budget) == 0
    note_calls(budget, 2)
    assert taken(budget) == 1
    clock.now += 1
    assert taken(budget) == 2
    clock.now += 3600
    assert taken(budget) == 2


def test_no_ten_seconds_hold_more_than_the_floor_and_the_share_of_their_calls() -> None:
    clock = Clock()
    budget = Budget(0.1, 5, clock)
    seconds = []
    for _ in range(60):
        note_calls(budget, 20)
        seconds.append(taken(budget))
        clock.now += 1
    for start in range(50):
        assert sum(seconds[start : start + 10]) <= 5 + 20
    assert sum(seconds) >= 100


def test_threads_together_get_no_more_than_one_alone() -> None:
    budget = Budget(0.2, 10, Clock())
    ready = threading.Barrier(20)

    def work() -> int:
        ready.wait(10)
        note_calls(budget, 50)
        return taken(budget, 50)

    with ThreadPoolExecutor(20) as pool:
        found = sum(pool.map(lambda _: work(), range(20)))
    assert found + taken(budget) == 10 + 200


CALLERS = 20
RETRY = {"budget": 0.2, "budget_floor": 2}
MOST = CALLERS + 2 + 4
"""The calls, the floor and the share: without a budget 60 requests would be sent."""


async def test_an_outage_gets_the_calls_the_floor_and_the_share_and_no_more(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    flext_service.answer = Answer(503)
    client = await flext_world.client(serve(retry=RETRY))
    answers = await flext_world.together(CALLERS, lambda: client.get("/"))
    assert [each.status_code for each in answers] == [503] * CALLERS
    assert len(flext_service.received) == MOST


async def test_a_broken_connection_is_no_way_around_the_budget_and_its_error_says_so(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    flext_service.answer = Answer(reset=True)
    client = await flext_world.client(serve(retry=RETRY))

    async def end() -> str:
        with pytest.raises(flext_world.lib.ReadError) as caught:
            await client.get("/")
        note, _ = caught.value.__notes__  # the host names the service in the other
        return str(note)

    notes = await flext_world.together(CALLERS, end)
    assert len(flext_service.received) == MOST
    assert any(each.endswith("; the budget is used up") for each in notes)


def test_threads_and_event_loops_share_a_services_budget(
    flext_world: World, flext_service: LoopbackService, serve: Callable[..., Any]
) -> None:
    flext_service.answer = Answer(503)
    host = serve(retry={"budget": 0, "budget_floor": 3})

    def sync() -> int:
        return int(host.connect("service").get("/").status_code)

    async def inside() -> int:
        async with host.aconnect("service") as client:
            return int((await client.get("/")).status_code)

    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            ends = [pool.submit(sync), pool.submit(lambda: asyncio.run(inside()))]
            assert [each.result() for each in ends] == [503, 503]
    assert flext_world.get(host).status_code == 503
    assert len(flext_service.received) == 7 + 3


def test_each_service_has_a_budget_of_its_own(
    flext_world: World, flext_service: LoopbackService
) -> None:
    flext_service.answer = Answer(503)
    retry = {"backoff": 0.001, "budget": 0, "budget_floor": 2}
    one = {"base_url": flext_service.url, "plugins": {"retry": retry}}
    host = flext_world.host({"services": {"one": one, "two": one}})
    for service, count in [("one", 3), ("one", 4), ("two", 7)]:
        flext_world.get(host, service=service)
        assert len(flext_service.received) == count


def test_from_outside_the_budget_is_seen_with_what_is_left_of_it(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    flext_service.answer = Answer(503)
    host = serve(retry={"attempts": 2, "budget": 0.5, "budget_floor": 3})
    for _ in range(4):
        flext_world.get(host)
    facts = flext_world.status(host)["longest"].facts
    assert facts == {"budget": {"seconds": 10, "calls": 4, "resends": 4, "left": 1}}
