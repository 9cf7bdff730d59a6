"""The act of the demo in which FlexCore is down, with a plugin that watches the circuit."""

import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import httpx

from flext_plugins import (
    Connection,
    Host,
    Refused,
    Request,
    Response,
    Send,
    Service,
    Stage,
    hookimpl,
)
from flext_plugins.events import StateChanged
from flext_plugins_devstack.stack import Devstack

from .checks import CALLERS, CONFIG, PATIENCE, Since, Unmet, environment, expect, summary, together

THRESHOLD = 3
TIMEOUTS = (1, 5)  # seconds that the circuit stays open; the second for machines slower than that


@dataclass
class Witness:
    """Shared by the act, which provides it to the host, with the plugin below."""

    changes: list[StateChanged] = field(default_factory=list)
    meeting: threading.Barrier | None = None
    """Holds each caller, with its answer or refusal, until all have arrived."""


class Watch:
    """The program's own plugin: notes the circuit's changes, and can hold answers back."""

    stage = Stage.ATTEMPT

    def __init__(self, service: Service) -> None:
        self._witness = service.resource(Witness)

    @hookimpl
    def flext_event(self, event: object) -> None:
        """Note the circuit's changes."""
        if isinstance(event, StateChanged):
            self._witness.changes.append(event)

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Send,
        connection: Connection,
    ) -> Response:
        """Send, and hold the answer until all callers have one, if they are to meet."""
        response = await send(request)
        if self._witness.meeting is not None:
            await connection.run(self._witness.meeting.wait, PATIENCE)
        return response


def outage(stack: Devstack) -> Iterator[str]:
    """Stop FlexCore, and start it again."""
    plugins = "FLEXT__SERVICES__FLEXCORE__PLUGINS__"
    for seconds in TIMEOUTS:
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
                wait = yield from _refusals(stack, flexcore)
            except Unmet:
                if time.monotonic() - began < seconds or seconds == TIMEOUTS[-1]:
                    raise
                yield "this machine took longer than the circuit stays open: again, with more time"
                continue
            time.sleep(wait)
            yield from _recovery(stack, flexcore, witness)
            return


def _refusals(stack: Devstack, flexcore: httpx.Client) -> Generator[str, None, float]:
    """Open the circuit; the seconds that it stays open from now on."""
    stack.flexcore.down()
    answers = [_outcome(flexcore)[0] for _ in range(THRESHOLD + 1)]
    yield f"flexcore is down:     {', '.join(answers)}"
    expect("calls while it is down", [*["ConnectError"] * THRESHOLD, "CircuitOpen"], answers)
    stack.flexcore.up()
    since = Since(stack)
    name, error = _outcome(flexcore)
    yield f"flexcore is up again: {error or name}"
    expect("the next call", "CircuitOpen", name)
    expect("requests that reached flexcore", 0, len(since.flexcore))
    wait = error.retry_after if isinstance(error, Refused) else None
    expect("a refusal that says when to try again", True, wait is not None)
    return (wait or 0.0) + 0.01


def _recovery(stack: Devstack, flexcore: httpx.Client, witness: Witness) -> Iterator[str]:
    """Call from many threads at once: while the circuit is probed, and once more after."""
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
        yield f"{CALLERS} at once: {summary(seen)}; requests at flexcore: {reached}"
        expect(f"what {CALLERS} callers get", wanted, dict(seen))
        expect("requests at flexcore", requests, reached)
    for change in witness.changes:
        yield f"heard: {change.old} -> {change.new}, {change.reason}"
    states = [each.new for each in witness.changes]
    expect("states of the circuit", ["open", "half-open", "closed"], states)


def _outcome(flexcore: httpx.Client) -> tuple[str, Exception | None]:
    """The status, or the error's name and the error; /health answers without a token, too."""
    try:
        return str(flexcore.get("/health").status_code), None
    except httpx.TransportError as error:
        return type(error).__name__, error
