"""What has to be awaited, and says so if it is not."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from flext_plugins import hookimpl


class Lends:
    """Lends a text."""

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(str, "lent")


class Uses:
    """Uses a client or resource, as an application or an SDK would that it was passed to."""

    def __init__(self, client):
        client.get("/")


@pytest.fixture
def host(flext_service, flext_async_world):
    return flext_async_world.serve(flext_service, Lends)


def dropped(make):
    """The warnings once nobody holds what `make` gives any more."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
        gc.collect()
    return [str(each.message) for each in caught if each.category is RuntimeWarning]


@pytest.mark.parametrize(
    "use",
    [lambda client: client.get("/"), lambda client: client.headers, Uses],
    ids=["a method", "an attribute", "passed on"],
)
@pytest.mark.contract("await-comes-first")
def test_a_client_that_was_not_awaited_says_so(flext_async_world, host, use):
    def misuse():
        client = flext_async_world.aconnect(host)
        assert repr(client) == "<host.aconnect('service'), which has to be awaited>"
        with pytest.raises(AttributeError) as caught:
            use(client)
        name = "headers" if caught.value.args[0].startswith("no 'headers'") else "get"
        said = f"no {name!r} there yet: await host.aconnect('service') first"
        assert str(caught.value) == said
        with pytest.raises(AttributeError):
            client.timeout = 5

    dropped(misuse)


@pytest.mark.contract("await-comes-first")
def test_a_resource_that_was_not_awaited_says_so(host):
    def misuse():
        with pytest.raises(AttributeError) as caught:
            host.aresource("service", str).upper()
        assert str(caught.value) == (
            "no 'upper' there yet: await host.aresource('service', str) first"
        )

    dropped(misuse)


@pytest.mark.contract("await-comes-first")
def test_what_nobody_ever_awaits_is_a_warning_that_names_the_call(flext_async_world, host):
    aconnect = dropped(lambda: flext_async_world.aconnect(host))
    assert aconnect == ["coroutine 'host.aconnect('service')' was never awaited"]
    aresource = dropped(lambda: host.aresource("service", str))
    assert aresource == ["coroutine 'host.aresource('service', str)' was never awaited"]
    assert dropped(host.aclose) == ["coroutine 'Host.aclose' was never awaited"]


@pytest.mark.contract("await-comes-first")
def test_awaited_entered_or_made_a_task_it_is_the_real_thing(flext_async_world, host):
    world = flext_async_world

    async def use():
        async with world.aconnect(host) as one, await world.aconnect(host) as two:
            three = await asyncio.create_task(world.aconnect(host))
            four, lent = await asyncio.gather(world.aconnect(host), host.aresource("service", str))
            clients = [one, two, three, four]
            assert {type(each).__name__ for each in clients} == {"AsyncClient"}
            assert isinstance(one, world.lib.AsyncClient)
            statuses = [(await each.get("/")).status_code for each in clients]
            for each in (three, four):
                await each.aclose()
            return statuses, lent

    assert world.run(use) == ([200] * 4, "lent")


@pytest.mark.contract("await-comes-first")
def test_a_resource_can_be_all_that_a_loop_runs(host):
    assert asyncio.run(host.aresource("service", str)) == "lent"


@pytest.mark.contract("await-comes-first")
def test_a_task_that_connects_can_be_cancelled(flext_async_world, host):
    async def cancelled():
        task = asyncio.create_task(flext_async_world.aconnect(host))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.done()

    assert flext_async_world.run(cancelled)
