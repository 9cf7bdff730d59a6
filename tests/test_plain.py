"""What a composed client and the library's plain one do alike, one example of each kind."""

from __future__ import annotations

import copy
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
import requests
from asks import BUFFERS, EXCEPTIONS, MOVED, NONE, ONCE, OWN, Ask, Conversation, Reply
from flext_plugins_devstack.certificates import authority
from pydantic import BaseModel
from twins import STREAMS, Pair, by_hand, twins

from flext_plugins import ConfigError, Host, ServiceURL, Stage, hookimpl
from flext_plugins.http import Origin

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(scope="module")
def pair():
    made = Pair()
    yield made
    made.close()


@pytest.fixture
def environment(monkeypatch):
    """Sets variables where none name a proxy or authorities."""
    for name in (*NAMES, *(each.upper() for each in NAMES), *BUNDLES):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch.setenv


def alike(world, pair, ask, **talk):
    """What happens, which is the same with a plain client."""
    composed, plain = twins(Conversation((ask,), **talk), world, pair)
    assert composed == plain
    return composed


class Agrees(BaseHTTPRequestHandler):
    """Says yes to everything, and keeps what it was asked."""

    def do_GET(self) -> None:
        self.server.heads.append(self.headers)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def tls(tmp_path):
    """The `host:port` of a TLS server, its authority, and the heads that it got."""
    ca, server = authority(tmp_path), HTTPServer(("127.0.0.1", 0), Agrees)
    server.heads = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.server)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}", ca, server.heads
    server.shutdown()
    thread.join()
    server.server_close()


# bodies


@pytest.mark.parametrize("body", [*BUFFERS, *ONCE, *NONE])
@pytest.mark.contract("plain-without-plugins")
def test_a_body_of_any_kind_is_sent_as_by_the_plain_client(flext_world, pair, body):
    alike(flext_world, pair, Ask("POST", "/", (Reply(),), body=body))


@pytest.mark.parametrize("moved", [*dict.fromkeys(MOVED)], ids=str)
@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.contract("plain-without-plugins")
def test_a_redirect_whose_body_breaks_is_followed_as_by_the_plain_client(
    flext_world, pair, moved, follow
):
    coding, body, missing = moved
    redirect = Reply(302, (("Location", "/there"), *coding), body, missing)
    alike(flext_world, pair, Ask("GET", "/", (redirect, Reply()), follow=follow, streamed=True))


REPLAYED = {
    "bytearray": bytearray(b"abc"),
    "memoryview": memoryview(b"abc"),
    "wrapper": b"abc",
    "left off": b" rest",
    "text file": b"text",
    "mapped": b"mapped",
    "by hand": b"by hand",
}


class Twice:
    """Sends all that can be sent again."""

    stage = Stage.RETRY

    def __init__(self):
        self.read = b""

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        await connection.close(await send(request))
        if connection.replayable(request):
            return await send(request)
        return connection.respond(418)


class Reads:
    """Reads each body before it is sent."""

    @hookimpl
    async def flext_request(self, request, connection):
        connection.replace(request, (await connection.read(request)).upper())


class Passes:
    """Transforms each body as it passes."""

    @hookimpl
    def flext_request(self, request, connection):
        class Upper:
            def feed(self, chunk):
                return chunk.upper()

            def end(self):
                return b"."

        connection.transform(request, Upper)


def post(service, body, **plugins):
    """Send a body of this kind from a session with these plugins."""
    config = {"base_url": service.url, "plugins": {name: {} for name in plugins}}
    with Host({"services": {"service": config}}) as host:
        for name, plugin in plugins.items():
            host.register(plugin, name)
        session = host.connect("service", requests.Session)
        options = {"auth": by_hand} if body == "by hand" else {"data": STREAMS[body]()}
        return session.post("/", **options).status_code


@pytest.mark.parametrize(("body", "sent"), REPLAYED.items(), ids=REPLAYED)
@pytest.mark.contract("sending-again", "sent-once")
def test_a_session_sends_what_can_go_back_again_from_where_it_began(flext_service, body, sent):
    assert post(flext_service, body, twice=Twice) == 200
    assert [each.body for each in flext_service.received] == [sent, sent]


@pytest.mark.parametrize("body", ["readable", "strings", "iterator"])
@pytest.mark.contract("sending-again", "sent-once")
def test_a_session_sends_what_cannot_go_back_once(flext_service, body):
    assert post(flext_service, body, twice=Twice) == 418
    (only,) = flext_service.received
    assert only.body


