"""The flext-devstack command."""

import logging
import signal
import sys
import threading
from contextlib import ExitStack
from typing import Annotated, Never

import typer
from rich.console import Console

from .auth import TENANTS
from .demo import perform
from .oracle import SERVICE_NAME, OracleCompatibleServer
from .process import NotInstalled
from .server import PortError
from .stack import Devstack

PORT_OPTIONS = {
    "flexcore": "--flexcore-port",
    "flext-auth": "--auth-port",
    "echo": "--echo-port",
    "oracle": "--oracle-port",
}

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_show_locals=False)
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 finds a free port.")]


@app.callback()
def main() -> None:
    """FlexCore, flext-auth and an echo to talk to, on this machine only."""


@app.command()
def up(
    *,
    flexcore_port: Port = 8080,
    auth_port: Port = 8082,
    echo_port: Port = 8090,
    protected: Annotated[bool, typer.Option(help="FlexCore's /api/ demands a token.")] = False,
    token_lifetime: Annotated[float, typer.Option(min=0.001, help="Seconds.")] = 3600.0,
    default_tenant: Annotated[
        str | None, typer.Option(help=f"Tenant of a login that names none ({', '.join(TENANTS)}).")
    ] = None,
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
            ports={"flexcore": flexcore_port, "flext-auth": auth_port, "echo": echo_port},
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with ExitStack() as opened:
        database = None
        try:
            opened.enter_context(stack)
            if oracle:
                database = opened.enter_context(OracleCompatibleServer(oracle_port))
        except PortError as error:
            _fail(f"{error.strerror}; choose another with {PORT_OPTIONS.get(error.server, '')}")
        except NotInstalled as error:
            _fail(str(error))
        _greet(stack, database, protected=protected)
        stopped.wait()


def _fail(message: str) -> Never:
    console = Console(stderr=True, soft_wrap=True)
    console.print(message, highlight=False, markup=False)
    raise typer.Exit(1) from None


def _greet(stack: Devstack, database: OracleCompatibleServer | None, *, protected: bool) -> None:
    console = Console(soft_wrap=True)
    console.print(
        f"[bold]flexcore[/]    {stack.flexcore.url}" + ("  (protected)" if protected else "")
    )
    console.print(f"[bold]flext-auth[/]  {stack.auth.url}")
    console.print(f"[bold]echo[/]        {stack.echo.url}  (answers with what it was sent)")
    if database is not None:
        console.print(f"[bold]oracle[/]      {database.target}  (Oracle-compatible, by seerdb)")
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
    *, plain: Annotated[bool, typer.Option("--plain", help="No colours, as in a pipe.")] = False
) -> None:
    """Show what flext-plugins does, and check it; exit 0 only if all of it was seen."""
    # So that a directory's process and files go as well.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    # The host logs the circuit's changes, which are shown where they belong.
    logging.getLogger("flext_plugins").addHandler(logging.NullHandler())
    drawn = sys.stdout.isatty() and not plain
    console = Console(force_terminal=drawn, highlight=False, emoji=False)
    if not perform(console):
        raise typer.Exit(1)
