"""Scripts put on in a world, and everything that was seen meanwhile."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from players import MARK, Broken, Ended, Interrupt, composed
from scripts import AWAY, Script, Step

from flext_plugins import FlextError, options
from flext_plugins.testing import Answer, LoopbackService, Received

if TYPE_CHECKING:
    from flext_plugins.testing import World


class Run:
    """One script in one world.

    Attributes:
        trace: what was seen, in its order.
        step: the step under way.
        arrived: how many requests of this step have reached the service.
    """

    def __init__(self, world: World, service: LoopbackService, elsewhere: LoopbackService) -> None:
        self.world, self.service, self.elsewhere = world, service, elsewhere
        self.trace: list[tuple[Any, ...]] = []
        self.number, self.arrived = 0, 0
        self.step: Any = None
        self._calls: list[str] = []

    def note(self, *facts: Any) -> None:
        self.trace.append((self.number, *facts))

    def call(self, call: Any) -> Any:
        """The call, as which one it is and what it knows of itself."""
        if call is None:
            return None
        if call.id not in self._calls:
            self._calls.append(call.id)
        return f"call {self._calls.index(call.id)}", call.attempt, call.answered_by

    def url(self, url: Any) -> str:
        text = str(url).replace(self.service.url, "")
        return text.replace(self.elsewhere.url, AWAY)

    def request(self, request: Any) -> Any:
        return request.method, self.url(request.url), self.headers(request.headers)

    def response(self, response: Any) -> Any:
        status, headers = response.status_code, self.headers(response.headers)
        return status, headers, response.headers.get("Content-Length")

    def headers(self, headers: Any) -> Any:
        framing = {"transfer-encoding"} if self.step.body in {"stream", "broken"} else set()
        pairs = [(name.lower(), value) for name, value in headers.items()]
        return sorted(each for each in pairs if each[0].startswith(MARK) or each[0] in framing)

    def error(self, error: BaseException | None, connection: Any = None) -> Any:
        """An error as plugins and applications may tell it from others, in any library."""
        if error is None:
            return None
        kind = connection and connection.failure(error)
        if isinstance(error, FlextError):
            plain = next(each for each in type(error).__mro__ if not hasattr(each, "plain"))
            facts = error.plugin, getattr(error, "hook", None), self._native(error), kind
            if error.__cause__ is not None:  # its class and line stand in the text
                return plain.__name__, *facts, self.error(error.__cause__, connection)
            return plain.__name__, *facts, str(error)
        if isinstance(error, (Broken, Ended, Interrupt, asyncio.CancelledError)):
            return type(error).__name__, kind
        if isinstance(error, self.world.lib.StreamConsumed):
            return "consumed", kind
        if type(error).__name__ == "TooManyRedirects":
            return "too many redirects", kind
        return "wire" if isinstance(error, self.world.lib.TransportError) else repr(error), kind

    def _native(self, error: BaseException) -> Any:
        lib = self.world.lib
        return isinstance(error, lib.TransportError), isinstance(error, lib.TimeoutException)

    def answer(self, received: Received) -> Answer:
        """What the service says next."""
        step: Step = self.step
        answer = step.answers[min(self.arrived, len(step.answers) - 1)]
        if received.method == "HEAD":
            answer = replace(answer, cut=None)
        if (headers := dict(answer.headers)).get("Location") == AWAY:
            answer = replace(answer, headers=headers | {"Location": f"{self.elsewhere.url}/"})
        if step.cancelled or step.service == "late":
            answer = Answer(delay=0.5)
        self.arrived += 1
        return answer


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def broken() -> Any:
    yield b"one"
    raise Broken("body")


async def abroken() -> Any:
    yield b"one"
    raise Broken("body")


async def sent(run: Run, client: Any, step: Step) -> Any:
    """The response to the step's request, by the library's own client."""
    body: Any = {"none": None, "bytes": b"bytes"}.get(step.body)
    if step.body == "stream":
        body = run.world.upload(b"one", b"two")
    elif step.body == "broken":
        body = abroken() if run.world.asynchronous else broken()
    headers, streamed = {f"{MARK}caller": "1"}, step.reading != "whole"
    read = 0.1 if step.service == "late" else 5.0
    if run.world.name == "requests":
        return client.request(
            step.method,
            "/start?a=b",
            headers=headers,
            data=body,
            stream=streamed,
            allow_redirects=step.follow,
            timeout=(5.0, read),
        )
    limits = {"connect": 5.0, "read": read, "write": 5.0, "pool": 2.0}
    request = client.build_request(
        step.method,
        "/start?a=b",
        headers=headers,
        content=body,
        timeout=run.world.lib.Timeout(**limits),
    )
    return await settled(client.send(request, stream=streamed, follow_redirects=step.follow))


async def came(run: Run, client: Any, step: Step) -> Any:
    """What the application sees of its request."""
    try:
        response = await sent(run, client, step)
    except BaseException as error:
        call = getattr(error, "call", None) or getattr(error, "flext_call", None)
        return "raised", run.error(error), run.call(call)
    try:
        history = [each.status_code for each in response.history]
        facts = run.response(response), history, run.request(response.request)
        call = run.call(response.extensions["flext_plugins.call"])
        if step.reading == "closed":
            return "closed", *facts, call
        if step.reading == "streamed" and run.world.name != "requests":
            reading = response.aread if run.world.asynchronous else response.read
            await settled(reading())
        return "read", *facts, call, response.content
    except Exception as error:
        return "broke", *facts, call, run.error(error)
    finally:
        await settled((response.aclose if run.world.asynchronous else response.close)())


async def taken(run: Run, client: Any, step: Step) -> Any:
    """One step: what `came`, also where its task is cancelled."""
    if not step.cancelled:
        return await came(run, client, step)
    task = asyncio.create_task(came(run, client, step))
    while not (task.done() or run.arrived):
        await asyncio.sleep(0.001)
    task.cancel()
    return await task


def traced(script: Script, world: World, *services: LoopbackService) -> list[tuple[Any, ...]]:
    """Everything seen while the script runs in that world."""
    run = Run(world, *services)
    service, elsewhere = services
    service.answer, elsewhere.answer = run.answer, Answer(body=b"elsewhere")
    host = composed(run, script)

    async def played() -> None:
        client = (await world.client(host, max_redirects=4)).plain
        for run.number, run.step in enumerate(script.steps):
            run.arrived = 0
            service.received.clear()
            elsewhere.received.clear()
            if run.step.service == "refuses":
                service.refuse()
            try:
                with options(deadline=30.0):
                    run.note("application", *await taken(run, client, run.step))
            finally:
                service.listen() if run.step.service == "refuses" else None
            for name, each in (("service", service), ("elsewhere", elsewhere)):
                for got in each.received:
                    facts = got.method, got.path, run.headers(got.headers), got.body
                    run.note(name, *facts)
        await settled((client.aclose if world.asynchronous else client.close)())

    run.step = script.steps[0]
    try:
        world.run(played)
    finally:
        world.close(host)
    return run.trace
