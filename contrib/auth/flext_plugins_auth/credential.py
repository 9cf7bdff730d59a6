"""Credentials that stand in the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flext_plugins import ConfigError
from flext_plugins.http import basic_credentials, is_header_value

if TYPE_CHECKING:
    from flext_plugins import Secret

    from .settings import AuthSettings


@dataclass(frozen=True, slots=True, eq=False)
class Credential:
    """A secret value for a header; `repr` does not show it."""

    value: str = field(repr=False)


def static_credential(settings: AuthSettings, known: Credential | None = None) -> Credential:
    """The credential of a scheme that fetches none; references are read anew at each call.

    Args:
        settings: hold the secrets.
        known: the latest result, which is returned again if nothing has changed.

    Raises:
        ConfigError: a secret cannot be read, or a header cannot carry it.
    """
    match settings.scheme:
        case "basic":
            pair = basic_credentials(reveal(settings.username), reveal(settings.password))
            if pair is None:
                raise ConfigError(
                    "username: scheme 'basic' can carry no colon in it, "
                    "and no control characters in user or password"
                )
            return Credential(pair)
        case "bearer":
            name, prefix, secret = "token", "Bearer ", settings.token
        case "api-key":
            name, prefix, secret = "key", "", settings.key
        case scheme:  # no secret leaves under a scheme that nobody wrote a branch for
            raise AssertionError(f"scheme {scheme!r} has no credential in its settings")
    credential = Credential(reveal(secret))
    if known is not None and known.value == prefix + credential.value:
        return known
    if not is_header_value(credential.value):
        raise ConfigError(f"{name}: {_unsendable(secret, credential.value)}")
    return Credential(prefix + credential.value)


def _unsendable(secret: Secret | None, value: str) -> str:
    """Say what is wrong with a value, and where it comes from."""
    where = f"{secret.reference}: " if secret is not None and secret.reference else ""
    if not value:
        return f"{where}is empty"
    if "\n" in value or "\r" in value:
        return f"{where}has a line break, which a header cannot carry"
    return f"{where}has characters that a header cannot carry"


def reveal(secret: Secret | str | None) -> str:
    """The text of a secret, or an empty one if there is no secret.

    Raises:
        ConfigError: it cannot be read.
    """
    if secret is None or isinstance(secret, str):
        return secret or ""
    return secret.get_secret_value()
