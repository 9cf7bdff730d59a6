"""Credentials that are configured as they are, and what a header can carry of any."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING

from flext_plugins import ConfigError

if TYPE_CHECKING:
    from flext_plugins import Secret

    from .settings import AuthSettings

_SENDABLE = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


def is_sendable(text: str) -> bool:
    """Whether a header can carry `text`; the client libraries' own error would quote it."""
    return _SENDABLE.fullmatch(text) is not None


def configured(settings: AuthSettings) -> str:
    """What the header says for every scheme but `login`; references are read now.

    Raises:
        ConfigError: a secret cannot be read, or a header cannot carry it.
    """
    if settings.scheme == "basic":
        return _basic(_revealed(settings.username), _revealed(settings.password))
    name, prefix = ("token", "Bearer ") if settings.scheme == "bearer" else ("key", "")
    secret = _revealed(getattr(settings, name))
    if not is_sendable(secret):
        raise ConfigError(f"{name}: is empty, or has characters that a header cannot carry")
    return prefix + secret


def _basic(username: str, password: str) -> str:
    if ":" in username:
        raise ConfigError("username: scheme 'basic' cannot carry a colon in it")
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def _revealed(secret: Secret | None) -> str:
    return "" if secret is None else secret.get_secret_value()
