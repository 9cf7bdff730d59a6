"""Tokens with their lifetimes, and the questions that get them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

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
    is_transient: bool = False
    """Whether the same question may get a token later, so that no other one is worth asking."""
    is_stale: bool = False
    """Whether the refresh token in the question is said to be no longer good."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A request body for a token service; `repr` shows none of it."""

    headers: dict[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    token_path: str
    """The place of the token in the answer; dots lead inward."""
    refresh: Credential | None = None
    """The refresh token in it."""
    secrets: tuple[str, ...] | None = field(default=None, repr=False)
    """Texts that a message may not quote from the answer's `error`; `None` if it has no such."""


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
