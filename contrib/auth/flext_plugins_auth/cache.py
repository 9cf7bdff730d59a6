"""The tokens of a host, and what is remembered of fetching them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from flext_plugins import Refused

if TYPE_CHECKING:
    from .credential import Credential
    from .token import Grant, Token

FIRST, LONGEST = 1.0, 60.0
"""Seconds that a failure is remembered: at first, and after any number of them in a row."""


class Backoff:
    """A failure that is remembered for a while, after each further one for twice as long."""

    def __init__(self) -> None:
        self.reason = ""
        self._length, self._since, self._until = 0.0, 0.0, 0.0

    @property
    def remaining(self) -> float:
        """Seconds for which nothing is to be tried."""
        return max(self._until - time.monotonic(), 0.0)

    def note_failure(self, reason: str = "", at_least: float | None = None) -> None:
        """It failed; what others report of that same time counts for nothing."""
        if not self.remaining:
            self.reason = reason
            self._length = min(max(self._length * 2, FIRST), LONGEST)
            self._since = time.monotonic()
            self._until = self._since + max(self._length, min(at_least or 0.0, LONGEST))

    def reset(self) -> None:
        """It worked."""
        self._length = self._until = 0.0

    def check(self) -> None:
        """Nothing, unless the failure is still remembered.

        Raises:
            Refused: it is.
        """
        if remaining := self.remaining:
            ago = time.monotonic() - self._since
            message = f"{self.reason} ({ago:.0f} s ago; tried again in {remaining:.0f} s)"
            raise Refused(message, retry_after=remaining)


class TokenCache:
    """One grant's token, whatever the number of services that use it."""

    def __init__(self) -> None:
        self.failures = Backoff()
        """Of fetches without which nothing can be sent."""
        self.renewals = Backoff()
        """Those that failed while there was a valid token: nobody is refused for them."""
        self.refresh: Credential | None = None
        self._token: Token | None = None
        self._lock = threading.Lock()
        self._is_renewing = False

    def valid(self) -> Token | None:
        """The token, if it has not ended."""
        token = self._token
        return token if token is not None and time.monotonic() < token.expires else None

    def keep(self, token: Token) -> None:
        """Use `token` from now on."""
        with self._lock:
            self._token, self.refresh = token, token.refresh
            self.failures.reset()
            self.renewals.reset()

    def reject(self, rejected: Token) -> None:
        """Use `rejected` no longer; one that has taken its place meanwhile stays."""
        with self._lock:
            if self._token is rejected:
                self._token = None

    def begin_renewal(self) -> bool:
        """Whether the caller is the one that renews the token, until it says `end_renewal`."""
        with self._lock:
            if self._is_renewing:
                return False
            self._is_renewing = True
            return True

    def end_renewal(self) -> None:
        """The next one may."""
        self._is_renewing = False


class TokenCaches:
    """The tokens of one host."""

    def __init__(self) -> None:
        self._caches: dict[Grant, TokenCache] = {}

    def of(self, grant: Grant) -> TokenCache:
        """What is kept for `grant` and its equals."""
        return self._caches.setdefault(grant, TokenCache())
