"""The page that Prometheus reads, and what several processes write for it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flext_plugins_devstack import Devstack
from flext_plugins_devstack.server import Server
from flext_plugins_metrics import NAMES, app
from prometheus_client import CollectorRegistry

from flext_plugins import Host, Operation, hookimpl
from flext_plugins.testing import LoopbackService
from flext_plugins.testing.world import driven

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
WORKERS = """
import os, sys
from flext_plugins import Host
from flext_plugins_metrics import app

url = sys.argv[1]
service = {"base_url": url, "plugins": {"metrics": {}, "circuit-breaker": {}}}
host = Host({"services": {"service": service}})
host.check()                         # before the fork, as gunicorn --preload does
for number in (1, 2):
    if os.fork() == 0:
        client = host.connect("service")
        for _ in range(3):
            client.get("/")
        host.close()
        os._exit(0)
assert [os.wait()[1] for _ in range(2)] == [0, 0]

import asyncio

async def page():
    sent = []
    async def receive():
        return {"type": "http.request"}
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "headers": [], "query_string": b""}
    await app()(scope, receive, send)
    print(sent[1]["body"].decode())

asyncio.run(page())
"""


@pytest.fixture
def page(registry: Any) -> Iterator[str]:
    """The URL of the page."""
    server = Server("page", app(registry))
    server.up()
    yield server.url
    server.close()


class Searches:
    """Does an operation."""

    @hookimpl
    async def flext_request(self, request: Any, connection: Any) -> None:
        request.headers["traceparent"] = f"00-{'a' * 32}-{'b' * 16}-01"
        await connection.perform(Operation("ldap", "search", "directory:389"), str)


@pytest.fixture
def traffic(registry: Any, page: str) -> str:
    """The page's URL, after traffic that leaves its mark in nearly every metric."""
    auth = {"scheme": "login", "service": "flext-auth", "username": "admin"}
    login = {**auth, "password": "flexcore100", "body": {"tenant_id": "tenant-1"}}
    guarded = {"auth": login, "searches": {}, "retry": {"backoff": 0.001}}
    with Devstack(protected=True) as stack:
        services = {
            "flexcore": {
                "base_url": stack.flexcore.url,
                "plugins": guarded | {"circuit-breaker": {"failure_threshold": 1}},
            },
            "flext-auth": {"base_url": stack.auth.url},
        }
        with Host({"plugins": {"metrics": {}}, "services": services}) as host:
            host.register(Searches, "searches")
            host.provide(CollectorRegistry, registry)
            client = host.connect("flexcore")
            client.get("/api/v1/flexcore/plugins")
            stack.flexcore.down()
            with pytest.raises(httpx.TransportError):
                client.get("/")
    return page


def test_promtool_finds_nothing_to_complain_about(traffic: str, promtool: str) -> None:
    text = httpx.get(traffic).content
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_every_metric_is_on_the_page_with_its_labels(traffic: str) -> None:
    text = httpx.get(traffic).text
    for each in NAMES:
        assert f"# TYPE {each.name} {each.kind.__name__.lower()}" in text
        assert f"# HELP {each.name} {each.help}" in text
        shown = re.search(rf"^{each.name}\w*\{{([^}}]*)\}}", text, re.MULTILINE)
        if shown:
            assert {*re.findall(r'(\w+)="', shown[1])} - {"le"} == {*each.labels}, each.name
        else:
            assert each.name in {"flext_body_errors_total", "flext_plugin_errors_total"}


def test_exemplars_are_there_for_who_asks_for_openmetrics(traffic: str) -> None:
    trace = f'trace_id="{"a" * 32}"'
    assert trace in httpx.get(traffic, headers=OPENMETRICS).text
    assert trace not in httpx.get(traffic).text


def test_the_page_can_be_served_by_itself(registry: Any) -> None:
    """A server asks whether it may start and stop."""
    asked = iter(["lifespan.startup", "lifespan.shutdown"])
    said = []

    async def receive() -> dict[str, str]:
        return {"type": next(asked)}

    async def send(message: dict[str, str]) -> None:
        said.append(message["type"])

    driven(app(registry)({"type": "lifespan"}, receive, send))
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_workers_of_one_program_are_added_up(
    flext_service: LoopbackService, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKERS, flext_service.url],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = dict(line.rsplit(" ", 1) for line in done.stdout.split("\n") if line and line[0] != "#")
    assert lines['flext_calls_total{outcome="answered",service="service"}'] == "6.0"
    counted = [
        float(value)
        for name, value in lines.items()
        if name.startswith("http_client_request_duration_seconds_count")
    ]
    assert counted == [6.0]
