"""A registry for each test, a host whose services are measured into it, a real Prometheus."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from flext_plugins import Host
from flext_plugins.testing import LoopbackService, World

Serve = Callable[..., Host]
CONFIGURATION = """
global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}
rule_files: [{rules}]
scrape_configs:
  - job_name: test
    metrics_path: /
    static_configs: [{{targets: ["{target}"]}}]
"""
PATIENCE = 30.0


class Registry(CollectorRegistry):
    """What a test asks of it."""

    def all(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """The samples of that name with these labels, by the values of the others but `service`."""
        found = {}
        for metric in self.collect():
            for sample in metric.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    rest = (
                        sample.labels.keys()
                        - labels.keys()
                        - {"service", "server_address", "server_port"}
                    )
                    found[tuple(sample.labels[each] for each in sorted(rest))] = sample.value
        return found

    def total(self, name: str, **labels: str) -> float:
        """Their sum."""
        return sum(self.all(name, **labels).values())


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def serve(flext_world: World, flext_service: LoopbackService, registry: Registry) -> Serve:
    """A host whose `service` is `flext_service`, measured into `registry`."""

    def serve(*plugins: type, tables: dict[str, Any] | None = None, **service: Any) -> Host:
        named = {plugin.__name__.lower(): plugin for plugin in plugins}
        wanted = {"metrics": {}, **{name: {} for name in named}, **(tables or {})}
        config = {"base_url": flext_service.url, "plugins": wanted, **service}
        host = flext_world.host({"services": {"service": config}}, **named)
        host.provide(CollectorRegistry, registry)
        return host

    return serve


def program(name: str) -> str:
    """Where it is; without it the test is skipped, or fails where CI is set."""
    found = shutil.which(name)
    if found is None:
        wanted = f"{name} (package prometheus) is not installed; see tools/servers.sh"
        if os.environ.get("CI"):
            pytest.fail(f"{wanted} (nothing is skipped where CI is set)", pytrace=False)
        pytest.skip(wanted)
    return found


def until(true: Callable[[], Any], what: str) -> Any:
    """What `true` gives when it is true at last."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)
    return found


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=PATIENCE)

    def ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expr: str, at: float | None = None) -> list[Any]:
        """The series: each its labels and its value."""
        params = {"query": expr} if at is None else {"query": expr, "time": f"{at:.3f}"}
        answer = self._client.get("/api/v1/query", params=params).json()
        assert answer["status"] == "success", (expr, answer)
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def scraped(self) -> float:
        """When it has read all that was counted until now: the time of those samples."""
        now = time.time()

        def latest() -> float:
            found = self.query("timestamp(flext_call_duration_seconds_count)")
            newest = max((value for _, value in found), default=0.0)
            return newest if newest > now else 0.0

        return float(until(latest, "a scrape"))

    def alerts(self) -> list[Any]:
        found: list[Any] = self._client.get("/api/v1/alerts").json()["data"]["alerts"]
        return found

    def exemplars(self, expr: str) -> list[dict[str, str]]:
        """The labels of those that the series have had."""
        params = {"query": expr, "start": "0", "end": str(time.time())}
        found = self._client.get("/api/v1/query_exemplars", params=params).json()["data"]
        return [each["labels"] for series in found for each in series["exemplars"]]

    def close(self) -> None:
        self._client.close()


@contextmanager
def running(page: str, rules: str, folder: Path) -> Iterator[Prometheus]:
    """One that reads `page` and has these rules."""
    (folder / "rules.yml").write_text(rules)
    text = CONFIGURATION.format(rules=folder / "rules.yml", target=page.removeprefix("http://"))
    (folder / "prometheus.yml").write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--enable-feature=exemplar-storage",
            "--log.level=error",
        ]
    )
    made = Prometheus(f"http://127.0.0.1:{port}")
    try:
        until(lambda: process.poll() is not None or made.ready(), "Prometheus")
        assert process.poll() is None, "Prometheus ended at once"
        yield made
    finally:
        made.close()
        process.kill()
        process.wait(10)


@pytest.fixture(scope="session")
def run_prometheus() -> Callable[[str, str, Path], AbstractContextManager[Prometheus]]:
    """Runs one; see `running`."""
    program("prometheus")
    return running


@pytest.fixture(scope="session")
def promtool() -> str:
    return program("promtool")


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], Any], str], Any]:
    """Waits; see `until`."""
    return until
