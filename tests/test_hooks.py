"""What each hook may do, and in which order (DESIGN sections 3 and 5)."""

from __future__ import annotations

import asyncio
import types

import pytest
from loopback import Answer

from flext_plugins import Failure, FlextError, PluginError, Stage, events, hookimpl


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
def test_stages_order_plugins_and_responses_come_back_in_reverse(server, world, form):
    recorder = Recorder()
    make = getattr(recorder, form)
    plugins = [make(f"at-{stage.name}", stage) for stage in reversed(Stage)]

    world.get(world.serve(server, *plugins))

    names = [f"at-{stage.name}" for stage in Stage]
    assert recorder.seen == [f"{n} request" for n in names] + [
        f"{n} response" for n in reversed(names)
    ]


def test_within_a_stage_the_first_in_the_configuration_is_outermost_global_ones_first(
    server, world
):
    recorder = Recorder()
    plugins = {name: recorder.small(name) for name in ("b", "a", "g")}
    host = world.host(
        {
            "plugins": {"g": {}},
            "services": {"service": {"base_url": server.url, "plugins": {"b": {}, "a": {}}}},
        },
        **plugins,
    )

    world.get(host)

    assert [each for each in recorder.seen if "request" in each] == [
        "g request",
        "b request",
        "a request",
    ]


def test_an_explicit_order_overrules_the_stages(server, world):
    recorder = Recorder()
    sign, call = recorder.small("sign", Stage.SIGN), recorder.around("call", Stage.CALL)

    world.get(world.serve(server, call, sign, order=["sign", "call"]))

    assert recorder.seen[:2] == ["sign request", "call request"]


def test_a_hook_takes_only_the_arguments_it_names_in_any_order(server, world):
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

    world.get(world.serve(server, Picky))

    assert seen == ["connected", ("service", "GET"), ("GET", 200)]


def test_small_hooks_may_be_async(server, world):
    class Waits:
        @hookimpl
        async def flext_request(self, request, connection):
            await connection.sleep(0)
            request.headers["X-Waited"] = "yes"

        @hookimpl
        async def flext_response(self, response, connection):
            await connection.sleep(0)
            response.headers["X-After"] = "yes"

    response = world.get(world.serve(server, Waits))

    assert response.json()["headers"]["x-waited"] == "yes"
    assert response.headers["X-After"] == "yes"


def test_a_request_hook_that_answers_spares_the_service(server, world):
    recorder = Recorder()

    class Cache:
        @hookimpl
        async def flext_request(self, request, connection):
            return connection.respond(203, {"X-From": "cache"}, b"cached")

        @hookimpl
        def flext_response(self, response):
            recorder.seen.append("cache response")

    outer, inner = recorder.small("outer", Stage.CALL), recorder.small("inner", Stage.SIGN)
    response = world.get(world.serve(server, outer, Cache, inner))

    assert (response.status_code, response.text) == (203, "cached")
    assert recorder.seen == ["outer request", "outer response"]
    assert server.received == []
    assert response.extensions["flext_plugins.call"].answered_by == "cache"


def test_an_exchange_sees_what_came_of_it(server, world):
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

    host = world.serve(server, Timer)
    server.answer = lambda _: Answer(503)
    world.get(host)
    server.refuse()
    with pytest.raises(world.lib.ConnectError):
        world.get(host)

    assert seen == [503, Failure.CONNECT]


@pytest.mark.parametrize(
    ("answer", "failure", "options"),
    [
        (Answer(reset=True), Failure.READ, {}),
        (Answer(delay=0.5), Failure.TIMEOUT, {"timeout": 0.05}),
        (Answer(raw=b"not HTTP at all\r\n\r\n"), Failure.PROTOCOL, {}),
    ],
)
def test_failures_are_told_apart(server, world, answer, failure, options):
    seen = []

    class Judge:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                return await send(request)
            except Exception as error:
                seen.append(connection.failure(error))
                raise

    server.answer = lambda _: answer
    with pytest.raises(world.lib.TransportError):
        world.get(world.serve(server, Judge), **options)

    assert seen == [failure]


