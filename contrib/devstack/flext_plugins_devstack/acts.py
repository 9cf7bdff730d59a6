"""The acts of the demo: each does one thing with flext-plugins, and looks at what the servers saw.

An act yields what it sees, line by line, and raises `Unmet` where that is not what it promises.
"""

import asyncio
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx

import flext_plugins
from flext_plugins import Connection, Host, Refused, Request, Response, Service, Stage, hookimpl
from flext_plugins.events import StateChanged

from .fault import Fault
from .server import Received
from .stack import Devstack

T = TypeVar("T")

CONFIG = Path(__file__).with_name("flext.toml")
PLUGINS = "/api/v1/flexcore/plugins"
NAMES = ("auth", "circuit-breaker")
CALLERS = 20
THRESHOLD = 3
PATIENCE = 10.0  # seconds that callers wait for each other, at most
API_KEY = "demo-api-key-4711"
SECRET_HEADERS = ("authorization", "x-api-key")


class Unmet(Exception):
    """What was seen is not what the act promises."""


def expect(what: str, wanted: object, seen: object) -> None:
    """Compare; neither may hold a secret, because both are told.

    Raises:
        Unmet: they differ.
    """
    if seen != wanted:
        raise Unmet(f"{what}: expected {wanted}, saw {seen}")


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and in the end put back what there was."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Since:
    """What the servers have seen since this was made."""

    def __init__(self, stack: Devstack) -> None:
        self._stack = stack
        self._before = (len(stack.flexcore.received), len(stack.elsewhere.received))
        self._logins = stack.auth.logins

    @property
    def flexcore(self) -> list[Received]:
        """Requests at FlexCore."""
        return self._stack.flexcore.received[self._before[0] :]

    @property
    def elsewhere(self) -> list[Received]:
        """Requests at the third origin."""
        return self._stack.elsewhere.received[self._before[1] :]

    @property
    def logins(self) -> int:
        """Logins that flext-auth granted, as itself counts them."""
        return self._stack.auth.logins - self._logins


def together(work: Callable[[], T]) -> list[T]:
    """What as many threads get as there are callers, all starting at once."""
    ready = threading.Barrier(CALLERS)

    def run() -> T:
        ready.wait(PATIENCE)
        return work()

    with ThreadPoolExecutor(CALLERS) as pool:
        return [each.result() for each in [pool.submit(run) for _ in range(CALLERS)]]


def discovery(_: Devstack) -> Iterator[str]:
    """See what is installed, without importing it."""
    found = flext_plugins.installed()
    for each in found:
        yield f"{each.name or '-':<16}{each.distribution} {each.version}, {each.status}"
    ready = [each.name for each in found if each.status == "ready" and each.name in NAMES]
    expect("plugins of ours that are ready", list(NAMES), ready)
    modules = {each.target.partition(":")[0] for each in found if each.target}
    imported = sorted(modules & sys.modules.keys())
    yield f"in sys.modules, of {', '.join(sorted(modules))}: {', '.join(imported) or 'none'}"
    expect("modules of plugins in sys.modules", [], imported)


def onion(_: Devstack) -> Iterator[str]:
    """Compose flexcore and draw what came out."""
    with Host.from_file(CONFIG) as host:
        explanation = host.explain("flexcore")
    drawn = str(explanation)
    secrets = [name for name in ("FLEXT_USERNAME", "FLEXT_PASSWORD") if os.environ[name] in drawn]
    expect("secrets in the drawing", [], secrets)
    yield from drawn.replace(str(CONFIG), CONFIG.name).splitlines()
    layers = [each.plugin for each in explanation.layers if each.plugin in NAMES]
    expect("layers, outermost first", list(NAMES), layers)


def authentication(stack: Devstack) -> Iterator[str]:
    """Call what demands a token."""
    since = Since(stack)
    bare = httpx.get(stack.flexcore.url + PLUGINS, trust_env=False)
    yield f"httpx alone gets {bare.status_code}"
    expect("status without a token", 401, bare.status_code)
    with Host.from_file(CONFIG) as host:
        response = host.connect("flexcore").get(PLUGINS)
    yield f"through the host {response.status_code}"
    expect("status", 200, response.status_code)
    login = stack.auth.received[-1]
    yield f"flext-auth saw  {login.method} {login.path}; logins: {since.logins}"
    expect("logins", 1, since.logins)
    scheme = since.flexcore[-1].headers.get("authorization", "nothing").partition(" ")[0]
    yield f"flexcore saw    GET {PLUGINS}, Authorization: {scheme} ***"
    expect("authorization on the wire", "Bearer", scheme)
    shown = list(response.request.headers)
    yield f"response.request.headers has {', '.join(shown)}"
    expect("authorization in response.request", False, "authorization" in shown)


