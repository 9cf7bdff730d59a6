"""What the shipped dashboard and rules make of known traffic, in a real Prometheus."""

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import Any

import httpx
import pytest
from flext_plugins_circuit_breaker import CircuitBreaker, CircuitOpen
from flext_plugins_devstack import Devstack, Fault
from flext_plugins_devstack.server import Server
from flext_plugins_metrics import DASHBOARD, RULES, app
from prometheus_client import CollectorRegistry

from flext_plugins import FlextError, Host, Operation, Refused, Stage, events, hookimpl

pytestmark = pytest.mark.once

BURST = 40
BOARD = json.loads(DASHBOARD.read_text(encoding="utf-8"))
PANELS: list[Any] = [each for each in BOARD["panels"] if each["type"] != "row"]
AUTH = {"scheme": "login", "service": "flext-auth", "username": "admin"}
RIGHT = {**AUTH, "password": "flexcore100", "body": {"tenant_id": "tenant-1"}}
WRONG = {**RIGHT, "password": "guessed"}
MINUTE = 800
"""Milliseconds that a minute of the rules has here."""


class EntryExists(FlextError):
    """The directory has that entry already."""

    code = 68


class Searches:
    """Does two operations for each request that asks for it, which is part of a trace."""

    @hookimpl
    async def flext_request(self, request: Any, connection: Any) -> None:
        if "X-Search" in request.headers:
            request.headers["traceparent"] = f"00-{'a' * 32}-{'b' * 16}-01"
            await connection.perform(Operation("ldap", "search", "directory:389"), str)
            with suppress(EntryExists):
                await connection.perform(Operation("ldap", "add", "directory:389"), self.add)
            connection.emit(events.PoolChanged("ldap", "directory:389", 2, 1, 4, 3))
            connection.emit(events.Progress("import", 20, 200, "records"))
            connection.emit(events.HealthChecked(False, "answered 503", 0.02))

    def add(self) -> None:
        raise EntryExists("it is there")


class Stumbles:
    """An observer that fails when asked to."""

    observer = True

    @hookimpl
    def flext_request(self, request: Any) -> None:
        if "X-Stumble" in request.headers:
            raise ValueError


class Cache:
    """Answers in the service's place."""

    stage = Stage.CALL

    @hookimpl
    def flext_request(self, request: Any, connection: Any) -> Any:
        return connection.respond(200) if request.url.path == "/cached" else None


class Scene:
    """A devstack, hosts that are measured into one registry, and the Prometheus that reads it."""

    def __init__(self, stack: Devstack, registry: CollectorRegistry, exits: ExitStack) -> None:
        self.stack, self.registry, self.exits = stack, registry, exits
        self.prometheus: Any = None
        stack.flexcore.fault(Fault(status=503, times=None, path="/fails"))
        stack.flexcore.fault(Fault(cut_body=4, times=None, path="/cut"))
        stack.flexcore.fault(Fault(delay=1.2, times=None, path="/slow"))
        stack.flexcore.fault(Fault(delay=0.4, times=None, path="/queued"))

    def host(self, **services: dict[str, Any]) -> Host:
        """A host with these services at FlexCore, each with these plugins."""
        limits = {"queued": {"max_connections": 1}}
        made = {
            name: {"base_url": self.stack.flexcore.url, "plugins": plugins, **limits.get(name, {})}
            for name, plugins in services.items()
        }
        auth = {"base_url": self.stack.auth.url, "plugins": {"metrics": False}}
        config = {"plugins": {"metrics": {}}, "services": {**made, "flext-auth": auth}}
        host = Host(config)
        host.register(Searches, "searches")
        host.register(Stumbles, "stumbles")
        host.register(Cache, "cache")
        host.provide(CollectorRegistry, self.registry)
        return host

    def buckets(self, name: str, *labels: str) -> dict[float, float]:
        """Those of the series that have these label values."""
        found: dict[float, float] = {}
        for metric in self.registry.collect():
            for sample in metric.samples:
                if sample.name == f"{name}_bucket" and {*labels} <= {*sample.labels.values()}:
                    bound = float(sample.labels["le"])
                    found[bound] = found.get(bound, 0) + sample.value
        return found


