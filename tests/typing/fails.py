"""What a type checker must find: an error in each line marked so, and in no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import httpx2
import requests

from flext_plugins import (
    Connection,
    Host,
    Operation,
    Proceed,
    Request,
    Response,
    Send,
    Status,
    events,
    hookimpl,
)
from flext_plugins.hookspecs.typing import EventHook, ExchangeHook, RequestHook


class WrongArgumentType:
    @hookimpl  # error
    def flext_connect(self, connection: Host) -> None: ...

    @hookimpl  # error
    def flext_disconnect(self, connection: Host) -> None: ...

    @hookimpl  # error
    def flext_request(self, request: str) -> None: ...

    @hookimpl  # error
    def flext_response(self, response: httpx.Response) -> None: ...

    @hookimpl  # error
    async def flext_operation(self, operation: dict[str, str], proceed: Proceed) -> object:
        return None

    @hookimpl  # error
    def flext_event(self, event: events.CallFinished) -> None: ...


class WrongSend:
    @hookimpl  # error
    async def flext_exchange(
        self, request: Request, send: Callable[[Request], Response]
    ) -> Response:
        return send(request)


class WrongReturnType:
    @hookimpl  # error
    def flext_connect(self, connection: Connection) -> int:
        return 1

    @hookimpl  # error
    def flext_request(self, request: Request) -> Request:
        return request

    @hookimpl  # error
    async def flext_response(self, response: Response) -> int:
        return response.status_code

    @hookimpl  # error
    def flext_event(self, event: events.Event) -> bool:
        return True

    @hookimpl  # error
    def flext_status(self) -> dict[str, bool]:
        return {"open": True}


class NoResponse:
    @hookimpl  # error
    async def flext_exchange(self, request: Request, send: Send) -> None:
        await send(request)


class MissingAsync:
    @hookimpl  # error
    def flext_exchange(self, request: Request, send: Send) -> Awaitable[Response]:
        return send(request)

    @hookimpl  # error
    def flext_operation(self, operation: Operation) -> object: ...


class SuperfluousAsync:
    @hookimpl  # error
    async def flext_event(self, event: events.Event) -> None: ...

    @hookimpl  # error
    async def flext_status(self, connection: Connection) -> Status:
        return Status()


class UnknownArgument:
    @hookimpl  # error
    def flext_request(self, req: Request) -> None: ...

    @hookimpl  # error
    def flext_response(self, response: Response, send: Send) -> None: ...

    @hookimpl  # error
    def flext_event(self, event: events.Event, request: Request) -> None: ...


class Options:
    @hookimpl(tryfirst=True)  # error
    def flext_request(self, request: Request) -> None: ...


class OneHookUnderAnotherName:
    """Each may be a hook; an assignment tells which."""

    @hookimpl
    def flext_request(self, response: Response) -> None: ...

    @hookimpl
    async def flext_exchange(self, request: Request) -> None: ...

    @hookimpl
    async def flext_event(self, connection: Connection) -> None: ...


request_hook: RequestHook = OneHookUnderAnotherName.flext_request  # error
exchange_hook: ExchangeHook = OneHookUnderAnotherName.flext_exchange  # error
event_hook: EventHook = OneHookUnderAnotherName.flext_event  # error


def a_message_has_what_every_library_has(request: Request, response: Response) -> None:
    request.headers["X-Count"] = 1  # error
    request.headers = {}  # error
    response.headers.get_list("set-cookie")  # error
    print(response.text)  # error


def a_decorated_hook_keeps_its_type(plugin: SuperfluousAsync, host: Host) -> None:
    OneHookUnderAnotherName().flext_request(host)  # error


async def an_operation_gives_what_its_function_gives(connection: Connection) -> None:
    async def count() -> int:
        return 1

    operation = Operation("sqlite", "query", "orders")
    one: str = await connection.perform(operation, count)  # error
    two: str = await connection.perform(operation, lambda: 1)  # error
    three: int = connection.perform(operation, count)  # error


async def not_what_was_given(host: Host) -> None:
    one: httpx2.Client = host.connect("a")  # error
    two: httpx.Client = host.connect("a", requests.Session)  # error
    host.connect("a", requests.Session())  # error
    three: httpx2.AsyncClient = await host.aconnect("a", httpx.AsyncClient)  # error
    print(host.aconnect("a").get("/"))  # error
    print(host.aconnect("a").headers)  # error
    host.aconnect("a").headers = {}  # error
    print(host.aresource("a", requests.Session).get("/"))  # error
    six: requests.Session = host.aresource("a", requests.Session)  # error
    four: httpx.BaseTransport = host.transport("a", httpx.AsyncBaseTransport)  # error
    five: str = host.resource("a", int)  # error


async def a_client_class_of_the_other_world(host: Host) -> None:
    host.connect("a", httpx.AsyncClient)  # error
    host.connect("a", httpx2.AsyncClient)  # error
    host.aconnect("a", httpx.Client)  # error
    host.aconnect("a", requests.Session)  # error
    await host.aconnect("a", httpx2.Client)  # error