@pytest.mark.parametrize("body", [*REPLAYED, "readable", "strings"])
@pytest.mark.parametrize(("plugin", "end"), [(Reads, b""), (Passes, b".")])
def test_plugins_read_and_change_a_body_of_any_kind(flext_service, body, plugin, end):
    assert post(flext_service, body, plugin=plugin) == 200
    sent = {"readable": b"abc", "strings": b"onetwo", **REPLAYED}[body]
    assert [each.body for each in flext_service.received] == [bytes(sent).upper() + end]


# the environment


@pytest.mark.parametrize(
    ("variable", "excepted"),
    [*(("HTTP_PROXY", each) for each in EXCEPTIONS), ("all_proxy", ""), ("ALL_PROXY", OWN)],
)
@pytest.mark.contract("proxy-for-each-origin", "plain-without-plugins")
def test_no_proxy_is_read_as_the_library_itself_reads_it(flext_world, pair, variable, excepted):
    variables = ((variable, "{away}"), ("NO_PROXY", excepted))
    alike(flext_world, pair, Ask("GET", f"{OWN}/x", (Reply(),)), environment=variables)


@pytest.mark.parametrize("excepted", ["[::1]", "127.0.0.1,::1/128", "127.0.0.1:*"])
@pytest.mark.contract("proxy-for-each-origin")
def test_what_httpx_cannot_read_of_no_proxy_python_reads(
    flext_service, flext_elsewhere, environment, excepted
):
    environment("HTTP_PROXY", flext_elsewhere.url)
    environment("NO_PROXY", excepted)
    with pytest.raises(httpx.InvalidURL):
        httpx.Client()
    with Host({"services": {"service": {"base_url": flext_service.url}}}) as host:
        assert host.connect("service").get("/").status_code == 200
    is_direct = excepted.startswith("127.0.0.1,")
    assert [len(each.received) for each in (flext_service, flext_elsewhere)] == [
        is_direct,
        not is_direct,
    ]


RANGES = ["127.0.0.0/8", "127.0.0.1/32", "http://127.0.0.1", "[127.0.0.1]", "127.0.0.1"]


@pytest.mark.parametrize("excepted", RANGES)
@pytest.mark.contract("credentials-stay-here", "proxy-for-each-origin")
def test_a_service_that_some_library_reaches_directly_is_composed(
    flext_service, flext_elsewhere, flext_world, environment, excepted
):
    """And where it is another library, no credentials go by the proxy."""
    environment("http_proxy", flext_elsewhere.url)
    environment("no_proxy", excepted)
    host = flext_world.serve(flext_service, headers={"X-API-Key": "secret"})
    host.check()
    try:
        flext_world.get(host)
    except ConfigError:
        assert flext_service.received == []
    else:
        assert len(flext_service.received) == 1
    assert flext_elsewhere.received == []


class Fetches:
    """Asks elsewhere for a token before each request."""

    class Settings(BaseModel):
        url: ServiceURL

    def __init__(self, settings):
        self.url = settings.url

    @hookimpl
    async def flext_request(self, request, connection):
        answer = await connection.request(self.url.origin, "POST", self.url)
        request.headers["X-Token"] = (await connection.read(answer)).decode() or "none"


@pytest.fixture
def fetching(flext_world):
    """A request before which a plugin makes one elsewhere; `options` are the services'."""

    def get(url, token_url, change=lambda client: None, **options):
        services = {"service": {"base_url": url, "plugins": {"fetches": {"url": token_url}}}}
        host = flext_world.host({"services": services, "defaults": options}, fetches=Fetches)

        async def ask():
            client = await flext_world.client(host)
            change(client.plain)
            return await client.get(url)

        return flext_world.run(ask)

    return get


PROXIED = {
    "http_proxy": ({"http_proxy": "{proxy}"}, {}, True),
    "HTTP_PROXY": ({"HTTP_PROXY": "{proxy}"}, {}, True),
    "all_proxy": ({"all_proxy": "{proxy}"}, {}, True),
    "an exception": ({"http_proxy": "{proxy}", "no_proxy": "127.0.0.1"}, {}, False),
    "the service's own word": ({"http_proxy": "{proxy}"}, {"proxy": False}, False),
}


