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

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._publication import publish
from .hookspecs import Stage, hookimpl

if TYPE_CHECKING:
    from . import events
    from ._call import Call, options
    from ._config.models import HostConfig, ServiceConfig
    from ._config.secrets import Secret, ServiceName, ServiceURL
    from ._connections.connection import Connection
    from ._discovery import InstalledPlugin, installed
    from ._errors import (
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
    from ._host import Host
    from ._messages import Failure, Request, Response
    from ._service import Operation, Service
    from ._service_errors import raise_for_status

__version__ = "1.0.0"

_HOMES = {
    "_call": ("Call", "options"),
    "_discovery": ("InstalledPlugin", "installed"),
    "_config.models": ("HostConfig", "ServiceConfig"),
    "_config.secrets": ("Secret", "ServiceName", "ServiceURL"),
    "_connections.connection": ("Connection",),
    "_errors": (
        *("ConfigError", "DeadlineExceeded", "FlextError", "PluginConflict", "PluginError"),
        *("PluginIncompatible", "PluginNotFound", "Refused", "ServiceError"),
    ),
    "_host": ("Host",),
    "_messages": ("Failure", "Request", "Response"),
    "_service": ("Operation", "Service"),
    "_service_errors": ("raise_for_status",),
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
    import_module(f".{_LAZY[name]}", __name__)
    _publish_loaded()
    return globals()[name]


def _publish_loaded() -> None:
    """Bring the public names of all modules that are loaded by now here, and publish them."""
    loaded = {
        name: getattr(sys.modules[f"{__name__}.{home}"], name)
        for name, home in _LAZY.items()
        if name not in globals() and f"{__name__}.{home}" in sys.modules
    }
    globals().update(loaded)
    publish(__name__, loaded.values(), {"Call": import_module("._call", __name__).Call})


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


publish(__name__, (Stage,))
