"""Composes credentials, metrics, traces, breakers and more around each service connection."""

# The map. Public: this module, hookspecs, events, http, redaction, status, testing, cli. The rest,
# from the top, each layer using only those below it; tests/test_imports.py holds that:
#
#   _host                   the face: reads the configuration, hands out clients, closes everything
#   status, _health         what goes on in a host and how its services are, for who looks in, over
#                           HTTP too (_status_app, _status_page)
#   _runtime                what the clients and plugins of one host share behind it
#   _service_errors         what an error status means: raise_for_status
#   _clients                the only modules that send: a folder for each client library, with its
#                           way in (client) and its way out (wire)
#   _composition            names in a configuration -> a service with its plugins in their order
#   _connections            open connections (channels), and what plugins are handed of them
#   _chain                  plugins in their places -> one callable, awaited or driven
#   _deadline, events       what ends in time, and what is told
#   _permits, _waiting      who may go on, and waiting for other callers
#   _config                 settings: their shape, files and variables, secrets, what is wrong
#   _call, _service, _wire  a call, a service, and what the core needs of a client library
#   _discovery, _messages, _masking, _logging, redaction, http, _errors    what everybody uses
#   hookspecs               the contract: all hooks on one page, and pluggy
#
# docs/explanation/life-of-a-request.md follows one request through it, and says where to look for
# what: redirects, clones, resends, deadlines, errors of plugins.

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._publication import publish
from ._version import __version__ as __version__
from .hookspecs import Stage, hookimpl

if TYPE_CHECKING:
    from . import events
    from ._call import Call, options
    from ._config.models import HostConfig, Seconds, ServiceConfig
    from ._config.secrets import Secret, ServiceName, ServiceURL
    from ._connections.connection import Connection
    from ._discovery import InstalledPlugin, installed
    from ._errors import (
        AnswerTooLong,
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
    from ._messages import Failure, Request, Response, Send
    from ._permits import Permit
    from ._service import Operation, Proceed, Service, Status
    from ._service_errors import raise_for_status

_HOMES = {
    "_call": ("Call", "options"),
    "_discovery": ("InstalledPlugin", "installed"),
    "_config.models": ("HostConfig", "Seconds", "ServiceConfig"),
    "_config.secrets": ("Secret", "ServiceName", "ServiceURL"),
    "_connections.connection": ("Connection",),
    "_errors": (
        *("AnswerTooLong", "ConfigError", "DeadlineExceeded", "FlextError", "PluginConflict"),
        *("PluginError", "PluginIncompatible", "PluginNotFound", "Refused", "ServiceError"),
    ),
    "_host": ("Host",),
    "_messages": ("Failure", "Request", "Response", "Send"),
    "_permits": ("Permit",),
    "_service": ("Operation", "Proceed", "Service", "Status"),
    "_service_errors": ("raise_for_status",),
}
_LAZY = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AnswerTooLong",
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
    "Permit",
    "PluginConflict",
    "PluginError",
    "PluginIncompatible",
    "PluginNotFound",
    "Proceed",
    "Refused",
    "Request",
    "Response",
    "Seconds",
    "Secret",
    "Send",
    "Service",
    "ServiceConfig",
    "ServiceError",
    "ServiceName",
    "ServiceURL",
    "Stage",
    "Status",
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
