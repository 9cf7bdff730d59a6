"""Tells whether an entry has a user's name, and makes the user of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .entry import User, fill, fold, in_filter, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from .entry import Attributes, Entry


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
        self._username, self._wanted = username, wanted
        self._names = [
            (attribute, fold(unescape(fill(template, {"username": username}, in_filter))))
            for attribute, template in templates
        ]
        is_whole = {template.strip() for _, template in templates} == {"{username}"}
        self._is_one = is_whole and len({attribute.lower() for attribute, _ in templates}) == 1
        more = [] if "*" in wanted else dict.fromkeys(attribute for attribute, _ in templates)
        self.attributes = [*wanted, *more]
        """The attributes to search for."""

    def user_of(self, entry: Entry, type_of: Callable[[str], str]) -> User | None:
        """The user of an entry, with the name as the directory spells it: ANA is ana.

        Args:
            entry: was matched by the filter.
            type_of: the server's one name for an attribute.

        Returns:
            `None` if only an attribute with options holds the name.
        """
        names = {(type_of(attribute), name) for attribute, name in self._names}
        types = {each for each, _ in names}
        came = {name: type_of(name) for name in entry.attributes}
        spelled = {
            (came[name], fold(str(value))): str(value)
            for name, values in entry.attributes.items()
            if came[name] in types and ";" not in name
            for value in values
        }
        has_options = any(came[name] in types and ";" in name for name in came)
        if has_options and not names & spelled.keys():
            return None
        username = self._username
        if self._is_one:
            username = next((spelled[each] for each in names if each in spelled), username)
        return User(username, entry.dn, self._wanted_of(entry, types, type_of))

    def _wanted_of(
        self, entry: Entry, types: Collection[str], type_of: Callable[[str], str]
    ) -> Attributes:
        """The attributes that are wanted, by the names under which they were asked for."""
        exact = {name.lower(): name for name in self._wanted}
        by_type = {type_of(name): name for name in self._wanted if ";" not in name}
        attributes = {}
        for name, values in entry.attributes.items():
            own, semicolon, rest = name.partition(";")
            kind = type_of(name)
            is_wanted = (
                kind not in types  # it came for nobody else
                or "*" in exact
                or kind in by_type
                or f"{name.lower()};".startswith(tuple(f"{each};" for each in exact))
            )
            if is_wanted:  # a server sends `sn` if it is asked for `surname`
                is_alias = kind in by_type and not {kind, own.lower()} & exact.keys()
                attributes[f"{by_type[kind]}{semicolon}{rest}" if is_alias else name] = values
        return attributes
