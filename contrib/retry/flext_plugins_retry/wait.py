"""How long to wait before a request is sent again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def backoff(
    first: float, longest: float, resend: int, uniform: Callable[[float, float], float]
) -> float:
    """Seconds: anything from nothing to a bound that doubles with each resend.

    Without chance, all callers that failed together would come back together.

    Args:
        first: the bound for the first resend, in seconds.
        longest: what the bound never exceeds, in seconds.
        resend: which one it is, counted from 1.
        uniform: picks from a range, as `random.uniform`.
    """
    return uniform(0.0, min(longest, first * 2 ** (resend - 1)))


def asked(value: str | None, now: datetime) -> float:
    """Seconds that a `Retry-After` asks for: RFC 9110 has whole seconds and dates.

    0 where there is none, it makes no sense or the date is past.
    """
    if not value:
        return 0.0
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    if date.tzinfo is None:  # the asctime form says no zone; HTTP's dates are all in UTC
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())
