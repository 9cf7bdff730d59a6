"""Moves customers from a file into a warehouse, and what changed into a directory and a database.

python pipeline.py SERVICE    which runs the pipelines: flext-service, or project on this machine

Whatever ends a run, the next one goes on where it stopped, and nothing is moved twice.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flext_plugins_ldap import Directory, Entry
from flext_plugins_meltano import Pipelines, RunFailed
from flext_plugins_oracle import DatabaseError, OracleDatabase
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flext_plugins import FlextError, Host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flext_plugins_ldap import UpsertResult
    from flext_plugins_meltano import ExecutionStatus
    from flext_plugins_oracle import BadRow, LoadReport

    Customer = dict[str, Any]

NORMALIZED = Path("customer_normalization.jsonl")
"""What dbt's model of that name writes: all changes so far, by revision."""
UNIT = "ou=customers,dc=flext,dc=test"
LAST = "select max(revision) from customers"
BATCH = 200
"""So many rows are loaded within the database's time-out, and committed together."""


class Moved(NamedTuple):
    """What one run of the pipeline has moved."""

    extracted: ExecutionStatus
    upserted: Sequence[tuple[Customer, UpsertResult]]
    loaded: LoadReport
    new: Sequence[Customer]
    """The changes that the database had not had, by revision."""


def move(host: Host, service: str, bars: Progress) -> Moved:
    """Take each step to its end; an error in one ends the run."""
    pipelines = host.resource(service, Pipelines)
    company = host.resource("company", Directory)
    shop = host.resource("shop", OracleDatabase)

    bar = bars.add_task("tap-customers into target-duckdb", total=None)
    extracted = pipelines.execute("tap-customers", "target-duckdb").wait(
        on_progress=lambda status: bars.update(bar, completed=status.moved)
    )
    bars.update(bar, total=extracted.moved)

    bar = bars.add_task("dbt builds customer_normalization", total=1)
    pipelines.dbt("customer_normalization").wait()
    bars.update(bar, completed=1)

    # What the database has is behind us: the directory, which comes first, has it too.
    ((last,),) = shop.fetch(LAST)
    with NORMALIZED.open(encoding="utf-8") as file:
        new = [each for each in map(json.loads, file) if each["revision"] > (last or 0)]
    latest = {each["id"]: each for each in new}.values()
    entries = [unit(), *map(entry, latest)]
    first, *upserted = company.upsert(bars.track(entries, description="into the directory"))
    if first.error is not None:  # so will all others be refused
        raise first.error
    try:
        tracked = bars.track(new, description="into the database")
        loaded = shop.load("customers", tracked, batch_size=BATCH)
    except DatabaseError as error:
        for line in describe_rows(error.report.bad_rows if error.report else (), new):
            error.add_note(line)
        raise
    return Moved(extracted, [*zip(latest, upserted, strict=True)], loaded, new)


def unit() -> Entry:
    """The entry that all customers are below."""
    return Entry(UNIT, {"objectClass": ("organizationalUnit",), "ou": ("customers",)})


def entry(customer: Customer) -> Entry:
    """A customer, as directories have people; what has no value is removed."""
    attributes = {
        "objectClass": "inetOrgPerson",
        "uid": f"customer{customer['id']}",
        "cn": customer["name"],
        "sn": customer["name"] and customer["name"].split()[-1],
        "mail": customer["email"],
    }
    values = {name: (value,) if value else () for name, value in attributes.items()}
    return Entry(f"uid=customer{customer['id']},{UNIT}", values)


def describe(moved: Moved) -> Iterator[str]:
    """Say what came of each step, and name what was refused."""
    yield f"extracted: {moved.extracted.moved} changes"
    yield from moved.extracted.complaints
    outcomes = Counter(result.outcome for _, result in moved.upserted)
    yield f"directory: {', '.join(f'{number} {what}' for what, number in outcomes.items()) or 0}"
    for customer, result in moved.upserted:
        if result.error is not None:
            yield f"revision {customer['revision']}: {result.error}"
    yield f"database: {moved.loaded.loaded} loaded, {moved.loaded.refused} refused"
    yield from describe_rows(moved.loaded.bad_rows, moved.new)


def describe_rows(rows: Sequence[BadRow], changes: Sequence[Customer]) -> Iterator[str]:
    """Name the changes that the database refused; a report has the first thousand."""
    for row in rows:
        yield f"revision {changes[row.number - 1]['revision']}: {row.reason}"


def main(service: str) -> None:
    """Move what is new, with a bar for each step where stderr is a terminal."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    try:
        with Host.from_file("flext.toml") as host, bars:
            moved = move(host, service, bars)
    except FlextError as error:
        why = error.status.complaints if isinstance(error, RunFailed) else ()
        sys.exit("\n".join([str(error), *why, *getattr(error, "__notes__", ())]))
    except KeyboardInterrupt:
        sys.exit(130)
    print(*describe(moved), sep="\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python pipeline.py flext-service|project")
    main(sys.argv[1])
