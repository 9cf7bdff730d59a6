"""Neighbouring plugins with the small hooks, as one function with each call on a line of its own.

A loop over them costs about as much again as the calls. The text depends only on what arguments
the hooks name, so it is compiled once for all runs of plugins that are alike in that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from flext_plugins._chain.layer import Layer, blame, cause_of, checked, discard, guarded, wire_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    from flext_plugins._call import Scope
    from flext_plugins._chain.layer import Receiver
    from flext_plugins._errors import FlextError

Inner: TypeAlias = Callable[[Any, "Scope"], Awaitable[Any]]
"""The rest of the onion: takes a message or an operation, gives what came of it."""
ENTER, LEAVE = "flext_request", "flext_response"


class Form(NamedTuple):
    """All of a hook that the text depends on."""

    hook: str
    place: int
    arguments: tuple[str, ...]
    asynchronous: bool

    def __str__(self) -> str:
        """The call."""
        given = [f"view{self.place}" if each == "connection" else each for each in self.arguments]
        waits = "await " if self.asynchronous else ""
        return f"{waits}{self.hook}{self.place}({', '.join(given)})"


def unrolled(
    inner: Inner,
    layers: Sequence[tuple[Layer, Any]],
    receiver: Receiver,
    names: Sequence[str] = (ENTER, LEAVE),
) -> Inner:
    """The hooks `names` of `layers`, outermost first and each with its connection, around `inner`.

    Where `flext_request` answers, the layers inside it do not run.
    """
    run = _Run(layers, receiver)
    given: dict[str, Any] = {"inner": inner, "run": run, "cause_of": cause_of}
    forms = []
    for place, (layer, view) in enumerate(layers):
        for name in [each for each in names if each in layer.hooks]:
            hook = layer.hooks[name]
            if layer.observer:
                hook = guarded(layer, name, hook, receiver)
            forms.append(Form(name, place, hook.arguments, hook.asynchronous))
            given |= {f"{name}{place}": hook.function, f"view{place}": view}
    run.forms = forms
    space: dict[str, Any] = {}
    exec(compiled(tuple(forms), tuple(given)), space)  # noqa: S102 - of the text below, which holds names of ours alone
    made: Inner = space["make"](**given)
    return made


@cache
def compiled(forms: tuple[Form, ...], given: tuple[str, ...]) -> CodeType:
    """The text's code; `at` is the number of the form that is being called."""
    lines = [f"def make({', '.join(given)}):", " async def messages(request, scope):"]
    entering = [(number, each) for number, each in enumerate(forms) if each.hook == ENTER]
    if not entering:
        lines += ["  answer = None"]
    lines += ["  try:", "   pass"]
    for number, each in entering:
        unless = "if answer is None: " if number != entering[0][0] else ""
        lines += [f"   {unless}at = {number}; answer = {each}"]
    lines += ["  except Exception as error:"]
    lines += ["   raise run.blamed(error, at, scope) from cause_of(error)"]
    lines += ["  if answer is not None:"]
    lines += ["   return await run.answered(answer, at, request, scope)"]
    lines += ["  response = await inner(request, scope)", "  try:"]
    for number, each in reversed([*enumerate(forms)]):
        if each.hook == LEAVE:
            replaced = "run.replaced(after, response, at, request, scope)"
            lines += [f"   at = {number}; after = {each}"]
            lines += ["   if after is not None and after is not response:"]
            lines += [f"    response = await {replaced}"]
    lines += ["   return response", "  except BaseException as error:"]
    lines += ["   await run.left(error, response, at, scope)", "   raise", " return messages"]
    return compile("\n".join(lines), "<neighbouring plugins>", "exec")


class _Run:
    """What becomes of the rare: answers, replacements and errors."""

    def __init__(self, layers: Sequence[tuple[Layer, Any]], receiver: Receiver) -> None:
        self._layers, self._receiver = layers, receiver
        self.forms: Sequence[Form] = ()
        self._around: dict[int, Inner] = {}

    def blamed(self, error: Exception, at: int, scope: Scope) -> FlextError:
        """What leaves the plugin whose hook raised `error`."""
        form = self.forms[at]
        layer, call = self._layers[form.place][0], scope.call
        return blame(error, layer, form.hook, call.service, call, self._receiver)

    async def answered(self, answer: Any, at: int, request: Any, scope: Scope) -> Any:
        """The answer of a plugin, as those around it leave it."""
        place = self.forms[at].place
        layer = self._layers[place][0]
        response = checked(answer, request, layer, ENTER, scope)
        scope.call.answered_by = layer.name
        around = self._around.get(place)
        if around is None:
            around = unrolled(_given, self._layers[:place], self._receiver, (LEAVE,))
            self._around[place] = around
        return await around(request, scope._replace(work=response))

    async def replaced(self, after: Any, response: Any, at: int, request: Any, scope: Scope) -> Any:
        """`after`, which a plugin gave in place of `response`."""
        layer = self._layers[self.forms[at].place][0]
        after = checked(after, request, layer, LEAVE, scope)
        try:
            await wire_of(scope).close(response)
        except BaseException as error:
            await discard(after, error, scope)
            raise
        return after

    async def left(self, error: BaseException, response: Any, at: int, scope: Scope) -> None:
        """Close what an error leaves behind, and say whose it is, if it is an `Exception`."""
        await discard(response, error, scope)
        if isinstance(error, Exception):
            raise self.blamed(error, at, scope) from cause_of(error)


async def _given(request: Any, scope: Scope) -> Any:  # noqa: ARG001
    return scope.work
