"""The subcommands; what loads httpx or pydantic is loaded by those that need it."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

import flext_plugins
from flext_plugins._discovery import find
from flext_plugins._errors import ConfigError, FlextError
from flext_plugins.cli import _display as display
from flext_plugins.cli._plugin_commands import check_commands, offered, refused

if TYPE_CHECKING:
    from collections.abc import Container

    from flext_plugins import InstalledPlugin
    from flext_plugins.cli._spans import Spans
    from flext_plugins.cli._timeline import RecordingHost


class _Light:
    """Gives `--help` a default: for an option without one typer loads pydantic."""

    def get_help_option(self, ctx: Any) -> Any:
        option: Any = super().get_help_option(ctx)  # type: ignore[misc]
        option.default = False
        return option


class _Command(_Light, TyperCommand):
    pass


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
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
File = typer.Option("-c", "--config", metavar="FILE", help="Default: $FLEXT_CONFIG or flext.toml.")
Config = Annotated[Path | None, File]
Name = typer.Option(metavar="NAME", help="Also read this environment's file beside FILE.")
Environment = Annotated[str | None, Name]
Service = Annotated[str, typer.Argument(metavar="SERVICE")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def run() -> None:
    """Run the command; what its user can mend is told in a line, without a traceback."""
    try:
        app()
    except FlextError as error:
        display.complain(_sentence(error))
        sys.exit(1)


def _sentence(error: Exception) -> str:
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        where = f"{error.service}: " if error.service else ""
        return "\n".join(where + each for each in error.problems)
    if isinstance(error, FlextError):
        return display.visible(str(error))
    name = type(error).__name__
    if name == "LocalProtocolError":  # its words repeat the value of a header
        return f"{name}: a header or the path is malformed"
    return display.visible(f"{name}: {error}")


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        display.say(f"flext-plugins {flext_plugins.__version__}")
        raise typer.Exit


Version = typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")


@app.callback()
def main(*, version: Annotated[bool, Version] = False) -> None:
    """Show which plugins there are, how they surround a service, and what they do."""


Import = typer.Option("--import", help="Import each that is ready, to see whether it is broken.")


@app.command("list", cls=_Command)
def list_installed(
    ctx: typer.Context, *, as_json: AsJson = False, imports: Annotated[bool, Import] = False
) -> None:
    """List the installed plugins; import none unless told to."""
    records = flext_plugins.installed()
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


def _own(ctx: typer.Context) -> Container[str]:
    """The names of our own commands, which nobody else's can have."""
    group: Any = ctx.find_root().command
    commands: Container[str] = group.commands
    return commands


def _imported(record: InstalledPlugin) -> InstalledPlugin:
    """`record`, broken if its class cannot be imported or breaks the contract."""
    from flext_plugins._composition.catalog import Catalog  # noqa: PLC0415 - for this alone

    if record.status != "ready":
        return record
    try:
        Catalog().load(record)
    except FlextError as error:
        return replace(record, status="broken", problem=error.args[0])
    return record


Plugin = typer.Option(
    "--plugin", metavar="NAME", help="An installed plugin instead; needs no configuration."
)


@app.command()
def check(
    ctx: typer.Context,
    services: Annotated[
        list[str] | None, typer.Argument(metavar="SERVICE", help="Default: all.")
    ] = None,
    plugin: Annotated[str | None, Plugin] = None,
    config: Config = None,
    env: Environment = None,
) -> None:
    """Compose services as connecting would; send nothing."""
    if plugin is not None:
        if services or config or env:
            raise typer.BadParameter("takes neither services nor files", param_hint="--plugin")
        _check_plugin(plugin, _own(ctx))
        return
    with flext_plugins.Host.from_file(config, env) as host:
        host.check(*services or ())
        number = len(set(services or host.services))
    display.say(f"ok: {number} service{'' if number == 1 else 's'}")


