"""What users of requests expect to keep working."""

from __future__ import annotations

import contextlib
import copy
import csv
import gzip
import http.client
import io
import json
import pickle
import shutil
import ssl
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler

import pytest
import requests
import responses
import urllib3
from flext_plugins_devstack.certificates import authority
from requests.adapters import BaseAdapter
from requests.auth import HTTPDigestAuth
from urllib3.exceptions import InsecureRequestWarning

import flext_plugins
from flext_plugins import (
    Call,
    ConfigError,
    DeadlineExceeded,
    Host,
    PluginError,
    Refused,
    hookimpl,
    options,
)
from flext_plugins.testing import Answer

SECRET = "canary-8e1f"


class Marks:
    """Puts a credential on every request."""

    @hookimpl
    def flext_request(self, request):
        request.headers["X-API-Key"] = SECRET


@pytest.fixture
def connect(flext_service):
    made = Host(
        {"services": {"service": {"base_url": flext_service.url, "plugins": {"marks": {}}}}}
    )
    made.register(Marks, "marks")
    yield lambda client=requests.Session, **given: made.connect("service", client, **given)
    made.close()


@responses.activate
def test_responses_intercepts_and_shows_what_plugins_added():
    responses.get("http://flexcore.example/health", json={"status": "healthy"})
    service = {"base_url": "http://flexcore.example", "plugins": {"marks": {}}}
    with Host({"services": {"flexcore": service}}) as host:
        host.register(Marks, "marks")
        answer = host.connect("flexcore", requests.Session).get("/health")

    assert answer.json() == {"status": "healthy"}
    assert responses.calls[0].request.headers["X-API-Key"] == SECRET
    assert "X-API-Key" not in answer.request.headers


def test_a_session_joins_relative_addresses_and_keeps_cookies_hooks_and_headers(
    flext_service, connect
):
    seen = []
    session = connect(
        headers={"X-Mine": "yes"},
        hooks={"response": lambda answer, **_: seen.append(answer.status_code)},
    )
    flext_service.answer = lambda received: Answer(
        headers={"Set-Cookie": "a=b; Path=/"}, body=str(received.headers).encode()
    )
    session.get("orders/7", params={"page": 2})
    answer = session.get(f"{flext_service.url}/again")

    assert flext_service.paths() == ["/orders/7?page=2", "/again"]
    assert flext_service.received[1].headers["cookie"] == "a=b"
    assert "'x-mine': 'yes'" in answer.text
    assert seen == [200, 200]
    assert isinstance(answer.extensions["flext_plugins.call"], Call)
    assert answer.elapsed.total_seconds() > 0


@pytest.mark.contract("own-origin-only", "client-keeps-its-request")
def test_a_redirect_elsewhere_goes_bare_and_the_answers_requests_are_the_callers(
    flext_service, flext_elsewhere, connect
):
    flext_service.answer = lambda _: Answer(307, {"Location": f"{flext_elsewhere.url}/there"})
    answer = connect().get("/here")

    assert flext_service.received[0].headers["x-api-key"] == SECRET
    assert "x-api-key" not in flext_elsewhere.received[0].headers
    assert not any("X-API-Key" in each.request.headers for each in (answer, *answer.history))
    assert (
        len({each.extensions["flext_plugins.call"].id for each in (answer, *answer.history)}) == 1
    )


@pytest.mark.contract("origins-are-compared-whole")
def test_an_adapter_compares_origins_where_requests_compares_prefixes(flext_elsewhere):
    """requests sends `http://a.example.evil.invalid` to what was mounted for `http://a.example`."""
    service = {
        "base_url": "http://a.example",
        "proxy": flext_elsewhere.url,
        "plugins": {"marks": {}},
    }
    with Host({"services": {"a": service}}) as host, requests.Session() as session:
        host.register(Marks, "marks")
        session.mount("http://a.example", host.transport("a", BaseAdapter))
        session.get("http://a.example/own")
        session.get("http://a.example.evil.invalid/other")

    own, other = flext_elsewhere.received
    assert own.headers["x-api-key"] == SECRET
    assert "x-api-key" not in other.headers


def test_streaming_reads_as_it_arrives(flext_service, connect):
    flext_service.answer = lambda _: Answer(body=b"x" * 100_000, cut=50_000)
    with connect().get("/", stream=True) as answer:
        assert next(answer.iter_content(1000)) == b"x" * 1000
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(answer.iter_content(1000))


