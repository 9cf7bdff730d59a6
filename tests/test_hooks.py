"""What each hook may do, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
import linecache
import time
import traceback
import types

import pytest
from noting import noting

from flext_plugins import (
    ConfigError,
    Failure,
    Host,
    PluginError,
    Stage,
    events,
    hookimpl,
    options,
)
from flext_plugins.testing import Answer


class Recorder:
    """Makes plugins that note what they see."""

    def __init__(self):
        self.seen = []

    def small(self, name, stage=Stage.MESSAGE):
        seen = self.seen

        class Plugin:
            @hookimpl
            def flext_request(self, request):
                seen.append(f"{name} request")

            @hookimpl
            def flext_response(self, response):
                seen.append(f"{name} response")

        Plugin.__name__, Plugin.stage = name, stage
        return Plugin

    def around(self, name, stage=Stage.MESSAGE):
        seen = self.seen

        class Plugin:
            @hookimpl
            async def flext_exchange(self, request, send):
                seen.append(f"{name} request")
                try:
                    return await send(request)
                finally:
                    seen.append(f"{name} response")

        Plugin.__name__, Plugin.stage = name, stage
        return Plugin


@pytest.mark.parametrize("form", ["small", "around"])
@pytest.mark.contract("stages-order")
def test_stages_order_plugins_and_responses_come_back_in_reverse(flext_service, flext_world, form):
    recorder = Recorder()
    make = getattr(recorder, form)
    plugins = [make(f"at-{stage.name}", stage) for stage in reversed(Stage)]

    flext_world.get(flext_world.serve(flext_service, *plugins))

    names = [f"at-{stage.name}" for stage in Stage]
    assert recorder.seen == [f"{n} request" for n in names] + [
        f"{n} response" for n in reversed(names)
    ]


@pytest.mark.contract("order-within-a-stage")
def test_within_a_stage_the_first_in_the_configuration_is_outermost_global_ones_first(
    flext_service, flext_world
):
    recorder = Recorder()
    plugins = {name: recorder.small(name) for name in ("b", "a", "g")}
    host = flext_world.host(
        {
            "plugins": {"g": {}},
            "services": {"service": {"base_url": flext_service.url, "plugins": {"b": {}, "a": {}}}},
        },
        **plugins,
    )

    flext_world.get(host)

    assert [each for each in recorder.seen if "request" in each] == [
        "g request",
        "b request",
        "a request",
    ]


@pytest.mark.contract("order-within-a-stage")
def test_an_explicit_order_overrules_the_stages(flext_service, flext_world):
    recorder = Recorder()
    sign, call = recorder.small("sign", Stage.SIGN), recorder.around("call", Stage.CALL)

    flext_world.get(flext_world.serve(flext_service, call, sign, order=["sign", "call"]))

    assert recorder.seen[:2] == ["sign request", "call request"]


@pytest.mark.parametrize("form", ["small", "around"])
@pytest.mark.contract("neighbours-by-wish")
def test_a_plugin_may_wish_to_stand_further_out_or_further_in_than_a_neighbour(
    flext_service, flext_world, form
):
    recorder = Recorder()
    plugins = {name: getattr(recorder, form)(name) for name in ("g", "out", "in", "x")}
    plugins["out"].before, plugins["in"].after = ("g",), ("x",)
    own = {"base_url": flext_service.url, "plugins": {"in": {}, "x": {}, "out": {}}}
    host = flext_world.host({"plugins": {"g": {}}, "services": {"service": own}}, **plugins)

    flext_world.get(host)

    names = ["x", "in", "out", "g"]
    assert recorder.seen == [f"{n} request" for n in names] + [
        f"{n} response" for n in reversed(names)
    ]


@pytest.mark.contract("wishes-within-a-stage")
def test_a_wish_that_cannot_be_is_told_before_anything_is_sent(flext_service, flext_world):
    recorder = Recorder()
    guard = recorder.small("guard", Stage.GUARD)
    guard.after = ("sign",)
    host = flext_world.serve(flext_service, guard, recorder.small("sign", Stage.SIGN))

    with pytest.raises(ConfigError, match="wants to stand after 'sign', and stage GUARD is before"):
        flext_world.get(host)

    assert flext_service.received == []


@pytest.mark.contract("arguments-by-name")
def test_a_hook_takes_only_the_arguments_it_names_in_any_order(flext_service, flext_world):
    seen = []

    class Picky:
        @hookimpl
        def flext_request(self, connection, request):
            seen.append((connection.service.name, request.method))

        @hookimpl
        def flext_response(self, request, response):
            seen.append((request.method, response.status_code))

        @hookimpl
        def flext_connect(self):
            seen.append("connected")

    flext_world.get(flext_world.serve(flext_service, Picky))

    assert seen == ["connected", ("service", "GET"), ("GET", 200)]


@pytest.mark.contract("arguments-by-name")
def test_small_hooks_may_be_async(flext_service, flext_world):
    class Waits:
        @hookimpl
        async def flext_request(self, request, connection):
            await connection.sleep(0)
            request.headers["X-Waited"] = "yes"

        @hookimpl
        async def flext_response(self, response, connection):
            await connection.sleep(0)
            response.headers["X-After"] = "yes"

    response = flext_world.get(flext_world.serve(flext_service, Waits))

    assert response.json()["headers"]["x-waited"] == "yes"
    assert response.headers["X-After"] == "yes"


@pytest.mark.parametrize("hook", ["flext_request", "flext_response"])
@pytest.mark.parametrize("awaits", [False, True], ids=["plain", "async def"])
@pytest.mark.parametrize("culprit", [0, 1, 2])
@pytest.mark.contract("plugin-errors-name-the-plugin")
def test_among_neighbours_the_one_that_raised_is_named(
    flext_service, flext_world, hook, awaits, culprit
):
    seen = []

    def neighbour(place):
        def act(self, request):
            seen.append(place)
            if place == culprit:
                raise KeyError("canary")

        async def aact(self, request):
            act(self, request)

        function = aact if awaits else act
        function.__qualname__ = f"Plugin{place}.{hook}"
        return type(f"Plugin{place}", (), {hook: hookimpl(function)})

    host = flext_world.serve(flext_service, *[neighbour(place) for place in range(3)])
    with pytest.raises(PluginError, match=f"{hook} raised KeyError") as caught:
        flext_world.get(host)

    assert (caught.value.plugin, caught.value.hook) == (f"plugin{culprit}", hook)
    called = [0, 1, 2] if hook == "flext_request" else [2, 1, 0]
    assert seen == called[: called.index(culprit) + 1]
    assert len(flext_service.received) == (hook == "flext_response")


def test_a_traceback_shows_the_line_that_called_a_small_hook(flext_service):
    class First:
        @hookimpl
        def flext_request(self, request): ...

    class Raises:
        @hookimpl
        def flext_request(self, request, connection):
            raise ValueError

    host = Host({"services": {"a": {"base_url": flext_service.url, "plugins": {"1": {}, "2": {}}}}})
    host.register(First, "1")
    host.register(Raises, "2")
    with host, pytest.raises(PluginError) as raised:
        host.connect("a").get("/")
    text = "".join(traceback.format_exception(raised.value.__cause__))
    assert "if answer is None: at = 1; answer = flext_request1(request, connection1)" in text
    linecache.checkcache()  # as a debugger does before it shows a file
    assert text == "".join(traceback.format_exception(raised.value.__cause__))


@pytest.mark.contract("answer-without-sending")
def test_a_request_hook_that_answers_spares_the_service(flext_service, flext_world):
    recorder = Recorder()

    class Cache:
        @hookimpl
        async def flext_request(self, request, connection):
            return connection.respond(203, {"X-From": "cache"}, b"cached")

        @hookimpl
        def flext_response(self, response):
            recorder.seen.append("cache response")

    outer, inner = recorder.small("outer", Stage.CALL), recorder.small("inner", Stage.SIGN)
    response = flext_world.get(flext_world.serve(flext_service, outer, Cache, inner))

    assert (response.status_code, response.text) == (203, "cached")
    assert recorder.seen == ["outer request", "outer response"]
    assert flext_service.received == []
    assert response.extensions["flext_plugins.call"].answered_by == "cache"


@pytest.mark.contract("attempts-are-counted")
def test_who_answered_an_attempt_is_not_told_of_the_next(flext_service, flext_world):
    class Again:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            await send(request)
            assert connection.call.answered_by == "first"
            return await send(request)

    class First:
        @hookimpl
        def flext_request(self, request, connection):
            return connection.respond(503) if connection.call.attempt == 1 else None

    response = flext_world.get(flext_world.serve(flext_service, Again, First))

    assert response.status_code == 200
    assert response.extensions["flext_plugins.call"].answered_by is None


@pytest.mark.contract("failure-kinds")
def test_an_exchange_sees_what_came_of_it(flext_service, flext_world):
    seen = []

    class Timer:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                response = await send(request)
            except Exception as error:
                seen.append(connection.failure(error))
                raise
            seen.append(response.status_code)
            return response

    host = flext_world.serve(flext_service, Timer)
    flext_service.answer = lambda _: Answer(503)
    flext_world.get(host)
    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError):
        flext_world.get(host)

    assert seen == [503, Failure.CONNECT]


@pytest.mark.parametrize(
    ("answer", "failure", "options"),
    [
        (Answer(reset=True), Failure.READ, {}),
        (Answer(delay=0.5), Failure.TIMEOUT, {"timeout": {"read": 0.05}}),
        (Answer(raw=b"not HTTP at all\r\n\r\n"), Failure.PROTOCOL, {}),
    ],
)
@pytest.mark.contract("failure-kinds")
def test_failures_are_told_apart(flext_service, flext_world, answer, failure, options):
    seen = []

    flext_service.answer = lambda _: answer
    with pytest.raises(flext_world.lib.TransportError):
        flext_world.get(flext_world.serve(flext_service, noting(seen), **options))

    assert seen == [failure]


@pytest.mark.contract("failure-kinds")
def test_only_the_wires_errors_have_a_failure(flext_service, flext_world):
    seen = []

    class Raises:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            class Marked(Exception):
                failure = Failure.TIMEOUT

            told = (ValueError("x"), PluginError("x"), Marked())
            seen.extend(connection.failure(error) for error in told)
            return await send(request)

    flext_world.get(flext_world.serve(flext_service, Raises))

    assert seen == [None, None, Failure.TIMEOUT]


@pytest.mark.contract("failure-kinds")
def test_what_a_plugin_makes_unsendable_is_the_callers_failure(flext_service, flext_world):
    seen = []

    class Judge:
        stage = Stage.GUARD

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                return await send(request)
            except Exception as error:
                seen.append(connection.failure(error))
                raise

    class Breaks:
        @hookimpl
        async def flext_request(self, request):
            request.headers["X-Broken"] = "line\nbreak"

    class Consumes:
        observer = True

        @hookimpl
        async def flext_request(self, request, connection):
            await connection.read(request)

    host = flext_world.serve(flext_service, Judge, Breaks)
    with pytest.raises(flext_world.lib.LocalProtocolError):
        flext_world.get(host)
    body = _aending() if flext_world.asynchronous else _ending()
    host = flext_world.serve(flext_service, Judge, Consumes)
    with pytest.raises(flext_world.lib.StreamConsumed):
        flext_world.send(host, "POST", "/", content=body)

    assert seen == [Failure.CALLER, Failure.CALLER]
    assert flext_service.received == []


@pytest.mark.contract("broken-for-all")
def test_a_request_body_that_broke_for_an_observer_is_not_empty_for_the_next(
    flext_service, flext_world
):
    class Consumes:
        observer = True

        @hookimpl
        async def flext_request(self, request, connection):
            await connection.read(request)

    class Again(Consumes):
        observer = False

    body = _aending() if flext_world.asynchronous else _ending()
    with pytest.raises(PluginError, match="again: flext_request raised StreamConsumed"):
        flext_world.send(
            flext_world.serve(flext_service, Consumes, Again), "POST", "/", content=body
        )

    assert flext_service.received == []


def _ending():
    yield b"one"
    raise OSError("the application's own")


async def _aending():
    for part in _ending():
        yield part


@pytest.mark.contract("answer-without-sending")
def test_an_answer_made_by_a_plugin_has_its_request_for_all_who_see_it(flext_service, flext_world):
    seen = []

    class Sees:
        @hookimpl
        def flext_response(self, response):
            seen.append(str(response.request.url).rpartition("/")[2])

    class Request:
        @hookimpl
        def flext_request(self, connection):
            return connection.respond(201)

    class Response:
        @hookimpl
        def flext_response(self, connection):
            return connection.respond(201)

    class Exchange:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            await send(request)
            return connection.respond(201)

    for kind in (Request, Response, Exchange):
        flext_world.get(flext_world.serve(flext_service, Sees, kind), f"/{kind.__name__}")

    assert seen == ["Request", "Response", "Exchange"]


@pytest.mark.contract("events-reach-every-receiver")
def test_events_reach_every_receiver_and_plugins_emit_their_own(flext_service, flext_world):
    heard = []

    class Mine:
        """A record that the library knows nothing of."""

    class Emits:
        @hookimpl
        def flext_request(self, connection):
            connection.emit(Mine())

    class Hears:
        @hookimpl
        def flext_event(self, event, connection):
            heard.append((type(event), connection.service.name))

    flext_world.get(flext_world.serve(flext_service, Emits, Hears))

    assert heard == [
        (Mine, "service"),
        (events.HopFinished, "service"),
        (events.BodyEnded, "service"),
        (events.CallFinished, "service"),
    ]


@pytest.mark.contract("refusal-is-told")
def test_a_refusal_is_an_event(flext_service, flext_world):
    from flext_plugins import Refused

    refusals = []

    class Hears:
        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.CallRefused):
                refusals.append((event.plugin, event.reason, event.retry_after, event.kind))

    class Maintained(Refused):
        pass

    class Refuses:
        @hookimpl
        def flext_request(self, request):
            raise Maintained("maintenance until noon", retry_after=30)

    with pytest.raises(Refused):
        flext_world.get(flext_world.serve(flext_service, Hears, Refuses))

    assert refusals == [("refuses", "maintenance until noon", 30, "Maintained")]


@pytest.mark.contract("attempts-are-counted")
def test_the_service_has_answered_where_a_plugin_did_without_a_refused_operation(
    flext_service, flext_world
):
    from flext_plugins import Operation, Refused

    class Refuses:
        @hookimpl
        async def flext_operation(self):
            raise Refused("maintenance")

    class Asks:
        @hookimpl
        async def flext_request(self, connection):
            with contextlib.suppress(Refused):
                await connection.perform(Operation("ldap", "search", "directory:389"), str)
            assert connection.call.answered_by == "refuses"

    answer = flext_world.get(flext_world.serve(flext_service, Refuses, Asks))

    assert answer.status_code == 200
    call = getattr(answer, "extensions", {}).get("flext_plugins.call")
    assert call.answered_by is None


@pytest.mark.contract("body-end-is-told-once")
def test_how_a_body_ended_is_told_once(flext_service, flext_world):
    ended, told = [], []

    class Watches:
        @hookimpl
        def flext_response(self, response, connection):
            connection.watch(response, lambda error, size: ended.append((type(error), size)))

        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.BodyEnded):
                told.append((type(event.error), event.bytes))

    host = flext_world.serve(flext_service, Watches)
    flext_service.answer = lambda _: Answer(body=b"x" * 1000)
    flext_world.get(host)
    flext_service.answer = lambda _: Answer(body=b"x" * 1000, cut=10)
    with pytest.raises(flext_world.lib.RemoteProtocolError):
        flext_world.get(host)

    assert ended == told == [(type(None), 1000), (flext_world.lib.RemoteProtocolError, 10)]


class Stops(BaseException):
    """Ends a thread, as frameworks have such."""


@pytest.mark.contract("permit-comes-back")
def test_a_callback_that_ends_the_thread_leaves_no_connection_open(
    flext_service, flext_httpx_world
):
    world = flext_httpx_world

    class Watches:
        @hookimpl
        def flext_response(self, response, connection):
            def stop(*_):
                raise Stops

            connection.watch(response, stop)

    def sync():
        with world.connect(host) as client, client.stream("GET", "/"):
            pass

    async def asynchronous():
        async with world.aconnect(host) as client, client.stream("GET", "/"):
            pass

    flext_service.answer = Answer(chunks=[b"x"] * 100, pause=0.1)
    host = world.serve(flext_service, Watches)
    with pytest.raises(Stops), options(deadline=60):
        world.run(asynchronous if world.asynchronous else sync)
    limit = time.monotonic() + 5
    while flext_service.sockets and time.monotonic() < limit:
        time.sleep(0.01)
    assert not flext_service.sockets


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BREAKING = {
    "promised": Answer(body=b"x" * 1000, cut=10),
    "chunk": Answer(raw=CHUNKED + b"5\r\nhel"),
    "chunks": Answer(raw=CHUNKED + b"5\r\nhello\r\n"),
    "no chunk": Answer(raw=CHUNKED + b"z\r\n"),
}


@pytest.mark.parametrize("answer", BREAKING.values(), ids=BREAKING)
@pytest.mark.contract("watcher-keeps-its-exchange")
def test_who_watches_a_body_finds_the_exchange_as_it_was(flext_service, flext_world, answer):
    """The application reads it outside the exchange, and each library has failures of its own."""
    told = []

    class Watches:
        @hookimpl
        def flext_response(self, response, connection):
            call = connection.call

            def ended(error, size):
                told.append((connection.failure(error), connection.call is call))

            connection.watch(response, ended)

    flext_service.answer = answer
    with pytest.raises(flext_world.lib.RemoteProtocolError):
        flext_world.get(flext_world.serve(flext_service, Watches))

    assert told == [(Failure.PROTOCOL, True)]


@pytest.mark.contract("body-end-is-told-once")
async def test_who_watches_a_body_is_told_that_the_read_was_cancelled(flext_async_world):
    told = []

    class Watches:
        @hookimpl
        def flext_response(self, response, connection):
            connection.watch(response, lambda error, size: told.append((type(error), size)))

    async def stall(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(stall, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        service = {"base_url": f"http://127.0.0.1:{port}", "plugins": {"watches": {}}}
        host = flext_async_world.host({"services": {"service": service}}, watches=Watches)
        client = await flext_async_world.client(host)
        begun = asyncio.Event()

        async def read():
            async with client.plain.stream("GET", "/") as response:
                async for _ in response.aiter_raw():
                    begun.set()

        reading = asyncio.create_task(read())
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    assert told == [(asyncio.CancelledError, 3)]


@pytest.mark.contract("watcher-keeps-its-exchange")
def test_who_is_told_of_a_bodys_end_can_tell_its_failure(flext_service, flext_world):
    seen = []

    class Hears:
        @hookimpl
        def flext_response(self, response, connection):
            connection.watch(response, lambda error, size: seen.append(connection.failure(error)))

        @hookimpl
        def flext_event(self, event, connection):
            if isinstance(event, events.BodyEnded):
                seen.append(connection.failure(event.error))

    flext_service.answer = Answer(body=b"x" * 1000, cut=10)
    with pytest.raises(flext_world.lib.RemoteProtocolError):
        flext_world.get(flext_world.serve(flext_service, Hears))

    assert seen == [Failure.PROTOCOL, Failure.PROTOCOL]


class Reads:
    """Reads every answer, and keeps how the application's reading ended."""

    ended: list

    @hookimpl
    async def flext_response(self, response, connection):
        await connection.read(response)

    @hookimpl
    def flext_event(self, event):
        if isinstance(event, events.BodyEnded):
            self.ended.append((event.error is None, event.bytes))


