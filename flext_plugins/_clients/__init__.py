"""The only modules that send: one for each shape of client library."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from flext_plugins._errors import ConfigError

if TYPE_CHECKING:
    from flext_plugins._service import Service


class SyncClient(Protocol):
    """An instance of what `connect` takes, as far as a type checker can tell."""

    def close(self) -> None: ...


class AsyncClient(Protocol):
    """An instance of what `aconnect` takes."""

    async def aclose(self) -> None: ...


LIBRARIES = ("httpx", "httpx2", "requests")


@cache
def library(name: str) -> Any:
    """What is needed of a client library that the program has imported, or of httpx."""
    if name == "requests":
        from flext_plugins._clients.requests import Library  # noqa: PLC0415 - for those who use it

        return Library()
    if name == "httpx":
        import httpx  # noqa: F401, PLC0415 - the default
    from flext_plugins._clients.httpx import library_of  # noqa: PLC0415

    return library_of(sys.modules[name])


def library_for(kind: type) -> Any:
    """The library that a client or transport class comes from.

    Raises:
        ConfigError: none that we serve.
    """
    for base in kind.__mro__:
        root = base.__module__.partition(".")[0]
        for name in LIBRARIES:
            # Not by name alone: openai renames the module of what it exports, httpx2's
            # `BaseTransport` among it.
            if root == name or getattr(sys.modules.get(name), base.__name__, None) is base:
                return library(name)
    raise ConfigError(
        f"cannot connect a {kind.__module__}.{kind.__qualname__}: "
        f"expected a client or transport class of {', '.join(LIBRARIES)}"
    )


def wire(name: str, service: Service, *, asynchronous: bool, tls: Any) -> Any:
    """A new way to `service` through the library `name`; `tls` is the host's cache of contexts."""
    return library(name).wire(service, asynchronous=asynchronous, tls=tls)
