"""Plays the acts in their order and shows them."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from flext_plugins import installed
from flext_plugins_devstack.auth import USERS
from flext_plugins_devstack.stack import Devstack

from . import acts
from .checks import CONFIG, Skipped, Unmet, environment
from .database import database
from .identity import identity
from .outage import outage
from .pipeline import pipeline
from .trace import trace


class Act(NamedTuple):
    """An act: its title, the Python it shows, its promise, and the function that plays it."""

    title: str
    code: str
    promise: str
    play: Callable[[Devstack], Iterator[str]]


ACTS = (
    Act(
        "What is installed",
        "flext_plugins.installed()",
        "known from metadata alone: no plugin has been imported",
        acts.discovery,
    ),
    Act(
        "The onion of flexcore",
        'print(host.explain("flexcore"))',
        "auth stands around circuit-breaker, and no secret is in the drawing",
        acts.onion,
    ),
    Act(
        "An authenticated call",
        'host.connect("flexcore").get("/api/v1/flexcore/plugins")',
        "one login through flext-auth; its token was on the wire, and is not in response.request",
        acts.authentication,
    ),
    Act(
        "20 concurrent calls without a token",
        'pool.map(flexcore.get, ["/api/v1/flexcore/plugins"] * 20)    # from 20 threads, then\n'
        'await asyncio.gather(*(flexcore.get("/api/v1/flexcore/plugins") for _ in range(20)))',
        "one login for 20 threads, and one for 20 tasks",
        acts.sharing,
    ),
    Act(
        "A token is revoked",
        'stack.auth.revoke_all()\nflexcore.get("/api/v1/flexcore/plugins")',
        "the 401 was healed by one login and one resend; the caller never saw it",
        acts.healing,
    ),
    Act(
        "An outage",
        "stack.flexcore.down()\n"
        'try: flexcore.get("/health")\n'
        "except httpx.TransportError: ...    # catches a dead server, and a circuit that is open",
        "the circuit opened, refused without sending, let one probe through, and closed",
        outage,
    ),
    Act(
        "A redirect to another origin",
        'host.connect("flexcore", follow_redirects=True).get("/api/v1/flexcore/plugins")',
        "the request followed, the secrets did not",
        acts.redirection,
    ),
    Act(
        "A trace, drawn by the command",
        "flext-plugins request flexcore GET /api/v1/flexcore/plugins    # and flexcore is unwell",
        "login, attempt and resend are one trace; its ids were on the wire and are those exported",
        trace,
    ),
    Act(
        "A directory, and an outage of it",
        'host.resource("flexcore", Directory).authenticate("ana", "a guess")\n'
        'with options(user="ana"):\n'
        '    flexcore.get("/health", headers={"X-User": "root"})    # or so the caller claims',
        "a guess is refused in the same words for all; a call is for ana, or is not sent; the "
        "directory's circuit alone opened, and closed",
        identity,
    ),
    Act(
        "A database, and an outage of it",
        'host.resource("shop", OracleDatabase).load("orders", map(json.loads, file))',
        "three bad rows were told by number and reason, and all others loaded; the circuit opened, "
        "refused without asking, and closed; it was all measured",
        database,
    ),
)


def pipeline_act(project: Path) -> Act:
    """The act that runs a pipeline, which takes half a minute and a project of Meltano's."""
    return Act(
        "A pipeline, from a file into a warehouse, a directory and a database",
        'pipelines.execute("tap-customers", "target-duckdb").wait()\n'
        'pipelines.dbt("customer_normalization").wait()\n'
        'company.upsert(map(entry, latest)); shop.load("customers", new)',
        "what was bad was named at each step, and all else arrived; the second run, on this "
        "machine and not by FLEXT Service, moved what was new and nothing twice",
        partial(pipeline, project),
    )


SHOWN = ("auth", "circuit-breaker", "retry", "tracing")
"""The plugins without which there is nothing to see."""


def perform(console: Console, project: Path | None = None) -> bool:
    """Play all acts on a stack of their own; `True` if all that could be played succeeded.

    Args:
        console: shows them.
        project: the repository's examples/pipeline, for one more act.
    """
    if missing := [each for each in SHOWN if each not in {one.name for one in installed()}]:
        what = (
            f"not installed: {', '.join(missing)}; needs the extra `demo` of flext-plugins-devstack"
        )
        console.print(Text(what, "bold red"), soft_wrap=True)
        return False
    with Devstack(protected=True) as stack:
        laid_over = variables(stack)
        console.print(Text(f'Host.from_file("{CONFIG.name}"), which is', "bold"), soft_wrap=True)
        _say(console, str(CONFIG))
        for name, value in laid_over.items():
            _say(console, f"{name}={value}" if name.startswith("FLEXT__") else f"{name}=***")
        played = (*ACTS, pipeline_act(project)) if project else ACTS
        with environment(laid_over):
            shown = [_show(console, number, act, stack) for number, act in enumerate(played, 1)]
    results = [each for each in shown if each is not None]
    skipped = f", {len(shown) - len(results)} skipped" if len(results) < len(shown) else ""
    console.print(Text(f"\n{sum(results)} of {len(results)}{skipped}", "bold"), soft_wrap=True)
    return all(results)


def variables(stack: Devstack) -> dict[str, str]:
    """The variables that point the file at this stack: its ports, its user, and no proxy."""
    _, username, password = next(iter(USERS))
    return {
        "FLEXT__SERVICES__FLEXCORE__BASE_URL": stack.flexcore.url,
        "FLEXT__SERVICES__FLEXT_AUTH__BASE_URL": stack.auth.url,
        "FLEXT__DEFAULTS__PROXY": "false",
        "FLEXT_USERNAME": username,
        "FLEXT_PASSWORD": password,
    }


def _show(console: Console, number: int, act: Act, stack: Devstack) -> bool | None:
    """Play an act and show it; whether it succeeded, or `None` if it could not be played."""
    console.print(Text(f"\n{number}. {act.title}", "bold"), soft_wrap=True)
    for line in act.code.splitlines():
        _say(console, f"> {line}", "cyan")
    problem = ""
    try:
        for line in act.play(stack):
            _say(console, line)
    except Skipped as skipped:
        _say(console, f"- skipped: {skipped}", "bold yellow")
        return None
    except Unmet as unmet:
        problem = str(unmet)
    except Exception as error:
        problem = f"expected no error, saw {type(error).__name__}: {error}"
    finally:
        for server in (stack.auth, stack.flexcore, stack.echo):
            server.clear()
            server.up()
    good, bad = ("✓", "✗") if "utf" in console.encoding else ("ok:", "FAILED:")
    if problem:
        _say(console, f"{bad} {problem}", "bold red")
    else:
        _say(console, f"{good} {act.promise}", "green")
    return not problem


def _say(console: Console, line: str, style: str = "") -> None:
    encodable = line.encode(console.encoding, "replace").decode(console.encoding)
    console.print(Text(f"   {encodable}", style), soft_wrap=True)
