"""The attribute names that a server knows."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from .errors import DirectoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .entry import Entry
    from .session import Session

_IN_FILTER = re.compile(r"\(\s*([A-Za-z0-9][A-Za-z0-9.-]*)[^()~<>:=]*[~<>:]*=")
_NO_NAMES = ("*", "+", "@", "!")
"""Begin what asks for several attributes: all, or those of an object class (RFC 4529)."""
_TYPE = re.compile(r"\(\s*(\S+)\s+(?:NAME\s+(\([^)]*\)|'[^']*'))?")


class Schema:
    """Knows a server's attribute names, after asking it once."""

    def __init__(self) -> None:
        self._types: dict[str, str] | None = None

    def type_of(self, attribute: str) -> str:
        """The one name, in lower case, of an attribute without its options: `uid` of `userid`."""
        name = attribute.partition(";")[0].lower()
        return (self._types or {}).get(name, name)

    def learn(self, session: Session) -> None:
        """Ask the server for the names that it knows, once."""
        if self._types is None:
            try:
                self._types = dict(_attribute_types(session))
            except DirectoryError as error:
                if error.code is None:  # nobody answered
                    raise

    def check(self, wanted: str, attributes: Sequence[str], entries: Sequence[Entry]) -> None:
        """Check that the server knows all names in a search that came to `entries`.

        What it tells of its names may lack some: one by which entries were found, or that they
        have, is known from then on.

        Raises:
            DirectoryError: it does not know one; the server itself silently finds nothing.
        """
        known = self._types
        if not known:
            return
        names = [(name.partition(";")[0], "attributes") for name in attributes if entries]
        names += [(name, "the filter") for name in _IN_FILTER.findall(wanted)]
        unknown = [
            (name, place)
            for name, place in names
            if not (name.lower() in known or name.startswith(_NO_NAMES) or name == "1.1")
        ]
        if not unknown:
            return
        came = {self.type_of(name) for entry in entries for name in entry.attributes}
        for name, place in unknown:
            own = name.lower()
            if own not in came and not (entries and place == "the filter"):
                near = get_close_matches(own, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise DirectoryError(
                    f"search: the directory knows no attribute {name!r}, asked for by {place}{hint}"
                )
            known[own] = own


def _attribute_types(session: Session) -> Iterator[tuple[str, str]]:
    """Yield each name of each attribute, with its first one."""
    for root in session.read("", "subschemaSubentry"):
        for definition in session.read(str(root), "attributeTypes"):
            if match := _TYPE.match(str(definition)):
                names = re.findall(r"'([^']+)'", (match[2] or "").lower())
                for name in (match[1], *names):
                    yield name, next(iter(names), name)
