"""Moves customers from a file into a warehouse, and what changed into a directory and a database.

python pipeline.py SERVICE    which runs the pipelines: flext-service, or project on this machine

Whatever ended a run, the next one goes on where it was, and nothing comes twice.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flext_plugins_ldap import Directory, Entry
from flext_plugins_meltano import Pipelines
from flext_plugins_oracle import OracleDatabase
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flext_plugins import FlextError, Host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flext_plugins_ldap import UpsertResult
    from flext_plugins_meltano import ExecutionStatus
    from flext_plugins_oracle import LoadReport

NORMALIZED = Path("customer_normalization.jsonl")
"""What dbt's model of that name writes: all changes so far, by revision."""
UNIT = "ou=customers,dc=flext,dc=test"
NAME = "customers"
"""The table's, and that of its load, by which the database knows how many changes it has had."""


class Moved(NamedTuple):
    """What one run of the pipeline has moved."""

    extracted: ExecutionStatus
    upserted: Sequence[UpsertResult]
    loaded: LoadReport
    new: Sequence[dict[str, Any]]
    """The changes that the database had not had."""


def move(host: Host, service: str, bars: Progress) -> Moved:
    """Run each step to its end; an error of one ends it all, and the next run goes on there."""
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

    with NORMALIZED.open(encoding="utf-8") as file:
        changes = [json.loads(line) for line in file]
    new = changes[shop.position(NAME) or 0 :]
    latest = {each["id"]: each for each in new}
    entries = [unit(), *map(entry, latest.values())]
    upserted = company.upsert(bars.track(entries, description="into the directory"))
    loaded = shop.load(NAME, bars.track(changes, description="into the database"), name=NAME)
    return Moved(extracted, upserted[1:], loaded, new)


def unit() -> Entry:
    """What all customers are below."""
    return Entry(UNIT, {"objectClass": ("organizationalUnit",), "ou": ("customers",)})


def entry(customer: dict[str, Any]) -> Entry:
    """A customer, as directories have people."""
    attributes = {
        "objectClass": "inetOrgPerson",
        "uid": f"customer{customer['id']}",
        "cn": customer["name"],
        "sn": customer["name"] and customer["name"].split()[-1],
        "mail": customer["email"],
    }
    values = {name: (value,) for name, value in attributes.items() if value}
    return Entry(f"uid=customer{customer['id']},{UNIT}", values)


def describe(moved: Moved) -> Iterator[str]:
    """Tell what came of each step, and name what was bad."""
    yield f"extracted: {moved.extracted.moved} changes"
    yield from moved.extracted.complaints
    outcomes = Counter(each.outcome for each in moved.upserted)
    yield f"directory: {', '.join(f'{number} {what}' for what, number in outcomes.items()) or 0}"
    for result in moved.upserted:
        if result.error is not None:
            yield f"{result.dn}: {result.error}"
    before = moved.loaded.resume - len(moved.new)
    yield f"database: {moved.loaded.loaded} loaded, {moved.loaded.refused} refused"
    for row in moved.loaded.bad_rows:
        yield f"revision {moved.new[row.number - before - 1]['revision']}: {row.reason}"


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
        sys.exit(str(error))
    print(*describe(moved), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
