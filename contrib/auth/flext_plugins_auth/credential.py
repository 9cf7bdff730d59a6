"""Credentials that stand in the settings, and a check that a header can carry them."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flext_plugins import ConfigError

if TYPE_CHECKING:
    from flext_plugins import Secret

    from .settings import AuthSettings

_SENDABLE = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


@dataclass(frozen=True, slots=True, eq=False)
class Credential:
    """A secret value for a header; `repr` does not show it."""

    value: str = field(repr=False)


def is_sendable(text: str) -> bool:
    """Whether a header can carry `text`; the client libraries would quote it in their error."""
    return _SENDABLE.fullmatch(text) is not None


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
            if ":" in reveal(settings.username):
                raise ConfigError("username: scheme 'basic' cannot carry a colon in it")
            return Credential(basic(reveal(settings.username), reveal(settings.password)))
        case "bearer":
            name, credential = "token", Credential(f"Bearer {reveal(settings.token)}")
        case "api-key":
            name, credential = "key", Credential(reveal(settings.key))
        case scheme:  # no secret leaves under a scheme that nobody wrote a branch for
            raise AssertionError(f"scheme {scheme!r} has no credential in its settings")
    if known is not None and known.value == credential.value:
        return known
    if not is_sendable(credential.value):
        raise ConfigError(f"{name}: is empty, or has characters that a header cannot carry")
    return credential


def basic(username: str, password: str) -> str:
    """The header's value for a user name and a password."""
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def reveal(secret: Secret | str | None) -> str:
    """The text of a secret, or an empty one if there is no secret.

    Raises:
        ConfigError: it cannot be read.
    """
    if secret is None or isinstance(secret, str):
        return secret or ""
    return secret.get_secret_value()
