"""The flext-devstack command."""

import logging
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Never

import typer
from rich.console import Console
from rich.markup import escape

from flext_plugins import ConfigError

from .auth import TENANTS
from .demo import perform
from .oracle import SERVICE_NAME, OracleCompatibleServer
from .process import NotInstalled
from .server import PortError
from .stack import Devstack

PORT_OPTIONS = {
    "flexcore": "--flexcore-port",
    "flext-service": "--flext-service-port",
    "flext-auth": "--auth-port",
    "echo": "--echo-port",
    "oracle": "--oracle-port",
}

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_show_locals=False)
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 finds a free port.")]
Protected = Annotated[
    bool, typer.Option(help="/api/ of FlexCore and FLEXT Service demands a token.")
]
Tenant = Annotated[
    str | None, typer.Option(help=f"Tenant of a login that names none ({', '.join(TENANTS)}).")
]
ProjectFolder = Annotated[
    Path | None, typer.Option(help="A Meltano project, whose pipelines FLEXT Service runs.")
]


@app.callback()
def main() -> None:
    """FlexCore, FLEXT Service, flext-auth and an echo to talk to, on this machine only."""


@app.command()
def up(
    *,
    flexcore_port: Port = 8080,
    flext_service_port: Port = 8081,
    auth_port: Port = 8082,
    echo_port: Port = 8090,
    protected: Protected = False,
    token_lifetime: Annotated[float, typer.Option(min=0.001, help="Seconds.")] = 3600.0,
    default_tenant: Tenant = None,
    project: ProjectFolder = None,
    oracle: Annotated[bool, typer.Option(help="And an Oracle-compatible server.")] = False,
    oracle_port: Port = 1521,
) -> None:
    """Start the servers and run until Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        stack = Devstack(
            protected=protected,
            token_lifetime=token_lifetime,
            default_tenant=default_tenant,
            ports={
                "flexcore": flexcore_port,
                "flext-service": flext_service_port,
                "flext-auth": auth_port,
                "echo": echo_port,
            },
            project=project,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    except (ConfigError, NotInstalled) as error:
        _fail(str(error))
    with ExitStack() as opened:
        database = _started(opened, stack, oracle_port if oracle else None)
        _greet(stack, database, project, protected=protected)
        stopped.wait()


def _started(
    opened: ExitStack, stack: Devstack, oracle_port: int | None
) -> OracleCompatibleServer | None:
    """Start the stack, and a database if there is a port for it, until `opened` is closed."""
    try:
        opened.enter_context(stack)
        if oracle_port is not None:
            return opened.enter_context(OracleCompatibleServer(oracle_port))
    except PortError as error:
        _fail(f"{error.strerror}; choose another with {PORT_OPTIONS.get(error.server, '')}")
    except NotInstalled as error:
        _fail(str(error))
    return None


def _fail(message: str) -> Never:
    console = Console(stderr=True, soft_wrap=True)
    console.print(message, highlight=False, markup=False)
    raise typer.Exit(1) from None


def _greet(
    stack: Devstack,
    database: OracleCompatibleServer | None,
    project: Path | None,
    *,
    protected: bool,
) -> None:
    console = Console(soft_wrap=True, highlight=False)
    runs = f"runs {project}" if project else f"copies into {stack.flext_service.folder}"
    lines = {
        "flexcore": stack.flexcore.url + ("  (protected)" if protected else ""),
        "flext-service": f"{stack.flext_service.url}  ({runs})",
        "flext-auth": stack.auth.url,
        "echo": f"{stack.echo.url}  (answers with what it was sent)",
    }
    if database is not None:
        lines["oracle"] = f"{database.target}  (Oracle-compatible, by seerdb)"
    for name, told in lines.items():
        console.print(f"[bold]{name:13}[/]  {escape(told)}")
    login = '{"username": "admin", "password": "flexcore100", "tenant_id": "tenant-1"}'
    console.print(
        f"\nTry: curl -d '{login}' {stack.auth.url}/auth/login", highlight=False, markup=False
    )
    if database is not None:
        user, password = next(iter(database.users.items()))
        where = f'user="{user}", password="{password}", dsn="{database.target}/{SERVICE_NAME}"'
        console.print(f"     oracledb.connect({where})", highlight=False, markup=False)
    console.print("Ctrl-C stops.")


@app.command()
def demo(
    *,
    plain: Annotated[bool, typer.Option("--plain", help="No colours, as in a pipe.")] = False,
    pipeline: Annotated[
        Path | None, typer.Option(help="The repository's examples/pipeline, to be run as well.")
    ] = None,
) -> None:
    """Show what flext-plugins does, and check it; exit 0 only if all of it was seen."""
    # So that a directory's process and files go as well.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    # The host logs the circuit's changes, which are shown where they belong.
    logging.getLogger("flext_plugins").addHandler(logging.NullHandler())
    drawn = sys.stdout.isatty() and not plain
    console = Console(force_terminal=drawn, highlight=False, emoji=False)
    if not perform(console, pipeline):
        raise typer.Exit(1)