@pytest.mark.parametrize(("method", "size"), [("GET", 10), ("HEAD", 0)])
@pytest.mark.contract("body-end-is-told-once")
def test_the_end_of_a_body_that_a_plugin_read_is_told(flext_service, flext_world, method, size):
    kind = type("Reads", (Reads,), {"ended": []})
    flext_service.answer = Answer(body=b"0123456789")
    response = flext_world.send(flext_world.serve(flext_service, kind), method, "/")

    assert len(response.content) == size
    assert kind.ended == [(True, size)]


@pytest.mark.contract("broken-for-all")
def test_a_body_that_broke_for_an_observer_is_broken_for_all(flext_service, flext_world):
    kind = type("Reads", (Reads,), {"ended": [], "observer": True})
    flext_service.answer = Answer(body=b"0123456789", cut=4)
    with pytest.raises(flext_world.lib.TransportError):
        flext_world.get(flext_world.serve(flext_service, kind))

    assert kind.ended == [(False, 4)]


@pytest.mark.contract("read-leaves-readable")
def test_a_plugin_reads_a_body_and_everybody_else_still_can(flext_service, flext_world):
    read = []

    class Reads:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            read.append(await connection.read(request))
            response = await send(request)
            read.append(await connection.read(response))
            return response

    import gzip

    flext_service.answer = lambda received: Answer(
        headers={"Content-Encoding": "gzip"}, body=gzip.compress(received.body)
    )
    response = flext_world.send(
        flext_world.serve(flext_service, Reads), "POST", "/", content=b"hello"
    )

    assert read == [b"hello", b"hello"]
    assert response.content == b"hello"


