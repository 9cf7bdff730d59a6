"""Tokens that a login gives: how one is asked for, how long it lasts, where it is kept."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt

from flext_plugins import Secret

from .credential import is_sendable

if TYPE_CHECKING:
    from .settings import AuthSettings

LEEWAY = 10.0
"""Seconds before its end that a token is no longer used; at most a tenth of its life."""


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """What a login gave."""

    value: str = field(repr=False)
    expires: float = math.inf
    """When to stop using it, on the clock of `time.monotonic`."""

    @property
    def authorization(self) -> str:
        """The header for it."""
        return f"Bearer {self.value}"


@dataclass(frozen=True)
class Login:
    """How a token is asked for, secrets by reference; equal ones share their token."""

    service: str
    url: str
    username: Secret
    password: Secret
    fields: tuple[tuple[str, Any], ...] = field(repr=False)
    token_path: str

    @classmethod
    def of(cls, settings: AuthSettings) -> Login | None:
        """What the settings say; `None` for a scheme without login."""
        service, username, password = settings.service, settings.username, settings.password
        if service is None or username is None or password is None:
            return None
        fields = tuple(sorted(settings.body.items()))
        return cls(service, settings.url, username, password, fields, settings.token_path)

    def body(self) -> dict[str, Any]:
        """What is posted; references are read now.

        Raises:
            ConfigError: a secret cannot be read.
        """
        body: dict[str, Any] = {}
        placed = {value for _, value in self.fields if isinstance(value, str)}
        known = {"{username}": self.username, "{password}": self.password}
        for template, secret in known.items():
            if template not in placed:
                body[template.strip("{}")] = secret
        for name, value in self.fields:
            body[name] = known.get(value, value) if isinstance(value, str) else value
        return {
            name: value.get_secret_value() if isinstance(value, Secret) else value
            for name, value in body.items()
        }

    def token(self, answer: bytes) -> Token | str:
        """The token in the login's `answer`, or what is wrong with that, without quoting it."""
        try:
            inner = whole = json.loads(answer)
        except ValueError:  # no cause: it would hold the answer
            return "answered with something that is not JSON"
        *path, last = self.token_path.split(".")
        for name in path:
            inner = inner.get(name) if isinstance(inner, dict) else None
        value = inner.get(last) if isinstance(inner, dict) else None
        if not isinstance(value, str) or not value:
            return f"answered without a token at {self.token_path!r}"
        if not is_sendable(value):
            return "answered with a token that a header cannot carry"
        life = max(_life(value, inner, whole), 0.0)
        return Token(value, time.monotonic() + life - min(LEEWAY, life / 10))


def _life(token: str, *tables: dict[str, Any]) -> float:
    """Seconds that a token which has just come lasts."""
    for table in tables:
        if (seconds := _number(table.get("expires_in"))) is not None:
            return seconds
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return math.inf  # until it is rejected
    end = _number(claims.get("exp"))
    return math.inf if end is None else end - time.time()


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


class Tokens:
    """The tokens of one host."""

    def __init__(self) -> None:
        self._kept: dict[Login, Token] = {}
        self._lock = threading.Lock()

    def get(self, login: Login) -> Token | None:
        """The token of that login, if it still lasts."""
        token = self._kept.get(login)
        return token if token is not None and time.monotonic() < token.expires else None

    def keep(self, login: Login, token: Token) -> None:
        """Use `token` from now on."""
        with self._lock:
            self._kept[login] = token

    def discard(self, login: Login, rejected: Token) -> None:
        """Use `rejected` no longer; one that has taken its place meanwhile stays."""
        with self._lock:
            if self._kept.get(login) is rejected:
                del self._kept[login]
