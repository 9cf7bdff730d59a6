"""Who gives tokens and who wants them: the devstack, a certified OAuth 2.0 server, TLS."""

import base64
import json
import os
import shutil
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from flext_plugins_auth.cache import TokenCaches
from flext_plugins_devstack import Devstack
from flext_plugins_devstack.certificates import authority

from flext_plugins import Host
from flext_plugins.testing import Answer, LoopbackService, Received

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def running() -> Iterator[Devstack]:
    with Devstack(protected=True) as stack:
        yield stack


@pytest.fixture
def forget() -> Callable[[Host, str], None]:
    """Lets the time be over for which it is remembered that a service's token was not fetched."""

    def over(host: Host, service: str) -> None:
        target = host._runtime.composed(service).service
        for cache in target.shared(TokenCaches, TokenCaches)._caches.values():
            assert cache.failures.remaining
            cache.failures._until = 0.0

    return over


class Fresh:
    """A server that nobody has talked to yet, as far as it tells."""

    def __init__(self, server: Any) -> None:
        server.up()
        server.clear()
        self._server, self._before = server, len(server.received)
        self._logins = getattr(server, "logins", 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    @property
    def received(self) -> list[Any]:
        return list(self._server.received[self._before :])

    @property
    def logins(self) -> int:
        return int(self._server.logins - self._logins)


class Stack:
    """A protected stack without faults."""

    def __init__(self, running: Devstack, tokens: LoopbackService) -> None:
        running.auth.token_lifetime = 3600.0
        tokens.answer = Answer(body=b'{"access_token": "fetched"}')
        self.tokens = tokens
        self.running = running
        self.auth, self.flexcore = Fresh(running.auth), Fresh(running.flexcore)
        self.echo = Fresh(running.echo)


@pytest.fixture
def stack(running: Devstack, flext_elsewhere: LoopbackService) -> Stack:
    return Stack(running, flext_elsewhere)


class Issuer:
    """The npm package oidc-provider, a certified OAuth 2.0 server, in a process of its own."""

    secret = "s+cr:t &=%/"
    """Of its clients, as in oidc/server.mjs."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "server.mjs"],
            cwd=HERE / "oidc",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.token_url = f"{self.url}/token"

    def close(self) -> None:
        """It ends with its input."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)

    def post(self, path: str, body: bytes, **headers: str) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found: dict[str, Any] = json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                found = json.loads(error.read())
        return found

    def ask(self, path: str, client: str = "service", **form: str) -> dict[str, Any]:
        """What it answers to a client's form."""
        pair = f"{client}:{quote_plus(self.secret)}".encode()
        basic = f"Basic {base64.b64encode(pair).decode()}"
        return self.post(path, urlencode(form).encode(), Authorization=basic)

    def asked(self) -> dict[str, int]:
        """How often each grant has been asked for since this was called last."""
        return self.post("/test/asked", b"")

    def refresh_token(self, client: str = "service") -> str:
        """A user's, as given to the client by an authorization in a browser."""
        body = json.dumps({"client_id": client}).encode()
        return str(self.post("/test/refresh-token", body)["refresh_token"])

    def late(self, seconds: float) -> None:
        """Make the token endpoint wait before it answers."""
        self.post("/test/late", json.dumps({"seconds": seconds}).encode())

    def revoke(self, token: str, client: str = "service") -> None:
        """Make an access token worthless before its end."""
        self.ask("/token/revocation", client, token=token)

    def guard(self, received: Received) -> Answer:
        """What a service answers that asks here about each token: its bearer, or 401."""
        token = received.headers.get("authorization", "").removeprefix("Bearer ")
        told = self.ask("/token/introspection", "api", token=token or "none")
        return Answer(200 if told["active"] else 401, body=json.dumps(told).encode())


@pytest.fixture(scope="session")
def running_issuer() -> Iterator[Issuer]:
    missing = [] if shutil.which("node") else ["node"]
    if not (HERE / "oidc/node_modules/oidc-provider").is_dir():
        missing.append("oidc-provider")
    if missing:
        wanted = f"{' and '.join(missing)} not installed; `make test` installs them"
        if os.environ.get("CI"):
            pytest.fail(f"{wanted} (nothing is skipped where CI is set)", pytrace=False)
        pytest.skip(wanted)
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def issuer(running_issuer: Issuer) -> Issuer:
    running_issuer.late(0)
    running_issuer.asked()
    return running_issuer


class TlsServer:
    """An https server that wants a client certificate, and tells whose it was given."""

    def __init__(self, folder: Path) -> None:
        self.authority = authority(folder)
        self.received: list[tuple[str, bytes, dict[str, str]]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                connection: Any = self.connection
                names = dict(pair[0] for pair in connection.getpeercert()["subject"])
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                received.append((names["commonName"], sent, dict(self.headers)))
                body = json.dumps({"access_token": "over-tls", "token_type": "Bearer"}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Handshakes fail here on purpose."""

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority.path)
        context.load_cert_chain(self.authority.server)
        context.verify_mode = ssl.CERT_REQUIRED
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def service(self, **more: Any) -> dict[str, Any]:
        """How a client gets in."""
        tls = {"verify": str(self.authority.path), "cert": str(self.authority.client)}
        return {"base_url": self.url, **tls, **more}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[TlsServer]:
    server = TlsServer(tmp_path)
    yield server
    server.close()
