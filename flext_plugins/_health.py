"""Asking services how they are: `host.health()` and `host.ahealth()`."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_all
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from flext_plugins._call import Scope, least, new_call, restore, scope
from flext_plugins._chain.drive import drive
from flext_plugins._chain.layer import IDENTIFIED
from flext_plugins._connections.log import account
from flext_plugins._errors import AnswerTooLong, FlextError
from flext_plugins._masking import Mask
from flext_plugins._wire import failure_of
from flext_plugins.events import HealthChecked
from flext_plugins.hookspecs import Stage
from flext_plugins.redaction import printable, redact
from flext_plugins.status import ResourceHealth, ServiceHealth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flext_plugins._call import Call
    from flext_plugins._composition import Composition
    from flext_plugins._connections.channel import Channel
    from flext_plugins._connections.resource import Resource
    from flext_plugins._runtime import Runtime
    from flext_plugins._wire import Wire

THREADS = 64
"""So many services are asked at once from sync code."""
GRACE = 0.5
"""Seconds that what ends with its call's deadline may come later than that."""
LONGEST = 65_536
"""Bytes of an answer that are looked at."""
LONGEST_WORDS = 500
"""Characters of what is wrong with a service."""
BAD = {"fail", "error", "down", "unhealthy", "failed", "failing", "critical", "unavailable"}
"""What a `status` says of a service that is not well; the first three are those of
draft-inadarei-api-health-check-06, section 3.1."""
FLAGS = ("healthy", "ok", "success", "status")
"""What is `false` of a service that is not well."""
INNER = "data"
"""In which some services wrap what they say."""
NOT_WELL = "says that it is not well"
HEADERS = {
    "Cache-Control": "no-cache",
    "Accept": "application/json, */*;q=0.5",
    "Accept-Encoding": "identity",
}
REFUSED = {401, 403, 407}
GUARDS = {Stage.RETRY, Stage.GUARD}


