"""The fixtures: a server that really listens, and the worlds that every behaviour holds in."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import sys
import threading
import types
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from flext_plugins import Host

sys.path.insert(0, str(Path(__file__).parent))

from loopback import Server

PATIENCE = 10.0
"""Seconds after which a test that hangs is stopped."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    """A server of another origin."""
    made = Server()
    yield made
    made.close()


REQUESTS = types.SimpleNamespace(
    __name__="requests",
    Client=requests.Session,
    Response=requests.Response,
    ConnectError=requests.ConnectionError,
    ReadError=requests.ConnectionError,
    TransportError=requests.RequestException,
    TimeoutException=requests.Timeout,
    RemoteProtocolError=requests.exceptions.ChunkedEncodingError,
    ProxyError=requests.exceptions.ProxyError,
    StreamConsumed=requests.exceptions.StreamConsumedError,
)
"""requests' names for what httpx calls so."""


class World:
    """One way of using a host: a library's client in threads, or its async one in a loop."""

    def __init__(self, name: str) -> None:
        library, _, kind = name.partition(" ")
        self.name = library
        self.lib: Any = REQUESTS if library == "requests" else importlib.import_module(library)
        self.asynchronous = kind == "async"
        self._runner = asyncio.Runner() if self.asynchronous else None
        self._hosts: list[Host] = []

    def host(self, config: dict[str, Any], **plugins: type) -> Host:
        made = Host(config)
        for name, plugin in plugins.items():
            made.register(plugin, name.replace("_", "-"))
        self._hosts.append(made)
        return made

    def serve(self, server: Server, *plugins: type, **service: Any) -> Host:
        """A host whose one service, `service`, has these plugins, without settings."""
        named = {plugin.__name__.lower(): plugin for plugin in plugins}
        config = {"base_url": server.url, "plugins": {name: {} for name in named}, **service}
        return self.host({"services": {"service": config}}, **named)

    def connect(self, host: Host, service: str = "service", **options: Any) -> Any:
        return host.connect(service, self.lib.Client, **options)

    def aconnect(self, host: Host, service: str = "service", **options: Any) -> Any:
        return host.aconnect(service, self.lib.AsyncClient, **options)

    def get(self, host: Host, path: str = "/", **options: Any) -> Any:
        return self.send(host, "GET", path, **options)

    def send(
        self,
        host: Host,
        method: str,
        path: str,
        *,
        service: str = "service",
        client_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        return self.run(self.sender(host, method, path, service, client_options, **options))

    def sender(
        self,
        host: Host,
        method: str,
        path: str,
        service: str = "service",
        client_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[], Any]:
        """What sends, as a function to be run in this world."""

        def send() -> Any:
            if self.name == "requests":
                followed = (client_options or {}).get("follow_redirects", False)
                if "content" in options:
                    options["data"] = options.pop("content")
                with self.connect(host, service) as session:
                    return session.request(method, path, allow_redirects=followed, **options)
            with self.connect(host, service, **(client_options or {})) as client:
                return client.request(method, path, **options)

        async def asend() -> Any:
            async with self.aconnect(host, service, **(client_options or {})) as client:
                return await client.request(method, path, **options)

        return asend if self.asynchronous else send

    def run(self, work: Callable[[], Any]) -> Any:
        if self._runner is None:
            return work()

        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await work()

        return self._runner.run(bounded(), context=contextvars.copy_context())

    def all(self, works: list[Callable[[], Any]]) -> list[Any]:
        """Run them all at once; gives results and exceptions."""
        if self._runner is not None:

            async def gather() -> list[Any]:
                waiting: list[Awaitable[Any]] = [work() for work in works]
                return await asyncio.gather(*waiting, return_exceptions=True)

            return self.run(gather)
        start = threading.Barrier(len(works))

        def settled(work: Callable[[], Any]) -> Any:
            start.wait(PATIENCE)
            try:
                return work()
            except Exception as error:
                return error

        with ThreadPoolExecutor(len(works)) as pool:
            return list(pool.map(settled, works, timeout=PATIENCE))

    def resource(self, host: Host, kind: type, name: str | None = None) -> Any:
        if self.asynchronous:
            return self.run(lambda: host.aresource("service", kind, name))
        return host.resource("service", kind, name)

    def close(self, host: Host) -> None:
        if self.asynchronous:
            self.run(host.aclose)
        else:
            host.close()

    def end(self) -> None:
        for host in self._hosts:
            self.close(host)
        if self._runner is not None:
            self._runner.close()


HTTPX_WORLDS = ("httpx sync", "httpx async", "httpx2 sync", "httpx2 async")


def worlds(*names: str) -> Any:
    """A fixture that gives each of these worlds."""

    @pytest.fixture(params=names)
    def made(request: pytest.FixtureRequest) -> Iterator[World]:
        world = World(request.param)
        yield world
        world.end()

    return made


world = worlds(*HTTPX_WORLDS, "requests sync")
httpx_world = worlds(*HTTPX_WORLDS)
sync_world = worlds("httpx sync", "httpx2 sync", "requests sync")
async_world = worlds("httpx async", "httpx2 async")
