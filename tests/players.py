"""Plugins that do what a script says, and note what they see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from flext_plugins import Failure, Host, Operation, Refused, ServiceName, events, hookimpl
from flext_plugins.testing._world import driven

if TYPE_CHECKING:
    from scripts import Part, Script
    from traces import Run

MARK = "x-script-"
"""Headers that begin so are compared; the others are the libraries' own business."""


class Interrupt(BaseException):
    """What no `except Exception` catches, as a Ctrl-C."""


class Broken(Exception):
    """What an operation or the application's own body raises."""


class Ended(Exception):
    """What an operation raises that knows its failure."""

    failure = Failure.TIMEOUT


class Settings(BaseModel):
    """Whom a plugin asks."""

    asks: ServiceName = "other"  # type: ignore[assignment]


class Scripted:
    """What all scripted plugins do; `run`, `place` and `part` are set on their classes."""

    Settings = Settings
    run: Run
    part: Part
    place: int

    @property
    def act(self) -> Any:
        return self.run.step.acts[self.place]

    def note(self, hook: str, *facts: Any) -> None:
        self.run.note(f"plugin {self.place}", hook, *facts)

    @hookimpl
    def flext_connect(self, connection):
        self.note("connect", [each.name for each in connection.service.plugins])

    @hookimpl
    def flext_event(self, event, connection):
        call = getattr(event, "call", None)
        facts: list[Any] = [type(event).__name__, self.run.call(call)]
        if isinstance(event, (events.HopFinished, events.CallFinished)):
            facts += [event.outcome, event.attempts]
        elif isinstance(event, events.Retried):
            facts += [event.plugin, event.reason]
        elif isinstance(event, events.CallRefused):
            facts += [event.plugin, event.reason, event.retry_after]
        elif isinstance(event, events.PluginFailed):
            facts += [event.plugin, event.hook, self.run.error(event.error, connection)]
        elif isinstance(event, events.BodyEnded):
            facts += [self.run.error(event.error, connection), event.bytes]
        self.note("event", *facts)
        if self.part.deaf:
            raise Broken("deaf")

    @hookimpl
    async def flext_operation(self, operation, proceed, connection):
        self.note("operation", operation.name, self.run.call(connection.call))
        try:
            result = await proceed(operation)
        except BaseException as error:
            self.note("operation failed", self.run.error(error, connection))
            raise
        self.note("operation done", result)
        return result

    async def inward(self, request: Any, connection: Any, *, awaits: bool = True) -> Any:
        """On the way in: nothing, or an answer."""
        facts = self.run.request(request), connection.replayable(request)
        self.note("request", *facts, self.run.call(connection.call))
        act = self.act.before
        if act == "answer":
            return connection.respond(201, {f"{MARK}by": str(self.place)}, b"mine")
        if act == "mark":
            request.headers[f"{MARK}{self.place}"] = str(self.run.arrived)
        elif act == "garble":
            request.headers[f"{MARK}{self.place}"] = "line\nbreak"
        elif act == "emit":
            connection.emit("something")
        elif act == "late" and awaits:
            await connection.sleep(60)
        elif act == "read" and awaits:
            self.note("request read", await connection.read(request))
        elif act == "perform" and awaits:
            await self.perform(connection)
        elif act == "ask" and awaits:
            other = await connection.request("other", "GET", "/asked", headers={f"{MARK}ask": "1"})
            self.note("asked", self.run.response(other), await connection.read(other))
        self.fail(act)
        return None

    async def outward(self, response: Any, connection: Any, *, awaits: bool = True) -> Any:
        """On the way out: nothing, or another response."""
        facts = self.run.response(response), self.run.request(response.request)
        self.note("response", *facts, self.run.call(connection.call))
        act = self.act.after
        if act == "replace":
            return connection.respond(299, {f"{MARK}by": str(self.place)}, b"another")
        if act == "mark":
            response.headers[f"{MARK}{self.place}"] = "out"
        elif act == "status":
            response.status_code = 218
        elif act in {"watch", "trip"}:

            def ended(error: BaseException | None, size: int) -> None:
                self.note("watched", self.run.error(error, connection), size)
                self.fail("raise" if act == "trip" else "")

            connection.watch(response, ended)
        elif act == "read" and awaits:
            self.note("response read", await connection.read(response))
        self.fail(act)
        return None

    async def perform(self, connection: Any) -> None:
        async def work() -> str:
            if self.place == 2:
                raise Ended
            return "done"

        def fail() -> None:
            raise Broken("operation")

        operation = Operation("ldap", f"search {self.place}", "directory")
        self.note("performed", await connection.perform(operation, work))
        try:
            await connection.perform(operation, fail)
        except Exception as error:
            self.note("not performed", self.run.error(error, connection))

    def fail(self, act: str) -> None:
        if act == "raise":
            raise Broken("raised")
        if act == "refuse":
            raise Refused("refused", retry_after=7)
        if act == "interrupt":
            raise Interrupt


class Plain(Scripted):
    """Small hooks that are functions."""

    @hookimpl
    def flext_request(self, request, connection):
        return driven(self.inward(request, connection, awaits=False))

    @hookimpl
    def flext_response(self, response, connection):
        return driven(self.outward(response, connection, awaits=False))


class Awaiting(Scripted):
    """Small hooks that are coroutine functions."""

    @hookimpl
    async def flext_request(self, request, connection):
        return await self.inward(request, connection)

    @hookimpl
    async def flext_response(self, request, response, connection):
        self.note("answered request", self.run.request(request))
        return await self.outward(response, connection)


class Around(Scripted):
    """One hook around the exchange."""

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        answer = await self.inward(request, connection)
        if answer is not None:
            return answer
        try:
            response = await send(request)
            if self.act.around == "again":
                self.note("again", self.run.response(response), connection.replayable(request))
                response = await send(request)
        except BaseException as error:
            self.note("failed", self.run.error(error, connection), self.run.call(connection.call))
            if self.act.around in {"", "again"} or not isinstance(error, Exception):
                raise
            if self.act.around == "convert":
                raise Broken("converted") from error
            if self.act.around == "swallow":
                return connection.respond(599, None, b"swallowed")
            response = await send(request)
        return await self.outward(response, connection) or response


FORMS = {"plain": Plain, "awaiting": Awaiting, "around": Around}


def composed(run: Run, script: Script) -> Host:
    """A host with a class of its own for each part."""
    names = [f"p{place}" for place in range(len(script.parts))]
    own = {"base_url": run.service.url, "max_connections": 2, "plugins": {n: {} for n in names}}
    own["timeout"] = {"connect": 5, "read": 5, "write": 5, "pool": 2}
    host = Host({"services": {"service": own, "other": {"base_url": run.elsewhere.url}}})
    for place, part in enumerate(script.parts):
        facts = {"run": run, "part": part, "place": place}
        kind = type(part.form, (FORMS[part.form],), facts)
        kind.stage, kind.observer = part.stage, part.observer  # type: ignore[attr-defined]
        host.register(kind, names[place])
    return host