@pytest.mark.parametrize(
    "kind", [iter, lambda parts: map(bytes, parts), lambda parts: (each for each in parts)]
)
@pytest.mark.contract("sent-once")
def test_a_body_of_any_iterator_is_sent_once(flext_service, kind):
    class Again:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            await send(request)
            seen.append(connection.replayable(request))
            return await send(request)

    seen = []
    service = {"base_url": flext_service.url, "plugins": {"again": {}}}
    with Host({"services": {"service": service}}) as host:
        host.register(Again, "again")
        session = host.connect("service", requests.Session)
        with pytest.raises(PluginError, match="cannot be replayed"):
            session.post("/", data=kind([b"one", b"two"]))

    assert seen == [False]
    assert [each.body for each in flext_service.received] == [b"onetwo"]


def test_digest_authentication_sends_again_through_the_chain(flext_service, connect):
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
    flext_service.answer = lambda received: (
        Answer() if "authorization" in received.headers else Answer(401, challenge)
    )
    assert connect(auth=HTTPDigestAuth("ana", "pw")).get("/").status_code == 200
    assert [each.headers["x-api-key"] for each in flext_service.received] == [SECRET, SECRET]


def test_a_sessions_own_proxy_is_used_unless_the_service_has_one(
    flext_service, flext_elsewhere, connect
):
    session = connect()
    session.proxies = {"http": flext_elsewhere.url}
    assert session.get("/there").ok
    assert flext_elsewhere.paths() == [f"{flext_service.url}/there"]
    assert flext_elsewhere.received[0].headers["x-api-key"] == SECRET

    service = {"base_url": flext_service.url, "proxy": False}
    with Host({"services": {"service": service}}) as host:
        session = host.connect("service", requests.Session)
        session.proxies = {"http": flext_elsewhere.url}
        assert session.get("/here").ok
    assert flext_service.paths() == ["/here"]


def test_a_sessions_own_verify_is_used_unless_the_service_has_one(tmp_path):
    ca, other = authority(tmp_path), authority(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.server)
    server = HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    url = f"https://127.0.0.1:{server.server_port}"
    said = {"default": {}, "right": {"verify": str(ca.path)}, "wrong": {"verify": str(other.path)}}
    services = {name: {"base_url": url, **each} for name, each in said.items()}

    def get(service, **options):
        return host.connect(service, requests.Session).head("/", **options)

    try:
        with Host({"services": services}) as host:
            assert get("right").ok
            assert get("default", verify=str(ca.path)).ok
            with pytest.warns(InsecureRequestWarning):
                assert get("default", verify=False).ok
            for service, options in (
                ("default", {}),
                ("default", {"verify": str(other.path)}),
                ("wrong", {"verify": str(ca.path)}),
            ):
                with pytest.raises(requests.exceptions.SSLError):
                    get(service, **options)
    finally:
        server.shutdown()
        server.server_close()


def test_failures_are_native_and_survive_pickling(flext_service):
    class Refuses:
        @hookimpl
        async def flext_request(self, request, connection):
            if request.url.path == "/slow":
                await connection.sleep(60)
            raise Refused("maintenance", retry_after=30)

    service = {"base_url": flext_service.url, "plugins": {"refuses": {}}}
    with Host({"services": {"service": service}}) as host:
        host.register(Refuses, "refuses")
        session = host.connect("service", requests.Session)
        with pytest.raises(requests.ConnectionError) as refused:
            session.get("/")
        with options(deadline=0.1), pytest.raises(requests.Timeout) as late:
            session.get("/slow")

    assert isinstance(refused.value, Refused)
    assert isinstance(late.value, DeadlineExceeded)
    assert str(refused.value) == "service: refuses: maintenance"
    assert refused.value.request.url == f"{flext_service.url}/"
    assert pickle.loads(pickle.dumps(refused.value)).retry_after == 30


def test_what_a_session_does_not_take_is_told(connect):
    with pytest.raises(ConfigError, match="does not take follow_redirects"):
        connect(follow_redirects=True)


def test_headers_may_be_pairs_and_the_sessions_own_stay(flext_service, connect):
    connect(headers=[("X-Mine", "yes")]).get("/")

    assert flext_service.received[0].headers["x-mine"] == "yes"
    assert flext_service.received[0].headers["user-agent"].startswith("python-requests/")


@pytest.mark.parametrize("deadline", [None, 30])
def test_a_redirect_to_no_address_is_requests_own_error(flext_service, connect, deadline):
    flext_service.answer = Answer(302, {"Location": "http://127.0.0.1:port/"})
    with flext_plugins.options(deadline=deadline), pytest.raises(requests.exceptions.InvalidURL):
        connect().get("/")