def check_all(runtime: Runtime, names: Sequence[str], seconds: float) -> dict[str, ServiceHealth]:
    """Ask the services at once, each in a thread.

    One that has not answered yet, whoever asked, is not asked again: its answer is waited for.
    """
    asked: dict[str, Future[ServiceHealth]] = {}
    new: deque[str] = deque()
    with runtime.asking_lock:
        for name in names:
            if name not in runtime.asking:
                runtime.asking[name] = Future()
                new.append(name)
            asked[name] = runtime.asking[name]
    for _ in range(min(len(new), THREADS)):
        work = partial(copy_context().run, _work, runtime, new, seconds)
        threading.Thread(target=work, name="flext-plugins health", daemon=True).start()
    rounds = -(-len(names) // THREADS)
    done, _ = wait_for_all(asked.values(), rounds * (seconds + GRACE))
    found = {
        name: each.result() if each in done else _hung(seconds) for name, each in asked.items()
    }
    runtime.health.update(found)
    return found


def _work(runtime: Runtime, names: deque[str], seconds: float) -> None:
    """Ask one service after another, until none is left."""
    with suppress(IndexError):
        while True:
            name = names.popleft()
            try:
                found = drive(_check(runtime, name, seconds, asynchronous=False))
            except BaseException as error:  # `sys.exit` of a plugin's too: it is that service's
                found = ServiceHealth(False, f"asking raised {type(error).__name__}", time.time())
            with runtime.asking_lock:
                asked = runtime.asking.pop(name)
            asked.set_result(found)


async def acheck_all(
    runtime: Runtime, names: Sequence[str], seconds: float
) -> dict[str, ServiceHealth]:
    """Ask the services at once, in the running event loop."""

    async def check(name: str) -> ServiceHealth:
        task = asyncio.current_task()
        try:
            async with asyncio.timeout(seconds + GRACE):
                return await _check(runtime, name, seconds, asynchronous=True)
        except TimeoutError:
            return _hung(seconds)
        except (Exception, asyncio.CancelledError) as error:
            if task is not None and task.cancelling():
                raise
            return ServiceHealth(False, f"asking raised {type(error).__name__}", time.time())

    found = dict(zip(names, await asyncio.gather(*map(check, names)), strict=True))
    runtime.health.update(found)
    return found


def _hung(seconds: float) -> ServiceHealth:
    return ServiceHealth(False, f"no answer within {seconds:g} s", time.time())


async def _check(
    runtime: Runtime, name: str, seconds: float, *, asynchronous: bool
) -> ServiceHealth:
    try:
        composition = runtime.composed(name)
        channel = await runtime.channels.get(name, asynchronous=asynchronous)
        wire = _wire_of(channel)
    except FlextError as error:
        return ServiceHealth(False, _sentence(error), time.time())
    call = new_call(composition.service)
    call.deadline = least(call.deadline, call.started + seconds)
    call.route = composition.service.health
    absent = frozenset(_guards(runtime, name))
    # Inside a scope of its own the call is nobody's whose failure the log should tell.
    token = scope.set(Scope(call, None, absent))
    try:
        found = await _ask(channel, wire, composition, call, absent)
        lent = [each for each in channel.resources if callable(getattr(each.value, "health", None))]
        resources = [await _ask_resource(each, is_async=asynchronous) for each in lent]
    finally:
        restore(scope, token)
    ill = [f"{each.kind}: {each.problem}" for each in resources if not each.healthy]
    problem = "; ".join(filter(None, [found.problem, *ill]))
    found = replace(found, healthy=not problem, problem=problem, resources=tuple(resources))
    channel.emit(HealthChecked(found.healthy, found.problem, found.latency))
    return found


def _wire_of(channel: Channel) -> Wire | None:
    """Give a way to the service, one that is in use if there is one; none where it only lends."""
    if channel.service.base_url is None:
        return None
    used = [*channel.wires.values()]
    return used[0] if used else channel.wire(channel.runtime.default_library)


def _guards(runtime: Runtime, name: str) -> Iterator[int]:
    """Yield the `id`s of what resends or refuses, at the service and those its plugins may ask."""
    seen, names = set[str](), [name]
    while names:
        if (each := names.pop()) not in seen:
            seen.add(each)
            composition = runtime.composed(each)
            names += composition.edges
            yield from (id(e.plugin) for e in composition.layers if e.stage in GUARDS)


async def _ask(
    channel: Channel,
    wire: Wire | None,
    composition: Composition,
    call: Call,
    absent: frozenset[int],
) -> ServiceHealth:
    """Send a request that says how the service is, unless it only lends."""
    service, now = composition.service, time.time()
    if wire is None:
        return ServiceHealth(True, "", now)
    method, path = ("HEAD", "") if service.health is None else ("GET", service.health)
    try:
        request = wire.messages.build(method, path, HEADERS, b"")
        response = await channel.exchange(request, wire, call, absent)
    except Exception as error:
        return _without_answer(composition, call, wire, error, now)
    latency = time.monotonic() - call.started
    try:
        told, problem = await _object_in(wire, response), ""
    except Exception as error:
        told, problem = {}, f"its answer's body: {_sentence(error)}"
    finally:
        await wire.close(response)
    if call.answered_by is not None:
        return ServiceHealth(False, f"the answer is plugin {call.answered_by!r}'s", now)
    status, sent = response.status_code, response.sent
    told = _words(told, Mask(sent.headers, service.name, composition.secrets))
    identifies = IDENTIFIED in sent.extensions or wire.messages.identified(sent)
    problem = _problem(status, told, is_asked=service.health is not None) or problem
    return ServiceHealth(
        not problem,
        problem,
        now,
        reachable=True,
        tls=_tls(composition),
        credential=("refused" if status in REFUSED else "accepted") if identifies else None,
        status=status,
        latency=latency,
        version=_text(told.get("version")),
    )


def _words(told: dict[str, Any], mask: Mask) -> dict[str, Any]:
    """Keep of an answer what it says of the service, without what it repeats of what was sent."""
    words = {key: told[key] for key in (*FLAGS, "problem", "version") if key in told}
    words = {key: mask(each) if isinstance(each, str) else each for key, each in words.items()}
    if isinstance(inner := told.get(INNER), dict):
        words[INNER] = _words({**inner, INNER: None}, mask)
    return words


def _problem(status: int, told: dict[str, Any], *, is_asked: bool) -> str:
    """Say what is wrong with an answer: only refusals and failures if no path was named."""
    if status in REFUSED or (is_asked and not 200 <= status < 300) or status >= 500:
        return f"answered {status}"
    return _complaint(told) or (_complaint(told[INNER]) if INNER in told else "")


def _complaint(found: Any) -> str:
    """Repeat what a service's answer, or what a `health()` gave, says against it."""
    if isinstance(found, Exception):
        return _sentence(found)
    if isinstance(found, Mapping):
        told = {name: found.get(name) for name in (*FLAGS, "problem")}
    else:
        told = {name: getattr(found, name, None) for name in (*FLAGS, "problem")}
    said = (_text(found if isinstance(found, str) else told["status"]) or "").strip()
    if said.lower() in BAD:
        return f"says that it is {said!r}"
    if found is False or any(told[name] is False for name in FLAGS):
        return _text(told["problem"]) or NOT_WELL
    return ""


def _text(value: Any) -> str | None:
    return redact(value)[:200] if isinstance(value, str) else None


async def _object_in(wire: Wire, response: Any) -> dict[str, Any]:
    """The object in the answer's body, if it is a short one in JSON and not compressed.

    Numbers are taken as they are written: Python refuses to read some.
    """
    headers = response.headers
    is_plain = headers.get("Content-Encoding", "identity").strip().lower() == "identity"
    if "json" not in headers.get("Content-Type", "").lower() or not is_plain:
        return {}
    try:
        body = await wire.read(response, LONGEST)
    except AnswerTooLong:
        return {}
    try:
        told = json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _without_answer(
    composition: Composition, call: Call, wire: Wire, error: Exception, now: float
) -> ServiceHealth:
    """Tell what is known of a service after `error`."""
    failure = failure_of(error, wire)
    problem = _sentence(error)
    if failure is not None and not isinstance(error, FlextError):
        problem = f"{failure.value}: {problem}"
    senders = {each.name for each in composition.layers if each.identifies}
    lacks_credential = isinstance(error, FlextError) and error.plugin in senders
    return ServiceHealth(
        False,
        problem,
        now,
        reachable=False if failure is not None or call.sent else None,
        tls="failed" if _broke_tls(error) else None,
        credential="missing" if lacks_credential else None,
    )


def _sentence(error: Exception) -> str:
    return printable(str(error) if isinstance(error, FlextError) else account(error), LONGEST_WORDS)


def _tls(composition: Composition) -> Any:
    service = composition.service
    if not (service.base_url or "").lower().startswith("https:"):
        return None
    return "not verified" if service.verify is False else "verified"


def _broke_tls(error: Exception) -> bool:
    """Whether `error` came of a TLS handshake."""
    inside: list[Any] = [error]
    for each in islice(inside, 20):
        if isinstance(each, ssl.SSLError):
            return True
        # urllib3 keeps an error among another's arguments, or as its `reason`.
        found = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        inside += [error for error in found if isinstance(error, BaseException)]
    return False


async def _ask_resource(resource: Resource, *, is_async: bool) -> ResourceHealth:
    """Ask a resource that has a method `health`."""
    who = resource.kind.__name__, resource.name, resource.plugin
    started, ask = time.monotonic(), resource.value.health
    try:
        if is_async and not inspect.iscoroutinefunction(ask):
            found = await asyncio.to_thread(ask)  # it may block
        else:
            found = ask()
        if inspect.isawaitable(found):
            found = await found
        problem = _complaint(found)
        latency, version = getattr(found, "latency", None), _text(getattr(found, "version", None))
    except Exception as error:
        return ResourceHealth(*who, False, _sentence(error), time.monotonic() - started)
    if not isinstance(latency, float) or not math.isfinite(latency):
        latency = time.monotonic() - started
    return ResourceHealth(*who, not problem, problem, latency, version)
