"""The list of all metrics, which both exporters, the documentation and the dashboard follow."""

from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["counter", "histogram", "up-down counter"]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""OpenTelemetry's boundaries for HTTP."""
OPERATION_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""OpenTelemetry's boundaries for databases."""
CALL_SECONDS = (*SECONDS, 30.0, 60.0)
"""Longer than an attempt's: a call may wait between attempts."""
BYTES = (100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)


SYSTEMS = {"oracle": "oracle.db"}
"""Systems that OpenTelemetry names differently."""
SUFFIXES = {"s": "_seconds", "By": "_bytes"}
"""Units as Prometheus spells them; what is counted, in braces, is in no name."""


class Name(NamedTuple):
    """A metric: the name, kind, unit and attributes of OpenTelemetry's instrument, and its help."""

    name: str
    kind: Kind
    unit: str
    """UCUM's: `s`, `By`, or in braces what is counted."""
    attributes: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    """A histogram's upper bounds, in its unit."""
    processes: str = ""
    """How Prometheus combines the values of several processes: prometheus-client's mode."""

    @property
    def prometheus(self) -> str:
        """The name in Prometheus, by OpenTelemetry's rules."""
        end = "_total" if self.kind == "counter" else ""
        return f"{self.name.replace('.', '_')}{SUFFIXES.get(self.unit, '')}{end}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the attributes in Prometheus."""
        return tuple(each.replace(".", "_") for each in self.attributes)


_HTTP = ("service", "http.request.method", "server.address", "server.port")

DURATION = Name(
    "http.client.request.duration",
    "histogram",
    "s",
    (*_HTTP, "http.response.status_code", "error.type", "url.template"),
    "Attempts, from sending to the answer's headers or an error.",
    SECONDS,
)
ACTIVE = Name(
    "http.client.active_requests",
    "up-down counter",
    "{request}",
    _HTTP,
    "Attempts that wait for the answer's headers.",
    processes="livesum",
)
REQUEST_SIZE = Name(
    "http.client.request.body.size",
    "histogram",
    "By",
    (*_HTTP, "http.response.status_code"),
    "Bodies of answered attempts whose Content-Length was known.",
    BYTES,
)
RESPONSE_SIZE = Name(
    "http.client.response.body.size",
    "histogram",
    "By",
    (*_HTTP, "http.response.status_code"),
    "Bytes of an answer's body that came, when it was read, closed or broke.",
    BYTES,
)
OPERATION = Name(
    "db.client.operation.duration",
    "histogram",
    "s",
    (
        *("service", "db.system.name", "db.operation.name", "db.namespace"),
        *("server.address", "server.port", "error.type"),
    ),
    "Operations that are not HTTP, such as a search in a directory.",
    OPERATION_SECONDS,
)
_POOL = ("service", "db.system.name", "db.client.connection.pool.name")
CONNECTIONS = Name(
    "db.client.connection.count",
    "up-down counter",
    "{connection}",
    (*_POOL, "db.client.connection.state"),
    "Connections in plugins' own pools that are `used` or `idle`.",
    processes="livesum",
)
CONNECTIONS_MAX = Name(
    "db.client.connection.max",
    "up-down counter",
    "{connection}",
    _POOL,
    "Connections that plugins' own pools may have.",
    processes="livesum",
)
CONNECTIONS_PENDING = Name(
    "db.client.connection.pending_requests",
    "up-down counter",
    "{request}",
    _POOL,
    "Callers that wait for a connection of such a pool.",
    processes="livesum",
)
CALLS = Name(
    "flext.calls",
    "counter",
    "{call}",
    ("service", "outcome"),
    "Calls by what the application got.",
)
CALL_DURATION = Name(
    "flext.call.duration",
    "histogram",
    "s",
    ("service",),
    "What the application waited for its answer or an error, resends and redirects included.",
    CALL_SECONDS,
)
ANSWERS = Name(
    "flext.plugin.answers",
    "counter",
    "{answer}",
    ("service", "plugin"),
    "Answers that a plugin gave in the service's place, such as the hits of a cache.",
)
REFUSALS = Name(
    "flext.refusals",
    "counter",
    "{refusal}",
    ("service", "plugin", "reason"),
    "Attempts that a plugin refused to send; the reason is the error's class.",
)
DRAINED = Name(
    "flext.drained_calls",
    "counter",
    "{call}",
    ("service", "outcome"),
    "Calls that a closing host `refused`, or `cut` while they were under way.",
)
RETRIES = Name(
    "flext.retries",
    "counter",
    "{resend}",
    ("service", "reason"),
    "Resends, by what came before them.",
)
TOKENS = Name(
    "flext.token_fetches",
    "counter",
    "{fetch}",
    ("service", "outcome"),
    "Tokens fetched for the service, and fetches that failed.",
)
BREAKER = Name(
    "flext.breaker.state",
    "up-down counter",
    "{circuit}",
    ("service", "plugin", "origin", "state"),
    "1 for the state that a circuit is in, 0 for those that it was in; from its first change on.",
    processes="livemax",
)
HEALTHY = Name(
    "flext.health",
    "up-down counter",
    "{service}",
    ("service",),
    "1 if the service was well when `host.health()` asked last, else 0.",
    processes="livemin",
)
HEALTH_DURATION = Name(
    "flext.health.duration",
    "histogram",
    "s",
    ("service",),
    "What the service took to answer `host.health()`.",
    SECONDS,
)
_PERMIT = ("service", "plugin")
PERMIT_WAIT = Name(
    "flext.permit.wait_time",
    "histogram",
    "s",
    (*_PERMIT, "outcome"),
    "What callers waited for a permit: of a plugin, or without one to use a connection.",
    CALL_SECONDS,
)
PERMITS_PENDING = Name(
    "flext.permit.pending_requests",
    "up-down counter",
    "{request}",
    _PERMIT,
    "Callers that wait for such a permit.",
    processes="livesum",
)
BODY_ERRORS = Name(
    "flext.body_errors",
    "counter",
    "{body}",
    ("service", "error.type"),
    "Answers whose body broke while the application read it.",
)
PLUGIN_ERRORS = Name(
    "flext.plugin.errors",
    "counter",
    "{error}",
    ("service", "plugin", "hook"),
    "Errors of observing plugins, which nobody else noticed.",
)
PLUGIN_INFO = Name(
    "flext.plugin.info",
    "up-down counter",
    "{plugin}",
    ("service", "plugin", "distribution", "version"),
    "1 for each plugin of a service that has been connected to.",
    processes="livemax",
)
_PROGRESS = ("service", "what", "unit")
PROGRESS_DONE = Name(
    "flext.progress.done",
    "up-down counter",
    "",
    _PROGRESS,
    "How much of long work is done, in its unit.",
    processes="livemax",
)
PROGRESS_EXPECTED = Name(
    "flext.progress.expected",
    "up-down counter",
    "",
    _PROGRESS,
    "How much of it there is, where that is known.",
    processes="livemax",
)
NAMES = (
    *(DURATION, ACTIVE, REQUEST_SIZE, RESPONSE_SIZE, OPERATION, CALLS, CALL_DURATION, ANSWERS),
    *(REFUSALS, DRAINED, RETRIES, TOKENS, BREAKER, HEALTHY, HEALTH_DURATION),
    *(PERMIT_WAIT, PERMITS_PENDING),
    *(BODY_ERRORS, PLUGIN_ERRORS, PLUGIN_INFO),
    *(CONNECTIONS, CONNECTIONS_MAX, CONNECTIONS_PENDING, PROGRESS_DONE, PROGRESS_EXPECTED),
)
