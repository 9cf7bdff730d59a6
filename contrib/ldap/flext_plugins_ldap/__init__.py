"""A directory beside each service, and the call's user named to it."""

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
]
