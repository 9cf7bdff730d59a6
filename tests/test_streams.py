"""Server-sent events and WebSocket through a composed client."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import httpx_sse
import httpx_ws
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from flext_plugins import DeadlineExceeded, Host, Refused, hookimpl, options
from flext_plugins.testing import Answer

pytestmark = pytest.mark.once

SSE = {"Content-Type": "text/event-stream"}
EVENTS = tuple(b"data: %d\n\n" % number for number in range(4))
AUTH = {"scheme": "bearer", "token": "a-token"}


def listen(world, host, path="/events"):
    """The events, with the seconds at which each came; and what ended them, if not their end."""
    got = []
    started = time.monotonic()

    def note(event):
        got.append((event.data, time.monotonic() - started))

    async def alistening():
        client = await world.aconnect(host)
        async with httpx_sse.aconnect_sse(client, "GET", path) as events:
            async for event in events.aiter_sse():
                note(event)

    def listening():
        with httpx_sse.connect_sse(world.connect(host), "GET", path) as events:
            for event in events.iter_sse():
                note(event)

    try:
        world.run(alistening if world.asynchronous else listening)
    except (DeadlineExceeded, world.lib.TransportError) as error:
        return got, error
    return got, None


def numbers(got):
    return [int(data) for data, _ in got]


def guarded(world, service, **more):
    """A host whose service has the plugins that are usual."""
    plugins = {
        "auth": AUTH,
        "retry": {"backoff": 0.01},
        "circuit-breaker": {"failure_threshold": 1},
    }
    services = {"service": {"base_url": service.url, "plugins": plugins, **more}}
    return world.host({"allow_inline_secrets": True, "services": services})


def test_events_come_one_by_one_for_a_request_with_the_credential(flext_service, flext_httpx_world):
    flext_service.answer = Answer(headers=SSE, chunks=EVENTS, pause=0.1)
    got, error = listen(flext_httpx_world, guarded(flext_httpx_world, flext_service))
    assert (numbers(got), error) == ([0, 1, 2, 3], None)
    assert got[3][1] - got[0][1] > 0.2
    (received,) = flext_service.received
    assert received.headers["authorization"] == "Bearer a-token"
    assert received.headers["x-correlation-id"]


def test_a_deadline_ends_a_stream(flext_service, flext_httpx_world):
    flext_service.answer = Answer(headers=SSE, chunks=EVENTS * 50, pause=0.1)
    host = guarded(flext_httpx_world, flext_service, deadline=0.4, timeout={"read": 0.3})
    got, error = listen(flext_httpx_world, host)
    assert isinstance(error, DeadlineExceeded)
    assert got
    flext_service.answer = Answer()
    assert flext_httpx_world.get(host).status_code == 200  # which is nobody's failure


def test_a_read_timeout_is_the_time_between_two_events(flext_service, flext_httpx_world):
    flext_service.answer = Answer(headers=SSE, chunks=EVENTS * 2, pause=0.05)
    host = guarded(flext_httpx_world, flext_service, timeout={"read": 0.3})
    got, error = listen(flext_httpx_world, host)
    assert (numbers(got), error) == ([0, 1, 2, 3] * 2, None)

    flext_service.answer = Answer(headers=SSE, chunks=EVENTS, pause=2)
    got, error = listen(flext_httpx_world, host)
    assert numbers(got) == [0]
    assert isinstance(error, flext_httpx_world.lib.ReadTimeout)
    with pytest.raises(Refused):  # the circuit has counted it
        flext_httpx_world.get(host)


def test_a_stream_is_sent_again_until_its_head_is_there_and_not_afterwards(
    flext_service, flext_httpx_world
):
    body = b"".join(EVENTS)
    answers = iter([Answer(503), Answer(headers=SSE, body=body, cut=len(EVENTS[0]))])
    flext_service.answer = lambda received: next(answers)
    plugins = {"retry": {"backoff": 0.01}}
    services = {"service": {"base_url": flext_service.url, "plugins": plugins}}
    got, error = listen(flext_httpx_world, flext_httpx_world.host({"services": services}))
    assert numbers(got) == [0]
    assert isinstance(error, flext_httpx_world.lib.RemoteProtocolError)
    assert len(flext_service.received) == 2


def test_a_stream_holds_a_permit_until_it_is_closed(flext_service, flext_sync_world):
    flext_service.answer = Answer(headers=SSE, chunks=EVENTS, pause=0.1)
    timeout = {"pool": 0.1}
    host = flext_sync_world.serve(flext_service, max_connections=1, timeout=timeout)
    client = flext_sync_world.connect(host)
    is_httpx = flext_sync_world.lib.__name__ != "requests"
    opened = client.stream("GET", "/") if is_httpx else client.get("/", stream=True)
    with opened as response:
        lines = response.iter_lines()
        assert next(lines) in {"data: 0", b"data: 0"}
        with pytest.raises(flext_sync_world.lib.PoolTimeout):
            client.get("/")
    flext_service.answer = Answer()
    assert client.get("/").status_code == 200


@pytest.fixture(scope="module")
def turner():
    """A server that turns messages round; `turner.openings` has the headers of each opening."""
    openings = []

    async def turn(websocket):
        openings.append(dict(websocket.headers))
        if websocket.headers.get("authorization") == "Bearer a-token":
            await websocket.accept()
            async for text in websocket.iter_text():
                await websocket.send_text(text[::-1])
        else:
            await websocket.close()

    def hello(request):
        return PlainTextResponse("hello")

    app = Starlette(routes=[WebSocketRoute("/turn", turn), Route("/", hello)])
    config = uvicorn.Config(app, port=0, log_level="warning", ws="wsproto", lifespan="off")
    server = uvicorn.Server(config)
    server.openings = openings
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    server.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield server
    server.should_exit = True
    thread.join(10)


@pytest.fixture(params=["sync", "async"])
def talk(request):
    """Send texts to an address, each after so many seconds; the answers."""

    def talk(host, url, texts, pause=0.0):
        with host.connect("turner") as client, httpx_ws.connect_ws(url, client) as socket:
            answers = []
            for text in texts:
                time.sleep(pause)
                socket.send_text(text)
                answers.append(socket.receive_text(timeout=10))
            return answers

    async def atalk(host, url, texts, pause=0.0):
        async with host, host.aconnect("turner") as client:
            async with httpx_ws.aconnect_ws(url, client) as socket:
                answers = []
                for text in texts:
                    await asyncio.sleep(pause)
                    await socket.send_text(text)
                    answers.append(await socket.receive_text(timeout=10))
                return answers

    return (
        talk if request.param == "sync" else lambda *said, **more: asyncio.run(atalk(*said, **more))
    )


def turning(turner, *plugins, **more):
    names = {f"plugin{number}": {} for number, _ in enumerate(plugins)}
    service = {"base_url": turner.url, "plugins": {"auth": AUTH, "retry": {}, **names}, **more}
    host = Host({"allow_inline_secrets": True, "services": {"turner": service}})
    for name, plugin in zip(names, plugins, strict=True):
        host.register(plugin, name)
    turner.openings.clear()
    return host


@pytest.mark.parametrize("written", ["/turn", "{url}/turn", "{ws}/turn"])
def test_a_socket_opens_with_a_request_that_has_the_credential(turner, talk, written):
    with turning(turner) as host, options(correlation_id="talk-7"):
        url = written.format(url=turner.url, ws=turner.url.replace("http", "ws"))
        assert talk(host, url, ["hello", "world"]) == ["olleh", "dlrow"]
    (opening,) = turner.openings
    assert opening["authorization"] == "Bearer a-token"
    assert opening["x-correlation-id"] == "talk-7"


def test_the_deadline_and_the_timeouts_are_for_the_opening(turner, talk):
    with turning(turner, timeout=1, deadline=1) as host:
        assert talk(host, "/turn", ["late"], pause=1.2) == ["etal"]


def test_a_socket_that_a_plugin_refuses_is_not_opened(turner, talk):
    class Refuses:
        @hookimpl
        def flext_request(self):
            raise Refused("not now")

    with turning(turner, Refuses) as host:
        with pytest.raises(httpx.TransportError) as caught:
            talk(host, "/turn", ["hello"])
    assert isinstance(caught.value, Refused)
    assert turner.openings == []


def test_what_is_answered_instead_of_a_socket_is_told(turner, talk):
    with turning(turner) as host, pytest.raises(httpx_ws.WebSocketUpgradeError) as caught:
        talk(host, "/nowhere", ["hello"])
    assert caught.value.response.status_code == 403


def test_a_socket_holds_a_permit_until_it_is_closed(turner):
    with turning(turner, max_connections=1, timeout={"pool": 0.1}) as host:
        with host.connect("turner") as client:
            with httpx_ws.connect_ws("/turn", client):
                with pytest.raises(httpx.PoolTimeout):
                    client.get("/")
            assert client.get("/").text == "hello"
