"""A service with `transport = "aiohttp"` is spoken to over aiohttp's connections.

The rules of the contract hold there as well: `make test-aiohttp` shows them in these worlds. Here is
what aiohttp would do otherwise, and what it cannot do.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
import time

import aiohttp
import anyio
import httpx
import httpx2
import pytest
import requests
import uvloop
from flext_plugins_devstack.certificates import authority

from flext_plugins import ConfigError, Failure, Host, Refused, hookimpl, options
from flext_plugins.events import BodyEnded, HopFinished
from flext_plugins.testing import Answer, World

AWKWARD = [
    *("/", "//x", "/a//b", "/a/../b", "/a/./b", "/x/%2e%2e/admin", "/a%2fb", "/a%2Fb", "/%zz"),
    *("/a\\b", "/^`", "/é", "/%41%7E", "/a;b=c", "/a:b@c", "/*", "/a?b?c", "/a?x=[1]|2"),
    *("/a?q", "/a?q=%20+é", "/a?a=b&a=c", "/a?u=http://b/c", "/a?x=%2e%2E", "/a#b", "/a?", "/a?#b"),
]
"""Paths that libraries encode or simplify each in their own way."""
UNSENDABLE = {"/a?", "/a?#b"}
"""Those of them that aiohttp cannot send as httpx would."""


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def world(request):
    with World(f"{request.param.__name__} async", "aiohttp") as world:
        yield world


class Server:
    """Answers each connection with what a function does with the socket, in a thread."""

    def __init__(self, serve):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self._serve = serve
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            with peer:
                self._serve(peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def head(peer):
    """What stands before the body of a request."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += peer.recv(65536)
    return received.partition(b"\r\n\r\n")[0]


def hang_up(peer):
    head(peer)


@pytest.mark.parametrize("target", AWKWARD)
@pytest.mark.contract("over-aiohttp")
def test_the_request_line_is_what_the_library_sends_or_the_request_is_refused(
    flext_service, world, target
):
    plain = World(f"{world.name} async")
    with plain:
        plain.get(plain.serve(flext_service), target)
    (expected,) = flext_service.paths()
    host = world.serve(flext_service)
    if target not in UNSENDABLE:
        world.get(host, target)
        assert flext_service.paths() == [expected] * 2
        return
    with pytest.raises(world.lib.LocalProtocolError, match="aiohttp cannot send '/a.' as it is"):
        world.get(host, target)
    assert len(flext_service.received) == 1


@pytest.mark.contract("over-aiohttp")
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "POST"])
def test_nothing_is_sent_again_behind_the_plugins_backs(world, method):
    """Of aiohttp's own accord methods that are idempotent are, on a connection that broke."""
    with Server(hang_up) as server:
        host = world.host({"services": {"service": {"base_url": server.url}}})
        with pytest.raises(world.lib.RemoteProtocolError, match="Server disconnected"):
            world.send(host, method, "/")
        assert server.accepted == 1


@pytest.mark.contract("over-aiohttp")
def test_headers_are_the_clients_in_its_order_and_case(world):
    heads = []

    def serve(peer):
        heads.append(head(peer))
        peer.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    headers = [("X-b", "1"), ("x-A", "2"), ("X-b", "\u00fc".encode()), ("Host", "other")]
    with Server(serve) as server:
        for transport in "default", "aiohttp":
            service = {"base_url": server.url, "transport": transport}
            host = world.host({"services": {"service": service}})
            with options(correlation_id="c-1"):
                world.send(host, "DELETE", "/", headers=headers)
    first, second = heads
    assert b"x-A: 2" in first
    assert first.split(b"\r\n") == second.split(b"\r\n")


def test_a_header_that_is_not_utf_8_is_refused_without_its_value(flext_service, world):
    host = world.serve(flext_service)
    with pytest.raises(world.lib.LocalProtocolError, match="headers in UTF-8 alone") as caught:
        world.get(host, headers={"X-Name": "na\u00efve".encode("latin-1")})
    assert "ve" not in str(caught.value).replace("have", "")
    assert flext_service.received == []


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_bodies_of_all_sizes_arrive_whole(flext_service, world, size):
    flext_service.answer = Answer()
    content = bytes(size)
    world.send(world.serve(flext_service), "POST", "/", content=content)
    world.send(world.serve(flext_service), "POST", "/", content=world.upload(content, b"", b"end"))
    bytes_, stream = flext_service.received
    assert (bytes_.body, bytes_.headers["content-length"]) == (content, str(size))
    assert (stream.body, stream.headers["transfer-encoding"]) == (content + b"end", "chunked")


