"""The output of the command: drawn in a terminal, plain lines where it is piped."""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from flext_plugins.redaction import MASK, is_secret, redact, redact_headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flext_plugins._composition.explanation import Explanation, Setting
    from flext_plugins.cli._spans import Branch
    from flext_plugins.cli._timeline import Step

_out = Console(highlight=False, markup=False, emoji=False)
_err = Console(highlight=False, markup=False, emoji=False, stderr=True)
if not _out.is_terminal:
    _out.width = 100_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Categories of characters that steer a terminal, turn around what is read, or cannot be seen."""
_HARMLESS = {"code", "key"}
"""Secret in a query, mere words in a JSON body."""


def write_anything() -> None:
    """Let a terminal of another encoding than UTF-8 show in escapes what it cannot write."""
    for each in (sys.stdout, sys.stderr):
        if isinstance(each, io.TextIOWrapper):
            each.reconfigure(errors="backslashreplace")


def visible(text: str, keep: str = "") -> str:
    """`text` with what a terminal would obey instead of show as JSON escapes it.

    Everything that is printed goes through here: services and distributions may say anything.
    """
    if text.isprintable():
        return text
    return "".join(
        each
        if each in keep or unicodedata.category(each) not in _UNSEEN
        else json.dumps(each)[1:-1]
        for each in text
    )


def say(text: str) -> None:
    """Print `text`, which may have several lines."""
    _out.print(visible(text, keep="\n\t"), soft_wrap=True)


def complain(text: str) -> None:
    """Print `text` to stderr."""
    _err.print(visible(redact(text), keep="\n\t"), soft_wrap=True)


def say_json(value: Any, indent: int | None = 2) -> None:
    """Print `value` as JSON, whatever the terminal's encoding can write."""
    say(json.dumps(value, indent=indent, ensure_ascii=not _out.encoding.startswith("utf")))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of which nothing is cut off; columns in `ms` are flush right."""
    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        drawn.add_column(
            column, justify="right" if column.endswith("ms") else "left", overflow="fold"
        )
    for row in rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    with _out.capture() as captured:
        _out.print(drawn)
    for line in captured.get().splitlines():
        _out.file.write(line.rstrip() + "\n")
    _out.file.flush()


def onion(explanation: Explanation) -> None:
    """Print what `host.explain` found."""
    if not _out.is_terminal:
        say(str(explanation))
        return
    tree = Tree(_styled((explanation.service, "bold"), (f"  {explanation.base_url}", "")))
    _settings(tree, explanation.settings)
    inner = tree
    for layer in explanation.layers:
        observer = ", observer" if layer.observer else ""
        who = (layer.stage, "cyan"), ("  ", ""), (layer.plugin, "bold")
        inner = inner.add(_styled(*who, (f"  {layer.source}{observer}", "dim")))
        inner.add(_styled((", ".join(layer.hooks), "")))
        inner.add(_styled((f"placed by {layer.reason}", "dim")))
        _settings(inner, layer.settings)
        if layer.note:
            inner.add(_styled((layer.note, "yellow")))
    inner.add(Text("wire", "bold"))
    _out.print(tree, soft_wrap=True)


def _styled(*pieces: tuple[str, str]) -> Text:
    return Text.assemble(*((visible(text), style) for text, style in pieces))


def _settings(branch: Tree, settings: Iterable[Setting]) -> None:
    for each in settings:
        branch.add(_styled((f"{each.name} = {each.value}", ""), (f"  ({each.source})", "dim")))


def happened(
    response: Any,
    problem: str | None,
    steps: Sequence[Step],
    traces: Mapping[str, Sequence[Branch]],
) -> dict[str, Any]:
    """Give an answer, or what was wrong, and what each plugin did, for programs; as masked."""
    told: dict[str, Any] = {"answer": None, "problem": problem}
    if response is not None:
        told["answer"] = {
            "http_version": response.http_version,
            "status": response.status_code,
            "headers": [*redact_headers(response.headers).items()],
            "body": _body(response) if response.content else "",
        }
    start = steps[0].at if steps else 0.0
    told["steps"] = [
        {
            "service": each.service,
            "who": each.who,
            "hook": each.hook,
            "depth": each.depth,
            "at": each.at - start,
            "self": each.own,
            "total": each.total,
            "what": redact(each.outcome),
        }
        for each in steps
    ]
    told["traces"] = {id_: [_branch(each) for each in roots] for id_, roots in traces.items()}
    return told


def _branch(branch: Branch) -> dict[str, Any]:
    words = {"name": branch.name, "where": branch.where, "what": branch.what, "id": branch.id}
    below = [_branch(each) for each in branch.below]
    shown = {key: redact(word) for key, word in words.items()}
    return {**shown, "seconds": branch.seconds, "below": below}


def answer(response: Any) -> None:
    """Print an httpx response; header values and JSON texts with secret names are masked."""
    status = f"{response.http_version} {response.status_code} {response.reason_phrase}"
    say(visible(status).rstrip())
    for name, value in redact_headers(response.headers).items():
        say(visible(f"{name}: {value}"))
    if response.content:
        say("\n" + _body(response))
    say("")


def _body(response: Any) -> str:
    try:
        text: str = response.content.decode(response.encoding or "utf-8")
    except (UnicodeError, LookupError):
        text = "\0"
    if _CONTROL.search(text):
        return f"({len(response.content)} bytes)"
    try:
        return json.dumps(_masked(json.loads(text)), indent=2, ensure_ascii=False)
    except RecursionError:  # in what is nested so deep no secret can be told by its name
        return f"({len(response.content)} bytes)"
    except ValueError:
        return redact(text.replace("\r\n", "\n"))


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(each, name) for each in value]
    if not isinstance(value, str):
        return value
    secret = name not in _HARMLESS and is_secret(name)
    return MASK if secret else redact(value)


def timeline(service: str, steps: Sequence[Step]) -> None:
    """Print what each plugin did; what belongs to other services than `service` names them."""
    if not steps:
        return
    rows = []
    for step in steps:
        who = step.who if step.service == service else f"{step.who} ({step.service})"
        times = ["" if each is None else f"{1000 * each:.1f}" for each in (step.own, step.total)]
        start, what = f"{1000 * (step.at - steps[0].at):.1f}", redact(step.outcome)
        rows.append([start, *times, "  " * step.depth + who, step.hook, what])
    table(["at ms", "self ms", "total ms", "who", "hook", "what"], rows)


def traces(trees: Mapping[str, Sequence[Branch]]) -> None:
    """Print each trace as a tree of its spans, with their events, under its id."""
    for trace_id, roots in trees.items():
        say(f"\ntrace {trace_id}")
        for root in roots:
            tree = Tree(_label(root))
            _grow(tree, root.below)
            _out.print(tree, soft_wrap=True)


def _grow(tree: Tree, branches: Iterable[Branch]) -> None:
    for each in branches:
        _grow(tree.add(_label(each)), each.below)


def _label(branch: Branch) -> Text:
    time = "" if branch.seconds is None else f"{1000 * branch.seconds:.1f} ms"
    words = (branch.name, branch.where, branch.what, time, branch.id)
    styles = ("bold", "cyan", "", "", "dim")
    shown = zip(words, styles, strict=True)
    return Text("  ").join(_styled((redact(word), style)) for word, style in shown if word)
