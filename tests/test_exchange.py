"""What happens to a request, from the client to the wire and back."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import io
import json
import pickle
import re
import socket
import ssl
import threading
import time
import traceback

import pytest

from flext_plugins import (
    Call,
    ConfigError,
    DeadlineExceeded,
    FlextError,
    PluginError,
    Refused,
    Stage,
    events,
    hookimpl,
    options,
)
from flext_plugins.http import URL, Origin
from flext_plugins.testing import Answer, echo

SECRET = "canary-5f1c"


class Marks:
    """Puts a credential on every request."""

    @hookimpl
    def flext_request(self, request):
        request.headers["X-API-Key"] = SECRET


def redirect_to(url, status=307):
    return lambda received: (
        Answer(status, {"Location": url}) if received.path == "/redirect" else Answer()
    )


# the chain is the client's transport


@pytest.mark.contract("chain-is-the-transport", "hops-share-a-call")
def test_the_chain_runs_once_for_each_hop_of_one_call(flext_service, flext_world):
    seen, finished = [], []

    class Sees:
        stage = Stage.CALL

        @hookimpl
        def flext_request(self, request, connection):
            seen.append((request.url.path, connection.call.id, connection.call.attempt))

        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.CallFinished):
                finished.append(event.call.id)

    flext_service.answer = redirect_to("/there")
    response = flext_world.get(
        flext_world.serve(flext_service, Sees),
        "/redirect",
        client_options={"follow_redirects": True},
    )

    call = response.extensions["flext_plugins.call"]
    assert seen == [("/redirect", call.id, 1), ("/there", call.id, 2)]
    assert finished == [call.id]


@pytest.mark.contract("hops-share-a-call")
def test_sending_the_same_request_object_again_is_another_call(flext_service, flext_httpx_world):
    calls = []

    class Sees:
        @hookimpl
        def flext_request(self, connection):
            calls.append(connection.call)

    host = flext_httpx_world.serve(flext_service, Sees)
    request = flext_httpx_world.lib.Request("GET", flext_service.url)

    def twice():
        with flext_httpx_world.connect(host) as client:
            client.send(request)
            client.send(request)

    async def atwice():
        async with flext_httpx_world.aconnect(host) as client:
            await client.send(request)
            await client.send(request)

    flext_httpx_world.run(atwice if flext_httpx_world.asynchronous else twice)

    assert len({call.id for call in calls}) == 2
    assert [call.attempt for call in calls] == [1, 1]


@pytest.mark.contract("chain-is-the-transport")
def test_the_clients_own_auth_stays_outside(flext_service, flext_httpx_world):
    attempts = []

    class Sees:
        @hookimpl
        def flext_request(self, request, connection):
            attempts.append(("authorization" in request.headers, connection.call.attempt))

    class Challenge(flext_httpx_world.lib.Auth):
        def auth_flow(self, request):
            response = yield request
            assert response.status_code == 401
            request.headers["Authorization"] = "mine"
            yield request

    flext_service.answer = lambda received: Answer(
        200 if "authorization" in received.headers else 401
    )
    response = flext_httpx_world.get(flext_httpx_world.serve(flext_service, Sees), auth=Challenge())

    assert response.status_code == 200
    assert attempts == [(False, 1), (True, 2)]


@pytest.mark.contract("proxy-for-each-origin")
def test_environment_proxies_are_chosen_for_each_origin(
    flext_service, flext_elsewhere, flext_world, monkeypatch
):
    monkeypatch.setenv("http_proxy", flext_elsewhere.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    host = flext_world.host({"services": {"service": {"base_url": flext_service.url}}})

    assert flext_world.get(host, "/direct").status_code == 200
    assert flext_world.get(host, "http://example.invalid/proxied").status_code == 200

    assert flext_service.paths() == ["/direct"]
    assert flext_elsewhere.paths() == ["http://example.invalid/proxied"]


@pytest.mark.parametrize("proxy", [True, False])
@pytest.mark.contract("proxy-for-each-origin")
def test_a_services_own_proxy_setting_wins_over_the_environment(
    flext_service, flext_elsewhere, flext_world, monkeypatch, proxy
):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    chosen = flext_elsewhere.url if proxy else False
    host = flext_world.host(
        {"services": {"service": {"base_url": flext_service.url, "proxy": chosen}}}
    )

    flext_world.get(host, "/there")

    assert (flext_elsewhere if proxy else flext_service).paths() == [
        f"{flext_service.url}/there" if proxy else "/there"
    ]


# plugins get a clone


@pytest.mark.contract("plugins-get-a-clone", "client-keeps-its-request")
def test_what_a_plugin_adds_is_sent_and_shows_up_nowhere_else(
    flext_service, flext_elsewhere, flext_httpx_world
):
    inside = []

    class Looks(Marks):
        @hookimpl
        def flext_response(self, response):
            inside.append(response.request.headers["X-API-Key"])

    flext_service.answer = redirect_to(f"{flext_elsewhere.url}/there")
    host = flext_httpx_world.serve(flext_service, Looks)
    request = flext_httpx_world.lib.Request("GET", f"{flext_service.url}/redirect")

    def send():
        with flext_httpx_world.connect(host) as client:
            return client.send(request, follow_redirects=True)

    async def asend():
        async with flext_httpx_world.aconnect(host) as client:
            return await client.send(request, follow_redirects=True)

    response = flext_httpx_world.run(asend if flext_httpx_world.asynchronous else send)

    assert flext_service.received[0].headers["x-api-key"] == SECRET
    assert inside == [SECRET]
    shown = [response.request, *(each.request for each in response.history), request]
    assert not any("x-api-key" in each.headers for each in shown)
    assert "x-api-key" not in flext_elsewhere.received[0].headers
    assert response.history[0].request is request
    assert set(request.extensions) == {"timeout", "flext_plugins.call"}


@pytest.mark.contract("plugins-get-a-clone", "errors-show-no-secret")
def test_nor_in_an_error(flext_service, flext_world):
    host = flext_world.serve(flext_service, Marks)
    flext_service.answer = lambda _: Answer(reset=True)

    with pytest.raises(flext_world.lib.ReadError) as caught:
        flext_world.get(host)

    assert flext_service.received[0].headers["x-api-key"] == SECRET
    assert "x-api-key" not in caught.value.request.headers


@pytest.mark.contract("client-keeps-its-request")
def test_the_client_gets_its_own_request_back_timed_and_unread(flext_service, flext_httpx_world):
    host = flext_httpx_world.serve(flext_service, Marks)

    def stream():
        with flext_httpx_world.connect(host) as client, client.stream("GET", "/") as response:
            assert not response.is_stream_consumed
            return response.read(), response

    async def astream():
        async with (
            flext_httpx_world.aconnect(host) as client,
            client.stream("GET", "/") as response,
        ):
            assert not response.is_stream_consumed
            return await response.aread(), response

    body, response = flext_httpx_world.run(astream if flext_httpx_world.asynchronous else stream)

    assert b"GET" in body
    assert response.elapsed.total_seconds() > 0


@pytest.mark.contract("attempts-start-unmarked")
def test_each_attempt_of_an_outer_plugin_starts_from_the_unmarked_message(
    flext_service, flext_world
):
    class Adds:
        @hookimpl
        def flext_request(self, request):
            request.headers["X-Seen"] = request.headers.get("X-Seen", "") + "x"

    class Repeats:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send):
            await send(request)
            return await send(request)

    flext_world.get(flext_world.serve(flext_service, Repeats, Adds))

    assert [each.headers["x-seen"] for each in flext_service.received] == ["x", "x"]


@pytest.mark.contract("attempts-start-unmarked")
def test_what_is_done_further_in_does_not_come_back_with_the_response(flext_service, flext_world):
    seen = []

    class Inner:
        stage = Stage.AUTH

        @hookimpl
        async def flext_exchange(self, request, send):
            request.headers["X-API-Key"] = SECRET
            try:
                return await send(request)
            finally:
                del request.headers["X-API-Key"]

    class Outer:
        stage = Stage.CALL

        @hookimpl
        async def flext_exchange(self, request, send):
            response = await send(request)
            seen.append(("X-API-Key" in response.request.headers, response.request is request))
            return response

    flext_world.get(flext_world.serve(flext_service, Outer, Inner))

    assert flext_service.received[0].headers["x-api-key"] == SECRET
    assert seen == [(False, True)]


@pytest.mark.contract("guard-inward-shares")
def test_from_guard_inward_the_message_is_shared(flext_service, flext_world):
    seen = []

    class Guard:
        stage = Stage.GUARD

        @hookimpl
        async def flext_exchange(self, request, send):
            response = await send(request)
            seen.append(request.headers.get("X-API-Key"))
            return response

    flext_world.get(flext_world.serve(flext_service, Guard, Marks))

    assert seen == [SECRET]


# own origin only


@pytest.mark.parametrize(
    "other", ["http://a.invalid.evil.invalid/", "http://a.invalid:81/", "https://a.invalid/"]
)
@pytest.mark.contract("own-origin-only", "origins-are-compared-whole")
def test_another_origin_gets_a_bare_request(flext_elsewhere, flext_world, other):
    """All names are reached through a proxy, which notes what it is asked."""
    seen = []

    class Sees(Marks):
        @hookimpl
        def flext_event(self, event):
            seen.append(event)

    flext_elsewhere.answer = lambda it: Answer(403) if it.method == "CONNECT" else echo(it)
    service = {"base_url": "http://a.invalid", "headers": {"X-Service": "api"}}
    service |= {"proxy": flext_elsewhere.url, "plugins": {"sees": {}}}
    host = flext_world.host({"services": {"service": service}}, sees=Sees)
    assert flext_world.get(host, "http://A.invalid:80/own").json()["headers"]["x-api-key"] == SECRET
    seen.clear()
    if other.startswith("https"):
        with pytest.raises(flext_world.lib.ProxyError):  # this proxy does not tunnel
            flext_world.get(host, other)
    else:
        call = flext_world.get(host, other).extensions["flext_plugins.call"]
        assert isinstance(call, Call)

    received = flext_elsewhere.received[-1]
    assert received.path in {other, "a.invalid:443"}
    assert not {"x-api-key", "x-service"} & received.headers.keys()
    assert seen == []


@pytest.mark.contract("no-turning-elsewhere")
def test_a_plugin_cannot_take_the_services_secrets_elsewhere(
    flext_service, flext_elsewhere, flext_world
):
    world = flext_world

    class Turns:
        @hookimpl
        def flext_request(self, request):
            request.url = URL(Origin.of(flext_elsewhere.url), "/")

    with pytest.raises(PluginError, match="cannot be replaced"):
        world.get(world.serve(flext_service, Turns, headers={"X-Service": SECRET}))
    assert flext_elsewhere.received == []


@pytest.mark.contract("callers-headers-win")
def test_the_callers_headers_win_over_the_services(flext_service, flext_world):
    host = flext_world.serve(flext_service, headers={"X-Mine": "service", "User-Agent": "flext"})

    assert flext_world.get(host).json()["headers"]["x-mine"] == "service"
    assert flext_world.get(host).json()["headers"]["user-agent"] == "flext"
    assert (
        flext_world.get(host, headers={"X-Mine": "caller"}).json()["headers"]["x-mine"] == "caller"
    )


@pytest.mark.contract("own-origin-only")
def test_the_client_certificate_is_for_the_own_origin_only(flext_world, tmp_path):
    """A TLS server of another origin asks for a certificate and is shown none."""
    from flext_plugins_devstack.certificates import authority

    ca = authority(tmp_path)
    shown = {}

    def serve(name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca.server)
        context.load_verify_locations(ca.path)
        context.verify_mode = ssl.CERT_OPTIONAL
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]

        def run():
            with context.wrap_socket(listener, server_side=True) as tls:
                peer, _ = tls.accept()
                with peer:
                    shown[name] = peer.getpeercert()
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=run)
        thread.start()
        return f"https://127.0.0.1:{port}", thread

    (own, first), (other, second) = serve("own"), serve("other")
    service = {"base_url": own, "verify": str(ca.path), "cert": str(ca.client)}
    host = flext_world.host({"services": {"service": service}})
    flext_world.get(host)
    flext_world.get(host, other)
    first.join(5)
    second.join(5)

    assert shown["own"]["subject"] == (((("commonName", "client")),),)
    assert not shown["other"]


# answering, replacing, sending again


class Streams:
    """Notes which of the responses that the wire gave have been closed."""

    def __init__(self):
        self.closed = []

    def watcher(self):
        closed = self.closed

        class Watches:
            stage = Stage.SIGN

            @hookimpl
            def flext_response(self, response, connection):
                number = len(closed)
                closed.append(False)

                def ended(error, size):
                    closed[number] = True

                connection.watch(response, ended)

        return Watches


@pytest.mark.parametrize("hook", ["flext_response", "flext_exchange", "again"])
@pytest.mark.contract("superseded-is-closed")
def test_a_superseded_or_replaced_response_is_closed(flext_service, flext_world, hook):
    streams = Streams()

    class Replaces:
        stage = Stage.GUARD

        if hook == "flext_response":

            @hookimpl
            def flext_response(self, connection):
                return connection.respond(299)
        elif hook == "flext_exchange":

            @hookimpl
            async def flext_exchange(self, request, send, connection):
                await send(request)
                return connection.respond(299)
        else:

            @hookimpl
            async def flext_exchange(self, request, send, connection):
                first = await send(request)  # or it would be closed when it is collected
                assert streams.closed == [False]
                await send(request)
                assert streams.closed == [True, False]
                assert first.status_code == 200
                return connection.respond(299)

    response = flext_world.get(
        flext_world.serve(flext_service, Replaces, streams.watcher(), max_connections=1)
    )

    assert response.status_code == 299
    assert all(streams.closed)
    assert streams.closed


@pytest.mark.contract("superseded-is-closed")
def test_a_response_that_an_error_leaves_behind_is_closed(flext_service, flext_world):
    streams = Streams()

    class Raises:
        stage = Stage.GUARD

        @hookimpl
        async def flext_exchange(self, request, send):
            await send(request)
            raise KeyError("after the answer")

    class RaisesLater:
        stage = Stage.CALL

        @hookimpl
        def flext_response(self):
            raise KeyError("much later")

    for plugin in (Raises, RaisesLater):
        with pytest.raises(PluginError):
            flext_world.get(flext_world.serve(flext_service, plugin, streams.watcher()))

    assert streams.closed == [True, True]


@pytest.mark.contract("superseded-is-closed", "attempts-are-counted")
def test_a_pool_of_one_can_send_again(flext_service, flext_world):
    class Heals:
        stage = Stage.AUTH

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            response = await send(request)
            if response.status_code == 401:
                await connection.close(response)
                response = await send(request)
            return response

    statuses = iter([401, 200])
    flext_service.answer = lambda _: Answer(next(statuses), body=b"x" * 100_000)
    response = flext_world.get(
        flext_world.serve(flext_service, Heals, max_connections=1, timeout=2),
        "/",
        client_options={},
    )

    assert response.status_code == 200
    assert response.extensions["flext_plugins.call"].attempt == 2
    assert flext_service.most_sockets == 1


@pytest.mark.contract("sending-again")
def test_send_is_not_called_again_before_it_has_returned(flext_service, flext_async_world):
    world = flext_async_world

    class Hedges:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            first = asyncio.create_task(send(request))
            await asyncio.sleep(0)
            try:
                return await send(request)
            finally:
                await connection.close(await first)

    with pytest.raises(PluginError, match="again before it had returned"):
        world.get(world.serve(flext_service, Hedges))


def bodies():
    def generated():
        yield b"da"
        yield b"ta"

    async def agenerated():
        yield b"da"
        yield b"ta"

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

    return {
        "bytes": (lambda _: {"content": b"data"}, True),
        "form": (lambda _: {"data": {"a": "b"}}, True),
        "seekable multipart": (lambda _: {"files": {"f": io.BytesIO(b"data")}}, True),
        "a generator": (lambda a: {"content": agenerated() if a else generated()}, False),
        "unseekable multipart": (lambda _: {"files": {"f": Pipe(b"data")}}, False),
    }


@pytest.mark.parametrize("body", bodies())
@pytest.mark.contract("sending-again")
def test_only_a_body_that_can_be_replayed_is_sent_again(flext_service, flext_world, body):
    make, can = bodies()[body]
    can = can or (
        flext_world.name == "requests" and "multipart" in body
    )  # it reads the files at once
    told = []

    class Repeats:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            told.append((connection.replayable(request), connection.sendable(request)))
            response = await send(request)
            told.append((connection.replayable(request), connection.sendable(request)))
            return await send(request) if response.status_code == 503 else response

    flext_service.answer = lambda _: Answer(503)
    host = flext_world.serve(flext_service, Repeats)
    if can:
        assert (
            flext_world.send(host, "PUT", "/", **make(flext_world.asynchronous)).status_code == 503
        )
        first, second = flext_service.received
        assert first.body == second.body != b""
    else:
        with pytest.raises(PluginError, match="cannot be replayed"):
            flext_world.send(host, "PUT", "/", **make(flext_world.asynchronous))
        assert len(flext_service.received) == 1
    assert told == [(can, True), (can, can)]


@pytest.mark.contract("sent-once")
def test_a_file_that_was_sent_is_not_sent_empty_after_a_redirect(flext_service, flext_httpx_world):
    """httpx alone follows the redirect with an empty body."""
    if flext_httpx_world.asynchronous:
        pytest.skip("an AsyncClient takes no file")
    flext_service.answer = redirect_to("/there")

    with pytest.raises(flext_httpx_world.lib.StreamConsumed):
        flext_httpx_world.send(
            flext_httpx_world.serve(flext_service),
            "PUT",
            "/redirect",
            content=io.BytesIO(b"data"),
            client_options={"follow_redirects": True},
        )


# whose failure


@pytest.mark.contract("plugin-errors-name-the-plugin")
def test_what_a_plugin_raises_becomes_a_plugin_error_that_names_it(flext_service, flext_world):
    class Broken:
        @hookimpl
        def flext_request(self, request):
            raise KeyError(SECRET)

    with pytest.raises(PluginError) as caught:
        flext_world.get(flext_world.serve(flext_service, Broken))

    error = caught.value
    assert (error.service, error.plugin, error.hook) == ("service", "broken", "flext_request")
    assert isinstance(error.__cause__, KeyError)
    assert SECRET not in str(error)


@pytest.mark.contract("plugin-errors-name-the-plugin")
def test_and_the_line_where_it_happened(flext_service, flext_world):
    class Broken:
        @hookimpl
        def flext_request(self, request):
            raise KeyError(SECRET)

    with pytest.raises(PluginError, match=r"raised KeyError at test_exchange\.py:\d+$"):
        flext_world.get(flext_world.serve(flext_service, Broken))

    class Parses:
        @hookimpl
        def flext_request(self, request):
            json.loads(SECRET)

    said = r"raised JSONDecodeError at test_exchange\.py:\d+, in json\.decoder$"
    with pytest.raises(PluginError, match=said):
        flext_world.get(flext_world.serve(flext_service, Parses))


@pytest.mark.contract("plugin-errors-name-the-plugin")
@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("url", "http://127.0.0.1/", "a request keeps its address"),
        ("stream", b"data", "use `connection.replace`"),
        ("stream", iter([b"data"]), "use `connection.replace`"),
        ("method", b"GET", "takes the name of a method"),
        ("method", "GET /admin HTTP/1.1", "takes the name of a method"),
        ("headers", {}, "raised AttributeError at test_exchange.py"),
        ("content", b"data", "raised AttributeError at test_exchange.py"),
    ],
)
def test_what_cannot_be_put_into_a_request_names_the_plugin(
    flext_service, flext_world, name, value, remedy
):
    class Replaces:
        @hookimpl
        def flext_request(self, request):
            setattr(request, name, value)

    with pytest.raises(PluginError, match=remedy) as caught:
        flext_world.get(flext_world.serve(flext_service, Replaces))
    assert caught.value.plugin == "replaces"
    assert flext_service.received == []


@pytest.mark.contract("plugin-errors-name-the-plugin")
@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("stream", b"data", "use `connection.replace`"),
        ("status_code", "200", "takes a number"),
        ("status_code", 2000, "takes a number"),
        ("headers", {}, "raised AttributeError at test_exchange.py"),
        ("content", b"data", "raised AttributeError at test_exchange.py"),
    ],
)
def test_what_cannot_be_put_into_a_response_names_the_plugin(
    flext_service, flext_world, name, value, remedy
):
    class Replaces:
        @hookimpl
        def flext_response(self, response):
            setattr(response, name, value)

    with pytest.raises(PluginError, match=remedy) as caught:
        flext_world.get(flext_world.serve(flext_service, Replaces))
    assert caught.value.plugin == "replaces"


@pytest.mark.contract("wire-errors-pass")
def test_a_wire_error_passes_every_layer_as_it_is(flext_service, flext_world):
    seen = []

    class Passes:
        stage = Stage.CALL

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                return await send(request)
            except Exception as error:
                seen.append(error)
                raise

    class PassesToo(Passes):
        stage = Stage.GUARD

    host = flext_world.serve(flext_service, Passes, PassesToo)
    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError) as caught:
        flext_world.get(host)

    assert seen == [caught.value, caught.value]


@pytest.mark.contract("only-its-own-send-passes")
def test_a_wire_error_that_is_not_from_its_send_is_the_plugins_own(flext_service, flext_world):
    class Own:
        stage = Stage.AUTH

        @hookimpl
        async def flext_exchange(self, request, send):
            raise flext_world.lib.ConnectError("not yours")

    judged = []

    class Judges:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                return await send(request)
            except FlextError as error:
                judged.append(connection.failure(error))
                raise

    with pytest.raises(PluginError, match="own"):
        flext_world.get(flext_world.serve(flext_service, Own, Judges))

    assert judged == [None]


@pytest.mark.contract("wire-errors-pass")
def test_a_layer_may_recover(flext_service, flext_world):
    class Recovers:
        stage = Stage.CALL

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                return await send(request)
            except Exception:
                return connection.respond(299, content=b"fallback")

    host = flext_world.serve(flext_service, Recovers)
    flext_service.refuse()

    assert flext_world.get(host).text == "fallback"


@pytest.mark.parametrize("returned", [None, "text"])
@pytest.mark.contract("plugin-errors-name-the-plugin")
def test_returning_no_response_is_the_plugins_error(flext_service, flext_world, returned):
    class Forgets:
        @hookimpl
        async def flext_exchange(self, request, send):
            await send(request)
            return returned

    with pytest.raises(PluginError, match=f"returned {type(returned).__name__}"):
        flext_world.get(flext_world.serve(flext_service, Forgets))


@pytest.mark.contract("cancellation-unwinds")
def test_cancellation_unwinds_every_layer(flext_service, flext_async_world):
    """At every await of the chain: layers unwind, and the one permit comes back."""
    world = flext_async_world
    unwound = []

    def layer(name, stage):
        class Layer:
            @hookimpl
            async def flext_exchange(self, request, send, connection):
                try:
                    await connection.sleep(0)
                    response = await send(request)
                    await connection.sleep(0)
                    return response
                finally:
                    unwound.append(name)

        Layer.__name__, Layer.stage = name, stage
        return Layer

    names = ["outer", "middle", "inner"]
    stages = [Stage.CALL, Stage.GUARD, Stage.SIGN]
    plugins = [layer(*each) for each in zip(names, stages, strict=True)]
    host = world.serve(flext_service, *plugins, max_connections=1)

    async def cancelled_after(steps):
        async with world.aconnect(host) as client:
            unwound.clear()
            task = asyncio.ensure_future(client.get("/"))
            for step in range(steps):
                await asyncio.sleep(0 if step < 40 else 0.001)  # turn by turn, then by time
            finished = task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert unwound == names[: len(unwound)][::-1]
            return finished

    async def every():
        for steps in range(300):
            if await cancelled_after(steps):
                return steps
        raise AssertionError("it never finished")

    assert world.run(every) > 3
    assert world.get(host).status_code == 200


# observers


@pytest.mark.parametrize("when", ["before", "after", "small before", "small after"])
@pytest.mark.contract("observer-hurts-nobody")
def test_an_observer_that_raises_hurts_nobody(flext_service, flext_world, when, caplog):
    failed = []

    class Observes:
        observer = True
        if when.startswith("small"):

            @hookimpl
            def flext_request(self, request):
                if when == "small before":
                    raise KeyError(request.headers["Authorization"])

            @hookimpl
            async def flext_response(self, response):
                if when == "small after":
                    raise KeyError(response.request.headers["Authorization"])
        else:

            @hookimpl
            async def flext_exchange(self, request, send):
                if when == "before":
                    raise KeyError(request.headers["Authorization"])
                await send(request)
                raise KeyError(request.headers["Authorization"])

    class Hears:
        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.PluginFailed):
                failed.append((event.plugin, type(event.error)))

    host = flext_world.serve(flext_service, Observes, Hears)
    for _ in range(3):
        answer = flext_world.get(host, headers={"Authorization": f"Bearer {SECRET}"})
        assert answer.status_code == 200

    assert failed == [("observes", KeyError)] * 3
    assert len(flext_service.received) == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # once a minute
    assert "observes" in caplog.text
    (message,) = caplog.messages
    hook = "flext_exchange"
    if when.startswith("small"):
        hook = {"small before": "flext_request", "small after": "flext_response"}[when]
    told = (
        rf"Observes\.{hook} raised KeyError at test_exchange\.py:\d+: '\*\*\*'; the call goes on  "
    )
    assert re.match(told, message)
    assert SECRET not in caplog.text


@pytest.mark.contract("observer-changes-nothing")
def test_an_observer_cannot_change_an_outcome(flext_service, flext_world):
    heard = []

    class Hears:
        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.PluginFailed):
                heard.append(str(event.error))

    class Meddles:
        observer = True
        stage = Stage.CALL

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            with contextlib.suppress(Exception):
                await send(request)
            return connection.respond(299)

    class MeddlesToo:
        observer = True

        @hookimpl
        def flext_request(self, connection):
            return connection.respond(299)

        @hookimpl
        def flext_response(self, connection):
            return connection.respond(299)

    host = flext_world.serve(flext_service, Meddles, MeddlesToo, Hears)
    assert flext_world.get(host).status_code == 200
    hooks = ["flext_response", "flext_exchange"]
    assert [each.split(" returned")[0] for each in heard] == ["flext_request", *hooks]
    assert all(each.endswith("which is ignored: an observer only looks") for each in heard)
    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError):
        flext_world.get(host)


class PaintsMessages:
    observer = True
    stage = Stage.CALL

    @hookimpl
    def flext_request(self, request):
        request.method = "DELETE"
        request.headers["X-Mark"] = "1"

    @hookimpl
    def flext_response(self, response):
        response.status_code = 299


class PaintsAnExchange:
    observer = True
    stage = Stage.CALL

    @hookimpl
    async def flext_exchange(self, request, send):
        request.method = "DELETE"
        request.headers["X-Mark"] = "1"
        response = await send(request)
        response.status_code = 299
        return response


@pytest.mark.contract("observer-changes-nothing")
@pytest.mark.parametrize("kind", [PaintsMessages, PaintsAnExchange])
def test_an_observer_marks_headers_and_changes_neither_method_nor_status(
    flext_service, flext_world, kind
):
    failures = []

    class Hears:
        @hookimpl
        def flext_event(self, event):
            if isinstance(event, events.PluginFailed):
                failures.append(str(event.error))

    flext_service.answer = Answer(503)
    assert flext_world.get(flext_world.serve(flext_service, kind, Hears)).status_code == 503
    (received,) = flext_service.received
    assert (received.method, received.headers["x-mark"]) == ("GET", "1")
    assert {each.partition(" ")[2] for each in failures} == {
        "changed a method or a status, which was put back: an observer only looks"
    }


@pytest.mark.contract("observer-changes-nothing")
def test_an_observer_cannot_send_twice(flext_service, flext_world):
    class Twice:
        observer = True

        @hookimpl
        async def flext_exchange(self, request, send):
            await send(request)
            return await send(request)

    assert flext_world.get(flext_world.serve(flext_service, Twice)).status_code == 200
    assert len(flext_service.received) == 1


@pytest.mark.contract("others-fail-closed")
def test_everything_else_fails_closed(flext_service, flext_world):
    class Fails:
        @hookimpl
        def flext_request(self):
            raise KeyError("x")

    with pytest.raises(PluginError):
        flext_world.get(flext_world.serve(flext_service, Fails))
    assert flext_service.received == []


@pytest.mark.contract("others-fail-closed")
def test_a_configuration_makes_a_plugin_an_observer_unless_it_fails_closed(
    flext_service, flext_world
):
    class Fails:
        @hookimpl
        def flext_request(self):
            raise KeyError("x")

    class Closed(Fails):
        fail_closed = True

    service = {"base_url": flext_service.url, "plugins": {"fails": {"observer": True}}}
    assert (
        flext_world.get(
            flext_world.host({"services": {"service": service}}, fails=Fails)
        ).status_code
        == 200
    )
    service = {"base_url": flext_service.url, "plugins": {"closed": {"observer": True}}}
    with pytest.raises(ConfigError, match="fail closed"):
        flext_world.get(flext_world.host({"services": {"service": service}}, closed=Closed))


@pytest.mark.contract("events-reach-every-receiver")
def test_event_receivers_are_observers(flext_service, flext_world):
    class Deaf:
        @hookimpl
        def flext_event(self, event):
            raise KeyError("x")

    class DeafToo(Deaf):
        pass

    assert flext_world.get(flext_world.serve(flext_service, Deaf, DeafToo)).status_code == 200


# refusals


class Opens:
    stage = Stage.GUARD

    @hookimpl
    def flext_request(self):
        raise Refused("maintenance", retry_after=30)


@pytest.mark.contract("refusal-is-native", "refusal-keeps-its-class")
def test_a_refusal_is_also_the_client_librarys_transport_error(flext_service, flext_world):
    host = flext_world.serve(flext_service, Opens)

    for kind in (Refused, flext_world.lib.TransportError, FlextError):
        with pytest.raises(kind) as caught:
            flext_world.get(host)
    error = caught.value

    assert str(error) == "service: opens: maintenance"
    assert error.retry_after == 30
    assert type(error).__name__ == "Refused"
    assert str(error.request.url) == f"{flext_service.url}/"
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert isinstance(twin, Refused)
        assert isinstance(twin, flext_world.lib.TransportError)
        assert str(twin) == str(error)
        assert (twin.retry_after, twin.plugin, twin.service) == (30, "opens", "service")
    assert flext_service.received == []


@pytest.mark.contract("refusal-keeps-its-class")
def test_a_refusal_that_says_nothing_is_still_a_refusal(flext_service, flext_world):
    class Mute(Refused):
        def __init__(self, *, limit):
            self.limit = limit

    class Refuses:
        @hookimpl
        def flext_request(self):
            raise Mute(limit=3)

    with pytest.raises(Refused, match="service: refuses: Mute") as caught:
        flext_world.get(flext_world.serve(flext_service, Refuses))
    assert (caught.value.limit, caught.value.retry_after) == (3, None)


@pytest.mark.contract("deadline-is-nobodys-failure")
def test_a_deadline_is_also_the_client_librarys_time_out(flext_service, flext_world):
    class Waits:
        @hookimpl
        async def flext_request(self, connection):
            await connection.sleep(30)

    host = flext_world.serve(flext_service, Waits)
    with options(deadline=0.05), pytest.raises(DeadlineExceeded) as caught:
        flext_world.get(host)

    assert isinstance(caught.value, flext_world.lib.TimeoutException)


@pytest.mark.contract("refusal-keeps-its-class")
def test_a_subclass_keeps_its_name_and_facts(flext_service, flext_world):
    from flext_plugins import Refused

    class Raises:
        @hookimpl
        def flext_request(self):
            raise FullHouse(7)

    with pytest.raises(FullHouse) as caught:
        flext_world.get(flext_world.serve(flext_service, Raises))

    assert caught.value.guests == 7
    assert isinstance(caught.value, flext_world.lib.TransportError)
    assert pickle.loads(pickle.dumps(caught.value)).guests == 7
    assert isinstance(caught.value, Refused)


class FullHouse(Refused):
    def __init__(self, guests):
        super().__init__("full house")
        self.args = (guests,)
        self.guests = guests


# streaming


@pytest.mark.contract("answers-stream")
def test_the_chain_returns_at_the_headers_and_buffers_nothing(flext_service, flext_httpx_world):
    class Passes:
        @hookimpl
        async def flext_exchange(self, request, send):
            return await send(request)

    flext_service.answer = lambda _: Answer(body=b"x" * 1_000_000, cut=100_000)
    host = flext_httpx_world.serve(flext_service, Passes)

    def stream():
        with flext_httpx_world.connect(host) as client, client.stream("GET", "/") as response:
            return next(response.iter_bytes(1000))

    async def astream():
        async with (
            flext_httpx_world.aconnect(host) as client,
            client.stream("GET", "/") as response,
        ):
            return await anext(aiter(response.aiter_bytes(1000)))

    assert (
        flext_httpx_world.run(astream if flext_httpx_world.asynchronous else stream) == b"x" * 1000
    )


# opening is all or nothing


def provider(name, closed, *, fails=False, close_fails=False):
    class Provides:
        @hookimpl
        async def flext_connect(self, connection):
            if fails:
                raise KeyError(SECRET)

            async def aclose():
                closed.append(name)
                if close_fails:
                    raise ValueError(name)

            def close():
                closed.append(name)
                if close_fails:
                    raise ValueError(name)

            closer = aclose if connection.asynchronous else close
            connection.provide(str, name, name=name, close=closer)

    Provides.__name__ = name
    return Provides


@pytest.mark.contract("opening-is-all-or-nothing")
def test_if_the_third_plugin_fails_what_the_first_two_provided_is_closed(
    flext_service, flext_world
):
    closed = []
    plugins = [provider("a", closed), provider("b", closed), provider("c", closed, fails=True)]
    host = flext_world.serve(flext_service, *plugins)

    for _ in range(2):  # nothing half-open is left behind
        with pytest.raises(PluginError, match="c: flext_connect raised KeyError"):
            flext_world.get(host)

    assert closed == ["b", "a", "b", "a"]
    assert flext_service.received == []


@pytest.mark.contract("closing-runs-everything")
def test_close_runs_everything_in_reverse_and_reports_all_failures(flext_service, flext_world):
    closed = []
    plugins = [
        provider("a", closed, close_fails=True),
        provider("b", closed),
        provider("c", closed, close_fails=True),
    ]
    host = flext_world.serve(flext_service, *plugins)
    flext_world.get(host)

    with pytest.raises(ExceptionGroup) as caught:
        flext_world.close(host)

    assert closed == ["c", "b", "a"]
    told = caught.value.exceptions[0].exceptions
    assert [str(each) for each in told] == ["c", "a"]
    flext_world.close(host)  # idempotent
    assert closed == ["c", "b", "a"]


@pytest.mark.contract("opens-once")
def test_a_connection_opens_once_for_all_who_come_at_the_same_time(flext_service, flext_world):
    opened = []

    class Opens:
        @hookimpl
        async def flext_connect(self, connection):
            await connection.sleep(0.05)
            opened.append(connection)

    host = flext_world.serve(flext_service, Opens)
    flext_world.all([flext_world.sender(host, "GET", "/")] * 8)

    assert len(opened) == 1


@pytest.mark.contract("closed-host-refuses")
def test_what_is_opened_while_the_host_closes_is_closed_too(flext_service, flext_world):
    opened, closed = threading.Event(), []

    class Slow:
        @hookimpl
        async def flext_connect(self, connection):
            async def aclose():
                closed.append("resource")

            opened.set()
            await connection.run(time.sleep, 0.2)
            closer = aclose if connection.asynchronous else lambda: closed.append("resource")
            connection.provide(str, "x", close=closer)

    host = flext_world.serve(flext_service, Slow)

    def close():
        opened.wait(5)
        host.close()

    async def aclose():
        while not opened.is_set():
            await asyncio.sleep(0.005)
        await host.aclose()

    refused, _ = flext_world.all(
        [flext_world.sender(host, "GET", "/"), aclose if flext_world.asynchronous else close]
    )

    assert isinstance(refused, Refused)
    assert closed == ["resource"]


@pytest.mark.contract("closed-host-refuses")
def test_a_request_under_way_brings_no_pool_back(flext_service, flext_world):
    sent = threading.Event()

    class Again:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            response = await send(request)
            await connection.close(response)
            sent.set()
            await connection.run(time.sleep, 0.2)
            return await send(request)

    host = flext_world.serve(flext_service, Again)

    def close():
        sent.wait(5)
        host.close()

    async def aclose():
        while not sent.is_set():
            await asyncio.sleep(0.005)
        await host.aclose()

    refused, _ = flext_world.all(
        [flext_world.sender(host, "GET", "/"), aclose if flext_world.asynchronous else close]
    )

    assert isinstance(refused, Refused)
    assert len(flext_service.received) == 1


@pytest.mark.contract("closed-host-refuses")
def test_a_closed_host_refuses(flext_service, flext_httpx_world):
    host = flext_httpx_world.serve(flext_service)
    transport = host.transport(
        "service",
        flext_httpx_world.lib.AsyncBaseTransport
        if flext_httpx_world.asynchronous
        else flext_httpx_world.lib.BaseTransport,
    )
    flext_httpx_world.close(host)

    def send():
        return flext_httpx_world.lib.Client(transport=transport).get(flext_service.url)

    async def asend():
        return await flext_httpx_world.lib.AsyncClient(transport=transport).get(flext_service.url)

    with pytest.raises(Refused, match="closed"):
        flext_httpx_world.run(asend if flext_httpx_world.asynchronous else send)


# every response and error carries the call


@pytest.mark.contract("call-on-everything", "refusal-is-told")
def test_every_response_and_every_error_carries_the_call(flext_service, flext_world):
    host = flext_world.serve(flext_service, Marks)
    with options(route="/orders/{id}", user="ana", correlation_id="c-1", deadline=20):
        call = flext_world.get(host, "/orders/7").extensions["flext_plugins.call"]
    assert (call.service, call.route, call.user) == ("service", "/orders/{id}", "ana")
    assert call.correlation_id == "c-1"
    assert 15 < call.remaining() <= 20
    assert call.answered_by is None

    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError) as native:
        flext_world.get(host)
    assert isinstance(native.value.flext_call, Call)

    with pytest.raises(Refused) as ours:
        flext_world.get(flext_world.serve(flext_service, Opens))
    assert isinstance(ours.value.call, Call)
    assert ours.value.call.answered_by == "opens"


@pytest.mark.contract("options-nest")
def test_options_nest_and_refuse_what_they_do_not_know():
    with pytest.raises(TypeError, match="tenant"):
        options(tenant="x")
    with pytest.raises(ValueError, match="positive"), options(deadline=0):
        pass


@pytest.mark.contract("options-nest")
def test_options_nest_key_by_key(flext_service, flext_world):
    host = flext_world.serve(flext_service)
    with options(user="ana", route="/a"), options(route="/b"):
        call = flext_world.get(host).extensions["flext_plugins.call"]
    assert (call.user, call.route) == ("ana", "/b")


@pytest.mark.contract("chain-is-the-transport")
def test_a_transport_goes_into_a_client_of_ones_own(flext_service, flext_httpx_world):
    host = flext_httpx_world.serve(flext_service, Marks)

    def send():
        with flext_httpx_world.lib.Client(
            transport=host.transport("service", flext_httpx_world.lib.BaseTransport)
        ) as client:
            return client.get(flext_service.url)

    async def asend():
        transport = host.transport("service", flext_httpx_world.lib.AsyncBaseTransport)
        async with flext_httpx_world.lib.AsyncClient(transport=transport) as client:
            return await client.get(flext_service.url)

    response = flext_httpx_world.run(asend if flext_httpx_world.asynchronous else send)

    assert response.json()["headers"]["x-api-key"] == SECRET
    assert "x-api-key" not in response.request.headers


def test_a_transport_class_is_known_also_when_somebody_renamed_its_module(
    flext_service, flext_httpx_world, monkeypatch
):
    """As importing openai does."""
    host = flext_httpx_world.serve(flext_service, Marks)
    for kind in (flext_httpx_world.lib.BaseTransport, flext_httpx_world.lib.AsyncBaseTransport):
        monkeypatch.setattr(kind, "__module__", "openai")
        assert isinstance(host.transport("service", kind), kind)


@pytest.mark.contract("client-keeps-its-request")
def test_a_transport_alone_gives_the_callers_request_back(flext_service, flext_httpx_world):
    host = flext_httpx_world.serve(flext_service, Marks)
    request = flext_httpx_world.lib.Request("GET", flext_service.url)

    def send():
        return host.transport("service", flext_httpx_world.lib.BaseTransport).handle_request(
            request
        )

    async def asend():
        transport = host.transport("service", flext_httpx_world.lib.AsyncBaseTransport)
        return await transport.handle_async_request(request)

    response = flext_httpx_world.run(asend if flext_httpx_world.asynchronous else send)

    assert response.request is request

    async def aclose():
        await response.aclose()

    flext_httpx_world.run(aclose if flext_httpx_world.asynchronous else response.close)


def test_a_wrong_client_class_is_told_what_to_call(flext_service, flext_httpx_world):
    host = flext_httpx_world.serve(flext_service)
    with pytest.raises(ConfigError, match=r"host\.aconnect"):
        host.connect("service", flext_httpx_world.lib.AsyncClient)
    with pytest.raises(ConfigError, match="expected a client"):
        host.connect("service", dict)
    with pytest.raises(ConfigError, match="base_url"):
        host.connect("service", base_url="http://x")
    with pytest.raises(ConfigError, match="BaseTransport"):
        host.transport("service", flext_httpx_world.lib.Client)


@pytest.mark.contract("errors-show-no-secret")
def test_tracebacks_show_no_credential(flext_service, flext_world):
    host = flext_world.serve(flext_service, Marks, headers={"X-Other": SECRET})
    flext_service.answer = lambda _: Answer(reset=True)
    with pytest.raises(flext_world.lib.ReadError) as caught:
        flext_world.get(host)

    assert SECRET not in "".join(traceback.format_exception(caught.value))
