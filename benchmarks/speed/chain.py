"""The framework's part alone: what the compiled chain adds to calling the same functions by hand.

Every plugin has an empty `flext_request` and an empty `flext_response`, and what is sent ends at an
`async def` that gives back what it has. By hand is an `async def` as well, that names the plugins'
bound methods one after another: no loop, no look at what they return, nothing caught. Both are run
by one `coroutine.send(None)`, as a sync client runs a chain. In pluggy's case the same plugins are
registered in a manager with our specifications, whose hooks are called around the same wire; the
ratio to it is of what is added to no plugins by hand, since the wire and its driving are common.
"""

from __future__ import annotations

from itertools import repeat
from time import process_time
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy

from flext_plugins import Call, hookimpl, hookspecs
from flext_plugins._call import Scope
from flext_plugins._chain import exchange_chain
from flext_plugins._chain.layer import Hook, HookShape, Layer

from .measurement import Case, Table
from .target import Target, overhead, ratio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack

    from .measurement import Run

COUNTS = (0, 1, 2, 4, 8, 16)


class Empty:
    """A plugin that does nothing to any message."""

    @hookimpl
    def flext_request(self, request: Any) -> None:
        """Nothing."""

    @hookimpl
    def flext_response(self, response: Any, request: Any) -> None:
        """Nothing."""


class Message:
    """A request, and a response."""

    status_code = 200


class Wire:
    """Answers at once."""

    def __init__(self) -> None:
        self._response = Message()

    async def send(self, request: Any, call: Call) -> Any:
        """What a wire does for the chain."""
        del request, call
        return self._response


class Silent:
    """Hears nothing, since nothing happens."""

    def emit(self, event: object) -> None: ...
    def report(
        self, layer: Layer, hook: str, error: Exception, handed: tuple[Any, ...] = ()
    ) -> None: ...


def driven(chain: Callable[[Any, Scope], Awaitable[Any]]) -> Run:
    """A `Run` that sends through `chain`, as a sync client does."""
    given, scope = Message(), Scope(Call("flexcore"), Wire())

    def run(times: int) -> float:
        started = process_time()
        for _ in repeat(None, times):
            coroutine: Any = chain(given, scope)
            try:  # noqa: SIM105 - a context manager would cost more than what is measured
                coroutine.send(None)
            except StopIteration:
                pass
        return process_time() - started

    return run


def compiled(count: int) -> Run:
    """Our chain of so many plugins."""
    layers = []
    for number in range(count):
        plugin = Empty()
        hooks = {
            name: Hook(function, HookShape(name, arguments, asynchronous=False))
            for name, function, arguments in (
                ("flext_request", plugin.flext_request, ("request",)),
                ("flext_response", plugin.flext_response, ("response", "request")),
            )
        }
        layers.append((Layer(f"empty-{number}", plugin, hooks), None))
    return driven(exchange_chain(layers, Silent()))


def by_hand(count: int) -> Run:
    """The same functions in the text of a function, one line for each call."""
    plugins = [Empty() for _ in range(count)]
    names: dict[str, Any] = {}
    for number, plugin in enumerate(plugins):
        names[f"request_{number}"] = plugin.flext_request
        names[f"response_{number}"] = plugin.flext_response
    lines = [
        f"def made({', '.join(names)}):",
        "    async def send(request, scope):",
        *(f"        request_{number}(request)" for number in range(count)),
        "        response = await scope.wire.send(request, scope.call)",
        *(f"        response_{number}(response, request)" for number in reversed(range(count))),
        "        return response",
        "    return send",
    ]
    space: dict[str, Any] = {}
    exec("\n".join(lines), space)
    return driven(space["made"](**names))


def hook_calls(count: int) -> Run:
    """The same plugins, called by pluggy."""
    manager = pluggy.PluginManager("flext_plugins")
    manager.add_hookspecs(hookspecs)
    for number in range(count):
        manager.register(Empty(), f"empty-{number}")
    hook = manager.hook

    async def send(request: Any, scope: Any) -> Any:
        hook.flext_request(request=request, connection=None)
        response = await scope.wire.send(request, scope.call)
        hook.flext_response(response=response, request=request, connection=None)
        return response

    return driven(send)


class _Way(NamedTuple):
    name: str
    sentence: str
    make: Callable[[int], Run]


WAYS = (
    _Way("by hand", "called by hand", by_hand),
    _Way("chain", "in the compiled chain", compiled),
    _Way("pluggy", "by pluggy's hook calls", hook_calls),
)


def _case(way: _Way, count: int) -> Case:
    def start(_: ExitStack, __: str) -> Run:
        return way.make(count)

    base = None if way.name == "by hand" else f"by hand, {count}"
    return Case(f"{way.name}, {count}", f"{count} empty plugins {way.sentence}", start, base)


def _growth(times: Any) -> float:
    later = (times["chain, 16"] - times["chain, 8"]) / 8
    earlier = (times["chain, 8"] - times["chain, 1"]) / 7
    growth: float = later / earlier
    return growth


TABLES = (
    Table(
        "chain",
        "The chain alone",
        tuple(_case(way, count) for count in COUNTS for way in WAYS),
        (
            ratio("the chain of 4 empty plugins, to calls by hand", 1.15, "chain, 4", "by hand, 4"),
            overhead(
                "the chain of 4 empty plugins, to pluggy's calls",
                0.1,
                "chain, 4",
                "by hand, 0",
                "pluggy, 4",
            ),
            Target(
                "a plugin more beyond 8, to one more before that",
                1.05,
                "chain, 16",
                ("chain, 8", "chain, 1"),
                _growth,
            ),
        ),
        unit="µs per exchange",
    ),
)
