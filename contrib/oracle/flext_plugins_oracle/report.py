"""The report of a load, and what the database says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .pool import Usage


class BadRow(NamedTuple):
    """A record that the database, or the driver, did not take."""

    number: int
    """Its place among the records, from 1."""
    code: str | None
    """`ORA-...` or `DPY-...`; `None` if no driver can write such a value."""
    reason: str
    """In a line, without values."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The progress of a load, and what became of its records."""

    table: str
    loaded: int
    """Records that are in the table and committed."""
    refused: int
    """Records that were not taken."""
    bad_rows: tuple[BadRow, ...]
    """The first thousand of those."""
    resume: int
    """So many records, from the first on, are done with: `records[resume:]` is what is left."""
    seconds: float


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """The answer to `health`."""

    target: str
    """`host:port`."""
    version: str
    """The server's, such as `23.26.2.0.0`."""
    latency: float
    """Seconds for a round trip, on a session that was open."""
    pool: Usage
