"""The page that Prometheus reads, and what several processes write for it."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flext_plugins_devstack import Devstack
from flext_plugins_devstack.server import Server
from flext_plugins_metrics import NAMES, app, names
from flext_plugins_metrics.collectors import KINDS
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from flext_plugins import Host, Operation, events, hookimpl
from flext_plugins.testing import LoopbackService
from flext_plugins.testing._world import driven

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
SILENT = {names.BODY_ERRORS, names.PLUGIN_ERRORS, names.ANSWERS, names.DRAINED}
SILENT |= {names.PERMIT_WAIT, names.PERMITS_PENDING, names.HEALTHY, names.HEALTH_DURATION}
"""Of what does not happen in the traffic here."""
PROGRAM = """
import os
from flext_plugins import Host

service = {"base_url": os.environ["SERVICE"], "plugins": {"metrics": {}}}
host = Host({"services": {"service": service}})
host.check()


def application(environ, start_response):
    host.connect("service").get("/")
    start_response("200 OK", [("Content-Length", "0"), ("X-Worker", str(os.getpid()))])
    return []
"""
SETTINGS = """
from prometheus_client import multiprocess

workers, preload_app, accesslog, loglevel = 2, True, None, "error"


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
"""


@pytest.fixture
def page(registry: Any) -> Iterator[str]:
    """The URL of the page."""
    server = Server("page", app(registry))
    server.up()
    yield server.url
    server.close()


@pytest.mark.parametrize("path", ["/metrics", "/mounted/"])
def test_a_program_serves_it_at_a_route_or_below_a_mount(registry: Any, path: str) -> None:
    routes = [Route("/metrics", app(registry)), Mount("/mounted", app(registry))]
    server = Server("program", Starlette(routes=routes))
    server.up()
    try:
        answer = httpx.get(server.url + path, trust_env=False)
    finally:
        server.close()
    assert (answer.status_code, answer.headers["content-type"][:10]) == (200, "text/plain")


class Searches:
    """Does an operation, and tells of a pool and of how far it is."""

    @hookimpl
    async def flext_request(self, request: Any, connection: Any) -> None:
        request.headers["traceparent"] = f"00-{'a' * 32}-{'b' * 16}-01"
        await connection.perform(Operation("ldap", "search", "directory:389"), str)
        connection.emit(events.PoolChanged("ldap", "directory:389", 1, 2, 5, 0))
        connection.emit(events.Progress("import", 1, 10, "rows"))


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
    told = checked.stderr.decode().splitlines()
    assert checked.stdout == b""
    # The name is OpenTelemetry's, which has another opinion of gauges that count.
    assert [each for each in told if not each.startswith("db_client_connection_count ")] == []


def test_every_metric_is_on_the_page_with_its_labels(traffic: str) -> None:
    text = httpx.get(traffic).text
    for each in NAMES:
        assert f"# TYPE {each.prometheus} {KINDS[each.kind].__name__.lower()}" in text
        assert f"# HELP {each.prometheus} {each.help}" in text
        shown = re.search(rf"^{each.prometheus}\w*\{{([^}}]*)\}}", text, re.MULTILINE)
        if shown:
            assert {*re.findall(r'(\w+)="', shown[1])} - {"le"} == {*each.labels}, each.prometheus
        else:
            assert each in SILENT, each.prometheus


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


async def fetched() -> str:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app()({"type": "http", "headers": [], "query_string": b""}, receive, send)
    text: str = sent[1]["body"].decode()
    return text


def test_gunicorns_workers_are_added_up_and_forgotten_when_they_end(
    flext_service: LoopbackService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "written").mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "written"))
    monkeypatch.setenv("SERVICE", flext_service.url)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor = listening.fileno()
        bound = ["--bind", f"fd://{descriptor}", "--config", str(tmp_path / "settings.py")]
        gunicorn = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *bound, "program"],
            cwd=tmp_path,
            pass_fds=[descriptor],
        )
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            sent = 0
            workers: set[str] = set()
            while len(workers) < 2:
                workers.add(httpx.get(url, timeout=20).headers["X-Worker"])
                sent += 1
                assert sent < 500
            text = driven(fetched())
            gunicorn.terminate()
            assert gunicorn.wait(20) == 0
        finally:
            gunicorn.kill()
    calls = f'flext_calls_total{{outcome="answered",service="service"}} {float(sent)}'
    assert calls in text.splitlines()
    for gauge in ("http_client_active_requests{", "flext_plugin_info{"):
        assert gauge in text
        assert gauge not in driven(fetched())
    assert calls in driven(fetched()).splitlines()
