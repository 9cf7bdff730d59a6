"""A plugin in its place, and whose fault it is when something goes wrong there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from traceback import walk_tb
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flext_plugins._errors import (
    FlextError,
    PluginError,
    Refused,
    module_of,
    note_failures,
    package_of,
    packages_of,
    place_of,
)
from flext_plugins._logging import log, text_of
from flext_plugins._messages import Request, Response
from flext_plugins.events import CallRefused
from flext_plugins.hookspecs import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flext_plugins._call import Call, Scope
    from flext_plugins._wire import Wire

OURS = package_of(__name__)
"""The package of the host, which is no plugin's."""


class HookShape(NamedTuple):
    """The shape of a hook of a plugin class: its name, its arguments, whether it is `async def`."""

    name: str
    arguments: tuple[str, ...]
    asynchronous: bool


class Hook(NamedTuple):
    """One hook of a plugin instance."""

    function: Callable[..., Any]
    shape: HookShape


@dataclass(slots=True, eq=False)
class Layer:
    """A plugin in its place."""

    name: str
    plugin: object
    hooks: Mapping[str, Hook]
    stage: Stage = Stage.MESSAGE
    observer: bool = False
    identifies: bool = False
    distribution: str | None = None
    version: str | None = None
    services: frozenset[str] = frozenset()
    """The services that its settings name."""
    settings: Any = None
    source_of: Callable[[tuple[str, ...]], str] = lambda _: "default"
    """Says where each of its settings came from."""
    target: str | None = None
    """`module:Class`, if the configuration names it."""


class Receiver(Protocol):
    """The receiver of what happens in the chain."""

    def emit(self, event: object) -> None: ...
    def report(
        self, layer: Layer, hook: str, error: Exception, handed: tuple[Any, ...] = ()
    ) -> None: ...


def arranged(hook: Hook, offered: tuple[str, ...]) -> Callable[..., Any]:
    """`hook` as a function that takes all of `offered`, in that order."""
    function, arguments = hook.function, hook.shape.arguments
    if arguments == offered:
        return function
    places = [offered.index(name) for name in arguments]
    return lambda *values: function(*[values[place] for place in places])


def blame(
    error: Exception,
    layer: Layer,
    hook: str,
    service: str,
    call: Call | None = None,
    receiver: Receiver | None = None,
) -> FlextError:
    """Turn an `error` that arose in `layer` into a `FlextError` that names the layer."""
    if isinstance(error, FlextError):
        blamed = error
        if isinstance(error, PluginError) and error.plugin is None:
            _add_place(error, layer, hook)
    else:
        what = f"{hook} raised {type(error).__name__}{_where(error, layer)}"
        blamed = PluginError(what, hook)
    if blamed.plugin is not None:
        return blamed.add_context(call=call)
    blamed.add_context(
        service=service, plugin=layer.name, distribution=layer.distribution, call=call
    )
    if isinstance(blamed, Refused) and call and receiver:
        call.answered_by = layer.name
        kind = type(blamed).__name__
        reason = text_of(blamed.args[0]) if blamed.args else kind
        receiver.emit(CallRefused(call, layer.name, reason, blamed.retry_after, kind))
    return blamed


def _add_place(error: PluginError, layer: Layer, hook: str) -> None:
    """Say which line of `layer` made a mistake that the host noticed; what it says itself stays."""
    error.hook = error.hook or hook
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if frames and package_of(module_of(frames[-1])) == OURS:
        place = place_of(error, packages_of(type(layer.plugin))).partition(",")[0]
        error.args = (f"{error.args[0]}{place}", *error.args[1:])


def _where(error: Exception, layer: Layer) -> str:
    """The plugin's line, and what may help; the error's own text may hold data of the request."""
    place = place_of(error, packages_of(type(layer.plugin)))
    if needs_loop(error):
        return f"{place}: it needs an event loop of its own; await what `connection` offers"
    return place


def needs_loop(error: Exception) -> bool:
    """Whether `error` seems to come of using asyncio where no event loop, or another one, runs."""
    innermost = [module_of(frame) for frame, _ in walk_tb(error.__traceback__)][-1:]
    inside_asyncio = any(each.startswith("asyncio.") for each in innermost)
    return "no running event loop" in text_of(error) or (
        inside_asyncio and not isinstance(error, TimeoutError)
    )


def lacks_loop(error: Exception) -> bool:
    """Whether asyncio raised `error` for want of a running event loop, as its locks do."""
    if isinstance(error, RuntimeError):
        return "event loop" in text_of(error) and needs_loop(error)
    is_absent = isinstance(error, AttributeError) and error.obj is None
    return is_absent and needs_loop(error)


def cause_of(error: Exception) -> BaseException | None:
    """The cause to raise `blame(error, ...)` from."""
    return error.__cause__ if isinstance(error, FlextError) else error


def guarded(layer: Layer, hook: Hook, receiver: Receiver) -> Hook:
    """An observer's small hook: what it raises, answers or changes is reported."""
    name = hook.shape.name
    places = [at for at, each in enumerate(hook.shape.arguments) if each in ("request", "response")]

    def observe(*arguments: Any) -> None:
        messages = [arguments[at] for at in places]
        before = [*map(essence, messages)]
        try:
            result = hook.function(*arguments)
            refuse_coroutine(result, name)
            refuse_answer(result, arguments, name)
            refuse_change(put_back(messages, before), name)
        except Exception as error:
            put_back(messages, before)
            receiver.report(layer, name, error, arguments)

    async def aobserve(*arguments: Any) -> None:
        messages = [arguments[at] for at in places]
        before = [*map(essence, messages)]
        try:
            refuse_answer(await hook.function(*arguments), arguments, name)
            refuse_change(put_back(messages, before), name)
        except Exception as error:
            put_back(messages, before)
            receiver.report(layer, name, error, arguments)

    return hook._replace(function=aobserve if hook.shape.asynchronous else observe)


