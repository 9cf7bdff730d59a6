"""A stand-in for FlexCore: it forwards pipelines, and most else is fixed, as the original's is."""

import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flext_plugins import FlextError, Host

from . import problem
from .api import api
from .auth import FlextAuth
from .clock import rfc3339
from .forwarding import SERVICE, Caller, Forwarding, failure
from .metrics import Metrics
from .problem import Problem
from .server import Server

API = "/api/v1/flexcore"
ADAPTER = "flext-proxy-adapter"
VERSION = "2.0.0"
EXECUTABLE = (SERVICE, ADAPTER)
FAILURES = (httpx.HTTPError, FlextError, ValueError)
"""Errors of asking FLEXT Service."""
MELTANO = {
    "capabilities": [
        "pipeline_execution",
        "plugin_testing",
        "plugin_description",
        "state_management",
        "environment_support",
    ],
    "description": "Meltano ETL execution via flext-meltano Python library",
    "name": "meltano",
    "type": "executor",
    "version": "3.8.0",
    "workspace": "/srv/flext",
}


def _node(node_id: str, _: str) -> str:
    return node_id


def _name(_: str, name: str) -> str:
    return name


def _now(_: str, __: str) -> str:
    return rfc3339()


NODE: dict[str, Any] = {"node_id": _node}
NODE_NOW = NODE | {"timestamp": _now}
# Method, path, answer; a function in it makes a value of the node's id and the path's name.
ALWAYS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "GET",
        "/health",
        {
            "components": dict.fromkeys(
                ("cluster_coordinator", "event_store", "plugin_system", "workflow_service"),
                "healthy",
            ),
            "event_count": 0,
            "plugin_count": 1,
            "service": "flexcore-container-real",
            "status": "healthy",
            "timestamp": lambda *_: rfc3339(int(time.time())),
            "version": VERSION,
            **NODE,
        },
    ),
    (
        "GET",
        f"{API}/plugins",
        {
            "count": 1,
            "plugins": [{"name": ADAPTER, "status": "loaded", "version": VERSION}],
            **NODE,
        },
    ),
    ("GET", f"{API}/plugins/{{name}}/status", {"plugin_name": _name, "status": "running", **NODE}),
    ("GET", f"{API}/workflows", {"count": 0, "workflows": None, **NODE_NOW}),
    (
        "GET",
        f"{API}/workflows/{{name}}/status",
        {"workflow_id": _name, "status": "not_found", **NODE},
    ),
    (
        "POST",
        f"{API}/workflows/{{name}}/execute",
        {
            "error": "pipeline execution failed: pipeline setup failed: failed to execute pipeline "
            "command: no handler registered for command type: *services.ExecutePipelineCommand",
            **NODE_NOW,
        },
    ),
    ("GET", f"{API}/events", {"count": 0, "events": None, "limit": 100, **NODE_NOW}),
    ("POST", f"{API}/events", {"status": "published", **NODE_NOW}),
    ("POST", f"{API}/commands", {"status": "executed", **NODE_NOW}),
    ("POST", f"{API}/queries", {"result": "query_executed", **NODE_NOW}),
    (
        "GET",
        f"{API}/metrics",
        {"metrics": {"errors": 0, "memory_usage": "64MB", "requests": 100, "uptime": "5m"}, **NODE},
    ),
    ("GET", f"{API}/status", {"status": "operational", "version": VERSION, **NODE_NOW}),
    (
        "GET",
        f"{API}/cluster/status",
        {
            "cluster_type": "simulated",
            "current_node": _node,
            "healthy_nodes": 1,
            "mode": "development",
            "total_nodes": 1,
        },
    ),
    ("GET", f"{API}/cluster/nodes", {"count": 1, "nodes": lambda node_id, _: [node_id], **NODE}),
)


