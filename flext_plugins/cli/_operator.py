"""The commands for a program that runs, by the pages of `flext_plugins.status`."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flext_plugins._errors import ConfigError, FlextError
from flext_plugins.cli import _display as display
from flext_plugins.cli._options import AsJson, Service  # noqa: TC001 - typer looks here
from flext_plugins.http import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import httpx

TIMEOUT = 30.0
"""Seconds; a question after health takes a while."""
Address = typer.Option(
    metavar="URL", envvar="FLEXT_STATUS_URL", help="Where the program has its status pages."
)
Url = Annotated[str | None, Address]
Reference = typer.Option(
    metavar="REFERENCE", envvar="FLEXT_STATUS_TOKEN_AT", help="env:NAME or file:PATH."
)
Token = Annotated[str, Reference]
Authority = typer.Option("--ca", metavar="FILE", help="Whose certificates are trusted.")
Ca = Annotated[Path | None, Authority]
NOT_OURS = "these are no status pages of flext-plugins"
MARK = "Flext-Plugins"
"""A header that all status pages have."""
DEFAULT_TOKEN = "env:FLEXT_STATUS_TOKEN"  # noqa: S105 - where it stands


class Pages:
    """The status pages of a program.

    Args:
        url: where they are.
        client: sends the token along.
    """

    def __init__(self, url: str, client: httpx.Client) -> None:
        self._url, self._client = url.rstrip("/"), client

    def ask(self, path: str, method: str = "GET", *, fine: tuple[int, ...] = (200,)) -> Any:
        """Give what is answered, taken from its JSON.

        Raises:
            FlextError: it could not be asked, or says that it will not.
        """
        import httpx  # noqa: PLC0415 - loaded by now

        from flext_plugins._connections.log import account  # noqa: PLC0415 - likewise

        try:
            answer = self._client.request(method, self._url + path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FlextError(f"{self._url} cannot be asked: {account(error)}") from None
        try:
            told = answer.json() if MARK in answer.headers else None
        except (ValueError, RecursionError):
            told = None
        what = NOT_OURS
        if isinstance(told, dict):
            if answer.status_code in fine:
                return told
            what = str(told.get("error", what))
        raise FlextError(f"{self._url}{path} answered {answer.status_code}: {what}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read and show, in the `with` block, what was answered.

        Raises:
            FlextError: status pages of this version would not say so.
        """
        try:
            yield
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError):
            what = f"{NOT_OURS}, or those of another version"
            raise FlextError(f"{self._url} answered something else: {what}") from None


@contextmanager
def pages(url: str | None, token: str, ca: Path | None) -> Iterator[Pages]:
    """The status pages at `url`, for whoever has the token.

    Raises:
        ConfigError: there is no address or no token, or others could read it on its way.
    """
    import ssl  # noqa: PLC0415 - with what it loads, for these commands alone

    import httpx  # noqa: PLC0415

    from flext_plugins._config.secrets import HeaderSecret  # noqa: PLC0415

    if not url:
        raise ConfigError("where are the program's status pages? say --url, or FLEXT_STATUS_URL")
    secret = HeaderSecret(token)
    if secret.reference is None:
        raise ConfigError(
            "--token takes env:NAME or file:PATH: everybody on this machine sees what stands here"
        )
    is_here = _is_here(url)
    try:
        context = ssl.create_default_context(cafile=str(ca)) if ca else True
    except (OSError, ssl.SSLError):
        raise ConfigError(f"--ca: {ca} is no file of certificates in PEM") from None
    headers = {"Authorization": f"Bearer {secret.get_secret_value()}", "Accept": "application/json"}
    options: dict[str, Any] = {"headers": headers, "timeout": TIMEOUT, "trust_env": not is_here}
    with httpx.Client(verify=context, **options) as client:
        yield Pages(url, client)


