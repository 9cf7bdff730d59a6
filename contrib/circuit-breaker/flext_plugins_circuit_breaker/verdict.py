"""Verdicts on a target, from the end of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flext_plugins.http import retry_after

if TYPE_CHECKING:
    from flext_plugins import Failure, Response

    from .settings import CircuitBreakerSettings

_CLASSES = {"4xx": range(400, 500), "5xx": range(500, 600)}
_BUSY = frozenset({429, 503})
"""With these, `Retry-After` is the target's wish to be left alone."""


class Verdict(NamedTuple):
    """The verdict on a target, from the end of one call."""

    failed: bool | None
    """`None` if the call does not count."""
    reason: str = ""
    retry_after: float | None = None
    """Seconds that the target wants to be left alone."""


SUCCESS, NEUTRAL = Verdict(failed=False), Verdict(failed=None)


class Judge:
    """Judges by the settings whether a call counts as a failure."""

    def __init__(self, settings: CircuitBreakerSettings) -> None:
        self._kinds = frozenset(settings.failure_kinds)
        self._statuses = frozenset(
            status
            for each in settings.failure_statuses
            for status in ((each,) if isinstance(each, int) else _CLASSES[each])
        )

    def answer(self, response: Response) -> Verdict:
        """Judge an answer whose headers have come."""
        status = response.status_code
        failed = True if status in self._statuses else None if status >= 400 else False
        if failed is False:
            return SUCCESS
        seconds = retry_after(response.headers) if status in _BUSY else None
        return Verdict(failed, f"status {status}", seconds or None)

    def failure(self, kind: Failure | None, where: str = "") -> Verdict:
        """Judge an error by its kind."""
        if kind is None or kind.value not in self._kinds:
            return NEUTRAL
        return Verdict(failed=True, reason=kind.value + where)
