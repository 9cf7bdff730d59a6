"""Calls of an event loop to other origins share a pool, which none of them spoils."""

import asyncio
from contextlib import suppress

import pytest
from test_socks import Socks, read
from trickle import saying, serving

from flext_plugins import DeadlineExceeded, options

pytestmark = pytest.mark.once

ELSEWHERE = "elsewhere.example"


def by(world, proxy, **more):
    """A host whose service's client speaks to one origin at a time, by way of `proxy`."""
    service = {"base_url": "http://service.example", "max_connections": 1, "timeout": 5, **more}
    return world.host({"services": {"service": {**service, "proxy": proxy}}})


def until_gone(peer, gone):
    """Wait for the client's end of a connection to be closed."""
    peer.settimeout(5)
    with suppress(OSError):
        while peer.recv(65536):
            pass
        gone.append(peer)


async def times_out(client, url):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.get(url)


async def runs_late(client, url):
    with options(deadline=0.2), pytest.raises(DeadlineExceeded):
        await client.get(url)


async def eventually(something):
    """Wait until there are two of `something`."""
    async with asyncio.timeout(5):
        while len(something) < 2:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("ends", [times_out, runs_late])
@pytest.mark.contract("cancellation-unwinds", "deadline-frees")
def test_who_ends_while_a_socks_proxy_is_spoken_with_leaves_the_pool_as_it_was(
    flext_async_world, flext_service, ends
):
    socks, gone = Socks(flext_service.port), []

    def stalls_at_first(peer, over):
        if len(gone) < 2:
            read(peer, 3)
            until_gone(peer, gone)
        else:
            socks(peer, over)

    async def send():
        async with flext_async_world.aconnect(host, "service") as client:
            for _ in range(2):
                await ends(client, f"http://{ELSEWHERE}/")
            await eventually(gone)
            assert (await client.get(f"http://{ELSEWHERE}/there")).status_code == 200

    with serving(stalls_at_first) as port:
        host = by(flext_async_world, f"socks5h://127.0.0.1:{port}")
        flext_async_world.run(send)
    assert [each.path for each in flext_service.received] == ["/there"]


@pytest.mark.parametrize("ends", [times_out, runs_late])
@pytest.mark.contract("cancellation-unwinds", "deadline-frees")
def test_who_ends_in_a_handshake_leaves_no_connection_behind(
    flext_async_world, flext_elsewhere, ends
):
    gone = []

    async def send():
        async with flext_async_world.aconnect(host, "service") as client:
            async with client.stream("GET", f"{flext_elsewhere.url}/"):  # over the same pool
                await ends(client, f"https://127.0.0.1:{port}/")
            await ends(client, f"https://127.0.0.1:{port}/")
            await eventually(gone)

    with serving(lambda peer, _: until_gone(peer, gone)) as port:
        host = by(flext_async_world, proxy=False, max_connections=2)
        flext_async_world.run(send)


def a_tunnel(then):
    """A proxy that makes tunnels, at the other end of which is what `then` does."""

    def proxy(peer, _):
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        then(peer)

    return serving(proxy)


@pytest.mark.parametrize("ends", [times_out, runs_late])
@pytest.mark.contract("cancellation-unwinds", "deadline-frees")
def test_who_ends_in_a_handshake_through_a_tunnel_leaves_the_pool_as_it_was(
    flext_async_world, ends
):
    gone = []

    async def send():
        async with flext_async_world.aconnect(host, "service") as client:
            for _ in range(2):  # the second does not wait for the first one's place
                await ends(client, f"https://{ELSEWHERE}/")
            await eventually(gone)

    with a_tunnel(lambda peer: until_gone(peer, gone)) as port:
        host = by(flext_async_world, f"http://127.0.0.1:{port}")
        flext_async_world.run(send)


def test_a_handshake_that_fails_through_a_tunnel_leaves_the_pool_as_it_was(flext_async_world):
    async def send():
        async with flext_async_world.aconnect(host, "service") as client:
            for _ in range(3):
                with pytest.raises(flext_async_world.lib.ConnectError):
                    await client.get(f"https://{ELSEWHERE}/")

    def junk(peer):
        peer.recv(65536)
        peer.sendall(b"no TLS at all")

    with a_tunnel(junk) as port:
        host = by(flext_async_world, f"http://127.0.0.1:{port}", timeout=1)
        flext_async_world.run(send)


def test_a_call_that_fails_takes_no_connection_from_the_others(flext_async_world, flext_elsewhere):
    async def send():
        async with flext_async_world.aconnect(host, "service") as client:
            async with client.stream("GET", f"{flext_elsewhere.url}/whole") as answer:
                with pytest.raises(flext_async_world.lib.TransportError):
                    await client.get(f"http://127.0.0.1:{port}/")
                await answer.aread()
            assert (await client.get(f"{flext_elsewhere.url}/next")).status_code == 200

    with saying(b"no HTTP at all\r\n\r\n") as port:
        host = by(flext_async_world, proxy=False, max_connections=2)
        flext_async_world.run(send)
    assert [each.path for each in flext_elsewhere.received] == ["/whole", "/next"]
