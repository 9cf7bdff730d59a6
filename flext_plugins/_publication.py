"""Showing public names under the public module where users find them."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def publish(module: str, values: Iterable[Any], names: Mapping[str, Any] | None = None) -> None:
    """Let classes and functions say that they are of `module`, where users find them.

    The annotations of a class are resolved first: `typing.get_type_hints` looks up what they
    mention in the module that the class says it is of.

    Args:
        module: the public module.
        values: what it offers; what is neither a class nor a function stays as it is.
        names: what annotations mention and their own module cannot import.
    """
    for value in values:
        if isinstance(value, type):
            own = vars(value).get("__annotations__", {})
            hints = get_type_hints(value, localns=dict(names or {}), include_extras=True)
            value.__annotations__ = {name: hints[name] for name in own}
        if isinstance(value, (type, FunctionType)):
            value.__module__ = module
