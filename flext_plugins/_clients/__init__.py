"""The only modules that send: one folder for each client library."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from flext_plugins._errors import ConfigError

if TYPE_CHECKING:
    from flext_plugins._wire import Library


class SyncClient(Protocol):
    """An instance of what `connect` takes, as far as a type checker can tell."""

    def close(self) -> None: ...


class AsyncClient(Protocol):
    """An instance of what `aconnect` takes."""

    async def aclose(self) -> None: ...


FOLDERS = {"httpx": "httpx", "httpx2": "httpx", "requests": "requests"}
"""The client libraries, and the folder that serves each: its `library_of(module)`."""


@cache
def library(name: str) -> Library:
    """The client library `name`, imported if the program has not done so."""
    folder = import_module(f"{__name__}.{FOLDERS[name]}")
    chosen: Library = folder.library_of(import_module(name))
    return chosen


def is_transport(kind: type) -> bool:
    """Whether it is a class of transports, of which an application provides what makes them."""
    names = ("BaseTransport", "AsyncBaseTransport")
    modules = [module for name in FOLDERS if (module := sys.modules.get(name))]
    return any(getattr(module, name, None) is kind for module in modules for name in names)


def library_for(kind: type) -> Library:
    """The library that a client or transport class comes from.

    Raises:
        ConfigError: the class comes from none that we serve.
    """
    for base in kind.__mro__:
        root = base.__module__.partition(".")[0]
        for name in FOLDERS:
            # Not by name alone: openai renames the module of what it exports, httpx2's
            # `BaseTransport` among it.
            if root == name or getattr(sys.modules.get(name), base.__name__, None) is base:
                return library(name)
    raise ConfigError(
        f"cannot connect a {kind.__module__}.{kind.__qualname__}: "
        f"expected a client or transport class of {', '.join(FOLDERS)}"
    )
