"""The errors of a directory, typed by what the caller can do about them.

    FlextError
    └── DirectoryError              the directory said no: see `code`
        ├── DirectoryUnavailable    it cannot be reached, or did not answer: try later
        ├── UserNotFound            nobody has that name
        └── AuthenticationFailed    tell the user no more than that
            ├── InvalidCredentials  the name, the password, or both
            ├── AccountLocked       after too many wrong passwords, or by hand
            └── AccountExpired      the password is right and has to be changed first

`ldif.LdifError`, about a file, is a `FlextError` too.
If the directory does not accept the settings, it is a `ConfigError`, as everywhere.
"""

from __future__ import annotations

from flext_plugins import Failure, FlextError


class DirectoryError(FlextError):
    """The directory refused an operation, or the operation could not be encoded.

    Attributes:
        code: LDAP's result code; `None` if nothing was sent.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class DirectoryUnavailable(DirectoryError):
    """The directory did not answer.

    Attributes:
        failure: the place on the wire, for circuit-breaker and retry.
    """

    failure = Failure.READ


class Unreachable(DirectoryUnavailable):
    """Nothing was sent: there is no connection, or none that can be trusted."""

    failure = Failure.CONNECT


class Late(DirectoryUnavailable):
    """No answer came in time."""

    failure = Failure.TIMEOUT


class Garbled(DirectoryUnavailable):
    """The answer is not LDAP."""

    failure = Failure.PROTOCOL


class Exhausted(DirectoryUnavailable):
    """All connections were busy: our own congestion."""

    failure = Failure.POOL


class Referral(DirectoryError):
    """The server refers to other servers.

    Attributes:
        urls: the addresses of those servers.
    """

    def __init__(self, urls: tuple[str, ...]) -> None:
        super().__init__(
            "the directory refers to another server; referral_hosts lists those that may be asked",
            10,
        )
        self.urls = urls


class UserNotFound(DirectoryError):
    """Nobody has that name, or more than one."""

    def __init__(self, message: str = "no such user", code: int | None = None) -> None:
        super().__init__(message, code)


class AuthenticationFailed(DirectoryError):
    """Nobody was authenticated; the subclasses differ in their name alone."""

    def __init__(self) -> None:
        super().__init__("authentication failed")

    def __reduce__(self) -> tuple[type[AuthenticationFailed], tuple[()], dict[str, object]]:
        return type(self), (), vars(self)


class InvalidCredentials(AuthenticationFailed):
    """The name, the password or both are wrong."""


class AccountLocked(AuthenticationFailed):
    """Too many wrong passwords, or an administrator locked it."""


class AccountExpired(AuthenticationFailed):
    """The password is right, and has to be changed before anything else."""
