"""Whether something was sent before a refusal, and which error comes first where a plugin resends."""

from __future__ import annotations

import asyncio
import copy
import pickle
from datetime import timedelta
from fractions import Fraction

import pytest
from pydantic import BaseModel

from flext_plugins import (
    DeadlineExceeded,
    Operation,
    Refused,
    ServiceName,
    Stage,
    hookimpl,
    options,
)
from flext_plugins.testing import Answer


class Full(Refused):
    """A refusal with a constructor of its own."""

    def __init__(self, guests):
        super().__init__(f"{guests} are in", retry_after=3)
        self.guests = guests


class Refuses:
    """Refuses from an attempt of the call on, which the path names: `/2`."""

    stage = Stage.GUARD

    @hookimpl
    def flext_request(self, request, connection):
        first = request.url.path.strip("/")
        if first.isdigit() and connection.call.attempt >= int(first):
            raise Full(7)


class Twice:
    """Sends twice, and lets a second refusal pass."""

    stage = Stage.RETRY

    @hookimpl
    async def flext_exchange(self, request, send):
        try:
            response = await send(request)
        except Refused:
            raise
        except Exception:
            return await send(request)
        return await send(request) if response.status_code == 503 else response


class Sees:
    """Notes what plugins further out see of a refusal."""

    stage = Stage.CALL
    seen: list

    @hookimpl
    async def flext_exchange(self, request, send):
        try:
            return await send(request)
        except Refused as error:
            self.seen.append(error.sent)
            raise


def refusal(world, host, path="/1", **options):
    with pytest.raises(Refused) as caught:
        world.get(host, path, **options)
    assert caught.value.sent is caught.value.call.sent
    return caught.value


# sent


@pytest.mark.contract("refusal-says-whether-sent")
def test_a_refusal_of_the_first_attempt_says_that_nothing_was_sent(flext_service, flext_world):
    sees = type("Sees", (Sees,), {"seen": []})
    error = refusal(flext_world, flext_world.serve(flext_service, sees, Refuses))

    assert (error.sent, sees.seen, flext_service.received) == (False, [False], [])


@pytest.mark.contract("refusal-says-whether-sent")
@pytest.mark.parametrize("first", [Answer(503), Answer(reset=True)], ids=["answered", "failed"])
@pytest.mark.parametrize("deadline", [None, 30])
def test_a_refusal_of_a_later_attempt_says_that_something_was_and_so_plugins_see_it(
    flext_service, flext_world, first, deadline
):
    sees = type("Sees", (Sees,), {"seen": []})
    flext_service.answer = first
    with options(deadline=deadline):
        error = refusal(flext_world, flext_world.serve(flext_service, sees, Twice, Refuses), "/2")

    assert (error.sent, sees.seen, len(flext_service.received)) == (True, [True], 1)


@pytest.mark.contract("refusal-says-whether-sent")
def test_a_refusal_of_a_later_hop_says_so_too(flext_service, flext_world):
    flext_service.answer = Answer(307, {"Location": "/2"})
    host = flext_world.serve(flext_service, Refuses)
    error = refusal(flext_world, host, "/", client_options={"follow_redirects": True})

    assert (error.sent, flext_service.paths()) == (True, ["/"])


@pytest.mark.contract("refusal-says-whether-sent")
def test_a_hop_to_another_origin_counts(flext_service, flext_elsewhere, flext_world):
    flext_elsewhere.answer = Answer(307, {"Location": f"{flext_service.url}/2"})
    host = flext_world.serve(flext_service, Refuses)
    there = f"{flext_elsewhere.url}/there"
    error = refusal(flext_world, host, there, client_options={"follow_redirects": True})

    assert (error.sent, flext_service.received) == (True, [])


@pytest.mark.contract("refusal-says-whether-sent")
def test_an_attempt_that_did_not_reach_the_wire_does_not_count(flext_service, flext_world):
    class Answers:
        @hookimpl
        def flext_request(self, connection):
            return connection.respond(503)

    host = flext_world.serve(flext_service, Twice, Refuses, Answers)
    assert refusal(flext_world, host, "/2").sent is False


@pytest.mark.contract("refusal-says-whether-sent")
def test_a_request_that_found_no_time_to_be_sent_does_not_count(flext_service, flext_world):
    class Dawdles:
        @hookimpl
        async def flext_request(self, connection):
            connection.call.deadline = 1.0  # long past

    with pytest.raises(DeadlineExceeded) as caught:
        flext_world.get(flext_world.serve(flext_service, Dawdles))

    assert caught.value.call.sent is False


