"""The plugin: asks the target's circuit before each call, and reports the outcome to it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from flext_plugins import ConfigError, Stage, Status, events, hookimpl
from flext_plugins.http import Origin

from .breaker import Breaker, Change, Counts, Permit, State
from .settings import CircuitBreakerSettings
from .switch import Switch
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
        _check_deadline(service)
        self._patience = sum(seconds or 0 for seconds in service.timeout)
        target = str(Origin.of(service.base_url)) if service.base_url else service.name
        super().__init__(Breaker(target, settings, self._patience), self._tell)
        self._settings, self._judge = settings, Judge(settings)
        self._operations: dict[tuple[str, str], Breaker] = {}
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._switch = Switch(settings.shared, service.name) if settings.shared else None
        self._is_tripped, self._hand = False, threading.Lock()

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Lend the circuits to the application."""
        self._connection = connection  # the latest one tells what is done by hand
        connection.provide(CircuitBreaker, self)

    @hookimpl
    def flext_status(self) -> Status:
        """Report each circuit; the actions are for all of them."""
        self._heed()
        facts = [
            {
                "target": each.target,
                "state": each.state.value,
                "since": datetime.fromtimestamp(each.since, UTC).isoformat(timespec="seconds"),
                "reason": each.reason,
                "last_failure": each.last_failure,
                "retry_after": each.retry_after,
            }
            for each in self._breakers()
        ]

        return Status(
            {"circuits": facts, "shared": self._switch is not None},
            {"trip": partial(self._by_hand, "trip"), "reset": partial(self._by_hand, "reset")},
        )

    def _by_hand(self, action: Literal["trip", "reset"]) -> None:
        """Trip or reset every circuit, in every process if they share this."""
        with self._hand:
            if self._switch is not None:
                self._switch.post(action)
            changes = self._set(action, "")
        self._tell_all(changes)

    def _heed(self) -> None:
        """Do what was done by hand in another process."""
        if self._switch is None or not self._switch.has_news():
            return
        with self._hand:  # what is read and what is done of it are one step: the last one wins
            news = self._switch.news()
            changes = self._set(news.action, f" in process {news.process}") if news else []
        self._tell_all(changes)

    def _set(self, action: str, where: str) -> list[tuple[Breaker, Change | None]]:
        self._is_tripped = action == "trip"
        return [
            (each, each.trip(where) if self._is_tripped else each.reset(where))
            for each in self._breakers()
        ]

    def _tell_all(self, changes: list[tuple[Breaker, Change | None]]) -> None:
        for breaker, change in changes:
            self._tell(breaker, change)

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
        self._heed()
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
            breaker = known.setdefault(key, Breaker(target, self._settings, self._patience))
        if self._is_tripped:
            breaker.trip()
        return breaker

    def _tell(
        self, breaker: Breaker, change: Change | None, connection: Connection | None = None
    ) -> None:
        connection = connection or self._connection
        if change is not None and connection is not None:
            old, new = change.old.value, change.new.value
            connection.emit(events.StateChanged(NAME, breaker.target, old, new, change.reason))


def _check_deadline(service: Service) -> None:
    """See that a service that hangs can open the circuit.

    Raises:
        ConfigError: every call would end with its deadline before, which is nobody's failure.
    """
    deadline, read = service.deadline, service.timeout.read
    if service.base_url and deadline is not None and (read is None or read >= deadline):
        waits = "never ends" if read is None else f"is {read:g}"
        raise ConfigError(
            f"timeout.read {waits}, and deadline is {deadline:g}: a service that hangs opens no "
            "circuit so, for a deadline is nobody's failure; say a timeout below the deadline"
        )
