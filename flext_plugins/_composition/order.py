"""The order of a service's plugins: by stage, then as they wish, then by appearance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flext_plugins.hookspecs import Stage


class Candidate(Protocol):
    """A plugin that has to find its place."""

    @property
    def name(self) -> str: ...
    @property
    def aliases(self) -> frozenset[str]:
        """The normalised names by which others may mean it."""

    @property
    def stage(self) -> Stage: ...
    @property
    def before(self) -> Sequence[str]: ...
    @property
    def after(self) -> Sequence[str]: ...


class Wish(NamedTuple):
    """A plugin's wish to stand further out or further in than another."""

    outer: str
    inner: str
    by: str

    @property
    def text(self) -> str:
        """The wish in its own words: `after 'x'`."""
        return f"before {self.inner!r}" if self.by == self.outer else f"after {self.outer!r}"


def wishes(candidates: Sequence[Candidate]) -> Iterator[Wish]:
    """The wishes that concern plugins which are there."""
    for each in candidates:
        after, before = (set(map(canonicalize_name, names)) for names in (each.after, each.before))
        for other in candidates if after or before else ():
            if other is each:
                continue
            if other.aliases & after:
                yield Wish(other.name, each.name, each.name)
            if other.aliases & before:
                yield Wish(each.name, other.name, each.name)


class Order(NamedTuple):
    """The names, outermost first; without those that are in a circle, or behind one."""

    names: list[str]
    circle: list[str]
    """Each stands before the next, and the last is the first again; empty if all is well."""


def arranged(
    candidates: Sequence[Candidate], among: Sequence[Wish], said: Sequence[str] | None
) -> Order:
    """Put them into the order that was `said`, or by stage, and within one as they wish.

    Of those that may come next, the first by appearance does.
    """
    names = list[str]()
    if said:
        places = {canonicalize_name(each): place for place, each in enumerate(said)}
        names = [each.name for each in candidates]
        return Order(sorted(names, key=lambda each: places.get(canonicalize_name(each), 0)), [])
    left = [each.name for each in sorted(candidates, key=lambda each: each.stage)]
    if not among:
        return Order(left, [])
    while left:
        outer = {each.inner: each.outer for each in among if each.outer in left}
        free = [each for each in left if each not in outer]
        if not free:
            path = left[:1]
            while (following := outer[path[-1]]) not in path:
                path.append(following)
            return Order(names, [*path[path.index(following) :], following][::-1])
        names.append(free[0])
        left.remove(free[0])
    return Order(names, [])
