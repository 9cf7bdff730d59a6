"""The attribute names that a server knows."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from .errors import DirectoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .session import Session

_IN_FILTER = re.compile(r"\(\s*([A-Za-z0-9][A-Za-z0-9.-]*)[^()~<>:=]*[~<>:]*=")
_TYPE = re.compile(r"\(\s*(\S+)\s+(?:NAME\s+(\([^)]*\)|'[^']*'))?")


class Schema:
    """Knows a server's attribute names, after asking it once."""

    def __init__(self) -> None:
        self._types: dict[str, str] | None = None

    def type_of(self, attribute: str) -> str:
        """The one name, in lower case, of an attribute without its options: `uid` of `userid`."""
        name = attribute.partition(";")[0].lower()
        return (self._types or {}).get(name, name)

    def check(self, session: Session, wanted: str, attributes: Sequence[str]) -> None:
        """Check that the server knows all names in a search, if it tells which it knows.

        Raises:
            DirectoryError: it does not; the server itself would silently find nothing.
        """
        places = {name.partition(";")[0]: "attributes" for name in attributes}
        places |= dict.fromkeys(_IN_FILTER.findall(wanted), "the filter")
        places = {name: place for name, place in places.items() if name not in {"*", "+", "1.1"}}
        if places and self._types is None:
            self._types = dict(_attribute_types(session))
        known = self._types or {}
        for name, place in places.items():
            if known and name.lower() not in known:
                near = get_close_matches(name.lower(), known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise DirectoryError(
                    f"search: the directory knows no attribute {name!r}, asked for by {place}{hint}"
                )


def _attribute_types(session: Session) -> Iterator[tuple[str, str]]:
    """Yield each name of each attribute, with its first one."""
    for root in session.read("", "subschemaSubentry"):
        for definition in session.read(str(root), "attributeTypes"):
            if match := _TYPE.match(str(definition)):
                names = re.findall(r"'([^']+)'", (match[2] or "").lower())
                for name in (match[1], *names):
                    yield name, next(iter(names), name)
