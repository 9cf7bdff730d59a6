"""A program that loads records under a name, to be killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flext_plugins_oracle import DatabaseError, OracleDatabase

from flext_plugins import Host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Event

BAD = 7


def is_good(number: int) -> bool:
    """Whether the record of that number is one that the table takes."""
    return number % BAD != 0


def records(total: int) -> Iterator[dict[str, Any]]:
    """Numbered from 1; some have no name."""
    for number in range(1, total + 1):
        yield {"id": number, "name": "x" if is_good(number) else None}


def load(
    settings: dict[str, Any],
    table: str,
    total: int,
    size: int,
    is_under_way: Event,
    told: Any = None,
) -> None:
    """Load, and say when the first batch is in and how it ended."""
    config = {"services": {"service": {"plugins": {"oracle": settings}}}}
    with Host({**config, "allow_inline_secrets": True}) as host:
        database = host.resource("service", OracleDatabase)
        try:
            report = database.load(
                table,
                records(total),
                batch_size=size,
                name=table,
                on_progress=lambda _: is_under_way.set(),
            )
        except DatabaseError as error:
            if told is None:
                raise
            told.put(str(error))
        else:
            if told is not None:
                told.put(report.resume)
