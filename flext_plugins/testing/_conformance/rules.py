"""The ground of all rules: the plugin, what its author says of it, and how a fault is told."""

from __future__ import annotations

import gc
import inspect
import re
import sys
import threading
import time
import warnings
from collections.abc import (  # noqa: TC003 - `typing.get_type_hints` looks here
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import pytest

from flext_plugins._errors import FlextError, PluginError, Refused
from flext_plugins._host import Host  # noqa: TC001 - as above
from flext_plugins._messages import Failure
from flext_plugins.testing._rig import Rig
from flext_plugins.testing._service import Answer, Received  # noqa: TC001 - as above
from flext_plugins.testing._source import frames_of, line_of, places_of, where
from flext_plugins.testing._subject import Subject
from flext_plugins.testing._trial import Trial  # noqa: TC001 - as above
from flext_plugins.testing._world import WORLDS

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY = "any world"
ASYNC = [each for each in WORLDS if each.endswith(" async")]
NEVER_AWAITED = "coroutine .* was never awaited"
HANGING: dict[type, str] = {}
"""The plugins that were left hanging in this process, and where."""
HANGS = 20.0
"""Seconds after which what hangs is given up."""
STUCK = 5.0
"""Seconds after which an event loop that has not left one line of the plugin is given up."""
LOOK = 0.25
"""Seconds between two looks at it."""
in_each_world = pytest.mark.parametrize("world", WORLDS)


class Rules:
    """The plugin under test; a family of rules inherits from it."""

    plugin: ClassVar[type]
    settings: Mapping[str, Any] = MappingProxyType({})
    settings_of_another: Mapping[str, Any] | None = None
    not_secret: ClassVar[Collection[str]] = ()
    services: Mapping[str, Callable[[Received], Answer]] = MappingProxyType({})
    answers: Sequence[Answer] | Callable[[Received], Answer] = ()
    varying_events: ClassVar[Collection[str]] = ()
    exempt_from: ClassVar[Collection[str]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in cls.exempt_from:
            if not hasattr(cls, name):
                raise TypeError(f"exempt_from: there is no rule {name!r}")
            setattr(cls, name, None)

    def prepare(self, host: Host) -> None:
        """Do what an application does with its host before it connects, such as `host.provide`."""

    async def exercise(self, trial: Trial) -> None:
        """Use the plugin for what it is there for: send requests, ask what it lends.

        The rules do it beside their own requests, many times and in every world, where the service
        says what `answers` are: alone, sixteen at once, and cancelled or ended by deadlines. What
        it raises is a fault, an `assert` too, but for what comes of being given up.
        """

    @property
    def _subject(self) -> Subject:
        own = type(self).exercise is not Rules.exercise
        answers = self.answers
        if callable(answers):
            function = getattr(answers, "__func__", answers)  # a method, or a function as it is
            if len(inspect.signature(function).parameters) == 1:
                answers = function
        return Subject(
            self.plugin,
            self.settings,
            self.services,
            answers,
            self.prepare,
            self.exercise if own else None,
            self.varying_events,
        )

    @contextmanager
    def _rig(
        self,
        world: str,
        of_another: Mapping[str, Any] | None = None,
        left: list[warnings.WarningMessage] | None = None,
    ) -> Iterator[Rig]:
        """The plugin on a rig; `left` gets what it leaves behind unclosed or not awaited."""
        with _own_garbage([] if left is None else left):
            try:
                rig = Rig(world, self._subject, of_another)
            except FlextError as error:
                pytest.skip(f"it cannot be made: {error}")
            with rig:
                yield rig

    def _breaks(self, rule: str, world: str, seen: object) -> NoReturn:
        pytest.fail(
            f"{self.plugin.__qualname__} breaks a rule of plugins\n"
            f"  rule:  {rule}\n  world: {world}\n  seen:  {seen}\n"
            f"  class: {line_of(self.plugin)}",
            pytrace=False,
        )

    def _observes(self, rig: Rig, rule: str) -> None:
        """An observer does not raise either, though it hurts nobody."""
        for failed in rig.failures:
            seen = f"as an observer it raised {failed.error!r}{self._where(failed.error)}"
            self._breaks(rule, rig.name, seen)

    def _watched(self, rig: Rig, rule: str, who: str, work: Callable[[], Any]) -> Any:
        """The result of `work()`, in a thread that is left alone if it hangs, which is told."""
        results, errors = list[Any](), list[BaseException]()

        def settle() -> None:
            try:
                results.append(work())
            except BaseException as error:
                errors.append(error)

        before = {*threading.enumerate()}
        thread = threading.Thread(target=settle, daemon=True)
        thread.start()
        if self._hangs(thread, is_loop=rig.name in ASYNC):
            rig.hangs = True
            rest = {*threading.enumerate()} - before - {thread}
            places = [self._stands(each.ident) for each in (thread, *rest)]
            place = next(filter(None, places), "")
            loop = ", the event loop" if place and rig.name in ASYNC else ""
            HANGING[self.plugin] = seen = f"{who} hang{loop}{place}"
            self._breaks(rule, rig.name, seen)
        for error in errors:
            raise error
        return results[0]

    def _hangs(self, thread: threading.Thread, *, is_loop: bool) -> bool:
        """Whether it does not end, or is a loop's and does not leave one line of the plugin."""
        until, stuck, last = time.monotonic() + HANGS, time.monotonic() + STUCK, None
        while thread.is_alive() and time.monotonic() < min(until, stuck):
            thread.join(LOOK)
            frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - no other way
            now = (frame, frame.f_lasti) if frame and where(frames_of(frame), self.plugin) else None
            if not is_loop or now is None or now != last:
                last, stuck = now, time.monotonic() + STUCK
        return thread.is_alive()

    def _stands(self, thread: int | None) -> str:
        """The plugin's line at which a thread is, if it is in the plugin."""
        frame = sys._current_frames().get(thread or 0)  # noqa: SLF001 - there is no other way
        return where(frames_of(frame), self.plugin)

    @pytest.fixture(autouse=True)
    def _skipped_if_it_hangs(self) -> None:
        """Do not wait again for what a plugin may hold still that was left hanging."""
        if (seen := HANGING.get(self.plugin)) is not None:
            pytest.skip(f"it hangs: {seen}")

    def _where(self, error: BaseException) -> str:
        return where(places_of(error), self.plugin) or where(places_of(error), type(self))


@contextmanager
def _own_garbage(left: list[warnings.WarningMessage]) -> Iterator[None]:
    """Collect what a plugin leaves behind before another test has to answer for it.

    What was there before is spared: it is not the plugin's, and takes long. What is found is told
    by the rule about it alone.
    """
    gc.freeze()
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", ResourceWarning)
            warnings.filterwarnings("always", NEVER_AWAITED, RuntimeWarning)
            yield
            gc.collect()
    finally:
        gc.unfreeze()
    for each in warned:
        if is_unawaited(each) or each.category is ResourceWarning:
            left.append(each)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def is_unawaited(warned: warnings.WarningMessage) -> bool:
    """Whether this is about a coroutine that was dropped."""
    is_runtime = warned.category is RuntimeWarning
    return is_runtime and re.match(NEVER_AWAITED, str(warned.message)) is not None


def is_turned_away(came: object) -> bool:
    """Whether this is what a crowd may get: no error, a guard's refusal, an exhausted pool."""
    is_exhausted = getattr(type(came), "failure", None) is Failure.POOL
    return is_exhausted or isinstance(came, Refused) or not isinstance(came, BaseException)


def needs_a_loop(error: object) -> bool:
    """Whether this came of awaiting what belongs to an event loop, or to another one."""
    if not isinstance(error, PluginError):
        return False
    said = str(error)
    return "in a sync connection" in said or "needs an event loop" in said
