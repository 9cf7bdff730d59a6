"""Certificates that change on disk hold for each new connection, without a new host."""

import asyncio
import gc
import os
import shutil
import socket
import ssl
import threading
import time
import weakref
from contextlib import suppress

import pytest
from cryptography import x509
from flext_plugins_devstack.certificates import authority

from flext_plugins._clients import tls
from flext_plugins._clients.tls import context_of
from flext_plugins._logging import Occasions
from flext_plugins.testing import World

STAYS = "what was read before stays in use"
ASYNC = ("httpx async", "httpx2 async")
WORLDS = [
    *((name, "default") for name in (*ASYNC, "httpx sync", "httpx2 sync", "requests sync")),
    *((name, "aiohttp") for name in ASYNC),
]


@pytest.fixture(params=WORLDS, ids=[" over ".join(each) for each in WORLDS])
def world(request, monkeypatch):
    monkeypatch.setattr(tls, "SECOND", 0.01)
    with World(*request.param) as world:
        yield world


class Server:
    """Demands a client certificate, answers its serial number, and hangs up."""

    def __init__(self, ca):
        self.prove(ca)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def prove(self, ca, *others):
        """Show the certificate of `ca` from now on; take those of its clients, and of others."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca.server)
        for each in (ca, *others):
            context.load_verify_locations(each.path)
        context.verify_mode = ssl.CERT_REQUIRED
        self._context = context

    def _run(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(5)
            with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as peer:
                serial = b"%d" % int(peer.getpeercert()["serialNumber"], 16)
                peer.recv(65536)
                head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                peer.sendall(head % len(serial) + serial)
            plain.close()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def old(tmp_path):
    return authority(tmp_path / "old")


@pytest.fixture
def new(tmp_path):
    return authority(tmp_path / "new")


@pytest.fixture
def server(old, new):
    server = Server(old)
    server.prove(old, new)
    yield server
    server.close()


def serial(ca):
    return str(x509.load_pem_x509_certificate(ca.client.read_bytes()).serial_number)


def parts(ca):
    """A client's certificate, and its key."""
    certificate, begin, key = ca.client.read_text().partition("-----BEGIN PRIVATE KEY")
    return certificate, begin + key


def replace(path, text):
    """Write a file as programs do that care: beside it first."""
    beside = path.with_suffix(".beside")
    beside.write_text(text)
    beside.replace(path)


def pair(folder, ca):
    """Write certificate and key into two files; their paths."""
    paths = folder / "tls.crt", folder / "tls.key"
    for path, text in zip(paths, parts(ca), strict=True):
        replace(path, text)
    return paths


def shown(world, host):
    """The serial number of the certificate that the next connection shows."""
    time.sleep(0.02)  # until it is time to look
    return world.get(host).text


def of(world, server, verify, cert):
    cert = str(cert) if not isinstance(cert, tuple) else tuple(map(str, cert))
    service = {"base_url": server.url, "verify": str(verify), "cert": cert}
    return world.host({"services": {"service": service}})


@pytest.mark.contract("files-of-tls-are-followed")
def test_a_new_client_certificate_is_shown_by_the_next_connection(
    world, server, old, new, tmp_path
):
    file = tmp_path / "client.pem"
    shutil.copy(old.client, file)
    host = of(world, server, old.path, file)
    assert shown(world, host) == serial(old)
    replace(file, new.client.read_text())
    assert shown(world, host) == serial(new)


@pytest.mark.contract("files-of-tls-are-followed")
def test_new_authorities_are_trusted_and_those_before_are_not(world, server, old, new, tmp_path):
    ca = tmp_path / "ca.pem"
    shutil.copy(old.path, ca)
    host = of(world, server, ca, old.client)
    assert shown(world, host) == serial(old)
    replace(ca, new.path.read_text())
    time.sleep(0.02)
    with pytest.raises((world.lib.TransportError, ssl.SSLError)):
        world.get(host)
    server.prove(new, old)
    assert shown(world, host) == serial(old)


