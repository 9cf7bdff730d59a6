"""Transports that a service may name, and the clients that each can serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flext_plugins._config.service_checks import beyond_aiohttp
from flext_plugins._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flext_plugins._service import Service

WORLDS = ("httpx", "httpx async", "httpx2", "httpx2 async", "requests")
"""The client libraries, sync and awaited."""
_SERVES: Mapping[str, frozenset[str]] = {
    "default": frozenset(WORLDS),
    "own": frozenset(WORLDS) - {"requests"},
    "aiohttp": frozenset({"httpx async", "httpx2 async"}),
}
"""The worlds that each transport can serve."""


def transport_for(service: Service, library: str, *, asynchronous: bool) -> str:
    """The name of the transport that a client of this library gets.

    Raises:
        ConfigError: the service itself names one that cannot serve such a client.
    """
    world = f"{library} async" if asynchronous else library
    if (chosen := _chosen(service, world)) is not None:
        return chosen
    serves = _SERVES[service.transport]
    raise ConfigError(
        f"service {service.name!r} has transport = {service.transport!r}, which cannot serve "
        f"{world}: it serves {', '.join(each for each in WORLDS if each in serves)}"
    )


def transports_of(service: Service) -> dict[str, str]:
    """By world the transport that its clients get; `none` where `connect` refuses."""
    return {world: _chosen(service, world) or "none" for world in WORLDS}


def _chosen(service: Service, world: str) -> str | None:
    chosen, is_default = service.transport, service.transport_is_default
    is_beyond = chosen == "aiohttp" and is_default and beyond_aiohttp(service)
    if world in _SERVES[chosen] and not is_beyond:
        return chosen
    return "default" if is_default else None