@pytest.mark.parametrize(("variables", "options", "is_proxied"), PROXIED.values(), ids=PROXIED)
@pytest.mark.contract("proxy-for-each-origin")
def test_what_a_plugin_sends_takes_the_environments_proxy(
    flext_service, flext_elsewhere, fetching, environment, variables, options, is_proxied
):
    for name, value in variables.items():
        environment(name, value.format(proxy=flext_elsewhere.url))
    at = flext_service.url
    assert fetching(at, f"{at}/token", allow_insecure=True, **options).status_code == 200
    through = flext_elsewhere if is_proxied else flext_service
    start = at if is_proxied else ""
    assert through.paths() == [f"{start}/token", f"{start}/"]


@pytest.mark.contract("proxy-for-each-origin")
def test_what_a_plugin_sends_from_a_session_without_the_environment_takes_no_proxy(
    flext_service, flext_elsewhere, fetching, environment, flext_world
):
    if flext_world.name != "requests":
        pytest.skip("sessions alone have `trust_env` beside the configuration")
    environment("http_proxy", flext_elsewhere.url)
    at = flext_service.url
    fetching(
        at,
        f"{at}/token",
        lambda session: setattr(session, "trust_env", False),
        allow_insecure=True,
    )
    assert flext_service.paths() == ["/token", "/"]


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.contract("proxy-for-each-origin")
def test_what_a_plugin_sends_from_a_session_trusts_the_environments_authorities(
    environment, tls, bundle
):
    place, ca, _ = tls
    url = f"https://{place}"
    environment(bundle, str(ca.path))
    services = {"service": {"base_url": url, "plugins": {"fetches": {"url": f"{url}/token"}}}}
    with Host({"services": services}) as host:
        host.register(Fetches, "fetches")
        session = host.connect("service", requests.Session)
        assert session.get("/").status_code == 200
        assert copy.copy(session).get("/").status_code == 200


# WebSockets


WEBSOCKETS = [("ws", "http"), ("wss", "https"), ("WSS", "https")]


@pytest.mark.parametrize(("scheme", "its"), WEBSOCKETS)
@pytest.mark.contract("origins-are-compared-whole")
def test_a_websocket_is_of_the_origin_that_it_begins_at(scheme, its):
    assert Origin.of(f"{scheme}://a.example/chat") == Origin.of(f"{its}://A.example.")
    port = {"ws": 80}.get(scheme, 443)
    assert Origin.of(f"{scheme}://a.example:{port}") == Origin.of(f"{its}://a.example")
    assert Origin.of(f"{scheme}://a.example:81") != Origin.of(f"{its}://a.example")


class Tags:
    """Marks what goes through the plugins."""

    @hookimpl
    def flext_request(self, request):
        assert request.url.scheme in {"http", "https"}
        request.headers["X-Tag"] = "1"


@pytest.mark.parametrize("verify", ["its authority", False, True])
@pytest.mark.contract("own-origin-only")
def test_a_websocket_to_the_service_has_its_plugins_and_its_tls(
    flext_httpx_world, environment, tls, verify
):
    place, ca, heads = tls
    if verify is True:
        environment("SSL_CERT_FILE", str(ca.path))
    service = {"base_url": f"https://{place}", "plugins": {"tags": {}}, "transport": "default"}
    service["verify"] = verify if isinstance(verify, bool) else str(ca.path)
    host = flext_httpx_world.host({"services": {"service": service}}, tags=Tags)
    assert flext_httpx_world.get(host, f"wss://{place}/chat").status_code == 200
    assert [each["X-Tag"] for each in heads] == ["1"]


@pytest.mark.contract("own-origin-only")
def test_a_websocket_in_clear_has_the_services_plugins(flext_service, flext_httpx_world):
    host = flext_httpx_world.serve(flext_service, Tags, transport="default")
    address = flext_service.url.replace("http://", "ws://")
    assert flext_httpx_world.get(host, f"{address}/chat").status_code == 200
    assert flext_service.received[0].headers["x-tag"] == "1"


@pytest.mark.contract("own-origin-only", "origins-are-compared-whole")
def test_a_websocket_to_another_port_is_elsewhere(
    flext_service, flext_elsewhere, flext_httpx_world
):
    host = flext_httpx_world.serve(flext_service, Tags, transport="default")
    address = flext_elsewhere.url.replace("http://", "ws://")
    assert flext_httpx_world.get(host, f"{address}/chat").status_code == 200
    assert "x-tag" not in flext_elsewhere.received[0].headers
