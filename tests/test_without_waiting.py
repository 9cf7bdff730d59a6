"""An application's tests at full speed: what `without_waiting` does to a host, and to no other."""

import time

import pytest

from flext_plugins import DeadlineExceeded, Failure, Operation, Refused, Stage, hookimpl, options
from flext_plugins.testing import Answer, without_waiting

LONG = 6
"""Seconds, of which none may pass."""


class Patient:
    """Waits long before it sends."""

    stage = Stage.RETRY

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        await connection.sleep(LONG)
        return await send(request)


class Bulkhead:
    """Lets one call go on at a time, to the end of its body, and nobody wait."""

    stage = Stage.GUARD

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        permit = await connection.permit("calls", 1, queue=0)
        response = await send(request)
        connection.watch(response, lambda *_: permit.release())
        return response


class Limiter:
    """Lets one request through."""

    stage = Stage.GUARD

    def __init__(self):
        self.passed = 0

    @hookimpl
    def flext_request(self, request, connection):
        if connection.waits:
            self.passed += 1
            if self.passed > 1:
                raise Refused("one is enough")


@pytest.mark.contract("nothing-waits-in-tests")
def test_sleeps_return_at_once(flext_world, flext_service):
    host = flext_world.serve(flext_service, Patient)
    before = time.monotonic()
    with without_waiting(host):
        assert flext_world.get(host).status_code == 200
    assert time.monotonic() - before < LONG - 1


@pytest.mark.contract("nothing-waits-in-tests")
def test_a_deadline_does_not_end_what_returns_at_once(flext_world, flext_service):
    host = flext_world.serve(flext_service, Patient)
    with options(deadline=5):
        with without_waiting(host):
            assert flext_world.get(host).status_code == 200
        with pytest.raises(DeadlineExceeded):
            flext_world.get(host)


@pytest.mark.contract("nothing-waits-in-tests")
def test_everybody_gets_a_permit_and_none_is_counted(flext_world, flext_service):
    host = flext_world.serve(flext_service, Bulkhead)
    flext_service.answer = Answer(delay=0.2)
    at_once = [flext_world.sender(host, "GET", "/")] * 3
    with without_waiting(host):
        assert [each.status_code for each in flext_world.all(at_once)] == [200] * 3
    refused = [each for each in flext_world.all(at_once) if isinstance(each, Refused)]
    assert len(refused) == 2


@pytest.mark.contract("nothing-waits-in-tests")
def test_a_guard_is_told_to_let_everything_through_and_counts_nothing(flext_world, flext_service):
    host = flext_world.serve(flext_service, Limiter)
    with without_waiting(host) as same:
        assert same is host
        for _ in range(5):
            assert flext_world.get(host).status_code == 200
    assert flext_world.get(host).status_code == 200
    with pytest.raises(Refused, match="one is enough"):
        flext_world.get(host)


@pytest.mark.contract("nothing-waits-in-tests")
def test_no_other_host_is_concerned_nor_one_of_the_same_configuration(flext_world, flext_service):
    hosts = [flext_world.serve(flext_service, Limiter) for _ in range(2)]
    with without_waiting(hosts[0]):
        flext_world.get(hosts[1])
        with pytest.raises(Refused):
            flext_world.get(hosts[1])


@pytest.mark.contract("nothing-waits-in-tests")
def test_it_ends_with_the_outermost_block_even_by_an_error(flext_world, flext_service):
    host = flext_world.serve(flext_service, Limiter)
    with pytest.raises(ZeroDivisionError), without_waiting(host):
        with without_waiting(host):
            flext_world.get(host)
        flext_world.get(host)
        raise ZeroDivisionError
    flext_world.get(host)
    with pytest.raises(Refused):
        flext_world.get(host)


@pytest.fixture
def application(flext_world, flext_service, flext_without_waiting):
    """A host as an application's own fixture makes it."""
    return flext_without_waiting(
        flext_world.host(
            {
                "services": {
                    "service": {
                        "base_url": flext_service.url,
                        "plugins": {
                            "circuit-breaker": {"failure_threshold": 1},
                            "retry": {"attempts": 4, "backoff": 60, "longest_wait": 60},
                        },
                    }
                }
            }
        )
    )


def test_the_fixture_lasts_for_the_test_and_our_own_plugins_honour_it(
    flext_world, flext_service, application
):
    flext_service.answer = Answer(503)
    for number in range(1, 41):
        assert flext_world.get(application).status_code == 503
        assert len(flext_service.received) == 4 * number  # the budget is for 10 resends
    flext_service.answer = Answer(200)
    assert flext_world.get(application).status_code == 200


def test_the_circuit_of_an_operation_stays_closed(flext_world, flext_service):
    class Lender:
        """Lends its connection."""

        @hookimpl
        def flext_connect(self, connection):
            self.connection = connection
            connection.provide(Lender, self)

    class Down(Exception):
        failure = Failure.CONNECT

    def fail():
        raise Down

    operation = Operation("rig", "ask", "rig:1")
    host = flext_world.serve(
        flext_service,
        plugins={"circuit-breaker": {"failure_threshold": 1}, "lender": {}},
    )
    host.register(Lender, "lender")
    with without_waiting(host):
        lent = flext_world.resource(host, Lender)

        def ask():
            asked = lent.connection.perform(operation, fail)
            return asked if lent.connection.asynchronous else lent.connection.drive(asked)

        for _ in range(5):
            with pytest.raises(Down):
                flext_world.run(ask)


@pytest.mark.contract("nothing-waits-in-tests")
def test_a_permit_for_what_there_is_only_so_much_of_counts_all_the_same(flext_world, flext_service):
    here, most = set(), []

    class Pools:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            async with connection.permit("pool", 2, always=True):
                here.add(request)
                most.append(len(here))
                try:
                    return await send(request)
                finally:
                    here.discard(request)

    host = flext_world.serve(flext_service, Pools)
    flext_service.answer = Answer(delay=0.02)
    with without_waiting(host):
        flext_world.all([flext_world.sender(host, "GET", "/")] * 8)
    assert (len(most), max(most)) == (8, 2)
