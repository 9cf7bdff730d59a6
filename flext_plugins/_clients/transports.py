"""Transports that a service may name, and the clients that each can serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flext_plugins._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flext_plugins._service import Service

WORLDS = {
    "httpx": ("httpx", False),
    "httpx async": ("httpx", True),
    "httpx2": ("httpx2", False),
    "httpx2 async": ("httpx2", True),
    "requests": ("requests", False),
}
"""Each client library and whether it is awaited."""
_SERVES: Mapping[str, frozenset[str]] = {
    "default": frozenset(WORLDS),
    "own": frozenset(WORLDS) - {"requests"},
}
"""The worlds that each transport can serve."""


def transport_for(service: Service, library: str, *, asynchronous: bool) -> str:
    """The name of the transport that a client of this library gets.

    Raises:
        ConfigError: the service itself names one that cannot serve such a client.
    """
    worlds = _SERVES[service.transport]
    if (world := _world(library, asynchronous=asynchronous)) in worlds:
        return service.transport
    if service.transport_is_default:
        return "default"
    raise ConfigError(
        f"service {service.name!r} has transport = {service.transport!r}, which cannot serve "
        f"{world}: it serves {', '.join(each for each in WORLDS if each in worlds)}"
    )


def transports_of(service: Service) -> dict[str, str]:
    """By world the transport that its clients get; `none` where `connect` refuses."""
    found = {}
    for world, (library, asynchronous) in WORLDS.items():
        try:
            found[world] = transport_for(service, library, asynchronous=asynchronous)
        except ConfigError:
            found[world] = "none"
    return found


def _world(library: str, *, asynchronous: bool) -> str:
    return f"{library} async" if asynchronous else library
