"""Whose mistake it was: a plugin that breaks the contract is named, with its line, and no other."""

from __future__ import annotations

import asyncio
import importlib
import re
from http import HTTPStatus
from textwrap import dedent, indent
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from flext_plugins import (
    ConfigError,
    FlextError,
    Host,
    Operation,
    PluginError,
    Secret,
    Stage,
    events,
    hookimpl,
)
from flext_plugins._clients.bodies import Body
from flext_plugins._clients.cancellation import shielded
from flext_plugins.testing import Answer

LINE = r" at test_blame\.py:\d+"


class Outside:
    """Stands outside of the others, and passes everything on."""

    stage = Stage.CALL

    @hookimpl
    async def flext_exchange(self, request, send):
        return await send(request)


class Inside:
    """Stands inside of the others, and looks at what it is handed."""

    stage = Stage.SIGN

    @hookimpl
    def flext_request(self, request):
        assert request.headers is not None


def blamed(world, server, culprit, **options):
    """The error of a call with `culprit` between two innocent plugins, once it is its alone."""
    host = world.serve(server, Outside, culprit, Inside)
    with pytest.raises(PluginError) as caught:
        world.get(host, **options)
    error = caught.value
    assert error.plugin == culprit.__name__.lower()
    assert error.service == "service"
    return error


def plugin(name, hook, function):
    """A plugin class with one hook."""
    function.__qualname__ = f"{name}.{hook}"  # by which pluggy knows a method
    return type(name, (), {hook: hookimpl(function), "__module__": __name__})


# what a hook returns


class Nothing:
    """Neither sends nor answers."""

    @hookimpl
    async def flext_exchange(self, request, send):
        pass


class Swallows:
    """Forgets that a failure is no response."""

    @hookimpl
    async def flext_exchange(self, request, send):
        try:
            return await send(request)
        except Exception:
            pass


@pytest.mark.contract("nothing-is-no-answer")
def test_an_exchange_that_neither_sends_nor_answers_names_itself(flext_service, flext_world):
    error = blamed(flext_world, flext_service, Nothing)
    assert "flext_exchange returned NoneType, expected a response" in str(error)
    assert error.hook == "flext_exchange"
    assert flext_service.received == []


@pytest.mark.contract("nothing-is-no-answer")
def test_an_exchange_that_swallows_a_failure_and_answers_nothing_names_itself(
    flext_service, flext_world
):
    flext_service.answer = Answer(reset=True)
    error = blamed(flext_world, flext_service, Swallows)
    assert "flext_exchange returned NoneType, expected a response" in str(error)


@pytest.mark.parametrize("hook", ["flext_request", "flext_response"])
@pytest.mark.parametrize("returned", [True, ("a", "tuple"), {}], ids=["True", "tuple", "dict"])
@pytest.mark.contract("nothing-is-no-answer")
def test_a_small_hook_that_returns_no_response_names_itself(
    flext_service, flext_world, hook, returned
):
    def returns(self):
        return returned

    error = blamed(flext_world, flext_service, plugin("Odd", hook, returns))
    kind = type(returned).__name__
    assert f"{hook} returned {kind}, expected a response" in str(error)


@pytest.mark.parametrize("hook", ["flext_request", "flext_response", "flext_exchange"])
@pytest.mark.contract("nothing-is-no-answer")
def test_a_coroutine_that_a_hook_returns_is_told_as_a_forgotten_await(
    flext_service, flext_world, hook
):
    async def answer():
        pass

    def small(self):
        return answer()

    async def exchange(self, request, send):
        return send(request)

    function = exchange if hook == "flext_exchange" else small
    error = blamed(flext_world, flext_service, plugin("Odd", hook, function))
    assert f"{hook} returned coroutine, expected a response; was an `await` left out?" in str(error)


@pytest.mark.contract("nothing-is-no-answer")
def test_a_flext_connect_that_returns_a_coroutine_names_itself(flext_service, flext_world):
    class Odd:
        @hookimpl
        def flext_connect(self, connection):
            return connection.sleep(0)

    error = blamed(flext_world, flext_service, Odd)
    assert "flext_connect returned a coroutine; was an `await` left out?" in str(error)


