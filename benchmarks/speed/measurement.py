"""Cases of a table, run interleaved; what is kept is what each cost in each round."""

from __future__ import annotations

import gc
import random
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median, quantiles
from time import process_time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from .target import Target

Run: TypeAlias = "Callable[[int], float]"
"""Does a case's work so many times, and gives the seconds of CPU time, or what the table's unit is,
that it took."""
Round: TypeAlias = "dict[str, float]"
"""What a case's work took once, by the case's name."""


@dataclass(frozen=True)
class Case:
    """One way to do the work of a table."""

    name: str
    sentence: str
    """What it is, for the page."""
    open: Callable[[ExitStack, str], Run]
    """Makes its `Run`, from the address to send to; the stack closes what was opened."""
    base: str | None = None
    """The case that its ratio is to."""
    needs: tuple[str, ...] = ()
    """The distributions and programs without which it is left out."""


@dataclass(frozen=True)
class Table:
    """Cases that are measured together."""

    name: str
    title: str
    cases: tuple[Case, ...]
    targets: tuple[Target, ...] = ()
    place: Callable[[], AbstractContextManager[str]] = field(default=lambda: nullcontext(""))
    """Where the work is sent to: the address, and what stands behind it meanwhile."""
    unit: str = "µs per request"
    factor: float = 1e6
    """By what a case's number is multiplied to be shown in that unit."""
    sample: float = 0.01
    """Seconds of CPU time that one case takes in a round, roughly."""
    part: float = 0.0025
    """Seconds of them that it takes at a time, with the others between."""
    times: int | None = None
    """How often a case's work is done in a round, where that is not for the sample to say."""
    rounds: int | None = None
    """At most, where a round takes long."""
    brief: tuple[int, int] | None = None
    """`times` and `rounds` of a check, where those above take minutes."""


class Quartiles(NamedTuple):
    """The middle half of some numbers."""

    lower: float
    median: float
    upper: float


def quartiles(values: Iterable[float]) -> Quartiles:
    """Of two numbers or more, the least and greatest counted in."""
    return Quartiles(*quantiles(values, n=4, method="inclusive"))


def timed(work: Callable[[], Any]) -> Run:
    """A `Run` that calls `work`; the first time, before the clock runs, warms it."""

    def run(times: int) -> float:
        work()
        started = process_time()
        for _ in repeat(None, times):
            work()
        return process_time() - started

    return run


def awaited(runner: asyncio.Runner, work: Callable[[], Awaitable[Any]]) -> Run:
    """The same for `work` that is awaited, in the runner's loop."""

    async def sample(times: int) -> float:
        await work()
        started = process_time()
        for _ in repeat(None, times):
            await work()
        return process_time() - started

    return lambda times: runner.run(sample(times))


class Bench:
    """The open cases of a table."""

    def __init__(self, runs: Mapping[str, Run], table: Table) -> None:
        self._runs, times = dict(runs), table.times
        self._slices = 1 if times else max(1, round(table.sample / table.part))
        part = table.sample / self._slices
        self._times = {name: times or _times(run, part) for name, run in runs.items()}
        self._more: dict[str, float] = {}

    def slow(self, name: str, factor: float) -> None:
        """Plant a slow-down: more of the case's work is done than is counted."""
        self._more[name] = factor

    def round(self) -> Round:
        """Each case in several slices, in another order for each: what changes, changes for all."""
        taken = dict.fromkeys(self._runs, 0.0)
        for _ in range(self._slices):
            parts = [part for name in self._runs for part in self._parts(name)]
            random.shuffle(parts)
            for name, times in parts:
                taken[name] += self._runs[name](times)
        return {name: taken[name] / self._times[name] / self._slices for name in taken}

    def rounds(self, number: int) -> list[Round]:
        """So many rounds."""
        gc.collect()
        gc.freeze()  # what is there by now is nobody's garbage
        try:
            return [self.round() for _ in range(number)]
        finally:
            gc.unfreeze()

    def _parts(self, name: str) -> Iterator[tuple[str, int]]:
        """What is done of a case in a slice: as much as is counted, and what was planted."""
        counted = self._times[name]
        done = max(1, int(counted * self._more.get(name, 1.0) + random.random()))
        for before in range(0, done, counted):
            yield name, min(counted, done - before)


def _times(run: Run, sample: float) -> int:
    """How often a case's work fits into a sample, judged by the quickest of three tries."""
    run(1)
    once = min(run(3) for _ in range(3)) / 3
    return max(1, round(sample / max(once, 1e-7)))


def medians(rounds: list[Round]) -> Round:
    """Each case's."""
    return {name: median(each[name] for each in rounds) for name in rounds[0]}
