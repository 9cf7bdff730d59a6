"""A plugin in its place, and whose fault it is when something goes wrong there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flext_plugins._errors import FlextError, PluginError, Refused
from flext_plugins._logging import text_of
from flext_plugins.events import CallRefused
from flext_plugins.hookspecs import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from flext_plugins._call import Call, Scope
    from flext_plugins._messages import Request


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
    sources: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """Where each of its settings came from."""


class Receiver(Protocol):
    """The receiver of what happens in the chain."""

    def emit(self, event: object) -> None: ...
    def report(self, layer: Layer, hook: str, error: Exception) -> None: ...


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
    else:
        blamed = PluginError(f"{hook} raised {type(error).__name__}{_where(error, layer)}", hook)
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


def _where(error: Exception, layer: Layer) -> str:
    """The plugin's line, and what may help; the error's own text may hold a secret."""
    frames = [(frame, number) for frame, number in walk_tb(error.__traceback__)]
    if not frames:
        return ""
    package = _package(type(layer.plugin).__module__)
    own = [each for each in frames if _package(_module(each[0])) == package]
    frame, number = (own or frames)[-1]
    place = f" at {PurePath(frame.f_code.co_filename).name}:{number}"
    innermost = _module(frames[-1][0])
    if own and _package(innermost) != package:
        place += f", in {innermost}"
    inside_asyncio = innermost.startswith("asyncio.") and not isinstance(error, TimeoutError)
    if "no running event loop" in text_of(error) or inside_asyncio:
        return f"{place}: it needs an event loop of its own; await what `connection` offers"
    return place


def _module(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name


def _package(module: str) -> str:
    return module.partition(".")[0]


def cause_of(error: Exception) -> BaseException | None:
    """The cause to raise `blame(error, ...)` from."""
    return error.__cause__ if isinstance(error, FlextError) else error


def guarded(layer: Layer, hook: Hook, receiver: Receiver) -> Hook:
    """An observer's small hook: it returns nothing, and what it raises is reported."""
    name = hook.shape.name

    def observe(*arguments: Any) -> None:
        try:
            hook.function(*arguments)
        except Exception as error:
            receiver.report(layer, name, error)

    async def aobserve(*arguments: Any) -> None:
        try:
            await hook.function(*arguments)
        except Exception as error:
            receiver.report(layer, name, error)

    return hook._replace(function=aobserve if hook.shape.asynchronous else observe)


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
    """`answer`, if it is a response; to `request`, as whoever sees it next expects."""
    if hasattr(answer, "status_code"):
        answer.request = request
        return answer
    error = PluginError(f"{hook} returned {type(answer).__name__}, expected a response", hook)
    raise blame(error, layer, hook, scope.call.service, scope.call)


async def discard(response: Any, error: BaseException, scope: Scope) -> None:
    """Close what an error leaves behind; a coroutine that is being closed cannot wait."""
    if response is not None and not isinstance(error, GeneratorExit):
        await scope.wire.close(response)