@pytest.mark.contract("nothing-is-no-answer")
def test_a_flext_disconnect_that_returns_a_coroutine_names_itself(flext_service, flext_world):
    class Odd:
        @hookimpl
        def flext_disconnect(self, connection):
            return connection.sleep(0)

    host = flext_world.serve(flext_service, Odd)
    assert flext_world.get(host).status_code == 200
    with pytest.raises(ExceptionGroup) as caught:
        flext_world.close(host)
    (error,) = leaves(caught.value)
    assert "odd: flext_disconnect returned a coroutine; was an `await` left out?" in str(error)


def leaves(error):
    """The errors in a group, and in the groups in it."""
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [each for inner in error.exceptions for each in leaves(inner)]


@pytest.mark.contract("nothing-is-no-answer")
def test_a_receiver_or_observer_that_returns_a_coroutine_is_reported(flext_service, flext_world):
    reported = []

    async def later():
        pass

    class Receives:
        @hookimpl
        def flext_event(self, event):
            return later()

    class Observes:
        observer = True

        @hookimpl
        def flext_request(self):
            return later()

    class Hears:
        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.PluginFailed):
                reported.append((event.plugin, str(event.error)))

    host = flext_world.serve(flext_service, Receives, Observes, Hears)
    assert flext_world.get(host).status_code == 200
    assert {
        ("observes", "flext_request returned a coroutine; was an `await` left out?"),
        ("receives", "flext_event returned a coroutine; was an `await` left out?"),
    } <= {*reported}


# what a hook sends


@pytest.mark.parametrize("value", [None, "GET /", b""], ids=["None", "text", "bytes"])
@pytest.mark.contract("only-requests-are-sent")
def test_who_sends_what_is_no_request_is_named_with_the_line(flext_service, flext_world, value):
    class Sends:
        stage = Stage.AUTH

        @hookimpl
        async def flext_exchange(self, request, send):
            return await send(value)

    error = blamed(flext_world, flext_service, Sends)
    said = rf"send was called with {type(value).__name__}, expected a request{LINE}$"
    assert re.search(said, str(error))
    assert flext_service.received == []


@pytest.mark.parametrize("stage", [Stage.AUTH, Stage.GUARD, Stage.SIGN])
@pytest.mark.parametrize("library", ["httpx", "httpx2", "requests"])
@pytest.mark.contract("only-requests-are-sent")
def test_a_client_librarys_own_request_is_told_as_that(flext_service, flext_world, stage, library):
    own = importlib.import_module(library).Request

    class Sends:
        @hookimpl
        async def flext_exchange(self, request, send):
            return await send(own("GET", "http://example.invalid"))

    Sends.stage = stage
    error = blamed(flext_world, flext_service, Sends)
    said = f"send was called with {library}.Request, expected a request as the host has it: "
    assert f"{said}send the one that the hook was handed" in str(error)


@pytest.mark.contract("only-requests-are-sent")
def test_so_is_the_request_of_an_exchange_in_another_library(flext_service, flext_world):
    class Keeps:
        stage = Stage.AUTH
        kept = None

        @hookimpl
        async def flext_exchange(self, request, send):
            self.kept = self.kept or request
            return await send(self.kept)

    host = flext_world.serve(flext_service, Outside, Keeps)
    other = "requests" if flext_world.name != "requests" else "httpx2"
    client = importlib.import_module(other)
    with host.connect("service", client.Session if other == "requests" else client.Client) as first:
        assert first.get("/").status_code == 200
    said = f"a request of {other}, expected a request of {flext_world.name}: send the one"
    with pytest.raises(PluginError, match=said) as caught:
        flext_world.get(host)
    assert caught.value.plugin == "keeps"


@pytest.mark.contract("only-requests-are-sent")
def test_so_is_what_is_sent_the_second_time(flext_service, flext_world):
    class Sends:
        stage = Stage.AUTH

        @hookimpl
        async def flext_exchange(self, request, send):
            await send(request)
            return await send(None)

    error = blamed(flext_world, flext_service, Sends)
    assert re.search(rf"send was called with NoneType, expected a request{LINE}$", str(error))