def _is_here(url: str) -> bool:
    """Whether `url` is this machine's.

    Raises:
        ConfigError: it is no address of pages, or others could read what is sent there.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - as above

    from flext_plugins._config.proxies import is_loopback  # noqa: PLC0415

    try:
        origin, parts = Origin.of(url), urlsplit(url)
    except ValueError:
        origin = None
    if origin is None or origin.scheme not in {"http", "https"}:
        raise ConfigError("--url takes http:// or https://")
    if parts.username is not None or "?" in url or "#" in url or not url.isprintable():
        raise ConfigError("--url takes an address without a user, ? and #")
    if origin.scheme == "http" and not is_loopback(origin.host):
        raise ConfigError("--url: others could read the token; use https://, or a tunnel to here")
    return is_loopback(origin.host)


def status(
    *, url: Url = None, token: Token = DEFAULT_TOKEN, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Show what a running program is doing: circuits and why, permits, tokens, health."""
    with pages(url, token, ca) as program:
        told = program.ask("/")
        with program.reading():
            if as_json:
                display.say_json(told)
            else:
                _show(told)


def _show(told: Mapping[str, Any]) -> None:
    display.say(_heading(told))
    rows = [row for name, each in told["services"].items() for row in _rows(name, each)]
    display.table(["service", "connection", "under way", "circuit", "since", "why", "health"], rows)
    for line in _facts(told["services"]):
        display.say(line)


def _heading(told: Mapping[str, Any]) -> str:
    state = "closed" if told["closed"] else "open"
    sources = ", ".join(told["sources"])
    return (
        f"process {told['process']}, started {_clock(told['started'])}, "
        f"flext-plugins {told['version']}, {state}; configuration: {sources}"
    )


