"""The command `request`: sends one, and tells what each plugin did."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

import flext_plugins
from flext_plugins._errors import FlextError
from flext_plugins.cli import _display as display
from flext_plugins.cli._options import AppDir, Config, Environment, Service, host_of, sentence

if TYPE_CHECKING:
    from flext_plugins.cli._spans import Spans
    from flext_plugins.cli._timeline import RecordingHost

Header = typer.Option("-H", "--header", metavar="'NAME: VALUE'", help="Again for another.")
Data = typer.Option("-d", "--data", help="The body.")
Json = typer.Option("--json", metavar="JSON", help="The body, and its content type.")
Deadline = typer.Option(metavar="SECONDS", min=0.001, max=86_400, help="For the whole call.")
Machine = typer.Option("--machine", help="Print the answer and what happened as JSON.")


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
    machine: Annotated[bool, Machine] = False,
    config: Config = None,
    env: Environment = None,
    app_dir: AppDir = None,
) -> None:
    """Send a request; show the answer and what each plugin did."""
    from flext_plugins.cli._timeline import RecordingHost  # noqa: PLC0415 - with what it loads

    headers, content = _message(header or [], data, json_data)
    with (
        host_of(RecordingHost, config, env, app_dir) as host,
        flext_plugins.options(deadline=deadline),
    ):
        try:
            host.import_plugins(service)
            host.spans = _spans()
            with (
                host.connect(service, follow_redirects=follow) as client,
                host.spans.root("flext-plugins request") if host.spans else nullcontext(),
            ):
                response = client.request(method, path, headers=headers, content=content)
        except Exception as error:
            if not _is_told(error):
                raise
            _happened(service, host, machine=machine, problem=sentence(error))
            raise typer.Exit(1) from None
    _happened(service, host, response, machine=machine)
    if fail and response.status_code >= 400:
        raise typer.Exit(1)


def _is_told(error: Exception) -> bool:
    """Whether an error is ours or a client library's, and no mistake of the command's."""
    from flext_plugins._clients import FOLDERS  # noqa: PLC0415 - with what it loads, for this alone

    return isinstance(error, FlextError) or type(error).__module__.partition(".")[0] in FOLDERS


def _happened(
    service: str,
    host: RecordingHost,
    response: Any = None,
    *,
    machine: bool,
    problem: str | None = None,
) -> None:
    """Print the answer or what was wrong, and what each plugin did."""
    spans = host.spans.trees() if host.spans is not None else {}
    if machine:
        display.say_json(display.happened(response, problem, host.timeline.steps, spans))
        return
    if response is not None:
        display.answer(response)
    display.timeline(service, host.timeline.steps)
    display.traces(spans)
    if problem is not None:
        display.complain(problem)


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
        pairs.append((_bytes(name.strip()), _bytes(value.strip())))
    if json_data is None:
        return pairs, None if data is None else _bytes(data)
    if data is not None:
        raise typer.BadParameter("stands for -d: give one of them", param_hint="--json")
    try:
        json.loads(json_data)
    except ValueError:
        raise typer.BadParameter("expected JSON", param_hint="--json") from None
    if all(name.lower() != b"content-type" for name, _ in pairs):
        pairs.append((b"Content-Type", b"application/json"))
    return pairs, _bytes(json_data)


def _bytes(argument: str) -> bytes:
    """The bytes of an argument, of whatever encoding they are."""
    return argument.encode(errors="surrogateescape")