@pytest.mark.contract("plain-without-plugins")
def test_what_a_session_is_told_between_two_requests_holds_from_the_second_on(
    connect, monkeypatch, tmp_path
):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")

    class Told(requests.Session):
        def send(self, message, **options):
            self.seen = {name: options[name] for name in ("proxies", "verify", "cert", "stream")}
            return super().send(message, **{**options, "proxies": {}})

    def both(change):
        for session in (ours, theirs):
            change(session)
            with contextlib.suppress(requests.RequestException):
                session.get(f"{ours.flext_base_url}/x")
        assert dict(ours.seen["proxies"]) == dict(theirs.seen["proxies"])
        assert ours.seen == theirs.seen

    certificate = str(authority(tmp_path).server)
    ours, theirs = connect(client=Told), Told()
    with ours, theirs:
        both(lambda session: None)
        both(lambda session: None)
        assert ours.seen["proxies"]["http"] == "http://127.0.0.1:1"
        both(lambda session: session.seen["proxies"].clear())
        both(lambda session: session.proxies.update(http="http://127.0.0.1:2"))
        both(lambda session: setattr(session, "verify", False))
        both(lambda session: setattr(session, "cert", certificate))
        both(lambda session: setattr(session, "stream", True))
        both(lambda session: setattr(session, "trust_env", False))
        assert ours.seen["verify"] is False


@pytest.mark.contract("hops-share-a-call")
def test_a_call_of_another_session_inside_one_is_a_call_of_its_own(flext_service, flext_elsewhere):
    services = {"one": {"base_url": flext_service.url}, "two": {"base_url": flext_elsewhere.url}}
    with Host({"services": services}) as host:
        one = host.connect("one", requests.Session)
        two = host.connect("two", requests.Session)
        inner = []
        one.hooks["response"].append(lambda *_, **__: inner.append(two.head("/")))
        outer = one.get("/")
    calls = [each.extensions["flext_plugins.call"] for each in (outer, inner[0])]
    assert [(each.service, each.attempt) for each in calls] == [("one", 1), ("two", 1)]
    assert calls[0].id != calls[1].id


def test_a_proxy_in_a_file_is_read_again_when_the_file_changes(
    flext_service, flext_elsewhere, tmp_path
):
    file = tmp_path / "proxy"
    file.write_text("http://127.0.0.1:1")
    service = {"base_url": flext_service.url, "proxy": f"file:{file}"}
    with Host({"services": {"service": service}}) as host:
        session = host.connect("service", requests.Session)
        with pytest.raises(requests.exceptions.ProxyError):
            session.get("/x")
        file.write_text(flext_elsewhere.url)
        assert session.get("/x").ok
    assert flext_elsewhere.paths() == [f"{flext_service.url}/x"]


ROWS = b'["name", "size"]\n'


def saved(raw):
    raw.decode_content, file = True, io.BytesIO()
    shutil.copyfileobj(raw, file)
    return file.getvalue()


def entered(raw):
    with raw as same:
        return same is raw, same.read()


def put_back(raw):
    """As a session does that caches what is streamed."""
    packed = raw.read(decode_content=False)
    raw._fp = io.BytesIO(packed)
    raw._fp_bytes_read, raw.length_remaining = 0, len(packed)
    return raw.read(decode_content=True)


def head(raw):
    return raw.status, raw.reason, raw.version, raw.version_string, raw.geturl(), raw.getheader("a")


def read_into(raw):
    buffer = bytearray(100)
    return raw.readinto(buffer), bytes(buffer)


def again(raw):
    return raw.read(), raw.read(), raw.closed