def test_only_the_wires_errors_have_a_failure(server, world):
    seen = []

    class Raises:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            class Marked(Exception):
                failure = Failure.TIMEOUT

            told = (ValueError("x"), PluginError("x"), Marked())
            seen.extend(connection.failure(error) for error in told)
            return await send(request)

    world.get(world.serve(server, Raises))

    assert seen == [None, None, Failure.TIMEOUT]


def test_events_reach_every_receiver_and_plugins_emit_their_own(server, world):
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

    world.get(world.serve(server, Emits, Hears))

    assert heard == [
        (Mine, "service"),
        (events.BodyEnded, "service"),
        (events.CallFinished, "service"),
    ] or heard == [
        (Mine, "service"),
        (events.CallFinished, "service"),
        (events.BodyEnded, "service"),
    ]


def test_the_end_of_a_call_is_told_with_its_outcome(server, world):
    finished = []

    class Hears:
        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.CallFinished):
                finished.append((event.outcome, event.attempts))
                assert 0 <= event.duration < 5

    class Refuses:
        stage = Stage.GUARD

        @hookimpl
        def flext_request(self, request):
            from flext_plugins import Refused

            if request.url.path == "/refused":
                raise Refused("not now")
            if request.url.path == "/broken":
                raise KeyError("x")

    host = world.serve(server, Hears, Refuses)
    world.get(host)
    for path in ("/refused", "/broken"):
        with pytest.raises(FlextError):
            world.get(host, path)
    server.refuse()
    with pytest.raises(world.lib.ConnectError):
        world.get(host)

    assert finished == [("answered", 1), ("refused", 1), ("error", 1), ("failed", 1)]


def test_a_refusal_is_an_event(server, world):
    from flext_plugins import Refused

    refusals = []

    class Hears:
        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.CallRefused):
                refusals.append((event.plugin, event.reason, event.retry_after))

    class Refuses:
        @hookimpl
        def flext_request(self, request):
            raise Refused("maintenance", retry_after=30)

    with pytest.raises(Refused):
        world.get(world.serve(server, Hears, Refuses))

    assert refusals == [("refuses", "maintenance", 30)]


def test_how_a_body_ended_is_told_once(server, world):
    ended, told = [], []

    class Watches:
        @hookimpl
        def flext_response(self, response, connection):
            connection.watch(response, lambda error, size: ended.append((type(error), size)))

        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.BodyEnded):
                told.append((type(event.error), event.bytes))

    host = world.serve(server, Watches)
    server.answer = lambda _: Answer(body=b"x" * 1000)
    world.get(host)
    server.answer = lambda _: Answer(body=b"x" * 1000, cut=10)
    with pytest.raises(world.lib.RemoteProtocolError):
        world.get(host)

    assert ended == told == [(type(None), 1000), (world.lib.RemoteProtocolError, 10)]


def test_a_plugin_reads_a_body_and_everybody_else_still_can(server, world):
    read = []

    class Reads:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            read.append(await connection.read(request))
            response = await send(request)
            read.append(await connection.read(response))
            return response

    import gzip

    server.answer = lambda received: Answer(
        headers={"Content-Encoding": "gzip"}, body=gzip.compress(received.body)
    )
    response = world.send(world.serve(server, Reads), "POST", "/", content=b"hello")

    assert read == [b"hello", b"hello"]
    assert response.content == b"hello"


@pytest.mark.parametrize("hook", ["flext_request", "flext_exchange"])
def test_awaiting_something_foreign_in_a_sync_connection_names_plugin_and_awaited(
    server, hook, sync_world
):
    world = sync_world
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
        world.get(world.serve(server, Outer, Foreign))

    assert caught.value.plugin == "foreign"
    assert unwound == ["inner", "outer"]
    assert any(entry.name == "_wait" for entry in caught.traceback)


def test_a_sync_plugin_that_will_not_stop_awaiting_is_closed(server, sync_world):
    world = sync_world
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
        world.get(world.serve(server, Stubborn))

    assert closed == ["told", "closed"]


def test_asyncio_inside_a_plugin_works_in_the_async_world_only(server, world):
    class Sleeps:
        @hookimpl
        async def flext_request(self):
            await asyncio.sleep(0.001)

    host = world.serve(server, Sleeps)
    if world.asynchronous:
        assert world.get(host).status_code == 200
    else:
        with pytest.raises(PluginError, match="sleeps"):
            world.get(host)
