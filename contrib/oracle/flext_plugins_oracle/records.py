"""Records in files of JSON lines or CSV, read a line at a time, and what is no record."""

from __future__ import annotations

import csv
import json
import math
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import deque
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Format: TypeAlias = Literal["jsonl", "csv"]
LONGEST = 1 << 24
"""Bytes of a line, and characters of a field, that has to fit into memory."""
EXACT = 16
"""A number of so many characters at most is the same as a float."""


class FileError(Exception):
    """Nothing can be read from this file; the message has the line."""


class Unreadable(NamedTuple):
    """Stands where a record would: the load refuses it, as it does all that is no mapping."""

    reason: str


class Place(NamedTuple):
    """The place of a record in its file."""

    line: int
    """The first of its lines, from 1."""
    reason: str | None
    """Why it is unreadable, if it is."""


class Lines:
    """The lines of a file as text, each of them with what is wrong with it.

    Attributes:
        number: how many were given.
        size: the bytes that were read.
        is_reading: whether it waits for the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._again: deque[tuple[str, str | None]] = deque()
        self._current: list[tuple[str, str | None]] = []
        self.number = self.size = 0
        self.is_reading = False

    def begin(self) -> None:
        """Begin a record with the next line."""
        self._current.clear()

    @property
    def fault(self) -> str | None:
        """The fault of the lines of this record, if there is one."""
        return next((fault for _, fault in self._current if fault is not None), None)

    def put_back(self) -> None:
        """Give all lines of this record but the first once more."""
        again = self._current[1:]
        self._again.extendleft(reversed(again))
        self.number -= len(again)

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        text, fault = self._again.popleft() if self._again else self._read()
        self.number += 1
        self._current.append((text, fault))
        return text

    def _read(self) -> tuple[str, str | None]:
        self.is_reading = True
        line = self.file.readline(LONGEST)
        fault = None
        size = len(line)
        while len(line) == LONGEST and not line.endswith(b"\n"):
            fault = f"the line is longer than {LONGEST >> 20} MiB"
            line = self.file.readline(LONGEST)
            size += len(line)
        self.is_reading = False
        if not size:
            raise StopIteration
        if self.size == 0:
            line = _without_mark(line)
        self.size += size
        if fault is not None:
            return "", fault
        try:
            return line.decode(), None
        except UnicodeDecodeError as error:
            return line.decode(errors="replace"), f"it is no UTF-8 at byte {error.start + 1}"


def _without_mark(line: bytes) -> bytes:
    if line.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise FileError("line 1: UTF-16, by its byte order mark; expected UTF-8")
    return line.removeprefix(BOM_UTF8)


class RecordFile:
    """The records of a file, and where the last of them are in it.

    Args:
        file: what is read.
        kind: of which format it is.
        keep: of so many records, the last ones, the place is kept.

    Attributes:
        is_stopped: whether it will stop before the next record.

    Raises:
        FileError: while it is iterated: it is empty, or has no header that can be used.
    """

    def __init__(self, file: BinaryIO, kind: Format, keep: int) -> None:
        self.lines = Lines(file)
        self._records = _csv if kind == "csv" else _jsonl
        self._places: deque[Place] = deque(maxlen=keep)
        self._count = 0
        self.is_stopped = False

    def __iter__(self) -> Iterator[Any]:
        for line, record in self._records(self.lines):
            reason = record.reason if isinstance(record, Unreadable) else None
            self._count += 1
            self._places.append(Place(line, reason))
            yield record
            if self.is_stopped:
                raise KeyboardInterrupt
        if not self.lines.size:
            raise FileError("it is empty")

    def stop(self) -> None:
        """Stop before the next record, by a `KeyboardInterrupt`: at once if the file is awaited."""
        if self.lines.is_reading:
            raise KeyboardInterrupt
        self.is_stopped = True

    def place(self, number: int) -> Place:
        """Find the record of that number, one of the last that were read."""
        return self._places[number - self._count - 1]


def _jsonl(lines: Lines) -> Iterator[tuple[int, Any]]:
    decode = json.JSONDecoder(
        object_pairs_hook=_object, parse_float=_number, parse_constant=_constant
    ).decode
    lines.begin()
    for line in lines:
        text = line.strip(" \t\r\n")
        fault = lines.fault
        lines.begin()
        if fault is not None:
            yield lines.number, Unreadable(fault)
        elif text:
            yield lines.number, _json(decode, text)


def _json(decode: Callable[[str], Any], text: str) -> Any:
    try:
        record = decode(text)
    except json.JSONDecodeError as error:
        return Unreadable(f"no JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        return Unreadable("no JSON that can be read: nested too deep")
    except _Twice as error:
        return Unreadable(str(error))
    except ValueError:
        return Unreadable("no JSON that can be read: NaN, or a number that is too long")
    if not isinstance(record, dict):
        return Unreadable("JSON, but no object with columns and values")
    return record


class _Twice(Exception):
    """A name is in an object twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Twice("no JSON that can be read: a name is twice in an object")
    return made


def _constant(text: str) -> Any:
    raise ValueError(text)


def _number(text: str) -> float | Decimal:
    """A float where it is the same number, since a database may keep more digits."""
    number = float(text)
    if math.isfinite(number) and (len(text) <= EXACT or Decimal(repr(number)) == Decimal(text)):
        return number
    try:
        return Decimal(text)
    except DecimalException:
        raise ValueError(text) from None


def _csv(lines: Lines) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(LONGEST)
    rows = csv.reader(lines, strict=True)
    header: list[str] | None = None
    while True:
        lines.begin()
        first = lines.number + 1
        try:
            fields = next(rows)
            problem = lines.fault
        except StopIteration:
            return
        except csv.Error as error:
            is_open = lines.number > first or "end of data" in str(error)
            why = "a quote is opened and not closed as it should" if is_open else str(error)
            problem, fields = lines.fault or f"no CSV: {why}", [""]
            lines.put_back()  # such a quote takes nothing else with it
        if header is None:
            header = _header(fields, problem, first)
        elif problem is not None:
            yield first, Unreadable(problem)
        elif len(fields) == len(header):
            yield first, {name: value or None for name, value in zip(header, fields, strict=True)}
        elif fields:
            yield first, Unreadable(f"{len(fields)} fields, but {len(header)} in the header")


def _header(fields: list[str], problem: str | None, line: int) -> list[str]:
    if problem is None and not all(fields):
        problem = "the header has a column without a name"
    if problem is None and len({*fields}) < len(fields):
        problem = "the header names a column twice"
    if problem is not None or not fields:
        raise FileError(f"line {line}: {problem or 'no header, which names the columns'}")
    return fields
