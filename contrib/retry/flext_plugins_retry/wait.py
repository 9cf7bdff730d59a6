"""The wait before a request is sent again."""

from __future__ import annotations

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
