"""A plugin on a test rig: composed for a service on loopback, watched from both sides."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pytest

from flext_plugins._call import options
from flext_plugins._errors import FlextError
from flext_plugins._service import Operation
from flext_plugins.events import CallFinished, HopFinished, PluginFailed
from flext_plugins.hookspecs import Stage, hookimpl
from flext_plugins.testing._pauses import TICK, Pauses
from flext_plugins.testing._record import Record
from flext_plugins.testing._service import Answer, LoopbackService
from flext_plugins.testing._subject import Subject
from flext_plugins.testing._trial import Trial
from flext_plugins.testing._world import opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Self

    from flext_plugins._call import Call
    from flext_plugins._connections.connection import Connection
    from flext_plugins._connections.resource import Resource
    from flext_plugins._host import Host
    from flext_plugins._messages import Request, Response
    from flext_plugins._service import Proceed, Status
    from flext_plugins.testing._subject import Step
    from flext_plugins.testing._world import World

PATIENCE = 10.0
"""Seconds for what should take a moment."""
HURRY = 0.05
"""Seconds after which callers who wait give up."""
SHORTEST_DEADLINE = 0.001
TOGETHER = 4
"""Callers who give an exercise up at once."""
OF_ANOTHER = "-of-another"
"""Ends the names of the services that the settings of a second service name."""
SHORTEST = 4
"""Letters of a secret that is looked for; fewer may stand anywhere by chance."""


class Interrupted(BaseException):
    """Stands for cancellation where nothing can be cancelled: from inside, no layer may keep it."""


class Mistake(Exception):
    """Stands for a mistake of a plugin further in, for which no layer may answer."""


ENDS = Exception, Interrupted, asyncio.CancelledError, pytest.fail.Exception
"""What ends a request or an exercise, also one that has not raised what it should."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one request or operation, for its caller."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    body: bytes = b""
    error: BaseException | None = None

    def __str__(self) -> str:
        if self.error is None:
            return f"status {self.status}" if self.status else "a result"
        said = f": {self.error}" if isinstance(self.error, FlextError) else ""
        return kind_of(self.error) + said


