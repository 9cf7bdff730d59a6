"""What a type checker must accept; `tests/test_typing.py` runs mypy and pyright over it."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn, assert_type

import httpx
import httpx2
import requests
from requests.adapters import BaseAdapter

from flext_plugins import (
    Connection,
    Host,
    Operation,
    Permit,
    Proceed,
    Refused,
    Request,
    Response,
    Send,
    Status,
    events,
    hookimpl,
    raise_for_status,
)
from flext_plugins.hookspecs.typing import (
    ConnectHook,
    DisconnectHook,
    EventHook,
    ExchangeHook,
    OperationHook,
    RequestHook,
    ResponseHook,
    StatusHook,
)
from flext_plugins.http import URL


class Full:
    """Every argument, in the specification's order."""

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        connection.provide(int, 1)
        connection.state["number"] = 1

    @hookimpl
    def flext_disconnect(self, connection: Connection) -> None: ...

    @hookimpl
    def flext_request(self, request: Request, connection: Connection) -> Response | None:
        request.headers["X-Tenant"] = "acme"
        return connection.respond(204) if "X-Nothing" in request.headers else None

    @hookimpl
    def flext_response(
        self, response: Response, request: Request, connection: Connection
    ) -> Response | None:
        return None

    @hookimpl
    async def flext_operation(
        self, operation: Operation, proceed: Proceed, connection: Connection
    ) -> object:
        return await proceed(operation)

    @hookimpl
    def flext_event(self, event: events.Event, connection: Connection) -> None: ...

    @hookimpl
    def flext_status(self, connection: Connection) -> Status:
        return Status({"open": 2, "names": ["ana"], "by_name": {"ana": 1}}, {"reset": lambda: None})


class Around:
    @hookimpl
    async def flext_exchange(
        self, request: Request, send: Send, connection: Connection
    ) -> Response:
        return await send(request)


class Async:
    """The small hooks may be `async def`."""

    @hookimpl
    async def flext_connect(self, connection: Connection) -> None:
        await connection.sleep(1)

    @hookimpl
    async def flext_disconnect(self, connection: Connection) -> None:
        await connection.request("issuer", "POST", "/logout")

    @hookimpl
    async def flext_request(self, request: Request) -> None: ...

    @hookimpl
    async def flext_response(self, response: Response, connection: Connection) -> Response:
        await connection.read(response)
        return response


class Waits:
    """A permit is entered, or awaited and released."""

    @hookimpl
    async def flext_exchange(
        self, request: Request, send: Send, connection: Connection
    ) -> Response:
        async with connection.permit("one", 1) as entered:
            assert_type(entered, Permit)
        permit = await connection.permit(("one", 2), 1, queue=3, timeout=0.5, shared=True)
        assert_type(permit, Permit)
        response = await send(request)
        connection.watch(response, lambda error, size: permit.release())
        return response


class Fewer:
    """A hook takes only the arguments that it names, in any order."""

    @hookimpl
    def flext_connect(self) -> None: ...

    @hookimpl
    def flext_disconnect(self) -> None: ...

    @hookimpl
    def flext_request(self, connection: Connection, request: Request) -> None: ...

    @hookimpl
    def flext_response(self, connection: Connection, response: Response) -> None: ...

    @hookimpl
    async def flext_operation(self, operation: Operation) -> list[str]:
        return []

    @hookimpl
    def flext_event(self, event: object) -> None: ...

    @hookimpl
    def flext_status(self) -> Status:
        return Status({"open": True})


class Least:
    @hookimpl
    def flext_request(self) -> NoReturn:
        raise Refused("maintenance")

    @hookimpl
    def flext_response(self, request: Request) -> None: ...

    @hookimpl
    async def flext_operation(self) -> NoReturn:
        raise Refused("maintenance")

    @hookimpl
    def flext_event(self, connection: Connection) -> None: ...


class Answering:
    @hookimpl
    async def flext_exchange(self, connection: Connection) -> Response:
        return connection.respond(200)


class Resending:
    @hookimpl
    async def flext_exchange(self, send: Send, request: Request) -> Response:
        return await send(request)


class Loose:
    @hookimpl
    async def flext_exchange(self, request: Any, send: Any, connection: Any) -> Any:
        return await send(request)

    @hookimpl
    async def flext_operation(self, operation: Any, proceed: Any) -> Any:
        return await proceed(operation)

    @hookimpl
    def flext_event(self, event: Any) -> Any: ...


