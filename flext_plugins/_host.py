"""The host: reads the configuration, finds plugins, owns connections, closes them."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload
from weakref import WeakSet

from flext_plugins import _clients as clients
from flext_plugins._chain.drive import drive
from flext_plugins._chain.singleflight import Flights
from flext_plugins._composition import Composition, compose
from flext_plugins._composition.catalog import Catalog
from flext_plugins._composition.explanation import Explanation, explain
from flext_plugins._config.load import load
from flext_plugins._config.models import HostConfig
from flext_plugins._config.validation import report
from flext_plugins._connections.channels import Lines
from flext_plugins._errors import ConfigError, FlextError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Self

    import httpx

    from flext_plugins._connections.channel import Line
    from flext_plugins._wire import Wire

S = TypeVar("S", bound=clients.SyncClient)
A = TypeVar("A", bound=clients.AsyncClient)
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
        self._catalog = Catalog()
        self._provided: dict[type, Any] = {}
        self._fresh()
        _hosts.add(self)

    def _fresh(self, *, closed: bool = False) -> None:
        """Everything that a forked child must not inherit."""
        self._lock = threading.RLock()
        self._compositions: dict[str, Composition] = {}
        self._shared: dict[type, Any] = {}
        self._tls: dict[Any, Any] = {}
        self._lines = Lines(self, self.composed, closed=closed)
        self.flights = Flights()

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
        """Hand an object of the application's to plugins, which ask `service.resource(kind)`."""
        self._provided[kind] = value

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
        made = self._client(service, client, client_options, asynchronous=False)
        drive(self.line(service, asynchronous=False), self.composed(service).layers)
        return made

    @overload
    def aconnect(
        self, service: str, client: None = None, **client_options: Any
    ) -> Connecting[httpx.AsyncClient]: ...
    @overload
    def aconnect(self, service: str, client: type[A], **client_options: Any) -> Connecting[A]: ...
    def aconnect(self, service: str, client: Any = None, **client_options: Any) -> Connecting[Any]:
        """The same for async clients: `async with` it, or `await` it.

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

        async def connect() -> Any:
            made = self._client(service, client, client_options, asynchronous=True)
            await self.line(service, asynchronous=True)
            return made

        return Connecting(connect)

    def _client(
        self, service: str, client: type, options: dict[str, Any], *, asynchronous: bool
    ) -> Any:
        library = clients.library_for(client)
        if library.is_async(client) is not asynchronous:
            method = "connect" if asynchronous else "aconnect"
            raise ConfigError(f"{client.__qualname__} wants host.{method}(...)")
        composed = self.composed(service).service
        if composed.base_url is None:
            raise ConfigError(f"service {service!r} has no base_url: it only lends resources")
        return library.client(client, self, composed, dict(options))

    def transport(self, service: str, kind: type[T]) -> T:
        """What `connect` puts into a client, to be put into a client of one's own.

        Args:
            service: its name in the configuration.
            kind: `httpx.BaseTransport` or `httpx.AsyncBaseTransport`.

        Raises:
            FlextError: the service cannot be composed; it is opened by its first request.
        """
        self.composed(service)
        made: T = clients.library_for(kind).transport(kind, self, service)
        return made

    def resource(self, service: str, kind: type[T], name: str | None = None) -> T:
        """What a plugin of `service` lends, by its type; opens the connection.

        Raises:
            ConfigError: it lends none, or several and no `name` was given.
            FlextError: the service cannot be composed or opened.
        """
        layers = self.composed(service).layers  # before there is a coroutine that nobody awaits
        return drive(self.line(service, asynchronous=False), layers).find(kind, name)

    async def aresource(self, service: str, kind: type[T], name: str | None = None) -> T:
        """The same for the running event loop."""
        return (await self.line(service, asynchronous=True)).find(kind, name)

    def explain(self, service: str) -> Explanation:
        """The onion of `service`: who stands where, from which distribution, with which settings.

        Raises:
            FlextError: the service cannot be composed.
        """
        return explain(self.composed(service))

    def check(self, *services: str) -> None:
        """Compose the named services, or all, as connecting to them would.

        Raises:
            FlextError: the problem, or a `ConfigError` with all of them.
        """
        problems: list[FlextError] = []
        for name in services or self.services:
            try:
                self.composed(name)
            except FlextError as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            found = [
                f"{error.service}: {text}" if error.service and text else text or str(error)
                for error in problems
                for text in getattr(error, "problems", [""])
            ]
            raise report(list(dict.fromkeys(found)))

    def composed(self, name: str) -> Composition:
        """The service with its plugin instances, made once."""
        found = self._compositions.get(name)
        return found if found is not None else self._compose(name, ())

    def _compose(self, name: str, path: tuple[str, ...]) -> Composition:
        with self._lock:
            if name in path:
                loop = " -> ".join([*path[path.index(name) :], name])
                raise ConfigError(f"services would log in at each other for ever: {loop}")
            if (found := self._compositions.get(name)) is not None:
                return found
            made = compose(name, self._config, self._catalog, self._provided, self._share)
            for target in sorted(made.edges - {name}):
                self._compose(target, (*path, name))
            self._compositions[name] = made
            return made

    def _share(self, kind: type[T], factory: Callable[[], T]) -> T:
        with self._lock:
            if kind not in self._shared:
                self._shared[kind] = factory()
            value: T = self._shared[kind]
            return value

    def wire(self, line: Line, library: str) -> Wire:
        """A new way to the network for `line`."""
        made: Wire = clients.wire(
            library, line.service, asynchronous=line.asynchronous, tls=self._tls
        )
        return made

    def opened(self, service: str, *, asynchronous: bool) -> Line | None:
        """The connection to `service` in this world, if it is open."""
        return self._lines.opened(service, asynchronous=asynchronous)

    async def line(self, service: str, *, asynchronous: bool) -> Line:
        """The open connection to `service` in this world, opened if it is not."""
        return await self._lines.get(service, asynchronous=asynchronous)

    def close(self) -> None:
        """Close every connection and what plugins provided; closing twice is fine.

        Raises:
            ExceptionGroup: all that went wrong on the way.
        """
        if failures := self._lines.close():
            raise ExceptionGroup("closing the host", failures)

    async def aclose(self) -> None:
        """The same from inside an event loop.

        Raises:
            ExceptionGroup: all that went wrong on the way.
        """
        if failures := await self._lines.aclose():
            raise ExceptionGroup("closing the host", failures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class Connecting(Generic[A]):
    """What `aconnect` gives: `await` it, or enter it."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._client: Any = None

    def __await__(self) -> Generator[Any, None, A]:
        found: Generator[Any, None, A] = self._connect().__await__()
        return found

    async def __aenter__(self) -> A:
        self._client = await self._connect()
        client: A = self._client
        return client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()


def _after_fork() -> None:
    """In the child: empty pools and fresh locks; the parent's sockets are let go unused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for host in list(_hosts):
            host._fresh(closed=host._lines.closed)  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
