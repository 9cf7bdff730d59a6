"""Entries and users, and the escaping of values in filters and DNs."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal, TypeAlias, TypeVar

from .errors import DirectoryError

T = TypeVar("T")
Values: TypeAlias = str | bytes | Sequence[str | bytes]
_IN_FILTER = re.compile(r"[\\*()\x00]")
_IN_DN = re.compile(r"^[ #]|[\\,+\"<>;=\x00]| $")
_ESCAPED = re.compile(r"((?:\\[0-9a-fA-F]{2})+)|\\(.)", re.DOTALL)
_PART = re.compile(r"\s*([^=+,;\\\s]+)\s*=\s*((?:\\.|[^,+;\\])*)(\+?)", re.DOTALL)
_COMMON_NAME = frozenset({"cn", "commonname", "2.5.4.3"})


class Attributes(dict[str, tuple[str | bytes, ...]]):
    """Values by attribute, as text if they are UTF-8.

    An attribute is found however its name is spelled, and in whichever order its options stand: to
    a directory, `MAIL` is `mail`.
    """

    def __init__(self, attributes: Mapping[Any, Any] | None = None) -> None:
        super().__init__()
        spelled: dict[str, str] = {}
        for name, values in (attributes or {}).items():
            if not isinstance(name, str):
                raise TypeError(f"the name of an attribute is text, not {type(name).__name__}")
            every: Any = tuple(as_list(values)) if isinstance(values, Iterable) else values
            own = spelled.setdefault(spell(name), name)
            self[own] = (*self[own], *every) if own in self.keys() else every

    def __missing__(self, name: str) -> tuple[str | bytes, ...]:
        own = spell(name)
        for each, values in self.items():
            if spell(each) == own:
                return values
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return self.get(name) is not None

    def get(self, name: Any, default: Any = None) -> Any:
        """The values of an attribute, or else `default`."""
        try:
            return self[name]
        except KeyError:
            return default


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a directory; `entry["mail"]` are the values of that attribute."""

    dn: str
    attributes: Mapping[str, tuple[str | bytes, ...]]

    def __post_init__(self) -> None:
        if not isinstance(self.attributes, Attributes):
            object.__setattr__(self, "attributes", Attributes(self.attributes))

    def __getitem__(self, attribute: str) -> tuple[str | bytes, ...]:
        return self.attributes[attribute]


@dataclass(frozen=True, slots=True)
class User:
    """A user in a directory; `user["mail"]` are the values of that attribute."""

    username: str
    """The name, as the directory spells it."""
    dn: str
    attributes: Mapping[str, tuple[str | bytes, ...]]

    def __post_init__(self) -> None:
        if not isinstance(self.attributes, Attributes):
            object.__setattr__(self, "attributes", Attributes(self.attributes))

    def __getitem__(self, attribute: str) -> tuple[str | bytes, ...]:
        return self.attributes[attribute]


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """The result of an `upsert` for one entry."""

    dn: str
    outcome: Literal["added", "modified", "failed"]
    error: DirectoryError | None = None


def _hex_escape(match: re.Match[str]) -> str:
    return f"\\{ord(match[0]):02x}"


def as_text(value: object, what: str) -> str:
    """`value`, which is to be text.

    Raises:
        DirectoryError: it is none; the message has the type alone.
    """
    if not isinstance(value, str):
        raise DirectoryError(f"{what} has to be text, not {type(value).__name__}")
    return value


def as_names(attributes: object) -> tuple[str, ...]:
    """The names of attributes to be read; one alone may be given as it is.

    Raises:
        DirectoryError: something is no text.
    """
    if isinstance(attributes, str):
        return (attributes,)
    if not isinstance(attributes, Iterable):
        raise DirectoryError(f"attributes are names, not {type(attributes).__name__}")
    return tuple(as_text(each, "an attribute to be read") for each in attributes)


def is_text(value: str) -> bool:
    """Whether `value` can be sent, which half a surrogate pair prevents."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_filter(value: str) -> str:
    """Escape `value` for a filter, where it then matches only itself (RFC 4515)."""
    return _IN_FILTER.sub(_hex_escape, value)


def in_dn(value: str) -> str:
    """Escape `value` for a DN, where it then names only itself (RFC 4514)."""
    return _IN_DN.sub(_hex_escape, value)


def fill(template: str, values: Mapping[str, str], escape: Callable[[str], str]) -> str:
    """Fill the placeholders of `template` with escaped values; without values return it unchanged.

    Raises:
        DirectoryError: a placeholder has no value, or something is no text.
    """
    as_text(template, "the filter or DN")
    for name, value in values.items():
        as_text(value, f"the value of {name!r}")
    if not values:
        return template
    try:
        parts = [*Formatter().parse(template)]
        texts = [
            text + (escape(values[name]) if name is not None else "") for text, name, _, _ in parts
        ]
    except (KeyError, ValueError) as error:
        raise DirectoryError(
            f"no value for {error} in the filter or DN: "
            "braces stand around the name of a value, doubled for themselves"
        ) from None
    return "".join(texts)


def parts_of(dn: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each attribute in the first part of `dn`, where `+` joins them."""
    match = _PART.match(dn)
    while match:
        yield match[1], unescape(match[2])
        match = _PART.match(dn, match.end()) if match[3] else None


def common_name(dn: str) -> str | None:
    """The value of `cn` in the first part of `dn`."""
    return next((value for name, value in parts_of(dn) if name.lower() in _COMMON_NAME), None)


def unescape(text: str) -> str:
    """The text that is escaped so in a filter or a DN."""
    return _ESCAPED.sub(_plain, text)


def _plain(match: re.Match[str]) -> str:
    if match[1]:
        return bytes.fromhex(match[1].replace("\\", "")).decode(errors="replace")
    return match[2]


def fold(value: str) -> str:
    """Fold a name as directories do, near enough, which take ANA for ana."""
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def spell(name: str) -> str:
    """The one spelling of an attribute's name and its options: `cn;lang-de` of `CN;lang-DE`."""
    own, *options = name.lower().split(";")
    return ";".join([own, *sorted(options)]) if options else own


def values_of(attributes: Mapping[str, T], name: str) -> T | tuple[()]:
    """The values of exactly the attribute `name`.

    A server also sends `cn;lang-de` if it is asked for `cn`, and others may write that.
    """
    return attributes.get(name, ())


def decode(raw: Mapping[str, Sequence[bytes]]) -> Attributes:
    """Decode values from the wire to text if they are UTF-8."""
    return Attributes(
        {name: tuple(_text(value) for value in values) for name, values in raw.items() if values}
    )


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def as_list(values: Values | Iterable[str | bytes]) -> list[str | bytes]:
    """Make a list of one value or several."""
    return [values] if isinstance(values, (str, bytes)) else [*values]