def _check_plugin(name: str, own: Container[str]) -> None:
    """Say what an installed plugin is, or what is wrong with it or with its commands."""
    use = name if ":" in name else None
    record = _imported(find(flext_plugins.installed(), name, use, ()))
    who = f"{record.name}: {record.distribution} {record.version}"
    if record.problem:
        display.complain(f"{who}: {record.problem}")
        raise typer.Exit(1)
    check_commands(record.distribution, own)
    display.say(f"ok: {who}, {record.target}")


@app.command()
def explain(
    service: Service, *, as_json: AsJson = False, config: Config = None, env: Environment = None
) -> None:
    """Show the plugins around a service, outermost first."""
    with flext_plugins.Host.from_file(config, env) as host:
        explanation = host.explain(service)
    if as_json:
        display.say_json(asdict(explanation))
    else:
        display.onion(explanation)


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


Header = typer.Option("-H", "--header", metavar="'NAME: VALUE'", help="Again for another.")
Data = typer.Option("-d", "--data", help="The body.")
Json = typer.Option("--json", metavar="JSON", help="The body, and its content type.")
Deadline = typer.Option(metavar="SECONDS", min=0.001, help="For the whole call.")


@app.command()
def request(
    service: Service,
    method: Annotated[str, typer.Argument(metavar="METHOD")],
    path: Annotated[str, typer.Argument(metavar="PATH")],
    *,
    header: Annotated[list[str] | None, Header] = None,
    data: Annotated[str | None, Data] = None,
    json_data: Annotated[str | None, Json] = None,
    deadline: Annotated[float | None, Deadline] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Follow redirects.")] = False,
    fail: Annotated[bool, typer.Option("--fail", help="Exit 1 from status 400 on.")] = False,
    config: Config = None,
    env: Environment = None,
) -> None:
    """Send a request; show the answer and what each plugin did."""
    from flext_plugins._clients import FOLDERS  # noqa: PLC0415 - with what it loads, for this alone
    from flext_plugins.cli._timeline import RecordingHost  # noqa: PLC0415

    headers, content = _message(header or [], data, json_data)
    with RecordingHost.from_file(config, env) as host, flext_plugins.options(deadline=deadline):
        try:
            host.import_plugins(service)
            host.spans = _spans()
            with (
                host.connect(service, follow_redirects=follow) as client,
                host.spans.root("flext-plugins request") if host.spans else nullcontext(),
            ):
                response = client.request(method, path, headers=headers, content=content)
        except Exception as error:
            library = type(error).__module__.partition(".")[0]
            if library not in FOLDERS and not isinstance(error, FlextError):
                raise
            _happened(service, host)
            display.complain(_sentence(error))
            raise typer.Exit(1) from None
    display.answer(response)
    _happened(service, host)
    if fail and response.status_code >= 400:
        raise typer.Exit(1)


def _happened(service: str, host: RecordingHost) -> None:
    display.timeline(service, host.timeline.steps)
    if host.spans is not None:
        display.traces(host.spans.trees())


def _spans() -> Spans | None:
    """A listener to spans, if anything makes them: the plugins have been imported."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    try:
        from flext_plugins.cli._spans import Spans  # noqa: PLC0415 - for those who have it
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        display.complain("no spans without OpenTelemetry's SDK: pip install opentelemetry-sdk")
        return None
    return Spans()


def _message(
    headers: list[str], data: str | None, json_data: str | None
) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
    """The headers and the body that the options mean; no message repeats a value."""
    pairs = []
    for each in headers:
        name, colon, value = each.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter("expected 'Name: value'", param_hint="-H")
        pairs.append((name.strip().encode(), value.strip().encode()))
    if json_data is None:
        return pairs, None if data is None else data.encode()
    if data is not None:
        raise typer.BadParameter("stands for -d: give one of them", param_hint="--json")
    try:
        json.loads(json_data)
    except ValueError:
        raise typer.BadParameter("expected JSON", param_hint="--json") from None
    if all(name.lower() != b"content-type" for name, _ in pairs):
        pairs.append((b"Content-Type", b"application/json"))
    return pairs, json_data.encode()
