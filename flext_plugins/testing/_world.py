"""The worlds that a plugin works in: each client library, in threads or in an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import os
import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from flext_plugins._host import Host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Self

    from flext_plugins._service import Status
    from flext_plugins.testing._service import LoopbackService

T = TypeVar("T")
HTTPX = ("httpx sync", "httpx async", "httpx2 sync", "httpx2 async")
WORLDS = (*HTTPX, "requests sync")
PATIENCE = 30.0
"""Seconds after which what hangs in an event loop is stopped."""


def _library(name: str) -> Any:
    """The library, by httpx's names."""
    module = importlib.import_module(name)
    if name != "requests":
        return module
    wrong = module.exceptions
    return SimpleNamespace(
        __name__="requests",
        Client=module.Session,
        Response=module.Response,
        TransportError=module.RequestException,
        TimeoutException=module.Timeout,
        ReadTimeout=module.ReadTimeout,
        PoolTimeout=importlib.import_module("flext_plugins._clients.requests.failures").PoolTimeout,
        ConnectError=module.ConnectionError,
        ReadError=module.ConnectionError,
        LocalProtocolError=wrong.InvalidHeader,
        RemoteProtocolError=wrong.ChunkedEncodingError,
        ProxyError=wrong.ProxyError,
        StreamConsumed=wrong.StreamConsumedError,
    )


class World:
    """One way of using a host: a library's client in threads, or its async one in a loop.

    A test does in it what an application would, in one of two manners. An ordinary test calls
    `serve` and `get`, which hide what is sync and what is async. A test that is an `async def`
    awaits a `client`; the kit runs it in its world, where in a sync one nothing ever suspends.

    Attributes:
        name: the library's name, such as `httpx2`.
        asynchronous: whether this is the library's async client.
        lib: the library. For requests, an object that has its classes by httpx's names, such as
            `lib.ConnectError` and `lib.TransportError`.

    Args:
        name: the library and `sync` or `async`, such as `httpx2 async`.
        transport: what the services of its hosts go over where that can serve this world and they
            name none.

    Raises:
        ImportError: the library is not installed.
    """

    def __init__(self, name: str, transport: str = "default") -> None:
        self.name, _, kind = name.partition(" ")
        self._defaults = {} if transport == "default" else {"transport": transport}
        self.lib = _library(self.name)
        self.asynchronous = kind == "async"
        self._runner = asyncio.Runner() if self.asynchronous else None
        self._hosts: list[Host] = []
        self._clients: list[Any] = []

    def host(self, config: dict[str, Any], **plugins: type) -> Host:
        """A host of this configuration, with these classes registered; `end` closes it.

        A name's `_` becomes `-`, as plugins' names have it.
        """
        if self._defaults:
            config = {**config, "defaults": self._defaults | config.get("defaults", {})}
        made = Host(config)
        for name, plugin in plugins.items():
            made.register(plugin, name.replace("_", "-"))
        self._hosts.append(made)
        return made

    def serve(self, server: LoopbackService, *plugins: type, **service: Any) -> Host:
        """A host whose one service, `service`, is `server` and has these plugins.

        Args:
            server: what the service's `base_url` is.
            plugins: classes; each is named as itself in lower case, and has no settings.
            service: more of the service's configuration; `plugins` replaces that of the classes.
        """
        named = {plugin.__name__.lower(): plugin for plugin in plugins}
        config = {"base_url": server.url, "plugins": {name: {} for name in named}, **service}
        return self.host({"services": {"service": config}}, **named)

    def connect(self, host: Host, service: str = "service", **options: Any) -> Any:
        """This library's sync client, by `host.connect`."""
        return host.connect(service, self.lib.Client, **options)

    def aconnect(self, host: Host, service: str = "service", **options: Any) -> Any:
        """This library's async client, by `host.aconnect`."""
        return host.aconnect(service, self.lib.AsyncClient, **options)

    async def client(
        self,
        host: Host,
        service: str = "service",
        *,
        follow_redirects: bool = False,
        **options: Any,
    ) -> Client:
        """A client to await, whichever it is; `end` closes it.

        Args:
            host: whose service it is.
            service: its name in the configuration.
            follow_redirects: for all requests; no library does it unless this is true.
            options: for the library's class.
        """
        given: dict[str, Any] = {}
        if self.name == "requests":
            given["allow_redirects"] = follow_redirects
        else:
            options["follow_redirects"] = follow_redirects
        made = self.aconnect if self.asynchronous else self.connect
        client = made(host, service, **options)
        if inspect.isawaitable(client):
            client = await client
        self._clients.append(client)
        return Client(client, self.lib, given)

    def get(self, host: Host, path: str = "/", **options: Any) -> Any:
        """The answer to a GET by a client of its own; see `send`."""
        return self.send(host, "GET", path, **options)

    def send(self, host: Host, method: str, path: str, **options: Any) -> Any:
        """The answer to a request by a client of its own.

        Args:
            host: whose service it is.
            method: such as `POST`.
            path: or a whole address.
            options: `service`, by default `service`; `client_options` for the client's class;
                the rest is for the request, by httpx's names (`content`, `json`, `headers`).
        """
        return self.run(self.sender(host, method, path, **options))

    def sender(
        self,
        host: Host,
        method: str,
        path: str,
        service: str = "service",
        client_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[], Any]:
        """A function that sends as `send` does, for `run` or `all`."""
        given = client_options or {}

        def send() -> Any:
            if self.name == "requests":
                followed = given.get("follow_redirects", False)
                with self.connect(host, service) as session:
                    return session.request(
                        method, path, allow_redirects=followed, **_as_requests(options)
                    )
            with self.connect(host, service, **given) as client:
                return client.request(method, path, **options)

        async def asend() -> Any:
            async with self.aconnect(host, service, **given) as client:
                return await client.request(method, path, **options)

        return asend if self.asynchronous else send

    def run(self, work: Callable[[], Any]) -> Any:
        """Run `work`: by the loop in an async world; else it is called, or driven if async."""
        if self._runner is None:
            done = work()
            return driven(done) if inspect.iscoroutine(done) else done

        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await work()

        return self._runner.run(bounded(), context=contextvars.copy_context())

    def all(self, works: list[Callable[[], Any]]) -> list[Any]:
        """Start all at once, and give their results and exceptions."""
        if self._runner is None:
            return _threads([partial(self.run, work) for work in works])

        async def gather() -> list[Any]:
            return await asyncio.gather(*(work() for work in works), return_exceptions=True)

        found: list[Any] = self.run(gather)
        return found

    async def together(self, count: int, work: Callable[[], Awaitable[T]]) -> list[T]:
        """Do `work` in `count` threads or tasks at once; gives the results, or raises."""
        if self.asynchronous:
            return list(await asyncio.gather(*(work() for _ in range(count))))
        found = _threads([lambda: driven(work())] * count)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return found

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        if self.asynchronous:
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)  # noqa: ASYNC251 - there is no loop

    def upload(self, *chunks: bytes) -> Any:
        """A body for `content=` that can be sent once."""

        async def stream() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        return stream() if self.asynchronous else iter(chunks)

    def status(self, host: Host, service: str = "service") -> dict[str, Status]:
        """The status of each plugin that reports one, by name, at the newest open connection.

        They are asked in a thread that has no part in the connection, as they may be.
        """
        found: list[dict[str, Status]] = []

        def look() -> None:
            channels = host._runtime.channels.open()  # noqa: SLF001 - of the same package
            found.extend(each.status() for each in channels if each.service.name == service)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return found[-1] if found else {}

    def resource(self, host: Host, kind: type, name: str | None = None) -> Any:
        """The resource that a plugin of `service` lends."""
        return self.run(self.lender(host, kind, name))

    def lender(self, host: Host, kind: type, name: str | None = None) -> Callable[[], Any]:
        """A function that gives what `resource` does, for `run` or `all`."""
        ask = host.aresource if self.asynchronous else host.resource
        return lambda: ask("service", kind, name)

    def close(self, host: Host) -> None:
        """Close a host early; `end` does it as well."""
        if self.asynchronous:
            self.run(host.aclose)
        else:
            host.close()

    def end(self) -> None:
        """Close the clients and the hosts, then the loop; the fixtures do it after each test."""
        try:
            for client in self._clients:
                self.run(client.aclose if self.asynchronous else client.close)
            for host in self._hosts:
                self.close(host)
        finally:
            if self._runner is not None:
                self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def opened(name: str, transport: str = "default") -> World:
    """The world of that name; where its library is not installed the test is skipped.

    It fails where the environment variable `CI` is set, so that nobody believes in tests that did
    not run.
    """
    try:
        return World(name, transport)
    except ImportError as error:
        library = name.partition(" ")[0]
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        wanted = f"{library} is not installed: the extra `{library}` of flext-plugins"
    if os.environ.get("CI"):
        pytest.fail(f"{wanted} (nothing is skipped where CI is set)", pytrace=False)
    pytest.skip(wanted)


