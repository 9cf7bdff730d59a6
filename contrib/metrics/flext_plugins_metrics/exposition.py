"""The page that Prometheus reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, CollectorRegistry, make_asgi_app
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def app(registry: CollectorRegistry | None = None) -> Callable[..., Awaitable[None]]:
    """An ASGI application that serves `registry` at whatever path it is mounted or routed.

    If `PROMETHEUS_MULTIPROC_DIR` is set, it serves the metrics that all processes write there
    instead, because a registry holds only those of this process.

    Args:
        registry: the one to serve, by default prometheus-client's own.

    Raises:
        ValueError: `PROMETHEUS_MULTIPROC_DIR` is not a directory.
    """
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # it takes a registry
    return _Page(make_asgi_app(REGISTRY if registry is None else registry))


class _Page:
    """Serves the page; no function, which routers take for a handler of requests."""

    def __init__(self, page: Any) -> None:
        self._page = page

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._page(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)


async def _live(receive: Any, send: Any) -> None:
    """Answer the server's lifespan messages; there is nothing to start or stop."""
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})