@pytest.mark.contract("only-requests-are-sent")
def test_who_sends_a_request_that_cannot_be_cloned_is_named_with_the_line(
    flext_service, flext_world
):
    class Breaks:
        stage = Stage.AUTH

        @hookimpl
        async def flext_exchange(self, request, send):
            request.extensions = 3
            return await send(request)

    error = blamed(flext_world, flext_service, Breaks)
    assert re.search(rf"flext_exchange raised TypeError{LINE}, in ", str(error))


@pytest.mark.contract("only-requests-are-sent")
def test_an_observer_that_sends_nonsense_sends_the_request(flext_service, flext_world):
    class Sends:
        observer = True

        @hookimpl
        async def flext_exchange(self, request, send):
            return await send(None)

    assert flext_world.get(flext_world.serve(flext_service, Sends)).status_code == 200


class Asks:
    """Lends a function that performs an operation."""

    @hookimpl
    def flext_connect(self, connection):
        def ask():
            asked = connection.perform(Operation("test", "ask", "test:1"), lambda: None)
            return asked if connection.asynchronous else connection.drive(asked)

        connection.provide(SimpleNamespace, SimpleNamespace(ask=ask))


def operated(world, server, plugin):
    """What comes of an operation with `plugin` around it."""
    asks = world.resource(world.serve(server, plugin, Asks), SimpleNamespace)
    return world.run(asks.ask)


@pytest.mark.contract("only-requests-are-sent")
def test_an_operation_proceeds_with_an_operation_alone(flext_service, flext_world):
    class Proceeds:
        @hookimpl
        async def flext_operation(self, proceed):
            return await proceed(None)

    said = rf"proceed was called with NoneType, expected an operation{LINE}$"
    with pytest.raises(PluginError, match=said) as caught:
        operated(flext_world, flext_service, Proceeds)
    assert (caught.value.plugin, caught.value.hook) == ("proceeds", "flext_operation")


@pytest.mark.contract("nothing-is-no-answer")
def test_an_operation_may_come_to_nothing_but_not_to_a_coroutine(flext_service, flext_world):
    class Proceeds:
        @hookimpl
        async def flext_operation(self, operation, proceed):
            await proceed(operation)

    assert operated(flext_world, flext_service, Proceeds) is None

    class Forgets:
        @hookimpl
        async def flext_operation(self, operation, proceed):
            return proceed(operation)

    with pytest.raises(PluginError, match="flext_operation returned a coroutine") as caught:
        operated(flext_world, flext_service, Forgets)
    assert caught.value.plugin == "forgets"


@pytest.mark.contract("operation-names-its-plugin")
def test_an_error_of_ours_that_the_work_raises_names_the_plugin_that_performs_it(
    flext_service, flext_world
):
    class Down(FlextError):
        """What a resource raises."""

    def work():
        raise Down("no directory")

    class Passes:
        stage = Stage.RETRY

        @hookimpl
        async def flext_operation(self, operation, proceed):
            return await proceed(operation)

    class Lends:
        @hookimpl
        def flext_connect(self, connection):
            def ask():
                asked = connection.perform(Operation("test", "ask", "test:1"), work)
                return asked if connection.asynchronous else connection.drive(asked)

            connection.provide(SimpleNamespace, SimpleNamespace(ask=ask))

    asks = flext_world.resource(flext_world.serve(flext_service, Passes, Lends), SimpleNamespace)
    with pytest.raises(Down) as caught:
        flext_world.run(asks.ask)
    assert (caught.value.service, caught.value.plugin) == ("service", "lends")
    assert str(caught.value) == "service: lends: no directory"


# a response of another library


@pytest.mark.parametrize("hook", ["flext_request", "flext_response", "flext_exchange"])
@pytest.mark.parametrize("library", ["httpx", "httpx2", "requests"])
@pytest.mark.contract("responses-are-of-the-exchange")
def test_a_client_librarys_own_response_is_told_as_that(flext_service, flext_world, hook, library):
    own = importlib.import_module(library).Response

    def small(self):
        return own() if library == "requests" else own(200)

    async def exchange(self):
        return small(self)

    function = exchange if hook == "flext_exchange" else small
    error = blamed(flext_world, flext_service, plugin("Foreign", hook, function))
    said = f"{hook} returned {library}.Response, expected a response as the host has it: "
    assert f"{said}make it by `connection.respond` in this exchange" in str(error)


