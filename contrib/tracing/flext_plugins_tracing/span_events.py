"""Span events for what happens around attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flext_plugins import events

from .redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from flext_plugins import Connection

SpanEvent = tuple[str, dict[str, "AttributeValue"]]
"""A span event's name and attributes."""


def span_event(event: object, connection: Connection) -> SpanEvent | None:
    """The span event for a record, or `None` if spans show it anyway or it is unknown."""
    fields: Mapping[str, object]
    match event:
        case events.Retried(call, plugin, reason, delay):
            name = "retried"
            fields = {"plugin": plugin, "reason": reason, "delay": delay, "attempts": call.attempt}
        case events.CallRefused(_, plugin, reason, retry_after):
            name = "refused"
            fields = {"plugin": plugin, "reason": reason, "retry_after": retry_after}
        case events.StateChanged(plugin, target, old, new, reason):
            name = "state_changed"
            fields = {"plugin": plugin, "target": target, "old": old, "new": new, "reason": reason}
        case events.TokenFetched(issuer, outcome, duration):
            name = "token_fetched"
            fields = {"issuer": issuer, "outcome": outcome, "duration": duration}
        case events.PluginFailed(plugin, hook, error):
            name = "plugin_failed"
            fields = {"plugin": plugin, "hook": hook, "error": type(error).__qualname__}
        case events.BodyEnded(_, BaseException() as error, size):
            failure = connection.failure(error)
            if failure is None:
                return None
            name, fields = "body_failed", {"failure": failure.value, "bytes": size}
        case _:
            return None
    return f"flext.{name}", {
        f"flext.{key}": redacted(value) if isinstance(value, str) else value
        for key, value in fields.items()
        if isinstance(value, (str, int, float))
    }
