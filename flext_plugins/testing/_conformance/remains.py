"""The rules about what is left: of a connection that was closed, a request, an awaitable."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import tracemalloc
from collections.abc import Sized
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from flext_plugins._connections.connection import Connection
from flext_plugins.testing._conformance.rules import ASYNC, Rules, in_each_world, is_unawaited
from flext_plugins.testing._pauses import TICK
from flext_plugins.testing._rig import PATIENCE, Ask
from flext_plugins.testing._service import Answer
from flext_plugins.testing._source import frames_of, where
from flext_plugins.testing._world import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from warnings import WarningMessage

    from flext_plugins.testing._rig import Rig

BATCH, EXERCISES = 10, 2
"""Requests and exercises between two looks at the memory."""
BATCHES = 150
"""Looks, after which what has grown at each of them grows for ever."""
GIVEN_UP = 0.0, 0.002, 0.02
"""Seconds after which exercises are given up."""
OFFERED = tuple(f"{each.__name__}." for each in Connection.__mro__[:-1])
"""The classes whose methods are what `connection` offers, as coroutines name them."""
AT_ONCE = 1.0
"""Seconds in which a task that was cancelled ends."""


class Remains(Rules):
    """Remains of a connection, a request or an awaitable."""

    @in_each_world
    def test_what_it_makes_is_closed_with_the_connection(self, world: str) -> None:
        """Nothing outlives the host: nothing lent that is open, no task, thread, socket or file.

        Each connection closes what is its own, also if nothing was sent.
        """
        rule = "what a plugin makes is closed with the connection"
        threads = {*threading.enumerate()}
        if self._unclosed(rule, world):
            with _traced():
                seen = "; ".join(map(self._allocated, self._unclosed(rule, world)))
            self._breaks(rule, world, seen)
        until = time.monotonic() + PATIENCE
        while running := {*threading.enumerate()} - threads:
            if time.monotonic() > until:
                names = [f"{each.name}{self._stands(each.ident)}" for each in running]
                self._breaks(rule, world, f"threads still run: {', '.join(names)}")
            time.sleep(TICK)

    def _unclosed(self, rule: str, world: str) -> list[WarningMessage]:
        """The warnings about sockets and files that nobody has closed."""
        left: list[WarningMessage] = []
        with self._rig(world, left=left) as rig, opened(ASYNC[0]) as loop:
            rig.send()
            rig.exercise()
            if rig.subject.exercise is not None:
                give_up = partial(rig.exercised_and_abandoned, GIVEN_UP)
                self._watched(rig, rule, "exercises that are given up", give_up)
            loop.run(loop.sender(rig.host, "GET", "/"))  # a second connection
            self._close(rig, rule)
            for each in (rig.world, loop):
                if each.asynchronous and (tasks := each.run(self._tasks)):
                    self._breaks(rule, world, f"tasks still run: {', '.join(tasks)}")
        with self._rig(world, left=left) as rig:
            rig.world.resource(rig.host, Ask)
            self._close(rig, rule)
        return [each for each in left if not is_unawaited(each)]

    def _close(self, rig: Rig, rule: str) -> None:
        for each in rig.lent:
            closable = hasattr(each.value, "close") or hasattr(each.value, "aclose")
            if closable and each.close is None and not hasattr(self.plugin, "flext_disconnect"):
                seen = f"the {each.kind.__name__} that it lends is never closed"
                self._breaks(rule, rig.name, seen)
        rig.failures.clear()  # another rule tells of those before
        try:
            rig.world.close(rig.host)
        except ExceptionGroup as error:
            found = [*_leaves(error)]
            self._breaks(rule, rig.name, f"closing raised {', '.join(map(repr, found))}")
        self._observes(rig, rule)

    async def _tasks(self) -> list[str]:
        """The tasks beside this one that do not end either."""
        until = time.monotonic() + AT_ONCE
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            if time.monotonic() > until:
                break
            await asyncio.sleep(TICK)
        stacks = [(each, [*frames_of(next(iter(each.get_stack()), None))]) for each in left]
        return [
            getattr(each.get_coro(), "__qualname__", each.get_name()) + where(stack, self.plugin)
            for each, stack in stacks
        ]

    def _allocated(self, left: WarningMessage) -> str:
        """The text about something unclosed, and where it was made."""
        trace: Any = tracemalloc.get_object_traceback(left.source) or []
        places = [(each.filename, each.lineno, "") for each in reversed([*trace])]
        return f"{left.message}{where(places, self.plugin)}"

    @in_each_world
    def test_what_connection_offers_is_awaited(self, world: str) -> None:
        """No awaitable is dropped: what was to be done or waited for is not."""
        left: list[WarningMessage] = []
        before = sys.get_coroutine_origin_tracking_depth()
        sys.set_coroutine_origin_tracking_depth(16)
        try:
            with self._rig(world, left=left) as rig:
                for step in rig.subject.steps:
                    rig.step(step)
                rig.exercise()
        finally:
            sys.set_coroutine_origin_tracking_depth(before)
        for each in left:
            coroutine: Any = each.source
            place = where(getattr(coroutine, "cr_origin", None) or (), self.plugin)
            name = getattr(coroutine, "__qualname__", "")
            if is_unawaited(each) and (place or name.startswith(OFFERED)):
                name = name.replace("Send.__call__", "send")
                for prefix in OFFERED:
                    name = name.replace(prefix, "connection.")
                seen = f"{name} was not awaited{place}"
                self._breaks("what `connection` offers is awaited", world, seen)

    @in_each_world
    def test_it_keeps_nothing_of_every_request(self, world: str) -> None:
        """Many requests take no more memory than some: what is kept has a bound."""
        with self._rig(world) as rig:
            batch = self._batch(rig)
            batch()
            blocks = _blocks()
            sizes: dict[str, int] = {}
            for _ in range(BATCHES):
                before, sizes = blocks, dict(self._sizes(rig))
                batch()
                blocks = _blocks()
                if blocks - before < BATCH:
                    return
            growing = [
                f"{name} has grown to {size}"
                for name, size in self._sizes(rig)
                if size - sizes.get(name, size) >= EXERCISES
            ]
        count = BATCH * BATCHES
        seen = f"each of {count} requests left something in memory; {', '.join(growing)}"
        self._breaks("a plugin keeps nothing of every request", world, seen.rstrip("; "))

    def _batch(self, rig: Rig) -> Callable[[], None]:
        """A function that sends `BATCH` requests by one client, and forgets what was noted."""
        client = rig.world.run(lambda: rig.world.client(rig.host))

        async def send() -> None:
            for number in range(BATCH):
                await client.get(f"/{number % 2}")

        def batch() -> None:
            rig.service.answer = Answer()
            rig.world.run(send)
            for _ in range(EXERCISES if rig.subject.exercise else 0):
                rig.exercise()
            for each in (rig.record.seen, rig.events, rig.failures, rig.lent, rig.uncounted):
                each.clear()
            for service in (rig.service, *rig.others.values()):
                service.received.clear()

        return batch

    def _sizes(self, rig: Rig) -> Iterator[tuple[str, int]]:
        """The sizes of what the plugin has as attributes, of its class and module too."""
        module = sys.modules.get(self.plugin.__module__)
        holders = [("self", each) for each in rig.instances()]
        for of, holder in [*holders, (self.plugin.__name__, self.plugin), ("its module", module)]:
            for name, value in [*getattr(holder, "__dict__", {}).items()]:
                if isinstance(value, Sized) and not isinstance(value, (str, bytes, type)):
                    yield f"{of}.{name}", len(value)


def _leaves(error: ExceptionGroup) -> Iterator[Exception]:
    for each in error.exceptions:
        yield from _leaves(each) if isinstance(each, ExceptionGroup) else [each]


def _blocks() -> int:
    """The blocks of memory in use."""
    gc.collect()
    return sys.getallocatedblocks()


@contextmanager
def _traced() -> Iterator[None]:
    """Have Python note where each object is made, which takes time."""
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start(25)
    try:
        yield
    finally:
        if not tracing:
            tracemalloc.stop()
