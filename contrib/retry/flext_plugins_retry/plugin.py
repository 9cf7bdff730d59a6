"""The plugin: sends again what failed, where that is safe and there is hope."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, cast

from flext_plugins import (
    ConfigError,
    DeadlineExceeded,
    Failure,
    PluginError,
    Refused,
    Stage,
    events,
    hookimpl,
)
from flext_plugins.http import IDEMPOTENT, retry_after

from .budget import Budget
from .settings import RetrySettings
from .wait import backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flext_plugins import Call, Connection, Operation, Request, Response

KEY = "Idempotency-Key"
RETRIED = frozenset(
    {Failure.CONNECT, Failure.TIMEOUT, Failure.READ, Failure.WRITE, Failure.PROTOCOL}
)
"""A full pool is our own congestion, and what cannot be sent as it is cannot be sent again."""
FINAL = (Refused, DeadlineExceeded, ConfigError, PluginError)
"""Nothing was sent, or sending again would end alike."""
LEAST_TIME = 0.05
"""Seconds that must remain before the deadline, or an attempt is not worth making."""


class Retry:
    """Sends a request or does an operation again, up to so many attempts.

    The caller gets the last attempt's own answer or error.
    """

    Settings = RetrySettings
    stage = Stage.RETRY
    fail_closed = True  # an observer cannot send again
    uniform: Callable[[float, float], float] = staticmethod(random.uniform)
    """Picks how long to wait; a subclass may be less random."""

    def __init__(self, settings: RetrySettings) -> None:
        self.settings = settings
        self.budget = Budget(settings.budget, settings.budget_floor)

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Callable[[Request], Awaitable[Response]],
        connection: Connection,
    ) -> Response:
        """Send until the answer is good, or another attempt makes no sense."""
        attempts = _Attempts(self, connection)
        repeatable = self._repeatable(request, attempts.call)
        while True:
            try:
                response = await send(request)
            except Exception as error:
                failure = _failure(error, connection)
                if not (
                    failure
                    and (repeatable or failure is Failure.CONNECT)  # else it may have been done
                    and attempts.replay(request)
                    and await attempts.again(failure.value)
                ):
                    attempts.note(error)
                    raise
            else:
                status = response.status_code
                if not (
                    status in self.settings.statuses
                    and repeatable
                    and attempts.replay(request)
                    and await attempts.again(f"status {status}", response)
                ):
                    return response

    @hookimpl
    async def flext_operation(
        self,
        operation: Operation,
        proceed: Callable[[Operation], Awaitable[object]],
        connection: Connection,
    ) -> object:
        """Proceed, again after a failure on the wire if the operation is idempotent."""
        attempts = _Attempts(self, connection)
        while True:
            try:
                return await proceed(operation)
            except Exception as error:
                failure = _failure(error, connection)
                if not (operation.idempotent and failure and await attempts.again(failure.value)):
                    attempts.note(error)
                    raise

    def _repeatable(self, request: Request, call: Call) -> bool:
        """Whether the service does no harm if it gets `request` twice."""
        if request.method in IDEMPOTENT:
            return True
        if self.settings.idempotency_key and not request.headers.get(KEY):
            request.headers[KEY] = call.id  # the same for all attempts, redirects included
        return bool(request.headers.get(KEY))


class _Attempts:
    """The attempts of one call, as far as this plugin makes them."""

    __slots__ = ("_before", "_connection", "_ended", "_retry", "call")

    def __init__(self, retry: Retry, connection: Connection) -> None:
        self._retry, self._connection = retry, connection
        self._before: list[str] = []
        """Why each attempt so far was not the last."""
        self._ended = ""
        self.call = cast("Call", connection.call)  # these hooks run inside one
        retry.budget.called()

    def replay(self, request: Request) -> bool:
        """Whether all of `request` would be there again."""
        if self._connection.replayable(request):
            return True
        self._ended = "the body cannot be sent again"
        return False

    async def again(self, reason: str, response: Response | None = None) -> bool:
        """Wait for the next attempt, and say that it comes; or give this one up."""
        pause = self._pause(response)
        if pause is None:
            return False
        if response is not None:
            # Before the wait: it may hold the pool's only connection.
            await self._connection.close(response)
        await self._connection.sleep(pause)
        self._before.append(reason)
        self._connection.emit(events.Retried(self.call, reason, pause))
        return True

    def _pause(self, response: Response | None) -> float | None:
        """Seconds to wait, or `None` if there is no other attempt."""
        settings, number = self._retry.settings, len(self._before) + 1
        if number >= settings.attempts:
            return None
        wanted = 0.0
        if response is not None:
            wanted = retry_after(response.headers) or 0.0
        chosen = backoff(settings.backoff, settings.longest_wait, number, self._retry.uniform)
        pause, left = max(wanted, chosen), self.call.remaining()
        if wanted > settings.longest_wait:
            self._ended = "the service asks for a longer wait"
        elif left is not None and pause + LEAST_TIME > left:
            self._ended = "the deadline comes first"
        elif not self._retry.budget.take():
            self._ended = "the budget is used up"
        else:
            return pause
        return None

    def note(self, error: Exception) -> None:
        """Tell in `error` what it took, if there is something to tell."""
        if self._before or self._ended:
            told = f"retry: attempt {len(self._before) + 1} of {self._retry.settings.attempts}"
            told += f", after {', '.join(self._before)}" if self._before else ""
            error.add_note(told + (f"; {self._ended}" if self._ended else ""))


def _failure(error: Exception, connection: Connection) -> Failure | None:
    """What went wrong on the wire, where trying again may help."""
    failure = None if isinstance(error, FINAL) else connection.failure(error)
    return failure if failure in RETRIED else None