@pytest.mark.contract("responses-are-of-the-exchange")
def test_a_response_that_was_made_outside_of_an_exchange_is_httpxs(flext_service, flext_world):
    class Keeps:
        @hookimpl
        def flext_connect(self, connection):
            self.kept = connection.respond(203)

        @hookimpl
        def flext_request(self):
            return self.kept

    if flext_world.name == "httpx":
        assert flext_world.get(flext_world.serve(flext_service, Keeps)).status_code == 203
        return
    error = blamed(flext_world, flext_service, Keeps)
    said = f"flext_request returned a response of httpx, expected a response of {flext_world.name}"
    assert f"{said}: make it by `connection.respond` in this exchange" in str(error)


@pytest.mark.contract("responses-are-of-the-exchange")
def test_a_request_is_no_response(flext_service, flext_world):
    class Returns:
        @hookimpl
        def flext_request(self, request):
            return request

    error = blamed(flext_world, flext_service, Returns)
    name = flext_world.name
    said = f"flext_request returned a request of {name}, expected a response of {name}"
    assert said in str(error)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("200",), "respond takes a status from 100 to 999, not '200'"),
        ((None,), "respond takes a status from 100 to 999, not None"),
        ((True,), "respond takes a status from 100 to 999, not True"),
        ((99,), "respond takes a status from 100 to 999, not 99"),
        ((200, None, "text"), "respond takes content in bytes, not str"),
        ((200, None, None), "respond takes content in bytes, not NoneType"),
    ],
)
@pytest.mark.contract("responses-are-of-the-exchange")
def test_a_response_that_cannot_be_made_is_told_where_it_is_made(
    flext_service, flext_world, arguments, said
):
    class Answers:
        @hookimpl
        def flext_request(self, connection):
            return connection.respond(*arguments)

    error = blamed(flext_world, flext_service, Answers)
    assert re.search(rf"{re.escape(said)}{LINE}$", str(error))


@pytest.mark.contract("responses-are-of-the-exchange")
def test_a_status_may_be_one_of_http_s(flext_service, flext_world):
    class Answers:
        @hookimpl
        def flext_request(self, connection):
            return connection.respond(HTTPStatus.ACCEPTED)

    assert flext_world.get(flext_world.serve(flext_service, Answers)).status_code == 202


# which line


@pytest.mark.contract("plugin-errors-name-the-plugin")
def test_a_mistake_that_the_host_notices_inside_a_hook_has_hook_and_line(
    flext_service, flext_world
):
    class Strays:
        @hookimpl
        async def flext_request(self, connection):
            await connection.request("elsewhere", "GET", "/")

    error = blamed(flext_world, flext_service, Strays)
    assert re.search(rf"of the type ServiceName{LINE}$", str(error))
    assert error.hook == "flext_request"

    class Again:
        stage = Stage.GUARD

        @hookimpl
        async def flext_exchange(self, request, send):
            await send(request)
            return await send(request)

    error = blamed(flext_world, flext_service, Again, **streamed(flext_world))
    assert re.search(rf"the request's body cannot be replayed{LINE}$", str(error))


def streamed(world):
    """Options of a request whose body can be sent once."""
    return {"data" if world.name == "requests" else "content": world.upload(b"once")}


@pytest.mark.contract("plugin-errors-name-the-plugin")
def test_what_a_plugin_says_itself_stays_as_it_is(flext_service, flext_world):
    class Says:
        @hookimpl
        def flext_request(self):
            raise PluginError("no tenant for this one")

    error = blamed(flext_world, flext_service, Says)
    assert error.args == ("no tenant for this one",)
    assert error.hook == "flext_request"


