"""Composes credentials, metrics, traces, breakers and more around each service connection."""

# The layers, each using only those below it:
#
#   testing                 the kit that plugins are tested with, pytest fixtures
#   cli                     the command
#   host, lifetimes         owns services and connections, closes them
#   problem                 what an error status means
#   clients, composition    the libraries that send; names -> ordered layers (config, catalog,
#                           discovery, endpoint, settings, provenance, explanation belong to it)
#   line, connection        one open connection, and what plugins may use of it
#   chain, messages, drive, layer    plugins in their places -> one callable, awaited or driven
#   flight                  work that concurrent callers share
#   service, message, events, errors, deadline, redaction    what is talked about
#   hookspecs               the contract: six hooks, and pluggy

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .hookspecs import Stage, hookimpl

if TYPE_CHECKING:
    from . import events
    from .config import HostConfig, ServiceConfig
    from .connection import Connection
    from .discovery import InstalledPlugin, installed
    from .endpoint import ServiceURL
    from .errors import (
        ConfigError,
        DeadlineExceeded,
        FlextError,
        PluginConflict,
        PluginError,
        PluginIncompatible,
        PluginNotFound,
        Refused,
        ServiceError,
    )
    from .host import Host
    from .message import Failure, Request, Response
    from .problem import raise_for_status
    from .service import Call, Operation, Service, options
    from .settings import Secret, ServiceName

__version__ = "1.0.0"

_HOMES = {
    "config": ("HostConfig", "ServiceConfig"),
    "connection": ("Connection",),
    "discovery": ("InstalledPlugin", "installed"),
    "endpoint": ("ServiceURL",),
    "errors": (
        *("ConfigError", "DeadlineExceeded", "FlextError", "PluginConflict", "PluginError"),
        *("PluginIncompatible", "PluginNotFound", "Refused", "ServiceError"),
    ),
    "host": ("Host",),
    "message": ("Failure", "Request", "Response"),
    "problem": ("raise_for_status",),
    "service": ("Call", "Operation", "Service", "options"),
    "settings": ("Secret", "ServiceName"),
}
_LAZY = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Call",
    "ConfigError",
    "Connection",
    "DeadlineExceeded",
    "Failure",
    "FlextError",
    "Host",
    "HostConfig",
    "InstalledPlugin",
    "Operation",
    "PluginConflict",
    "PluginError",
    "PluginIncompatible",
    "PluginNotFound",
    "Refused",
    "Request",
    "Response",
    "Secret",
    "Service",
    "ServiceConfig",
    "ServiceError",
    "ServiceName",
    "ServiceURL",
    "Stage",
    "events",
    "hookimpl",
    "installed",
    "options",
    "raise_for_status",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name == "events":
        return import_module(".events", __name__)
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
