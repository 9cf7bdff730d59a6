"""The host's log lines about one service, as an operator wants to read them."""

from __future__ import annotations

import logging
import os
import ssl
from typing import TYPE_CHECKING

from flext_plugins._call import inside, scope
from flext_plugins._errors import DeadlineExceeded, Refused
from flext_plugins._logging import harmless, log
from flext_plugins._messages import Failure
from flext_plugins._wire import failure_of
from flext_plugins.events import CallDrained, CallRefused, Retried, StateChanged, TokenFetched

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins._call import Call
    from flext_plugins._logging import Occasions
    from flext_plugins._wire import Wire
    from flext_plugins.events import Outcome


class ServiceLog:
    """Writes the lines about a service.

    Args:
        service: its name.
        occasions: what was a warning, and when; all services of a host have the same.
    """

    def __init__(self, service: str, occasions: Occasions) -> None:
        self._service, self._occasions = service, occasions

    def tell(self, event: object) -> None:
        """Write a line about `event` if it is one of those that an operator wants to see."""
        harmless(self._tell, event)

    def _tell(self, event: object) -> None:
        match event:
            case StateChanged(plugin, target, old, new, reason):
                values = target, old, new, reason
                self.write(logging.WARNING, "{}: {} -> {}: {}", *values, plugin=plugin)
            case CallRefused(_, plugin, reason):
                self.write(logging.INFO, "refused: {}", reason, plugin=plugin)
            case Retried(_, plugin, reason, delay):
                later = f"{delay:.2f}"
                said = "sent again after {}, {} s later"
                self.write(logging.INFO, said, reason, later, plugin=plugin)
            case TokenFetched(issuer, "failed", _, reason):
                self._warn("token", "no token from {}: {}", issuer, reason)
            case _:
                pass

    def failed(self, call: Call, error: BaseException, failure: Failure | None) -> None:
        """Write that a failure of the wire has reached the caller."""
        if failure is not None and failure is not Failure.CALLER:
            harmless(self._failed, call, error, failure.value)

    def _failed(self, call: Call, error: BaseException, failure: str) -> None:
        self._warn(failure, "call failed: {}: {}", failure, account(error), call)

    def _warn(
        self, kind: str, message: str, what: object, why: object, call: Call | None = None
    ) -> None:
        passed_over = self._occasions.take((self._service, kind))
        if passed_over:
            message += f"; {passed_over} more of these since the last such line"
        level = logging.DEBUG if passed_over is None else logging.WARNING
        self.write(level, message, what, why, call=call)

    def write(
        self,
        level: int,
        message: str,
        *values: object,
        plugin: str | None = None,
        call: Call | None = None,
    ) -> None:
        """Write a line about the service, and the call that it is about or that is under way."""
        current = scope.get()
        if call is None and current is not None:
            call = current.call
        fields: dict[str, object] = {"service": self._service, "plugin": plugin}
        if call is not None:
            fields |= {"call_id": call.id, "correlation_id": call.correlation_id}
        log(level, message, *values, **fields)


def tell_drained(call: Call | None, emit: Callable[[object], None]) -> None:
    """Tell, once for each call, that closing the host refused or ended it."""
    if call is not None and not call._is_drained:  # noqa: SLF001
        call._is_drained = True  # noqa: SLF001
        inside(call, emit)(CallDrained(call, call.sent))


def outcome_of(error: BaseException | None, wire: Wire) -> Outcome:
    """Tell what came of a hop or call that ended with `error`."""
    if error is None:
        return "answered"
    if not isinstance(error, Exception):
        return "cancelled"
    if isinstance(error, Refused):
        return "refused"
    if isinstance(error, DeadlineExceeded):
        return "timed out"
    return "error" if failure_of(error, wire) in {None, Failure.CALLER} else "failed"


def account(error: BaseException) -> str:
    """The class of an error of the wire, and what the system says of it.

    Its own text is left out: requests' quotes the address with its parameters.
    """
    name, each = type(error).__name__, error
    for _ in range(10):
        if isinstance(each, OSError) and each.errno:
            is_systems = each.errno > 0 and not isinstance(each, ssl.SSLError)
            return f"{name}: {os.strerror(each.errno) if is_systems else each.strerror}"
        cause = each.__cause__ or each.__context__
        if cause is None:
            break
        each = cause
    return name
