"""The command `flext-plugins meltano`: runs pipelines and dbt from a shell, and looks at runs."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from flext_plugins import FlextError, Host
from flext_plugins.redaction import is_secret

from .errors import PipelineError
from .following import Following, Interrupted, interruptible
from .progress import Display, describe, facts, say, visible
from .sync import Pipelines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .status import ExecutionStatus
    from .sync import Execution

app = typer.Typer(
    help="Run pipelines and dbt, at a service or on this machine, and look at runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
ASSIGNMENT = re.compile(r"([^:=]+)(:?=)(.*)", re.DOTALL)
Service = Annotated[str, typer.Argument(metavar="SERVICE")]
Id = Annotated[str, typer.Argument(metavar="ID", help="As `run` says.")]
Tap = Annotated[str, typer.Argument(metavar="TAP")]
Target = Annotated[str, typer.Argument(metavar="TARGET")]
Several = Annotated[list[str], typer.Argument(metavar="BLOCK...", help="As `meltano run` takes.")]
Models = Annotated[
    list[str] | None, typer.Argument(metavar="[MODEL]...", help="Default: all of them.")
]
Transform = Annotated[str | None, typer.Option(metavar="NAME", help="Run this after it.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=TEXT",
        help="A setting of the tap, or NAME:=JSON; again for another. No secrets.",
    ),
]
Catalog = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What to take, in Singer's form.")
]
State = Annotated[Path | None, typer.Option(metavar="FILE", help="Where to go on, likewise.")]
MeltanoEnvironment = Annotated[
    str | None, typer.Option("--environment", metavar="NAME", help="Meltano's.")
]
FullRefresh = Annotated[bool, typer.Option("--full-refresh", help="Begin anew.")]
Vars = Annotated[str | None, typer.Option("--vars", metavar="JSON", help="dbt's. No secrets.")]
DbtTarget = Annotated[str, typer.Option(metavar="NAME", help="dbt's.")]
DbtProject = Annotated[str | None, typer.Option(metavar="NAME", help="If there are several.")]
Key = Annotated[
    str | None, typer.Option(metavar="KEY", help="Two submits with the same key are one run.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Print its id, and do not wait.")]
Timeout = Annotated[
    float | None,
    typer.Option(min=0.1, metavar="SECONDS", help="Wait so long. Default: as long as it takes."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it to its end.")]
Name = Annotated[str | None, typer.Option(help="The pipelines, if the service has several.")]
Config = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="Default: $FLEXT_CONFIG or flext.toml."),
]
Environment = Annotated[
    str | None, typer.Option(metavar="NAME", help="Also read this environment's file beside FILE.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def run(
    service: Service,
    tap: Tap,
    target: Target,
    *,
    transform: Transform = None,
    settings: Set = None,
    catalog: Catalog = None,
    state: State = None,
    key: Key = None,
    detach: Detach = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    name: Name = None,
    config: Config = None,
    env: Environment = None,
) -> None:
    """Run a tap into a target, and follow it to its end."""
    given: dict[str, Any] = {
        "config": dict(map(_setting, settings or ())),
        "catalog": _content(catalog, "--catalog"),
        "state": _content(state, "--state"),
        "transform": transform,
        "key": key,
    }
    place = _Place(service, name, config, env, as_json=as_json)
    place.submit(lambda lent: lent.execute(tap, target, **given), timeout, detach=detach)


@app.command()
def blocks(
    service: Service,
    several: Several,
    *,
    environment: MeltanoEnvironment = None,
    full_refresh: FullRefresh = False,
    key: Key = None,
    detach: Detach = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    name: Name = None,
    config: Config = None,
    env: Environment = None,
) -> None:
    """Run what `meltano run` takes: plugins, `plugin:command`, jobs."""
    given: dict[str, Any] = {"environment": environment, "full_refresh": full_refresh, "key": key}
    place = _Place(service, name, config, env, as_json=as_json)
    place.submit(lambda lent: lent.meltano(*several, **given), timeout, detach=detach)


@app.command()
def dbt(
    service: Service,
    models: Models = None,
    *,
    variables: Vars = None,
    target: DbtTarget = "dev",
    project: DbtProject = None,
    key: Key = None,
    detach: Detach = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    name: Name = None,
    config: Config = None,
    env: Environment = None,
) -> None:
    """Build and test models of dbt's."""
    given: dict[str, Any] = {
        "vars": _object(variables, "--vars") if variables else None,
        "target": target,
        "project": project,
        "key": key,
    }
    place = _Place(service, name, config, env, as_json=as_json)
    place.submit(lambda lent: lent.dbt(models or (), **given), timeout, detach=detach)


@app.command()
def status(
    service: Service,
    run_id: Id,
    *,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    name: Name = None,
    config: Config = None,
    env: Environment = None,
) -> None:
    """Say how a run at a service stands."""
    place = _Place(service, name, config, env, as_json=as_json)
    with place.pipelines() as lent:
        execution = place.find(lent, run_id)
        if wait:
            place.follow(execution, run_id, timeout, ends_with_us=False)
        found = execution.status()
    place.tell(found)
    raise typer.Exit(int(found.state in {"failed", "cancelled"}))


