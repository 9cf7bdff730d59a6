"""The command `flext-plugins oracle`: asks a service's database, and loads files into it."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TextIO, cast

import typer

from flext_plugins import Host

from .file_load import FileLoad
from .load import OnError
from .progress import BadRows, Display, visible
from .records import Format, RecordFile
from .sync import OracleDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

app = typer.Typer(
    help="Ask the database of a service, and load files into it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
Service = Annotated[str, typer.Argument(metavar="SERVICE")]
Table = Annotated[str, typer.Argument(metavar="TABLE", help="TABLE, or SCHEMA.TABLE.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="`-` for standard input.")]
Kind = Annotated[
    Format | None,
    typer.Option("--format", help="Default: by FILE's ending: .jsonl, .ndjson, .csv."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Records in a transaction, and in memory.")]
WhenBad = Annotated[
    OnError,
    typer.Option(help="Tell of bad rows and load all others, or stop at the first."),
]
LoadName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The database keeps how far this load has come: go on there."
    ),
]
BadRowsTo = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write bad rows here, a line of JSON each.")
]
Name = Annotated[str | None, typer.Option(help="The database, if the service has several.")]
Config = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="Default: $FLEXT_CONFIG or flext.toml."),
]
Environment = Annotated[
    str | None, typer.Option(metavar="NAME", help="Also read this environment's file beside FILE.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def health(
    service: Service,
    *,
    as_json: AsJson = False,
    name: Name = None,
    config: Config = None,
    env: Environment = None,
) -> None:
    """Make a round trip; say which server answered, in what time, and what its pool does."""
    with _database(service, name, config, env) as database:
        found = database.health()
    if as_json:
        facts = {**asdict(found), "pool": found.pool._asdict()}
        typer.echo(json.dumps({"service": service, **facts}))
        return
    use = ", ".join(
        f"{count} {what.replace('_', ' ')}" for what, count in found.pool._asdict().items()
    )
    took = f"{1000 * found.latency:.1f} ms"
    typer.echo(visible(f"ok: {found.target}, version {found.version}, {took}; sessions: {use}"))


@app.command()
def load(
    service: Service,
    table: Table,
    file: File,
    *,
    kind: Kind = None,
    batch_size: BatchSize = 1000,
    on_error: WhenBad = "report",
    load_name: LoadName = None,
    bad_rows: BadRowsTo = None,
    as_json: AsJson = False,
    name: Name = None,
    config: Config = None,
    env: Environment = None,
) -> None:
    """Insert records: JSON lines, or CSV with a header, in which an empty field is NULL."""
    chosen = kind or FORMATS.get(file.suffix.lower())
    if chosen is None:
        raise typer.BadParameter("FILE does not say: jsonl or csv", param_hint="--format")
    with ExitStack() as opened:
        try:
            records = RecordFile(opened.enter_context(_reading(file)), chosen, batch_size)
            mode = "a" if load_name else "w"  # what a named load goes on with is a part of it
            kept = opened.enter_context(_writing(bad_rows, file, mode)) if bad_rows else None
        except OSError as error:
            typer.echo(visible(f"{error.filename}: {error.strerror}"), err=True)
            raise typer.Exit(1) from None
        database = opened.enter_context(_database(service, name, config, env))
        display = Display(records, table, quiet=as_json)
        noted = BadRows(records, display, kept)
        work = FileLoad(file, records, display, noted, _telling(service, table, as_json=as_json))
        work.perform(database, table, batch_size=batch_size, on_error=on_error, name=load_name)
    if work.error is not None:
        raise work.error
    raise typer.Exit(work.status)


def _telling(service: str, table: str, *, as_json: bool) -> Callable[[FileLoad], None]:
    def tell(work: FileLoad) -> None:
        if as_json:
            typer.echo(json.dumps({"service": service, "table": table, **work.facts()}))
        elif summary := work.summary():
            typer.echo(summary)
        if work.problem is not None and work.error is None and not as_json:
            typer.echo(visible(work.problem), err=True)

    return tell


@contextmanager
def _reading(file: Path) -> Iterator[BinaryIO]:
    if file == Path("-"):
        yield sys.stdin.buffer
        return
    with file.open("rb") as source:
        yield source


@contextmanager
def _writing(file: Path, source: Path, mode: str) -> Iterator[TextIO]:
    if file.exists() and source.exists() and file.samefile(source):
        raise typer.BadParameter("this is FILE itself", param_hint="--bad-rows")
    with file.open(mode, encoding="utf-8") as target:
        yield cast("TextIO", target)


@contextmanager
def _database(
    service: str, name: str | None, config: Path | None, env: str | None
) -> Iterator[OracleDatabase]:
    with Host.from_file(config, env) as host:
        yield host.resource(service, OracleDatabase, name)
