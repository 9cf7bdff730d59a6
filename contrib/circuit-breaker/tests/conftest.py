"""Both worlds: a test is `async def`, and what it awaits of `world` is sync or async inside."""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx
import pytest
from flext_plugins_devstack import Devstack

from flext_plugins import Host

T = TypeVar("T")


class World:
    """Hosts and their clients, sync or async."""

    def __init__(self, *, asynchronous: bool) -> None:
        self.asynchronous = asynchronous
        self.hosts: list[Host] = []
        self.clients: list[Any] = []

    def host(self, services: dict[str, Any], **more: Any) -> Host:
        host = Host({"services": services, **more})
        self.hosts.append(host)
        return host

    async def client(self, host: Host, service: str, **options: Any) -> "Client":
        if self.asynchronous:
            client: Any = await host.aconnect(service, **options)
        else:
            client = host.connect(service, **options)
        self.clients.append(client)
        return Client(client)

    async def together(self, count: int, work: Callable[[], Awaitable[T]]) -> list[T]:
        """What `count` threads or tasks get that start `work` at once."""
        if self.asynchronous:
            return list(await asyncio.gather(*(work() for _ in range(count))))
        ready = threading.Barrier(count)

        def run() -> T:
            ready.wait(10)
            return driven(work())

        with ThreadPoolExecutor(count) as pool:
            return [each.result(30) for each in [pool.submit(run) for _ in range(count)]]

    async def sleep(self, seconds: float) -> None:
        if self.asynchronous:
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)  # noqa: ASYNC251 - there is no loop

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        if self.asynchronous:
            asyncio.run(self._closing(test))
            return
        try:
            driven(test)
        finally:
            for each in [*self.clients, *self.hosts]:
                each.close()

    async def _closing(self, test: Coroutine[Any, Any, None]) -> None:
        try:
            await asyncio.wait_for(test, 60)
        finally:
            for each in [*self.clients, *self.hosts]:
                await each.aclose()


class Client:
    """A client to await, of either kind."""

    def __init__(self, client: Any) -> None:
        self.plain = client

    async def get(self, url: str, **options: Any) -> httpx.Response:
        return await self.request("GET", url, **options)

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        response = self.plain.request(method, url, **options)
        answered: httpx.Response = await response if inspect.isawaitable(response) else response
        return answered


def driven(work: Awaitable[T]) -> T:
    """The result of what never suspends."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("suspended in the sync world")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    values = {name: pyfuncitem.funcargs[name] for name in names}
    world: Any = pyfuncitem.funcargs["world"]
    world.run(pyfuncitem.obj(**values))
    return True


@pytest.fixture(params=["sync", "async"])
def world(request: pytest.FixtureRequest) -> World:
    return World(asynchronous=request.param == "async")


@pytest.fixture(scope="session")
def running() -> Iterator[Devstack]:
    with Devstack() as stack:
        yield stack


class Fresh:
    """A server that nobody has talked to yet, as far as it tells."""

    def __init__(self, server: Any) -> None:
        server.up()
        server.clear()
        self._server, self._before = server, len(server.received)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    @property
    def received(self) -> list[Any]:
        return list(self._server.received[self._before :])


class Stack:
    """A stack without faults."""

    def __init__(self, running: Devstack) -> None:
        self.flexcore, self.elsewhere = Fresh(running.flexcore), Fresh(running.elsewhere)


@pytest.fixture
def stack(running: Devstack) -> Stack:
    return Stack(running)


@pytest.fixture
def async_world() -> World:
    """For what has no sync counterpart, such as cancellation."""
    return World(asynchronous=True)
