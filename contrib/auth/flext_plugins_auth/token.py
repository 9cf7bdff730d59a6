"""What a token service gives: the token, how long it lasts, or what was wrong."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import jwt

from .credential import Credential, is_sendable

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, eq=False)
class Token(Credential):
    """The header for a token, and its times on the clock of `time.monotonic`."""

    fetched_at: float
    life: float = math.inf
    """Seconds from `fetched_at` on."""
    refresh: Credential | None = None
    """What the next one is asked for with."""

    @property
    def expires(self) -> float:
        """When it ends."""
        return self.fetched_at + self.life

    def is_due(self, leeway: float) -> bool:
        """Whether it ends within `leeway` seconds, or within half its life."""
        return time.monotonic() >= self.expires - min(leeway, self.life / 2)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an answer has no token, in words that quote no secret."""

    reason: str
    is_stale: bool = False
    """Whether another way of asking may help: the refresh token is not good any more."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is posted to a token service; `repr` tells nothing."""

    headers: dict[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    refresh: Credential | None = None
    """The refresh token in it."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What an answer may not be quoted with."""


class Grant(Protocol):
    """How a token is asked for, secrets by reference; equal ones share their token."""

    @property
    def service(self) -> str:
        """Who is asked."""

    @property
    def url(self) -> str:
        """Where, at that service."""

    @property
    def place(self) -> str:
        """The same in words, for messages."""

    def __hash__(self) -> int: ...

    def questions(self, refresh: Credential | None) -> Iterator[Question]:
        """What to ask, best first, where the last answer gave the token `refresh`.

        Raises:
            ConfigError: a secret cannot be read.
        """

    def answer(
        self, status: int, body: bytes, question: Question, sent_at: float
    ) -> Token | Problem:
        """What the token service's answer says to a question that was sent at `sent_at`."""


def token_of(
    value: Any, sent_at: float, *tables: Any, refresh: Credential | None = None
) -> Token | Problem:
    """The token `value`, which lasts as one of `tables` says, else as it says itself."""
    if not isinstance(value, str) or not is_sendable(value):
        return Problem("answered with a token that a header cannot carry")
    return Token(f"Bearer {value}", sent_at, max(_life(value, *tables), 0.0), refresh)


def _life(token: str, *tables: Any) -> float:
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
