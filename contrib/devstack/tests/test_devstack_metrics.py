"""The pages that Prometheus reads of FlexCore and FLEXT Service, and what it makes of them."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from flext_plugins_devstack import Devstack

PLUGIN = "/api/v1/flexcore/plugins/flext-service/execute"
PROCESS = {
    "operation": "process_data",
    "parameters": {"source": "oracle-db-prod", "target": "data-warehouse"},
}
CONFIGURATION = """
global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}
scrape_configs:
  - job_name: flexcore
    static_configs: [{{targets: ["127.0.0.1:{flexcore}"]}}]
  - job_name: flext-service
    static_configs: [{{targets: ["127.0.0.1:{service}"]}}]
"""
PATIENCE = 30.0
NOTHING: dict[str, Any] = {"data": {"result": []}}


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        missing = f"{name} (package prometheus) is not installed; see tools/servers.sh"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return found


def value(page: str, name: str, **labels: str) -> float:
    """The sum of the series of that name that have these labels."""
    lines = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", page, re.MULTILINE)
    wanted = {f'{label}="{text}"' for label, text in labels.items()}
    return sum(float(number) for said, number in lines if wanted <= {*said.split(",")})


@pytest.fixture(scope="module")
def pages() -> Iterator[dict[str, str]]:
    """Those of both servers, after a little traffic."""
    with Devstack() as stack, httpx.Client(trust_env=False, timeout=10) as client:
        for _ in range(3):
            assert client.post(stack.flexcore.url + PLUGIN, json=PROCESS).status_code == 200
        client.get(stack.flexcore.url + "/health")
        client.get(f"{stack.flexcore.url}/nowhere/{'x' * 100}")
        client.request("SPOIL", stack.flexcore.url + "/health")
        client.post(stack.flext_service.url + "/api/v1/pipelines/execute", content=b"{")
        servers = {"flexcore": stack.flexcore, "flext-service": stack.flext_service}
        yield {name: client.get(server.url + "/metrics").text for name, server in servers.items()}


def test_executions_are_counted_by_plugin_from_zero_on(pages: dict[str, str]) -> None:
    name = "flexcore_plugin_executions_total"
    assert value(pages["flexcore"], name, plugin_name="flext-service") == 3
    assert f'{name}{{plugin_name="flext-proxy-adapter"}} 0.0' in pages["flexcore"]
    assert value(pages["flext-service"], name, plugin_name="json-lines") == 3


def test_requests_are_timed_by_route_and_status(pages: dict[str, str]) -> None:
    count = "http_request_duration_seconds_count"
    route = "/api/v1/flexcore/plugins/{name}/execute"
    assert value(pages["flexcore"], count, path=route, method="POST", status="200") == 3
    path = "/api/v1/pipelines/execute"
    assert value(pages["flext-service"], count, path=path, status="200") == 3
    assert value(pages["flext-service"], count, path=path, status="400") == 1
    took = value(pages["flexcore"], "http_request_duration_seconds_sum", path=route)
    assert 0 < took < 10


def test_a_path_that_is_no_route_makes_no_series_of_its_own(pages: dict[str, str]) -> None:
    assert "nowhere" not in pages["flexcore"]
    assert "SPOIL" not in pages["flexcore"]
    count = "http_request_duration_seconds_count"
    assert value(pages["flexcore"], count, path="_OTHER", status="404") == 2


def test_promtool_finds_nothing_to_complain_about(pages: dict[str, str]) -> None:
    for page in pages.values():
        done = subprocess.run(
            [program("promtool"), "check", "metrics"],
            input=page,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_prometheus_client_there_is_no_page_and_all_else_works(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with Devstack() as stack:
        for server in (stack.flexcore, stack.flext_service):
            assert client.get(server.url + "/health").status_code == 200
            assert client.get(server.url + "/metrics").status_code == 404
        assert client.post(stack.flexcore.url + PLUGIN, json=PROCESS).status_code == 200


@contextmanager
def prometheus(stack: Devstack, folder: Path) -> Iterator[httpx.Client]:
    """A client of a Prometheus that has the guide's two jobs."""
    ports = {"flexcore": stack.flexcore.port, "service": stack.flext_service.port}
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(**ports))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--log.level=error",
        ]
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        process.kill()
        process.wait(10)


def query(client: httpx.Client, text: str) -> dict[str, float]:
    """The values by job, as soon as both have one that is above zero."""
    end, found = time.monotonic() + PATIENCE, {}
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            answer = client.get("/api/v1/query", params={"query": text})
            result: Any = answer.json() if answer.is_success else NOTHING  # 503 while it starts
            found = {
                each["metric"]["job"]: float(each["value"][1]) for each in result["data"]["result"]
            }
            if len(found) == 2 and all(each > 0 for each in found.values()):
                return found
        time.sleep(0.1)
    raise AssertionError(f"{text} is {found}")


@pytest.mark.slow  # Prometheus reads nothing for its first five seconds
@pytest.mark.once
def test_the_guides_panels_show_lines_in_a_prometheus(tmp_path: Path) -> None:
    with Devstack() as stack, prometheus(stack, tmp_path) as client:
        with httpx.Client(trust_env=False) as caller:
            query(client, "up")
            for _ in range(20):
                caller.post(stack.flexcore.url + PLUGIN, json=PROCESS)
                time.sleep(0.05)
        query(client, "sum by (job) (rate(flexcore_plugin_executions_total[10s]))")
        buckets = "sum by (job, le) (rate(http_request_duration_seconds_bucket[10s]))"
        slowest = query(client, f"histogram_quantile(0.95, {buckets})")
    assert max(slowest.values()) < 5
