"""However a service keeps sending, a call ends with its deadline; and no other call with it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings

import httpx
import pytest
import requests
from flext_plugins_devstack.certificates import authority
from floods import FLOODS, OK, RECORD, flooding, over_tls, sipping, tunnelling
from forks import exit_code
from trickle import serving

from flext_plugins import DeadlineExceeded, Host, options
from flext_plugins._clients.watchdog import Watchdog
from flext_plugins.testing import Answer

DEADLINE = 0.2
SWITCHES = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
NAME = "flext-plugins deadlines"


def ends(world, host, path="/", method="GET", deadline=DEADLINE, **given):
    """The error of a call, which does not take seconds longer than it may."""
    started = time.monotonic()
    with options(deadline=deadline), pytest.raises(DeadlineExceeded) as caught:
        world.send(host, method, path, **given)
    assert time.monotonic() - started < deadline + 10
    assert isinstance(caught.value, world.lib.TimeoutException)
    return str(caught.value)


def host_at(world, port, scheme="http", **more):
    service = {"base_url": f"{scheme}://127.0.0.1:{port}", "max_connections": 1, **more}
    return world.host({"services": {"service": service}})


def watching():
    return [each for each in threading.enumerate() if each.name == NAME]


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.contract("deadline-ends-a-flood", "deadline-frees")
def test_a_call_ends_with_its_deadline_whatever_trickles(flext_world, flood):
    with serving(flooding(*FLOODS[flood])) as port:
        host = host_at(flext_world, port)
        for _ in range(2):  # the first leaves the only permit free
            assert "answer" in ends(flext_world, host)


@pytest.mark.parametrize("flood", ["1xx", "a header", "a body with a length"])
@pytest.mark.contract("deadline-ends-a-flood")
def test_so_it_does_on_a_connection_that_was_kept(flext_world, flood):
    with serving(flooding(*FLOODS[flood], after=2)) as port:
        host = host_at(flext_world, port)
        for deadline in (None, 20):
            with options(deadline=deadline):
                assert flext_world.get(host).status_code == 200
        ends(flext_world, host)


@pytest.mark.parametrize("flood", ["1xx", "a body with a length"])
@pytest.mark.contract("deadline-ends-a-flood")
def test_so_it_does_at_another_origin(flext_service, flext_world, flood):
    with serving(flooding(*FLOODS[flood], after=1)) as port:
        flext_service.answer = Answer(302, {"Location": f"http://127.0.0.1:{port}/x"})
        host = flext_world.serve(flext_service, max_connections=1)
        follow = {"client_options": {"follow_redirects": True}}
        assert flext_world.get(host, **follow).status_code == 200
        ends(flext_world, host, **follow)  # over the connection that was kept


@pytest.mark.contract("deadline-ends-a-flood")
def test_so_it_does_while_it_sends(flext_world):
    with serving(sipping, buffer=4096) as port:
        host = host_at(flext_world, port)
        ends(flext_world, host, method="POST", content=b"x" * 8_000_000)


@pytest.mark.parametrize("flood", ["a header", "a body with a length"])
@pytest.mark.contract("deadline-ends-a-flood")
def test_so_it_does_over_tls(flext_world, tmp_path, flood):
    made = authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server)
    with serving(over_tls(context, *FLOODS[flood])) as port:
        ends(flext_world, host_at(flext_world, port, "https", verify=str(made.path)))


@pytest.mark.contract("deadline-ends-a-flood")
def test_so_it_does_in_a_tls_handshake(flext_world):
    with serving(flooding(*RECORD)) as port:
        ends(flext_world, host_at(flext_world, port, "https", verify=False), deadline=0.5)


PROXIES = {"its answer": flooding(*FLOODS["a header"]), "what is behind it": tunnelling(*RECORD)}


@pytest.mark.parametrize("what", PROXIES)
@pytest.mark.contract("deadline-ends-a-flood")
def test_so_it_does_at_a_proxy(flext_world, what):
    with serving(PROXIES[what]) as port:
        proxy = {"proxy": f"http://127.0.0.1:{port}", "verify": False}
        service = {"base_url": "https://service.example", **proxy}
        ends(flext_world, flext_world.host({"services": {"service": service}}), deadline=0.5)


@pytest.mark.contract("deadline-ends-a-flood")
def test_so_does_a_body_that_the_application_reads_itself(flext_sync_world):
    with serving(flooding(*FLOODS["a body with a length"])) as port:
        client = flext_sync_world.connect(host_at(flext_sync_world, port))
        is_httpx = flext_sync_world.name != "requests"
        started = time.monotonic()
        with options(deadline=DEADLINE):
            opened = client.stream("GET", "/") if is_httpx else client.get("/", stream=True)
            with opened as response, pytest.raises(DeadlineExceeded):
                list(response.iter_bytes() if is_httpx else response.iter_content(99999))
        assert time.monotonic() - started < DEADLINE + 3


@pytest.mark.contract("deadline-ends-a-flood")
def test_a_body_that_nobody_reads_has_lost_its_connection_by_then(flext_sync_world):
    over = threading.Event()

    def handle(peer, _):
        peer.recv(65536)
        peer.sendall(FLOODS["a body with a length"][0])
        if peer.recv(1) == b"":
            over.set()

    with serving(handle) as port:
        client = flext_sync_world.connect(host_at(flext_sync_world, port))
        is_httpx = flext_sync_world.name != "requests"
        with options(deadline=DEADLINE):
            opened = client.stream("GET", "/") if is_httpx else client.get("/", stream=True)
            with opened:
                assert over.wait(5)


# Nobody else's connection


@pytest.mark.contract("deadline-cuts-its-own")
def test_a_call_that_has_ended_is_not_cut_with_whoever_has_its_connection(flext_sync_world):
    ports = []

    def handle(peer, _):
        ports.append(peer.getpeername())
        for pause in (0, 3 * DEADLINE, 0):
            peer.recv(65536)
            time.sleep(pause)
            peer.sendall(OK)

    with serving(handle) as port:
        host = host_at(flext_sync_world, port)
        with options(deadline=DEADLINE):
            assert flext_sync_world.get(host).status_code == 200
        for _ in range(2):
            assert flext_sync_world.get(host).text == "ok"
    assert len(ports) == 1


@pytest.mark.contract("deadline-cuts-its-own")
def test_of_thousands_of_calls_about_as_long_as_their_deadline_none_cuts_another(
    flext_service, flext_sync_world
):
    host = flext_sync_world.serve(flext_service, max_connections=6)
    client = flext_sync_world.connect(host)
    started = time.monotonic()
    for _ in range(20):
        client.get("/")
    usual = (time.monotonic() - started) / 20
    ended, failures = [0, 0], []

    def hasty():
        chance = random.Random(7)
        for _ in range(250):
            with options(deadline=usual * 2 ** chance.uniform(-2, 9)):  # six threads take longer
                try:
                    client.get("/hasty")
                    ended[0] += 1
                except DeadlineExceeded:
                    ended[1] += 1

    def patient():
        for number in range(250):
            try:
                assert client.get(f"/{number}").json()["path"] == f"/{number}"
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=each) for each in (hasty, patient) * 3]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert failures == []
    assert all(ended), ended  # or the deadlines were nowhere near
    assert sum(ended) == 750


@pytest.mark.contract("deadline-cuts-its-own")
def test_of_cutting_and_ending_one_comes_first():
    for is_cut in (True, False):
        watchdog, (ours, theirs) = Watchdog(), socket.socketpair()
        with ours, theirs:
            watch = watchdog.watch(time.monotonic() + 60)
            watch.see(ours)
            if is_cut:
                watch.cut()
            assert watch.end() is is_cut
            watch.cut()
            theirs.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                assert theirs.recv(1) == b""
                assert is_cut
            watchdog.close()


@pytest.mark.contract("deadline-cuts-its-own")
def test_a_connection_that_is_no_longer_of_http_is_not_cut(flext_sync_world):
    over, end = threading.Event(), threading.Event()

    def handle(peer, _):
        peer.recv(65536)
        peer.sendall(SWITCHES)
        if peer.recv(1) == b"" and not end.is_set():
            over.set()

    with serving(handle) as port:
        client = flext_sync_world.connect(host_at(flext_sync_world, port))
        is_httpx = flext_sync_world.name != "requests"
        asks = {"headers": {"Connection": "Upgrade", "Upgrade": "x"}}
        with options(deadline=DEADLINE):
            opened = (
                client.stream("GET", "/", **asks)
                if is_httpx
                else client.get("/", stream=True, **asks)
            )
            with opened as response:
                assert response.status_code == 101
                assert not over.wait(3 * DEADLINE)
                end.set()


# The thread


@pytest.mark.contract("deadline-takes-a-thread")
def test_there_is_one_thread_for_all_calls_with_a_deadline_and_none_before_or_after(
    flext_service, flext_sync_world
):
    before = {*watching()}
    host = flext_sync_world.serve(flext_service)
    flext_sync_world.get(host)
    assert {*watching()} <= before
    for deadline in (30, 20, 10, 20):
        with options(deadline=deadline):
            flext_sync_world.get(host)
    assert len({*watching()} - before) == 1
    host.close()
    assert {*watching()} <= before


@pytest.mark.contract("deadline-takes-a-thread")
def test_the_thread_of_a_host_that_nobody_closes_ends_by_itself(flext_service):
    before = {*watching()}
    host = Host({"services": {"service": {"base_url": flext_service.url, "deadline": 0.2}}})
    host.connect("service").get("/")
    limit = time.monotonic() + 10
    while {*watching()} - before and time.monotonic() < limit:
        time.sleep(0.01)
    assert {*watching()} <= before
    host.connect("service").get("/")  # and begins again
    host.close()


def test_closing_the_host_cuts_a_call_that_is_under_way(flext_sync_world):
    with serving(flooding(*FLOODS["1xx"])) as port:
        host = host_at(flext_sync_world, port)
        errors = []

        def call():
            with options(deadline=30):
                try:
                    flext_sync_world.get(host)
                except Exception as error:
                    errors.append(str(error))

        thread = threading.Thread(target=call)
        thread.start()
        time.sleep(0.2)
        host.close()
        thread.join(10)
    assert errors == ["service: the host is closed"]


UNTIL_THE_END = b"HTTP/1.1 200 OK\r\n\r\nit is "


@pytest.mark.parametrize("deadline", [None, 60, 3])
@pytest.mark.contract("closing-drains")
def test_closing_the_host_lets_a_session_read_on_until_the_end_or_the_deadline(deadline):
    """A body without a length that was cut would seem whole."""
    begun, goes_on, outcome = threading.Event(), threading.Event(), []

    def handle(peer, over):
        peer.recv(65536)
        peer.sendall(UNTIL_THE_END)
        if deadline != 3:
            goes_on.wait(30)
            peer.sendall(b"whole")
        else:
            over.wait(30)

    def read(host):
        try:
            with options(deadline=deadline):
                response = host.connect("service", requests.Session).get("/", stream=True)
                begun.set()
                outcome.append(response.text)
        except DeadlineExceeded:
            outcome.append("late")

    with serving(handle) as port:
        host = Host({"services": {"service": {"base_url": f"http://127.0.0.1:{port}"}}})
        thread = threading.Thread(target=read, args=(host,))
        thread.start()
        begun.wait(30)
        host.close()
        goes_on.set()
        thread.join(30)
    assert outcome == ["late" if deadline == 3 else "it is whole"]


@pytest.mark.contract("deadline-takes-a-thread")
def test_who_comes_when_it_is_closed_is_cut_and_begins_no_thread():
    before, watchdog, (ours, theirs) = {*watching()}, Watchdog(), socket.socketpair()
    watchdog.close()
    with ours, theirs:
        watch = watchdog.watch(time.monotonic() + 60)
        assert not watch.see(ours)
        assert theirs.recv(1) == b""
        assert watch.end()
    assert {*watching()} <= before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.contract("fork-starts-afresh")
def test_a_forked_child_has_a_watchdog_of_its_own():
    with serving(flooding(*FLOODS["1xx"], after=1)) as port:
        with Host({"services": {"service": {"base_url": f"http://127.0.0.1:{port}"}}}) as host:
            client = host.connect("service")
            with options(deadline=20):
                assert client.get("/").status_code == 200
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork with threads
                child = os.fork()
            if child == 0:
                code = 1
                try:
                    with options(deadline=DEADLINE):
                        client.get("/")
                        client.get("/")
                except DeadlineExceeded:
                    code = 0
                finally:
                    os._exit(code)
            code = exit_code(child)
    assert code == 0


EXITS = """
import sys
from flext_plugins import Host, options
host = Host({"services": {"service": {"base_url": sys.argv[1], "deadline": 300}}})
print(host.connect("service").get("/").status_code)
"""


def test_a_program_that_ends_does_not_wait_for_it(flext_service):
    ran = subprocess.run(
        [sys.executable, "-c", EXITS, flext_service.url],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "200\n", "")


@pytest.mark.contract("deadline-frees")
def test_over_a_transport_of_the_applications_own_a_late_answer_is_given_up():
    closed = []

    class Stream(httpx.SyncByteStream):
        def close(self):
            closed.append(self)

    def slow(request):
        time.sleep(2 * DEADLINE)
        return httpx.Response(200, stream=Stream())

    service = {"base_url": "http://service.example", "transport": "own", "deadline": DEADLINE}
    with Host({"services": {"service": service}}) as host:
        host.provide(httpx.BaseTransport, lambda service: httpx.MockTransport(slow))
        with pytest.raises(DeadlineExceeded):
            host.connect("service").get("/")
    assert len(closed) == 1
