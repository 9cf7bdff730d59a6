"""The rules about what becomes of a request, an answer or an error on its way through a plugin."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

from flext_plugins._errors import (
    ConfigError,
    DeadlineExceeded,
    FlextError,
    PluginError,
    Refused,
)
from flext_plugins.testing._conformance.rules import (
    ANY,
    ASYNC,
    Rules,
    in_each_world,
    needs_a_loop,
)
from flext_plugins.testing._rig import Interrupted, Mistake, Rig, kind_of
from flext_plugins.testing._service import Answer
from flext_plugins.testing._subject import ADDRESSES
from flext_plugins.testing._trace import difference, plain, traced
from flext_plugins.testing._world import WORLDS

if TYPE_CHECKING:
    from flext_plugins.testing._rig import Outcome
    from flext_plugins.testing._trace import Place, Trace

PAUSE = 1.0
"""Seconds between two chunks of an answer."""
OF_THE_WIRE = re.compile(
    r"(Time(d)?[Oo]ut|Timeout(Error|Exception)|Connect(ion)?Error|OperationalError"
    r"|Disconnected|Unavailable|Unreachable)$"
)
"""How classes are named that stand for a system that cannot be reached or does not answer."""
OTHERWISE = (ConfigError, DeadlineExceeded, PluginError, Refused)
"""Errors of ours that say themselves that no system has failed."""


class Exchanges(Rules):
    """One caller at a time."""

    def test_it_is_made_from_its_settings(self) -> None:
        """The host makes a plugin from its validated settings and the service, and nothing else."""
        rule = "a plugin is made from its settings, and works with them"
        try:
            rig = Rig(WORLDS[0], self._subject)
        except FlextError as error:
            self._breaks(rule, ANY, f"{kind_of(error)}: {error}{self._cause(error)}")
        with rig:
            came = rig.send()
            if isinstance(came.error, PluginError):
                self._breaks(rule, WORLDS[0], f"an ordinary request came out as {came}")
            for step in ADDRESSES:
                came = rig.step(step)
                if isinstance(came.error, PluginError):
                    self._breaks(rule, WORLDS[0], f"{step.name} came out as {came}")
            if (raised := rig.exercise().error) is not None:
                seen = f"its exercise raised {raised!r}{self._where(raised)}"
                self._breaks(rule, WORLDS[0], seen)

    def _cause(self, error: BaseException) -> str:
        cause = error.__cause__
        return f", which was {cause!r}{self._where(cause)}" if cause is not None else ""

    def test_it_does_the_same_in_all_worlds(self) -> None:
        """Equal requests and answers have equal outcomes, sync and async, in every library."""
        first, *others = WORLDS
        expected = self._traced(first)
        moving: frozenset[Place] = frozenset()
        for world in others:
            found = self._traced(world)
            if difference(expected, found, moving) is None:
                continue
            time.sleep(1.1)  # what changes with time, or from run to run, is not the world's
            again = self._traced(first)
            places = {*again, *expected}
            moving |= {place for place in places if again.get(place) != expected.get(place)}
            if seen := difference(expected, found, moving):
                rule = "a plugin does the same in all worlds"
                self._breaks(rule, f"{world}, compared with {first}", seen)

    def _traced(self, world: str) -> Trace:
        steps = (*self._subject.steps, *ADDRESSES)
        bare = plain(world, steps)
        with self._rig(world) as rig:
            return traced(rig, steps, bare)

    @in_each_world
    def test_it_keeps_to_the_services_origin(self, world: str) -> None:
        """A request goes to the service that it was for, and nothing to where that redirects."""
        rule = "a request keeps to its service's origin"
        with self._rig(world) as rig:
            came = rig.send("GET", "/own")
            if isinstance(came.error, PluginError) and "another origin" in str(came.error):
                self._breaks(rule, world, came)
            rig.service.answer = Answer(302, {"Location": f"{rig.elsewhere.url}/there"})
            rig.send("GET", "/away", client_options={"follow_redirects": True})
            for each in rig.service.received:
                if (name := each.headers["host"]) != f"127.0.0.1:{rig.service.port}":
                    self._breaks(rule, world, f"{each.path} was sent with the header Host: {name}")
            if moved := [each for each in rig.elsewhere.paths() if each != "/there"]:
                self._breaks(rule, world, f"another origin received {', '.join(moved)}")

    @in_each_world
    def test_cancellation_and_errors_unwind_it(self, world: str) -> None:
        """An error or cancellation from inside passes through, and leaves the plugin as it was."""
        rule = "cancellation and errors unwind every layer"
        with self._rig(world) as rig:
            before = self._ordinary(rig)
            for _ in range(10):
                self._interrupt(rig, rule)
            after = self._ordinary(rig)
            if (before.status, type(before.error)) != (after.status, type(after.error)):
                self._breaks(rule, world, f"{before} before requests were cancelled, now {after}")
            for step in rig.subject.steps:
                failed = rig.failed
                came = rig.step(step)
                raised = isinstance(came.error, PluginError) and came.error.__cause__
                if raised and step.fails and not needs_a_loop(came.error):
                    self._breaks(rule, world, f"{step.name} came out as {came}")
                if rig.failed > failed and isinstance(came.error, Refused):
                    seen = f"{step.name}, which was sent, came out as {came}"
                    self._breaks(rule, world, seen)
            self._observes(rig, rule)
        if self.services:
            self._without_others(rule, world)

    def _ordinary(self, rig: Rig) -> Outcome:
        """The outcome of an ordinary request, or of the exercise where that fails."""
        rig.service.answer = rig.subject.answer
        came = rig.send()
        exercised = rig.exercise()
        return came if exercised.error is None else exercised

    def _interrupt(self, rig: Rig, rule: str) -> None:
        came = self._raised(rig, Interrupted)
        if came is not None and not isinstance(came.error, Interrupted):
            self._breaks(rule, rig.name, f"cancelled inside of it, the caller got {came}")
        came = self._raised(rig, Mistake)
        if came is not None and came.error is None:
            seen = f"a plugin further in made a mistake and raised, and the caller got {came}"
            self._breaks(rule, rig.name, seen)
        stopped = rig.cancelled() if rig.name in ASYNC else None
        if stopped and not isinstance(stopped.error, asyncio.CancelledError):
            self._breaks(rule, rig.name, f"cancelled, the caller got {stopped}")

    def _raised(self, rig: Rig, error: type[BaseException]) -> Outcome | None:
        """The outcome of a request that ends with `error` inside; `None` if none got there."""
        rig.raising, before = error, rig.raised
        came = rig.send()
        reached = rig.raised > before
        rig.exercise()
        rig.raising = None
        return came if reached else None

    def _without_others(self, rule: str, world: str) -> None:
        """Send while the services that the plugin asks are down."""
        with self._rig(world) as rig:
            for other in rig.others.values():
                other.refuse()
            came = rig.send()
            if isinstance(came.error, PluginError):
                seen = f"with {', '.join(rig.others)} down a request came out as {came}"
                self._breaks(rule, world, seen)

    @in_each_world
    def test_an_error_of_the_wire_is_told_as_one(self, world: str) -> None:
        """An operation's error that looks like the wire's has a `failure`: others count nowhere."""
        with self._rig(world) as rig:
            rig.send()
            rig.exercise()
            for operation, error in rig.uncounted:
                if sign := _sign_of_the_wire(error):
                    seen = (
                        f"{operation.name} at {operation.system} raised {error!r}"
                        f"{self._where(error)}, which looks like the wire's ({sign}) and has no "
                        "`failure`: circuit-breaker and retry do nothing"
                    )
                    self._breaks("an error of the wire is told as one", world, seen)

    @in_each_world
    def test_a_stream_is_never_sent_again(self, world: str) -> None:
        """A body that can be read once is sent once, whatever the answer."""
        rule = "a body that cannot be replayed is never sent again"
        for step in self._subject.steps:
            with self._rig(world) as rig:
                came = rig.step(step._replace(method="POST", body="stream"))
                if isinstance(came.error, PluginError) and came.error.__cause__ is None:
                    self._breaks(rule, world, f"{step.name} came out as {came}")
                if len(rig.service.received) > 1:
                    seen = f"{step.name} led to {len(rig.service.received)} requests"
                    self._breaks(rule, world, seen)

    @in_each_world
    def test_an_answer_streams_through_it(self, world: str) -> None:
        """The caller gets an answer chunk by chunk, as the service sends it."""
        chunks = b"data: one\n\n", b"data: two\n\n"
        answer = Answer(headers={"Content-Type": "text/event-stream"}, chunks=chunks, pause=PAUSE)
        for _ in range(2):  # the machine's own pauses do not come each time
            with self._rig(world) as rig:
                rig.service.answer = answer
                started = time.monotonic()
                try:
                    rig.first_chunk()
                except Exception:
                    return  # it gives this caller nothing, at once or later
                passed = time.monotonic() - started
            if passed < PAUSE:
                return
        seen = (
            "of an answer of two chunks, the second a second later, the caller got the first one "
            f"after {passed:.1f} s: it was read to its end on the way"
        )
        self._breaks("an answer streams through a plugin", world, seen)


def _sign_of_the_wire(error: BaseException) -> str:
    """The class that makes `error` look like the wire's, or that of its cause; empty if none."""
    if isinstance(error, OTHERWISE):
        return ""
    for each in type(error).__mro__:
        if each is OSError or OF_THE_WIRE.search(each.__name__):
            return each.__name__
    cause = error.__cause__
    return type(cause).__name__ if isinstance(cause, (ConnectionError, TimeoutError)) else ""
