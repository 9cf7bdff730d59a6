"""The act of the demo in which the command draws a trace, which is then checked."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from flext_plugins_devstack.fault import Fault
from flext_plugins_devstack.stack import Devstack

from .acts import PLUGINS
from .checks import CONFIG, Since, environment, expect

COMMAND = [sys.executable, "-m", "flext_plugins.cli"]  # flext-plugins, wherever PATH leads
VARIABLES = {
    "FLEXT__PLUGINS__TRACING__EXPORTER": "console",  # the spans as they are, to its stderr
    "FLEXT__SERVICES__FLEXCORE__PLUGINS__RETRY": "{}",
}
UNWANTED = re.compile("OTEL_|FORCE_COLOR|TTY_")
"""Variables that would change or colour the trace."""
SECONDS = 60.0  # for the command, at most
SPANS = [  # name, status, resends
    ("flext-plugins request", None, None),
    ("POST", 200, None),
    ("GET", 503, None),
    ("GET", 200, 1),
]
EVENTS = ["flext.token_fetched", "flext.retried"]


class Span(NamedTuple):
    """A span as OpenTelemetry's exporter writes it; ids are in hexadecimal digits."""

    name: str
    trace_id: str
    id: str
    parent: str | None
    attributes: dict[str, Any]
    events: list[str]


def trace(stack: Devstack) -> Iterator[str]:
    """Have the command call a FlexCore that fails once."""
    for name, value in VARIABLES.items():
        yield f"{name}={value}"
    stack.flexcore.fault(Fault(status=503))
    since = Since(stack)
    done = _request()
    answer, _, tree = done.stdout.partition("\ntrace ")
    yield from answer.splitlines()[:1]
    yield from f"trace {tree}".splitlines() if tree else ()
    yield from done.stderr.splitlines() if done.returncode else ()
    expect("exit status of the command", 0, done.returncode)
    spans = _exported_spans(done.stderr)
    expect("spans: name, status, resends", SPANS, [_facts(each) for each in spans])
    root, *inner = spans
    expect("parents", [None, *[root.id] * len(inner)], [each.parent for each in spans])
    expect("events on the root", EVENTS, root.events)
    expect("the spans' traces", {tree.partition("\n")[0]}, {each.trace_id for each in spans})
    expect("spans that are drawn", [(each.name, each.id) for each in spans], _spans_in(tree))
    expect("events that are drawn", EVENTS, re.findall(r"^\W+(flext\.\w+)", tree, re.MULTILINE))
    received = [stack.auth.received[-1], *since.flexcore]
    sent = [each.headers.get("traceparent", "nothing") for each in received]
    for name, traceparent in zip(["flext-auth", "flexcore", "flexcore"], sent, strict=True):
        yield f"{name} saw traceparent: {traceparent}"
    on_the_wire = [tuple(each.split("-")[1:3]) for each in sent]
    expect("traceparent on the wire", [(each.trace_id, each.id) for each in inner], on_the_wire)
    expect("logins", 1, since.logins)


def _request() -> "subprocess.CompletedProcess[str]":
    """Run the command as in a pipe."""
    with environment(VARIABLES):
        clean = {name: value for name, value in os.environ.items() if not UNWANTED.match(name)}
    return subprocess.run(  # noqa: S603 - ourselves
        [*COMMAND, "request", "-c", str(CONFIG), "flexcore", "GET", PLUGINS],
        env={**clean, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )


def _exported_spans(text: str) -> list[Span]:
    """The spans in the exporter's output, one JSON object after another, by their start."""
    decoder, written, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        span, end = decoder.raw_decode(rest)
        written.append(span)
        rest = rest[end:].lstrip()
    return [
        Span(
            each["name"],
            each["context"]["trace_id"].removeprefix("0x"),
            each["context"]["span_id"].removeprefix("0x"),
            each["parent_id"] and each["parent_id"].removeprefix("0x"),
            each["attributes"],
            [event["name"] for event in each["events"]],
        )
        for each in sorted(written, key=lambda each: str(each["start_time"]))
    ]


def _facts(span: Span) -> tuple[str, int | None, int | None]:
    attribute = span.attributes.get
    return span.name, attribute("http.response.status_code"), attribute("http.request.resend_count")


def _spans_in(tree: str) -> list[tuple[str, str]]:
    """The name and id of each span in the drawn tree."""
    line = re.compile(r"^[│├└─ ]*(\S+(?: \S+)*)  .*  ([0-9a-f]{16})$", re.MULTILINE)
    return [(name, id_) for name, id_ in line.findall(tree)]
