"""Resources: what the plugins of a connection lend to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from flext_plugins._errors import ConfigError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Resource(NamedTuple):
    """Something that a plugin lends to the application."""

    kind: type
    name: str | None
    value: Any
    close: Callable[[], Any] | None
    plugin: str


class Resources(list[Resource]):
    """The resources of one connection, in the order in which they were provided."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def provide(self, resource: Resource) -> None:
        """Keep what a plugin lends.

        Raises:
            PluginError: its value is not of its type, or there is one of that type and name.
        """
        if not isinstance(resource.kind, type):
            raise PluginError(f"{resource.plugin} provides a {resource.kind!r}, which is no type")
        if not is_one(resource.value, resource.kind):
            kind, value = resource.kind.__name__, kind_of(resource.value)
            raise PluginError(f"{resource.plugin} provides as a {kind} what is none: {value}")
        for each in self:
            if each[:2] == resource[:2]:
                name = f" named {each.name!r}" if each.name else ""
                raise PluginError(f"{each.plugin} provides a {each.kind.__name__}{name} already")
        self.append(resource)

    def find(self, kind: type[T], name: str | None) -> T:
        """The resource of that type.

        Raises:
            ConfigError: there is none, or several and no `name`.
        """
        of_kind = [each for each in self if each.kind is kind]
        chosen = [each for each in of_kind if name is None or each.name == name]
        if len(chosen) == 1:
            value: T = chosen[0].value
            return value
        offered = ", ".join(f"{each.name or 'unnamed'} (by {each.plugin})" for each in of_kind)
        wanted = f"{kind.__name__}" + (f" named {name!r}" if name else "")
        every = ", ".join(f"{each.kind.__name__} (by {each.plugin})" for each in self)
        raise ConfigError(
            f"service {self._service!r} lends no {wanted}; it has: {offered or every or 'none'}"
            if not chosen
            else f"service {self._service!r} lends several {wanted}: {offered}; give the name"
        )


def is_one(value: Any, kind: type) -> bool:
    """Whether `value` is of that type; of a protocol that cannot be asked for, anything is."""
    try:
        return isinstance(value, kind)
    except TypeError:
        return True


def kind_of(value: object) -> str:
    """The class of `value`, or that it is one itself."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
