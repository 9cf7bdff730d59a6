"""A host's status over HTTP: who may ask, what is answered, and what is done for all processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import httpx
import pytest
from pydantic import SecretStr

from flext_plugins import ConfigError, Host, Status, hookimpl, status
from flext_plugins.testing import Answer

pytestmark = pytest.mark.once

TOKEN = "t0ken-of-16-or-more"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Caller:
    """Asks one of the two applications, in this process."""

    def __init__(self, kind, host, **options):
        make = status.asgi if kind == "asgi" else status.wsgi
        self._app, self._is_async = make(host, token=TOKEN, **options), kind == "asgi"

    def __call__(self, path="/", method="GET", headers=BEARER, at="http://127.0.0.1:8080"):
        if not self._is_async:
            transport = httpx.WSGITransport(self._app)
            with httpx.Client(transport=transport, base_url=at, headers=headers) as client:
                return client.request(method, path)

        async def ask():
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(
                transport=transport, base_url=at, headers=headers
            ) as client:
                return await client.request(method, path)

        return asyncio.run(ask())


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request):
    return request.param


@pytest.fixture
def host(flext_service, tmp_path):
    flext_service.answer = Answer()
    shared = {"circuit-breaker": {"shared": str(tmp_path / "circuits")}}
    services = {
        "orders": {"base_url": flext_service.url, "health": "/health", "plugins": shared},
        "own": {"base_url": flext_service.url, "plugins": {"circuit-breaker": {}}},
        "a/b c": {"base_url": flext_service.url, "plugins": shared},
        "bare": {"base_url": "http://user:pass@127.0.0.1:1"},
    }
    with Host({"services": services}) as made:
        yield made


@pytest.fixture
def ask(kind, host):
    return Caller(kind, host)


def test_it_shows_the_status_in_json(ask, host):
    host.connect("orders").get("/")
    answer = ask()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    told = answer.json()
    assert told["process"] == os.getpid()
    assert told["started"] == host.status().started
    (connection,) = told["services"]["orders"]["connections"]
    assert connection["plugins"]["circuit-breaker"]["circuits"][0]["state"] == "closed"
    assert "pass" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


class Page(HTMLParser):
    """Looks at what a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], set(), set(), ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += f"{data}\n"


