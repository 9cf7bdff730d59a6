"""Reads and writes LDIF (RFC 2849), one record at a time."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import (
    IO,
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    NoReturn,
    TypeAlias,
    get_args,
)

from ldap3.core.exceptions import LDAPInvalidDnError
from ldap3.protocol.rfc2849 import operation_to_ldif
from ldap3.utils.dn import parse_dn

from flext_plugins import FlextError

from .entry import Entry

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

Kind: TypeAlias = Literal["add", "delete", "replace", "increment"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order of LDAP's numbers for them."""
_ATTRIBUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(;[A-Za-z0-9-]+)*")


class Change(NamedTuple):
    """A change of one attribute."""

    kind: Kind
    attribute: str
    values: tuple[str | bytes, ...] = ()
    """As text if they are UTF-8; without values the attribute is deleted."""


@dataclass(frozen=True, slots=True)
class Modify:
    """Changes of an entry, all of which are made or none."""

    changetype: ClassVar[Literal["modify"]] = "modify"
    dn: str
    changes: tuple[Change, ...]

    def by_attribute(self) -> dict[str, list[tuple[str, tuple[str | bytes, ...]]]]:
        """Sort the changes by attribute, as ldap3 takes them."""
        operations: dict[str, list[tuple[str, tuple[str | bytes, ...]]]] = {}
        for kind, attribute, values in self.changes:
            operations.setdefault(attribute, []).append((f"MODIFY_{kind.upper()}", values))
        return operations


@dataclass(frozen=True, slots=True)
class Delete:
    """The deletion of an entry."""

    changetype: ClassVar[Literal["delete"]] = "delete"
    dn: str


Record: TypeAlias = Entry | Modify | Delete


class LdifError(FlextError, ValueError):
    """A file is not LDIF, or uses a part of it that is not supported.

    Attributes:
        file: its path.
        line: the line, counted from 1; of a folded one, the first.
    """

    def __init__(self, file: str, line: int, problem: str) -> None:
        super().__init__(file, line, problem)
        self.file, self.line, self._problem = file, line, problem

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self._problem}"


def read(path: str | os.PathLike[str]) -> Iterator[Record]:
    """Yield the records of a file, each read when it is needed.

    An `Entry` is what a content record or `changetype: add` says.

    Raises:
        LdifError: at the record that cannot be read; those before it have been given.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        yield from _Reader(file, str(path))


def entries(path: str | os.PathLike[str]) -> Iterator[Entry]:
    """Yield the entries of a file that has nothing else, for `Directory.upsert`.

    Raises:
        LdifError: as `read`, and at a record that modifies or deletes.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        reader = _Reader(file, str(path))
        for record in reader:
            if not isinstance(record, Entry):
                reader.wrong(reader.line, "expected entries alone, and this changes one")
            yield record