def refuse_answer(result: Any, own: tuple[Any, ...], hook: str) -> None:
    """See to it that an observer's hook returns nothing, or what is there anyway.

    Raises:
        PluginError: it returned something else, which would have no effect.
    """
    if result is not None and all(result is not each for each in own):
        kind = "a response" if isinstance(result, Response) else type(result).__name__
        what = f"{hook} returned {kind}, which is ignored: an observer only looks"
        raise PluginError(what, hook)


def essence(message: Request | Response) -> str | int:
    """The part of `message` that no observer may change; what else it marks are headers."""
    return message.method if isinstance(message, Request) else message.status_code


def put_back(messages: Sequence[Request | Response], before: Sequence[str | int]) -> bool:
    """Undo what an observer changed of `messages`, and say whether it did."""
    changed = False
    for message, value in zip(messages, before, strict=True):
        if essence(message) != value:
            setattr(message, "method" if isinstance(message, Request) else "status_code", value)
            changed = True
    return changed


def refuse_change(changed: bool, hook: str) -> None:  # noqa: FBT001 - it is what this is about
    """See to it that an observer's hook changed nothing.

    Raises:
        PluginError: it did, which has been undone.
    """
    if changed:
        what = f"{hook} changed a method or a status, which was put back: an observer only looks"
        raise PluginError(what, hook)


IDENTIFIED = "flext_plugins.identified"
"""The key in a request's `extensions` that is there once a plugin said who asks."""


def identifying(hook: Hook) -> Hook:
    """A `flext_request` of a plugin with `identifies`, which notes whether it changed headers."""
    if "request" not in hook.shape.arguments:
        return hook
    place = hook.shape.arguments.index("request")

    def note(request: Request, before: object) -> None:
        if request.fields() != before:
            request.extensions[IDENTIFIED] = True

    def mark(*arguments: Any) -> Any:
        before = arguments[place].fields()
        answer = hook.function(*arguments)
        note(arguments[place], before)
        return answer

    async def amark(*arguments: Any) -> Any:
        before = arguments[place].fields()
        answer = await hook.function(*arguments)
        note(arguments[place], before)
        return answer

    return hook._replace(function=amark if hook.shape.asynchronous else mark)


def checked(answer: Any, request: Any, layer: Layer, hook: str, scope: Scope) -> Any:
    """`answer`, if it is a response; to `request`, as whoever sees it next expects.

    Raises:
        PluginError: it is none, or one of another library.
    """
    if not scope.wire.messages.is_response(answer):
        what = f"{hook} returned {_misfit(answer, 'response', scope)}"
        raise blame(PluginError(what, hook), layer, hook, scope.call.service, scope.call)
    answer.request = request
    return answer


def refuse_coroutine(result: Any, hook: str) -> None:
    """See to it that a `hook` that is no `async def`, or its `await`, left nothing undone.

    Raises:
        PluginError: it returned a coroutine, which nobody would run.
    """
    if isinstance(result, CoroutineType):
        result.close()
        raise PluginError(f"{hook} returned a coroutine; was an `await` left out?", hook)


def check_request(message: Any, way: str, hook: str, scope: Scope) -> None:
    """See to it that what a hook sends is a request.

    Raises:
        PluginError: it is none, or one of another library.
    """
    if not scope.wire.messages.is_request(message):
        raise PluginError(f"{way} was called with {_misfit(message, 'request', scope)}", hook)


def _misfit(value: Any, expected: str, scope: Scope) -> str:
    """The sentence about a `value` that is no message of this exchange, and how to get one."""
    library = scope.wire.library.name
    remedy = {
        "response": "make it by `connection.respond` in this exchange",
        "request": "send the one that the hook was handed",
    }[expected]
    if isinstance(value, (Request, Response)):
        other = package_of(type(value.native).__module__)
        kind = "request" if isinstance(value, Request) else "response"
        return f"a {kind} of {other}, expected a {expected} of {library}: {remedy}"
    kind = type(value).__name__
    if isinstance(value, CoroutineType):
        value.close()  # or it would be told a second time, as a warning
        return f"{kind}, expected a {expected}; was an `await` left out?"
    if hasattr(value, "headers"):
        name = f"{package_of(type(value).__module__)}.{kind}"
        return f"{name}, expected a {expected} as the host has it: {remedy}"
    return f"{kind}, expected a {expected}"


async def supersede(
    answer: Any, response: Any, request: Any, layer: Layer, hook: str, scope: Scope
) -> Any:
    """`answer`, which `layer` gave in place of `response`; that is closed.

    Raises:
        PluginError: `answer` is no response.
    """
    try:
        answer = checked(answer, request, layer, hook, scope)
    except PluginError as error:
        await discard(scope.wire, response, error)
        raise
    try:
        await discard(scope.wire, response)
    except BaseException as error:
        await discard(scope.wire, answer, error)
        raise
    return answer


async def discard(wire: Wire, response: Any, error: BaseException | None = None) -> None:
    """Close a `response` that goes no further, be it because of `error` that is on its way.

    What closing raises changes nothing: it becomes a note to `error`, or a line in the log.
    """
    if response is None or (isinstance(error, GeneratorExit) and wire.asynchronous):
        return  # a coroutine that is being closed cannot wait
    if error is not None:
        with note_failures(error, "closing the response that goes no further"):
            await wire.close(response)
        return
    try:
        await wire.close(response)
    except Exception as failed:
        name = type(failed).__name__
        log(logging.WARNING, "closing the response that goes no further raised {}", name)
