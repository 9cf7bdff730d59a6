"""What is talked to, and what is known about one conversation with it."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from .errors import ConfigError, DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .message import Wire

T = TypeVar("T")
_MISSING: Any = object()


class PluginInfo(NamedTuple):
    """A plugin of a service and where it came from; `None` when registered in code."""

    name: str
    distribution: str | None
    version: str | None


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
    """Seconds for what a call waits for, over all attempts."""
    verify: bool | str = True
    cert: str | tuple[str, ...] | None = field(default=None, repr=False)
    http2: bool = False
    proxy: Any = None
    """A `Secret` address, `False` for none, `None` for what the environment says."""
    max_connections: int = 100
    allow_insecure: bool = False
    plugins: tuple[PluginInfo, ...] = ()
    _provided: Mapping[type, Any] = field(default_factory=dict, repr=False)
    _shared: Callable[[type, Callable[[], Any]], Any] | None = field(default=None, repr=False)

    @overload
    def resource(self, kind: type[T]) -> T: ...
    @overload
    def resource(self, kind: type[T], default: T | None) -> T | None: ...
    def resource(self, kind: type[T], default: Any = _MISSING) -> Any:
        """What the application provided under this type with `host.provide`.

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


@dataclass(slots=True, eq=False)
class Call:
    """One call by the application: its hops and attempts share this."""

    service: str
    route: str | None = None
    """The path's template (`/orders/{id}`), as the application named it."""
    user: str | None = None
    correlation_id: str | None = None
    deadline: float | None = None
    """When the call must have ended, on the clock of `time.monotonic`."""
    attempt: int = 1
    answered_by: str | None = None
    """The plugin that answered or refused; `None` if the service did."""
    started: float = field(default_factory=time.monotonic)
    """On the clock of `time.monotonic`."""
    id: str = field(default_factory=lambda: os.urandom(8).hex())

    def remaining(self) -> float | None:
        """Seconds until the deadline, negative once it has passed; `None` without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def check(self, waiting_for: str) -> float | None:
        """`remaining()`, for something that is about to wait.

        Raises:
            DeadlineExceeded: nothing remains; its message says what would have been waited for.
        """
        left = self.remaining()
        if left is not None and left <= 0:
            error = DeadlineExceeded(f"no time left, waiting for {waiting_for}")
            error.service, error.call = self.service, self
            raise error
        return left


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


class Scope(NamedTuple):
    """What is under way in this context: the call, the library in use, who takes no part."""

    call: Call
    wire: Wire | None
    absent: frozenset[int] = frozenset()
    """`id`s of plugin instances that caused this exchange and so stay out of it."""
    work: Any = None
    """Inside an operation: what it is about."""


scope: ContextVar[Scope | None] = ContextVar("flext_plugins.scope", default=None)
_options: ContextVar[Mapping[str, Any]] = ContextVar("flext_plugins.options")


def within(current: Scope | None, function: Callable[..., None]) -> Callable[..., None]:
    """`function`, to be called later as if it were inside `current`."""

    def call(*args: Any) -> None:
        token = scope.set(current)
        try:
            function(*args)
        finally:
            scope.reset(token)

    return call


@contextmanager
def options(
    *,
    route: str | None = None,
    deadline: float | None = None,
    user: str | None = None,
    correlation_id: str | None = None,
) -> Iterator[None]:
    """Say what the application knows about the calls made inside the `with` block.

    Works for every client, and for libraries on top of one. Blocks nest, key by key.

    Args:
        route: the path's template, such as `/orders/{id}`.
        deadline: seconds for each call from its start: what its plugins wait for, over all
            attempts, and the wait for a connection. What is on the wire ends with `timeout`.
        user: who the call is made for.
        correlation_id: what ties this call to others.

    Raises:
        ValueError: `deadline` is not positive.
    """
    if deadline is not None and not deadline > 0:
        raise ValueError("options(deadline=...) takes a positive number of seconds")
    said = {"route": route, "deadline": deadline, "user": user, "correlation_id": correlation_id}
    outer = _options.get({})
    token = _options.set(
        {**outer, **{key: value for key, value in said.items() if value is not None}}
    )
    try:
        yield
    finally:
        _options.reset(token)


def new_call(service: Service) -> Call:
    """A call on `service`, with what `options` and the call that causes it say."""
    said = _options.get({})
    cause = scope.get()
    limits = [said.get("deadline"), service.deadline]
    seconds = min((limit for limit in limits if limit is not None), default=None)
    call = Call(
        service.name,
        route=None if cause else said.get("route"),
        user=said.get("user"),
        correlation_id=said.get("correlation_id"),
    )
    if seconds is not None:
        call.deadline = call.started + seconds
    if cause is not None:
        call.correlation_id = cause.call.correlation_id
        call.user = cause.call.user
        ends = (call.deadline, cause.call.deadline)
        call.deadline = min((end for end in ends if end is not None), default=None)
    return call