@pytest.mark.contract("sync-awaits-the-connection-only")
def test_what_is_awaited_in_a_sync_connection_is_told_with_its_line(
    flext_service, flext_sync_world
):
    class Sleeps:
        async def rest(self):
            await asyncio.sleep(0)

        @hookimpl
        async def flext_request(self):
            await self.rest()

    said = rf"awaited \w+{LINE} in a sync connection"
    assert re.search(said, str(blamed(flext_sync_world, flext_service, Sleeps)))


# closing while an error passes


class Unclosable:
    """A body that cannot be closed without an error, which is a secret."""

    def __init__(self, stream):
        self.stream = stream

    def close(self):
        self.stream.close()
        raise OSError("canary")

    async def aclose(self):
        await self.stream.aclose()
        raise OSError("canary")

    def __iter__(self):
        return iter(self.stream)

    def __aiter__(self):
        return aiter(self.stream)

    def __getattr__(self, name):
        return getattr(self.stream, name)


class Wraps:
    """Gives each answer a body that cannot be closed."""

    stage = Stage.SIGN

    @hookimpl
    def flext_response(self, response):
        native = response.native
        body = "raw" if hasattr(native, "raw") else "stream"
        setattr(native, body, Unclosable(getattr(native, body)))


NOTE = "closing the response that goes no further raised OSError"


@pytest.mark.parametrize("hook", ["flext_exchange", "flext_response"])
@pytest.mark.contract("closing-replaces-no-error")
def test_a_close_that_raises_is_a_note_to_the_error_that_passes(flext_service, flext_world, hook):
    async def exchange(self, request, send):
        await send(request)
        raise KeyError("canary")

    def small(self):
        raise KeyError("canary")

    function = exchange if hook == "flext_exchange" else small
    host = flext_world.serve(flext_service, Outside, plugin("Raises", hook, function), Wraps)
    with pytest.raises(PluginError, match=f"{hook} raised KeyError") as caught:
        flext_world.get(host)
    assert caught.value.plugin == "raises"
    assert caught.value.__cause__.__notes__ == [NOTE]


@pytest.mark.parametrize("hook", ["flext_exchange", "flext_response"])
@pytest.mark.contract("closing-replaces-no-error")
def test_nor_does_it_replace_the_one_about_a_hook_that_returned_no_response(
    flext_service, flext_world, hook
):
    async def exchange(self, request, send):
        await send(request)
        return "text"

    def small(self):
        return "text"

    function = exchange if hook == "flext_exchange" else small
    host = flext_world.serve(flext_service, Outside, plugin("Odd", hook, function), Wraps)
    with pytest.raises(PluginError, match=f"{hook} returned str") as caught:
        flext_world.get(host)
    assert NOTE in caught.value.__notes__


@pytest.mark.parametrize("hook", ["flext_exchange", "flext_response", "again"])
@pytest.mark.contract("closing-replaces-no-error")
def test_a_superseded_response_that_cannot_be_closed_is_a_line_in_the_log(
    flext_service, flext_world, hook, caplog
):
    async def exchange(self, request, send, connection):
        await send(request)
        return connection.respond(203)

    async def again(self, request, send):
        await send(request)
        flext_service.answer = Answer(203)
        return await send(request)

    def small(self, connection):
        return connection.respond(203)

    name, function = {
        "flext_exchange": (hook, exchange),
        "flext_response": (hook, small),
        "again": ("flext_exchange", again),
    }[hook]

    class WrapsOnce(Wraps):
        @hookimpl
        def flext_response(self, response):
            if response.status_code == 200:
                super().flext_response(response)

    replaces = plugin("Replaces", name, function)
    replaces.stage = Stage.GUARD
    host = flext_world.serve(flext_service, replaces, WrapsOnce)
    assert flext_world.get(host).status_code == 203
    said = [each.message for each in caplog.records if each.name == "flext_plugins"]
    assert said == [NOTE]


