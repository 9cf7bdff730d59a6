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
    case: str
    """Whose time must not grow."""
    others: tuple[str, ...]
    value: Callable[[Mapping[str, float]], float]
    """The ratio, linear in the time of `case`."""

    def factor(self, value: float, times: Mapping[str, float]) -> float:
        """How many times as long `case` would have to take for the ratio to be `value`."""
        none, once = self.value({**times, self.case: 0.0}), self.value(times)
        return (value - none) / (once - none)


def ratio(sentence: str, limit: float, case: str, base: str) -> Target:
    """`case` takes at most `limit` times as long as `base`."""
    return Target(sentence, limit, case, (base,), lambda times: times[case] / times[base])


def overhead(sentence: str, limit: float, case: str, plain: str, peer: str) -> Target:
    """What `case` takes more than `plain` is at most `limit` times what `peer` takes more."""
    return Target(
        sentence,
        limit,
        case,
        (plain, peer),
        lambda times: (times[case] - times[plain]) / (times[peer] - times[plain]),
    )


class Known(NamedTuple):
    """A target that is not reached: how far off it is, which must not get worse, and why."""

    ratio: float
    reason: str


_SPAN = (
    "much of what is added is OpenTelemetry's span, which stack A makes as well; telling the end "
    "of a call beside that of its hops, and one kind of message, cost 16 µs of 130 a call; an "
    "event that nobody listens to need not be made"
)
_HOPS = f"{_SPAN}; awaited, the rest costs 15 µs more of ours than driven"
_ORDER = (
    "names are brought into one spelling and neighbours' wishes looked for, once a service; what "
    "that gives for a class could be kept with the class"
)
KNOWN: dict[str, Known] = {
    "what four plugins add to httpx, to what stack A adds, in memory": Known(0.68, _SPAN),
    "what four plugins add to httpx async, to what stack A adds, in memory": Known(0.8, _HOPS),
    "what four plugins add to httpx, to what stack A adds, over loopback": Known(0.72, _SPAN),
    "what four plugins add to httpx async, to what stack A adds, over loopback": Known(0.83, _HOPS),
    "composing a service of 8 plugins, to registering them in pluggy": Known(0.17, _ORDER),
}
"""By the target's sentence. Whoever adds one says what would have to be done."""


class Verdict(NamedTuple):
    """What came of a target."""

    target: Target
    found: Quartiles
    known: Known | None

    @property
    def bound(self) -> float:
        """What the lower quartile must not exceed."""
        return MARGIN * (self.known.ratio if self.known else self.target.limit)

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
        """Whether the median is what was promised, without a margin."""
        return self.found.median <= self.target.limit


def judged(
    target: Target, rounds: list[dict[str, float]], known: Mapping[str, Known] = KNOWN
) -> Verdict:
    """Of the ratios of each round."""
    found = quartiles(target.value(each) for each in rounds)
    return Verdict(target, found, known.get(target.sentence))