@pytest.mark.parametrize("length", ["1", "5"])
def test_a_body_that_is_not_as_long_as_was_said_fails(flext_service, world, length):
    flext_service.answer = Answer()
    with pytest.raises(world.lib.LocalProtocolError, match="declared Content-Length"):
        world.send(
            world.serve(flext_service),
            "POST",
            "/",
            content=world.upload(b"abc"),
            headers={"Content-Length": length},
        )
    assert flext_service.received == []


def test_what_a_body_raises_is_what_the_caller_gets(flext_service, world):
    async def broken():
        yield b"begun"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="^the disk is gone"):
        world.send(world.serve(flext_service), "POST", "/", content=broken())


def test_so_it_is_after_the_head_of_an_answer(world):
    answered, failures = asyncio.Event(), []

    async def broken():
        yield b"begun"
        await answered.wait()
        raise OSError("the disk is gone")

    class Looks:
        @hookimpl
        def flext_event(self, event, connection):
            if isinstance(event, HopFinished):
                answered.set()
            if isinstance(event, BodyEnded):
                failures.append(connection.failure(event.error))

    def answer(peer):
        head(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        while peer.recv(65536):
            pass

    with Server(answer) as server:
        service = {"base_url": server.url, "transport": "aiohttp", "plugins": {"looks": {}}}
        host = world.host({"services": {"service": {**service, "timeout": 600}}})
        host.register(Looks, "looks")
        with pytest.raises(OSError, match="^the disk is gone"):
            world.send(host, "POST", "/", content=broken())
    assert failures == [Failure.CALLER]


def test_a_service_that_reads_nothing_meets_the_time_out_for_writing(world):
    done = threading.Event()
    with Server(lambda peer: done.wait(10)) as server:
        service = {"base_url": server.url, "timeout": {"write": 0.2, "read": 20}}
        host = world.host({"services": {"service": service}})
        try:
            with pytest.raises(world.lib.WriteTimeout):
                world.send(host, "POST", "/", content=bytes(50_000_000))
        finally:
            done.set()


def test_the_time_out_for_reading_does_not_count_while_nobody_reads(flext_service, world):
    flext_service.answer = Answer(chunks=[b"one ", b"two ", b"three"], pause=0.3)
    host = world.serve(flext_service, timeout={"read": 0.5})

    async def slowly():
        async with world.aconnect(host) as client, client.stream("GET", "/") as response:
            found = []
            async for chunk in response.aiter_raw():
                found.append(chunk)
                if len(found) == 1:
                    await asyncio.sleep(0.8)
            return b"".join(found)

    assert world.run(slowly) == b"one two three"


def test_an_answer_that_comes_before_the_body_was_sent_ends_the_sending(world):
    """The connection is closed then, since the rest of the body is still to come on it."""
    sent = []

    def serve(peer):
        head(peer)
        peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        while peer.recv(65536):
            pass

    async def endless():
        while len(sent) < 1000:
            sent.append(None)
            yield bytes(1000)
            await asyncio.sleep(0.01)

    with Server(serve) as server:
        host = world.host({"services": {"service": {"base_url": server.url}}})
        answer = world.send(host, "POST", "/", content=endless())
        assert (answer.status_code, answer.text) == (413, "no")
        world.run(lambda: asyncio.sleep(0.05))
        assert len(sent) < 100
        world.close(host)


@pytest.mark.contract("over-aiohttp")
def test_failures_are_told_apart(flext_service, world):
    told = []

    class Watches:
        @hookimpl
        async def flext_exchange(self, request, connection, send):
            try:
                return await send(request)
            except Exception as error:
                told.append((type(error).__name__, connection.failure(error)))
                raise

    def fails(**service):
        host = world.serve(flext_service, Watches, **service)
        with pytest.raises(world.lib.TransportError):
            world.get(host)

    flext_service.answer = Answer(reset=True)
    fails()
    flext_service.answer = Answer(raw=b"SSH-2.0-OpenSSH\r\n\r\n")
    fails()
    flext_service.answer = Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Le")
    fails()
    flext_service.answer = Answer(delay=1)
    fails(timeout={"read": 0.1})
    fails(base_url="http://no-such-host.invalid")
    fails(base_url=flext_service.url.replace("http", "https"))
    flext_service.refuse()
    fails()
    assert told == [
        ("ReadError", Failure.READ),
        ("RemoteProtocolError", Failure.PROTOCOL),
        ("RemoteProtocolError", Failure.PROTOCOL),
        ("ReadTimeout", Failure.TIMEOUT),
        ("ConnectError", Failure.CONNECT),
        ("ConnectError", Failure.CONNECT),
        ("ConnectError", Failure.CONNECT),
    ]


def test_a_body_that_is_cut_or_reset_is_told_apart(world):
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbeg"

    def cut(peer):
        head(peer)
        peer.sendall(begun)

    def reset(peer):
        cut(peer)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def read(client):
        async with client.stream("GET", "/") as response:
            await asyncio.sleep(0.05)
            await response.aread()

    for serve, expected in (cut, "RemoteProtocolError"), (reset, "ReadError"):
        with Server(serve) as server:
            host = world.host({"services": {"service": {"base_url": server.url}}})

            async def reading(host=host):
                async with world.aconnect(host) as client:
                    await read(client)

            with pytest.raises(getattr(world.lib, expected)):
                world.run(reading)


@pytest.mark.contract("errors-show-no-secret")
def test_an_error_holds_nothing_of_aiohttps_which_have_the_headers(flext_service, world):
    class Signs:
        @hookimpl
        def flext_request(self, request):
            request.headers["Authorization"] = "Bearer s3cret"

    for answer in Answer(reset=True), Answer(raw=b"nonsense"), Answer(cut=1), Answer(delay=1):
        flext_service.answer = answer
        host = world.serve(flext_service, Signs, timeout={"read": 0.1})
        with pytest.raises(world.lib.TransportError) as caught:
            world.get(host)
        each = caught.value
        while each is not None:
            assert not isinstance(each, aiohttp.ClientError)
            assert "s3cret" not in repr(vars(each))
            each = each.__cause__ or each.__context__


@pytest.mark.contract("last-in-first-out")
def test_a_connection_that_the_service_has_closed_is_not_used_again(flext_service, world):
    """aiohttp would learn of it in a turn of the loop that has not come."""
    host = world.serve(flext_service)
    flext_service.answer = Answer(headers={"X-Closing": "soon"})
    world.get(host)
    flext_service.refuse()
    flext_service.listen()
    assert world.get(host).status_code == 200
    assert [each.socket for each in flext_service.received] == [1, 2]


def test_a_call_that_a_scope_of_anyios_cancels_leaves_no_session_open(world):
    told = []

    async def cancelled(host):
        asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
        async with world.aconnect(host) as client:
            for _ in range(3):
                with anyio.move_on_after(0.1) as scope:
                    await client.get("/")
                assert scope.cancelled_caught
                gc.collect()

    with Server(lambda peer: (head(peer), peer.recv(1))) as server:
        service = {"base_url": server.url, "max_connections": 1}
        host = world.host({"services": {"service": service}})
        world.run(lambda: cancelled(host))
    assert told == []


def test_a_call_that_is_cancelled_leaves_no_socket(world):
    closed = []

    def serve(peer):
        head(peer)
        closed.append(peer.recv(1) == b"")

    async def cancelled(host):
        async with world.aconnect(host) as client:
            for number in range(1, 4):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await client.get("/")
                await asyncio.sleep(0.05)
                assert closed == [True] * number

    with Server(serve) as server:
        service = {"base_url": server.url, "max_connections": 1}
        host = world.host({"services": {"service": service}})
        world.run(lambda: cancelled(host))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"http2": True}, "aiohttp speaks HTTP/1.1 alone; say http2 = false"),
        (
            {"proxy": "socks5://127.0.0.1:9"},
            "over aiohttp a proxy has to be http://; say proxy = false",
        ),
        (
            {"proxy": "https://proxy.example"},
            "over aiohttp a proxy has to be http://; say proxy = false",
        ),
    ],
)
@pytest.mark.contract("over-aiohttp")
def test_what_aiohttp_cannot_do_is_refused_beside_it(settings, what):
    service = {"base_url": "http://127.0.0.1", "transport": "aiohttp", **settings}
    with pytest.raises(ConfigError) as caught:
        Host({"services": {"service": service}}).check()
    assert f"services.service.transport: {what}" in str(caught.value)


