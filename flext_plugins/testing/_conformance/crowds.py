"""The rules about many callers at once, in threads and in event loops."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from flext_plugins._errors import Refused
from flext_plugins.testing._conformance.rules import (
    ASYNC,
    Rules,
    in_each_world,
    is_turned_away,
    needs_a_loop,
)
from flext_plugins.testing._pauses import Pauses
from flext_plugins.testing._rig import TOGETHER, Outcome, outcome
from flext_plugins.testing._service import Answer
from flext_plugins.testing._waiting import without_waiting
from flext_plugins.testing._world import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins.testing._rig import Rig
    from flext_plugins.testing._service import Received

THREADS, TASKS = 16, 200
LINE = 60
"""Tasks that wait for each other and give up."""
RECOVERY = 3.0
"""Seconds after which a plugin that has to recover, as a rate limiter has, lets callers through."""
MOMENTS = tuple(number * 0.618 % 1 for number in range(11))
"""Parts of an exercise after which it is given up: spread evenly, the first at its start."""
LATE = 0.5
"""Seconds for which an operation may go on after its deadline."""
BLOCKED = 0.05
"""Seconds that an event loop may stand still."""


class Crowds(Rules):
    """Many callers at once."""

    @in_each_world
    def test_many_threads_and_tasks_use_it_at_once(self, world: str) -> None:
        """No caller gets what is another's: one instance serves all threads and tasks."""
        rule = f"a plugin is safe under {THREADS} threads and {TASKS} tasks"
        with self._rig(world) as rig:
            lone = type(rig.send().error)
            rig.service.answer = _naming(rig.subject.answer)
            for _ in range(1 if world in ASYNC else 4):
                found = self._callers(rig, rule, TASKS if world in ASYNC else THREADS)
                for number, came in enumerate(found):
                    self._keeps_apart(rule, world, number, came, lone)
            for each in rig.service.received:
                if len(named := _callers(each.path, each.headers, each.body)) > 1:
                    seen = f"one request names the callers {', '.join(sorted(named))}: {each}"
                    self._breaks(rule, world, seen)
            if rig.subject.exercise and rig.exercise().error is None:  # else another rule tells
                told = any(map(needs_a_loop, found))
                for came in self._crowd(rig, rule, rig.exercises(THREADS)):
                    if not (is_turned_away(came) or (told and needs_a_loop(came))):
                        seen = f"of {THREADS} exercises at once one raised {came!r}"
                        self._breaks(rule, world, f"{seen}{self._where(came)}")

    def _keeps_apart(self, rule: str, world: str, number: int, came: Any, lone: type) -> None:
        if isinstance(came, Exception):
            # A guard may do its work: that it refuses is not another caller's.
            if not (type(came) is lone or isinstance(came, Refused) or needs_a_loop(came)):
                self._breaks(rule, world, f"caller {number} got {came!r}")
            return
        text = f"{outcome(came).headers} {came.content!r}"
        if others := _callers(text) - {str(number)}:
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
                give_up = partial(rig.abandoned, count)
                self._watched(rig, rule, f"{count} callers who give up", give_up)
            rig.service.answer = rig.subject.answer
            until = time.monotonic() + RECOVERY
            while True:
                (came,) = self._callers(rig, rule, 1)
                after = Outcome(error=came) if isinstance(came, Exception) else outcome(came)
                if (before.status, type(before.error)) == (after.status, type(after.error)):
                    break
                if time.monotonic() > until:
                    seen = f"{before} before {count} callers gave up at once, now {after}"
                    self._breaks(rule, world, seen)
                time.sleep(BLOCKED)
            if rig.subject.exercise is not None:
                self._leaves_the_exercise_whole(rig, rule)

    def _leaves_the_exercise_whole(self, rig: Rig, rule: str) -> None:
        """The exercise works after it was given up at many moments, and ended when it had to."""
        rig.exercise()  # connects
        started = time.monotonic()
        if rig.exercise().error is not None:
            return  # another rule tells
        seconds = time.monotonic() - started
        moments = [part * seconds for part in MOMENTS]
        some, how = (3, "cancelled") if rig.name in ASYNC else (TOGETHER, "ended by deadlines")
        for first in range(0, len(moments), some):
            self._gives_up(rig, rule, moments[first : first + some])
            after = self._exercise(rig, rule)
            if after.error is not None:
                seen = f"after exercises were {how}, one raised {after.error!r}"
                self._breaks(rule, rig.name, f"{seen}{self._where(after.error)}")

    def _gives_up(self, rig: Rig, rule: str, moments: list[float]) -> None:
        """Give exercises up, which may not go on; once more if one did: the machine may be slow."""
        for _ in range(2):
            rig.overtime.clear()
            give_up = partial(rig.exercised_and_abandoned, moments)
            self._watched(rig, rule, "exercises that are given up", give_up)
            late = [each for each in rig.overtime if each[1] > LATE]
            if not late:
                return
        operation, seconds = max(late, key=lambda each: each[1])
        seen = f"{operation.name} at {operation.system} ended {seconds:.1f} s after its deadline"
        self._breaks(rule, rig.name, seen)

    def _exercise(self, rig: Rig, rule: str) -> Outcome:
        """The outcome of an exercise; a guard may refuse for a while."""
        until = time.monotonic() + RECOVERY
        while True:
            after: Outcome = self._watched(rig, rule, "an exercise after that", rig.exercise)
            if not isinstance(after.error, Refused) or time.monotonic() > until:
                return after
            time.sleep(BLOCKED)

    def _callers(self, rig: Rig, rule: str, count: int) -> list[Any]:
        """The outcomes of `count` callers who start at once; each is named in all that it sends."""
        works = [
            rig.world.sender(
                rig.host, "POST", f"/{name}", headers={"X-Caller": name}, content=name.encode()
            )
            for name in (f"caller-{number}" for number in range(count))
        ]
        return self._crowd(rig, rule, works)

    def _crowd(self, rig: Rig, rule: str, works: list[Callable[[], Any]]) -> list[Any]:
        """The outcomes of `works` that start at once."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            found: list[Any] = self._watched(
                rig, rule, f"{len(works)} callers at once", partial(rig.world.all, works)
            )
        finally:
            sys.setswitchinterval(interval)
        return found

    @in_each_world
    def test_it_refuses_nothing_where_nothing_waits(self, world: str) -> None:
        """A guard lets everything through and counts nothing while `connection.waits` is false."""
        rule = "a plugin refuses nothing where `connection.waits` is false"
        with self._rig(world) as rig:
            if isinstance(rig.send().error, Refused):
                return  # that is neither for what came before nor for being too much
            with without_waiting(rig.host):
                for _ in range(2):
                    for step in rig.subject.steps:
                        self._lets_through(rule, world, rig.step(step).error)
                rig.service.answer = _naming(rig.subject.answer)
                for came in self._callers(rig, rule, THREADS):
                    self._lets_through(rule, world, came)
            self._lets_through(rule, world, rig.send().error, " when waiting was allowed again")

    def _lets_through(self, rule: str, world: str, came: object, when: str = "") -> None:
        if isinstance(came, Refused):
            self._breaks(rule, world, f"a caller got {came!r}{when}")

    @pytest.mark.parametrize("world", ASYNC)
    def test_the_event_loop_is_never_blocked(self, world: str) -> None:
        """Waiting and blocking work go through what `connection` offers."""
        shortest: dict[str, tuple[float, str, str]] = {}
        for _ in range(5):  # the machine's own pauses do not come each time at the same step
            for found in self._pauses(world):
                shortest[found[1]] = min(found, shortest.get(found[1], found))
            seconds, step, place = max(shortest.values())
            if seconds < BLOCKED:
                return
        seen = f"the loop stood still for {seconds * 1000:.0f} ms{place}, at {step}"
        self._breaks("the event loop is never blocked", world, seen)

    def _pauses(self, world: str) -> list[tuple[float, str, str]]:
        """Seconds that the loop stood still at each step, and where; others are slow."""
        found = []
        with self._rig(world) as rig:
            for name, answer in self.services.items():
                rig.others[name].answer = _slow(answer)
            works: dict[str, Callable[[], object]] = {"its exercise": rig.exercise}
            works |= {each.name: partial(rig.step, each) for each in rig.subject.steps}
            for name, work in works.items():
                rig.pauses = Pauses(self.plugin)
                work()
                found.append((rig.pauses.seconds, name, rig.pauses.place))
        return found

    @in_each_world
    def test_nothing_is_awaited_that_only_an_event_loop_can_finish(self, world: str) -> None:
        """A hook awaits what `connection` offers; shown by many callers who have to wait."""
        rule = "nothing is awaited that only an event loop can finish"
        with self._rig(world) as rig:
            rig.service.answer = Answer(delay=0.01)
            found = self._callers(rig, rule, THREADS)
            if world in ASYNC:
                with opened(world) as second:
                    found += second.all([second.sender(rig.host, "GET", "/")] * THREADS)
                    second.run(rig.host.aclose)
            for came in found:
                if needs_a_loop(came):
                    self._breaks(rule, world, str(came))


def _naming(answer: Callable[[Received], Answer]) -> Callable[[Received], Answer]:
    """`answer`, a little later and with the name of its caller."""

    def answers(received: Received) -> Answer:
        said = answer(received)
        return replace(said, headers={**said.headers, "X-Named": received.path}, delay=0.005)

    return answers


def _callers(*texts: object) -> set[str]:
    """The callers of a crowd that are named in these."""
    return {*re.findall(r"caller-(\d+)", " ".join(map(str, texts)))}


def _slow(answer: Callable[[Received], Answer]) -> Callable[[Received], Answer]:
    return lambda received: replace(answer(received), delay=2 * BLOCKED)
