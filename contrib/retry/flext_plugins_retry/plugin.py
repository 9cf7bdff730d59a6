"""The plugin: resends what failed, if that is safe and may help."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, cast

from flext_plugins import (
    ConfigError,
    DeadlineExceeded,
    Failure,
    FlextError,
    PluginError,
    Refused,
    Stage,
    Status,
    hookimpl,
)
from flext_plugins.http import IDEMPOTENT, retry_after

from .budget import WINDOW, Budget
from .settings import RetrySettings
from .wait import backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins import Call, Connection, Operation, Proceed, Request, Response, Send

KEY = "Idempotency-Key"
RETRIED = frozenset(
    {Failure.CONNECT, Failure.TIMEOUT, Failure.READ, Failure.WRITE, Failure.PROTOCOL}
)
"""Not a full pool, which is our own congestion, nor a request that no resend can mend."""
FINAL = (Refused, DeadlineExceeded, ConfigError, PluginError)
"""Errors of an attempt that was not made, or that would end the same way again."""
LEAST_TIME = 0.05
"""Seconds before the deadline that make another attempt worthwhile."""


class Retry:
    """Repeats a failed request or operation, up to `attempts` times in all.

    The caller gets the last attempt's own answer or error. If that one was refused and the one
    before it had failed, it is the failure: that attempt may have reached the service.
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
        send: Send,
        connection: Connection,
    ) -> Response:
        """Send until the answer is good or another attempt cannot help."""
        attempts = _Attempts(self, connection)
        repeatable = self._repeatable(request, attempts.call)
        while True:
            try:
                response = await send(request)
            except Exception as error:
                failure = _failure(error, connection)
                # An operation's error says nothing of whether this request was sent.
                unsent = failure is Failure.CONNECT and not isinstance(error, FlextError)
                if (
                    failure
                    and (repeatable or unsent)  # else it may have been done
                    and attempts.replay(request)
                    and await attempts.again(failure.value, error)
                ):
                    continue
                final = attempts.final(error)
                if final is error:
                    raise
            else:
                status = response.status_code
                if not (
                    status in self.settings.statuses
                    and repeatable
                    and attempts.replay(request)
                    and await attempts.again(f"status {status}", response=response)
                ):
                    return response
                continue
            raise final  # here, where its context stays its own

    @hookimpl
    async def flext_operation(
        self,
        operation: Operation,
        proceed: Proceed,
        connection: Connection,
    ) -> object:
        """Do the operation, and repeat it after a failure on the wire if it is idempotent."""
        attempts = _Attempts(self, connection)
        while True:
            try:
                return await proceed(operation)
            except Exception as error:
                failure = _failure(error, connection)
                if operation.idempotent and failure and await attempts.again(failure.value, error):
                    continue
                final = attempts.final(error)
                if final is error:
                    raise
            raise final

    @hookimpl
    def flext_status(self) -> Status:
        """Report what the budget has left."""
        return Status({"budget": {"seconds": WINDOW, **self.budget.usage()._asdict()}})

    def _repeatable(self, request: Request, call: Call) -> bool:
        """Whether `request` may reach the service twice without harm."""
        if request.method in IDEMPOTENT:
            return True
        if self.settings.idempotency_key and not request.headers.get(KEY):
            request.headers[KEY] = call.id  # the same for all attempts, redirects included
        return bool(request.headers.get(KEY))


class _Attempts:
    """This plugin's attempts at one hop or operation; a redirect that is followed begins anew."""

    __slots__ = ("_before", "_connection", "_end_reason", "_failed", "_retry", "call")

    def __init__(self, retry: Retry, connection: Connection) -> None:
        self._retry, self._connection = retry, connection
        self._before: list[str] = []
        """Why each attempt so far was not the last."""
        self._end_reason = ""
        self._failed: Exception | None = None
        """The error of the attempt before this one, if it was not answered."""
        self.call = cast("Call", connection.call)  # these hooks run inside one
        retry.budget.note_call()

    def replay(self, request: Request) -> bool:
        """Whether the body of `request` can be sent once more."""
        if self._connection.sendable(request):
            return True
        self._end_reason = "the body cannot be sent again"
        return False

    async def again(
        self, reason: str, error: Exception | None = None, *, response: Response | None = None
    ) -> bool:
        """Wait for the next attempt; `False` if there is to be none."""
        pause = self._pause(response)
        if pause is None:
            return False
        if response is not None:
            # Before the wait: it may hold the pool's only connection.
            await self._connection.close(response)
        await self._connection.sleep(pause)
        self._before.append(reason)
        self._failed = error
        return True

    def _pause(self, response: Response | None) -> float | None:
        """Seconds to wait, or `None` if there is no other attempt; a wait takes from the budget."""
        settings, number = self._retry.settings, len(self._before) + 1
        if number >= settings.attempts:
            return None
        wanted = 0.0
        if response is not None:
            wanted = retry_after(response.headers) or 0.0
        chosen = backoff(settings.backoff, settings.longest_wait, number, self._retry.uniform)
        pause, left = max(wanted, chosen), self.call.remaining()
        # The budget comes last: asking it spends from it, and nothing may stop the resend after.
        if wanted > settings.longest_wait:
            self._end_reason = "the service asks for a longer wait"
        elif left is not None and pause + LEAST_TIME > left:
            self._end_reason = "the deadline comes first"
        elif self._connection.waits and not self._retry.budget.take():
            self._end_reason = "the budget is used up"
        else:
            return pause
        return None

    def final(self, error: Exception) -> Exception:
        """The error for the caller: `error` or, if that is a refusal, the failure before it.

        It has a note about the attempts, if there was more than a plain first one.
        """
        failed, self._failed = self._failed, None
        end = f"; {self._end_reason}" if self._end_reason else ""
        if failed is None or not isinstance(error, Refused):
            failed = error
        else:
            end = f", was refused: {error}"
        if self._before or end:
            note = f"retry: attempt {len(self._before) + 1} of {self._retry.settings.attempts}"
            note += f", after {', '.join(self._before)}" if self._before else ""
            failed.add_note(note + end)
        return failed


def _failure(error: Exception, connection: Connection) -> Failure | None:
    """The failure on the wire, if another attempt may help."""
    failure = None if isinstance(error, FINAL) else connection.failure(error)
    return failure if failure in RETRIED else None
