"""An adapter of each library for each table that it belongs to."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any

OURS = "flext-plugins"
TABLES = {
    "breaker": (
        OURS,
        "interlock-cb",
        "clientwright",
        "httpware",
        "pybreaker",
        "purgatory",
        "circuitbreaker",
        "aiobreaker",
    ),
    "auth": (OURS, "authlib", "httpx-auth", "clientwright", "httpware"),
    "retry": (OURS, "httpx-retries", "tenacity", "clientwright", "httpware"),
    "clients": (
        OURS,
        "clientwright",
        "httpware",
        "interlock-cb",
        "authlib",
        "httpx-auth",
        "httpx-retries",
    ),
}
"""The columns of each table, by distribution."""
CLASSES = {"breaker": "Breaker", "auth": "Auth", "retry": "Retry", "clients": "Stack"}
NAMES = tuple(dict.fromkeys(name for names in TABLES.values() for name in names))


def adapter(table: str, name: str) -> Any:
    """The adapter of the distribution `name` for that table."""
    module = import_module(f".{name.replace('-', '_')}", __name__)
    return getattr(module, CLASSES[table])


def version(name: str) -> str | None:
    """Which version of it is installed, if any."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
