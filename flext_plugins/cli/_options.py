"""Options that several commands have, and what they lead to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from flext_plugins._errors import ConfigError, FlextError
from flext_plugins.cli import _display as display

if TYPE_CHECKING:
    import flext_plugins

H = TypeVar("H", bound="flext_plugins.Host")
File = typer.Option("-c", "--config", metavar="FILE", help="Default: $FLEXT_CONFIG or flext.toml.")
Config = Annotated[Path | None, File]
Folder = typer.Option(metavar="FOLDER", help="Where classes named in FILE are; default: its own.")
AppDir = Annotated[Path | None, Folder]
Name = typer.Option(metavar="NAME", help="Also read this environment's file beside FILE.")
Environment = Annotated[str | None, Name]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of services that may be meant, for a shell that completes them."""
    from flext_plugins._config.load import load  # noqa: PLC0415 - with what it loads

    params = [ctx.find_root().params, ctx.params]
    said = {key: each for some in params for key, each in some.items() if each is not None}
    try:
        names = load(said.get("config"), said.get("env")).services
    except FlextError:
        return []
    return [each for each in names if each.startswith(incomplete)]


Service = Annotated[str, typer.Argument(metavar="SERVICE", autocompletion=names)]


def host_of(kind: type[H], config: Path | None, env: str | None, app_dir: Path | None) -> H:
    """A host; if its file names a class, what is in the file's folder can be imported."""
    from flext_plugins._config.load import file_of, load, names_class  # noqa: PLC0415 - as above

    said = load(config, env)
    if app_dir or any(map(names_class, said.sources)):
        sys.path.insert(0, str((app_dir or file_of(config).parent).resolve()))
    return kind(said)


def sentences(error: FlextError) -> list[str]:
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        where = f"{error.service}: " if error.service else ""
        return [where + each for each in error.problems]
    return [str(error)]


def sentence(error: Exception) -> str:
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        return "\n".join(sentences(error))
    if isinstance(error, FlextError):
        return display.visible(str(error))
    name = type(error).__name__
    if name == "LocalProtocolError":  # its words repeat the value of a header
        return f"{name}: a header or the path is malformed"
    return display.visible(f"{name}: {error}")
