"""The plugin: asks the target's circuit before each call, and reports the outcome to it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from flext_plugins import Stage, Status, events, hookimpl
from flext_plugins.http import Origin

from .breaker import Breaker, Change, Counts, Permit, State
from .settings import CircuitBreakerSettings
from .verdict import NEUTRAL, SUCCESS, Judge, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flext_plugins import Connection, Operation, Proceed, Request, Response, Send, Service

    M = TypeVar("M")

NAME = "circuit-breaker"
MOST_TARGETS = 100


class Circuit:
    """The circuit of one target, for the application to look at and to switch."""

    def __init__(self, breaker: Breaker, tell: Callable[[Breaker, Change | None], None]) -> None:
        self._breaker, self._report = breaker, tell

    @property
    def target(self) -> str:
        """The origin or the operation's target that is guarded."""
        return self._breaker.target

    @property
    def state(self) -> State:
        """The present state; an open circuit changes when the next call comes, not by itself."""
        return self._breaker.state

    @property
    def counts(self) -> Counts:
        """The numbers counted since the circuit entered its state."""
        return self._breaker.counts

    @property
    def reason(self) -> str:
        """The reason for its latest change of state; empty if there was none."""
        return self._breaker.reason

    @property
    def since(self) -> float:
        """The time of the clock on the wall, in seconds, at which it entered its state."""
        return self._breaker.since

    @property
    def last_failure(self) -> str:
        """The reason for which the latest failure was one: `status 503`, `connect`."""
        return self._breaker.last_failure

    def trip(self) -> None:
        """Refuse every call until `reset`."""
        self._report(self._breaker, self._breaker.trip())

    def reset(self) -> None:
        """Let calls pass, with nothing counted; those under way will not count."""
        self._report(self._breaker, self._breaker.reset())


class CircuitBreaker(Circuit):
    """Refuses calls to a target that has kept failing, with `CircuitOpen`.

    This is itself the circuit of the service's origin; each target of an operation has one of its
    own. An application gets it from `host.resource(service, CircuitBreaker)`.
    """

    Settings = CircuitBreakerSettings
    stage = Stage.GUARD

    def __init__(self, settings: CircuitBreakerSettings, service: Service) -> None:
        self._patience = sum(seconds or 0 for seconds in service.timeout)
        target = str(Origin.of(service.base_url)) if service.base_url else service.name
        super().__init__(Breaker(target, settings, self._patience), self._tell)
        self._settings, self._judge = settings, Judge(settings)
        self._operations: dict[tuple[str, str], Breaker] = {}
        self._lock = threading.RLock()
        self._connection: Connection | None = None

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Lend the circuits to the application."""
        self._connection = connection  # the latest one tells what is done by hand
        connection.provide(CircuitBreaker, self)

    @hookimpl
    def flext_status(self) -> Status:
        """Report each circuit; the actions are for all of them."""
        facts = [
            {
                "target": each.target,
                "state": each.state.value,
                "since": datetime.fromtimestamp(each.since, UTC).isoformat(timespec="seconds"),
                "reason": each.reason,
            }
            for each in self._breakers()
        ]

        def trip() -> None:
            for each in self._breakers():
                self._tell(each, each.trip())

        def reset() -> None:
            for each in self._breakers():
                self._tell(each, each.reset())

        return Status({"circuits": facts}, {"trip": trip, "reset": reset})

    def _breakers(self) -> list[Breaker]:
        with self._lock:
            return [self._breaker, *self._operations.values()]

    def circuit(self, system: str, target: str) -> Circuit:
        """The circuit of an operation's `system` and `target`; it is made if there is none."""
        return Circuit(self._of(system, target), self._tell)

    @property
    def circuits(self) -> tuple[Circuit, ...]:
        """All circuits: the origin's, then those of operations."""
        return (self, *[Circuit(each, self._tell) for each in self._breakers()[1:]])

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Send,
        connection: Connection,
    ) -> Response:
        """Send, unless the circuit of the service's origin is open."""
        if not connection.waits:
            return await send(request)
        breaker = self._breaker
        permit, response = await self._guard(breaker, send, request, connection)
        if permit is None:
            return response
        verdict = self._judge.answer(response)
        if verdict.failed:  # whatever becomes of the body
            self._tell(breaker, breaker.settle(permit, verdict), connection)
            return response
        breaker.mark_answered(permit)

        def settle(error: BaseException | None, _: int) -> None:
            outcome = self._of_error(error, connection, ", in a body") if error else verdict
            self._tell(breaker, breaker.settle(permit, outcome), connection)

        connection.watch(response, settle)
        return response

    @hookimpl
    async def flext_operation(
        self,
        operation: Operation,
        proceed: Proceed,
        connection: Connection,
    ) -> object:
        """Proceed, unless the circuit of the operation's target is open."""
        if not connection.waits:
            return await proceed(operation)
        breaker = self._of(operation.system, operation.target)
        permit, result = await self._guard(breaker, proceed, operation, connection)
        if permit is not None:
            self._tell(breaker, breaker.settle(permit, SUCCESS), connection)
        return result

    async def _guard(
        self,
        breaker: Breaker,
        go: Callable[[Any], Awaitable[M]],
        message: Any,
        connection: Connection,
    ) -> tuple[Permit | None, M]:
        """Call `go`; its result, and the permit to settle if the result came from the target."""
        permit, change = breaker.admit()
        if change is not None:
            self._tell(breaker, change, connection)
        call: Any = connection.call
        before = call.answered_by
        try:
            result = await go(message)
        except BaseException as error:
            verdict = self._of_error(error, connection)
            self._tell(breaker, breaker.settle(permit, verdict), connection)
            raise
        # Our own name there is that of a circuit of an operation that some plugin did without.
        if call.answered_by not in {None, before, NAME}:
            breaker.settle(permit, NEUTRAL)
            return None, result
        return permit, result

    def _of_error(self, error: BaseException, connection: Connection, where: str = "") -> Verdict:
        return self._judge.failure(connection.failure(error), where)

    def _of(self, system: str, target: str) -> Breaker:
        key = system, target
        if (breaker := self._operations.get(key)) is not None:
            return breaker
        with self._lock:
            known = self._operations
            if len(known) >= MOST_TARGETS and key not in known:
                closed = (each for each in known if known[each].state is State.CLOSED)
                del known[next(closed, next(iter(known)))]
            return known.setdefault(key, Breaker(target, self._settings, self._patience))

    def _tell(
        self, breaker: Breaker, change: Change | None, connection: Connection | None = None
    ) -> None:
        connection = connection or self._connection
        if change is not None and connection is not None:
            old, new = change.old.value, change.new.value
            connection.emit(events.StateChanged(NAME, breaker.target, old, new, change.reason))
