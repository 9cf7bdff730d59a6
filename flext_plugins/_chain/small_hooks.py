"""Neighbouring plugins with the small hooks, as one function with each call on a line of its own.

A loop over them costs about as much again as the calls. The text depends only on what arguments
the hooks name, so it is compiled once for all runs of plugins that are alike in that.
"""

from __future__ import annotations

import linecache
from collections.abc import Awaitable, Callable
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from flext_plugins._chain.layer import (
    Layer,
    blame,
    cause_of,
    checked,
    discard,
    guarded,
    identifying,
    supersede,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    from flext_plugins._call import Scope
    from flext_plugins._chain.layer import HookShape, Receiver
    from flext_plugins._errors import FlextError

Inner: TypeAlias = Callable[[Any, "Scope"], Awaitable[Any]]
"""The rest of the onion: takes a message or an operation, gives what came of it."""
ENTER, LEAVE = "flext_request", "flext_response"


class Step(NamedTuple):
    """One hook in a run of plugins: all of it that the text depends on."""

    place: int
    """The number of its plugin, outermost first."""
    shape: HookShape

    def __str__(self) -> str:
        """The call, as it stands in the text."""
        name, arguments, asynchronous = self.shape
        names = [f"connection{self.place}" if each == "connection" else each for each in arguments]
        return f"{'await ' if asynchronous else ''}{name}{self.place}({', '.join(names)})"


def unrolled(
    inner: Inner,
    layers: Sequence[tuple[Layer, Any]],
    receiver: Receiver,
    names: Sequence[str] = (ENTER, LEAVE),
) -> Inner:
    """The hooks `names` of `layers`, outermost first and each with its connection, around `inner`.

    If a `flext_request` answers, the layers inside it do not run.
    """
    run = _Run(layers, receiver)
    values: dict[str, Any] = {"inner": inner, "run": run, "cause_of": cause_of}
    for place, (layer, connection) in enumerate(layers):
        for name in [each for each in names if each in layer.hooks]:
            hook = layer.hooks[name]
            if layer.observer:
                hook = guarded(layer, hook, receiver)
            if layer.identifies and name == ENTER:
                hook = identifying(hook)
            run.steps.append(Step(place, hook.shape))
            values |= {f"{name}{place}": hook.function, f"connection{place}": connection}
    namespace: dict[str, Any] = {}
    exec(_compiled(tuple(run.steps), tuple(values)), namespace)  # noqa: S102 - of the text below, which holds names of ours alone
    chain: Inner = namespace["make"](**values)
    return chain


@cache
def _compiled(steps: tuple[Step, ...], names: tuple[str, ...]) -> CodeType:
    """The code of the text for `steps`; tracebacks and debuggers show its lines."""
    text = source(steps, names)
    file = f"<small hooks {next(_numbers)}: {', '.join(str(each) for each in steps)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    return compile(text, file, "exec")


_numbers = count(1)


def source(steps: Sequence[Step], names: Sequence[str]) -> str:
    """The text of a function that takes `names` and gives the chain.

    In it, `at` is the number of the step under way.
    """
    entering = [(number, each) for number, each in enumerate(steps) if each.shape.name == ENTER]
    leaving = [(number, each) for number, each in enumerate(steps) if each.shape.name == LEAVE]
    lines = [f"def make({', '.join(names)}):", "    async def small_hooks(request, scope):"]
    if entering:
        lines += ["        try:"]
        for number, each in entering:
            unless = "if answer is None: " if number != entering[0][0] else ""
            lines += [f"            {unless}at = {number}; answer = {each}"]
        lines += [
            "        except Exception as error:",
            "            raise run.blame(error, at, scope) from cause_of(error)",
            "        if answer is not None:",
            "            return await run.answer(answer, at, request, scope)",
        ]
    lines += ["        response = await inner(request, scope)"]
    if leaving:
        lines += ["        try:"]
        replaced = "await run.replace(after, response, at, request, scope)"
        for number, each in reversed(leaving):
            lines += [
                f"            at = {number}; after = {each}",
                "            if after is not None and after is not response:",
                f"                response = {replaced}",
            ]
        lines += [
            "        except BaseException as error:",
            "            await run.fail(error, response, at, scope)",
            "            raise",
        ]
    lines += ["        return response", "    return small_hooks"]
    return "\n".join(lines) + "\n"


class _Run:
    """The rare cases of a run: a plugin answers, replaces a response, or raises."""

    def __init__(self, layers: Sequence[tuple[Layer, Any]], receiver: Receiver) -> None:
        self._layers, self._receiver = layers, receiver
        self.steps: list[Step] = []
        self._around: dict[int, Inner] = {}

    def blame(self, error: Exception, at: int, scope: Scope) -> FlextError:
        """Name the plugin whose hook raised `error`."""
        place, shape = self.steps[at]
        layer, call = self._layers[place][0], scope.call
        return blame(error, layer, shape.name, call.service, call, self._receiver)

    async def answer(self, answer: Any, at: int, request: Any, scope: Scope) -> Any:
        """The answer of a plugin, as those around it leave it."""
        place = self.steps[at].place
        layer = self._layers[place][0]
        response = checked(answer, request, layer, ENTER, scope)
        scope.call.answered_by = layer.name
        around = self._around.get(place)
        if around is None:
            around = unrolled(_answer, self._layers[:place], self._receiver, (LEAVE,))
            self._around[place] = around
        return await around(request, scope._replace(work=response))

    async def replace(self, after: Any, response: Any, at: int, request: Any, scope: Scope) -> Any:
        """`after`, which a plugin gave in place of `response`."""
        layer = self._layers[self.steps[at].place][0]
        return await supersede(after, response, request, layer, LEAVE, scope)

    async def fail(self, error: BaseException, response: Any, at: int, scope: Scope) -> None:
        """Close what an error leaves behind, and say whose it is, if it is an `Exception`."""
        await discard(scope.wire, response, error)
        if isinstance(error, Exception):
            raise self.blame(error, at, scope) from cause_of(error)


async def _answer(request: Any, scope: Scope) -> Any:  # noqa: ARG001
    return scope.work