@pytest.mark.parametrize("hook", ["flext_request", "flext_exchange"])
@pytest.mark.contract("sync-awaits-the-connection-only")
def test_awaiting_something_foreign_in_a_sync_connection_names_plugin_and_awaited(
    flext_service, hook, flext_sync_world
):
    world = flext_sync_world
    unwound = []

    @types.coroutine
    def foreign_wait():
        yield "for a loop"

    class Foreign:
        async def _wait(self):
            try:
                await foreign_wait()
            finally:
                unwound.append("inner")

        if hook == "flext_request":

            @hookimpl
            async def flext_request(self):
                await self._wait()

        else:

            @hookimpl
            async def flext_exchange(self, request, send):
                await self._wait()
                return await send(request)

    class Outer:
        stage = Stage.CALL

        @hookimpl
        async def flext_exchange(self, request, send):
            try:
                return await send(request)
            finally:
                unwound.append("outer")

    with pytest.raises(PluginError, match="foreign.*foreign_wait") as caught:
        world.get(world.serve(flext_service, Outer, Foreign))

    assert caught.value.plugin == "foreign"
    assert unwound == ["inner", "outer"]
    assert any(entry.name == "_wait" for entry in caught.traceback)


@pytest.mark.contract("sync-awaits-the-connection-only")
def test_a_sync_plugin_that_will_not_stop_awaiting_is_closed(flext_service, flext_sync_world):
    world = flext_sync_world
    closed = []

    @types.coroutine
    def foreign_wait():
        yield

    class Stubborn:
        @hookimpl
        async def flext_exchange(self, request, send):
            try:
                while True:
                    try:
                        await foreign_wait()
                    except PluginError:
                        closed.append("told")
            finally:
                closed.append("closed")

    with pytest.raises(PluginError, match="stubborn"):
        world.get(world.serve(flext_service, Stubborn))

    assert closed == ["told", "closed"]