@pytest.mark.contract("over-aiohttp")
def test_named_in_the_defaults_it_leaves_what_it_cannot_do_to_the_librarys_own():
    services = {"able": {}, "beyond": {"http2": True}}
    for each in services.values():
        each["base_url"] = "http://127.0.0.1"
    with Host({"defaults": {"transport": "aiohttp"}, "services": services}) as host:
        by_service = {name: host.explain(name).transports for name in services}
    over = {"httpx async": "aiohttp", "httpx2 async": "aiohttp"}
    assert by_service["able"] == {**dict.fromkeys(by_service["able"], "default"), **over}
    assert {*by_service["beyond"].values()} == {"default"}


@pytest.mark.contract("over-aiohttp")
def test_a_sync_client_of_a_service_that_names_it_is_refused():
    service = {"base_url": "http://127.0.0.1", "transport": "aiohttp"}
    with Host({"services": {"service": service}}) as host:
        for client in httpx.Client, httpx2.Client, requests.Session:
            with pytest.raises(ConfigError, match="serves httpx async, httpx2 async$"):
                host.connect("service", client)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "https://127.0.0.1:9"])
def test_another_proxy_of_the_environment_is_told(monkeypatch, world, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    host = world.host({"services": {"service": {"base_url": "http://service.example"}}})
    what = "service 'service': over aiohttp a proxy has to be http://, and the environment names"
    with pytest.raises(ConfigError, match=what):
        world.get(host)


def serve_and(then):
    """Answers a request with what is given, and does nothing else until the test is over."""
    done = threading.Event()

    def serve(peer):
        head(peer)
        peer.sendall(then)
        done.wait(20)

    return serve, done


def test_the_time_out_for_reading_holds_after_an_interim_answer(world):
    serve, done = serve_and(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    with Server(serve) as server:
        service = {"base_url": server.url, "timeout": {"read": 0.2}}
        host = world.host({"services": {"service": service}})
        started = time.monotonic()
        try:
            with pytest.raises(world.lib.ReadTimeout):
                world.get(host)
        finally:
            done.set()
        assert time.monotonic() - started < 15


@pytest.mark.parametrize("ending", ["write time-out", "cancelled", "host closed"])
def test_an_upload_that_is_given_up_leaves_its_connection_at_once(world, ending):
    """Whatever is still to be sent over it."""
    closed = []

    def serve(peer):
        head(peer)
        done.wait(20)
        peer.settimeout(5)
        try:
            while peer.recv(1 << 20):
                pass
        except OSError:
            pass
        closed.append(True)

    done = threading.Event()
    write = 0.2 if ending == "write time-out" else 20
    with Server(serve) as server:
        service = {"base_url": server.url, "timeout": {"write": write}}
        host = world.host({"services": {"service": service}})

        async def given_up():
            async with world.aconnect(host) as client:
                sending = asyncio.create_task(client.post("/", content=bytes(50_000_000)))
                await asyncio.sleep(0.4)
                if ending == "cancelled":
                    sending.cancel()
                elif ending == "host closed":
                    await asyncio.wait_for(host.aclose(), 2)
                (outcome,) = await asyncio.gather(sending, return_exceptions=True)
            return outcome

        outcome = world.run(given_up)
        done.set()
    assert closed == [True]
    expected = {"write time-out": world.lib.WriteTimeout, "cancelled": asyncio.CancelledError}
    assert isinstance(outcome, expected.get(ending, Refused))


@pytest.mark.contract("errors-show-no-secret")
def test_no_error_shows_the_address(world):
    unread, done = serve_and(b"")

    def reset(peer):
        head(peer)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    cases = [
        (hang_up, {"method": "GET"}),
        (reset, {"method": "POST", "content": bytes(50_000_000)}),
        (unread, {"method": "GET"}),
        (unread, {"method": "POST", "content": bytes(50_000_000)}),
    ]
    for serve, request in cases:
        with Server(serve) as server:
            service = {"base_url": server.url, "timeout": 0.2}
            host = world.host({"services": {"service": service}})
            with pytest.raises(world.lib.TransportError) as caught:
                world.send(host, path="/p?api_key=s3cret", **request)
            done.set()
        each = caught.value
        while each is not None:
            assert "s3cret" not in f"{each} {each!r}"
            each = each.__cause__


def test_a_body_whose_chunks_the_caller_wants_is_sent_in_chunks(flext_service, world):
    headers = {"Transfer-Encoding": "chunked"}
    flext_service.answer = Answer()
    for content in b"abc", b"":
        world.send(world.serve(flext_service), "POST", "/", content=content, headers=headers)
    assert [each.body for each in flext_service.received] == [b"abc", b""]


@pytest.mark.parametrize("header", [("X A", "1"), ("X:A", "1"), ("X-A", " 1"), ("X-A", "a\nb")])
def test_a_header_that_is_none_is_refused_before_sending(flext_service, world, header):
    with pytest.raises(world.lib.LocalProtocolError):
        world.get(world.serve(flext_service), headers=[header])
    assert flext_service.received == []


def test_many_headers_and_long_ones_are_read(flext_service, world):
    headers = {f"X-{number}": "v" for number in range(500)} | {"X-Long": "v" * 60_000}
    flext_service.answer = Answer(headers=headers)
    assert len(world.get(world.serve(flext_service)).headers["X-Long"]) == 60_000


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.contract("last-in-first-out")
def test_over_tls_a_connection_is_used_again_in_every_event_loop(tmp_path, loop):
    ca = authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.server)
    sockets = []

    async def answer(reader, writer):
        sockets.append(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except asyncio.IncompleteReadError:
            writer.close()

    async def calls():
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        service = {
            "base_url": f"https://127.0.0.1:{port}",
            "transport": "aiohttp",
            "verify": str(ca.path),
        }
        async with Host({"services": {"service": service}}) as host:
            async with host.aconnect("service", httpx2.AsyncClient) as client:
                found = [(await client.get("/")).text for _ in range(3)]
        server.close()
        return found

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(calls()) == ["ok"] * 3
    assert len(sockets) == 1
