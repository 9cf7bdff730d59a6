"""The contract as tests: what every plugin has to keep to, checked for one."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping  # noqa: TC003 - `typing.get_type_hints` looks here
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import pytest

from flext_plugins._errors import FlextError, PluginError
from flext_plugins.testing._rig import (
    PATIENCE,
    STEPS,
    TICK,
    Ask,
    Interrupted,
    Outcome,
    Rig,
    kind_of,
    outcome,
)
from flext_plugins.testing._service import Answer, Received, echo
from flext_plugins.testing._source import client_imports, file_of, open_secrets
from flext_plugins.testing._trace import difference, plain, traced
from flext_plugins.testing._world import WORLDS, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from flext_plugins._host import Host
    from flext_plugins.testing._trace import Place, Trace

THREADS, TASKS = 16, 200
LINE = 60
"""Tasks that wait for each other and give up."""
HANGS = 20.0
"""Seconds after which callers who started at once are given up."""
RECOVERY = 3.0
"""Seconds after which a plugin that has to recover, as a rate limiter has, lets callers through."""
BLOCKED = 0.05
"""Seconds that an event loop may stand still."""
ANY = "any world"
ASYNC = [each for each in WORLDS if each.endswith(" async")]
in_each_world = pytest.mark.parametrize("world", WORLDS)


class PluginConformance:
    """Checks a plugin against the contract, one test for each rule.

    A plugin's test subclasses it, under a name that begins with `Test`::

        class TestTenant(PluginConformance):
            plugin = Tenant
            settings = {"tenant": "acme"}

    A failure names the rule, the world and what was seen. A plugin that cannot be made fails the
    rule about that, and the others are skipped.

    Attributes:
        plugin: the class.
        settings: what a configuration's table for it would say; secrets may be written out.
        services: the services that its settings name, each with a function that answers for it.
    """

    plugin: ClassVar[type]
    settings: ClassVar[Mapping[str, Any]] = {}
    services: ClassVar[Mapping[str, Callable[[Received], Answer]]] = {}

    def prepare(self, host: Host) -> None:
        """Do what an application does with its host before it connects, such as `host.provide`."""

    @contextmanager
    def _rig(self, world: str) -> Iterator[Rig]:
        try:
            rig = Rig(world, self.plugin, self.settings, self.services, self.prepare)
        except FlextError as error:
            pytest.skip(f"it cannot be made: {error}")
        with rig:
            yield rig

    def _breaks(self, rule: str, world: str, seen: object) -> NoReturn:
        pytest.fail(
            f"{self.plugin.__qualname__} breaks a rule of plugins\n"
            f"  rule:  {rule}\n  world: {world}\n  seen:  {seen}",
            pytrace=False,
        )

    def test_it_is_made_from_its_settings(self) -> None:
        """The host makes a plugin from its validated settings and the service, and nothing else."""
        rule = "a plugin is made from its settings, and works with them"
        try:
            rig = Rig(WORLDS[0], self.plugin, self.settings, self.services, self.prepare)
        except FlextError as error:
            self._breaks(rule, ANY, f"{kind_of(error)}: {error}")
        with rig:
            came = rig.send()
        if isinstance(came.error, PluginError):
            self._breaks(rule, WORLDS[0], f"an ordinary request came out as {came}")

    def test_settings_named_like_secrets_are_secret(self) -> None:
        """A setting that is named like a secret is a `Secret`, which is never shown."""
        model = getattr(self.plugin, "Settings", None)
        if found := [*open_secrets(model)] if model else []:
            seen = f"{', '.join(found)} can hold plain text, expected flext_plugins.Secret"
            self._breaks("settings named like secrets are of type Secret", ANY, seen)

    def test_it_imports_no_client_library(self) -> None:
        """Plugins see messages by the host's protocols, so that they work with every library."""
        if found := [*client_imports(self.plugin)]:
            self._breaks("no plugin imports a client library", ANY, ", ".join(found))

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
        bare = plain(world)
        with self._rig(world) as rig:
            return traced(rig, bare)

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
            before = rig.send()
            for _ in range(10):
                rig.interrupting, reached = True, rig.interrupted
                came = rig.send()
                if rig.interrupted > reached and not isinstance(came.error, Interrupted):
                    self._breaks(rule, world, f"cancelled inside of it, the caller got {came}")
                rig.interrupting = False
                stopped = rig.cancelled() if world in ASYNC else None
                if stopped and not isinstance(stopped.error, asyncio.CancelledError):
                    self._breaks(rule, world, f"cancelled, the caller got {stopped}")
            rig.service.answer = echo
            after = rig.send()
            if (before.status, type(before.error)) != (after.status, type(after.error)):
                self._breaks(rule, world, f"{before} before requests were cancelled, now {after}")
            for step in STEPS:
                came = rig.step(step)
                raised = isinstance(came.error, PluginError) and came.error.__cause__
                if raised and step.fails and not _needs_a_loop(came.error):
                    self._breaks(rule, world, f"{step.name} came out as {came}")
            if "PluginFailed" in rig.events:
                self._breaks(rule, world, "it raised as an observer")
        with self._rig(world) as rig:
            for other in rig.others.values():
                other.refuse()
            came = rig.send()
            if isinstance(came.error, PluginError):
                seen = f"with {', '.join(rig.others)} down a request came out as {came}"
                self._breaks(rule, world, seen)

    @in_each_world
    def test_what_it_makes_is_closed_with_the_connection(self, world: str) -> None:
        """Nothing outlives the host: nothing lent that is open, no thread, no socket or file.

        Each connection closes what is its own, also if nothing was sent.
        """
        rule = "what a plugin makes is closed with the connection"
        threads = {*threading.enumerate()}
        with warnings.catch_warnings(record=True) as warned, _spared():
            warnings.simplefilter("always", ResourceWarning)
            with self._rig(world) as rig, opened(ASYNC[0]) as loop:
                rig.send()
                loop.run(loop.sender(rig.host, "GET", "/"))  # a second connection
                self._close(rig, rule)
            del rig, loop
            with self._rig(world) as rig:
                rig.world.resource(rig.host, Ask)
                self._close(rig, rule)
            del rig
            gc.collect()
        if left := [str(each.message) for each in warned if each.category is ResourceWarning]:
            self._breaks(rule, world, "; ".join(left))
        until = time.monotonic() + PATIENCE
        while running := [each.name for each in {*threading.enumerate()} - threads]:
            if time.monotonic() > until:
                self._breaks(rule, world, f"threads still run: {', '.join(running)}")
            time.sleep(TICK)

    def _close(self, rig: Rig, rule: str) -> None:
        for each in rig.lent:
            closable = hasattr(each.value, "close") or hasattr(each.value, "aclose")
            if closable and each.close is None and not hasattr(self.plugin, "flext_disconnect"):
                seen = f"the {each.kind.__name__} that it lends is never closed"
                self._breaks(rule, rig.name, seen)
        try:
            rig.world.close(rig.host)
        except ExceptionGroup as error:
            found = [*_leaves(error)]
            self._breaks(rule, rig.name, f"closing raised {', '.join(map(repr, found))}")
        if "PluginFailed" in rig.events:
            self._breaks(rule, rig.name, "it raised as an observer")

    @in_each_world
    def test_many_threads_and_tasks_use_it_at_once(self, world: str) -> None:
        """No caller gets what is another's: one instance serves all threads and tasks."""
        rule = f"a plugin is safe under {THREADS} threads and {TASKS} tasks"
        with self._rig(world) as rig:
            lone = type(rig.send().error)
            rig.service.answer = lambda received: replace(echo(received), delay=0.005)
            for _ in range(1 if world in ASYNC else 4):
                found = self._crowd(rig, rule, TASKS if world in ASYNC else THREADS)
                for number, came in enumerate(found):
                    if isinstance(came, Exception):
                        if type(came) is not lone and not _needs_a_loop(came):
                            self._breaks(rule, world, f"caller {number} got {came!r}")
                        continue
                    text = f"{outcome(came).headers} {came.content!r}"
                    if others := {*re.findall(r"caller-(\d+)", text)} - {str(number)}:
                        seen = f"caller {number} got what is caller {others.pop()}'s: {text}"
                        self._breaks(rule, world, seen)

    @in_each_world
    def test_callers_who_give_up_waiting_leave_nothing_behind(self, world: str) -> None:
        """Callers who wait for others may be cancelled, or come too late: the next gets through."""
        rule = "callers who give up while they wait for each other leave nothing behind"
        count = LINE if world in ASYNC else THREADS
        with self._rig(world) as rig:
            before = rig.send()
            for _ in range(3):
                rig.abandoned(count)
            rig.service.answer = echo
            until = time.monotonic() + RECOVERY
            while True:
                (came,) = self._crowd(rig, rule, 1)
                after = Outcome(error=came) if isinstance(came, Exception) else outcome(came)
                if (before.status, type(before.error)) == (after.status, type(after.error)):
                    break
                if time.monotonic() > until:
                    seen = f"{before} before {count} callers gave up at once, now {after}"
                    self._breaks(rule, world, seen)
                time.sleep(BLOCKED)

    def _crowd(self, rig: Rig, rule: str, count: int) -> list[Any]:
        """The outcomes of `count` callers who start at once; each is named in all that it sends."""
        works = [
            rig.world.sender(rig.host, "POST", f"/{name}", headers={"X-Caller": name})
            for name in (f"caller-{number}" for number in range(count))
        ]
        found: list[Any] = []
        crowd = threading.Thread(target=lambda: found.extend(rig.world.all(works)), daemon=True)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            crowd.start()
            crowd.join(HANGS)
        finally:
            sys.setswitchinterval(interval)
        if crowd.is_alive():
            rig.hangs = True
            where = _line(sys._current_frames().get(crowd.ident or 0), self.plugin)  # noqa: SLF001
            self._breaks(rule, rig.name, f"{count} callers at once hang{where}")
        return found

    @pytest.mark.parametrize("world", ASYNC)
    def test_the_event_loop_is_never_blocked(self, world: str) -> None:
        """Waiting and blocking work go through what `connection` offers."""
        found = []
        for _ in range(5):  # the machine's own pauses do not come each time
            found.append(self._longest_pause(world))
            if found[-1][0] < BLOCKED:
                return
        seconds, step = min(found)
        seen = f"the loop stood still for {seconds * 1000:.0f} ms, at {step}"
        self._breaks("the event loop is never blocked", world, seen)

    def _longest_pause(self, world: str) -> tuple[float, str]:
        """Seconds that the loop stood still, and at which step; services that it asks are slow."""
        found = []
        with self._rig(world) as rig:
            for name, answer in self.services.items():
                rig.others[name].answer = _slow(answer)
            for step in STEPS:
                rig.pauses = []
                rig.step(step)
                found.append((max(rig.pauses, default=0.0), step.name))
        return max(found)

    @in_each_world
    def test_a_stream_is_never_sent_again(self, world: str) -> None:
        """A body that can be read once is sent once, whatever the answer."""
        rule = "a body that cannot be replayed is never sent again"
        for step in STEPS:
            with self._rig(world) as rig:
                came = rig.step(step._replace(method="POST", body="stream"))
                if isinstance(came.error, PluginError) and came.error.__cause__ is None:
                    self._breaks(rule, world, f"{step.name} came out as {came}")
                if len(rig.service.received) > 1:
                    seen = f"{step.name} led to {len(rig.service.received)} requests"
                    self._breaks(rule, world, seen)

    @in_each_world
    def test_nothing_is_awaited_that_only_an_event_loop_can_finish(self, world: str) -> None:
        """A hook awaits what `connection` offers; shown by many callers who have to wait."""
        rule = "nothing is awaited that only an event loop can finish"
        with self._rig(world) as rig:
            rig.service.answer = Answer(delay=0.01)
            found = self._crowd(rig, rule, THREADS)
            if world in ASYNC:
                with opened(world) as second:
                    found += second.all([second.sender(rig.host, "GET", "/")] * THREADS)
                    second.run(rig.host.aclose)
            for came in found:
                if _needs_a_loop(came):
                    self._breaks(rule, world, str(came))


@contextmanager
def _spared() -> Iterator[None]:
    """Spare what is there before from `gc.collect`: it is not the plugin's, and takes long."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _leaves(error: ExceptionGroup) -> Iterator[Exception]:
    for each in error.exceptions:
        yield from _leaves(each) if isinstance(each, ExceptionGroup) else [each]


def _line(frame: FrameType | None, plugin: type) -> str:
    """The line of the plugin's own file where it is stuck, if it is there."""
    file = file_of(plugin)
    while frame is not None and frame.f_code.co_filename != str(file):
        frame = frame.f_back
    return "" if frame is None else f", the event loop at {file.name}:{frame.f_lineno}"


def _slow(answer: Callable[[Received], Answer]) -> Callable[[Received], Answer]:
    return lambda received: replace(answer(received), delay=2 * BLOCKED)


def _needs_a_loop(error: object) -> bool:
    """Whether this came of awaiting what belongs to an event loop, or to another one."""
    if not isinstance(error, PluginError):
        return False
    said = str(error)
    return "in a sync connection" in said or "needs an event loop" in said