@pytest.mark.contract("sync-awaits-the-connection-only")
def test_asyncio_inside_a_plugin_works_in_the_async_world_only(flext_service, flext_world):
    class Sleeps:
        @hookimpl
        async def flext_request(self):
            await asyncio.sleep(0.001)

    host = flext_world.serve(flext_service, Sleeps)
    if flext_world.asynchronous:
        assert flext_world.get(host).status_code == 200
    else:
        with pytest.raises(PluginError, match="sleeps"):
            flext_world.get(host)


@pytest.mark.contract("plugin-errors-name-the-plugin")
def test_an_error_that_two_services_raise_at_once_is_each_ones_own(
    flext_service, flext_async_world
):
    """As `once` hands the same error to all who wait for it."""
    shared = KeyError("canary")

    class Raises:
        @hookimpl
        def flext_response(self, response):
            raise shared

    class Bystander:
        @hookimpl
        def flext_request(self, request):
            pass

    base = {"base_url": flext_service.url}
    plugins = {"s": ["raises"], "t": ["bystander", "raises"]}
    services = {
        name: {**base, "plugins": {key: {} for key in each}} for name, each in plugins.items()
    }
    host = flext_async_world.host({"services": services}, raises=Raises, bystander=Bystander)

    async def both():
        clients = [await flext_async_world.client(host, name) for name in ("s", "t") * 20]
        return await asyncio.gather(*(each.get("/") for each in clients), return_exceptions=True)

    found = flext_async_world.run(both)
    assert {(type(each), each.plugin) for each in found} == {(PluginError, "raises")}
    assert [each.service for each in found] == ["s", "t"] * 20
