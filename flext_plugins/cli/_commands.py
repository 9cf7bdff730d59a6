"""The subcommands; what loads httpx or pydantic is loaded by those that need it."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

import flext_plugins
from flext_plugins._discovery import find
from flext_plugins._errors import FlextError
from flext_plugins.cli import _display as display
from flext_plugins.cli import _operator as operator
from flext_plugins.cli._options import (
    AppDir,
    AsJson,
    Config,
    Environment,
    host_of,
    names,
    sentence,
    sentences,
)
from flext_plugins.cli._plugin_commands import SAID, check_commands, offered, refused
from flext_plugins.cli._request import request

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container

    from flext_plugins import InstalledPlugin
    from flext_plugins._composition.catalog import Catalog


class _Light:
    """Gives `--help` a default, and leaves options alone that were not given.

    For an option without a default, and for the value of one, typer loads pydantic.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for each in found:  # typer itself adds some to a command that is made
            if not isinstance(each.process_value, partial):
                each.process_value = partial(_if_given, each.process_value)
        return found

    def get_help_option(self, ctx: Any) -> Any:
        option: Any = super().get_help_option(ctx)  # type: ignore[misc]
        option.default = False
        return option


class _Command(_Light, TyperCommand):
    pass


def _if_given(process: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    return None if value is None else process(ctx, value)


class _Group(_Light, TyperGroup):
    """Our own commands, then those that plugins bring."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's
        return [*self.commands, *offered(self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's
        own = self.commands.get(cmd_name)
        return own if own is not None else offered(self.commands).get(cmd_name)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Say which commands cannot be had, a line each."""
        super().format_epilog(ctx, formatter)
        for line in refused(self.commands):
            formatter.write(f"\n{line}\n")


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def run() -> None:
    """Run the command; what its user can mend is told in a line, without a traceback."""
    # A program without a handler would tell again on stderr what the commands show themselves.
    logging.getLogger("flext_plugins").addHandler(logging.NullHandler())
    display.write_anything()
    try:
        app()
    except FlextError as error:
        display.complain(sentence(error))
        sys.exit(1)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        display.say(f"flext-plugins {flext_plugins.__version__}")
        raise typer.Exit


Version = typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")


@app.callback()
def main(
    ctx: typer.Context,
    *,
    version: Annotated[bool, Version] = False,  # noqa: ARG001 - its callback has it
    config: Config = None,
    env: Environment = None,
    app_dir: AppDir = None,
    as_json: AsJson = False,
) -> None:
    """Show which plugins there are, how they surround a service, and what they do."""
    options = {"config": config, "env": env, "app_dir": app_dir, "as_json": as_json or None}
    said = {key: each for key, each in options.items() if each is not None}
    ctx.meta[SAID] = said  # for the commands that plugins bring
    ctx.default_map = dict.fromkeys(_own(ctx), said)


Import = typer.Option("--import", help="Import each that is ready, to see whether it is broken.")
Judge = typer.Option("-c", "--config", metavar="FILE", help="Say which ones its [host] denies.")


@app.command("list", cls=_Command)
def list_installed(
    ctx: typer.Context,
    *,
    as_json: AsJson = False,
    imports: Annotated[bool, Import] = False,
    config: Annotated[Path | None, Judge] = None,
    env: Environment = None,
) -> None:
    """List the installed plugins; import none unless told to."""
    records = _catalog(config, env).installed if config or env else flext_plugins.installed()
    if imports:
        records = [*map(_imported, records)]
    if as_json:
        display.say_json([asdict(each) for each in records])
    elif records:
        rows = [(r.name or "-", r.distribution, r.version, r.status, r.problem) for r in records]
        display.table(["name", "distribution", "version", "status", "problem"], rows)
    else:
        display.say("no plugins are installed; for ours: the extra `standard` of flext-plugins")
    for line in refused(_own(ctx)):
        display.complain(line)


def _catalog(config: Path | None = None, env: str | None = None) -> Catalog:
    """The installed plugins, as far as a configuration lets them in, if one is given."""
    from flext_plugins._composition.catalog import Catalog  # noqa: PLC0415 - with what it loads
    from flext_plugins._config.load import load  # noqa: PLC0415

    return Catalog(load(config, env) if config or env else flext_plugins.HostConfig())


def _own(ctx: typer.Context) -> Collection[str]:
    """The names of our own commands, which nobody else's can have."""
    group: Any = ctx.find_root().command
    commands: Collection[str] = group.commands
    return commands


def _imported(record: InstalledPlugin) -> InstalledPlugin:
    """`record`, broken if its class cannot be imported or breaks the contract."""
    if record.status != "ready":
        return record
    try:
        _catalog().load(record)
    except FlextError as error:
        return replace(record, status="broken", problem=error.args[0])
    return record


Plugin = typer.Option(
    "--plugin", metavar="NAME", help="An installed plugin instead; needs no configuration."
)
NoSecrets = typer.Option("--no-secrets", help="Pass over secrets that are not there.")


@app.command()
def check(
    ctx: typer.Context,
    services: Annotated[
        list[str] | None,
        typer.Argument(metavar="SERVICE", help="Default: all.", autocompletion=names),
    ] = None,
    plugin: Annotated[str | None, Plugin] = None,
    config: Config = None,
    env: Environment = None,
    app_dir: AppDir = None,
    *,
    no_secrets: Annotated[bool, NoSecrets] = False,
    as_json: AsJson = False,
) -> None:
    """Compose services as connecting would; send nothing."""
    if plugin is not None:
        if services or config or env or app_dir:
            raise typer.BadParameter("takes neither services nor files", param_hint="--plugin")
        _check_plugin(plugin, _own(ctx), as_json=as_json)
        return
    from flext_plugins._config.secrets import without_secrets  # noqa: PLC0415 - with what it loads

    lenient = without_secrets() if no_secrets else nullcontext()
    if as_json:
        with lenient:
            _check_as_json(services, config, env, app_dir)
        return
    with lenient, host_of(flext_plugins.Host, config, env, app_dir) as host:
        host.check(*services or ())
        checked = list(dict.fromkeys(services or host.services))
    number = f"{len(checked)} service{'' if len(checked) == 1 else 's'}"
    display.say(f"ok: {number}: {', '.join(checked) or 'none'}")


def _check_as_json(
    services: list[str] | None, config: Path | None, env: str | None, app_dir: Path | None
) -> None:
    """Print each service's problems, and those of the configuration's shape."""
    problems, found = list[str](), dict[str, list[str]]()
    try:
        with host_of(flext_plugins.Host, config, env, app_dir) as host:
            for name in services or host.services:
                found[name] = []
                try:
                    host.check(name)
                except FlextError as error:
                    found[name] = sentences(error)
    except FlextError as error:
        problems = sentences(error)
    is_well = not problems and not any(found.values())
    display.say_json({"ok": is_well, "problems": problems, "services": found})
    if not is_well:
        raise typer.Exit(1)


def _check_plugin(name: str, own: Container[str], *, as_json: bool) -> None:
    """Say what an installed plugin is, or what is wrong with it or with its commands."""
    use, who, problem = name if ":" in name else None, name, ""
    try:
        record = _imported(find(flext_plugins.installed(), name, use, ()))
        who = f"{record.name}: {record.distribution} {record.version}"
        if record.problem:
            problem = f"{who}: {record.problem}"
        else:
            check_commands(record.distribution, own)
            who = f"{who}, {record.target}"
    except FlextError as error:
        problem = str(error)
    if as_json:
        display.say_json({"ok": not problem, "problems": [problem] if problem else []})
    elif problem:
        display.complain(problem)
    else:
        display.say(f"ok: {who}")
    if problem:
        raise typer.Exit(1)


OneOrAll = typer.Argument(metavar="SERVICE", help="Default: all.", autocompletion=names)


@app.command()
def explain(
    service: Annotated[str | None, OneOrAll] = None,
    *,
    as_json: AsJson = False,
    config: Config = None,
    env: Environment = None,
    app_dir: AppDir = None,
) -> None:
    """Show the plugins around a service, or around each, outermost first."""
    from flext_plugins._config.secrets import without_secrets  # noqa: PLC0415 - as above

    with without_secrets(), host_of(flext_plugins.Host, config, env, app_dir) as host:
        found = [host.explain(name) for name in ([service] if service else host.services)]
    if as_json:
        told = [asdict(each) for each in found]
        display.say_json(told[0] if service else told)
        return
    for number, each in enumerate(found):
        if number:
            display.say("")
        display.onion(each)


@app.command(cls=_Command)
def schema(*, config: Annotated[Path | None, Judge] = None, env: Environment = None) -> None:
    """Print a JSON Schema of the configuration file, for an editor."""
    from flext_plugins._composition.schema import schema_of  # noqa: PLC0415 - for this alone

    made, left_open = schema_of(_catalog(config, env))
    display.say_json(made)
    for line in left_open:
        display.complain(line)


WHERE_WHEELS_ARE = "FLEXT_DIST=... (the folder with the wheels of flext-plugins)"
Kind = typer.Option(help="What the plugin does.")
Output = typer.Option("-o", "--output", metavar="FOLDER", help="Where its folder is made.")
PluginName = typer.Argument(metavar="NAME", help="Its name in a configuration.")


@app.command()
def new(
    name: Annotated[str | None, PluginName] = None,
    *,
    kind: Annotated[Literal["message", "guard", "observer", "resource"] | None, Kind] = None,
    description: Annotated[str | None, typer.Option(help="In one sentence.")] = None,
    author: Annotated[str | None, typer.Option(help="By default git's user.name.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Of the distribution's name.")] = None,
    output: Annotated[Path, Output] = Path(),
) -> None:
    """Make a plugin to begin with; without NAME ask for everything."""
    from flext_plugins.cli._new import make  # noqa: PLC0415 - with what it loads, for this alone

    given = {
        "kind": kind,
        "name": name,
        "description": description,
        "author": author,
        "prefix": prefix,
    }
    answers = {key: value for key, value in given.items() if value is not None}
    folder, here = make(answers, output, asks=name is None), Path.cwd()
    shown = folder.relative_to(here) if folder.is_relative_to(here) else folder
    display.say(f"made {shown}; go there, then: make test try wheel {WHERE_WHEELS_ARE}")


app.command()(request)
Some = typer.Argument(metavar="SERVICE", help="Default: all.", autocompletion=names)


@app.command()
def health(
    ctx: typer.Context,
    services: Annotated[list[str] | None, Some] = None,
    *,
    url: operator.Url = None,
    token: operator.Token = operator.DEFAULT_TOKEN,
    ca: operator.Ca = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.001, max=3600)] = 2.0,
    as_json: AsJson = False,
    config: Config = None,
    env: Environment = None,
    app_dir: AppDir = None,
) -> None:
    """Ask services how they are, from here, or from the running program at a URL."""
    is_local = bool(config or env or app_dir)
    source = ctx.get_parameter_source("url")
    if is_local and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("takes no files: that program has its own", param_hint="--url")
    if url and not is_local:
        with operator.pages(url, token, ca) as program:
            operator.show_health_of(program, services or (), as_json=as_json)
        return
    with host_of(flext_plugins.Host, config, env, app_dir) as host:
        asked = host.health(*services or (), timeout=timeout)
    found = {name: each.as_dict() for name, each in asked.items()}
    operator.show_health(found, None, as_json=as_json)


for command in (operator.status, operator.watch, operator.trip, operator.reset):
    app.command()(command)