USES = {
    "copied decoded": saved,
    "rows of csv": lambda raw: [*csv.reader(line.decode() for line in raw)],
    "entered": entered,
    "put back": put_back,
    "a file": lambda raw: isinstance(raw, io.IOBase),
    "urllib3's own": lambda raw: isinstance(raw, urllib3.HTTPResponse),
    "http.client's below": lambda raw: isinstance(raw._original_response, http.client.HTTPResponse),
    "wrapped as text": lambda raw: io.TextIOWrapper(io.BufferedReader(raw), "latin-1").read(),
    "lines": lambda raw: [*iter(raw.readline, b"")],
    "loaded": lambda raw: json.loads(gzip.decompress(raw.read())),
    "its head": head,
    "its data": lambda raw: (raw.data, raw.data),
    "in parts": lambda raw: [raw.read(3), raw.read(3), raw.tell(), raw.read(decode_content=False)],
    "read once": lambda raw: raw.read1(4),
    "into a buffer": read_into,
    "read again": again,
    "its connection": lambda raw: raw.connection and raw.connection.host,
    "drained": lambda raw: (raw.drain_conn(), raw.release_conn(), raw.closed, raw.connection),
    "closed": lambda raw: (raw.close(), raw.closed, raw.isclosed()),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.contract("library-objects-are-its-own")
def test_a_responses_raw_is_used_as_with_plain_requests(flext_service, connect, use):
    flext_service.answer = Answer(
        headers={"Content-Encoding": "gzip", "A": "b"}, body=gzip.compress(ROWS, mtime=0)
    )
    with requests.Session() as plain:
        ours, theirs = (
            use(session.get(f"{flext_service.url}/x", stream=True).raw)
            for session in (connect(), plain)
        )
    assert ours == theirs


AFTER_A_PLUGIN = [each for each in USES if each != "its connection"]
"""A body that a plugin has read is no longer on a connection."""


@pytest.mark.parametrize("name", AFTER_A_PLUGIN)
@pytest.mark.contract("library-objects-are-its-own", "read-leaves-readable")
def test_a_responses_raw_is_so_used_when_a_plugin_has_read_it_too(flext_service, name):
    class Reads:
        @hookimpl
        async def flext_response(self, response, connection):
            await connection.read(response)

    flext_service.answer = Answer(
        headers={"Content-Encoding": "gzip", "A": "b"}, body=gzip.compress(ROWS, mtime=0)
    )
    service = {"base_url": flext_service.url, "plugins": {"reads": {}}}
    with Host({"services": {"service": service}}) as host, requests.Session() as plain:
        host.register(Reads, "reads")
        ours, theirs = (
            USES[name](session.get(f"{flext_service.url}/x", stream=True).raw)
            for session in (host.connect("service", requests.Session), plain)
        )
    assert ours == theirs


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.contract("library-objects-are-its-own", "read-leaves-readable")
def test_a_raw_without_a_body_is_over_when_it_is_read(flext_service, method):
    class Reads:
        @hookimpl
        async def flext_response(self, response, connection):
            await connection.read(response)

    flext_service.answer = Answer(body=b"")
    service = {"base_url": flext_service.url, "plugins": {"reads": {}}}
    with Host({"services": {"service": service}}) as host, requests.Session() as plain:
        host.register(Reads, "reads")
        ours, theirs = (
            again(session.request(method, f"{flext_service.url}/x", stream=True).raw)
            for session in (host.connect("service", requests.Session), plain)
        )
    assert ours == theirs == (b"", b"", True)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["flat", "deep"])
@pytest.mark.contract("library-objects-are-its-own")
def test_a_copy_of_a_session_sends_through_the_same_connection(flext_service, connect, copied):
    session = connect(headers={"X-Mine": "yes"})
    other = copied(session)

    assert isinstance(other, requests.Session)
    assert other.get("/x").ok
    assert flext_service.received[0].headers["x-api-key"] == SECRET
    assert flext_service.received[0].headers["x-mine"] == "yes"


@pytest.mark.contract("library-objects-are-its-own")
def test_a_session_is_not_pickled_without_its_host(connect):
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(connect())


class Early(requests.Session):
    """Sends while it is made."""

    def __init__(self):
        super().__init__()
        self.token = self.get(self.address).status_code


@pytest.mark.parametrize("kind", [requests.Session, Early])
def test_a_session_may_be_copied_and_send_while_it_is_made(connect, flext_service, kind):
    Early.address = f"{flext_service.url}/token"
    assert copy.copy(connect(kind)).get(f"{flext_service.url}/x").ok


@pytest.mark.parametrize("name", ["headers", "hooks"])
def test_a_session_whose_headers_or_hooks_are_none_does_what_requests_does(connect, name):
    found = []
    for session in (connect(), requests.Session()):
        setattr(session, name, None)
        try:
            request = requests.Request("GET", "http://127.0.0.1:9/x")
            found.append(session.prepare_request(request).headers)
        except Exception as error:
            found.append(type(error))
    assert found[0] == found[1]


def test_a_session_class_that_asks_its_environment_is_asked_each_time(connect):
    class Streams(requests.Session):
        def merge_environment_settings(self, url, *args):
            found = super().merge_environment_settings(url, *args)
            return {**found, "stream": url.endswith("/stream")}

    session = connect(Streams)
    assert session.get("/a")._content is not False
    assert session.get("/stream")._content is False


@pytest.mark.parametrize("option", ["verify", "cert"])
def test_a_file_for_tls_that_is_not_there_is_named(tmp_path, option):
    missing = str(tmp_path / "missing.pem")
    with Host({"services": {"service": {"base_url": "https://127.0.0.1:9"}}}) as host:
        session = host.connect("service", requests.Session)
        with pytest.raises(OSError, match=r"missing\.pem"):
            session.get("/", **{option: missing})