@pytest.mark.contract("refusal-says-whether-sent", "closed-host-refuses")
def test_a_host_that_closes_between_two_attempts_says_so(flext_service, flext_world):
    seen = []

    class Closes:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            await send(request)
            await connection._channel.close("the host is closed")
            try:
                return await send(request)
            except Refused as error:
                seen.append(error.sent)
                raise

    error = refusal(flext_world, flext_world.serve(flext_service, Closes), "/")
    assert (error.sent, seen) == (True, [True])


@pytest.mark.contract("refusal-says-whether-sent")
@pytest.mark.parametrize(("idempotent", "sent"), [(True, False), (False, True)])
def test_an_operation_on_the_way_counts_unless_it_is_idempotent(
    flext_service, flext_world, idempotent, sent
):
    class Asks:
        @hookimpl
        async def flext_request(self, connection):
            operation = Operation("ldap", "search", "directory:389", idempotent=idempotent)
            await connection.perform(operation, str)
            raise Refused("nobody there")

    error = refusal(flext_world, flext_world.serve(flext_service, Asks))
    assert (error.sent, flext_service.received) == (sent, [])


class Lends:
    """Lends a function that performs an operation."""

    @hookimpl
    def flext_connect(self, connection):
        def perform():
            operation = Operation("ldap", "search", "directory:389", idempotent=True)
            done = connection.perform(operation, str)
            return done if connection.asynchronous else connection.drive(done)

        connection.provide(type(perform), perform)


@pytest.mark.contract("refusal-says-whether-sent")
@pytest.mark.parametrize("begins", [True, False])
def test_an_operation_that_is_itself_the_call_counts_once_it_began(
    flext_service, flext_world, begins
):
    class Guards:
        stage = Stage.GUARD

        @hookimpl
        async def flext_operation(self, operation, proceed):
            if begins:
                await proceed(operation)
            raise Refused("enough")

    host = flext_world.serve(flext_service, Lends, Guards)
    perform = flext_world.resource(host, type(lambda: None))
    with pytest.raises(Refused) as caught:
        flext_world.run(perform)

    assert (caught.value.sent, caught.value.call.sent) == (begins, begins)


class AsksSettings(BaseModel):
    service: ServiceName


class Asks:
    """Asks another service first, and lets its refusal pass."""

    Settings = AsksSettings
    stage = Stage.AUTH
    seen: list

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        try:
            answer = await connection.request("other", "GET", "/2")
        except Refused as error:
            self.seen.append(error.sent)
            raise
        await connection.close(answer)
        return await send(request)


@pytest.mark.contract("refusal-says-whether-sent")
def test_it_is_said_of_the_call_of_whoever_sees_the_refusal(
    flext_service, flext_elsewhere, flext_world
):
    """The asking plugin sees whether something of its own request was sent."""
    sees = type("Sees", (Sees,), {"seen": []})
    asks = type("Asks", (Asks,), {"seen": []})
    flext_elsewhere.answer = Answer(503)
    plugins = {"sees": {}, "asks": {"service": "other"}}
    services = {
        "service": {"base_url": flext_service.url, "plugins": plugins},
        "other": {"base_url": flext_elsewhere.url, "plugins": {"twice": {}, "refuses": {}}},
    }
    host = flext_world.host(
        {"services": services}, sees=sees, asks=asks, twice=Twice, refuses=Refuses
    )
    with pytest.raises(Refused) as caught:
        flext_world.get(host)

    assert (asks.seen, sees.seen, caught.value.sent) == ([True], [False], False)
    assert pickle.loads(pickle.dumps(caught.value)).sent is False


@pytest.mark.contract("refusal-says-whether-sent")
def test_so_it_is_said_where_a_client_in_a_plugin_was_refused(
    flext_service, flext_elsewhere, flext_world
):
    class Sends:
        @hookimpl
        async def flext_request(self):
            client = await flext_world.client(host, "other")
            await client.get("/2")

    flext_elsewhere.answer = Answer(503)
    services = {
        "service": {"base_url": flext_service.url, "plugins": {"sends": {}}},
        "other": {"base_url": flext_elsewhere.url, "plugins": {"twice": {}, "refuses": {}}},
    }
    host = flext_world.host({"services": services}, sends=Sends, twice=Twice, refuses=Refuses)
    with pytest.raises(Refused) as caught:
        flext_world.get(host)

    assert (caught.value.sent, caught.value.call.sent) == (False, True)
    assert pickle.loads(pickle.dumps(caught.value)).sent is False