connect_hooks: list[ConnectHook] = [
    Full.flext_connect,
    Async.flext_connect,
    Fewer.flext_connect,
]
disconnect_hooks: list[DisconnectHook] = [
    Full.flext_disconnect,
    Async.flext_disconnect,
    Fewer.flext_disconnect,
]
request_hooks: list[RequestHook] = [
    Full.flext_request,
    Async.flext_request,
    Fewer.flext_request,
    Least.flext_request,
]
response_hooks: list[ResponseHook] = [
    Full.flext_response,
    Async.flext_response,
    Fewer.flext_response,
    Least.flext_response,
]
exchange_hooks: list[ExchangeHook] = [
    Around.flext_exchange,
    Answering.flext_exchange,
    Resending.flext_exchange,
    Loose.flext_exchange,
]
operation_hooks: list[OperationHook] = [
    Full.flext_operation,
    Fewer.flext_operation,
    Least.flext_operation,
    Loose.flext_operation,
]
event_hooks: list[EventHook] = [
    Full.flext_event,
    Fewer.flext_event,
    Least.flext_event,
    Loose.flext_event,
]


status_hooks: list[StatusHook] = [Full.flext_status, Fewer.flext_status]


async def a_decorated_hook_keeps_its_type(request: Request, send: Send) -> None:
    assert_type(Fewer().flext_event(1), None)
    assert_type(await Resending().flext_exchange(send, request), Response)


def a_message_has_the_same_parts_in_every_library(one: Request, two: Response) -> None:
    assert_type(one.url, URL)
    assert_type((one.url.path, one.url.query, one.url.port), tuple[str, str | None, int])
    assert_type(two.request, Request | None)


def a_compressor_is_a_transformation(one: Request, connection: Connection) -> None:
    class Deflates:
        def feed(self, chunk: bytes) -> bytes:
            return chunk

        def end(self) -> bytes:
            return b""

    connection.transform(one, Deflates)


async def an_operation_gives_what_its_function_gives(connection: Connection) -> None:
    def rows(query: str) -> list[str]:
        return [query]

    async def count(query: str) -> int:
        return len(query)

    operation = Operation("sqlite", "query", "orders")
    assert_type(await connection.perform(operation, rows, "select 1"), list[str])
    assert_type(await connection.perform(operation, count, "select 1"), int)
    assert_type(await connection.perform(operation, lambda: count("select 1")), int)
    assert_type(connection.drive(connection.perform(operation, count, "select 1")), int)


class Session(requests.Session): ...


def the_class_given_is_the_type_returned(host: Host) -> None:
    assert_type(host.connect("a"), httpx.Client)
    assert_type(host.connect("a", follow_redirects=True), httpx.Client)
    assert_type(host.connect("a", httpx.Client), httpx.Client)
    assert_type(host.connect("a", httpx2.Client), httpx2.Client)
    assert_type(host.connect("a", client=requests.Session), requests.Session)
    assert_type(host.connect("a", Session, max_redirects=3), Session)
    assert_type(host.transport("a", httpx.BaseTransport), httpx.BaseTransport)
    assert_type(host.transport("a", httpx.AsyncBaseTransport), httpx.AsyncBaseTransport)
    assert_type(host.transport("a", httpx2.BaseTransport), httpx2.BaseTransport)
    assert_type(host.transport("a", httpx2.AsyncBaseTransport), httpx2.AsyncBaseTransport)
    assert_type(host.transport("a", BaseAdapter), BaseAdapter)
    assert_type(host.resource("a", Session), Session)
    assert_type(host.resource("a", Session, name="second"), Session)
    with host.connect("a") as client, host.connect("a", httpx2.Client) as client2:
        assert_type(client, httpx.Client)
        assert_type(client2, httpx2.Client)


async def the_same_for_async_clients(host: Host) -> None:
    assert_type(await host.aconnect("a"), httpx.AsyncClient)
    assert_type(await host.aconnect("a", httpx.AsyncClient), httpx.AsyncClient)
    assert_type(await host.aconnect("a", client=httpx2.AsyncClient), httpx2.AsyncClient)
    async with host.aconnect("a") as client:
        assert_type(client, httpx.AsyncClient)
    async with host.aconnect("a", httpx2.AsyncClient, trust_env=False) as client2:
        assert_type(client2, httpx2.AsyncClient)
    assert_type(await host.aresource("a", Session), Session)
    tasks = [asyncio.create_task(host.aresource("a", Session))]
    assert_type(await asyncio.gather(*tasks), list[Session])
    both = await asyncio.gather(host.aconnect("a"), host.aresource("a", Session))
    assert_type(both, tuple[httpx.AsyncClient, Session])


def what_is_provided_has_its_type(host: Host, connection: Connection) -> None:
    host.provide(Session, Session())
    assert_type(connection.service.resource(Session), Session)
    assert_type(connection.service.resource(Session, None), Session | None)
    assert_type(connection.service.shared(Session, Session), Session)


def raise_for_status_gives_back_what_it_was_given(
    one: httpx.Response, two: requests.Response
) -> None:
    assert_type(raise_for_status(one), httpx.Response)
    assert_type(raise_for_status(two), requests.Response)
