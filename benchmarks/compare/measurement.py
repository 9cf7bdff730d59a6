"""What a behaviour is, how it is run against a library, and what came of it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from flext_plugins.testing import LoopbackService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SYNC, ASYNC = "sync", "async"
OFFERED, FAILED, NOT_OFFERED = "yes", "no", "-"


class NotOffered(Exception):
    """The library has no way to say this, so that there is nothing to measure."""


@dataclass(frozen=True)
class Outcome:
    """What came of a behaviour; printed, it is a cell of the table."""

    verdict: str
    """`yes`, `no`, `-` (not offered), or what was counted."""
    seen: str = ""
    """What was seen instead, in a few words."""

    def __str__(self) -> str:
        return f"{self.verdict} ({self.seen})" if self.seen else self.verdict


def outcome(good: bool, otherwise: str = "") -> Outcome:
    """`yes`, or `no` with what was seen instead."""
    return Outcome(OFFERED) if good else Outcome(FAILED, otherwise)


@dataclass(frozen=True)
class Behaviour:
    """One line of a table."""

    name: str
    sentence: str
    run: Callable[[Any, str], Outcome]
    """Takes the adapter's class and a mode."""
    modes: tuple[str, ...]
    """It is run in those of them that the library has; without any it is run once."""
    seconds: float
    """How long it may take before it counts as one that hangs."""


def behaviour(*modes: str, seconds: float = 10.0) -> Callable[[Callable[..., Outcome]], Behaviour]:
    """Make a behaviour of a function, with the first line of its docstring as its sentence."""

    def made(run: Callable[..., Outcome]) -> Behaviour:
        sentence = (run.__doc__ or "").split("\n", 1)[0].rstrip(".")
        return Behaviour(run.__name__, sentence, run, modes, seconds)

    return made


def measured(behaviour: Behaviour, adapter: Any) -> Outcome:
    """Run it in each mode that the library has.

    An adapter has `modes`; `lacks`, the names of behaviours that its library does not claim, so
    that failing them is no fault; and perhaps `accepts`, the names of those that are run although
    the library does not claim their mode, because it takes them without a word.
    """
    wanted = behaviour.modes or (SYNC,)
    accepted = behaviour.name in getattr(adapter, "accepts", ())
    modes = [each for each in wanted if accepted or not behaviour.modes or each in adapter.modes]
    found = {mode: _limited(behaviour, adapter, mode) for mode in modes}
    different = set(map(str, found.values()))
    if not different:
        return Outcome(NOT_OFFERED)
    if len(different) > 1:
        return Outcome(", ".join(f"{mode}: {each}" for mode, each in found.items()))
    (result,) = set(found.values())
    lacks = behaviour.name in adapter.lacks
    return Outcome(NOT_OFFERED) if lacks and result.verdict == FAILED else result


def _limited(behaviour: Behaviour, adapter: Any, mode: str) -> Outcome:
    """In a thread, which is left behind when it hangs."""
    found = [Outcome(FAILED, "hangs")]

    def run() -> None:
        try:
            found[0] = behaviour.run(adapter, mode)
        except NotOffered:
            found[0] = Outcome(NOT_OFFERED)
        except Exception as error:
            found[0] = Outcome("error", f"{type(error).__name__}: {error}"[:200])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(behaviour.seconds)
    return found[0]


class Caller:
    """Calls an adapter's `get`, or its `aget` in one event loop, and gives back what came of it.

    What a call raises is given back, not raised: the server tells whether it was sent.
    """

    def __init__(self, adapter: Any, mode: str) -> None:
        self.adapter = adapter
        self._runner = asyncio.Runner() if mode == ASYNC else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._runner is not None:
            if hasattr(self.adapter, "aclose"):
                self._runner.run(self.adapter.aclose())
            self._runner.close()
        if hasattr(self.adapter, "close"):
            self.adapter.close()

    def __call__(self, *args: Any) -> Any:
        """Call once."""
        return self.together(1, *args)[0]

    def together(self, number: int, *args: Any) -> list[Any]:
        """Call from so many threads or tasks at a time."""
        if self._runner is not None:
            return self._runner.run(self._gathered(number, args))
        if number == 1:
            return [self._caught(args)]
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(self._caught, [args] * number))

    def run(self, work: Callable[[Any], Any]) -> Any:
        """Await `work(adapter)` in the event loop."""
        if self._runner is None:
            raise NotOffered
        return self._runner.run(work(self.adapter))

    def _caught(self, args: tuple[Any, ...]) -> Any:
        try:
            return self.adapter.get(*args)
        except Exception as error:
            return error

    async def _gathered(self, number: int, args: tuple[Any, ...]) -> list[Any]:
        calls = (self.adapter.aget(*args) for _ in range(number))
        return list(await asyncio.gather(*calls, return_exceptions=True))


@contextmanager
def services(number: int = 1) -> Iterator[list[LoopbackService]]:
    """So many servers on loopback."""
    with ExitStack() as stack:
        made = [LoopbackService() for _ in range(number)]
        for each in made:
            stack.callback(each.close)
        yield made