class FlexCore(Server):
    """A FlexCore server.

    Args:
        service: the FLEXT Service that it forwards to.
        port: 0 finds a free one.
        authority: all under /api/ demands a token that it issued.
        plugins: those of its connection to FLEXT Service, as configurations have them.
    """

    def __init__(
        self,
        service: Server,
        port: int = 0,
        authority: FlextAuth | None = None,
        plugins: Mapping[str, Any] | None = None,
    ) -> None:
        self._relays_tokens = authority is not None
        self._forwarding = Forwarding(service, plugins or {})
        self._node_id = str(uuid.uuid4())
        self._metrics = Metrics(EXECUTABLE)
        routes = [
            *(
                Route(path, self._endpoint(answer), methods=[method])
                for method, path, answer in ALWAYS
            ),
            Route(f"{API}/plugins/{{name}}/execute", self._execute, methods=["POST"]),
            Route("/api/v1/plugins/{name}/execute", self._execute, methods=["POST"]),
            Route(f"{API}/pipelines/{{name}}/execute", self._execute_pipeline, methods=["POST"]),
        ]
        super().__init__(
            "flexcore", api(routes, self._metrics, authority, _unauthorized, _not_found), port
        )

    @property
    def host(self) -> Host:
        """The host through which it asks FLEXT Service, which has to have been started."""
        return self._forwarding.host

    def close(self) -> None:
        """See `Server.close`."""
        try:
            super().close()
        finally:
            self._forwarding.close()

    def _endpoint(self, answer: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            facts = (self._node_id, request.path_params.get("name", ""))
            body = {
                key: value(*facts) if callable(value) else value for key, value in answer.items()
            }
            return _GoJSON(body, 500 if "error" in answer else 200)

        return endpoint

    async def _execute(self, request: Request) -> Response:
        body = await _body(request)
        if isinstance(body, Response):
            return body
        name = request.path_params["name"]
        if name not in EXECUTABLE:
            return _GoJSON({"error": f"plugin not found: {name}"}, 500)
        self._metrics.executed(name)
        operation = _text(body, "operation")
        answer = {
            "adapter": ADAPTER,
            "operation": operation,
            "status": "success",
            "timestamp": rfc3339(),
        }
        caller = self._caller(request, body)
        if operation == "health":
            return await self._told_health(answer, caller)
        if operation == "process_data":
            parameters = _table(body, "parameters")
            job = {"tap": parameters.get("source"), "target": parameters.get("target")}
            job |= {"transform": parameters.get("transform")}
            return await self._ran(answer | {"params": body}, job, caller)
        return _GoJSON(answer | _outcome(operation, body))

    async def _execute_pipeline(self, request: Request) -> Response:
        body = await _body(request)
        if isinstance(body, Response):
            return body
        self._metrics.executed(SERVICE)
        wanted = _table(body, "pipeline_config")
        job = {name: wanted.get(name) for name in ("tap", "target", "transform")}
        answer = {
            "adapter": ADAPTER,
            "pipeline_id": request.path_params["name"],
            "status": "success",
            "timestamp": rfc3339(),
            "params": body,
        }
        return await self._ran(answer, job, self._caller(request, body))

    def _caller(self, request: Request, body: dict[str, Any]) -> Caller:
        metadata = _table(body, "metadata")
        authorization = request.headers.get("Authorization") if self._relays_tokens else None
        key = request.headers.get("Idempotency-Key")
        user = metadata.get("user_id")
        return Caller(metadata.get("correlation_id"), user, authorization, key)

    async def _told_health(self, answer: dict[str, Any], caller: Caller) -> Response:
        try:
            told = await run_in_threadpool(self._forwarding.health, caller)
        except FAILURES as error:
            return failure(error)
        facts = {
            "capabilities": told.get("capabilities"),
            "flext_service": self._forwarding.url,
            "flext_status": told.get("status"),
            "note": f"FLEXT service answered at {self._forwarding.url}.",
        }
        return _GoJSON(answer | facts)

    async def _ran(self, answer: dict[str, Any], job: dict[str, Any], caller: Caller) -> Response:
        """Answer how a pipeline went, which FLEXT Service runs."""
        try:
            run = await run_in_threadpool(self._forwarding.run, job, caller)
        except FAILURES as error:
            return failure(error)
        answer |= {"note": f"FLEXT service ran it at {self._forwarding.url}", "execution": run}
        match run.get("status"):
            case "succeeded":
                return _GoJSON(answer)
            case "failed" | "cancelled" as state:
                told = f"{SERVICE}: the pipeline {state}: {run.get('error')}"
                return _GoJSON(answer | {"status": state, "error": told}, 500)
            case state:
                note = f"FLEXT service runs it at {self._forwarding.url}"
                return _GoJSON(answer | {"status": str(state), "note": note}, 202)


class _GoJSON(JSONResponse):
    media_type = "application/json; charset=utf-8"


def _unauthorized(reason: str) -> Response:
    return _GoJSON({"error": reason}, 401, {"WWW-Authenticate": "Bearer"})


async def _body(request: Request) -> dict[str, Any] | Response:
    """Read what was posted, or give the answer that it cannot be read."""
    try:
        body = json.loads(await request.body(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return _GoJSON({"error": f"invalid request body: {error}"}, 500)
    if not isinstance(body, dict):
        return _GoJSON({"error": "invalid request body: not an object"}, 500)
    return body


async def _not_found(request: Request, error: Exception) -> Response:
    if isinstance(error, Problem):
        return await problem.on_error(request, error)
    # Also for a known path with another method: so does the router of the original.
    return Response("404 page not found", 404, {"Content-Type": "text/plain"})


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _table(body: dict[str, Any], key: str) -> dict[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _outcome(operation: str, body: dict[str, Any]) -> dict[str, Any]:
    match operation:
        case "list_plugins":
            note = "Plugin data retrieved from FLEXT service running on port 8081"
            return {"count": 1, "note": note, "plugins": {"meltano": MELTANO}}
        case "execute_plugin":
            plugin = _text(body, "plugin_name")
            result = {
                "command": _text(body, "command"),
                "duration": "1.234s",
                "exit_code": 0,
                "job_id": time.strftime("simulated-%Y%m%d%H%M%S", time.gmtime()),
                "output": f"{plugin}, version 3.8.0\n",
                "plugin": plugin,
                "status": "success",
                "timestamp": rfc3339(),
            }
            return {
                "note": "Plugin execution delegated to FLEXT service on port 8081",
                "result": result,
            }
        case _:
            return {"note": "Operation forwarded to FLEXT service on port 8081", "params": body}
