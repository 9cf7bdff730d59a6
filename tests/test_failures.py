"""Where on the wire an error arose: `CONNECT` is what is sent again whatever the method."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

import pytest
from breakage import EVENTS, MUCH, UPLOADS, breaking
from flext_plugins_devstack.certificates import authority
from noting import noting
from requests.exceptions import ChunkedEncodingError

from flext_plugins import Failure, hookimpl, options
from flext_plugins.testing import Answer

AFTER_WRITING = {Failure.READ, Failure.PROTOCOL}


class Judges:
    """Keeps what the connection says of an error."""

    found: list[Failure | None]

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        try:
            return await send(request)
        except Exception as error:
            self.found.append(connection.failure(error))
            raise


@pytest.fixture
def judged(flext_world):
    """What becomes of a POST to a service so configured."""

    def judged(content=b"x", /, **service):
        Judges.found = []
        config = {"services": {"service": {**service, "plugins": {"judges": {}}}}}
        # httpx and httpx2 let some of TLS's errors through as they are, in their async clients
        with pytest.raises((flext_world.lib.TransportError, ssl.SSLError)):
            flext_world.send(flext_world.host(config, judges=Judges), "POST", "/", content=content)
        (failure,) = Judges.found
        return failure

    return judged


@pytest.fixture
def ca(tmp_path):
    """A certificate authority that nobody trusts unasked."""
    return authority(tmp_path)


@pytest.fixture
def broken_tls(ca):
    """A TLS server that answers with what cannot be decrypted, and what it received."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.server)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)
    received = []

    def run():
        peer, _ = listener.accept()
        try:
            tls = context.wrap_socket(peer, server_side=True)
        except ssl.SSLError:
            peer.close()
            return
        received.append(tls.recv(65536))
        with socket.socket(fileno=tls.detach()) as plain:
            plain.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
            plain.recv(65536)

    thread = threading.Thread(target=run)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}", received
    thread.join(10)
    listener.close()


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.contract("failure-kinds", "connect-means-unsent")
def test_the_same_event_is_the_same_failure_in_each_library(flext_world, ca, name):
    """Whoever waits for it, and whether it is told at once or by who watches the body."""
    told, event = [], EVENTS[name]

    class Tells:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                response = await send(request)
            except Exception as error:
                told.append(connection.failure(error))
                raise
            connection.watch(response, lambda error, _: told.append(connection.failure(error)))
            return response

    with breaking(event, ca) as place:
        host, _, port = place.partition(":")
        seconds = 0.5 if "stall" in name else 20
        options = {
            "timeout": seconds,
            "verify": str(ca.path),
            "plugins": {"tells": {}},
            **event.service,
        }
        scheme = "https" if event.tls else "http"
        at = f"{scheme}://{options.pop('host', host)}:{port}"
        if event.proxied:
            options |= {"proxy": at, "allow_insecure": True}
            at = f"{event.proxied}://a.invalid"
        services = {"services": {"service": {"base_url": at, **options}}}
        made = flext_world.host(services, tells=Tells)
        with contextlib.suppress(Exception):  # of any library
            for _ in range(event.times):
                flext_world.send(made, "POST", "/", content=event.sends)
        flext_world.close(made)
    assert told == [None] * (event.times - 1) + [event.failure]


@pytest.mark.parametrize("event", UPLOADS.values(), ids=UPLOADS)
@pytest.mark.contract("connect-means-unsent")
def test_an_upload_that_breaks_off_is_no_failure_to_connect(judged, ca, event):
    with breaking(event, ca) as place:
        scheme = "https" if event.tls else "http"
        failure = judged(MUCH, base_url=f"{scheme}://{place}", verify=str(ca.path))
    assert failure in AFTER_WRITING


@pytest.mark.contract("failure-kinds")
async def test_a_full_pool_is_the_same_failure_in_each_library(flext_service, flext_world):
    told = []

    async def ask():
        with contextlib.suppress(flext_world.lib.TransportError):
            await client.get("/")

    flext_service.answer = Answer(delay=3)
    timeout = {"pool": 0.2, "read": 20}
    host = flext_world.serve(flext_service, noting(told), max_connections=1, timeout=timeout)
    client = await flext_world.client(host)
    await flext_world.together(2, ask)
    assert told == [Failure.POOL]


@pytest.mark.contract("connect-means-unsent")
def test_tls_that_breaks_after_the_request_was_written_is_no_failure_to_connect(
    judged, broken_tls, ca
):
    url, received = broken_tls
    assert judged(base_url=url, verify=str(ca.path)) in {*AFTER_WRITING, None}
    assert received[0].startswith(b"POST / ")


@pytest.mark.contract("connect-means-unsent")
def test_a_certificate_that_is_not_trusted_is_a_failure_to_connect(judged, broken_tls):
    url, received = broken_tls
    assert judged(base_url=url) is Failure.CONNECT
    assert received == []


@pytest.mark.parametrize("answer", [Answer(reset=True), Answer(raw=b"")], ids=["reset", "nothing"])
@pytest.mark.contract("connect-means-unsent")
def test_a_proxy_that_breaks_after_the_request_was_written_is_no_failure_to_connect(
    judged, flext_service, answer
):
    flext_service.answer = answer
    failure = judged(
        base_url="http://example.invalid", allow_insecure=True, proxy=flext_service.url
    )
    assert failure in AFTER_WRITING
    assert [each.body for each in flext_service.received] == [b"x"]


@pytest.mark.contract("connect-means-unsent")
def test_a_proxy_that_is_not_there_is_a_failure_to_connect(judged, flext_service):
    flext_service.refuse()
    at = {"base_url": "http://example.invalid", "allow_insecure": True}
    assert judged(**at, proxy=flext_service.url) is Failure.CONNECT


@pytest.mark.contract("connect-means-unsent")
def test_a_proxy_that_makes_no_tunnel_is_a_failure_to_connect(judged, flext_service):
    flext_service.answer = Answer(407)
    failure = judged(base_url="https://example.invalid", proxy=flext_service.url)
    assert failure is Failure.CONNECT
    assert [each.method for each in flext_service.received] == ["CONNECT"]


# what a broken body leaves behind


def read_later(world, host, deadline, wait):
    """Read a streamed body in the application, which closes nothing."""

    async def read():
        client = await world.client(host)
        with options(deadline=deadline):
            if world.name == "requests":
                answer = client.plain.get("/", stream=True)
            else:
                request = client.plain.build_request("GET", "/")
                answer = client.plain.send(request, stream=True)
                answer = await answer if world.asynchronous else answer
        await world.sleep(wait)
        if world.name == "requests":
            return answer.content
        return await answer.aread() if world.asynchronous else answer.read()

    return world.run(read)


@pytest.mark.parametrize(("deadline", "wait"), [(None, 0), (0.2, 0.3)])
@pytest.mark.contract("broken-for-all")
def test_a_body_that_broke_or_came_too_late_gives_its_permit_back_though_nobody_closes_it(
    flext_service, flext_world, deadline, wait
):
    host = flext_world.serve(flext_service, max_connections=1, timeout=2)
    flext_service.answer = Answer(body=b"0123456789", cut=4)
    # requests has a kind of its own for a body that breaks off
    with pytest.raises((flext_world.lib.TransportError, ChunkedEncodingError)):
        read_later(flext_world, host, deadline, wait)

    flext_service.answer = Answer(200)
    assert flext_world.get(host).status_code == 200