def sharing(stack: Devstack) -> Iterator[str]:
    """Call from many threads, then from many tasks, while there is no token yet."""

    def threads() -> list[int]:
        with Host.from_file(CONFIG) as host:
            flexcore = host.connect("flexcore")
            return together(lambda: flexcore.get(PLUGINS).status_code)

    async def tasks() -> list[int]:
        async with Host.from_file(CONFIG) as host, host.aconnect("flexcore") as flexcore:
            calls: list[Awaitable[httpx.Response]] = [flexcore.get(PLUGINS) for _ in range(CALLERS)]
            return [each.status_code for each in await asyncio.gather(*calls)]

    for kind, statuses in (("threads", threads), ("tasks", lambda: asyncio.run(tasks()))):
        stack.auth.fault(Fault(delay=0.3))  # so long that all are waiting for the login
        since = Since(stack)
        seen = Counter(statuses())
        yield (
            f"{CALLERS} {kind}: {_counted(seen)}; "
            f"requests at flexcore: {len(since.flexcore)}, logins at flext-auth: {since.logins}"
        )
        expect(f"statuses of {kind}", {200: CALLERS}, dict(seen))
        expect(f"requests of {kind} at flexcore", CALLERS, len(since.flexcore))
        expect(f"logins of {kind}", 1, since.logins)


def healing(stack: Devstack) -> Iterator[str]:
    """Call with a token that has been revoked behind the host's back."""
    with Host.from_file(CONFIG) as host:
        flexcore = host.connect("flexcore")
        first = flexcore.get(PLUGINS)
        expect("status before", 200, first.status_code)
        since = Since(stack)
        stack.auth.revoke_all()
        response = flexcore.get(PLUGINS)
    tokens = {each.headers.get("authorization") for each in since.flexcore}
    yield f"the caller got {response.status_code}"
    yield (
        f"requests at flexcore: {len(since.flexcore)}, with {len(tokens)} different tokens; "
        f"logins at flext-auth: {since.logins}"
    )
    expect("status", 200, response.status_code)
    expect("logins", 1, since.logins)
    expect("requests at flexcore", 2, len(since.flexcore))
    expect("different tokens", 2, len(tokens))


@dataclass
class Witness:
    """What the plugin below shares with the act, which lends it to the host."""

    changes: list[StateChanged] = field(default_factory=list)
    meeting: threading.Barrier | None = None
    """Where each caller arrives, with an answer or a refusal, before any goes on."""


class Watch:
    """A plugin in eleven lines: hears the circuit, and keeps answers until all callers met."""

    stage = Stage.ATTEMPT

    def __init__(self, service: Service) -> None:
        self._witness = service.resource(Witness)

    @hookimpl
    def flext_event(self, event: object) -> None:
        """Remember the circuit's changes."""
        if isinstance(event, StateChanged):
            self._witness.changes.append(event)

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Callable[[Request], Awaitable[Response]],
        connection: Connection,
    ) -> Response:
        """Send, and keep the answer until all callers have met, if they are to."""
        response = await send(request)
        if self._witness.meeting is not None:
            await connection.run(self._witness.meeting.wait, PATIENCE)
        return response


def outage(stack: Devstack) -> Iterator[str]:
    """Take FlexCore away, and bring it back."""
    plugins = "FLEXT__SERVICES__FLEXCORE__PLUGINS__"
    for seconds in (1, 5):
        witness = Witness()
        variables = {
            f"{plugins}CIRCUIT_BREAKER__FAILURE_THRESHOLD": f"{THRESHOLD}",
            f"{plugins}CIRCUIT_BREAKER__RECOVERY_TIMEOUT": f"{seconds}",
            f"{plugins}WATCH": "{}",
        }
        for name, value in variables.items():
            yield f"{name}={value}"
        with environment(variables), Host.from_file(CONFIG) as host:
            host.provide(Witness, witness)
            host.register(Watch, name="watch")
            flexcore = host.connect("flexcore")
            began = time.monotonic()
            try:
                wait = yield from _refused(stack, flexcore)
            except Unmet:
                if time.monotonic() - began < seconds or seconds == 5:
                    raise
                yield "this machine took longer than the circuit stays open: again, with more time"
                continue
            time.sleep(wait)
            yield from _recovered(stack, flexcore, witness)
            return