@app.command()
def cancel(
    service: Service,
    run_id: Id,
    *,
    as_json: AsJson = False,
    name: Name = None,
    config: Config = None,
    env: Environment = None,
) -> None:
    """End a run at a service."""
    place = _Place(service, name, config, env, as_json=as_json)
    with place.pipelines() as lent:
        place.find(lent, run_id).cancel()
    typer.echo(json.dumps({"service": service, "id": run_id}) if as_json else "ok: told to end")


@dataclass(frozen=True)
class _Place:
    """A service and its configuration, and the form in which runs are told."""

    service: str
    name: str | None
    config: Path | None
    env: str | None
    as_json: bool

    @contextmanager
    def pipelines(self) -> Iterator[Pipelines]:
        with interruptible(), Host.from_file(self.config, self.env) as host:
            try:
                yield host.resource(self.service, Pipelines, self.name)
            except Interrupted as signalled:
                say("interrupted")
                raise typer.Exit(signalled.code) from None

    def find(self, lent: Pipelines, run_id: str) -> Execution:
        """Find the run with that id."""
        if lent.is_local:
            raise PipelineError(
                f"{self.service}: runs on this machine belong to the process that started them: "
                "nobody else can look at them; Ctrl-C there ends them"
            )
        return lent.execution(run_id)

    def submit(
        self, work: Callable[[Pipelines], Execution], timeout: float | None, *, detach: bool
    ) -> NoReturn:
        """Submit a run, and follow it unless it is detached."""
        with self.pipelines() as lent:
            if detach and lent.is_local:
                problem = "a run on this machine ends with this command"
                raise typer.BadParameter(problem, param_hint="--detach")
            execution = work(lent)
            if not detach:
                self.follow(execution, execution.id, timeout, ends_with_us=lent.is_local)
        known = json.dumps({"service": self.service, "id": execution.id})
        typer.echo(known if self.as_json else visible(execution.id))
        raise typer.Exit

    def follow(
        self, execution: Execution, run_id: str, timeout: float | None, *, ends_with_us: bool
    ) -> NoReturn:
        """Follow a run, tell what came of it, and exit."""
        advice = self._advice(run_id)
        display = Display(run_id, quiet=self.as_json)
        work = Following(execution, display, ends_with_us=ends_with_us, advice=advice)
        try:
            work.perform(timeout)
        except FlextError:
            if not ends_with_us:
                say(f"it may go on: {advice}")
            raise
        if work.status is not None:
            self.tell(work.status, is_wrong=work.code != 0)
        if work.problem is not None:
            say(work.problem)
        raise typer.Exit(work.code)

    def tell(self, known: ExecutionStatus, *, is_wrong: bool = False) -> None:
        """Print what is known of a run; what is wrong, on stderr."""
        if self.as_json:
            typer.echo(json.dumps(facts(self.service, known)))
            return
        for line in describe(known):
            typer.echo(line, err=is_wrong)

    def _advice(self, run_id: str) -> str:
        """The command that looks at a run."""
        options = {"--name": self.name, "-c": self.config, "--env": self.env}
        words = ["flext-plugins", "meltano", "status", self.service, run_id]
        for option, value in options.items():
            words += [option, str(value)] if value is not None else []
        return shlex.join(words)


def _setting(text: str) -> tuple[str, Any]:
    """A setting of the tap: `NAME=TEXT`, or `NAME:=JSON`."""
    found = ASSIGNMENT.fullmatch(text)
    if found is None:
        raise typer.BadParameter("expected NAME=TEXT or NAME:=JSON", param_hint="--set")
    name, kind, value = found.groups()
    setting = value if kind == "=" else _json(value, f"--set {name}")
    _check_public({name: setting}, "--set")
    return name, setting


def _object(text: str, where: str) -> dict[str, Any]:
    content = _json(text, where)
    if not isinstance(content, dict):
        raise typer.BadParameter("expected a JSON object", param_hint=where)
    _check_public(content, where)
    return content


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise typer.BadParameter("this is no JSON", param_hint=visible(where)) from None


def _check_public(value: Any, where: str) -> None:
    """Refuse secrets by their names, at any depth: others on this machine can read a command."""
    for name, each in value.items() if isinstance(value, dict) else ():
        if is_secret(name):
            raise typer.BadParameter(
                visible(
                    f"{name!r:.80} looks like a secret, and everybody on this machine can read a "
                    "command line: a project has it from the setting `variables`, a service from "
                    "its own configuration"
                ),
                param_hint=where,
            )
        _check_public(each, where)
    for each in value if isinstance(value, list) else ():
        _check_public(each, where)


def _content(file: Path | None, option: str) -> dict[str, Any] | None:
    """The JSON object in a file."""
    if file is None:
        return None
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "this is no JSON"
        raise typer.BadParameter(visible(f"{file}: {reason}"), param_hint=option) from None
    if not isinstance(content, dict):
        raise typer.BadParameter(visible(f"{file}: expected a JSON object"), param_hint=option)
    return content
