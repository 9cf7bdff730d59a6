"""Laws that hold for whatever happens, tried with what hypothesis makes up."""

from __future__ import annotations

import logging
import os
from itertools import zip_longest

import pytest
from asks import conversations
from hypothesis import HealthCheck, Phase, given, settings
from scripts import Script, scripts
from traces import traced
from twins import Pair, twins

from flext_plugins.testing import LoopbackService, World
from flext_plugins.testing._world import WORLDS

EXAMPLES = int(os.environ.get("FLEXT_EXAMPLES", "0"))
"""So many, and other ones each time; without it a run tries the same few hundred again."""


def bounded(examples: int) -> settings:
    """Each example is a second or less, but how much less is the machine's business."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """Plugins fail by the thousand here."""
    logger = logging.getLogger("flext_plugins")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="module")
def worlds():
    made = {name: World(name) for name in WORLDS}
    yield made
    for world in made.values():
        world.end()


@pytest.fixture(scope="module")
def services():
    made = LoopbackService(), LoopbackService()
    yield made
    for each in made:
        each.close()
        assert not each.errors


def untold(trace: list[tuple]) -> set[tuple]:
    """The hops that were answered and whose body did not end once, by what some plugin was told."""
    told = [each[1:2] + each[3:] for each in trace if each[2] == "event"]
    hops = [each for each in told if each[1] == "HopFinished"]
    answered = [(each[0], each[2][0]) for each in hops if each[3] == "answered"]
    ended = [(each[0], each[2][0]) for each in told if each[1] == "BodyEnded"]
    return {each for each in answered + ended if answered.count(each) != ended.count(each)}


def same(script: Script, worlds, names, services) -> None:
    """Every world saw what the first saw, call by call."""
    first, *others = names
    expected = traced(script, worlds[first], *services)
    assert not untold(expected)
    for name in others:
        seen = traced(script, worlds[name], *services)
        for place in range(max(len(expected), len(seen))):
            one = expected[place] if place < len(expected) else "nothing more"
            other = seen[place] if place < len(seen) else "nothing more"
            assert one == other, f"at {place}\n  {first} saw {one}\n  {name} saw {other}"


@bounded(180)
@given(script=scripts())
@pytest.mark.contract("all-worlds-alike", "body-end-is-told-once")
def test_all_worlds_see_the_same(worlds, services, script):
    """What each hook, the service and the application saw, call by call.

    Sync code cannot be cancelled, but it can be interrupted: here plugins raise what no
    `except Exception` catches, and all worlds unwind alike. Tasks are cancelled in the next test.
    """
    same(script, worlds, WORLDS, services)


@bounded(60)
@given(script=scripts(cancelled=True))
@pytest.mark.contract("all-worlds-alike")
def test_both_event_loops_see_the_same_where_tasks_are_cancelled(worlds, services, script):
    same(script, worlds, ("httpx async", "httpx2 async"), services)


@pytest.fixture(scope="module")
def pair():
    made = Pair()
    yield made
    made.close()


@bounded(100)
@given(talk=conversations)
@pytest.mark.contract("plain-without-plugins")
def test_a_client_without_plugins_does_what_the_plain_one_does(worlds, pair, talk):
    """What arrives, to the letter, and what the caller sees, redirects and errors included."""
    for name, world in worlds.items():
        composed, plain = twins(talk, world, pair)
        for one, other in zip_longest(composed, plain):
            assert one == other, f"in {name}\n  composed: {one}\n  plain: {other}"