def write(path: str | os.PathLike[str], records: Iterable[Record]) -> None:
    """Write `records` to a file, taking them one by one; see `writing`."""
    with writing(path) as put:
        for record in records:
            put(record)


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Callable[[Record], None]]:
    """Open a file for a `with`, which gets a function that writes one record.

    The file is there when the block has ended, in place of an older one; if the block raises, it
    is not. Only its owner may read it.

    Raises:
        ValueError: what is no name of an attribute was to be written as one.
        OSError: the file cannot be written.
    """
    target = Path(path)
    with NamedTemporaryFile(
        "wb", dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as file:
        try:
            yield partial(_put, file)  # no `version: 1`, at which slapadd stops
            file.close()
            Path(file.name).replace(target)
        except BaseException:
            file.close()
            Path(file.name).unlink(missing_ok=True)
            raise


def _put(file: IO[bytes], record: Record) -> None:
    file.write(encode(record).encode("ascii"))


def encode(record: Record) -> str:
    """The text of `record`, in ASCII, with the empty line that ends it.

    All values are in base64 if one has a control character, which LDIF lets pass and which would
    steer a terminal.

    Raises:
        ValueError: what is no name of an attribute was to be written as one.
    """
    lines = _lines(record, all_base64=False)
    if not all(each.isprintable() for each in lines):
        lines = _lines(record, all_base64=True)
    return "\n".join(lines).rstrip("\n") + "\n\n"


def _lines(record: Record, *, all_base64: bool) -> list[str]:
    # ldap3 knows how lines are folded and values encoded, and trusts attributes' names.
    if isinstance(record, Entry):
        attributes = {_valid_name(name): _bytes(all_) for name, all_ in record.attributes.items()}
        entry = {"type": "searchResEntry", "dn": record.dn, "raw_attributes": attributes}
        lines = operation_to_ldif("searchResponse", [entry], all_base64)[:-1]  # but their number
    elif isinstance(record, Modify):
        changes = [
            {
                "operation": KINDS.index(each.kind),
                "attribute": {"type": _valid_name(each.attribute), "value": _bytes(each.values)},
            }
            for each in record.changes
        ]
        request = {"entry": record.dn, "controls": None, "changes": changes}
        lines = operation_to_ldif("modifyRequest", request, all_base64)
    else:
        lines = operation_to_ldif("delRequest", {"entry": record.dn, "controls": None}, all_base64)
    return list(lines)


def _valid_name(name: str) -> str:
    if not _ATTRIBUTE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an attribute")
    return name


def _bytes(values: Iterable[str | bytes]) -> list[bytes]:
    return [each.encode() if isinstance(each, str) else each for each in values]


class _Line(NamedTuple):
    number: int
    text: bytes


class _Field(NamedTuple):
    line: int
    name: str
    """`-` for the line that ends a change."""
    value: str | bytes


class _Reader:
    """Reads the records of a file."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name
        self.line = 0
        """The line on which the latest record began."""

    def wrong(self, line: int, problem: str) -> NoReturn:
        raise LdifError(self._name, line, problem)

    def __iter__(self) -> Iterator[Record]:
        is_first = True
        for lines in self._records():
            fields = [self._field(each) for each in lines]
            if is_first and fields[0].name.lower() == "version":
                version = fields.pop(0)
                if version.value != "1":
                    self.wrong(version.line, "expected version 1")
            is_first = False
            if fields:
                self.line = fields[0].line
                yield self._record(self._dn(fields[0]), fields[1:])

    def _records(self) -> Iterator[list[_Line]]:
        lines: list[_Line] = []
        for line in self._unfolded():
            if line.text:
                lines.append(line)
            elif lines:
                yield lines
                lines = []
        if lines:
            yield lines

    def _unfolded(self) -> Iterator[_Line]:
        """Yield lines, continuations joined to them and comments left out; empty ones too."""
        number, parts = 0, [b""]
        for count, raw in enumerate(self._file, 1):
            text = raw.removesuffix(b"\n").removesuffix(b"\r")
            if text.startswith(b" "):
                if not parts[0]:
                    self.wrong(count, "begins with a blank, and there is no line to go on with")
                parts.append(text[1:])
                continue
            if not parts[0].startswith(b"#"):
                yield _Line(number, b"".join(parts))
            number, parts = count, [text]
        if not parts[0].startswith(b"#"):
            yield _Line(number, b"".join(parts))

    def _field(self, line: _Line) -> _Field:
        if line.text == b"-":
            return _Field(line.number, "-", b"")
        described, colon, rest = line.text.partition(b":")
        name = described.decode("latin-1")
        if not colon or not _ATTRIBUTE.fullmatch(name):
            self.wrong(line.number, "expected `ATTRIBUTE: VALUE`")
        if rest.startswith(b"<"):
            self.wrong(line.number, f"{name} would be read from a URL; put the value itself here")
        if rest.startswith(b":"):
            try:
                return _Field(
                    line.number, name, _text(b64decode(rest[1:].strip(b" "), validate=True))
                )
            except Base64Error:
                self.wrong(line.number, f"the base64 of {name} is broken")
        value = _text(rest.lstrip(b" "))
        if isinstance(value, bytes):
            self.wrong(line.number, f"{name} is not UTF-8; anything else has to be base64")
        return _Field(line.number, name, value)

    def _dn(self, field: _Field) -> str:
        if field.name.lower() != "dn":
            self.wrong(field.line, "expected `dn: NAME`, with which each record begins")
        try:
            parse_dn(field.value)
        except (LDAPInvalidDnError, TypeError):
            self.wrong(field.line, "expected a distinguished name")
        return str(field.value)

    def _record(self, dn: str, fields: Sequence[_Field]) -> Record:
        first, rest = (fields[0] if fields else None), fields[1:]
        if first is not None and first.name.lower() == "control":
            self.wrong(first.line, "controls are not supported")
        if first is None or first.name.lower() != "changetype":
            return self._entry(dn, fields)
        kind = str(first.value).lower()
        if kind == "add":
            return self._entry(dn, rest)
        if kind == "modify":
            return Modify(dn, tuple(self._changes(rest)))
        if kind != "delete":
            self.wrong(first.line, "expected changetype add, modify or delete")
        if rest:
            self.wrong(rest[0].line, "expected nothing more about what is deleted")
        return Delete(dn)

    def _entry(self, dn: str, fields: Sequence[_Field]) -> Entry:
        attributes: dict[str, tuple[str, list[str | bytes]]] = {}
        for field in fields:
            if field.name.lower() in {"dn", "-"}:
                self.wrong(field.line, "expected an attribute; an empty line ends a record")
            attributes.setdefault(field.name.lower(), (field.name, []))[1].append(field.value)
        if not attributes:
            self.wrong(self.line, "the entry has no attributes")
        return Entry(dn, {name: tuple(values) for name, values in attributes.values()})

    def _changes(self, fields: Sequence[_Field]) -> Iterator[Change]:
        if not fields:
            self.wrong(self.line, "nothing is modified")
        left = iter(fields)
        for field in left:
            kind: Any = field.name.lower()
            attribute = str(field.value)
            if kind not in KINDS or not _ATTRIBUTE.fullmatch(attribute):
                expected = ", ".join(f"`{each}:`" for each in KINDS)
                self.wrong(field.line, f"expected one of {expected} with an attribute's name")
            values = tuple(self._values(field, attribute, left))
            if (kind == "add" and not values) or (kind == "increment" and len(values) != 1):
                expected = "one value" if kind == "increment" else "a value"
                self.wrong(field.line, f"expected {expected} of {attribute} to {kind}")
            yield Change(kind, attribute, values)

    def _values(
        self, began: _Field, attribute: str, left: Iterator[_Field]
    ) -> Iterator[str | bytes]:
        for field in left:
            if field.name == "-":
                return
            if field.name.lower() != attribute.lower():
                self.wrong(field.line, f"expected a value of {attribute}, or `-`")
            yield field.value
        self.wrong(began.line, "the change has no end: expected a line `-`")


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
