"""Whether the targets are kept, and whether a slow-down would be seen."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from flext_plugins_devstack import NotInstalled

from .tables import lacking, opened
from .target import PLANTED, judged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .measurement import Bench, Round, Table
    from .target import Target, Verdict

REPEATED = 10
ENOUGH = 10
"""Rounds after which a table is left whose targets are all kept clearly."""


def _needed(table: Table) -> list[str]:
    """The cases that the table's targets are about."""
    return [name for each in table.targets for name in (each.case, *each.others)]


def _lack(table: Table) -> str:
    """What is missing for the table's targets."""
    needed = set(_needed(table))
    missing = {name for case in table.cases if case.name in needed for name in lacking(case)}
    return ", ".join(sorted(missing))


def _brief(table: Table, rounds: int) -> tuple[Table, int]:
    """The table as it is checked, and in how many rounds."""
    if table.brief is None:
        return table, rounds
    times, most = table.brief
    return replace(table, times=times), min(rounds, most)


def measured(bench: Bench, targets: Sequence[Target], rounds: int) -> list[Round]:
    """So many rounds, or the first of them where they tell enough of all these targets."""
    found = bench.rounds(min(ENOUGH, rounds))
    if not all(judged(each, found).clear for each in targets):
        found += bench.rounds(rounds - len(found))
    return found


def check(tables: Sequence[Table], rounds: int) -> bool:
    """Measure and print each target; whether all pass."""
    print(f"{'':6} {'limit':>7}  {'lower':>7} {'median':>7} {'upper':>7}")
    good = True
    for each in tables:
        if not each.targets:
            continue
        table, fewer = _brief(each, rounds)
        if lack := _lack(table):
            print(f"FAILED: {table.title}: not installed: {lack}")
            good = False
            continue
        try:
            with ExitStack() as stack:
                found = measured(opened(table, _needed(table), stack), table.targets, fewer)
        except NotInstalled as missing:
            print(f"skipped: {table.title}: {missing}")
            continue
        for target in table.targets:
            verdict = judged(target, found)
            print(line(verdict), flush=True)
            good = good and verdict.holds
    return good


def line(verdict: Verdict) -> str:
    """A target, its quartiles, and whether it passes."""
    target, (lower, median, upper) = verdict
    word = "ok" if verdict.holds else "FAILED"
    text = (
        f"{word:6} {target.limit:7.3g}  {lower:7.3g} {median:7.3g} {upper:7.3g}  {target.sentence}"
    )
    if not verdict.reached:
        text += "\n       not reached" + (f": {target.aim:.3g} is wanted" if target.aim else "")
    return text


def planted(tables: Sequence[Table], rounds: int) -> bool:
    """Slow each target's case down to 30 % beyond its limit, ten times; whether all are caught.

    A case that stands below its limit is brought up to it first, and a limit that is not reached is
    raised to where the case stands: what is tried is whether 30 % more than what is just kept are
    seen. The slow-down is more of the case's own work than is counted.
    """
    good = True
    for each in tables:
        table, fewer = _brief(each, rounds)
        for target in table.targets:
            with ExitStack() as stack:
                bench = opened(table, (target.case, *target.others), stack)
                kept = _slow(bench, target, fewer)
                found = [judged(kept, measured(bench, [kept], fewer)) for _ in range(REPEATED)]
            caught = sum(not each.holds for each in found)
            print(f"caught {caught:2} of {REPEATED}: {target.sentence}", flush=True)
            good = good and caught == REPEATED
    return good


def _slow(bench: Bench, target: Target, rounds: int) -> Target:
    """Plant it; gives the target with the limit that would just be kept without it."""
    found = bench.rounds(3 * rounds)  # a limit is a number, not another measurement
    limit = max(target.limit, judged(target, found).found.median)
    bench.slow(target.case, median(target.factor(limit * PLANTED, each) for each in found))
    return replace(target, limit=limit)
