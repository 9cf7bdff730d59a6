"""Caches tokens for a whole host, and remembers failed fetches for a while."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from flext_plugins import Refused

if TYPE_CHECKING:
    from .credential import Credential
    from .token import Grant, Token

FIRST, LONGEST = 1.0, 60.0
"""Seconds for which a failure is remembered: the first one, and any in a row at most."""


class Backoff:
    """Remembers a failure for a while, and each further one in a row for twice as long."""

    def __init__(self) -> None:
        self.reason = ""
        self._length, self._since, self._until = 0.0, 0.0, 0.0

    @property
    def remaining(self) -> float:
        """Seconds for which nothing may be tried."""
        return max(self._until - time.monotonic(), 0.0)

    def note_failure(self, reason: str = "", at_least: float | None = None) -> None:
        """Note a failure, unless one is remembered: callers that failed together count once."""
        if not self.remaining:
            self.reason = reason
            self._length = min(max(self._length * 2, FIRST), LONGEST)
            self._since = time.monotonic()
            self._until = self._since + max(self._length, min(at_least or 0.0, LONGEST))

    def reset(self) -> None:
        """Forget the failures: an attempt succeeded."""
        self._length = self._until = 0.0

    def check(self) -> None:
        """Refuse while the failure is remembered.

        Raises:
            Refused: it still is.
        """
        if remaining := self.remaining:
            ago = time.monotonic() - self._since
            message = f"{self.reason} ({ago:.0f} s ago; tried again in {remaining:.0f} s)"
            raise Refused(message, retry_after=remaining)


class TokenCache:
    """The token of one grant, shared by all services that use the grant."""

    def __init__(self) -> None:
        self.failures = Backoff()
        """Failed fetches without which nothing can be sent."""
        self.renewals = Backoff()
        """Failed fetches while the old token was still valid: they refuse nobody."""
        self.refresh: Credential | None = None
        self._token: Token | None = None
        self._lock = threading.RLock()
        self._is_renewing = False

    def valid(self) -> Token | None:
        """The token, if it has not expired."""
        token = self._token
        return token if token is not None and time.monotonic() < token.expires else None

    def facts(self) -> dict[str, float | None] | None:
        """The age of the token and its time to live, in seconds; never its value."""
        if (token := self.valid()) is None:
            return None
        now = time.monotonic()
        life = None if math.isinf(token.life) else round(token.expires - now, 3)
        return {"age": round(now - token.fetched_at, 3), "expires_in": life}

    def keep(self, token: Token) -> None:
        """Use `token` from now on."""
        with self._lock:
            self._token, self.refresh = token, token.refresh
            self.failures.reset()
            self.renewals.reset()

    def reject(self, rejected: Token) -> None:
        """Forget `rejected`; a newer token that has replaced it stays."""
        with self._lock:
            if self._token is rejected:
                self._token = None

    def begin_renewal(self) -> bool:
        """Whether the caller is to renew the token; if so, nobody else may until `end_renewal`."""
        with self._lock:
            if self._is_renewing:
                return False
            self._is_renewing = True
            return True

    def end_renewal(self) -> None:
        """Let the next caller renew."""
        self._is_renewing = False


class TokenCaches:
    """The token caches of one host."""

    def __init__(self) -> None:
        self._caches: dict[Grant, TokenCache] = {}

    def of(self, grant: Grant) -> TokenCache:
        """The cache for `grant` and all grants equal to it."""
        return self._caches.setdefault(grant, TokenCache())
