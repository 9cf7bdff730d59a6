"""Tokens with their lifetimes, and the questions and answers they come from."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import jwt

from flext_plugins.http import is_header_value

from .credential import Credential

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, eq=False)
class Token(Credential):
    """The value of a token's header, and its times on the clock of `time.monotonic`."""

    fetched_at: float
    life: float = math.inf
    """Seconds from `fetched_at` on."""
    refresh: Credential | None = None
    """The refresh token that gets the next one."""

    @property
    def expires(self) -> float:
        """The time at which it expires."""
        return self.fetched_at + self.life

    def is_due(self, leeway: float) -> bool:
        """Whether it expires within `leeway` seconds, at most half its lifetime."""
        return time.monotonic() >= self.expires - min(leeway, self.life / 2)


@dataclass(frozen=True, slots=True)
class Problem:
    """The reason why an answer has no token, in words that quote no secret."""

    reason: str
    is_stale: bool = False
    """Whether the refresh token is no longer good, so that another question may help."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A request body for a token service; `repr` shows none of it."""

    headers: dict[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    refresh: Credential | None = None
    """The refresh token in it."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Texts that a message may not quote from the answer."""


class Grant(Protocol):
    """A way to get a token, with its secrets by reference; equal grants share a token."""

    @property
    def service(self) -> str:
        """The service that gives the token."""

    @property
    def url(self) -> str:
        """The path or address of its token endpoint."""

    @property
    def place(self) -> str:
        """Both in words, for messages."""

    def __hash__(self) -> int: ...

    def questions(self, refresh: Credential | None) -> Iterator[Question]:
        """Yield the questions to try, best first; `refresh` is the latest refresh token.

        Raises:
            ConfigError: a secret cannot be read.
        """

    def answer(
        self, status: int, body: bytes, question: Question, sent_at: float
    ) -> Token | Problem:
        """The token in the answer to a question that was sent at `sent_at`, or the problem."""


def token_of(
    value: Any, sent_at: float, *tables: Any, refresh: Credential | None = None
) -> Token | Problem:
    """The token `value`; its lifetime is `expires_in` in one of `tables`, else its own `exp`."""
    if not isinstance(value, str) or not is_header_value(value):
        return Problem("answered with a token that a header cannot carry")
    return Token(f"Bearer {value}", sent_at, max(_life(value, *tables), 0.0), refresh)


def _life(token: str, *tables: Any) -> float:
    """Seconds for which a new token is valid."""
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
