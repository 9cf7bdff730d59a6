"""What is told of calls, hops and attempts: when, to whom, and with what in it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect

import pytest
import requests
from pydantic import BaseModel
from requests.adapters import BaseAdapter
from requests.auth import HTTPDigestAuth
from trickle import HEAD, saying

from flext_plugins import (
    DeadlineExceeded,
    Failure,
    FlextError,
    Operation,
    PluginError,
    Refused,
    ServiceName,
    Stage,
    events,
    hookimpl,
    options,
)
from flext_plugins.testing import Answer, World

FOLLOW = {"client_options": {"follow_redirects": True}}


def hearing(*kinds):
    """A plugin that keeps the events of these kinds in its `heard`."""

    class Hears:
        heard: list = []

        @hookimpl
        def flext_event(self, event):
            if isinstance(event, kinds or (events.HopFinished, events.CallFinished)):
                self.heard.append(event)

    return Hears


def names(plugin):
    return [type(each).__name__ for each in plugin.heard]


def redirect(to, path="/redirect"):
    return lambda received: Answer(307, {"Location": to}) if received.path == path else Answer()


# the end of a call, and of each of its hops


@pytest.mark.contract("call-end-is-told-once", "hop-end-is-told")
def test_a_followed_redirect_is_two_hops_of_one_call(flext_service, flext_world):
    hears = hearing()
    flext_service.answer = redirect("/there")
    answer = flext_world.get(flext_world.serve(flext_service, hears), "/redirect", **FOLLOW)

    assert names(hears) == ["HopFinished", "HopFinished", "CallFinished"]
    assert {each.call for each in hears.heard} == {answer.extensions["flext_plugins.call"]}
    assert [each.outcome for each in hears.heard] == ["answered"] * 3
    assert [each.attempts for each in hears.heard] == [1, 1, 2]


@pytest.mark.contract("call-end-is-told-once", "hop-end-is-told")
def test_the_attempts_of_a_hop_are_its_own_and_those_of_a_call_are_all(flext_service, flext_world):
    class Again:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send):
            await send(request)
            return await send(request)

    hears = hearing()
    flext_service.answer = redirect("/there")
    flext_world.get(flext_world.serve(flext_service, hears, Again), "/redirect", **FOLLOW)

    assert [each.attempts for each in hears.heard] == [2, 2, 4]


@pytest.mark.contract("hop-end-is-told")
def test_an_operation_that_is_done_again_is_no_attempt_of_the_hop(flext_service, flext_world):
    class Again:
        stage = Stage.RETRY

        @hookimpl
        async def flext_operation(self, operation, proceed):
            await proceed(operation)
            return await proceed(operation)

    class Asks:
        @hookimpl
        async def flext_request(self, connection):
            await connection.perform(Operation("ldap", "search", "directory:389"), str)

    hears = hearing()
    flext_world.get(flext_world.serve(flext_service, hears, Again, Asks))

    assert [each.attempts for each in hears.heard] == [1, 2]


class Guards:
    """Refuses, breaks or waits for some paths."""

    stage = Stage.GUARD

    @hookimpl
    async def flext_request(self, request, connection):
        if request.url.path == "/refused":
            raise Refused("not now")
        if request.url.path == "/broken":
            raise KeyError("x")
        if request.url.path == "/late":
            await connection.sleep(60)


@pytest.mark.contract("call-end-is-told-once", "hop-end-is-told")
def test_both_ends_say_what_came_of_it(flext_service, flext_world):
    hears = hearing()
    host = flext_world.serve(flext_service, hears, Guards)
    flext_world.get(host)
    for path in ("/refused", "/broken", "/late"):
        with pytest.raises(FlextError), options(deadline=1):
            flext_world.get(host, path)
    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError):
        flext_world.get(host)

    outcomes = ["answered", "refused", "error", "timed out", "failed"]
    for kind in (events.HopFinished, events.CallFinished):
        ends = [each for each in hears.heard if isinstance(each, kind)]
        assert [each.outcome for each in ends] == outcomes
        assert all(0 <= each.duration < 5 for each in ends)


@pytest.mark.contract("call-end-is-told-once", "hop-end-is-told")
def test_a_cancelled_call_has_both_ends_too(flext_service, flext_async_world):
    hears = hearing()
    flext_service.answer = Answer(delay=5)

    async def cancelled():
        client = await flext_async_world.client(flext_async_world.serve(flext_service, hears))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.get("/")

    flext_async_world.run(cancelled)

    assert names(hears) == ["HopFinished", "CallFinished"]
    assert [each.outcome for each in hears.heard] == ["cancelled"] * 2


@pytest.mark.contract("receivers-are-inside-the-call")
def test_at_both_ends_a_receiver_finds_the_call_and_can_judge_an_error(flext_service, flext_world):
    found, raised = [], []

    class Sees:
        stage = Stage.CALL

        @hookimpl
        async def flext_exchange(self, request, send):
            try:
                return await send(request)
            except Exception as error:
                raised.append(error)
                raise

        @hookimpl
        def flext_event(self, event, connection):
            if isinstance(event, (events.HopFinished, events.CallFinished)):
                assert connection.call is event.call
                found.append((event.outcome, connection.failure(raised[-1])))

    host = flext_world.serve(flext_service, Sees, Guards)
    with pytest.raises(DeadlineExceeded), options(deadline=0.2):
        flext_world.get(host, "/late")
    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError):
        flext_world.get(host)

    assert found == [("timed out", None)] * 2 + [("failed", Failure.CONNECT)] * 2


@pytest.mark.contract("call-end-is-told-once")
def test_a_call_ends_when_the_client_has_read_what_it_does_not_stream(flext_world):
    hears = hearing()
    with saying(HEAD, b"2\r\nok\r\n", b"0\r\n\r\n", pause=0.1) as port:
        service = {"base_url": f"http://127.0.0.1:{port}", "plugins": {"hears": {}}}
        host = flext_world.host({"services": {"service": service}}, hears=hears)
        assert flext_world.get(host).content == b"ok"

    hop, call = hears.heard
    assert hop.duration < 0.18 < call.duration


@pytest.mark.contract("call-end-is-told-once")
def test_a_call_whose_answer_streams_ends_at_the_headers(flext_service, flext_httpx_world):
    hears, world = hearing(events.CallFinished, events.BodyEnded), flext_httpx_world
    host = world.serve(flext_service, hears)

    def sync():
        with world.connect(host) as client, client.stream("GET", "/") as response:
            assert names(hears) == ["CallFinished"]
            response.read()

    async def async_():
        async with world.aconnect(host) as client, client.stream("GET", "/") as response:
            assert names(hears) == ["CallFinished"]
            await response.aread()

    world.run(async_ if world.asynchronous else sync)
    assert names(hears) == ["CallFinished", "BodyEnded"]


@pytest.mark.contract("call-end-is-told-once")
def test_a_body_that_breaks_while_the_client_reads_it_is_a_call_that_failed(
    flext_service, flext_world
):
    hears = hearing()
    flext_service.answer = Answer(body=b"0123456789", cut=4)
    with pytest.raises(flext_world.lib.TransportError):
        flext_world.get(flext_world.serve(flext_service, hears))

    assert [each.outcome for each in hears.heard] == ["answered", "failed"]


@pytest.mark.contract("call-end-is-told-once")
def test_an_error_of_the_applications_own_is_what_its_call_ends_with(
    flext_service, flext_httpx_world
):
    hears, world = hearing(), flext_httpx_world

    def raises(response):
        raise KeyError("x")

    async def araises(response):
        raise KeyError("x")

    hooks = {"response": [araises if world.asynchronous else raises]}
    with pytest.raises(KeyError):
        world.get(world.serve(flext_service, hears), client_options={"event_hooks": hooks})

    assert [each.outcome for each in hears.heard] == ["answered", "error"]


@pytest.mark.contract("call-end-is-told-once", "own-origin-only")
def test_a_hop_elsewhere_is_no_hop_that_is_told_but_belongs_to_the_call(
    flext_service, flext_elsewhere, flext_world
):
    hears = hearing()
    flext_service.answer = redirect(f"{flext_elsewhere.url}/there")
    flext_world.get(flext_world.serve(flext_service, hears), "/redirect", **FOLLOW)

    assert [(type(each).__name__, each.attempts) for each in hears.heard] == [
        ("HopFinished", 1),
        ("CallFinished", 2),
    ]


@pytest.mark.contract("call-end-is-told-once", "own-origin-only")
def test_a_call_whose_only_hop_goes_elsewhere_is_not_told(
    flext_service, flext_elsewhere, flext_world
):
    hears = hearing(object)
    flext_world.get(flext_world.serve(flext_service, hears), f"{flext_elsewhere.url}/there")

    assert (hears.heard, flext_elsewhere.paths()) == ([], ["/there"])


@pytest.mark.contract("call-end-is-told-once")
def test_a_call_whose_connection_does_not_open_is_told_to_nobody(flext_service, flext_world):
    class Shut:
        @hookimpl
        def flext_connect(self):
            raise KeyError("x")

    hears = hearing(object)
    with pytest.raises(PluginError):
        flext_world.get(flext_world.serve(flext_service, hears, Shut))

    assert hears.heard == []


@pytest.mark.contract("call-end-is-told-once", "telling-is-harmless")
def test_a_receiver_that_raises_at_either_end_ends_nothing(flext_service, flext_world):
    failed = hearing(events.PluginFailed)

    class Raises:
        @hookimpl
        def flext_event(self, event):
            if isinstance(event, (events.HopFinished, events.CallFinished)):
                raise KeyError("x")

    answer = flext_world.get(flext_world.serve(flext_service, failed, Raises))

    assert answer.status_code == 200
    assert [each.hook for each in failed.heard] == ["flext_event"] * 2


class AsksSettings(BaseModel):
    service: ServiceName


class Asks:
    Settings = AsksSettings

    @hookimpl
    async def flext_request(self, connection):
        await connection.close(await connection.request("other", "GET", "/asked"))


@pytest.mark.contract("call-end-is-told-once", "events-reach-every-receiver")
def test_a_call_that_a_plugin_makes_ends_with_its_hop(flext_service, flext_elsewhere, flext_world):
    hears = hearing()
    table = {"hears": {}}
    services = {
        "service": {
            "base_url": flext_service.url,
            "plugins": {**table, "asks": {"service": "other"}},
        },
        "other": {"base_url": flext_elsewhere.url, "plugins": table},
    }
    flext_world.get(flext_world.host({"services": services}, hears=hears, asks=Asks))

    told = [(type(each).__name__, each.call.service) for each in hears.heard]
    assert told == [
        ("HopFinished", "other"),
        ("CallFinished", "other"),
        ("HopFinished", "service"),
        ("CallFinished", "service"),
    ]


@pytest.mark.contract("bare-transport-ends-each-hop")
def test_around_a_bare_transport_of_httpx_each_hop_is_an_end_of_the_call_that_it_shares(
    flext_service, flext_httpx_world
):
    hears, world = hearing(), flext_httpx_world
    flext_service.answer = redirect("/there")
    host = world.serve(flext_service, hears)
    base = world.lib.AsyncBaseTransport if world.asynchronous else world.lib.BaseTransport
    given = {"transport": host.transport("service", base), "follow_redirects": True}

    def sync():
        with world.lib.Client(**given) as client:
            client.get(f"{flext_service.url}/redirect")

    async def async_():
        async with world.lib.AsyncClient(**given) as client:
            await client.get(f"{flext_service.url}/redirect")

    world.run(async_ if world.asynchronous else sync)
    assert names(hears) == ["HopFinished", "CallFinished"] * 2
    assert [each.attempts for each in hears.heard] == [1, 1, 1, 2]
    assert len({each.call.id for each in hears.heard}) == 1


@pytest.mark.contract("bare-transport-ends-each-hop")
def test_around_a_bare_adapter_of_requests_each_hop_is_a_call(flext_service):
    hears, world = hearing(), World("requests sync")
    flext_service.answer = redirect("/there")
    with world, requests.Session() as session:
        host = world.serve(flext_service, hears)
        session.mount("http://", host.transport("service", BaseAdapter))
        session.get(f"{flext_service.url}/redirect")

    assert names(hears) == ["HopFinished", "CallFinished"] * 2
    assert len({each.call.id for each in hears.heard}) == 2


# what is a call


class Sees:
    """Keeps the call and the attempt of each request."""

    stage = Stage.CALL
    seen: list

    @hookimpl
    def flext_request(self, request, connection):
        self.seen.append((request.url.path, connection.call, connection.call.attempt))


@pytest.mark.contract("hops-share-a-call", "call-end-is-told-once")
def test_what_a_clients_own_auth_sends_besides_is_a_hop_of_the_call(
    flext_service, flext_httpx_world
):
    sees, hears = type("Sees", (Sees,), {"seen": []}), hearing()
    lib = flext_httpx_world.lib

    class Login(lib.Auth):
        def auth_flow(self, request):
            yield lib.Request("POST", f"{flext_service.url}/token")
            yield request

    host = flext_httpx_world.serve(flext_service, hears, sees)
    answer = flext_httpx_world.get(host, "/there", auth=Login())

    call = answer.extensions["flext_plugins.call"]
    assert sees.seen == [("/token", call, 1), ("/there", call, 2)]
    assert names(hears) == ["HopFinished", "HopFinished", "CallFinished"]


@pytest.mark.contract("hops-share-a-call", "call-end-is-told-once")
def test_what_a_sessions_digest_sends_again_is_a_hop_of_the_call(flext_service):
    hears, world = hearing(), World("requests sync")
    challenge = {"WWW-Authenticate": 'Digest realm="x", nonce="y", qop="auth"'}
    flext_service.answer = lambda received: (
        Answer() if "authorization" in received.headers else Answer(401, challenge)
    )
    with world:
        session = world.connect(world.serve(flext_service, hears), auth=HTTPDigestAuth("a", "b"))
        assert session.get("/").status_code == 200

    assert names(hears) == ["HopFinished", "HopFinished", "CallFinished"]
    assert hears.heard[-1].attempts == 2


@pytest.mark.contract("hops-share-a-call")
@pytest.mark.parametrize("follow", [True, False], ids=["follows", "does not follow"])
def test_what_a_response_hook_of_a_session_sends_through_it_is_a_call_of_its_own(
    flext_service, follow
):
    sees, hears = type("Sees", (Sees,), {"seen": []}), hearing(events.CallFinished)
    flext_service.answer = redirect("/there")

    def ask(response, **_):
        if "/asked" not in response.url:
            session.get("/asked", allow_redirects=follow)

    with World("requests sync") as world:
        session = world.connect(world.serve(flext_service, hears, sees))
        session.hooks["response"].append(ask)
        session.get("/redirect")

    (_, call, _), (_, one, _), (_, same, _), (_, two, _) = sees.seen
    assert [(path, attempt) for path, _, attempt in sees.seen] == [
        ("/redirect", 1),
        ("/asked", 1),
        ("/there", 2),
        ("/asked", 1),
    ]
    assert call is same
    assert [each.call for each in hears.heard] == [one, two, call]


@pytest.mark.contract("hops-share-a-call", "call-end-is-told-once")
def test_what_an_event_hook_of_a_client_sends_through_it_is_a_call_of_its_own(
    flext_service, flext_httpx_world
):
    sees, hears = type("Sees", (Sees,), {"seen": []}), hearing(events.CallFinished)
    world = flext_httpx_world
    flext_service.answer = redirect("/there")
    host = world.serve(flext_service, hears, sees)

    def sync():
        def ask(response):
            if response.url.path == "/redirect":
                client.get("/asked")

        options = {"event_hooks": {"response": [ask]}, "follow_redirects": True}
        with world.connect(host, **options) as client:
            client.get("/redirect")

    async def async_():
        async def ask(response):
            if response.url.path == "/redirect":
                await client.get("/asked")

        options = {"event_hooks": {"response": [ask]}, "follow_redirects": True}
        async with world.aconnect(host, **options) as client:
            await client.get("/redirect")

    world.run(async_ if world.asynchronous else sync)
    (_, call, _), (_, asked, _), (_, same, _) = sees.seen
    assert [attempt for _, _, attempt in sees.seen] == [1, 1, 2]
    assert call is same
    assert [each.call for each in hears.heard] == [asked, call]


@pytest.mark.contract("plain-without-plugins")
def test_an_async_clients_send_is_a_coroutine_function_as_the_librarys_own_is(
    flext_service, flext_async_world
):
    async def kind():
        client = await flext_async_world.client(flext_async_world.serve(flext_service))
        return inspect.iscoroutinefunction(client.plain.send)

    assert flext_async_world.run(kind)


@pytest.mark.contract("hops-share-a-call")
def test_what_a_response_hook_sends_through_a_bare_transport_is_a_call_of_its_own(
    flext_service, flext_elsewhere
):
    sees = type("Sees", (Sees,), {"seen": []})
    names = {"sees": {}}
    services = {
        "one": {"base_url": flext_service.url, "plugins": names},
        "two": {"base_url": flext_elsewhere.url, "plugins": names},
    }
    with (
        World("requests sync") as world,
        requests.Session() as bare,
    ):
        host = world.host({"services": services}, sees=sees)
        bare.mount("http://", host.transport("two", BaseAdapter))
        session = world.connect(host, "one")
        session.hooks["response"].append(lambda *_, **__: bare.get(flext_elsewhere.url) and None)
        session.get("/")

    assert [(call.service, attempt) for _, call, attempt in sees.seen] == [("one", 1), ("two", 1)]


@pytest.mark.contract("hops-share-a-call")
def test_a_copy_of_a_session_begins_calls_of_its_own(flext_service):
    hears = hearing(events.CallFinished)
    flext_service.answer = redirect("/there")
    with World("requests sync") as world:
        session = world.connect(world.serve(flext_service, hears))
        with copy.copy(session) as other:
            other.get("/redirect")
        session.get("/redirect")

    assert [each.attempts for each in hears.heard] == [2, 2]


@pytest.mark.contract("call-end-is-told-once")
def test_redirects_that_an_application_follows_by_itself_are_calls(flext_service):
    hears = hearing(events.CallFinished)
    flext_service.answer = redirect("/there")
    with World("requests sync") as world:
        session = world.connect(world.serve(flext_service, hears))
        first = session.get("/redirect", allow_redirects=False)
        (second,) = session.resolve_redirects(first, first.request)
        assert second.url.endswith("/there")

    assert [each.attempts for each in hears.heard] == [1, 1]


# a second send


class Twice:
    """Sends twice, or until it is answered."""

    stage = Stage.RETRY

    @hookimpl
    async def flext_exchange(self, request, send):
        with contextlib.suppress(Exception):
            await send(request)
        return await send(request)


@pytest.mark.contract("resends-are-told")
@pytest.mark.parametrize(
    ("first", "reason"),
    [(Answer(503), "503"), (Answer(401), "401"), (Answer(reset=True), "read")],
    ids=str,
)
def test_each_second_send_is_told_with_what_the_first_came_to(
    flext_service, flext_world, first, reason
):
    hears = hearing(events.Retried)
    answers = iter([first, Answer()])
    flext_service.answer = lambda _: next(answers)
    answer = flext_world.get(flext_world.serve(flext_service, hears, Twice))

    (event,) = hears.heard
    assert (event.plugin, event.reason) == ("twice", reason)
    assert event.call is answer.extensions["flext_plugins.call"]


@pytest.mark.contract("resends-are-told")
def test_a_second_send_after_a_refusal_is_told_with_its_class(flext_service, flext_world):
    hears = hearing(events.Retried)

    class Shy:
        @hookimpl
        def flext_request(self, connection):
            if connection.call.attempt == 1:
                raise Refused("not at once")

    flext_world.get(flext_world.serve(flext_service, hears, Twice, Shy))

    assert [each.reason for each in hears.heard] == ["Refused"]


@pytest.mark.contract("resends-are-told")
@pytest.mark.parametrize("fails", [True, False])
def test_an_operation_that_is_done_again_is_told_too(flext_service, flext_world, fails):
    hears = hearing(events.Retried)

    class Down(Exception):
        failure = Failure.CONNECT

    class Again:
        stage = Stage.RETRY

        @hookimpl
        async def flext_operation(self, operation, proceed):
            with contextlib.suppress(Down):
                await proceed(operation)
            return await proceed(operation)

    class Asks:
        @hookimpl
        async def flext_request(self, connection):
            left = [Down()] if fails else []

            def work():
                if left:
                    raise left.pop()

            await connection.perform(Operation("ldap", "search", "directory:389"), work)

    flext_world.get(flext_world.serve(flext_service, hears, Again, Asks))

    assert [(each.plugin, each.reason) for each in hears.heard] == [
        ("again", "connect" if fails else "done")
    ]


@pytest.mark.contract("resends-are-told")
def test_the_delay_is_counted_from_the_end_of_the_attempt_before(flext_service, flext_world):
    hears = hearing(events.Retried)

    class Waits:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            await send(request)
            await connection.sleep(0.1)
            return await send(request)

    flext_service.answer = Answer(delay=0.4)
    flext_world.get(flext_world.serve(flext_service, hears, Waits))

    (event,) = hears.heard
    assert 0.1 <= event.delay < 0.4


@pytest.mark.contract("resends-are-told")
def test_it_is_told_as_the_second_send_begins_and_the_call_still_speaks_of_the_first(
    flext_service, flext_world
):
    told = []

    class Hears:
        @hookimpl
        def flext_event(self, event, connection):
            if isinstance(event, events.Retried):
                assert connection.call is event.call
                told.append((event.call.attempt, event.call.answered_by, flext_service.paths()))

    class Shy:
        @hookimpl
        def flext_request(self, connection):
            return connection.respond(503) if connection.call.attempt == 1 else None

    flext_world.get(flext_world.serve(flext_service, Hears, Twice, Shy))

    assert told == [(1, "shy", [])]


@pytest.mark.contract("resends-are-told")
def test_a_send_that_may_not_be_is_not_told(flext_service, flext_world):
    hears = hearing(events.Retried)
    host = flext_world.serve(flext_service, hears, Twice)
    with pytest.raises(PluginError, match="cannot be replayed"):
        flext_world.send(host, "POST", "/", content=flext_world.upload(b"x"))

    assert hears.heard == []


# waits for permits


class OneAtATime:
    """Lets one attempt go on at a time, for those who have half a second."""

    stage = Stage.GUARD

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        timeout = 0.05 if request.url.path == "/hurry" else 5
        async with connection.permit("all", 1, timeout=timeout):
            return await send(request)


def waits(plugin):
    """What was told of each wait: whose permit it was, and how it went."""
    return [(each.plugin, each.state) for each in plugin.heard]


def crowd(world, service, *plugins, paths=("/", "/"), **settings):
    """The hearing plugin, after so many calls at once of a service that takes its time."""
    hears = hearing(events.PermitAwaited)
    service.answer = Answer(delay=0.2)
    host = world.serve(service, hears, *plugins, **settings)
    return hears, world.all([world.sender(host, "GET", path) for path in paths])


@pytest.mark.contract("permit-wait-is-told")
def test_a_wait_for_a_permit_of_a_plugin_is_told_with_its_end(flext_service, flext_world):
    hears, answers = crowd(flext_world, flext_service, OneAtATime)
    assert [each.status_code for each in answers] == [200, 200]
    assert waits(hears) == [("oneatatime", "waiting"), ("oneatatime", "granted")]
    begun, ended = hears.heard
    assert begun.duration == 0
    assert 0.1 < ended.duration < 5
    assert begun.call is ended.call is not None


@pytest.mark.contract("permit-wait-is-told")
def test_a_wait_for_the_hosts_own_permit_names_no_plugin(flext_service, flext_world):
    hears, answers = crowd(flext_world, flext_service, max_connections=1)
    assert [each.status_code for each in answers] == [200, 200]
    assert waits(hears) == [(None, "waiting"), (None, "granted")]


@pytest.mark.contract("permit-wait-is-told")
def test_a_wait_in_vain_says_why(flext_service, flext_world):
    hears, outcomes = crowd(flext_world, flext_service, OneAtATime, paths=["/hurry"] * 2)
    assert sum(isinstance(each, Refused) for each in outcomes) == 1
    assert waits(hears) == [("oneatatime", "waiting"), ("oneatatime", "timed out")]


@pytest.mark.contract("permit-wait-is-told")
def test_a_wait_that_is_cancelled_has_ended(flext_service, flext_async_world):
    hears = hearing(events.PermitAwaited)
    flext_service.answer = Answer(delay=0.3)
    host = flext_async_world.serve(flext_service, hears, max_connections=1)

    async def cancelled():
        async with flext_async_world.aconnect(host) as client:
            first, second = (asyncio.create_task(client.get("/")) for _ in range(2))
            while not hears.heard:
                await asyncio.sleep(0.01)
            second.cancel()
            await asyncio.gather(first, second, return_exceptions=True)

    flext_async_world.run(cancelled)
    assert waits(hears) == [(None, "waiting"), (None, "cancelled")]


@pytest.mark.contract("permit-wait-is-told", "receivers-are-inside-the-call")
def test_a_receiver_finds_the_call_that_waits_elsewhere_too(flext_service, flext_world):
    """A redirect to another origin has no plugins around it, and waits as well."""

    class Hears:
        found: list = []

        @hookimpl
        def flext_event(self, event, connection):
            if isinstance(event, events.PermitAwaited):
                self.found.append(connection.call is event.call)

    elsewhere = flext_service.url.replace("127.0.0.1", "localhost") + "/there"
    flext_service.answer = lambda received: (
        Answer(307, {"Location": elsewhere}) if received.path == "/redirect" else Answer(delay=0.2)
    )
    host = flext_world.serve(flext_service, Hears, max_connections=1)
    senders = [flext_world.sender(host, "GET", "/redirect", **FOLLOW) for _ in range(2)]
    assert [each.status_code for each in flext_world.all(senders)] == [200, 200]
    assert Hears.found
    assert all(Hears.found)


@pytest.mark.contract("permit-wait-is-told")
def test_who_gets_a_permit_at_once_is_not_told(flext_service, flext_world):
    hears = hearing(events.PermitAwaited)
    host = flext_world.serve(flext_service, hears, OneAtATime, max_connections=1)
    for _ in range(3):
        flext_world.get(host)
    with options(deadline=5):
        flext_world.get(host)
    assert hears.heard == []
