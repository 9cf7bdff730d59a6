"""What is promised of a table, and whether a run keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .measurement import Quartiles, quartiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MARGIN = 1.15
"""A check fails when three quarters of its rounds are that much beyond the target."""
PLANTED = 1.30


@dataclass(frozen=True)
class Target:
    """A ratio of a round's times that has to stay within a limit."""

    sentence: str
    limit: float
    """What a check holds."""
    case: str
    """Whose time must not grow."""
    others: tuple[str, ...]
    value: Callable[[Mapping[str, float]], float]
    """The ratio, linear in the time of `case`."""
    aim: float | None = None
    """What we want to reach, where that is less than the limit."""

    def factor(self, value: float, times: Mapping[str, float]) -> float:
        """How many times as long `case` would have to take for the ratio to be `value`."""
        none, once = self.value({**times, self.case: 0.0}), self.value(times)
        return (value - none) / (once - none)


def ratio(sentence: str, limit: float, case: str, base: str, aim: float | None = None) -> Target:
    """`case` takes at most `limit` times as long as `base`."""
    return Target(sentence, limit, case, (base,), lambda times: times[case] / times[base], aim)


def overhead(
    sentence: str, limit: float, case: str, plain: str, peer: str, aim: float | None = None
) -> Target:
    """What `case` takes more than `plain` is at most `limit` times what `peer` takes more."""
    return Target(
        sentence,
        limit,
        case,
        (plain, peer),
        lambda times: (times[case] - times[plain]) / (times[peer] - times[plain]),
        aim,
    )


class Verdict(NamedTuple):
    """What came of a target."""

    target: Target
    found: Quartiles

    @property
    def bound(self) -> float:
        """What the lower quartile must not exceed."""
        return MARGIN * self.target.limit

    @property
    def holds(self) -> bool:
        """Whether it passes."""
        return self.found.lower <= self.bound

    @property
    def clear(self) -> bool:
        """Whether it passes beyond doubt: three quarters of the rounds are within the bound."""
        return self.found.upper <= self.bound

    @property
    def reached(self) -> bool:
        """Whether the median is what we want to reach, without a margin."""
        return self.found.median <= (self.target.aim or self.target.limit)


def judged(target: Target, rounds: list[dict[str, float]]) -> Verdict:
    """Of the ratios of each round."""
    return Verdict(target, quartiles(target.value(each) for each in rounds))