def test_it_shows_the_status_as_a_page_without_a_script(kind, flext_service):
    class Odd:
        @hookimpl
        def flext_status(self):
            nothing = {"none": None, "list": [], "table": {}, "on": True}
            return Status({"<script>": "<script>&\"'", "deep": [{"a": [1, 2]}], **nothing})

    services = {"<b>": {"base_url": flext_service.url, "plugins": {"odd": {}}}}
    with Host({"services": services}) as host:
        host.register(Odd, "odd")
        host.connect("<b>").get("/")
        host.health()
        answer = Caller(kind, host)(headers={**BEARER, "Accept": "text/html,*/*;q=0.1"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(answer.text)
    assert page.tags.isdisjoint({"script", "link", "img", "form", "a", "iframe"})
    assert page.attributes == {"charset", "content", "lang", "name"}
    assert "<b>" in page.text
    assert "<script>&\"'" in page.text
    assert str(os.getpid()) in page.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert re.search(r"style-src 'sha256-[\w+/]+='", policy)


ODD = {
    "half a character": "\ud800",
    "a number that none is": float("nan"),
    "a number without end": 10**5000,
    "a key that is no text": {(1, 2): 3},
    "an object": object(),
}


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize("what", ODD)
def test_a_plugins_odd_facts_hide_nothing_else(kind, flext_service, what, accept):
    class Odd:
        @hookimpl
        def flext_status(self):
            return Status({"odd": ODD[what]})

    plugins = {"odd": {}, "circuit-breaker": {}}
    services = {"s": {"base_url": flext_service.url, "plugins": plugins}}
    with Host({"services": services}) as host:
        host.register(Odd, "odd")
        host.connect("s").get("/")
        answer = Caller(kind, host)(headers={**BEARER, "Accept": accept})
    assert answer.status_code == 200
    assert "closed" in answer.text


def test_an_action_that_fails_is_told(kind, flext_service):
    class Stiff:
        @hookimpl
        def flext_status(self):
            return Status({"shared": True}, {"trip": lambda: 1 / 0})

    services = {"s": {"base_url": flext_service.url, "plugins": {"stiff": {}}}}
    with Host({"services": services}) as host:
        host.register(Stiff, "stiff")
        answer = Caller(kind, host)("/services/s/trip", "POST")
    assert answer.status_code == 409
    assert answer.json() == {"error": "it could not be done: ZeroDivisionError"}


def test_a_service_for_event_loops_alone_is_tripped_from_one(flext_service, tmp_path):
    class Awaits:
        @hookimpl
        async def flext_connect(self):
            await asyncio.sleep(0)

    plugins = {"awaits": {}, "circuit-breaker": {"shared": str(tmp_path / "circuits")}}
    services = {"s": {"base_url": flext_service.url, "plugins": plugins}}
    with Host({"services": services}) as host:
        host.register(Awaits, "awaits")
        assert Caller("asgi", host)("/services/s/trip", "POST").status_code == 200
        answer = Caller("wsgi", host)("/services/s/trip", "POST")
        assert (answer.status_code, "sync connection" in answer.text) == (409, True)


WRONG = {
    "none": {},
    "another": {"Authorization": "Bearer t0ken-of-16-or-mor"},
    "a longer one": {"Authorization": f"Bearer {TOKEN}x"},
    "as basic": {"Authorization": f"Basic {TOKEN}"},
    "bare": {"Authorization": TOKEN},
    "empty": {"Authorization": "Bearer "},
    "in a cookie": {"Cookie": f"token={TOKEN}; Authorization=Bearer {TOKEN}"},
}


@pytest.mark.contract("status-wants-the-token")
@pytest.mark.parametrize("path", ["/", "/health", "/services/orders/trip", "/nowhere"])
@pytest.mark.parametrize("what", WRONG)
def test_without_the_token_nothing_is_told_and_nothing_is_done(ask, host, what, path):
    method = "POST" if path.endswith("trip") else "GET"
    answer = ask(path, method, WRONG[what])
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert set(answer.json()) == {"error"}
    assert host.status().services["orders"].connections == ()


def test_a_token_beyond_ascii_is_another_one(host):
    """As servers hand it on, which httpx's transport for WSGI cannot."""
    told = []
    environ = {"REQUEST_METHOD": "GET", "HTTP_HOST": "127.0.0.1"}
    environ["HTTP_AUTHORIZATION"] = "Bearer töken\udcff€"
    application = status.wsgi(host, token=TOKEN)
    application(environ, lambda said, headers: told.append(said))
    assert told == ["401 Unauthorized"]


@pytest.mark.contract("status-wants-the-token")
def test_a_token_in_the_address_counts_for_nothing(ask):
    assert ask(f"/?token={TOKEN}&access_token={TOKEN}", headers={}).status_code == 401


@pytest.mark.parametrize(
    "token", ["", "short", "with blanks in it, it is long", "ünsendable-token-of-20"]
)
def test_a_token_that_is_short_or_cannot_be_sent_is_refused(kind, token):
    with pytest.raises(ConfigError, match="token takes 16 or more characters"):
        getattr(status, kind)(Host({}), token=token)


def test_a_token_may_be_a_secret(kind):
    with Host({}) as host:
        getattr(status, kind)(host, token=SecretStr(TOKEN))


@pytest.mark.contract("status-wants-the-token")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("10.1.2.3", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("status.example", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("status.example.evil.example:80", 400),
        ("", 400),
        ("[::1", 400),
        ("a b", 400),
        ("evil.example:80@127.0.0.1", 400),
        ("127.0.0.1#evil.example", 400),
        ("127.0.0.1:999999", 400),
    ],
)
def test_a_name_that_somebody_elses_dns_may_have_led_here_is_refused(kind, host, name, expected):
    ask = Caller(kind, host, names=["Status.example"])
    assert ask(headers={**BEARER, "Host": name}).status_code == expected


@pytest.mark.parametrize(
    ("method", "path", "expected", "allow"),
    [
        ("POST", "/", 405, "GET, HEAD"),
        ("DELETE", "/health", 405, "GET, HEAD"),
        ("GET", "/services/orders/trip", 405, "POST"),
        ("GET", "/services", 404, None),
        ("POST", "/services/orders/burn", 404, None),
        ("POST", "/services/nobody/trip", 404, None),
        ("POST", "/services//trip", 404, None),
    ],
)
def test_other_requests_are_told_what_there_is(ask, method, path, expected, allow):
    answer = ask(path, method)
    assert (answer.status_code, answer.headers.get("allow")) == (expected, allow)


def test_head_tells_what_get_would_without_a_body(ask):
    answer = ask(method="HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 100


def test_health_is_asked_when_it_is_wanted(ask, host, flext_service):
    answer = ask("/health")
    assert answer.status_code == 503
    told = answer.json()["services"]
    assert answer.json()["process"] == os.getpid()
    assert {name: each["healthy"] for name, each in told.items()} == {
        "orders": True,
        "own": True,
        "a/b c": True,
        "bare": False,
    }
    assert host.status().services["orders"].health.checked == told["orders"]["checked"]


def test_health_of_services_that_are_all_well_is_200(kind, flext_service):
    with Host({"services": {"s": {"base_url": flext_service.url}}}) as host:
        assert Caller(kind, host)("/health").status_code == 200


@pytest.mark.parametrize("service", ["orders", "a/b c"])
@pytest.mark.parametrize("is_open", [True, False])
def test_a_service_is_tripped_and_reset(ask, host, service, is_open):
    if is_open:
        host.connect(service).get("/")
    answer = ask(f"/services/{service}/trip", "POST")
    assert answer.status_code == 200
    (circuit,) = answer.json()["plugins"]["circuit-breaker"]["circuits"]
    assert circuit["state"] == "forced-open"
    with pytest.raises(httpx.TransportError, match="held open until it is reset"):
        host.connect(service).get("/")
    assert ask(f"/services/{service}/reset", "POST").status_code == 200
    assert host.connect(service).get("/").status_code == 200


@pytest.mark.parametrize(
    ("service", "problem"),
    [("own", "say in its settings where it is `shared`"), ("bare", "has anything to trip")],
)
def test_what_would_be_done_in_one_process_only_is_not_done(ask, host, service, problem):
    answer = ask(f"/services/{service}/trip", "POST")
    assert answer.status_code == 409
    assert problem in answer.json()["error"]
    if service == "own":
        assert host.connect("own").get("/").status_code == 200


PROGRAM = """
import os
from flext_plugins import Host, status

breaker = {{"circuit-breaker": {{"shared": {folder!r}}}}}
host = Host({{"services": {{"orders": {{"base_url": {url!r}, "plugins": breaker}}}}}})
client = host.connect("orders")
pages = status.wsgi(host, token={token!r})


def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/status"):
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/status")
        return pages(environ, start_response)
    try:
        said = str(client.get("/").status_code)
    except Exception as error:
        said = type(error).__name__
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{os.getpid()}} {{said}}".encode()]
"""


@pytest.fixture
def four_workers(flext_service, tmp_path):
    """A program in four processes, by gunicorn; gives its address, and gunicorn's process."""
    flext_service.answer = Answer()
    text = PROGRAM.format(folder=str(tmp_path / "circuits"), url=flext_service.url, token=TOKEN)
    (tmp_path / "program.py").write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        bound = ["--bind", f"fd://{listening.fileno()}", "--workers", "4"]
        gunicorn = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *bound, "--no-control-socket", "program"],
            cwd=tmp_path,
            pass_fds=[listening.fileno()],
            stderr=subprocess.DEVNULL,
        )
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", gunicorn
        finally:
            gunicorn.terminate()
            gunicorn.wait(20)


def calls(url, number):
    """What a program with workers says to so many callers, a connection each, 16 at a time."""

    def call(_):
        return httpx.get(url, trust_env=False, timeout=30).text.split()

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(call, range(number)))


def test_with_four_workers_a_trip_reaches_all_and_those_that_start_later(four_workers):
    url, gunicorn = four_workers
    workers = set()
    end = time.monotonic() + 60
    while len(workers) < 4:  # until each has answered
        assert time.monotonic() < end
        for process, said in calls(url, 32):
            assert said == "200"
            workers.add(int(process))
    where = f"{url}/status/services/orders"
    with httpx.Client(headers=BEARER, trust_env=False, timeout=30) as operator:
        assert operator.post(f"{where}/trip").status_code == 200
        refused = calls(url, 100)
        assert {said for _, said in refused} == {"CircuitOpen"}
        assert len(refused) == 100
        os.kill(workers.pop(), signal.SIGKILL)
        assert {said for _, said in calls(url, 100)} == {"CircuitOpen"}
        shown = operator.get(f"{url}/status/").json()
        assert operator.post(f"{where}/reset").status_code == 200
    assert {said for _, said in calls(url, 100)} == {"200"}
    assert shown["process"] != gunicorn.pid
    assert json.dumps(shown)