@pytest.mark.contract("refusal-says-whether-sent", "refusal-keeps-its-class")
def test_it_survives_pickling_and_copying(flext_service, flext_world):
    flext_service.answer = Answer(503)
    error = refusal(flext_world, flext_world.serve(flext_service, Twice, Refuses), "/2")

    assert isinstance(error, flext_world.lib.TransportError)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (twin.sent, twin.retry_after, twin.call.sent) == (True, 3, True)
    plain = Refused("maintenance")
    plain.sent = True
    assert pickle.loads(pickle.dumps(plain)).sent is True


@pytest.mark.contract("refusal-says-whether-sent")
async def test_each_caller_of_shared_work_is_told_of_its_own_call(
    flext_service, flext_elsewhere, flext_async_world
):
    """One has sent before it waits, the other has not."""

    class Joins:
        stage = Stage.AUTH

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            async def work():
                await asyncio.sleep(0.2)
                raise Refused("nothing to be had")

            if request.url.path == "/sent":
                await send(request)
            return await connection.once("work", work)

    host = flext_async_world.serve(flext_service, Joins)
    client = await flext_async_world.client(host)
    one, other = await asyncio.gather(
        client.get("/unsent"), client.get("/sent"), return_exceptions=True
    )
    assert (one.sent, other.sent) == (False, True)


# which error comes first


class Earnest:
    """Sends twice; if the second is refused, what went wrong with the first is raised."""

    stage = Stage.RETRY

    @hookimpl
    async def flext_exchange(self, request, send):
        try:
            return await send(request)
        except Exception as error:
            failed = error
        try:
            return await send(request)
        except Refused as refused:
            failed.add_note(f"sent again, it was refused: {refused}")
        raise failed


@pytest.mark.contract("earlier-failure-comes-first", "only-its-own-send-passes")
def test_a_plugin_may_raise_the_error_of_any_of_its_sends(flext_service, flext_world):
    flext_service.answer = Answer(reset=True)
    host = flext_world.serve(flext_service, Earnest, Refuses)
    with pytest.raises(flext_world.lib.ReadError) as caught:
        flext_world.get(host, "/2")

    assert not isinstance(caught.value, Refused)
    assert caught.value.__notes__ == [
        "sent again, it was refused: service: refuses: 7 are in",
        "in a call of service 'service'",
    ]
    call = caught.value.flext_call
    assert (call.attempt, call.sent, len(flext_service.received)) == (2, True, 1)


@pytest.mark.contract("earlier-failure-comes-first", "only-its-own-send-passes")
def test_so_may_one_around_operations(flext_service, flext_world):
    class Broken(Exception):
        pass

    class Earnest:
        stage = Stage.RETRY

        @hookimpl
        async def flext_operation(self, operation, proceed):
            try:
                return await proceed(operation)
            except Broken as error:
                failed = error
            try:
                return await proceed(operation)
            except Refused:
                pass
            raise failed

    class Guards:
        stage = Stage.GUARD

        @hookimpl
        async def flext_operation(self, operation, proceed, connection):
            if connection.call.attempt > 1:
                raise Refused("enough")
            return await proceed(operation)

    class Lends:
        @hookimpl
        def flext_connect(self, connection):
            def work():
                raise Broken

            def perform():
                done = connection.perform(Operation("ldap", "search", "directory:389"), work)
                return done if connection.asynchronous else connection.drive(done)

            connection.provide(type(perform), perform)

    host = flext_world.serve(flext_service, Earnest, Guards, Lends)
    perform = flext_world.resource(host, type(lambda: None))
    with pytest.raises(Broken):
        flext_world.run(perform)


@pytest.mark.contract("refusal-says-when")
@pytest.mark.parametrize(
    ("value", "taken"), [(None, None), (3, 3), (0.5, 0.5), (-0.1, 0), (Fraction(1, 2), 0.5)]
)
def test_a_refusal_says_after_how_many_seconds_to_come_back(value, taken):
    assert Refused("full", retry_after=value).retry_after == taken


@pytest.mark.contract("refusal-says-when")
@pytest.mark.parametrize("value", ["3", True, float("nan"), float("inf"), timedelta(seconds=3)])
def test_what_nobody_can_wait_for_is_told_where_it_is_said(value):
    with pytest.raises((TypeError, ValueError), match="^retry_after takes seconds, not "):
        Refused("full", retry_after=value)
