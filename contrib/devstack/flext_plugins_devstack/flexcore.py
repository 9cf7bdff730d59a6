"""A stand-in for FlexCore: most of its answers are fixed, as are the original's."""

import json
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .auth import FlextAuth, TokenError
from .clock import rfc3339
from .server import Server

API = "/api/v1/flexcore"
ADAPTER = "flext-proxy-adapter"
VERSION = "2.0.0"
EXECUTABLE = ("flext-service", ADAPTER)
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
    """A FlexCore server; with an `authority`, all under /api/ demands a token that it issued."""

    def __init__(self, port: int = 0, authority: FlextAuth | None = None) -> None:
        self._authority = authority
        self._node_id = str(uuid.uuid4())
        self._routes = Starlette(
            routes=[
                *(
                    Route(path, self._endpoint(answer), methods=[method])
                    for method, path, answer in ALWAYS
                ),
                Route(f"{API}/plugins/{{name}}/execute", self._execute, methods=["POST"]),
                Route("/api/v1/plugins/{name}/execute", self._execute, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _not_found},
        )
        super().__init__("flexcore", self._guard, port)

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._authority is not None and scope["path"].startswith("/api/"):
            try:
                self._authority.authenticate(Request(scope).headers.get("authorization"))
            except TokenError as error:
                refusal = _GoJSON({"error": str(error)}, 401, {"WWW-Authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self._routes(scope, receive, send)

    def _endpoint(self, answer: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            facts = (self._node_id, request.path_params.get("name", ""))
            body = {
                key: value(*facts) if callable(value) else value for key, value in answer.items()
            }
            return _GoJSON(body, 500 if "error" in answer else 200)

        return endpoint

    async def _execute(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body(), parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            return _GoJSON({"error": f"invalid request body: {error}"}, 500)
        if not isinstance(body, dict):
            return _GoJSON({"error": "invalid request body: not an object"}, 500)
        name = request.path_params["name"]
        if name not in EXECUTABLE:
            return _GoJSON({"error": f"plugin not found: {name}"}, 500)
        operation = _text(body, "operation")
        answer = {
            "adapter": ADAPTER,
            "operation": operation,
            "status": "success",
            "timestamp": rfc3339(),
        }
        return _GoJSON(answer | _outcome(operation, body))


class _GoJSON(JSONResponse):
    media_type = "application/json; charset=utf-8"


async def _not_found(_: Request, __: Exception) -> Response:
    # Also for a known path with another method: so does the router of the original.
    return Response("404 page not found", 404, {"Content-Type": "text/plain"})


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _outcome(operation: str, body: dict[str, Any]) -> dict[str, Any]:
    match operation:
        case "health":
            return {
                "capabilities": [
                    "meltano_execution",
                    "dbt_operations",
                    "singer_taps_targets",
                    "plugin_management",
                ],
                "flext_service": "http://localhost:8081",
                "flext_status": "healthy",
                "note": "FLEXT service is operational on port 8081. Integration via REST APIs.",
            }
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
