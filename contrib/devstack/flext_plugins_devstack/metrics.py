"""Metrics of a server for Prometheus, by the names that FLEXT's guide has in its panels."""

import importlib.util
import time
from collections.abc import Iterable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/metrics"
OTHER = "_OTHER"
"""Stands for every path that is no route, and for its method."""


class Metrics:
    """Counts executions of plugins, and times requests; nothing without prometheus-client.

    Args:
        plugins: names whose count is 0 from the start.
    """

    def __init__(self, plugins: Iterable[str]) -> None:
        self.is_installed = importlib.util.find_spec("prometheus_client") is not None
        if not self.is_installed:
            return
        from prometheus_client import CollectorRegistry, Counter, Histogram  # noqa: PLC0415

        self._registry = CollectorRegistry()
        self._executions = Counter(
            "flexcore_plugin_executions_total",
            "Executions of plugins that were asked for.",
            ["plugin_name"],
            registry=self._registry,
        )
        self._requests = Histogram(
            "http_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            ["method", "path", "status"],
            registry=self._registry,
        )
        for name in plugins:
            self._executions.labels(name)

    def executed(self, plugin: str) -> None:
        """Count an execution of `plugin`, which is one of few names."""
        if self.is_installed:
            self._executions.labels(plugin).inc()

    def routes(self) -> list[BaseRoute]:
        """The route of the page; none without prometheus-client."""
        return [Route(PATH, self._page)] if self.is_installed else []

    def timed(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> ASGIApp:
        """`app`, whose requests are timed by the path of the route that they take."""
        if not self.is_installed:
            return app

        async def measuring(scope: Scope, receive: Receive, send: Send) -> None:
            status, started = 500, time.perf_counter()

            async def noting(message: Message) -> None:
                nonlocal status
                status = message.get("status", status)
                await send(message)

            try:
                await app(scope, receive, noting)
            finally:
                took = time.perf_counter() - started
                self._requests.labels(*_route(scope, routes), status).observe(took)

        return measuring

    async def _page(self, request: Request) -> Response:
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(self._registry), headers={"Content-Type": kind})


def _route(scope: Scope, routes: Sequence[BaseRoute]) -> tuple[str, str]:
    for route in routes:
        if isinstance(route, Route) and route.matches(scope)[0] is Match.FULL:
            return scope["method"], route.path
    return OTHER, OTHER
