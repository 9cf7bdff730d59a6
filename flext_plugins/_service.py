"""A service as plugins see it, an operation on one that is not HTTP, and what a plugin reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

from flext_plugins._errors import ConfigError
from flext_plugins.hookspecs import Stage  # noqa: TC001 - `typing.get_type_hints` looks here

T = TypeVar("T")
JSON: TypeAlias = bool | int | float | str | Sequence[Any] | Mapping[str, Any] | None
_MISSING: Any = object()


class Provisions(Mapping[type, Any]):
    """The application's objects by type, as the plugins of one service ask for them.

    Args:
        objects: by type; the host adds to them.

    Attributes:
        kinds: the types that a plugin has asked for, and has an answer, be it that there is none.
    """

    def __init__(self, objects: Mapping[type, Any]) -> None:
        self._objects, self.kinds = objects, set[type]()

    def get(self, kind: type, default: Any = None) -> Any:
        """The object of that type, else `default`."""
        found = self._objects.get(kind, default)
        if found is not _MISSING:
            self.kinds.add(kind)
        return found

    def __getitem__(self, kind: type) -> Any:
        return self._objects[kind]

    def __iter__(self) -> Iterator[type]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)


class PluginInfo(NamedTuple):
    """A plugin of a service."""

    name: str
    distribution: str | None
    """Where it came from; `None` when registered in code."""
    version: str | None
    stage: Stage
    identifies: bool
    """Whether what it adds to a request may say who asks."""


class Timeout(NamedTuple):
    """Seconds for each phase of an exchange; `None` waits for ever."""

    connect: float | None = 5.0
    read: float | None = 5.0
    write: float | None = 5.0
    pool: float | None = 5.0


@dataclass(frozen=True, eq=False)
class Service:
    """A named thing to talk to, with its address and settings."""

    name: str
    base_url: str | None = None
    """Without user and password, which are among `headers`; `None` where a service only lends."""
    headers: Mapping[str, Any] = field(default_factory=dict)
    """Sent to the service's own origin where the caller has not set them; values are `Secret`."""
    timeout: Timeout = field(default_factory=Timeout)
    deadline: float | None = None
    """Seconds for a call: all its attempts and hops, and what its plugins wait for."""
    verify: bool | str = True
    cert: str | tuple[str, ...] | None = field(default=None, repr=False)
    http2: bool = False
    transport: str = "default"
    """What exchanges go over."""
    transport_is_default: bool = field(default=True, repr=False)
    """Whether it comes from `[defaults]` or from nowhere, so that clients that it cannot serve get
    the client library's own."""
    proxy: Any = None
    """A `Secret` address, `False` for none, `None` for what the environment says."""
    max_connections: int = 100
    keepalive_expiry: float = 5.0
    """Seconds that a connection is kept which nobody uses."""
    max_plugin_read: int = 1024 * 1024
    """Bytes of an answer, as sent and decoded, that a plugin may read."""
    allow_insecure: bool = False
    health: str | None = None
    """A path at which it says how it is."""
    plugins: tuple[PluginInfo, ...] = ()
    _provided: Mapping[type, Any] = field(default_factory=dict, repr=False)
    _shared: Callable[[type, Callable[[], Any]], Any] | None = field(default=None, repr=False)

    @overload
    def resource(self, kind: type[T]) -> T: ...
    @overload
    def resource(self, kind: type[T], default: T | None) -> T | None: ...
    def resource(self, kind: type[T], default: Any = _MISSING) -> Any:
        """The object that the application provided under this type with `host.provide`.

        Raises:
            ConfigError: there is none, and no `default`.
        """
        found = self._provided.get(kind, default)
        if found is _MISSING:
            raise ConfigError(
                f"service {self.name!r} needs a {kind.__name__}: "
                f"call host.provide({kind.__name__}, ...) before connecting"
            )
        return found

    def shared(self, kind: type[T], factory: Callable[[], T]) -> T:
        """The host's one object of this type, made by `factory` at its first use."""
        if self._shared is None:
            raise ConfigError(f"service {self.name!r} does not belong to a host")
        value: T = self._shared(kind, factory)
        return value


@dataclass(frozen=True, slots=True)
class Operation:
    """Something asked of a system that does not speak HTTP, or a page or batch of it."""

    system: str
    """What is spoken to: `ldap`, `oracle`, `meltano`."""
    name: str
    """What is asked: `search`, `bind`."""
    target: str
    """The one that answers, `host:port` or a name; breakers keep one state for each."""
    idempotent: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What else a plugin may want to know. Four keys are known to all:

    - `namespace`: the database, as text;
    - `collection`: the one table that it is about, as text;
    - `size`: how many rows or entries a batch has, an `int`;
    - `query`: the statement with placeholders, as text, only where a setting asks for it.

    Spans show these, so none may hold a value: no bind parameter, no user's literal, no password.
    """


Proceed: TypeAlias = Callable[[Operation], Awaitable[object]]
"""The way inward for an operation, which a `flext_operation` awaits."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a plugin at one connection, as somebody looks in from outside."""

    facts: Mapping[str, JSON] = field(default_factory=dict)
    """JSON, without anything secret."""
    actions: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    """Functions that do something about it, by name; to be called from any thread."""
