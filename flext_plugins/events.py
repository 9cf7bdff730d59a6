"""Records of what happened, handed to every `flext_event`.

A plugin emits one of its own, any object, with `connection.emit(record)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from flext_plugins._call import Call  # noqa: TC001 - `typing.get_type_hints` looks here

Event: TypeAlias = object
Outcome: TypeAlias = Literal["answered", "refused", "failed", "timed out", "cancelled", "error"]


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A hop of a call is over: the application has the headers, or an error."""

    call: Call
    outcome: Outcome
    """`failed` on the wire, `timed out` by the call's deadline, `error` in a plugin or caller."""
    duration: float
    """Seconds that the application waited."""
    attempts: int


@dataclass(frozen=True, slots=True)
class CallRefused:
    """A plugin refused to send."""

    call: Call
    plugin: str | None
    reason: str
    retry_after: float | None
    """Seconds, where the plugin knows."""
    kind: str = "Refused"
    """The error's class, such as `CircuitOpen`: `reason`, in words few enough to count."""


@dataclass(frozen=True, slots=True)
class Retried:
    """A plugin is about to send again."""

    call: Call
    reason: str
    delay: float
    """Seconds waited before."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A guard changed its state, such as a circuit that opened."""

    plugin: str
    target: str
    """What is guarded: an origin, or an operation's target."""
    old: str
    new: str
    reason: str


@dataclass(frozen=True, slots=True)
class TokenFetched:
    """A credential was fetched, or could not be."""

    issuer: str
    outcome: Literal["fetched", "failed"]
    duration: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class PluginFailed:
    """An observer raised; nobody else noticed."""

    plugin: str
    hook: str
    error: Exception


@dataclass(frozen=True, slots=True)
class BodyEnded:
    """A response's body was read, broke or was closed."""

    call: Call
    error: BaseException | None
    bytes: int


__all__ = [
    "BodyEnded",
    "CallFinished",
    "CallRefused",
    "Event",
    "Outcome",
    "PluginFailed",
    "Retried",
    "StateChanged",
    "TokenFetched",
]