def _clock(seconds: float) -> str:
    moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _rows(name: str, service: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield a row for each circuit of each connection, and one for what has none."""
    health = service["health"]
    is_well = "" if health is None else health["problem"] or "well"
    if not service["connections"]:
        yield [name, "none", "", "", "", "", is_well]
    for each in service["connections"]:
        busy = f"{each['under_way']} of {each['limit']}"
        if each["waiting"]:
            busy += f", {each['waiting']} wait"
        for circuit in _circuits(each) or [{}]:
            why = circuit.get("reason") or ""
            if (left := circuit.get("retry_after")) is not None:
                why += f"; probed in {left:.0f} s"
            cells = [circuit.get("state", ""), circuit.get("since", "") if why else "", why]
            yield [name, each["world"], busy, *cells, is_well]


def _circuits(connection: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The circuits that any plugin of a connection reports."""
    reported = [facts.get("circuits") for facts in connection["plugins"].values()]
    found = [each for circuits in reported if isinstance(circuits, list) for each in circuits]
    return [each for each in found if isinstance(each, dict)]


def _facts(services: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each plugin with facts that are no circuits."""
    for name, service in services.items():
        for each in service["connections"]:
            for plugin, facts in each["plugins"].items():
                words = [f"{key} {json.dumps(v)}" for key, v in facts.items() if key != "circuits"]
                if words:
                    yield f"{name}  {plugin}  {', '.join(words)}"


Every = typer.Option(metavar="SECONDS", min=0.1, help="Between two looks.")
Looks = typer.Option(metavar="NUMBER", min=1, help="End after so many looks.")


def watch(
    *,
    url: Url = None,
    token: Token = DEFAULT_TOKEN,
    ca: Ca = None,
    interval: Annotated[float, Every] = 2.0,
    count: Annotated[int | None, Looks] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what changes in a running program, a line for each, until Ctrl-C."""
    known: dict[tuple[int, str, str], str] = {}
    trouble, looks = "", 0
    with pages(url, token, ca) as program:
        while count is None or looks < count:
            if looks:
                time.sleep(interval)
            looks += 1
            try:
                told = program.ask("/")
                with program.reading():
                    changes = list(_changes(told, known))
            except FlextError as error:
                if str(error) != trouble:
                    display.complain(str(error))
                trouble = str(error)
                continue
            trouble = ""
            for change in changes:
                _tell(change, as_json=as_json)
    if trouble:
        raise typer.Exit(1)


def _changes(
    told: Mapping[str, Any], known: dict[tuple[int, str, str], str]
) -> Iterator[dict[str, Any]]:
    """Yield what differs from what is known of the process that answered."""
    for service, what, new, why in _states(told):
        key = (told["process"], service, what)
        old = known.get(key)
        if new != old:
            known[key] = new
            now = _clock(time.time())
            yield {
                "time": now,
                "process": told["process"],
                "service": service,
                "what": what,
                "old": old,
                "new": new,
                "why": why,
            }


def _states(told: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield service, what of it, its state and the reason for that."""
    for name, service in told["services"].items():
        for connection in service["connections"]:
            for each in _circuits(connection):
                target, state = each.get("target", ""), each.get("state", "")
                yield name, f"circuit of {target}", state, each.get("reason") or ""
        if (health := service["health"]) is not None:
            yield name, "health", "well" if health["healthy"] else "not well", health["problem"]


def _tell(change: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        display.say_json(change, indent=None)
        return
    was = f"{change['old']} -> " if change["old"] is not None else ""
    why = f": {change['why']}" if change["why"] else ""
    who = f"{change['time']}  process {change['process']}  {change['service']}"
    display.say(f"{who}  {change['what']}: {was}{change['new']}{why}")


def trip(
    service: Service,
    *,
    url: Url = None,
    token: Token = DEFAULT_TOKEN,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Refuse every call of a service, in all processes of a running program on its machine."""
    _switch(service, "trip", (url, token, ca), as_json=as_json)


def reset(
    service: Service,
    *,
    url: Url = None,
    token: Token = DEFAULT_TOKEN,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Let the calls of a service go again, with nothing counted; see `trip`."""
    _switch(service, "reset", (url, token, ca), as_json=as_json)


def _switch(
    service: str, action: str, where: tuple[str | None, str, Path | None], *, as_json: bool
) -> None:
    from urllib.parse import quote  # noqa: PLC0415 - for this alone

    with pages(*where) as program:
        told = program.ask(
            f"/services/{quote(service, safe='', errors='replace')}/{action}", "POST"
        )
        with program.reading():
            if as_json:
                display.say_json(told)
            else:
                _show_switched(service, told)


def _show_switched(service: str, told: Mapping[str, Any]) -> None:
    for facts in told["plugins"].values():
        for each in facts.get("circuits", ()):
            what = f"the circuit of {each['target']} is {each['state']}"
            display.say(f"{service}: {what} in process {told['process']}")
    display.say("the program's other processes do the same before their next call")


def show_health_of(program: Pages, services: Sequence[str], *, as_json: bool) -> None:
    """Print how a running program finds its services, or those that are named.

    Raises:
        FlextError: it cannot be asked, or has no service of that name.
    """
    told = program.ask("/health", fine=(200, 503))
    with program.reading():
        found = told["services"]
        if missing := [each for each in services if each not in found]:
            raise ConfigError(f"no service is named {missing[0]!r}")
        found = {name: each for name, each in found.items() if name in (services or found)}
        show_health(found, told["process"], as_json=as_json)


def show_health(
    found: Mapping[str, Mapping[str, Any]], process: int | None, *, as_json: bool
) -> None:
    """Print how services are; one that is not well ends the command with status 1.

    Args:
        found: what each is, by name.
        process: the one that asked them; `None` if that was this command.
        as_json: whether to print it for programs.
    """
    if as_json:
        display.say_json({"process": process, "services": found})
    else:
        display.say("asked from here" if process is None else f"asked by process {process}")
        columns = ["service", "health", "status", "ms", "credential", "tls", "version", "problem"]
        display.table(columns, [_health_row(name, each) for name, each in found.items()])
    if not all(each["healthy"] for each in found.values()):
        raise typer.Exit(1)


def _health_row(name: str, health: Mapping[str, Any]) -> list[str]:
    latency = health["latency"]
    cells = [health[key] for key in ("credential", "tls", "version", "problem")]
    return [
        name,
        "well" if health["healthy"] else "not well",
        str(health["status"] or ""),
        "" if latency is None else f"{1000 * latency:.1f}",
        *(str(each or "") for each in cells),
    ]
