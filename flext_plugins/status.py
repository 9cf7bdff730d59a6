"""A running host, as somebody who looks in from outside sees it, from a program or over HTTP."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping  # noqa: TC003 - `typing.get_type_hints` looks here
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from flext_plugins._config.service_checks import address_of
from flext_plugins._publication import publish
from flext_plugins._service import JSON  # noqa: TC001 - as above
from flext_plugins._version import __version__
from flext_plugins.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from pydantic import SecretStr

    from flext_plugins._config.models import HostConfig
    from flext_plugins._connections.channel import Channel
    from flext_plugins._host import Host
    from flext_plugins._runtime import Runtime

STARTED = time.time()
"""When this process began, as far as we know: on the clock of `time.time`."""


@dataclass(frozen=True, slots=True)
class PluginVersion:
    """A plugin of a service."""

    name: str
    distribution: str | None
    """`None` for one that was registered in code."""
    version: str | None


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """An open connection to a service: that of sync code, or that of one event loop."""

    world: Literal["sync", "async"]
    under_way: int
    """Exchanges that have a permit, until their bodies have ended."""
    waiting: int
    """Exchanges that wait for a permit."""
    limit: int
    """How many may be under way at a time, all client libraries together."""
    plugins: Mapping[str, Mapping[str, JSON]]
    """The facts that each plugin reports of itself, by its name: circuits, the age of a token, a
    budget; never a secret."""


@dataclass(frozen=True, slots=True)
class ResourceHealth:
    """A resource that a service lends, as its own `health()` has it."""

    kind: str
    """The name of its type."""
    name: str | None
    """Its own, where a service lends several of the type."""
    plugin: str
    healthy: bool
    """Not if its `health()` raised, gave `False` or something whose `healthy` is `False`."""
    problem: str
    """What is wrong; empty if all is well."""
    latency: float
    """Seconds: the result's `latency`, else those that `health()` took."""
    version: str | None = None
    """Of what it stands for, where it says so."""


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """A service, as it was found to be when it was asked."""

    healthy: bool
    problem: str
    """What is wrong, with it or a resource of it; empty if all is well."""
    checked: float
    """When it was asked, in seconds since 1970."""
    reachable: bool | None = None
    """Whether an answer came; `None` if nothing was sent."""
    tls: Literal["verified", "not verified", "failed"] | None = None
    """`None` where there is no TLS, or no answer for another reason."""
    credential: Literal["accepted", "refused", "missing"] | None = None
    """`refused` by a status of 401, 403 or 407, `accepted` by any other, `missing` if a plugin
    could not get one; `None` where none is sent, or nothing was answered."""
    status: int | None = None
    """The answer's."""
    latency: float | None = None
    """Seconds until the answer's headers, with what plugins did before."""
    version: str | None = None
    """The `version` in the answer's body, if that is an object in JSON."""
    resources: tuple[ResourceHealth, ...] = ()
    """Those that have a `health()`."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as `json.dumps` takes it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service."""

    base_url: str
    """Without what is secret in it; empty where the service only lends."""
    plugins: tuple[PluginVersion, ...]
    """Outermost first; none until the service is used for the first time."""
    connections: tuple[ConnectionStatus, ...]
    health: ServiceHealth | None = None
    """What `host.health()` found last, in this process; `None` if nobody asked."""


@dataclass(frozen=True, slots=True)
class HostStatus:
    """A host, at one moment."""

    process: int
    started: float
    """When the process began to use flext-plugins, in seconds since 1970."""
    version: str
    """Of flext-plugins."""
    closed: bool
    sources: tuple[str, ...]
    """Where the configuration came from: files, variables, `code`."""
    services: Mapping[str, ServiceStatus]
    """Those that are configured, and others that plugins have asked, by name."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as `json.dumps` takes it."""
        return asdict(self)


def status_of(config: HostConfig, runtime: Runtime) -> HostStatus:
    """Look at a host; from any thread, and without opening or composing anything."""
    channels: dict[str, list[Channel]] = {name: [] for name in config.services}
    for channel in runtime.channels.open():
        channels.setdefault(channel.service.name, []).append(channel)
    services = {name: _service(config, name, runtime, opened) for name, opened in channels.items()}
    sources = tuple(dict.fromkeys(config.sources.values()))
    closed = runtime.channels.closed
    return HostStatus(os.getpid(), STARTED, __version__, closed, sources, services)


def _service(
    config: HostConfig, name: str, runtime: Runtime, channels: list[Channel]
) -> ServiceStatus:
    own, composition = config.services.get(name), runtime.compositions.get(name)
    url = name if own is None else address_of(own)[0]
    layers = composition.layers if composition is not None else ()
    return ServiceStatus(
        redact(url),
        tuple(PluginVersion(each.name, each.distribution, each.version) for each in layers),
        tuple(map(_connection, channels)),
        runtime.health.get(name),
    )


def _connection(channel: Channel) -> ConnectionStatus:
    facts = {name: state.facts for name, state in channel.status().items()}
    return ConnectionStatus("async" if channel.asynchronous else "sync", *channel.load, facts)


def asgi(
    host: Host, *, token: str | SecretStr, names: Iterable[str] = ()
) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """An ASGI application that shows the status of `host`, to be mounted where you like.

    Args:
        host: the host that is looked at.
        token: what a request has to carry, as `Authorization: Bearer`.
        names: DNS names under which it may be asked, beside `localhost` and any IP address.

    Raises:
        ConfigError: the token is shorter than 16 characters, or cannot be sent in a header.
    """
    from flext_plugins import _status_app  # noqa: PLC0415 - for those who serve it

    return _status_app.asgi(_status_app.StatusApp(host, token, names))


def wsgi(
    host: Host, *, token: str | SecretStr, names: Iterable[str] = ()
) -> Callable[[dict[str, Any], Callable[..., Any]], list[bytes]]:
    """A WSGI application that shows the status of `host`; see `asgi`."""
    from flext_plugins import _status_app  # noqa: PLC0415 - for those who serve it

    return _status_app.wsgi(_status_app.StatusApp(host, token, names))


__all__ = [
    "ConnectionStatus",
    "HostStatus",
    "PluginVersion",
    "ResourceHealth",
    "ServiceHealth",
    "ServiceStatus",
    "asgi",
    "wsgi",
]

publish(__name__, [globals()[name] for name in __all__])
