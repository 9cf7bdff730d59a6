"""10,000 requests with all kinds of faults: each attempt's span ends, and none is left current."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from opentelemetry import trace

from flext_plugins import FlextError, Host, Stage, hookimpl
from flext_plugins.testing import Answer, LoopbackService, World

Serve = Callable[..., Host]
ANSWERED = (200, 201, 304, 404, 500, 503)
REQUESTS, AT_ONCE = 2_000, 50
"""In each of the five worlds."""


class Faults:
    """Stands for a service and its network: answers, fails, hangs until it is cancelled."""

    stage = Stage.SIGN

    def __init__(self) -> None:
        self.number, self.random = itertools.count(), random.Random(7)

    @hookimpl
    async def flext_exchange(self, request: Any, send: Any, connection: Any) -> Any:
        fate = next(self.number) % 20
        if connection.asynchronous:
            await connection.sleep(self.random.choice((0, 0, 0.002)))
        if fate == 0:
            raise ConnectionResetError(104, "canary")
        if fate == 1:
            raise ValueError("canary")
        if fate == 2:
            return await send(request)  # the real one, which resets connections
        if fate == 3 and connection.asynchronous:
            await connection.sleep(60)
        return connection.respond(ANSWERED[fate % len(ANSWERED)])


async def asked(client: Any, number: int, came: Counter[str]) -> None:
    """One request; who waits too long is cancelled."""

    async def ask() -> str:
        try:
            return str((await client.get(f"/{number}")).status_code)
        except Exception as error:
            return "ours" if isinstance(error, FlextError) else "the library's"
        finally:
            assert not trace.get_current_span().get_span_context().is_valid

    task = asyncio.ensure_future(ask())
    await asyncio.wait({task}, timeout=0.25)
    task.cancel()
    await asyncio.wait({task})
    came["cancelled" if task.cancelled() else task.result()] += 1


def sent(client: Any, number: int, came: Counter[str]) -> None:
    try:
        came[str(client.get(f"/{number}").status_code)] += 1
    except Exception as error:
        came["ours" if isinstance(error, FlextError) else "the library's"] += 1
    assert not trace.get_current_span().get_span_context().is_valid


def test_each_of_ten_thousand_attempts_ends_its_span(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    flext_service.answer = Answer(reset=True)
    host, came = serve(Faults), Counter[str]()

    async def all_of_them() -> None:
        client = (await flext_world.client(host)).plain
        numbers = iter(range(REQUESTS))

        async def caller() -> None:
            for number in numbers:
                await asked(client, number, came)

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))

    if flext_world.asynchronous:
        flext_world.run(all_of_them)
    else:
        with flext_world.connect(host) as client:
            numbers = iter(range(REQUESTS))

            def caller() -> None:
                for number in numbers:
                    sent(client, number, came)

            assert flext_world.all([caller] * 8) == [None] * 8
    assert sum(came.values()) == REQUESTS
    assert {"200", "404", "503", "ours", "the library's"} <= came.keys()
    assert ("cancelled" in came) is flext_world.asynchronous
    assert REQUESTS >= spans.started == len(spans.ended) >= REQUESTS - came["cancelled"]
    ids = {span.context.span_id for span in spans.ended}
    assert (len(ids), {span.parent for span in spans.ended}) == (spans.started, {None})
    codes = Counter(str(span.attributes.get("http.response.status_code")) for span in spans.ended)
    assert [code for code in came if code.isdigit() and codes[code] < came[code]] == []
    assert "canary" not in spans.text
