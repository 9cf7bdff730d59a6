"""Running a coroutine where nothing may suspend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from flext_plugins._errors import (
    PluginError,
    line_of,
    module_of,
    note_failures,
    package_of,
    packages_of,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from flext_plugins._chain.layer import Layer

T = TypeVar("T")


def drive(coroutine: Coroutine[Any, Any, T], layers: Sequence[Layer] = ()) -> T:
    """Run `coroutine` to its end where nothing may suspend.

    Raises:
        PluginError: it awaited something that only an event loop can finish. The error is thrown in
            at that await, so that the layers around it unwind; one that awaits again is closed.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    return _unwound(coroutine, layers)


def _unwound(coroutine: Coroutine[Any, Any, T], layers: Sequence[Layer]) -> T:
    """Throw a `PluginError` into a suspended `coroutine`, and close it if it awaits again."""
    warned: set[int] = set()
    while True:
        layer, frame, what = _suspended(coroutine, layers)
        error = PluginError(f"awaited {what} in a sync connection; use what `connection` offers")
        if layer is not None:
            error.add_context(plugin=layer.name, distribution=layer.distribution)
        if frame in warned:
            with note_failures(error, "closing its coroutine"):
                coroutine.close()
            raise error
        warned.add(frame)
        try:
            coroutine.throw(error)
        except StopIteration as end:
            value: T = end.value
            return value


def _suspended(coroutine: Any, layers: Sequence[Layer]) -> tuple[Layer | None, int, str]:
    """The innermost plugin in what `coroutine` awaits, its frame's id, and what it awaits where."""
    culprit, frame, current, place = None, 0, coroutine, ""
    while current is not None:
        here = getattr(current, "cr_frame", None)
        for layer in layers:
            if here and here.f_code in _codes(layer) and layer.plugin in here.f_locals.values():
                culprit, frame = layer, id(here)
        if here and culprit and package_of(module_of(here)) in packages_of(type(culprit.plugin)):
            place = line_of(here, here.f_lineno)
        following = getattr(current, "cr_await", None) or getattr(current, "gi_yieldfrom", None)
        if following is None:
            break
        current = following
    name = getattr(current, "__qualname__", None) or type(current).__qualname__
    return culprit, frame, f"{name}{place}"


def _codes(layer: Layer) -> set[Any]:
    functions = [getattr(hook.function, "__func__", hook.function) for hook in layer.hooks.values()]
    return {getattr(function, "__code__", None) for function in functions}