def _refused(stack: Devstack, flexcore: httpx.Client) -> Generator[str, None, float]:
    """Open the circuit; the seconds that it stays open from now on."""
    stack.flexcore.down()
    told = [_outcome(flexcore)[0] for _ in range(THRESHOLD + 1)]
    yield f"flexcore is down:     {', '.join(told)}"
    expect("calls while it is down", [*["ConnectError"] * THRESHOLD, "CircuitOpen"], told)
    stack.flexcore.up()
    since = Since(stack)
    name, error = _outcome(flexcore)
    yield f"flexcore is up again: {error or name}"
    expect("the next call", "CircuitOpen", name)
    expect("requests that reached flexcore", 0, len(since.flexcore))
    wait = error.retry_after if isinstance(error, Refused) else None
    expect("a refusal that says when to try again", True, wait is not None)
    return (wait or 0.0) + 0.01


def _recovered(stack: Devstack, flexcore: httpx.Client, witness: Witness) -> Iterator[str]:
    """Have many call at once, twice: while the circuit is to be probed, and after."""
    witness.meeting = meeting = threading.Barrier(CALLERS)

    def call() -> str:
        name, error = _outcome(flexcore)
        if error is not None:  # the others meet with their answers in hand
            meeting.wait(PATIENCE)
        return name

    passed = ((1, {"200": 1, "CircuitOpen": CALLERS - 1}), (CALLERS, {"200": CALLERS}))
    for requests, wanted in passed:
        since = Since(stack)
        seen = Counter(together(call))
        reached = len(since.flexcore)
        yield f"{CALLERS} at once: {_counted(seen)}; requests at flexcore: {reached}"
        expect(f"what {CALLERS} callers get", wanted, dict(seen))
        expect("requests at flexcore", requests, reached)
    for change in witness.changes:
        yield f"heard: {change.old} -> {change.new}, {change.reason}"
    states = [each.new for each in witness.changes]
    expect("states of the circuit", ["open", "half-open", "closed"], states)


def _outcome(flexcore: httpx.Client) -> tuple[str, httpx.TransportError | None]:
    """The status, or the error and its name; what is not protected needs no token to answer."""
    try:
        return str(flexcore.get("/health").status_code), None
    except httpx.TransportError as error:
        return type(error).__name__, error


def redirection(stack: Devstack) -> Iterator[str]:
    """Follow a redirect to another origin with secrets in hand."""
    variables = {
        "FLEXT__SERVICES__FLEXCORE__HEADERS__X_API_KEY": "env:FLEXCORE_API_KEY",
        "FLEXCORE_API_KEY": API_KEY,
    }
    yield "FLEXT__SERVICES__FLEXCORE__HEADERS__X_API_KEY=env:FLEXCORE_API_KEY"
    stack.flexcore.fault(Fault(redirect=f"{stack.elsewhere.url}/moved", times=2))
    since = Since(stack)
    with environment(variables), Host.from_file(CONFIG) as host:
        response = host.connect("flexcore", follow_redirects=True).get(PLUGINS)
    yield f"{response.history[0].status_code if response.history else 'no redirect'}, then {response.status_code} from {response.url}"
    expect("status", 200, response.status_code)
    yield f"flexcore saw   {_carried(since.flexcore)}"
    yield f"elsewhere saw  {_carried(since.elsewhere)}"
    expect("secrets at flexcore", " and ".join(SECRET_HEADERS), _carried(since.flexcore))
    expect("secrets elsewhere", "neither", _carried(since.elsewhere))
    since = Since(stack)
    httpx.get(
        stack.flexcore.url + PLUGINS,
        headers={"Authorization": "Bearer x", "X-API-Key": API_KEY},
        follow_redirects=True,
        trust_env=False,
    )
    yield f"with httpx alone elsewhere sees {_carried(since.elsewhere)}"


def _carried(requests: list[Received]) -> str:
    found = [name for name in SECRET_HEADERS if any(name in each.headers for each in requests)]
    return " and ".join(found) or ("neither" if requests else "no request")


def _counted(seen: Counter[T]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in seen.items())