class Ask:
    """Performs an operation: what the rig's own plugin lends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, function: Callable[[], object]) -> Any:
        operation = Operation("rig", "ask", "rig:1", idempotent=True)
        asked = self._connection.perform(operation, function)
        return asked if self._connection.asynchronous else self._connection.drive(asked)


class Rig:
    """One plugin in one world, between a caller and a service.

    Attributes:
        name: the world's, such as `httpx async`.
        subject: the plugin, and what its author says of it.
        world: where.
        service: the service whose plugin it is.
        others: the services that its settings name.
        served: it and, if there are settings for it, `another` with the same plugin, whose others
            end with `OF_ANOTHER` in `others`.
        host: composed, not yet connected.
        record: what its hooks saw.
        events: what was emitted, as text.
        failures: what was emitted of observers that raised.
        uncounted: operations and their errors that are no failures of the system.
        overtime: operations and the seconds for which they went on after their deadline.
        lent: what it lends, per connection that was opened.
        raising: what exchanges end with from inside, if they are to.
        raised: how many did.
        failed: how many were sent, and failed.
        hangs: whether what runs here is stuck, so that its event loop cannot be closed.
        pauses: watches the event loop, if it is to be watched.
    """

    def __init__(
        self,
        world: str,
        subject: Subject | None = None,
        settings_of_another: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the plugin; nothing is sent.

        Raises:
            FlextError: it cannot be made.
        """
        self.name, self.record, self.events = world, Record(), list[str]()
        self.subject = subject or Subject()
        self.lent: list[Resource] = []
        self.failures: list[PluginFailed] = []
        self.uncounted: list[tuple[Operation, Exception]] = []
        self.overtime: list[tuple[Operation, float]] = []
        self.raising: type[BaseException] | None = None
        self.raised = self.failed = 0
        self.hangs = False
        self.pauses: Pauses | None = None
        with ExitStack() as stack:
            self._stack = stack
            self.world: World = opened(world)
            self.service = self._loopback()
            self.service.answer = self.subject.answer
            stack.callback(lambda: None if self.hangs else self.world.end())
            self.others = self._others("")
            self.served = {"service": self.service}
            tables = {"service": self.subject.settings}
            if settings_of_another is not None:
                self.others |= self._others(OF_ANOTHER)
                self.served["another"] = self._loopback()
                tables["another"] = settings_of_another
            self.host = self._host(tables)
            if self.subject.prepare is not None:
                self.subject.prepare(self.host)
            self.host.check(*tables)
            self._stack = stack.pop_all()

    def _host(self, tables: Mapping[str, Mapping[str, Any]]) -> Host:
        plugins = {"rig": self._inside()}
        if (plugin := self.subject.plugin) is not None:
            plugins = {f"{plugin.__name__.lower()}-on-a-rig": self.record.of(plugin), **plugins}
        services: dict[str, Any] = {name: {"base_url": it.url} for name, it in self.others.items()}
        for name, settings in tables.items():
            table = {each: {} if each == "rig" else dict(settings) for each in plugins}
            url = self.served[name].url
            services[name] = {"base_url": url, "timeout": PATIENCE, "plugins": table}
        return self.world.host({"services": services, "allow_inline_secrets": True}, **plugins)

    @cached_property
    def elsewhere(self) -> LoopbackService:
        """A service of another origin."""
        return self._loopback()

    def _others(self, suffix: str) -> dict[str, LoopbackService]:
        others = {}
        for name, answer in self.subject.services.items():
            others[name + suffix] = made = self._loopback()
            made.answer = answer
        return others

    def _loopback(self) -> LoopbackService:
        made = LoopbackService()
        self._stack.callback(made.close)
        return made

    def _inside(self) -> type:
        """A plugin of the rig's own, inside the one on it."""
        rig = self

        class Inside:
            stage = Stage.SIGN

            @hookimpl
            def flext_connect(self, connection: Connection) -> None:
                rig.lent += connection._channel.resources  # noqa: SLF001 - of the same package
                connection.provide(Ask, Ask(connection))

            @hookimpl
            async def flext_exchange(
                self, request: Request, send: Callable[[Request], Awaitable[Response]]
            ) -> Response:
                if rig.raising is not None:
                    rig.raised += 1
                    raise rig.raising
                return await rig._sent(send, request)

            @hookimpl
            async def flext_operation(
                self, operation: Operation, proceed: Proceed, connection: Connection
            ) -> object:
                try:
                    return await proceed(operation)
                except Exception as error:
                    if connection.failure(error) is None:
                        rig.uncounted.append((operation, error))
                    raise
                finally:
                    rig._note_overtime(operation, connection.call)

            @hookimpl
            def flext_event(self, event: object) -> None:
                rig._note_event(event)

        return Inside

    def _note_event(self, event: object) -> None:
        ends = CallFinished | HopFinished
        more = f" {event.outcome}" if isinstance(event, ends) else ""
        if isinstance(event, PluginFailed):
            self.failures.append(event)
        self.events.append(type(event).__name__ + more)

    def _note_overtime(self, operation: Operation, call: Call | None) -> None:
        left = call.remaining() if call is not None else None
        if left is not None and left < 0:
            self.overtime.append((operation, -left))

    async def _sent(
        self, send: Callable[[Request], Awaitable[Response]], request: Request
    ) -> Response:
        try:
            return await send(request)
        except Exception:
            self.failed += 1
            raise

    def send(self, method: str = "GET", path: str = "/", **options: Any) -> Outcome:
        """One request by a client of its own."""
        return self._came_of(self.world.sender(self.host, method, path, **options))

    def exercise(self) -> Outcome:
        """The outcome of the author's exercise, while the service says what the author lets it."""
        exercise = self.subject.exercise
        if exercise is None:
            return Outcome()
        trial = self.trial()
        return self._came_of(lambda: exercise(trial))

    def exercises(self, count: int, *, hurried: bool = False) -> list[Callable[[], Any]]:
        """So many exercises to be done at once; none if the author has no exercise."""
        exercise, trial = self.subject.exercise, self.trial(hurried=hurried)
        return [] if exercise is None else [lambda: exercise(trial)] * count

    def trial(self, *, hurried: bool = False) -> Trial:
        """The plugin for its author to use, where the service says what the author lets it."""
        self.service.answer = self.subject.answer
        return Trial(self.world, self.host, self.service, self.others, hurried=hurried)

    def instances(self) -> list[object]:
        """The plugin instances of the host, once composed."""
        layers = self.host._runtime.composed("service").layers  # noqa: SLF001 - of the same package
        return [
            each.plugin for each in layers if isinstance(each.plugin, self.subject.plugin or ())
        ]

    def _came_of(self, work: Callable[[], Any]) -> Outcome:
        pauses = self.pauses
        try:
            answer = self.world.run(work if pauses is None else lambda: pauses.during(work))
        except ENDS as error:
            return Outcome(error=error)
        return Outcome() if answer is None else outcome(answer)

    def step(self, step: Step) -> Outcome:
        """One request, and the answer that it is for."""
        if step.answer is None:
            self.service.refuse()
        else:
            self.service.answer = step.answer
        options: dict[str, Any] = {}
        if step.body:
            stream = self.world.upload(b"one", b"two")
            options["content"] = stream if step.body == "stream" else b"onetwo"
        came = self.send(step.method, step.path, **options)
        if step.answer is None:
            self.service.listen()
        return came

    def first_chunk(self) -> bytes | None:
        """The first chunk of an answer as the caller gets it, who then hangs up."""
        requests = self.world.name == "requests"

        def read() -> bytes | None:
            with self.world.connect(self.host) as client:
                if requests:
                    with client.get("/chunks", stream=True) as answer:
                        return next(answer.iter_content(None), None)
                with client.stream("GET", "/chunks") as answer:
                    return next(answer.iter_raw(), None)

        async def aread() -> bytes | None:
            async with (
                self.world.aconnect(self.host) as client,
                client.stream("GET", "/chunks") as answer,
            ):
                return await anext(answer.aiter_raw(), None)

        chunk: bytes | None = self.world.run(aread if self.world.asynchronous else read)
        return chunk

    def operate(self, function: Callable[[], object]) -> Outcome:
        """One operation through the plugin."""
        ask = self.world.resource(self.host, Ask)
        try:
            self.world.run(lambda: ask(function))
        except (Exception, Interrupted) as error:
            return Outcome(error=error)
        return Outcome(status=0)

    def look_in(self) -> tuple[Status | None, float]:
        """The plugin's status as another thread gets it, and the seconds that it took."""
        started = time.perf_counter()
        states = self.world.status(self.host)
        seconds = time.perf_counter() - started
        return next(iter(states.values()), None), seconds

    def secrets(self) -> list[str]:
        """The secrets in the settings, but for those of a few letters."""
        composition = self.host._runtime.composed("service")  # noqa: SLF001 - of the same package
        values = [each.get_secret_value() for each in composition.secrets]
        return [each for each in values if len(each) >= SHORTEST]

    def cancelled(self) -> Outcome | None:
        """A request whose task is cancelled while it is answered; `None` if it ended before."""
        self.service.answer = Answer(delay=PATIENCE)
        send = self.world.sender(self.host, "GET", "/cancelled")
        ended = False

        async def cancel() -> Any:
            nonlocal ended
            task = asyncio.ensure_future(send())
            while not (self.service.active or task.done()):  # noqa: ASYNC110 - it is in a thread
                await asyncio.sleep(TICK)
            ended = not task.cancel()
            return await task

        came = self._came_of(cancel)
        return None if ended else came

    def abandoned(self, count: int) -> None:
        """So many requests at once, all given up: cancelled, or ended by their deadline if sync."""
        self.service.answer = Answer(delay=PATIENCE if self.world.asynchronous else 2 * HURRY)
        send = self.world.sender(self.host, "GET", "/abandoned")

        def hurry() -> None:
            with options(deadline=HURRY), suppress(Exception):
                send()

        async def cancel() -> None:
            tasks = [asyncio.ensure_future(send()) for _ in range(count)]
            await asyncio.wait(tasks, timeout=HURRY)  # those who can are being answered by now
            for each in tasks:
                each.cancel()
            await asyncio.wait(tasks)

        if self.world.asynchronous:
            self.world.run(cancel)
        else:
            self.world.all([hurry] * count)

    def exercised_and_abandoned(self, moments: Sequence[float]) -> None:
        """Exercises by several callers at once, given up after so many seconds.

        In an event loop all are cancelled, at each of the moments; in threads each caller has one
        of the moments as the deadline of its calls.
        """
        works = self.exercises(TOGETHER, hurried=True)

        def hurry(work: Callable[[], Any], moment: float) -> None:
            with options(deadline=max(moment, SHORTEST_DEADLINE)):
                self.world.run(work)

        async def cancel(moment: float) -> None:
            tasks = [asyncio.ensure_future(work()) for work in works]
            await asyncio.wait(tasks, timeout=moment)
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        if self.world.asynchronous:
            for moment in moments:
                self.world.run(partial(cancel, moment))
        else:
            for first in range(0, len(moments), TOGETHER):
                hurried = zip(works, moments[first:], strict=False)
                self.world.all([partial(hurry, *each) for each in hurried])

    def end(self) -> None:
        """Close everything, and let go of it, whoever still has this.

        Raises:
            Exception: what closing raised.
        """
        stack = self._stack
        try:
            stack.close()
        finally:
            vars(self).clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def outcome(answer: Any) -> Outcome:
    """The outcome that a client library's answer stands for."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Outcome(answer.status_code, headers, answer.content)


def kind_of(error: BaseException) -> str:
    """The name of a kind of error, the same in every library."""
    if isinstance(error, (FlextError, Interrupted, asyncio.CancelledError)):
        return type(error).__name__
    library = type(error).__module__.partition(".")[0]
    wire = library in {"httpx", "httpx2", "requests", "urllib3"}
    return "an error of the wire" if wire else type(error).__name__