@pytest.fixture(scope="module")
def scene(run_prometheus: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    text = RULES.read_text(encoding="utf-8")
    rules = re.sub(r"\b(\d+)m\b", lambda found: f"{int(found[1]) * MINUTE}ms", text)
    registry = CollectorRegistry()
    with ExitStack() as exits:
        stack = exits.enter_context(Devstack(protected=True))
        page = Server("page", app(registry))
        page.up()
        exits.callback(page.close)
        made = Scene(stack, registry, exits)
        made.prometheus = exits.enter_context(
            run_prometheus(page.url, rules, tmp_path_factory.mktemp("prometheus"))
        )
        yield made


# the dashboard


class Traffic:
    """The same of everything, as often as said."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        plugins = {
            "searches": {},
            "stumbles": {},
            "cache": {},
            "retry": {"backoff": 0.001, "budget": 9},
        }
        self.host = scene.exits.enter_context(
            scene.host(plain=plugins, guarded={"circuit-breaker": {"failure_threshold": 1}})
        )
        self.guarded = self.host.connect("guarded")
        self.guarded.get("/fails")
        self.guarded_circuit = self.host.resource("guarded", CircuitBreaker)
        self.received = 0

    def send(self, times: int) -> None:
        plain = self.host.connect("plain")
        for _ in range(times):
            answer = plain.post("/", content=b"x" * 200)
            self.received += len(answer.content)
            self.received += len(plain.get("/fails").content)
            for asking in ("X-Search", "X-Stumble"):
                self.received += len(plain.get("/", headers={asking: "1"}).content)
            with pytest.raises(httpx.RemoteProtocolError):
                plain.get("/cut")
            self.received += 4
            plain.get("/cached")
            with pytest.raises(CircuitOpen):
                self.guarded.get("/")
        for _ in range(times // 4):
            with self.scene.host(locked={"auth": RIGHT}) as host:
                host.connect("locked").get("/api/v1/flexcore/plugins").raise_for_status()
        self.queue()
        self.close()

    def queue(self) -> None:
        """Two calls, for which there is one connection."""
        with self.scene.host(queued={}) as host, host.connect("queued") as client:
            other = threading.Thread(target=client.get, args=("/queued",))
            other.start()
            client.get("/queued")
            other.join()

    def close(self) -> None:
        """Close a host in the middle of a call."""
        host = self.scene.host(closing={})

        def call() -> None:
            with suppress(Refused):
                host.connect("closing").get("/queued")

        thread = threading.Thread(target=call)
        thread.start()
        while not any(each.under_way for each in host.status().services["closing"].connections):
            time.sleep(0.01)
        host.close()
        thread.join()


def quantile(share: float, before: dict[float, float], after: dict[float, float]) -> float:
    """As Prometheus has it: a straight line through the bucket where that share is reached."""
    bounds = sorted(after)
    counts = [after[bound] - before.get(bound, 0) for bound in bounds]
    rank, steps = share * counts[-1], pairwise([(0.0, 0.0), *zip(bounds, counts, strict=True)])
    for (low, below), (high, reached) in steps:
        if reached >= rank:
            return low + (high - low) * (rank - below) / (reached - below)
    raise AssertionError("no bucket")


CALLS, ATTEMPTS = "flext_call_duration_seconds", "http_client_request_duration_seconds"
OPERATIONS = "db_client_operation_duration_seconds"
QUANTILES: list[tuple[str, str, tuple[str, ...], tuple[float, ...]]] = [
    ("What a call waited", CALLS, ("plain",), (0.5, 0.95)),
    ("What an attempt took", ATTEMPTS, ("plain",), (0.5, 0.95)),
    ("What an operation took", OPERATIONS, ("plain", "search"), (0.95,)),
    ("What an operation took", OPERATIONS, ("plain", "add"), (0.95,)),
]
N = BURST
RATES: dict[str, dict[tuple[str, ...], float]] = {
    "Calls": {
        ("answered", "locked"): N // 4,
        ("answered", "plain"): 5 * N,
        ("answered", "queued"): 2,
        ("failed", "plain"): N,
        ("refused", "guarded"): N,
        ("refused", "closing"): 1,
    },
    "Answers of plugins": {("cache", "plain"): N},
    "Calls that closing ends": {("cut", "closing"): 1},
    "Refusals": {("circuit-breaker", "CircuitOpen", "guarded"): N},
    "Resends": {("503", "plain"): 2 * N},
    "Tokens fetched": {("fetched", "locked"): N // 4},
    "Bodies that break": {("protocol", "plain"): N},
    "Operations": {("search", "ldap", "plain"): N, ("add", "ldap", "plain"): N},
    "Operations that fail": {("add", "ldap", "68", "plain"): N},
    "Plugins that fail": {("flext_request", "stumbles", "plain"): N},
    "Attempts": {
        ("GET", "200", "locked"): N // 4,
        ("404", "POST", "404", "plain"): N,
        ("404", "GET", "404", "plain"): 3 * N,
        ("503", "GET", "503", "plain"): 3 * N,
        ("404", "GET", "404", "queued"): 2,
        ("GET", "Refused", "closing"): 1,
    },
}


@pytest.fixture(scope="module")
def seen(scene: Scene) -> tuple[Callable[[str], Any], Traffic, Any, Any]:
    """What the dashboard's queries give, over exactly the time of the burst."""
    traffic = Traffic(scene)
    traffic.send(4)  # a counter begins to be known with its first value
    names = [(name, *labels) for _, name, labels, _ in QUANTILES]
    before = {each: scene.buckets(*each) for each in names}
    started = scene.prometheus.scraped()
    traffic.received = 0
    traffic.send(BURST)
    after = {each: scene.buckets(*each) for each in names}
    ended = scene.prometheus.scraped()
    window = round((ended - started) * 1000) + 1  # Prometheus 3 leaves the beginning itself out

    def ask(expr: str) -> dict[tuple[str, ...], float]:
        filled = expr.replace("$__rate_interval", f"{window}ms").replace("$service", ".*")
        found = scene.prometheus.query(filled, ended)
        scale = window / 1000 if expr.startswith("sum") and " / " not in expr else 1
        scale = scale if "rate(" in expr else 1
        return {
            tuple(value for _, value in sorted(labels.items()) if value): value * scale
            for labels, value in found
        }

    return ask, traffic, before, after


def asked(ask: Any, title: str) -> list[dict[tuple[str, ...], float]]:
    (panel,) = [each for each in PANELS if each["title"] == title]
    return [
        {key: value for key, value in ask(each["expr"]).items() if value == value and value}
        for each in panel["targets"]
    ]


def exactly(expected: Any) -> Any:
    return pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("title", RATES)
def test_a_rate_is_the_traffic_that_was_sent(seen: Any, title: str) -> None:
    (found,) = asked(seen[0], title)
    assert {tuple(sorted(key)): value for key, value in found.items()} == exactly(
        {tuple(sorted(key)): float(value) for key, value in RATES[title].items()}
    )


def test_bytes_are_those_that_were_sent_and_received(seen: Any) -> None:
    sent, received = asked(seen[0], "Bodies")
    assert sent == exactly({("plain",): 200.0 * N})
    assert received[("plain",)] == exactly(float(seen[1].received))


def test_the_share_of_attempts_that_fail(seen: Any) -> None:
    (found,) = asked(seen[0], "Attempts that fail")
    assert found == exactly({("plain",): 3 / 7})


@pytest.mark.parametrize(("title", "name", "labels", "shares"), QUANTILES)
def test_quantiles_are_those_of_the_buckets(
    seen: Any, title: str, name: str, labels: tuple[str, ...], shares: tuple[float, ...]
) -> None:
    ask, _, before, after = seen
    found = [
        value
        for target in asked(ask, title)
        for key, value in target.items()
        if {*labels} <= {*key}
    ]
    buckets = before[name, *labels], after[name, *labels]
    assert found == exactly([quantile(share, *buckets) for share in shares])


def test_what_is_now(seen: Any) -> None:
    ask, traffic, *_ = seen
    origin = traffic.scene.stack.flexcore.url
    assert asked(ask, "Circuits") == [{(origin, "circuit-breaker", "guarded", "open"): 1}]
    assert asked(ask, "Plugins") == [
        {("plain",): 5, ("guarded",): 2, ("locked",): 2, ("queued",): 1, ("closing",): 1}
    ]
    of = ("directory:389",)
    used, idle = (*of, "used", "plain"), (*of, "idle", "plain")
    assert asked(ask, "Pools") == [
        {used: 2, idle: 1},
        {(*of, "plain"): 4},
        {(*of, "plain"): 3},
    ]
    (panel,) = [each for each in PANELS if each["title"] == "Services that are well"]
    assert ask(panel["targets"][0]["expr"]) == {("plain",): 0}
    import_ = ("plain", "records", "import")
    assert asked(ask, "Progress") == [{import_: 20}, {import_: 200}]
    (panel,) = [each for each in PANELS if each["title"] == "Attempts under way"]
    assert ask(panel["targets"][0]["expr"]) == {
        (name,): 0 for name in ("plain", "guarded", "locked", "queued", "closing")
    }


def test_an_attempt_leads_to_its_trace(scene: Scene, seen: Any) -> None:
    found = scene.prometheus.exemplars(f'{ATTEMPTS}_bucket{{service="plain"}}')
    assert {"trace_id": "a" * 32, "span_id": "b" * 16} in found


def test_no_panel_is_left_out(seen: Any) -> None:
    """Each gives something for this traffic."""
    ask = seen[0]
    silent = [
        each["title"] for each in PANELS for target in each["targets"] if not ask(target["expr"])
    ]
    assert silent == []


def test_the_dashboard_is_of_the_current_form() -> None:
    assert BOARD["schemaVersion"] >= 39
    assert {each["type"] for each in PANELS} == {"timeseries"}
    for key in ("id", "title"):
        assert len({each[key] for each in BOARD["panels"]}) == len(BOARD["panels"])


def test_its_panels_stand_in_twos_and_those_of_operations_in_a_row_of_their_own() -> None:
    kinds = [each["type"] for each in BOARD["panels"]]
    above = kinds.index("row")
    assert BOARD["panels"][above]["title"] == "Databases and directories"
    assert [each["title"] for each in PANELS[above:]] == [
        *("Operations", "Operations that fail", "What an operation took", "Pools", "Progress")
    ]
    places = [(each["gridPos"]["x"], each["gridPos"]["y"]) for each in BOARD["panels"]]
    top = 8 * above // 2
    assert places == [
        *((12 * (n % 2), 8 * (n // 2)) for n in range(above)),
        (0, top),
        *((12 * (n % 2), top + 1 + 8 * (n // 2)) for n in range(len(PANELS) - above)),
    ]


# the rules


def test_promtool_finds_the_rules_in_order(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "rules", str(RULES)], check=False)
    assert done.returncode == 0


def test_the_guides_queries_still_have_their_names(scene: Scene, seen: Any) -> None:
    scene.prometheus.scraped()
    recorded = {
        float(labels["le"]): value
        for labels, value in scene.prometheus.query(
            'http_request_duration_seconds_bucket{service="plain"}'
        )
    }
    assert recorded == scene.buckets(ATTEMPTS, "plain")
    executions = {
        labels["plugin_name"]: value
        for labels, value in scene.prometheus.query("flexcore_plugin_executions_total")
    }
    calls = 6 * (BURST + 4)
    assert executions["searches"] == executions["retry"] == calls
    assert executions["auth"] == (BURST + 4) // 4


class Trouble:
    """Services that are in trouble, one for each alert, until it ends."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.over = scene, threading.Event()
        self.password, self.headers = WRONG, {"X-Stumble": "1"}
        retry = {"backoff": 0.001, "budget": 9}
        self.host = scene.exits.enter_context(
            scene.host(
                fails={},
                slow={},
                guarded={"circuit-breaker": {"failure_threshold": 1}},
                resent={"retry": retry},
                broken={},
                observed={"stumbles": {}},
            )
        )
        paths = {"fails": "/fails", "slow": "/slow", "guarded": "/fails", "resent": "/fails"}
        works = [self.asking(name, path) for name, path in paths.items()]
        works += [self.asking("broken", "/cut"), self.asking("observed", "/")]
        self.threads = [threading.Thread(target=self.repeat, args=(work,)) for work in works]
        # each makes a host of its own, and a TLS context for it
        self.threads.append(threading.Thread(target=self.repeat, args=(self.log_in, 0.25)))
        for thread in self.threads:
            thread.start()
        scene.exits.callback(self.end)

    def asking(self, service: str, path: str) -> Callable[[], object]:
        client = self.host.connect(service)
        return lambda: client.get(path, headers=self.headers)

    def log_in(self) -> None:
        with self.scene.host(locked={"auth": self.password}) as host:
            host.connect("locked").get("/api/v1/flexcore/plugins")

    def repeat(self, work: Callable[[], object], pause: float = 0.05) -> None:
        while not self.over.wait(pause):
            with suppress(httpx.HTTPError, Refused):
                work()

    def is_over(self) -> None:
        """Everything works from here on."""
        self.scene.stack.flexcore.clear()
        self.password, self.headers = RIGHT, {}
        self.host.resource("guarded", CircuitBreaker).reset()

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(10)


def test_each_alert_fires_in_trouble_and_clears_after_it(
    scene: Scene, seen: Any, wait_until: Any
) -> None:
    seen[1].guarded_circuit.reset()
    expected = {
        ("FlextServiceFails", "fails"),
        ("FlextServiceSlow", "slow"),
        ("FlextCircuitOpen", "guarded"),
        ("FlextManyResends", "resent"),
        ("FlextTokenFetchesFail", "locked"),
        ("FlextBodiesBreak", "broken"),
        ("FlextPluginFails", "observed"),
    }
    assert {name for name, _ in expected} == {
        *re.findall(r"alert: (\w+)", RULES.read_text("utf-8"))
    }

    def firing() -> set[tuple[str, str]]:
        return {
            (each["labels"]["alertname"], each["labels"]["service"])
            for each in scene.prometheus.alerts()
            if each["state"] == "firing"
        }

    trouble = Trouble(scene)
    wait_until(lambda: expected <= firing(), "all alerts")
    others = {name for name, service in firing() - expected if service not in {"resent", "guarded"}}
    trouble.is_over()
    wait_until(lambda: not firing(), "no alert")
    assert others == set()
