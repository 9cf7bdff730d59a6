"""What `options` takes, and what it says of everything else."""

from __future__ import annotations

import gc
import math
import uuid
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from flext_plugins import options

pytestmark = pytest.mark.once


@pytest.mark.parametrize("deadline", [1, 0.5, Fraction(1, 2), 86_400])
@pytest.mark.contract("options-are-checked")
def test_a_deadline_is_a_number_of_seconds(flext_service, flext_world, deadline):
    host = flext_world.serve(flext_service)
    with options(deadline=deadline):
        call = flext_world.get(host).extensions["flext_plugins.call"]
    assert type(call.deadline) is float
    assert call.deadline == call.started + deadline


NO_NUMBERS = {
    "text": ("3", "str"),
    "a flag": (True, "bool"),
    "a decimal": (Decimal(3), "Decimal"),
    "bytes": (b"3", "bytes"),
    "a complex number": (3j, "complex"),
    "a tuple, as for a time-out": ((3, 5), "tuple"),
}


@pytest.mark.parametrize("case", NO_NUMBERS)
@pytest.mark.contract("options-are-checked")
def test_a_deadline_that_is_no_number_is_told_with_its_type(case):
    deadline, kind = NO_NUMBERS[case]
    with pytest.raises(TypeError) as caught, options(deadline=deadline):
        pass
    said = f"options(deadline=...) takes a positive number of seconds, not {kind}"
    assert str(caught.value) == said


@pytest.mark.contract("options-are-checked")
def test_a_timedelta_is_told_what_to_do():
    with (
        pytest.raises(TypeError, match=r"not timedelta; call its total_seconds\(\)$"),
        options(deadline=timedelta(seconds=3)),
    ):
        pass


NO_TIMES = [0, -1, -0.5, math.nan, math.inf, -math.inf, 1e300]


@pytest.mark.parametrize("deadline", [*NO_TIMES, 10**400, -(10**400), Fraction(10**400)])
@pytest.mark.contract("options-are-checked")
def test_a_number_after_which_nothing_can_end_is_told(deadline):
    said = r"^options\(deadline=\.\.\.\) takes a positive number of seconds, not "
    with pytest.raises(ValueError, match=said), options(deadline=deadline):
        pass


@pytest.mark.parametrize("key", ["route", "user", "correlation_id"])
@pytest.mark.parametrize("value", [7, b"req-7", uuid.UUID(int=7), ["req-7"], True, object()])
@pytest.mark.contract("options-are-checked")
def test_what_is_no_text_is_told_with_its_type(key, value):
    with pytest.raises(TypeError) as caught, options(**{key: value}):
        pass
    assert str(caught.value) == f"options({key}=...) takes text, not {type(value).__name__}"


@pytest.mark.contract("options-are-checked")
def test_options_are_given_by_name():
    with pytest.raises(TypeError, match=r"options\(\) takes 0 positional arguments"):
        options("/orders/{id}")


@pytest.mark.contract("options-are-checked")
def test_what_is_told_wrong_changes_nothing(flext_service, flext_world):
    host = flext_world.serve(flext_service)
    with options(user="ana"):
        with pytest.raises(TypeError), options(user="bob", deadline="3"):
            pass
        call = flext_world.get(host).extensions["flext_plugins.call"]
    assert (call.user, call.deadline) == ("ana", None)


def said_in(host, world) -> tuple[object, ...]:
    """What a call made now is told by `options`."""
    call = world.get(host).extensions["flext_plugins.call"]
    return call.user, call.route, call.deadline


def pages(**said):
    """A generator of pages, whose block is open while its reader has one of them."""
    with options(**said):
        yield "first"
        yield "last"


async def apages(**said):
    with options(**said):
        yield "first"
        yield "last"


ORDERS = {
    "the outer one first": (0, 1),
    "the inner one first": (1, 0),
    "the outermost of three first": (0, 1, 2),
    "the middle one of three first": (1, 0, 2),
    "the middle one of three, then the inner one": (1, 2, 0),
}
"""In which order blocks end that were begun in the order of their numbers."""
SAID = ({"user": "ana"}, {"route": "/b", "deadline": 60}, {"user": "carl"})


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.contract("options-nest")
def test_of_blocks_in_generators_nothing_is_left_whichever_ends_first(
    flext_service, flext_world, order
):
    host = flext_world.serve(flext_service)
    opened = [pages(**said) for said in SAID[: len(ORDERS[order])]]
    for each in opened:
        next(each)
    for number in ORDERS[order]:
        opened[number].close()
    assert said_in(host, flext_world) == (None, None, None)


@pytest.mark.contract("options-nest")
def test_of_blocks_in_async_generators_nothing_is_left_whichever_ends_first(
    flext_service, flext_async_world
):
    host = flext_async_world.serve(flext_service)

    async def look():
        first, second = apages(user="ana"), apages(deadline=60)
        await anext(first), await anext(second)
        await first.aclose()
        await second.aclose()
        async with host.aconnect("service", flext_async_world.lib.AsyncClient) as client:
            return (await client.get("/")).extensions["flext_plugins.call"]

    call = flext_async_world.run(look)
    assert (call.user, call.deadline) == (None, None)


@pytest.mark.contract("options-nest")
def test_a_block_that_ends_early_takes_only_what_it_said(flext_service, flext_world):
    host = flext_world.serve(flext_service)
    outer, inner = pages(user="ana", route="/a"), pages(user="bob")
    next(outer), next(inner)
    outer.close()
    assert said_in(host, flext_world) == ("bob", None, None)
    inner.close()


@pytest.mark.contract("options-nest")
def test_who_reads_two_streams_of_pages_at_once_is_nobody_afterwards(flext_service, flext_world):
    host = flext_world.serve(flext_service)
    assert [*zip(pages(user="ana"), pages(user="bob"), strict=False)]
    gc.collect()
    assert said_in(host, flext_world) == (None, None, None)
