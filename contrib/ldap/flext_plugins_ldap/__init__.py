"""A directory beside each service, and the call's user named to it."""

from .directory import AsyncDirectory, Entry, Upserted, User
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

__all__ = [
    "AccountExpired",
    "AccountLocked",
    "AsyncDirectory",
    "AuthenticationFailed",
    "DirectoryError",
    "DirectorySettings",
    "DirectoryUnavailable",
    "Entry",
    "InvalidCredentials",
    "Ldap",
    "LdapSettings",
    "Upserted",
    "User",
    "UserNotFound",
]