class Client:
    """A client to await, of any library.

    Attributes:
        plain: the library's own client.
        lib: the library, as in its `World`.
    """

    def __init__(self, client: Any, lib: Any, options: dict[str, Any]) -> None:
        self.plain, self.lib = client, lib
        self._options = options

    async def get(self, url: str, **options: Any) -> Any:
        """The answer to a GET; see `request`."""
        return await self.request("GET", url, **options)

    async def request(self, method: str, url: str, **options: Any) -> Any:
        """The library's own answer; options have httpx's names (`content`, `json`, `headers`)."""
        if self._options:
            options = self._options | _as_requests(options)
        answer = self.plain.request(method, url, **options)
        return await answer if inspect.isawaitable(answer) else answer


def _as_requests(options: dict[str, Any]) -> dict[str, Any]:
    """A request's options by requests' names."""
    return {"data" if name == "content" else name: value for name, value in options.items()}


def driven(work: Awaitable[T]) -> T:
    """The result of what never suspends.

    Raises:
        AssertionError: it did.
    """
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("a test awaited something that suspends, which no sync world can")


def _threads(works: list[Callable[[], Any]]) -> list[Any]:
    """The results and exceptions of `works`, each in a thread of its own, started at once.

    Raises:
        TimeoutError: one hangs. Its thread does not keep the process from ending.
    """
    start = threading.Barrier(len(works))
    results: list[Any] = [None] * len(works)

    def settle(number: int, work: Callable[[], Any]) -> None:
        start.wait(PATIENCE)
        try:
            results[number] = work()
        except BaseException as error:
            results[number] = error

    each = enumerate(works)
    threads = [threading.Thread(target=settle, args=one, daemon=True) for one in each]
    for thread in threads:
        thread.start()
    until = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            raise TimeoutError(f"one of {len(works)} threads hangs")
    return results
