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
        self.said = ""
        self._length, self._since, self._until = 0.0, 0.0, 0.0

    @property
    def left(self) -> float:
        """Seconds for which nothing is to be tried."""
        return max(self._until - time.monotonic(), 0.0)

    def again(self, said: str = "", at_least: float | None = None) -> None:
        """It failed; what others report of that same time counts for nothing."""
        if not self.left:
            self.said = said
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
        if left := self.left:
            ago = time.monotonic() - self._since
            said = f"{self.said} ({ago:.0f} s ago; tried again in {left:.0f} s)"
            raise Refused(said, retry_after=left)


class Kept:
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


class Tokens:
    """The tokens of one host."""

    def __init__(self) -> None:
        self._kept: dict[Grant, Kept] = {}

    def of(self, grant: Grant) -> Kept:
        """What is kept for `grant` and its equals."""
        return self._kept.setdefault(grant, Kept())
