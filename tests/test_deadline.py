"""A call ends with its deadline, whatever it waits for."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time

import anyio
import pytest
from pydantic import BaseModel
from trickle import HEAD, saying

from flext_plugins import (
    DeadlineExceeded,
    Failure,
    Host,
    Operation,
    ServiceName,
    Stage,
    events,
    hookimpl,
    options,
)
from flext_plugins._call import Call
from flext_plugins._clients.bodies import Body
from flext_plugins._clients.cancellation import steady
from flext_plugins._deadline import Limit
from flext_plugins.testing import Answer


class Sees:
    """What leaves the wire, as a plugin sees it."""

    seen: list

    @classmethod
    def fresh(cls):
        return type("Sees", (cls,), {"seen": []})

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        try:
            return await send(request)
        except Exception as error:
            self.seen.append((type(error), connection.failure(error)))
            raise


class Finishes:
    observer = True
    outcomes: list

    @classmethod
    def fresh(cls):
        return type("Finishes", (cls,), {"outcomes": []})

    @hookimpl
    def flext_event(self, event):
        if isinstance(event, events.CallFinished):
            self.outcomes.append(event.outcome)


class Asks:
    """Asks another service first."""

    class Settings(BaseModel):
        service: ServiceName

    def __init__(self, settings):
        self.at = settings.service

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        response = await connection.request(self.at, "GET", "/token")
        await connection.read(response)
        return await send(request)


def late(world, host, path="/", *, deadline=0.3, **given):
    with options(deadline=deadline), pytest.raises(DeadlineExceeded) as caught:
        world.get(host, path, **given)
    assert isinstance(caught.value, world.lib.TimeoutException)
    assert caught.value.call.remaining() <= 0
    return caught.value


@pytest.mark.contract("deadline-is-nobodys-failure", "deadline-covers-the-call")
def test_a_slow_answer_ends_with_the_deadline_which_is_no_failure_of_the_service(
    flext_service, flext_world
):
    flext_service.answer = Answer(delay=2)
    sees, finishes = Sees.fresh(), Finishes.fresh()
    host = flext_world.serve(flext_service, sees, finishes)

    error = late(flext_world, host)

    assert str(error) == "service: no time left, waiting for the answer of service"
    assert error.call.service == "service"
    assert sees.seen == [(DeadlineExceeded, None)]
    assert finishes.outcomes == ["timed out"]


@pytest.mark.contract("deadline-covers-the-call")
def test_a_services_own_deadline_does_so_too(flext_service, flext_world):
    flext_service.answer = Answer(delay=2)

    with pytest.raises(DeadlineExceeded, match="the answer of service"):
        flext_world.get(flext_world.serve(flext_service, deadline=0.1))


@pytest.mark.contract("timeouts-stay-their-own")
def test_a_time_out_before_the_deadline_is_the_librarys_own(flext_service, flext_world):
    flext_service.answer = Answer(delay=2)
    sees = Sees.fresh()
    host = flext_world.serve(flext_service, sees, timeout={"read": 0.1})

    with options(deadline=20), pytest.raises(flext_world.lib.ReadTimeout) as caught:
        flext_world.get(host)

    assert not isinstance(caught.value, DeadlineExceeded)
    assert [failure for _, failure in sees.seen] == [Failure.TIMEOUT]


def test_an_answer_before_the_deadline_is_an_answer(flext_service, flext_world):
    flext_service.answer = Answer(body=b"x" * 100_000)

    with options(deadline=20):
        response = flext_world.get(flext_world.serve(flext_service))

    assert len(response.content) == 100_000


@pytest.mark.parametrize(
    "parts", [(HEAD,), (HEAD, *[b"1\r\nx\r\n"] * 400)], ids=["stalls", "trickles"]
)
@pytest.mark.contract("deadline-ends-a-body")
def test_a_body_that_is_still_read_ends_with_the_deadline(flext_world, parts):
    ended = []

    class Watches:
        @hookimpl
        def flext_response(self, response, connection):
            connection.watch(response, lambda error, _: ended.append(connection.failure(error)))

    with saying(*parts) as port:
        service = {"base_url": f"http://127.0.0.1:{port}", "plugins": {"watches": {}}}
        host = flext_world.host({"services": {"service": service}}, watches=Watches)
        text = str(late(flext_world, host))
        gc.collect()  # a socket that was left open would warn

    assert text == "service: no time left, waiting for the body of service's answer"
    assert ended == [None]


@pytest.mark.contract("deadline-covers-the-call")
def test_the_hops_of_a_call_share_its_deadline(flext_service, flext_world):
    flext_service.answer = Answer(302, {"Location": "/again"}, delay=0.05)
    host = flext_world.serve(flext_service)

    error = late(flext_world, host, deadline=0.4, client_options={"follow_redirects": True})

    assert 2 <= len(flext_service.received) <= 9
    assert error.call.attempt - len(flext_service.received) in {0, 1}  # one may not have left


@pytest.mark.contract("deadline-covers-the-call")
def test_attempts_share_the_deadline(flext_service, flext_world):
    class Resends:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send):
            while True:
                await send(request)

    flext_service.answer = Answer(503, delay=0.02)
    error = late(flext_world, flext_world.serve(flext_service, Resends), deadline=1.0)

    assert error.call.attempt > 1


@pytest.mark.contract("deadline-reaches-further")
def test_another_origins_answer_ends_with_it_too(flext_service, flext_elsewhere, flext_world):
    flext_elsewhere.answer = Answer(delay=2)
    error = late(flext_world, flext_world.serve(flext_service), f"{flext_elsewhere.url}/x")

    assert "the answer of 127.0.0.1" in str(error)


@pytest.mark.parametrize("slow", ["head", "body"])
@pytest.mark.contract("deadline-reaches-further")
def test_what_a_plugin_asks_another_service_ends_with_it(flext_service, flext_world, slow):
    parts = () if slow == "head" else (HEAD,)
    with saying(*parts) as port:
        services = {
            "service": {"base_url": flext_service.url, "plugins": {"asks": {"service": "tokens"}}},
            "tokens": {"base_url": f"http://127.0.0.1:{port}"},
        }
        host = flext_world.host({"services": services}, asks=Asks)
        error = late(flext_world, host)

    what = {"head": "the answer of tokens", "body": "the body of tokens's answer"}[slow]
    assert str(error) == f"tokens: asks: no time left, waiting for {what}"
    assert flext_service.received == []


@pytest.mark.contract("deadline-frees")
def test_a_call_that_ended_so_leaves_no_connection_and_no_permit_behind(flext_service, flext_world):
    flext_service.answer = lambda received: Answer(delay=2 if received.path == "/slow" else 0)
    host = flext_world.serve(flext_service, max_connections=1, timeout=5)
    for _ in range(5):
        late(flext_world, host, "/slow", deadline=0.05)

        assert flext_world.get(host, "/fast").status_code == 200


@pytest.mark.contract("deadline-frees")
def test_many_at_a_time_that_end_so_leave_no_connection_behind(flext_service, flext_async_world):
    world = flext_async_world
    host = world.serve(flext_service, max_connections=3, timeout=5)

    async def hasty(number):
        with options(deadline=0.001 * (number % 40) + 0.001):
            return await world.sender(host, "GET", f"/{number}")()

    results = world.all([lambda number=number: hasty(number) for number in range(200)])
    ended = {type(each).__mro__[1] for each in results if isinstance(each, Exception)}

    assert ended == {DeadlineExceeded}
    for _ in range(2):
        with options(deadline=5):
            answers = world.all([world.sender(host, "GET", "/")] * 6)
        assert [each.status_code for each in answers] == [200] * 6


@pytest.mark.contract("timeouts-stay-their-own")
def test_plugins_see_the_time_outs_as_the_application_set_them(flext_service, flext_httpx_world):
    seen = []

    class Looks:
        @hookimpl
        async def flext_exchange(self, request, send):
            response = await send(request)
            seen.append(response.request.extensions["timeout"]["read"])
            return response

    host = flext_httpx_world.serve(flext_service, Looks, timeout=7)
    with options(deadline=5):
        response = flext_httpx_world.get(host)

    assert [*seen, response.request.extensions["timeout"]["read"]] == [7, 7]


@pytest.mark.parametrize("timeout", [None, 9, (9, 9), "urllib3"])
@pytest.mark.contract("deadline-shortens-connecting")
def test_a_sessions_own_time_outs_are_shortened(flext_service, timeout):
    import requests
    from urllib3.util import Timeout

    flext_service.answer = Answer(delay=2)
    own = Timeout(total=9) if timeout == "urllib3" else timeout
    with Host({"services": {"service": {"base_url": flext_service.url}}}) as host:
        session = host.connect("service", requests.Session)
        with options(deadline=0.1), pytest.raises(DeadlineExceeded):
            session.get("/", timeout=own)


@pytest.mark.contract("deadline-ends-a-body")
def test_a_sessions_response_that_ended_so_is_closed_at_once():
    import requests

    with saying(HEAD, b"1\r\nx\r\n") as port:
        with Host({"services": {"service": {"base_url": f"http://127.0.0.1:{port}"}}}) as host:
            with options(deadline=0.5):
                response = host.connect("service", requests.Session).get("/", stream=True)
            chunks = response.iter_content(1)
            assert next(chunks) == b"x"
            time.sleep(0.5)
            with pytest.raises(DeadlineExceeded) as caught:
                next(chunks)

            assert response.raw.closed, caught  # which still holds all that led to it


@pytest.mark.contract("deadline-covers-the-call")
def test_an_operation_that_is_async_ends_with_it_too(flext_service, flext_async_world):
    class Operates:
        @hookimpl
        async def flext_request(self, connection):
            await connection.perform(Operation("ldap", "search", "a:389"), asyncio.sleep, 5)

    error = late(flext_async_world, flext_async_world.serve(flext_service, Operates))

    assert (
        str(error) == "service: operates: no time left, waiting for operates's search at ldap a:389"
    )


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.contract("cancellation-is-put-off")
def test_a_cancellation_that_was_put_off_lands_where_the_deadline_is(flext_async_world, broken):
    """httpcore turns once round the loop inside a lock; `steady` lets nothing be cancelled there."""

    async def turns(cancellations):
        while asyncio.current_task().cancelling() < cancellations:
            await asyncio.sleep(0)
        if broken:
            raise ConnectionError

    async def main(cancellations):
        call = Call("service", deadline=time.monotonic() + 0.05)
        async with Limit(call, "turns"):
            await steady(turns(cancellations))

    async def survives():
        with pytest.raises(DeadlineExceeded):
            await main(1)
        await asyncio.sleep(0.01)  # where a cancellation would land that had not landed there
        task = asyncio.create_task(main(2))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    flext_async_world.run(survives)


@pytest.mark.contract("cancellation-is-put-off")
def test_a_cancellation_of_anyios_inside_stays_there(flext_async_world):
    """Connecting cancels its other attempts; a cancellation of ours would outlive them."""

    async def connects():
        with anyio.CancelScope() as scope:
            scope.cancel()
            await asyncio.sleep(0)
        return "connected"

    async def main():
        assert await steady(connects()) == "connected"
        await asyncio.sleep(0.01)
        assert not asyncio.current_task().cancelling()

    flext_async_world.run(main)


@pytest.mark.contract("cancellation-is-put-off")
def test_an_answer_that_comes_with_a_put_off_cancellation_is_given_up(flext_async_world):
    given_up = []

    async def answers():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)
        return "answer"

    async def give_up(answer):
        given_up.append(answer)

    async def main():
        await steady(answers(), give_up)

    async def survives():
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(main())

    flext_async_world.run(survives)
    assert given_up == ["answer"]


@pytest.mark.contract("cancellation-is-put-off")
def test_an_applications_own_time_out_around_what_fails_ends_nothing_else(
    flext_service, flext_async_world
):
    async def impatient(client):
        for _ in range(20):
            with contextlib.suppress(TimeoutError, flext_async_world.lib.TransportError):
                async with asyncio.timeout(0.02):
                    await client.get("/")

    async def main():
        client = await flext_async_world.client(flext_async_world.serve(flext_service))
        tasks = [asyncio.create_task(impatient(client)) for _ in range(30)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    flext_service.answer = Answer(reset=True)
    assert flext_async_world.run(main) == [None] * 30


@pytest.mark.contract("body-end-is-told-once")
def test_a_read_whose_coroutine_is_closed_ends_quietly():
    """Nobody may wait there any more, and nothing has gone wrong with the body."""
    told = []

    class Endless:
        def __aiter__(self):
            return self

        async def __anext__(self):
            await asyncio.sleep(60)

        async def aclose(self):
            await asyncio.sleep(60)

    async def read():
        body = Body(Endless())
        body.watch(lambda *how: told.append(how))
        reading = anext(aiter(body)).__await__()
        reading.send(None)
        reading.close()

    asyncio.run(read())
    assert told == []
