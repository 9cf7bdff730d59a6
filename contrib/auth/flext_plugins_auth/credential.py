"""Credentials that are configured as they are, and what a header can carry of any."""

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
    """Something secret to be sent; `repr` does not show it."""

    value: str = field(repr=False)


def is_sendable(text: str) -> bool:
    """Whether a header can carry `text`; the client libraries' own error would quote it."""
    return _SENDABLE.fullmatch(text) is not None


def static_credential(settings: AuthSettings, known: Credential | None = None) -> Credential:
    """What the header says for the schemes that fetch nothing; references are read now.

    Args:
        settings: where the secrets stand.
        known: what came of it last, which is given again where it is the same.

    Raises:
        ConfigError: a secret cannot be read, or a header cannot carry it.
    """
    if settings.scheme == "basic":
        if ":" in reveal(settings.username):
            raise ConfigError("username: scheme 'basic' cannot carry a colon in it")
        return Credential(basic(reveal(settings.username), reveal(settings.password)))
    name, prefix = ("token", "Bearer ") if settings.scheme == "bearer" else ("key", "")
    if known is not None and known.value == prefix + reveal(getattr(settings, name)):
        return known
    credential = Credential(prefix + reveal(getattr(settings, name)))
    if not is_sendable(credential.value):
        raise ConfigError(f"{name}: is empty, or has characters that a header cannot carry")
    return credential


def basic(username: str, password: str) -> str:
    """The header for both."""
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def reveal(secret: Secret | str | None) -> str:
    """What it holds, and nothing for none.

    Raises:
        ConfigError: it cannot be read.
    """
    if secret is None or isinstance(secret, str):
        return secret or ""
    return secret.get_secret_value()
