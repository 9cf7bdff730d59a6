"""Where the values of a configuration came from."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Place: TypeAlias = tuple[str, ...]
"""The keys that lead to a value: `("services", "flexcore", "base_url")`."""
PREFIX = "FLEXT__"
"""How environment variables begin that set a value."""
CODE = "code"
"""The origin of what was given as an object."""


class Origins(dict[Place, str]):
    """Where each value came from, by its place."""

    @cached_property
    def parts(self) -> Mapping[Place, str]:
        """Where a part of what stands at a place came from."""
        found: dict[Place, str] = {}
        for place, origin in self.items():
            for end in range(len(place) + 1):
                found.setdefault(place[:end], origin)
        return found


class Where:
    """Where the values of a table stand: at a place, or at several that are laid on each other."""

    def __init__(self, origins: Mapping[Place, str], *roots: Place) -> None:
        self._origins = origins if isinstance(origins, Origins) else Origins(origins)
        self._roots = roots or ((),)

    def _origin(self, place: Place, least: int) -> str:
        """Of the value at `place`, of what it is a part of, or of a part of it."""
        for end in range(len(place), least, -1):
            if (origin := self._origins.get(place[:end])) is not None:
                return origin
        return self._origins.parts.get(place, "")

    def _find(self, key: Place) -> tuple[Place, str]:
        for root in self._roots:
            if origin := self._origin((*root, *key), len(root)):
                return (*root, *key), origin
        return (*self._roots[0], *key), ""

    def origin(self, key: Place) -> str:
        """A file, a variable, `code`, or `default`."""
        return self._find(key)[1] or "default"

    def in_file(self, key: Place) -> bool:
        """Whether the value came from a file."""
        origin = self.origin(key)
        return origin not in {CODE, "default"} and not origin.startswith(PREFIX)

    def problem(self, key: Place, what: str) -> str:
        """One sentence: where it came from, which key, what is wrong."""
        place, _ = self._find(key)
        around = (self._origin(place[:end], 0) for end in range(len(place), -1, -1))
        origin = next((each for each in around if each), CODE)
        said = ("" if origin == CODE else origin, ".".join(place), what)
        return ": ".join(part for part in said if part)
