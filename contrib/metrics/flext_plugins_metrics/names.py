"""The list of all metrics, which the documentation and the dashboard follow."""

from typing import NamedTuple, TypeAlias

from prometheus_client import Counter, Gauge, Histogram

Kind: TypeAlias = type[Counter] | type[Gauge] | type[Histogram]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""OpenTelemetry's boundaries for HTTP."""
OPERATION_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""OpenTelemetry's boundaries for databases."""
CALL_SECONDS = (*SECONDS, 30.0, 60.0)
"""Longer than an attempt's: a call may wait between attempts."""
BYTES = (100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)


SYSTEMS = {"oracle": "oracle.db"}
"""Systems that OpenTelemetry names differently."""


class Name(NamedTuple):
    """A metric's name, kind, labels and help."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    """A histogram's upper bounds, in the unit that its name ends with."""
    processes: str = ""
    """How a gauge combines the values of several processes: prometheus-client's mode."""


_HTTP = ("service", "http_request_method", "server_address")

DURATION = Name(
    "http_client_request_duration_seconds",
    Histogram,
    (*_HTTP, "http_response_status_code", "error_type", "url_template"),
    "Attempts, from sending to the answer's headers or an error.",
    SECONDS,
)
ACTIVE = Name(
    "http_client_active_requests",
    Gauge,
    _HTTP,
    "Attempts that wait for the answer's headers.",
    processes="livesum",
)
REQUEST_SIZE = Name(
    "http_client_request_body_size_bytes",
    Histogram,
    (*_HTTP, "http_response_status_code"),
    "Bodies of answered attempts whose Content-Length was known.",
    BYTES,
)
RESPONSE_SIZE = Name(
    "http_client_response_body_size_bytes",
    Histogram,
    (*_HTTP, "http_response_status_code"),
    "Bytes of an answer's body that came, when it was read, closed or broke.",
    BYTES,
)
OPERATION = Name(
    "db_client_operation_duration_seconds",
    Histogram,
    (
        *("service", "db_system_name", "db_operation_name", "db_namespace"),
        *("server_address", "server_port", "error_type"),
    ),
    "Operations that are not HTTP, such as a search in a directory.",
    OPERATION_SECONDS,
)
_POOL = ("service", "db_system_name", "db_client_connection_pool_name")
CONNECTIONS = Name(
    "db_client_connection_count",
    Gauge,
    (*_POOL, "db_client_connection_state"),
    "Connections in plugins' own pools that are `used` or `idle`.",
    processes="livesum",
)
CONNECTIONS_MAX = Name(
    "db_client_connection_max",
    Gauge,
    _POOL,
    "Connections that plugins' own pools may have.",
    processes="livesum",
)
CONNECTIONS_PENDING = Name(
    "db_client_connection_pending_requests",
    Gauge,
    _POOL,
    "Callers that wait for a connection of such a pool.",
    processes="livesum",
)
CALLS = Name(
    "flext_calls_total", Counter, ("service", "outcome"), "Calls by what the application got."
)
CALL_DURATION = Name(
    "flext_call_duration_seconds",
    Histogram,
    ("service",),
    "What the application waited for its answer or an error, resends and redirects included.",
    CALL_SECONDS,
)
REFUSALS = Name(
    "flext_refusals_total",
    Counter,
    ("service", "plugin", "reason"),
    "Attempts that a plugin refused to send; the reason is the error's class.",
)
RETRIES = Name(
    "flext_retries_total", Counter, ("service", "reason"), "Resends, by what came before them."
)
TOKENS = Name(
    "flext_token_fetches_total",
    Counter,
    ("service", "outcome"),
    "Tokens fetched for the service, and fetches that failed.",
)
BREAKER = Name(
    "flext_breaker_state",
    Gauge,
    ("service", "plugin", "origin", "state"),
    "1 for the state that a circuit is in, 0 for those that it was in; from its first change on.",
    processes="livemax",
)
BODY_ERRORS = Name(
    "flext_body_errors_total",
    Counter,
    ("service", "error_type"),
    "Answers whose body broke while the application read it.",
)
PLUGIN_ERRORS = Name(
    "flext_plugin_errors_total",
    Counter,
    ("service", "plugin", "hook"),
    "Errors of observing plugins, which nobody else noticed.",
)
PLUGIN_INFO = Name(
    "flext_plugin_info",
    Gauge,
    ("service", "plugin", "distribution", "version"),
    "1 for each plugin of a service that has been connected to.",
    processes="livemax",
)
_PROGRESS = ("service", "what", "unit")
PROGRESS_DONE = Name(
    "flext_progress_done",
    Gauge,
    _PROGRESS,
    "How much of long work is done, in its unit.",
    processes="livemax",
)
PROGRESS_EXPECTED = Name(
    "flext_progress_expected",
    Gauge,
    _PROGRESS,
    "How much of it there is, where that is known.",
    processes="livemax",
)
NAMES = (
    *(DURATION, ACTIVE, REQUEST_SIZE, RESPONSE_SIZE, OPERATION, CALLS, CALL_DURATION, REFUSALS),
    *(RETRIES, TOKENS, BREAKER, BODY_ERRORS, PLUGIN_ERRORS, PLUGIN_INFO),
    *(CONNECTIONS, CONNECTIONS_MAX, CONNECTIONS_PENDING, PROGRESS_DONE, PROGRESS_EXPECTED),
)
