"""The part of a host that its transports, channels and plugins share behind `Host`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from flext_plugins import _clients
from flext_plugins._chain.singleflight import SingleFlight
from flext_plugins._clients.watchdog import Watchdog
from flext_plugins._composition import Composition, compose
from flext_plugins._connections.channels import Channels
from flext_plugins._connections.resource import is_one, kind_of
from flext_plugins._errors import ConfigError
from flext_plugins._logging import SECONDS, Occasions
from flext_plugins._permits import KeyedPermits
from flext_plugins._service import Provisions

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from flext_plugins._composition.catalog import Catalog
    from flext_plugins._config.models import HostConfig
    from flext_plugins._service import Service
    from flext_plugins._wire import Library

T = TypeVar("T")


class Runtime:
    """The composed services of one host, their open channels, and what these have in common.

    Args:
        config: what the services are.
        catalog: the plugin classes.
        provided: the application's objects by type; `provide` adds to it.

    Attributes:
        channels: the open connections.
        compositions: the services that are composed by now, by name.
        singleflight: the work that callers share (`connection.once`).
        permits: what callers wait for each other by (`connection.permit`).
        health: what the services were found to be like, when somebody asked last.
        asking: the services that sync code asks just now, and the answers to come.
        occasions: what was a warning in the log, and when.
        tls: TLS contexts, by what they were made of.
        watchdog: cuts the connections of sync calls at their deadlines.
        credentials: the senders of credentials, by the service to which, of those composed so far.
        waits: whether plugins wait and refuse; only the kit's `without_waiting` says no.
    """

    def __init__(self, config: HostConfig, catalog: Catalog, provided: dict[type, Any]) -> None:
        self._config, self._catalog, self._provided = config, catalog, provided
        self.waits = True
        self.watchdog = Watchdog()
        self.renew()

    def renew(self, *, closed: bool = False) -> None:
        """Start anew: nothing of this may be inherited by a forked child."""
        self._lock = threading.RLock()
        self.compositions: dict[str, Composition] = {}
        self._shared: dict[type, Any] = {}
        self._kinds: dict[str, set[type]] = {}  # by service: the types that its plugins asked for
        self.tls: dict[Any, Any] = {}
        self.credentials: dict[str, str] = {}
        self.watchdog = self.watchdog.renewed()
        self.singleflight = SingleFlight()
        self.permits = KeyedPermits()
        self.occasions = Occasions(SECONDS)
        self.health: dict[str, Any] = {}
        self.asking: dict[str, Future[Any]] = {}
        self.asking_lock = threading.Lock()
        self.channels = Channels(self, closed=closed)

    def provide(self, kind: type, value: Any) -> None:
        """Add an object of the application's.

        Raises:
            ConfigError: it is of another type, or it comes too late.
        """
        if not isinstance(kind, type):
            raise ConfigError(f"host.provide takes a type and an instance of it, not {kind!r}")
        what = f"host.provide({kind.__name__}, ...)"
        makes_it = _clients.is_transport(kind)
        if not (callable(value) if makes_it else is_one(value, kind)):
            wanted = "a function that makes one for a service" if makes_it else "an instance of it"
            raise ConfigError(f"{what} takes {wanted}, not {kind_of(value)}")
        with self._lock:
            if self.channels.closed:
                raise ConfigError(f"{what} comes too late: the host is closed")
            if self._provided.get(kind) is value:
                return
            for service, kinds in self._kinds.items():
                if kind in kinds:
                    raise ConfigError(
                        f"{what} comes too late: a plugin of service {service!r} has asked for it. "
                        "Call it before anything connects or is checked"
                    )
            if kind in self._provided:
                raise ConfigError(f"{what} was called before; a type stands for one object")
            self._provided[kind] = value

    def maker(self, service: Service, kind: Any) -> Callable[[Service], Any]:
        """The function that makes transports of that kind for a service that has its own.

        Raises:
            ConfigError: the application provided nothing.
        """
        if (factory := self._provided.get(kind)) is None:
            what = f"host.provide({kind.__module__.partition('.')[0]}.{kind.__name__}, factory)"
            raise ConfigError(
                f"service {service.name!r} has transport = 'own', and nothing makes one: "
                f"call {what}; factory(service) gives a transport"
            )
        made: Callable[[Service], Any] = factory
        return made

    @property
    def default_library(self) -> Library:
        """The library that makes messages outside of an exchange."""
        return _clients.library("httpx")

    def composed(self, name: str) -> Composition:
        """The service with its plugin instances, composed once.

        Raises:
            FlextError: the service cannot be composed.
        """
        composition = self.compositions.get(name)
        return composition if composition is not None else self._compose(name, ())

    def _compose(self, name: str, path: tuple[str, ...]) -> Composition:
        with self._lock:
            if name in path:
                loop = " -> ".join([*path[path.index(name) :], name])
                raise ConfigError(f"services would log in at each other for ever: {loop}")
            if (composition := self.compositions.get(name)) is not None:
                return composition
            provided, made = Provisions(self._provided), len(self._shared)
            try:
                composition = compose(name, self._config, self._catalog, provided, self._share)
                for target in sorted(composition.edges - {name}):
                    self._compose(target, (*path, name))
            except BaseException:
                if len(self._shared) > made:  # what was made of an answer stays; else all ask anew
                    self._kinds[name] = provided.kinds
                raise
            provided.kinds |= self._kinds.get(name, set())
            self._kinds[name] = provided.kinds
            for target, who in composition.credentials.items():
                self.credentials.setdefault(target, who)
            self.compositions[name] = composition
            return composition

    def _share(self, kind: type[T], factory: Callable[[], T]) -> T:
        with self._lock:
            if kind not in self._shared:
                self._shared[kind] = factory()
            value: T = self._shared[kind]
            return value
