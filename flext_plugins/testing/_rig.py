"""A plugin on a test rig: composed for a service on loopback, watched from both sides."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from flext_plugins._call import options
from flext_plugins._errors import FlextError
from flext_plugins._service import Operation
from flext_plugins.events import CallFinished, HopFinished
from flext_plugins.hookspecs import Stage, hookimpl
from flext_plugins.testing._record import Record
from flext_plugins.testing._service import Answer, LoopbackService
from flext_plugins.testing._world import opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Self

    from flext_plugins._connections.connection import Connection, Resource
    from flext_plugins._host import Host
    from flext_plugins._messages import Request, Response
    from flext_plugins.testing._service import Received
    from flext_plugins.testing._world import World

PATIENCE = 10.0
"""Seconds for what should take a moment."""
HURRY = 0.05
"""Seconds after which callers who wait give up."""
TICK = 0.001
"""Seconds between two looks at whether an event loop still runs."""


class Interrupted(BaseException):
    """Stands for cancellation where nothing can be cancelled: from inside, no layer may keep it."""


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
            return f"status {self.status}"
        said = f": {self.error}" if isinstance(self.error, FlextError) else ""
        return kind_of(self.error) + said


class Step(NamedTuple):
    """One request, and what the service makes of it."""

    name: str
    answer: Answer | None = None
    """`None` refuses the connection."""
    method: str = "GET"
    body: str = ""
    """`bytes`, `stream`, or empty for none."""

    @property
    def fails(self) -> bool:
        """Whether no answer comes."""
        return self.answer is None or self.answer.reset or self.answer.raw is not None


STEPS = (
    Step("an answer", Answer(headers={"X-Of": "service"})),
    Step("an answer to a body", Answer(201), "POST", "bytes"),
    Step("an answer to a stream", Answer(202), "POST", "stream"),
    Step("no such thing", Answer(404)),
    Step("credentials rejected", Answer(401)),
    Step("an error of the service", Answer(500)),
    Step("an overloaded service", Answer(503, {"Retry-After": "0"})),
    Step("a connection reset", Answer(reset=True)),
    Step("a body that breaks", Answer(body=b"0123456789", cut=4)),
    Step("an answer that is not HTTP", Answer(raw=b"SSH-2.0-other\r\n")),
    Step("a refused connection"),
)


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
        world: where.
        service: the service whose plugin it is.
        elsewhere: a service of another origin.
        others: the services that its settings name.
        host: composed, not yet connected.
        record: what its hooks saw.
        events: what was emitted, as text.
        lent: what it lends, per connection that was opened.
        interrupting: whether exchanges end with `Interrupted`, from inside.
        interrupted: how many did.
        hangs: whether what runs here is stuck, so that its event loop cannot be closed.
        pauses: where it is a list, seconds that the event loop stood still at a time.
    """

    def __init__(
        self,
        world: str,
        plugin: type | None = None,
        settings: Mapping[str, Any] | None = None,
        services: Mapping[str, Callable[[Received], Answer]] | None = None,
        prepare: Callable[[Host], None] | None = None,
    ) -> None:
        """Make the plugin; nothing is sent.

        Raises:
            FlextError: it cannot be made.
        """
        self.name, self.record, self.events = world, Record(), list[str]()
        self.lent: list[Resource] = []
        self.interrupting, self.interrupted = False, 0
        self.hangs = False
        self.pauses: list[float] | None = None
        with ExitStack() as stack:
            self._stack = stack
            self.world: World = opened(world)
            self.service, self.elsewhere = self._loopback(), self._loopback()
            self.others = {name: self._loopback() for name in services or {}}
            for name, answer in (services or {}).items():
                self.others[name].answer = answer
            stack.callback(lambda: None if self.hangs else self.world.end())
            self.host = self._host(plugin, dict(settings or {}))
            if prepare is not None:
                prepare(self.host)
            self.host.check("service")
            self._stack = stack.pop_all()

    def _host(self, plugin: type | None, settings: dict[str, Any]) -> Host:
        plugins, tables = {"rig": self._inside()}, dict[str, Any](rig={})
        if plugin is not None:
            name = f"{plugin.__name__.lower()}-on-a-rig"
            plugins = {name: self.record.of(plugin), **plugins}
            tables = {name: settings, **tables}
        services = {name: {"base_url": each.url} for name, each in self.others.items()}
        mine = {"base_url": self.service.url, "timeout": PATIENCE, "plugins": tables}
        config = {"services": {**services, "service": mine}, "allow_inline_secrets": True}
        return self.world.host(config, **plugins)

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
                if rig.interrupting:
                    rig.interrupted += 1
                    raise Interrupted
                return await send(request)

            @hookimpl
            def flext_event(self, event: object) -> None:
                ends = CallFinished | HopFinished
                more = f" {event.outcome}" if isinstance(event, ends) else ""
                rig.events.append(type(event).__name__ + more)

        return Inside

    def send(self, method: str = "GET", path: str = "/", **options: Any) -> Outcome:
        """One request by a client of its own."""
        return self._came_of(self.world.sender(self.host, method, path, **options))

    def _came_of(self, work: Callable[[], Any]) -> Outcome:
        async def watched() -> Any:
            ticking = asyncio.ensure_future(_tick(self.pauses))
            await asyncio.sleep(0)  # it ticks before the work begins
            try:
                return await work()
            finally:
                await asyncio.sleep(2 * TICK)
                ticking.cancel()

        try:
            answer = self.world.run(work if self.pauses is None else watched)
        except (Exception, Interrupted, asyncio.CancelledError) as error:
            return Outcome(error=error)
        return outcome(answer)

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
        came = self.send(step.method, "/step?a=b", **options)
        if step.answer is None:
            self.service.listen()
        return came

    def operate(self, function: Callable[[], object]) -> Outcome:
        """One operation through the plugin."""
        ask = self.world.resource(self.host, Ask)
        try:
            self.world.run(lambda: ask(function))
        except (Exception, Interrupted) as error:
            return Outcome(error=error)
        return Outcome(status=0)

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

    def end(self) -> None:
        """Close everything.

        Raises:
            Exception: what closing raised.
        """
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def outcome(answer: Any) -> Outcome:
    """The outcome that a client library's answer stands for."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Outcome(answer.status_code, headers, answer.content)


async def _tick(pauses: list[float] | None) -> None:
    last = time.perf_counter()
    while pauses is not None:
        await asyncio.sleep(TICK)
        now = time.perf_counter()
        pauses.append(now - last - TICK)
        last = now


def kind_of(error: BaseException) -> str:
    """The name of a kind of error, the same in every library."""
    if isinstance(error, (FlextError, Interrupted, asyncio.CancelledError)):
        return type(error).__name__
    library = type(error).__module__.partition(".")[0]
    wire = library in {"httpx", "httpx2", "requests", "urllib3"}
    return "an error of the wire" if wire else type(error).__name__
