"""A directory beside HTTP under breaker, retry, metrics and tracing: all four, found by name."""

import time
from typing import Any

import pytest
from flext_plugins_circuit_breaker import CircuitBreaker, CircuitOpen, State
from flext_plugins_ldap import (
    AsyncDirectory,
    Directory,
    DirectoryError,
    DirectoryUnavailable,
    InvalidCredentials,
    UserNotFound,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry, generate_latest

from flext_plugins import DeadlineExceeded, Refused, options
from flext_plugins.testing import LoopbackService, World

SECONDS = "db_client_operation_duration_seconds_count"


class Seen(SpanProcessor):
    """What has been measured and traced."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.provider = TracerProvider()
        self.provider.add_span_processor(self)
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)

    def series(self, target: str) -> dict[tuple[str, str], float]:
        """How many operations at `target`, by name and kind of error."""
        address, _, port = target.partition(":")
        return {
            (each.labels["db_operation_name"], each.labels["error_type"]): each.value
            for metric in self.registry.collect()
            for each in metric.samples
            if each.name == SECONDS
            and (each.labels["server_address"], each.labels["server_port"]) == (address, port)
        }

    @property
    def text(self) -> str:
        """All that is told outside."""
        told = "".join(each.to_json() for each in self.spans)
        return told + generate_latest(self.registry).decode()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def guarded(ask: Any, seen: Seen) -> Any:
    """A directory under all four; as `ask`, with the breaker's settings in `breaker`."""

    def guarded(*given: Any, breaker: dict[str, Any] | None = None, **settings: Any) -> Any:
        plugins = {
            "retry": {"attempts": 3, "backoff": 0.001},
            "circuit-breaker": {"failure_threshold": 4, **(breaker or {})},
            "metrics": {},
            "tracing": {},
        }
        provide = {CollectorRegistry: seen.registry, TracerProvider: seen.provider}
        return ask(*given, plugins=plugins, provide=provide, **settings)

    return guarded


def circuit(directory: Any, target: str) -> State:
    breaker: CircuitBreaker = directory.world.resource(directory.host, CircuitBreaker)
    return breaker.circuit("ldap", target).state


def test_each_operation_is_a_span_and_a_measurement(guarded: Any, slapd: Any, seen: Seen) -> None:
    directory = guarded(page_size=2000)
    directory.authenticate("ana", "ana-passw0rd")
    directory.groups("bob")
    directory.search("(uid=crowd-*)")
    assert seen.series(slapd.target) == {("search", ""): 5, ("bind", ""): 1}
    host, port = slapd.target.split(":")
    assert [dict(each.attributes or {}) for each in seen.spans] == [
        {
            "db.system.name": "ldap",
            "db.operation.name": name,
            "server.address": host,
            "server.port": int(port),
        }
        for name in ("search", "bind", "search", "search", "search", "search")
    ]
    assert {each.status.status_code for each in seen.spans} == {StatusCode.UNSET}
    assert circuit(directory, slapd.target) is State.CLOSED


def test_what_the_directory_refuses_is_measured_and_traced_by_its_code(
    guarded: Any, slapd: Any, seen: Seen
) -> None:
    with pytest.raises(DirectoryError):
        guarded().add(slapd.people, {"objectClass": "organizationalUnit"})
    assert seen.series(slapd.target) == {("add", "68"): 1}
    (attributes,) = [dict(each.attributes or {}) for each in seen.spans]
    assert attributes["error.type"] == attributes["db.response.status_code"] == "68"


def test_nobody_who_measures_or_traces_learns_a_name_or_a_password(
    guarded: Any, slapd: Any, seen: Seen
) -> None:
    directory = guarded()
    directory.user("ana")
    for method, given, kind in (
        ("authenticate", ("ana", "canary-passw0rd"), InvalidCredentials),
        ("authenticate", ("canary-user", "canary-passw0rd"), InvalidCredentials),
        ("user", ("canary-user",), UserNotFound),
    ):
        with pytest.raises(kind):
            getattr(directory, method)(*given)
    directory.search("(mail={mail})", {"mail": "canary@flext.test"})
    assert "127.0.0.1" in seen.text
    for secret in ("canary", "ana", "uid=", "mail", slapd.bind_password, slapd.bind_dn):
        assert secret not in seen.text, secret


def test_what_fails_on_the_wire_is_done_again_if_it_may_be(
    guarded: Any, slapd: Any, relay: Any, seen: Seen
) -> None:
    way = relay(slapd.port)
    directory = guarded(url=way.url)
    way.refuses = 2
    assert directory.user("ana").username == "ana"
    assert seen.series(way.target) == {("search", "connect"): 2, ("search", ""): 1}
    codes = [each.status.status_code for each in seen.spans]
    assert codes == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert circuit(directory, way.target) is State.CLOSED


def test_what_may_not_be_done_twice_is_done_once(
    guarded: Any, slapd: Any, relay: Any, seen: Seen
) -> None:
    way = relay(slapd.port)
    directory = guarded(url=way.url)
    dn = f"uid=nobody,{slapd.people}"
    for name, given in (
        ("add", [dn, {"objectClass": "person"}]),
        ("modify", [dn, None]),
        ("delete", [dn]),
    ):
        way.refuses = 1
        more = {"add": {"mail": "x"}} if name == "modify" else {}
        with pytest.raises(DirectoryUnavailable):
            getattr(directory, name)(*given, **more)
        assert seen.series(way.target)[name, "connect"] == 1


def test_a_batch_that_was_cut_short_is_finished_by_the_next_attempt(
    guarded: Any, run_slapd: Any, relay: Any, seen: Seen
) -> None:
    """Told as what it was: what the first attempt had added is not said to have been there."""
    from flext_plugins_ldap import Entry

    slapd = run_slapd()
    way = relay(slapd.port)
    directory = guarded(url=way.url, server=slapd)
    directory.health()
    people = [
        Entry(
            f"uid=b{number},{slapd.people}",
            {"objectClass": ("inetOrgPerson",), "cn": ("B",), "sn": ("B",)},
        )
        for number in range(200)
    ]
    way.cut_after = len(way.passed) + 20_000
    reports = directory.upsert(people)
    assert [each.dn for each in reports] == [each.dn for each in people]
    assert {each.outcome for each in reports} <= {"added", "modified"}
    assert [each.outcome for each in reports].count("added") >= len(people) - 1
    assert seen.series(way.target) == {("health", ""): 1, ("upsert", "read"): 1, ("upsert", ""): 1}
    sizes = [(each.attributes or {}).get("db.operation.batch.size") for each in seen.spans]
    assert sizes == [None, 200, 200]


def test_a_server_that_is_down_is_left_alone_and_the_next_one_asked(
    guarded: Any, slapd: Any, relay: Any, seen: Seen
) -> None:
    down = relay(slapd.port)
    down.refuses = 1000
    directory = guarded(url=[down.url, slapd.url])
    for _ in range(4):
        assert directory.user("ana").username == "ana"
    assert circuit(directory, down.target) is State.OPEN
    assert circuit(directory, slapd.target) is State.CLOSED
    assert seen.series(down.target) == {("search", "connect"): 4}
    assert seen.series(slapd.target) == {("search", ""): 4}
    assert down.count == 4


def test_with_all_circuits_open_nothing_is_asked_and_it_comes_back_by_itself(
    guarded: Any, run_slapd: Any
) -> None:
    slapd = run_slapd()
    directory = guarded(slapd, breaker={"recovery_timeout": 0.2})
    directory.health()
    slapd.down()
    for _ in range(2):
        with pytest.raises((DirectoryUnavailable, CircuitOpen)):
            directory.user("ana")
    assert circuit(directory, slapd.target) is State.OPEN
    with pytest.raises(CircuitOpen, match=f"^service: circuit-breaker: .*{slapd.target}") as caught:
        directory.user("ana")
    assert isinstance(caught.value, Refused)
    assert caught.value.retry_after
    slapd.up()
    time.sleep(0.25)
    assert directory.user("ana").username == "ana"
    assert circuit(directory, slapd.target) is State.CLOSED


def test_a_wrong_password_says_nothing_about_the_server(
    guarded: Any, run_slapd: Any, seen: Seen
) -> None:
    slapd = run_slapd()
    directory = guarded(slapd, breaker={"failure_threshold": 1})
    for _ in range(3):
        with pytest.raises(InvalidCredentials):
            directory.authenticate("nobody", "wrong")
    assert circuit(directory, slapd.target) is State.CLOSED
    assert seen.series(slapd.target) == {("search", ""): 3, ("bind", "InvalidCredentials"): 3}


def test_attempts_end_with_the_deadline(guarded: Any, peer: Any) -> None:
    silent = peer()
    directory = guarded(url=silent.url, connect_timeout=0.05, timeout=0.05)
    with pytest.raises((DirectoryUnavailable, DeadlineExceeded)), options(deadline=0.1):
        directory.user("ana")
    assert silent.count <= 3


def test_a_directory_that_is_down_opens_no_circuit_of_http(
    flext_world: World, flext_service: LoopbackService, slapd: Any, relay: Any
) -> None:
    way = relay(slapd.port)
    way.refuses = 1000
    plugins = {
        "circuit-breaker": {"failure_threshold": 2},
        "ldap": slapd.settings(url=way.url),
    }
    config = {"base_url": flext_service.url, "plugins": plugins}
    host = flext_world.host({"services": {"service": config}})
    for _ in range(5):
        with pytest.raises(Refused), options(user="ana"):
            flext_world.get(host)
    breaker: CircuitBreaker = flext_world.resource(host, CircuitBreaker)
    assert breaker.state is State.CLOSED
    assert breaker.circuit("ldap", way.target).state is State.OPEN
    assert flext_world.get(host).status_code == 200
    kind = AsyncDirectory if flext_world.asynchronous else Directory
    assert flext_world.resource(host, kind) is not None
