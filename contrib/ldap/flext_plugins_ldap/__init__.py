"""Directories beside a service, and each call's user named to the service by headers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .directory import AsyncDirectory
from .entry import Entry, UpsertResult, User
from .errors import (
    AccountExpired,
    AccountLocked,
    AuthenticationFailed,
    DirectoryError,
    DirectoryUnavailable,
    InvalidCredentials,
    UserNotFound,
)
from .plugin import Ldap
from .settings import DirectorySettings, LdapSettings
from .sync import Directory

if TYPE_CHECKING:
    from . import ldif
else:

    def __getattr__(name: str) -> Any:
        """Load `ldif` when it is first used."""
        if name == "ldif":
            return import_module(".ldif", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AccountExpired",
    "AccountLocked",
    "AsyncDirectory",
    "AuthenticationFailed",
    "Directory",
    "DirectoryError",
    "DirectorySettings",
    "DirectoryUnavailable",
    "Entry",
    "InvalidCredentials",
    "Ldap",
    "LdapSettings",
    "UpsertResult",
    "User",
    "UserNotFound",
    "ldif",
]

for _name in __all__:
    if _name != "ldif":
        globals()[_name].__module__ = __name__  # where it is imported from, as tracebacks say
