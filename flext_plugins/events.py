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
    """A call is over: the client that `connect` made has its answer, or an error.

    In a client of the application's own, around `host.transport`, it comes with each hop.
    """

    call: Call
    outcome: Outcome
    """`failed` on the wire, `timed out` by the call's deadline, `error` in a plugin or caller."""
    duration: float
    """Seconds that the application waited, for the body too unless it streams."""
    attempts: int
    """How often something was sent, over all hops: `call.attempt`."""


@dataclass(frozen=True, slots=True)
class HopFinished:
    """A hop of a call is over: the answer's headers are there, or an error."""

    call: Call
    outcome: Outcome
    duration: float
    """Seconds from the outermost plugin inward, resends and the waits between them included."""
    attempts: int
    """How often this hop was sent."""


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
class CallDrained:
    """A host that closes refused a call, or ended one that was under way."""

    call: Call
    sent: bool
    """Whether it was under way: `call.sent`, as it was then."""


@dataclass(frozen=True, slots=True)
class PermitAwaited:
    """A caller begins to wait for a permit, or has waited; who gets one at once is not told."""

    call: Call | None
    """`None` outside of calls."""
    plugin: str | None
    """Whose permit it is; `None` for the host's own, with which a call uses a connection."""
    state: Literal["waiting", "granted", "timed out", "cancelled"]
    """`waiting` first, and once how that ended; `timed out` by the call's deadline too."""
    duration: float
    """Seconds waited until now."""


@dataclass(frozen=True, slots=True)
class Retried:
    """A plugin sends again, or does an operation again: whichever plugin, at each further time.

    `call.attempt` and `call.answered_by` still speak of the attempt before.
    """

    call: Call
    plugin: str
    reason: str
    """What the attempt before came to: a status (`503`), a failure (`connect`) or an error's class;
    `done` for an operation that had a result."""
    delay: float
    """Seconds since that attempt ended."""


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
    reason: str = ""
    """Why it could not be."""


@dataclass(frozen=True, slots=True)
class HealthChecked:
    """Somebody asked with `host.health()` how this service is."""

    healthy: bool
    problem: str
    """What is wrong; empty if all is well."""
    latency: float | None
    """Seconds until it answered; `None` if it did not, or only lends resources."""


@dataclass(frozen=True, slots=True)
class PluginFailed:
    """A plugin raised where that hurts nobody: as an observer, in `flext_event` or a callback."""

    plugin: str
    hook: str
    error: Exception


@dataclass(frozen=True, slots=True)
class BodyEnded:
    """A response's body was read, broke or was closed."""

    call: Call
    error: BaseException | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Long work has come so far."""

    what: str
    """What is being done, in words few enough to count: `import`, not a file's name."""
    done: float
    total: float | None
    """`None` if nobody knows."""
    unit: str
    """Of `done` and `total`: `records`, `bytes`."""


@dataclass(frozen=True, slots=True)
class PoolChanged:
    """A pool of connections of a plugin's own has changed; a closed one is told with nothing."""

    system: str
    """The operations' system, such as `ldap`."""
    target: str
    """The operations' target, such as `host:port`."""
    in_use: int
    idle: int
    limit: int
    """The most connections, those in use and idle ones together."""
    waiting: int
    """Callers that wait for a connection."""


__all__ = [
    "BodyEnded",
    "CallDrained",
    "CallFinished",
    "CallRefused",
    "Event",
    "HealthChecked",
    "HopFinished",
    "Outcome",
    "PermitAwaited",
    "PluginFailed",
    "PoolChanged",
    "Progress",
    "Retried",
    "StateChanged",
    "TokenFetched",
]
