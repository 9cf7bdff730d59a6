"""A service's calls go through a SOCKS proxy in each client library."""

import asyncio
import socket
import threading
import time
from contextlib import suppress

import httpx
import httpx2
import pytest
import requests
from noting import noting
from test_secrets import revealing
from trickle import serving

from flext_plugins import DeadlineExceeded, Failure, options

pytestmark = pytest.mark.once

WIRE_ERRORS = httpx.TransportError, httpx2.TransportError, requests.ConnectionError
USER, PASSWORD = "jos\xe9", "p@ss:w\u0440"
LOGIN = "jos%C3%A9:p%40ss%3Aw%D1%80@"
GRANTED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00"


def read(peer, size):
    """So many bytes."""
    data = b""
    while len(data) < size:
        data += peer.recv(size - len(data)) or b"\0" * size
    return data


def login(peer):
    """What the client says who it is, as RFC 1929 has it."""
    peer.sendall(b"\x05\x02")
    read(peer, 1)
    return tuple(read(peer, read(peer, 1)[0]).decode() for _ in range(2))


def target(peer):
    """Where the client wants to go, as RFC 1928 has it: what kind of address, and which."""
    kind = read(peer, 4)[3]
    host = read(peer, 4) if kind == 1 else read(peer, read(peer, 1)[0])
    return ("IPv4" if kind == 1 else "name"), host, int.from_bytes(read(peer, 2), "big")


def pump(source, sink):
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


class Socks:
    """A SOCKS proxy that takes everybody to `port` of this machine, and notes what it was told."""

    def __init__(self, port, password=PASSWORD):
        self.port, self.password = port, password
        self.users, self.targets = [], []

    def __call__(self, peer, _):
        methods = read(peer, read(peer, 2)[1])
        if b"\x02" in methods:
            user = login(peer)
            self.users.append(user)
            peer.sendall(b"\x01\x00" if user[1] == self.password else b"\x01\x01")
        else:
            peer.sendall(b"\x05\x00")
        self.targets.append(target(peer))
        with socket.create_connection(("127.0.0.1", self.port)) as service:
            peer.sendall(GRANTED)
            back = threading.Thread(target=pump, args=(service, peer))
            back.start()
            pump(peer, service)
            back.join()


def by(world, port, login="", **more):
    """A host whose service is reached by the SOCKS proxy at `port`."""
    proxy = f"socks5h://{login}127.0.0.1:{port}"
    service = {"base_url": "http://service.example:81", "proxy": proxy, **more}
    return world.host({"services": {"service": service}})


@pytest.mark.parametrize("who", ["somebody", "nobody"])
def test_a_call_goes_through_it(flext_world, flext_service, who):
    socks = Socks(flext_service.port)
    with serving(socks) as port:
        host = by(flext_world, port, LOGIN if who == "somebody" else "")
        assert flext_world.get(host, "/a").status_code == 200
    assert socks.users == ([(USER, PASSWORD)] if who == "somebody" else [])
    assert socks.targets == [("name", b"service.example", 81)]
    assert [each.path for each in flext_service.received] == ["/a"]


def refusing(peer, _):
    read(peer, read(peer, 2)[1])
    peer.sendall(b"\x05\x00")
    read(peer, 4)
    peer.sendall(b"\x05\x05" + GRANTED[2:])


def junk(peer, _):
    peer.recv(3)
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def hangs_up(peer, _):
    peer.recv(3)


def stalls(peer, over):
    peer.recv(3)
    over.wait(10)


BREAKS = {
    "it does not know the user": Socks(9, "another"),
    "it does not go there": refusing,
    "it speaks HTTP": junk,
    "it hangs up": hangs_up,
    "it stalls": stalls,
}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.contract("connect-means-unsent", "frames-hold-no-secret")
def test_what_goes_wrong_there_is_a_failure_to_connect(flext_world, how):
    failures = []

    with serving(BREAKS[how]) as port:
        host = by(flext_world, port, LOGIN, plugins={"looks": {}}, timeout=0.5)
        host.register(noting(failures), "looks")
        with pytest.raises(WIRE_ERRORS) as caught:
            flext_world.get(host)
    assert failures == [Failure.CONNECT]
    assert [*revealing(caught.value, PASSWORD)] == []


@pytest.mark.contract("deadline-ends-a-flood")
def test_a_call_ends_with_its_deadline_though_the_proxy_trickles(flext_world):
    def trickles(peer, over):
        read(peer, read(peer, 2)[1])
        peer.sendall(b"\x05\x00")
        read(peer, 4)
        peer.sendall(b"\x05\x00\x00\x03\xff")
        while not over.wait(0.05):
            peer.sendall(b"x")

    with serving(trickles) as port:
        host = by(flext_world, port)
        started = time.monotonic()
        with options(deadline=0.3), pytest.raises(DeadlineExceeded):
            flext_world.get(host)
        assert time.monotonic() - started < 5


def test_who_is_cancelled_there_leaves_no_connection_behind(flext_async_world):
    over = threading.Event()

    def waits(peer, _):
        read(peer, 3)
        if peer.recv(1) == b"":
            over.set()

    async def send():
        async with flext_async_world.aconnect(host, "service") as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.get("/")

    with serving(waits) as port:
        host = by(flext_async_world, port, timeout=60)
        flext_async_world.run(send)
        assert over.wait(5)


def test_a_trace_of_the_callers_own_is_told_of_each_step(flext_service, flext_world):
    if flext_world.name == "requests":
        pytest.skip("it has none")
    steps = []

    def trace(event, _):
        steps.append(event)

    async def atrace(event, _):
        steps.append(event)

    with serving(Socks(flext_service.port)) as port:
        extensions = {"trace": atrace if flext_world.asynchronous else trace}
        flext_world.get(by(flext_world, port), extensions=extensions)
    assert "socks.setup_socks5_connection.complete" in steps


@pytest.mark.contract("connect-means-unsent")
def test_one_that_is_not_there_is_a_failure_to_connect(flext_world):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(WIRE_ERRORS) as caught:
        flext_world.get(by(flext_world, port))
    assert isinstance(caught.value, (flext_world.lib.ConnectError, requests.ConnectionError))
