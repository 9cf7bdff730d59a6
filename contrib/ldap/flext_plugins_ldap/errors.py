"""What can go wrong with a directory, typed by what the caller can do about it.

    FlextError
    └── DirectoryError                  the directory said no: see `code`, `described`
        ├── DirectoryUnavailable        it could not be asked, or did not answer: try later
        ├── UserNotFound                nobody has that name
        └── AuthenticationFailed        tell them no more than that
            ├── InvalidCredentials      the name, the password, or both
            ├── AccountLocked           after too many wrong passwords, or by hand
            └── AccountExpired          the password is right and must be changed first
"""

from __future__ import annotations

from flext_plugins import Failure, FlextError


class DirectoryError(FlextError):
    """The directory refused an operation.

    Attributes:
        code: the LDAP result code, or `None` where nothing was sent.
    """

    def __init__(self, message: str = "", code: int | None = None) -> None:
        super().__init__(message or type(self).__name__)
        self.code = code


class DirectoryUnavailable(DirectoryError):
    """No connection, no TLS that could be trusted, or no answer.

    Attributes:
        failure: where on the wire; breaker and retry act on it.
    """

    failure = Failure.READ


class DirectoryUnreachable(DirectoryUnavailable):
    """Nothing was asked: no connection, or no TLS that could be trusted."""

    failure = Failure.CONNECT


class DirectoryTimeout(DirectoryUnavailable):
    """No answer in time."""

    failure = Failure.TIMEOUT


class UserNotFound(DirectoryError):
    """Nobody has that name."""


class AuthenticationFailed(DirectoryError):
    """Nobody was authenticated. The kinds differ by their class's name alone."""


class InvalidCredentials(AuthenticationFailed):
    """The name, the password or both are wrong."""


class AccountLocked(AuthenticationFailed):
    """Too many wrong passwords, or an administrator locked it."""


class AccountExpired(AuthenticationFailed):
    """The password is right, and has to be changed before anything else."""
