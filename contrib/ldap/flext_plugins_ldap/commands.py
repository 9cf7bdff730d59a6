"""The command `flext-plugins ldap`: asks a service's directory from a shell."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flext_plugins import Host
from flext_plugins.redaction import MASK, is_secret, redact

from . import ldif
from .entry import Entry
from .sync import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    help="Ask the directory of a service.", no_args_is_help=True, rich_markup_mode=None
)
Service = Annotated[str, typer.Argument(metavar="SERVICE")]
Filter = Annotated[str, typer.Argument(metavar="FILTER", help="Such as (uid=ana).")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="Replaced if it is there.")]
Base = Annotated[str | None, typer.Option(metavar="DN", help="Default: search_base.")]
Attribute = Annotated[
    list[str] | None, typer.Option("-a", "--attribute", help="Again for another; default: all.")
]
Name = Annotated[str | None, typer.Option(help="The directory, if the service has several.")]
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
    """Bind with the configured account; say which server answered."""
    with _directory(service, name, config, env) as directory:
        server = directory.health()
    typer.echo(json.dumps({"service": service, "server": server}) if as_json else f"ok: {server}")


@app.command()
def search(
    service: Service,
    ldap_filter: Filter,
    *,
    base: Base = None,
    attribute: Attribute = None,
    as_json: AsJson = False,
    name: Name = None,
    config: Config = None,
    env: Environment = None,
) -> None:
    """Print entries as they come, as LDIF or a line of JSON each; secrets are masked."""
    shown = _json if as_json else ldif.encode
    with _directory(service, name, config, env) as directory:
        for entry in directory.search(ldap_filter, base=base, attributes=attribute or ("*",)):
            typer.echo(shown(_masked(entry)), nl=as_json)


@app.command("ldif")
def export(
    service: Service,
    file: File,
    ldap_filter: Filter = "(objectClass=*)",
    *,
    base: Base = None,
    as_json: AsJson = False,
    name: Name = None,
    config: Config = None,
    env: Environment = None,
) -> None:
    """Export entries to a file for its owner alone; passwords and other secrets are left out."""
    number, left_out = 0, set[str]()
    try:
        with _directory(service, name, config, env) as directory, ldif.writing(file) as put:
            for entry in directory.search(ldap_filter, base=base):
                secret = {each for each in entry.attributes if is_secret(each)}
                kept = {key: each for key, each in entry.attributes.items() if key not in secret}
                put(Entry(entry.dn, kept))
                number, left_out = number + 1, left_out | secret
    except OSError as error:
        typer.echo(f"{file}: {error.strerror or type(error).__name__}", err=True)
        raise typer.Exit(1) from None
    facts = {"file": str(file), "entries": number, "left_out": sorted(left_out)}
    without = f", without {', '.join(sorted(left_out))}" if left_out else ""
    typer.echo(json.dumps(facts) if as_json else f"ok: {number} entries{without}")


@contextmanager
def _directory(
    service: str, name: str | None, config: Path | None, env: str | None
) -> Iterator[Directory]:
    with Host.from_file(config, env) as host:
        yield host.resource(service, Directory, name)


def _masked(entry: Entry) -> Entry:
    """`entry` as it may be shown."""
    attributes = {
        name: (MASK,)
        if is_secret(name)
        else tuple(redact(each) if isinstance(each, str) else each for each in values)
        for name, values in entry.attributes.items()
    }
    return Entry(entry.dn, attributes)


def _json(entry: Entry) -> str:
    return json.dumps({"dn": entry.dn, "attributes": entry.attributes}, default=_base64)


def _base64(value: Any) -> dict[str, str]:
    return {"base64": b64encode(value).decode("ascii")}
