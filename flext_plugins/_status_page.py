"""A host's status as a page of HTML, without a script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flext_plugins.status import ConnectionStatus, HostStatus, ServiceHealth, ServiceStatus

STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 1rem; overflow-wrap: anywhere; }
main { max-width: 60rem; margin: auto; }
section { border-top: 1px solid; margin-top: 1.5rem; }
dl { display: grid; grid-template-columns: 12rem 1fr; gap: 0.2rem 0.8rem; margin: 0.5rem 0; }
dt { font-weight: 600; }
dd { margin: 0; }
@media (max-width: 48rem) {
  dl { grid-template-columns: 1fr; }
  dd { margin-left: 1rem; }
}
"""
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src "
    f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
)
"""The policy that lets a browser heed this style, and nothing else."""


def page(status: HostStatus) -> str:
    """All of `status`, for people."""
    title = f"flext-plugins, process {status.process}"
    facts = {
        "started": _time(status.started),
        "version": status.version,
        "configuration": ", ".join(status.sources) or "none",
        "state": "closed" if status.closed else "open",
    }
    services = "".join(_service(name, each) for name, each in status.services.items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{title}</h1>{_table(facts)}{services}</main></body></html>\n"
    )


def _service(name: str, service: ServiceStatus) -> str:
    plugins = ", ".join(f"{each.name} {each.version or ''}".strip() for each in service.plugins)
    facts = {
        "address": service.base_url or "none",
        "plugins": plugins or "none yet",
        "health": _health(service.health),
    }
    connections = "".join(map(_connection, service.connections))
    nothing = "" if connections else "<p>No connection is open.</p>"
    return f"<section><h2>{escape(name)}</h2>{_table(facts)}{connections}{nothing}</section>"


def _health(health: ServiceHealth | None) -> str:
    if health is None:
        return "nobody asked"
    return f"{health.problem or 'well'}, at {_time(health.checked)}"


def _connection(connection: ConnectionStatus) -> str:
    load = {
        "exchanges under way": f"{connection.under_way} of {connection.limit}",
        "waiting": connection.waiting,
    }
    plugins = "".join(
        f"<h4>{escape(name)}</h4>{_shown(facts)}" for name, facts in connection.plugins.items()
    )
    return f"<h3>A connection of {connection.world} code</h3>{_table(load)}{plugins}"


def _table(facts: Mapping[str, Any]) -> str:
    rows = "".join(map(_row, facts, facts.values()))
    return f"<dl>{rows}</dl>"


def _row(name: str, value: Any) -> str:
    words = escape(str(name).replace("_", " "))
    return f"<dt>{words}</dt><dd>{_shown(value)}</dd>"


def _shown(value: Any) -> str:
    """`value`, which may be anything that JSON has."""
    if isinstance(value, Mapping):
        return _table(value) if value else "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "".join(map(_shown, value)) or "none"
    words = {True: "yes", False: "no", None: "none"}
    text = words[value] if value is None or isinstance(value, bool) else str(value)
    return escape(text) or "none"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
