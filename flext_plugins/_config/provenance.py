"""The sources of the values of a configuration."""

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
"""The source of what was given as an object."""


class Sources(dict[Place, str]):
    """The source of each value, by its place."""

    @cached_property
    def parts(self) -> Mapping[Place, str]:
        """The source of one value below each place."""
        parts: dict[Place, str] = {}
        for place, source in self.items():
            for end in range(len(place) + 1):
                parts.setdefault(place[:end], source)
        return parts


class Where:
    """The places where the values of a table stand: one, or several that are laid on each other."""

    def __init__(self, sources: Mapping[Place, str], *roots: Place) -> None:
        self._sources = sources if isinstance(sources, Sources) else Sources(sources)
        self._roots = roots or ((),)

    def _source(self, place: Place, least: int) -> str:
        """The source of the value at `place`, of a table around it, or of a value in it."""
        for end in range(len(place), least, -1):
            if (source := self._sources.get(place[:end])) is not None:
                return source
        return self._sources.parts.get(place, "")

    def _find(self, key: Place) -> tuple[Place, str]:
        for root in self._roots:
            if source := self._source((*root, *key), len(root)):
                return (*root, *key), source
        return (*self._roots[0], *key), ""

    def source(self, key: Place) -> str:
        """A file, a variable, `code`, or `default`."""
        return self._find(key)[1] or "default"

    def in_file(self, key: Place) -> bool:
        """Whether the value came from a file."""
        source = self.source(key)
        return source not in {CODE, "default"} and not source.startswith(PREFIX)

    def problem(self, key: Place, what: str) -> str:
        """One sentence: where it came from, which key, what is wrong."""
        place, _ = self._find(key)
        around = (self._source(place[:end], 0) for end in range(len(place), -1, -1))
        source = next((each for each in around if each), CODE)
        said = ("" if source == CODE else source, ".".join(place), what)
        return ": ".join(part for part in said if part)
