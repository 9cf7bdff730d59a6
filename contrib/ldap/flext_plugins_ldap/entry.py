"""Entries and users, and the escaping of values in filters and DNs."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Literal, TypeAlias

from .errors import DirectoryError

Attributes: TypeAlias = Mapping[str, tuple[str | bytes, ...]]
"""Values by attribute, as text if they are UTF-8."""
Values: TypeAlias = str | bytes | Sequence[str | bytes]
_IN_FILTER = re.compile(r"[\\*()\x00]")
_IN_DN = re.compile(r"^[ #]|[\\,+\"<>;=\x00]| $")
_ESCAPED = re.compile(r"((?:\\[0-9a-fA-F]{2})+)|\\(.)", re.DOTALL)
_PART = re.compile(r"\s*([^=+,;\\\s]+)\s*=\s*((?:\\.|[^,+;\\])*)(\+?)", re.DOTALL)
_COMMON_NAME = frozenset({"cn", "commonname", "2.5.4.3"})


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a directory."""

    dn: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class User:
    """A user in a directory."""

    username: str
    dn: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """The result of an `upsert` for one entry."""

    dn: str
    outcome: Literal["added", "modified", "failed"]
    error: DirectoryError | None = None


def _hex_escape(match: re.Match[str]) -> str:
    return f"\\{ord(match[0]):02x}"


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
        DirectoryError: a placeholder has no value.
    """
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


def common_name(dn: str) -> str | None:
    """The value of `cn` in the first part of `dn`, which may have several, joined by `+`."""
    match = _PART.match(dn)
    while match and match[1].lower() not in _COMMON_NAME:
        match = _PART.match(dn, match.end()) if match[3] else None
    return unescape(match[2]) if match else None


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


def values_of(attributes: Attributes, name: str) -> tuple[str | bytes, ...]:
    """The values of exactly the attribute `name`, in any case.

    A server also sends `cn;lang-de` if it is asked for `cn`, and others may write that.
    """
    name = name.lower()
    return next((values for each, values in attributes.items() if each.lower() == name), ())


def decode(raw: Mapping[str, Sequence[bytes]]) -> Attributes:
    """Decode values from the wire to text if they are UTF-8."""
    return {name: tuple(_text(value) for value in values) for name, values in raw.items() if values}


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def as_list(values: Values) -> list[str | bytes]:
    """Make a list of one value or several."""
    return [values] if isinstance(values, (str, bytes)) else [*values]