@pytest.mark.contract("closing-replaces-no-error")
def test_a_sync_plugin_that_awaits_again_and_again_leaves_no_response_open(
    flext_service, flext_sync_world
):
    closed = []

    class Sleeps:
        stage = Stage.GUARD

        @hookimpl
        async def flext_exchange(self, request, send):
            response = await send(request)
            closed.append((response, False))  # or the collector would close it
            while True:
                try:
                    await asyncio.sleep(0)
                finally:
                    await asyncio.sleep(0)

    class Watches:
        stage = Stage.SIGN

        @hookimpl
        def flext_response(self, response, connection):
            connection.watch(response, lambda *_: closed.append(True))

    host = flext_sync_world.serve(flext_service, Outside, Sleeps, Watches, max_connections=1)
    with pytest.raises(PluginError, match=rf"awaited \w+{LINE} in a sync") as caught:
        flext_sync_world.get(host)
    assert caught.value.plugin == "sleeps"
    assert closed[1:] == [True]


class Breaks(Unclosable):
    """A body that breaks at once, and cannot be closed either."""

    def __init__(self):
        super().__init__(SimpleNamespace(close=lambda: None, aclose=self.nothing))

    async def nothing(self):
        pass

    def __iter__(self):
        raise ConnectionError

    def __aiter__(self):
        return self

    async def __anext__(self):
        raise ConnectionError


@pytest.mark.contract("closing-replaces-no-error")
def test_a_body_that_breaks_and_cannot_be_closed_ends_with_what_broke_it():
    note = "closing the body that broke raised OSError"
    with pytest.raises(ConnectionError) as caught:
        list(Body(Breaks()))
    assert caught.value.__notes__ == [note]

    async def read():
        return [chunk async for chunk in Body(Breaks())]

    with pytest.raises(ConnectionError) as caught:
        asyncio.run(read())
    assert caught.value.__notes__ == [note]


@pytest.mark.contract("closing-replaces-no-error")
def test_a_cancellation_stays_one_if_the_answer_that_came_with_it_cannot_be_closed():
    notes = []

    async def answer():
        await asyncio.sleep(0)

    async def discard(_):
        raise OSError("canary")

    async def call():
        try:
            await shielded(answer(), discard)
        except asyncio.CancelledError as error:
            notes.extend(error.__notes__)
            raise

    async def cancelled():
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled()

    assert asyncio.run(cancelled())
    assert notes == ["closing the response that came too late raised OSError"]


# what an error was


@pytest.fixture
def told(flext_distribution):
    """What `check` says of an installed plugin whose module is this text."""

    def told(module, table=None, **service):
        flext_distribution("acme-odd", plugins={"odd": "acme_odd:Odd"}, module=dedent(module))
        host = Host({"services": {"a": {**service, "plugins": {"odd": table or {}}}}})
        with pytest.raises(PluginError) as caught:
            host.check()
        assert caught.value.plugin == "odd"
        assert caught.value.distribution == "acme-odd"
        return str(caught.value)

    return told


IMPORTS = {
    "raises": ("raise RuntimeError('no such tenant')", "RuntimeError at acme_odd.py:1: no such"),
    "is no Python": ("x =\n", "SyntaxError: invalid syntax (acme_odd.py, line 1)"),
    "has no such class": ("x = 1", "AttributeError: module 'acme_odd' has no attribute 'Odd'"),
    "imports what is not there": (
        "\nimport nowhere",
        "ModuleNotFoundError at acme_odd.py:2: No module named 'nowhere'",
    ),
    "raises further in": (
        "import json\n\njson.loads('{')",
        "JSONDecodeError at acme_odd.py:3, in json.decoder: Expecting property name",
    ),
    "ends the program": ("raise SystemExit(3)", "SystemExit at acme_odd.py:1: 3"),
    "ends it in another way": ("raise GeneratorExit", "GeneratorExit at acme_odd.py:1"),
    "is cancelled": (
        "import asyncio; raise asyncio.CancelledError",
        "CancelledError at acme_odd.py:1",
    ),
    "says much": ("raise RuntimeError('x\\n' * 1000)", "RuntimeError at acme_odd.py:1: x x x"),
    "says nothing": ("raise RuntimeError", "RuntimeError at acme_odd.py:1"),
}


@pytest.mark.parametrize("case", IMPORTS)
@pytest.mark.contract("errors-at-composing-are-told")
def test_what_an_import_raised_is_told_with_class_text_and_line(told, case):
    module, said = IMPORTS[case]
    text = told(module)
    assert f"importing acme_odd:Odd raised {said}" in text
    assert len(text) < 350
    assert "\n" not in text


