"""The plugin: asks the target's circuit before each call, and tells it what came of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from flext_plugins import Failure, Stage, events, hookimpl

from .breaker import Breaker, Change
from .settings import CircuitBreakerSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from flext_plugins import Connection, Operation, Request, Response

    M = TypeVar("M")

NAME = "circuit-breaker"
COUNTED = frozenset(
    {Failure.CONNECT, Failure.TIMEOUT, Failure.READ, Failure.WRITE, Failure.PROTOCOL}
)
"""The target's failures; a full pool and a request that cannot be sent are our own."""
MOST_TARGETS = 100
_PORTS = {"http": 80, "https": 443}


class CircuitBreaker:
    """Refuses calls to a target that has kept failing, with `CircuitOpen`.

    The service's origin is a target, and so is that of each operation.
    """

    Settings = CircuitBreakerSettings
    stage = Stage.GUARD

    def __init__(self, settings: CircuitBreakerSettings) -> None:
        self._settings = settings
        self._breakers: dict[Hashable, Breaker] = {}
        self._lock = threading.Lock()

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Callable[[Request], Awaitable[Response]],
        connection: Connection,
    ) -> Response:
        """Send, unless the circuit of the request's origin is open."""
        url = request.url
        origin = url.scheme, url.host, url.port or _PORTS.get(url.scheme)
        breaker = self._breakers.get(origin) or self._new_breaker(origin, _shown(*origin))
        return await self._guarded(breaker, send, request, connection)

    @hookimpl
    async def flext_operation(
        self,
        operation: Operation,
        proceed: Callable[[Operation], Awaitable[object]],
        connection: Connection,
    ) -> object:
        """Proceed, unless the circuit of the operation's target is open."""
        key = operation.system, operation.target
        breaker = self._breakers.get(key) or self._new_breaker(key, operation.target)
        return await self._guarded(breaker, proceed, operation, connection)

    async def _guarded(
        self,
        breaker: Breaker,
        go: Callable[[Any], Awaitable[M]],
        message: Any,
        connection: Connection,
    ) -> M:
        generation, change = breaker.admit()
        _tell(breaker, change, connection)
        try:
            result = await go(message)
        except BaseException as error:
            failure = connection.failure(error) if isinstance(error, Exception) else None
            if failure in COUNTED:
                _tell(breaker, breaker.failed(generation, failure.value), connection)
            else:
                breaker.dropped(generation)
            raise
        status = getattr(result, "status_code", 0)
        if status >= 500:
            change = breaker.failed(generation, f"status {status}")
        else:
            change = breaker.succeeded(generation)
        _tell(breaker, change, connection)
        return result

    def _new_breaker(self, key: Hashable, target: str) -> Breaker:
        with self._lock:
            if len(self._breakers) >= MOST_TARGETS and key not in self._breakers:
                del self._breakers[next(iter(self._breakers))]
            return self._breakers.setdefault(key, Breaker(target, self._settings))


def _tell(breaker: Breaker, change: Change | None, connection: Connection) -> None:
    if change is not None:
        old, new = change.old.value, change.new.value
        connection.emit(events.StateChanged(NAME, breaker.target, old, new, change.reason))


def _shown(scheme: str, host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port}"
