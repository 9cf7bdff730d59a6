"""What is in a directory, and how it is named there."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Literal, TypeAlias

from .errors import DirectoryError

Attributes: TypeAlias = Mapping[str, tuple[str | bytes, ...]]
"""Values by attribute, as text where they are UTF-8."""
Values: TypeAlias = str | bytes | Sequence[str | bytes]
_IN_FILTER = re.compile(r"[\\*()\x00]")
_IN_DN = re.compile(r"^[ #]|[\\,+\"<>;=\x00]| $")
_ESCAPED = re.compile(r"((?:\\[0-9a-fA-F]{2})+)|\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry."""

    dn: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class User:
    """Somebody in the directory."""

    username: str
    dn: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """What became of one entry of an `upsert`."""

    dn: str
    outcome: Literal["added", "modified", "failed"]
    error: DirectoryError | None = None


def _hex_escape(match: re.Match[str]) -> str:
    return f"\\{ord(match[0]):02x}"


def is_text(value: str) -> bool:
    """Whether `value` can be sent: what has half a surrogate pair in it cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_filter(value: str) -> str:
    """`value`, for one in a filter: it matches itself and nothing else (RFC 4515)."""
    return _IN_FILTER.sub(_hex_escape, value)


def in_dn(value: str) -> str:
    """`value`, for one in a DN: it names itself and nothing else (RFC 4514)."""
    return _IN_DN.sub(_hex_escape, value)


def fill(template: str, values: Mapping[str, str], escape: Callable[[str], str]) -> str:
    """`template` with `values` in its placeholders, escaped; without values it is as it stands.

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
    """The value of the first `cn` in the first part of `dn`."""
    match = re.match(r"\s*cn\s*=\s*((?:\\.|[^,+;\\])*)", dn, re.IGNORECASE | re.DOTALL)
    return _ESCAPED.sub(_plain, match[1]) if match else None


def _plain(match: re.Match[str]) -> str:
    if match[1]:
        return bytes.fromhex(match[1].replace("\\", "")).decode(errors="replace")
    return match[2]


def decode(raw: Mapping[str, Sequence[bytes]]) -> Attributes:
    """What came over the wire, as text where it is."""
    return {name: tuple(_text(value) for value in values) for name, values in raw.items() if values}


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def as_list(values: Values) -> list[str | bytes]:
    """One value or several."""
    return [values] if isinstance(values, (str, bytes)) else [*values]