STRANGE = {
    "a metaclass": """
        class Meta(type):
            def __getattr__(self, name):
                raise RuntimeError("canary")

        class Odd(metaclass=Meta): ...
    """,
    "a descriptor": """
        class Raises:
            def __get__(self, *_):
                raise RuntimeError("canary")

        class Odd:
            Settings = Raises()
    """,
    "a metaclass that lists": """
        class Meta(type):
            def __dir__(self):
                raise RuntimeError("canary")

        class Odd(metaclass=Meta): ...
    """,
    "a metaclass that ends the program": """
        class Meta(type):
            def __getattr__(self, name):
                raise SystemExit("canary")

        class Odd(metaclass=Meta): ...
    """,
}


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.contract("errors-at-composing-are-told")
def test_a_class_that_cannot_be_looked_at_is_told(told, what):
    text = told(STRANGE[what])
    assert re.search(r"looking at acme_odd:Odd raised (RuntimeError|SystemExit)$", text)
    assert "canary" not in text


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("RuntimeError('no such tenant')", "RuntimeError at acme_odd.py:6: no such tenant"),
        ("SystemExit('no licence')", "SystemExit at acme_odd.py:6: no licence"),
    ],
)
@pytest.mark.contract("errors-at-composing-are-told")
def test_what_a_constructor_raised_is_told_with_class_text_and_line(told, raised, said):
    module = f"""
    from flext_plugins import hookimpl

    class Odd:
        def __init__(self):
            raise {raised}

        @hookimpl
        def flext_request(self): ...
    """
    assert told(module).endswith(f"odd: its constructor raised {said}")


@pytest.mark.contract("errors-at-composing-are-told")
def test_a_constructor_in_a_base_of_another_package_is_told_with_its_line(told, flext_distribution):
    base = """
    from flext_plugins import hookimpl

    class Base:
        def __init__(self):
            raise RuntimeError("no such tenant")

        @hookimpl
        def flext_request(self): ...
    """
    flext_distribution("acme-base", plugins={}, module=dedent(base))
    said = told("from acme_base import Base\n\nclass Odd(Base): ...")
    assert said.endswith("raised RuntimeError at acme_base.py:6: no such tenant")


