"""Tells whether an entry has a user's name, and makes the user of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .entry import Attributes, User, fill, fold, in_filter, parts_of, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from .entry import Entry

USERNAME = "{username}"


class Kind(NamedTuple):
    """An attribute, however its name and its options are written."""

    type: str
    """The server's one name for it."""
    options: frozenset[str]


class Naming:
    """The attributes by which a filter finds a user, and those that are wanted of him.

    To a server, a filter for `uid` also matches `uid;lang-de`, which others than whoever gives out
    names may write. The name has to be in `uid` itself.

    Args:
        templates: the attributes that hold the name, each with `{username}` and what is around it.
        username: the name.
        wanted: the attributes to read of the user.
    """

    def __init__(
        self, templates: Sequence[tuple[str, str]], username: str, wanted: Sequence[str]
    ) -> None:
        self._username, self._wanted, self._templates = username, wanted, templates
        more = [] if "*" in wanted else dict.fromkeys(attribute for attribute, _ in templates)
        self.attributes = [*wanted, *more]
        """The attributes to search for."""

    def user_of(self, entry: Entry, type_of: Callable[[str], str]) -> User | None:
        """The user of an entry, with the name as the directory spells it: ANA is ana.

        Args:
            entry: was matched by the filter.
            type_of: the server's one name for an attribute.

        Returns:
            `None` if only an attribute with other options holds the name.
        """
        kinds = [_kind(attribute, type_of) for attribute, _ in self._templates]
        types = {each.type for each in kinds}
        values: dict[Kind, list[str]] = {each: [] for each in kinds}
        has_others = False
        own = {name: _kind(name, type_of) for name in entry.attributes}
        for name, every in entry.attributes.items():
            kind = own[name]
            values.get(kind, []).extend(map(str, every))
            has_others = has_others or (kind.type in types and kind not in values)
        texts = [text for _, text in self._templates]
        compared = [*zip((values[kind] for kind in kinds), texts, strict=True)]
        if has_others and not any(self._matching(every, text) for every, text in compared):
            return None
        in_dn = {fold(value) for name, value in parts_of(entry.dn) if type_of(name) in types}
        spelled = (self._spelled(every, text, in_dn) for every, text in compared)
        username = next((each for each in spelled if each), self._username)
        return User(username, entry.dn, self._wanted_of(entry, own, types, type_of))

    def _matching(self, values: Sequence[str], template: str) -> list[str]:
        """Those of an attribute's values that hold the name."""
        name = fold(unescape(fill(template, {"username": self._username}, in_filter)))
        return [each for each in values if fold(each) == name]

    def _spelled(self, values: Sequence[str], template: str, in_dn: Collection[str]) -> str | None:
        """The name in an attribute, if it says which of several values it is."""
        found = self._matching(values, template)
        if not found:  # another attribute has led here: of several values, the one in the DN
            found = [each for each in values if len(values) == 1 or fold(each) in in_dn]
        if not found:
            return None
        value = found[0]
        before, _, after = (unescape(each) for each in template.strip().partition(USERNAME))
        name = value[len(before) : len(value) - len(after)]
        return name if fold(before + name + after) == fold(value) else None

    def _wanted_of(
        self,
        entry: Entry,
        kinds: Mapping[str, Kind],
        types: Collection[str],
        type_of: Callable[[str], str],
    ) -> Attributes:
        """The attributes that are wanted, by the names under which they were asked for."""
        asked = [(_kind(each, type_of), each.partition(";")[0]) for each in self._wanted]
        names = {own.lower() for _, own in asked}
        attributes = Attributes()
        for name, values in entry.attributes.items():
            kind, (own, semicolon, rest) = kinds[name], name.partition(";")
            fitting = [
                each
                for (type_, options), each in asked
                if type_ == kind.type and options <= kind.options
            ]
            if not fitting and "*" not in names and kind.type in types:
                continue  # it came for nobody else
            # A server sends `sn` if it is asked for `surname`.
            is_alias = fitting and not {kind.type, own.lower()} & names
            attributes[f"{fitting[0]}{semicolon}{rest}" if is_alias else name] = values
        return attributes


def _kind(name: str, type_of: Callable[[str], str]) -> Kind:
    _, *options = name.lower().split(";")
    return Kind(type_of(name), frozenset(options))