@pytest.mark.contract("files-of-tls-are-followed")
def test_a_folder_that_is_swapped_as_kubernetes_does_it_is_followed(
    world, server, old, new, tmp_path
):
    for name, ca in (("..2026_1", old), ("..2026_2", new)):
        (tmp_path / name).mkdir()
        pair(tmp_path / name, ca)
        shutil.copy(ca.path, tmp_path / name / "ca.crt")
        for file in (tmp_path / name).iterdir():
            os.utime(file, ns=(1, 1))
    (tmp_path / "..data").symlink_to("..2026_1")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    host = of(world, server, tmp_path / "ca.crt", (tmp_path / "tls.crt", tmp_path / "tls.key"))
    assert shown(world, host) == serial(old)
    (tmp_path / "..data_tmp").symlink_to("..2026_2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    server.prove(new)
    assert shown(world, host) == serial(new)


HASH = "3387b84d.0"
"""The name under which OpenSSL looks for our authorities: `openssl x509 -subject_hash`."""


@pytest.mark.contract("files-of-tls-are-followed")
def test_a_folder_of_authorities_is_followed(world, server, old, new, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(old.path, folder / HASH)
    host = of(world, server, folder, old.client)
    assert shown(world, host) == serial(old)
    (folder / HASH).write_text(new.path.read_text())
    server.prove(new, old)
    assert shown(world, host) == serial(old)


@pytest.mark.contract("half-written-files-wait")
def test_an_empty_folder_of_authorities_leaves_the_last_ones_in_use(
    world, server, old, tmp_path, caplog
):
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(old.path, folder / HASH)
    host = of(world, server, folder, old.client)
    assert shown(world, host) == serial(old)
    (folder / HASH).unlink()
    assert shown(world, host) == serial(old)
    assert len([each for each in caplog.messages if STAYS in each]) == 1


def half(certificate, key, new):
    replace(certificate, parts(new)[0])


def cut(certificate, key, new):
    text = parts(new)[0]
    certificate.write_text(text[: len(text) // 2])


def empty(certificate, key, new):
    key.write_text("")


def gone(certificate, key, new):
    key.unlink()


@pytest.mark.parametrize("break_it", [half, cut, empty, gone])
@pytest.mark.contract("half-written-files-wait")
def test_a_pair_that_is_not_whole_leaves_the_last_one_in_use(
    world, server, old, new, tmp_path, caplog, break_it
):
    host = of(world, server, old.path, pair(tmp_path, old))
    assert shown(world, host) == serial(old)
    break_it(tmp_path / "tls.crt", tmp_path / "tls.key", new)
    assert [shown(world, host) for _ in range(3)] == [serial(old)] * 3
    (message,) = [each for each in caplog.messages if STAYS in each]
    assert message.startswith(f"{old.path}, {tmp_path}/tls.crt, {tmp_path}/tls.key: ")
    pair(tmp_path, new)
    assert shown(world, host) == serial(new)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nMIIB"], ids=["empty", "cut"])
@pytest.mark.contract("half-written-files-wait")
def test_authorities_that_are_cut_off_leave_the_last_ones_in_use(
    world, server, old, tmp_path, caplog, text
):
    ca = tmp_path / "ca.pem"
    shutil.copy(old.path, ca)
    host = of(world, server, ca, old.client)
    assert shown(world, host) == serial(old)
    ca.write_text((old.path.read_text() if text else "") + text)
    assert shown(world, host) == serial(old)
    assert len([each for each in caplog.messages if STAYS in each]) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that lets its reader wait")
@pytest.mark.parametrize("transport", ["default", "aiohttp"])
@pytest.mark.parametrize("name", ASYNC)
@pytest.mark.contract("files-of-tls-are-followed")
def test_an_event_loop_goes_on_while_files_are_read(
    server, old, new, tmp_path, monkeypatch, name, transport
):
    """The new key comes out of a pipe, into which nobody writes for a while, and only once."""
    monkeypatch.setattr(tls, "SECOND", 0.5)
    certificate, key = pair(tmp_path, old)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def longest_stop(asking):
        longest = 0.0
        while not asking.done():
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)
        return longest

    async def rotate(host):
        async with host, host.aconnect("service", world.lib.AsyncClient) as client:
            assert (await client.get("/")).text == serial(old)
            replace(certificate, parts(new)[0])
            pipe.rename(key)
            await asyncio.sleep(0.55)
            writing = threading.Timer(0.5, key.write_text, [parts(new)[1]])
            writing.start()
            asking = asyncio.ensure_future(client.get("/"))
            assert await longest_stop(asking) < 0.3
            assert (await asking).text == serial(new)
            writing.join()

    with World(name, transport) as world:
        asyncio.run(rotate(of(world, server, old.path, (certificate, key))))


def test_files_are_looked_at_once_a_second_and_old_contexts_go(old, tmp_path, monkeypatch):
    made, file = [], tmp_path / "client.pem"
    shutil.copy(old.client, file)

    def default(verify):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.append(weakref.ref(context))
        return context

    context = context_of(default, True, str(file), Occasions(60))
    os.utime(file, (1, 1))
    context.look()
    assert len(made) == 1

    monkeypatch.setattr(tls, "SECOND", 0.0)
    context._next_look = 0.0  # a second later
    for number in range(1_000):
        os.utime(file, (number + 2, number + 2))
        context.look()
    gc.collect()
    assert len(made) == 1_001
    assert len([each for each in made if each() is not None]) == 1


def test_without_files_the_librarys_own_context_is_used_as_it_is():
    made = ssl.create_default_context()
    assert context_of(lambda verify: made, True, None, Occasions(60)) is made
