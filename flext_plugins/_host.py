"""The host: reads the configuration, finds plugins, owns connections, closes them."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import WeakSet

from flext_plugins._chain.drive import drive
from flext_plugins._clients import AsyncClient, SyncClient, library_for
from flext_plugins._clients.transports import transports_of
from flext_plugins._composition.catalog import Catalog
from flext_plugins._composition.explanation import Explanation, explain
from flext_plugins._config.load import load
from flext_plugins._config.models import HostConfig
from flext_plugins._config.validation import report
from flext_plugins._errors import ConfigError, FlextError
from flext_plugins._health import acheck_all, check_all
from flext_plugins._runtime import Runtime
from flext_plugins.status import HostStatus, ServiceHealth, status_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType
    from typing import Self

    import httpx

    from flext_plugins._connections.channel import Channel

S = TypeVar("S", bound=SyncClient)
A = TypeVar("A", bound=AsyncClient)
T = TypeVar("T")
_hosts: WeakSet[Host] = WeakSet()


class Host:
    """Composes services with their plugins and hands out clients for them.

    A host is made once, shared by all threads and event loops, and closed at the end, best by
    `with` or `async with`.

    Args:
        config: what the services are; neither files nor environment are read.

    Raises:
        ConfigError: with all problems of the configuration's shape.
    """

    def __init__(self, config: HostConfig | Mapping[str, Any] | None = None) -> None:
        if not isinstance(config, HostConfig):
            if not isinstance(config or {}, Mapping):
                raise ConfigError("Host takes a mapping or a HostConfig; see Host.from_file")
            config = HostConfig.model_validate(dict(config or {}))
        self._config = config
        self._catalog = Catalog(config)
        self._provided: dict[type, Any] = {}
        self._runtime = Runtime(config, self._catalog, self._provided)
        _hosts.add(self)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str] | None = None, environment: str | None = None
    ) -> Self:
        """A host from a file, its environment's file, and variables that begin with `FLEXT__`.

        Args:
            path: TOML or YAML; by default `$FLEXT_CONFIG`, else `flext.toml` in this folder.
            environment: `production` reads `flext.production.toml` beside it as well.

        Raises:
            ConfigError: a file cannot be read, or with all problems of the configuration's shape.
        """
        return cls(load(path, environment))

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services, as configured."""
        return tuple(self._config.services)

    def register(self, plugin: type, name: str) -> None:
        """Add an application's own plugin class, for services that name it.

        Raises:
            PluginConflict: the name is taken, or is one of ours.
            PluginError: the class breaks the contract.
        """
        self._catalog.register(plugin, name)

    def provide(self, kind: type[T], value: T) -> None:
        """Hand an object of the application's to plugins, which ask `service.resource(kind)`.

        Under `httpx.BaseTransport` or `httpx.AsyncBaseTransport`, or httpx2's, it is a function
        that makes a transport for a service with `transport = "own"`, anew for each event loop.

        Raises:
            ConfigError: `value` is no `kind`, there is another one, a plugin has asked for it
                already and has to do without, or the host is closed.
        """
        self._runtime.provide(kind, value)

    @overload
    def connect(self, service: str, client: None = None, **client_options: Any) -> httpx.Client: ...
    @overload
    def connect(self, service: str, client: type[S], **client_options: Any) -> S: ...
    def connect(self, service: str, client: Any = None, **client_options: Any) -> Any:
        """A client for `service`: a real instance of the class `client`.

        Closing it closes only it; connection and pool belong to the host.

        Args:
            service: its name in the configuration.
            client: a sync client class, by default `httpx.Client`.
            client_options: for that class, such as `follow_redirects`, `cookies`, `event_hooks`.

        Raises:
            FlextError: the service cannot be composed or opened.
        """
        if client is None:
            import httpx  # noqa: PLC0415 - not before it is wanted

            client = httpx.Client
        connected = self._client(service, client, client_options, asynchronous=False)
        self._channel(service)
        return connected

    @overload
    def aconnect(
        self, service: str, client: None = None, **client_options: Any
    ) -> Connecting[httpx.AsyncClient]: ...
    @overload
    def aconnect(self, service: str, client: type[A], **client_options: Any) -> Connecting[A]: ...
    def aconnect(self, service: str, client: Any = None, **client_options: Any) -> Connecting[Any]:
        """A client for `service` in the running event loop: `async with` it, or `await` it.

        Args:
            service: its name in the configuration.
            client: an async client class, by default `httpx.AsyncClient`.
            client_options: for that class.

        Raises:
            FlextError: the service cannot be composed or opened.
        """
        if client is None:
            import httpx  # noqa: PLC0415 - not before it is wanted

            client = httpx.AsyncClient

        return Connecting(
            self._aconnect(service, client, client_options), f"host.aconnect({service!r})"
        )

    async def _aconnect(self, service: str, client: type, options: dict[str, Any]) -> Any:
        connected = self._client(service, client, options, asynchronous=True)
        await self._runtime.channels.get(service, asynchronous=True)
        return connected

    def _client(
        self, service: str, client: type, options: dict[str, Any], *, asynchronous: bool
    ) -> Any:
        library = library_for(client)
        if library.is_async(client) is not asynchronous:
            method = "connect" if asynchronous else "aconnect"
            raise ConfigError(f"{client.__qualname__} wants host.{method}(...)")
        target = self._runtime.composed(service).service
        if target.base_url is None:
            raise ConfigError(f"service {service!r} has no base_url: it only lends resources")
        library.check(target, self._runtime, asynchronous=asynchronous)
        return library.client(client, self._runtime, target, dict(options))

    def _channel(self, service: str) -> Channel:
        """The open connection for sync clients."""
        layers = self._runtime.composed(service).layers  # or a coroutine that nobody awaits is left
        return drive(self._runtime.channels.get(service, asynchronous=False), layers)

    def transport(self, service: str, kind: type[T]) -> T:
        """A transport through the connection to `service`, for a client of one's own.

        Args:
            service: its name in the configuration.
            kind: `httpx.BaseTransport` or `httpx.AsyncBaseTransport`.

        Raises:
            FlextError: the service cannot be composed; it is opened by its first request.
        """
        library, target = library_for(kind), self._runtime.composed(service).service
        library.check(target, self._runtime, asynchronous=library.is_async(kind))
        transport: T = library.transport(kind, self._runtime, service)
        return transport

    def resource(self, service: str, kind: type[T], name: str | None = None) -> T:
        """The resource of this type that a plugin of `service` lends; opens the connection.

        Raises:
            ConfigError: it lends none, or several and no `name` was given.
            FlextError: the service cannot be composed or opened.
        """
        return self._channel(service).resources.find(kind, name)

    def aresource(self, service: str, kind: type[T], name: str | None = None) -> Pending[T]:
        """The resource of this type in the running event loop, to await; opens the connection."""
        what = f"host.aresource({service!r}, {getattr(kind, '__name__', kind)})"
        return Pending(self._aresource(service, kind, name), what)

    async def _aresource(self, service: str, kind: type[T], name: str | None) -> T:
        channel = await self._runtime.channels.get(service, asynchronous=True)
        return channel.resources.find(kind, name)

    def explain(self, service: str) -> Explanation:
        """The onion of `service`: who stands where, from which distribution, with which settings.

        Raises:
            FlextError: the service cannot be composed.
        """
        composition = self._runtime.composed(service)
        return explain(composition, transports_of(composition.service))

    def status(self) -> HostStatus:
        """Look at circuits, tokens' ages, permits, exchanges under way, now; from any thread.

        Nothing is opened or composed for it, and nothing is sent.
        """
        return status_of(self._config, self._runtime)

    def health(self, *services: str, timeout: float = 2.0) -> dict[str, ServiceHealth]:
        """Ask the named services, or all, at once how they are; each in a thread.

        Each gets a GET of its path `health`, else a HEAD of its address, through its plugins but
        those that send again or guard: no circuit opens by it, and none that is open hides a
        service that is well again. Then its resources are asked, by their own `health()`. What is
        not open yet is opened.

        Args:
            services: their names in the configuration.
            timeout: seconds that each has.

        Returns:
            What was found, by service; `status()` has it too from then on.

        Raises:
            ConfigError: no service has such a name.
            ValueError: `timeout` is not positive, or no time.
        """
        return check_all(self._runtime, self._to_ask(services, timeout), timeout)

    async def ahealth(self, *services: str, timeout: float = 2.0) -> dict[str, ServiceHealth]:  # noqa: ASYNC109 - of each service
        """Ask in the running event loop how the named services are, or all; see `health`."""
        return await acheck_all(self._runtime, self._to_ask(services, timeout), timeout)

    def _to_ask(self, services: tuple[str, ...], timeout: float) -> tuple[str, ...]:
        if not 0 < timeout <= threading.TIMEOUT_MAX / 2:
            raise ValueError("host.health(timeout=...) takes a positive number of seconds")
        for name in services:
            self._config.service(name)
        return tuple(dict.fromkeys(services)) or self.services

    def check(self, *services: str) -> None:
        """Compose the named services, or all, as connecting to them would.

        Raises:
            FlextError: the problem, or a `ConfigError` with all of them.
        """
        problems: list[FlextError] = []
        for name in services or self.services:
            try:
                self._runtime.composed(name)
            except FlextError as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            texts = [
                _told_once(error, text)
                for error in problems
                for text in getattr(error, "problems", [""])
            ]
            raise report(list(dict.fromkeys(texts)))

    def close(self, drain: float = 0.0) -> None:
        """Close every connection and what plugins provided; closing twice is fine.

        New calls are refused at once. Those that are under way after `drain` end as `Refused`,
        "the host is closed". Leaving `with` drains for as long as the configuration says.

        Args:
            drain: seconds to wait for calls that are under way.

        Raises:
            ExceptionGroup: all that went wrong on the way.
        """
        if failures := self._runtime.channels.close(drain):
            raise ExceptionGroup("closing the host", failures)

    async def aclose(self, drain: float = 0.0) -> None:
        """Close every connection from inside an event loop; closing twice is fine.

        Args:
            drain: seconds to wait for calls that are under way, as `close` does.

        Raises:
            ExceptionGroup: all that went wrong on the way.
        """
        if failures := await self._runtime.channels.aclose(drain):
            raise ExceptionGroup("closing the host", failures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(self._config.host.drain)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose(self._config.host.drain)


def _told_once(error: FlextError, text: str) -> str:
    """A problem of `error`, with its service unless it stands in a table for every service."""
    if not text:
        return str(error)
    is_everybodys = re.match(r"([^:]*: )?plugins\.", text) is not None
    return text if is_everybodys or not error.service else f"{error.service}: {text}"


class Pending(Coroutine[Any, Any, T]):
    """A coroutine that says so if it is used before it is awaited.

    Args:
        coroutine: gives the result; Python warns if nobody ever awaits it.
        what: the call that has to be awaited.
    """

    __slots__ = ("_coroutine", "_what")

    def __init__(self, coroutine: Coroutine[Any, Any, T], what: str) -> None:
        self._coroutine, self._what = coroutine, what
        coroutine.__qualname__ = what  # type: ignore[attr-defined] # as Python's warning calls it

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __repr__(self) -> str:
        return f"<{self._what}, which has to be awaited>"

    if not TYPE_CHECKING:  # type checkers say the same of every attribute

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"no {name!r} there yet: await {self._what} first")


class Connecting(Pending[A]):
    """An async client that is about to be connected: `await` it, or enter it."""

    __slots__ = ("_client",)

    async def __aenter__(self) -> A:
        self._client = await self
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()


def _after_fork() -> None:
    """Give a forked child empty pools and fresh locks; the parent's sockets are let go unused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for host in list(_hosts):
            runtime = host._runtime  # noqa: SLF001
            runtime.renew(closed=runtime.channels.closed)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