SECRET = "canary/5f1c '&"
SPELLINGS = {
    "as it is": "{secret}",
    "in a repr": "{secret!r}",
    "percent-encoded": "{quote(secret)}",
    "as JSON": "{json.dumps(secret)}",
    "in a URL": "http://ana:{quote(secret, safe='')}@a.example",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("where", ["import", "constructor"])
@pytest.mark.parametrize("whose", ["setting", "header"])
@pytest.mark.contract("errors-at-composing-are-told")
def test_a_secret_in_such_a_text_is_masked_in_any_spelling(
    told, monkeypatch, where, whose, spelling
):
    monkeypatch.setenv("ACME_TOKEN", SECRET)
    raises = f"""
secret = os.environ["ACME_TOKEN"]
raise RuntimeError(f"no login with {spelling}")
"""
    module = f"""
import json, os
from urllib.parse import quote
from pydantic import BaseModel
from flext_plugins import Secret, hookimpl
{raises if where == "import" else ""}
class Odd:
    class Settings(BaseModel):
        token: Secret | None = None

    def __init__(self):
{indent(raises, "        ")}

    @hookimpl
    def flext_request(self): ...
"""
    if whose == "setting":
        said = told(module, {"token": "env:ACME_TOKEN"})
    else:
        said = told(module, headers={"X-Token": "env:ACME_TOKEN"})
    assert "raised RuntimeError at acme_odd.py:" in said
    assert ": no login with " in said
    assert "***" in said
    assert not [part for part in ("canary", "5f1c") if part in said]


@pytest.mark.contract("errors-at-composing-are-told")
def test_of_several_problems_each_has_its_cause(flext_distribution):
    module = "raise RuntimeError('no such tenant')"
    flext_distribution("acme-odd", plugins={"odd": "acme_odd:Odd"}, module=module)
    tables = {"odd": {}, "unheard-of": {}}
    with pytest.raises(ConfigError) as caught:
        Host({"services": {"a": {"plugins": tables}}}).check()
    assert any(
        each.endswith("raised RuntimeError at acme_odd.py:1: no such tenant")
        for each in caught.value.problems
    )


# what hurt nobody


@pytest.mark.contract("observer-hurts-nobody")
def test_what_an_observer_raised_is_logged_with_class_hook_line_and_text(
    flext_service, flext_world, caplog
):
    class Observes:
        observer = True

        @hookimpl
        def flext_request(self):
            raise RuntimeError("no such\ntenant")

    assert flext_world.get(flext_world.serve(flext_service, Observes)).status_code == 200
    said = rf"Observes\.flext_request raised RuntimeError{LINE}: no such tenant; the call goes on  "
    assert re.match(said, caplog.messages[0])


@pytest.mark.contract("observer-hurts-nobody")
def test_a_plugin_that_raises_in_flext_event_is_not_called_an_observer(
    flext_service, flext_world, caplog
):
    class Receives:
        @hookimpl
        def flext_event(self):
            raise RuntimeError("no such tenant")

    assert flext_world.get(flext_world.serve(flext_service, Receives)).status_code == 200
    (message,) = caplog.messages
    said = rf"Receives\.flext_event raised RuntimeError{LINE}: no such tenant; the call goes on  "
    assert re.match(said, message)
    assert "observer" not in message


@pytest.mark.contract("observer-hurts-nobody")
def test_a_callback_for_a_bodys_end_that_raises_is_logged_alike(flext_service, flext_world, caplog):
    class Watches:
        @hookimpl
        def flext_response(self, response, connection):
            def ended(error, size):
                raise RuntimeError(f"{size} bytes for {response.request.headers['Authorization']}")

            connection.watch(response, ended)

    flext_service.answer = Answer(body=b"0123")
    host = flext_world.serve(flext_service, Watches)
    flext_world.get(host, headers={"Authorization": "Bearer canary-5f1c"})
    said = rf"Watches\.watch raised RuntimeError{LINE}: 4 bytes for \*\*\*; the call goes on  "
    assert re.match(said, caplog.messages[0])


@pytest.mark.contract("observer-hurts-nobody")
def test_a_secret_of_settings_or_headers_in_an_observers_error_is_masked(
    flext_service, flext_world, caplog
):
    class Observes:
        observer = True

        class Settings(BaseModel):
            password: Secret

        def __init__(self, settings):
            self.password = settings.password.get_secret_value()

        @hookimpl
        def flext_response(self, response):
            cookie = response.headers["Set-Cookie"]
            raise RuntimeError(f"{self.password!r} and {cookie} at http://a:b@c/?token=canary-3")

    class Signs:
        stage = Stage.SIGN

        @hookimpl
        def flext_request(self, request):
            request.headers["X-Api-Key"] = "canary-2"

    flext_service.answer = Answer(headers={"Set-Cookie": "sid=canary-4"})
    plugins = {"observes": {"password": "canary-1"}, "signs": {}}
    host = flext_world.serve(flext_service, Observes, Signs, plugins=plugins)
    assert flext_world.get(host).status_code == 200
    assert ": '***' and *** at http://***@c/?token=***; the call goes on" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("shown", ["s3cret-canary", "s3cret%2Dcanary", "s3cret\\x2dcanary"])
@pytest.mark.contract("opening-is-all-or-nothing")
async def test_a_note_of_what_was_undone_shows_no_secret(flext_service, flext_world, shown):
    class Lends:
        @hookimpl
        def flext_connect(self, connection):
            def close():
                raise RuntimeError(f"no login with {shown}")

            connection.provide(Lends, self, close=close)

    class Fails:
        @hookimpl
        def flext_connect(self, connection):
            raise ValueError

    headers = {"X-Key": "s3cret-canary"}
    host = flext_world.serve(flext_service, Lends, Fails, headers=headers)
    with pytest.raises(PluginError) as caught:
        await flext_world.client(host)
    assert "no login with ***" in str(caught.value.__notes__)
    assert "canary" not in str(caught.value.__notes__)
