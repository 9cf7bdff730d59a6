"""A client of ours makes the requests that its library would make, though it parses less."""

import copy
import http.cookiejar

import httpx
import httpx2
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from flext_plugins import Host
from flext_plugins._clients.httpx.client import MOST, Prepared
from flext_plugins.testing import Answer

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
BASES = ["http://127.0.0.1:9", "http://127.0.0.1:9/sub/", "http://127.0.0.1:9/s p/ü"]
SEGMENT = st.text("aB9-._~!$&'()*+,;=:@%/?#[] üé\n", max_size=12)
PATH = st.one_of(
    st.sampled_from(["/health", "/a/../b", "//other/x", "/%2F%zz", "", "?q=1", "/x#y", "a:b"]),
    SEGMENT.map(lambda text: f"/{text}"),
    SEGMENT,
    st.sampled_from(["http://127.0.0.1:9/x", "https://example.org/y", "http://[::1]/z"]),
)
CHANGES = [
    lambda client: client.headers.update({"X-Tenant": "ana"}),
    lambda client: client.headers.pop("X-Tenant", None),
    lambda client: setattr(client, "headers", {"X-New": "1"}),
    lambda client: setattr(client, "params", {"page": "2"}),
    lambda client: client.cookies.set("session", "s"),
    lambda client: client.cookies.clear(),
    lambda client: setattr(client, "timeout", 3.0),
    lambda client: setattr(client.timeout, "read", 4.0),
    lambda client: setattr(client, "base_url", "http://127.0.0.1:9/other"),
]
CHANGE = st.sampled_from(CHANGES)
OPTIONS = st.sampled_from(
    [
        {},
        {},
        {},
        {"headers": {"X-One": "1"}},
        {"params": {"q": "ü"}},
        {"json": {"a": 1}},
        {"timeout": 9.0},
        {"cookies": None, "extensions": None},
        {"extensions": {"sni_hostname": "x"}},
    ]
)
STEP = st.one_of(CHANGE, st.tuples(st.sampled_from(["GET", "post", "HEAD"]), PATH, OPTIONS))


def connected(library, base="http://127.0.0.1:9", client=None, **options):
    host = Host({"services": {"svc": {"base_url": base}}})
    return host, host.connect("svc", client=client or library.Client, **options)


def made(client, method, path, options):
    """What comes of a request, or the error's class."""
    try:
        request = client.build_request(method, path, **options)
    except Exception as error:
        return type(error)
    return (
        request.method,
        str(request.url),
        request.url.raw_path,
        request.headers.raw,
        request.extensions,
        request.content,
    )


@LIBRARIES
@given(base=st.sampled_from(BASES), steps=st.lists(STEP, min_size=2, max_size=12))
@settings(max_examples=300, deadline=None, derandomize=True)
@pytest.mark.contract("plain-without-plugins")
def test_requests_are_the_librarys_own_whatever_the_client_goes_through(library, base, steps):
    host, ours = connected(library, base)
    nowhere = library.MockTransport(print)  # spares a TLS context
    with host, ours, library.Client(base_url=base, transport=nowhere) as theirs:
        for step in steps:
            if callable(step):
                step(ours)
                step(theirs)
            else:
                for _ in range(2):
                    assert made(ours, *step) == made(theirs, *step)


@LIBRARIES
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.contract("plain-without-plugins")
def test_a_change_of_the_client_holds_from_the_next_request_on(library, change):
    host, ours = connected(library)
    nowhere = library.MockTransport(print)
    with host, ours, library.Client(base_url="http://127.0.0.1:9", transport=nowhere) as theirs:
        for client in (ours, theirs):
            client.headers["X-Tenant"] = "bob"
        for step in (None, change, None):
            for client in (ours, theirs):
                client.build_request("GET", "/x")
                if step:
                    step(client)
            assert made(ours, "GET", "/x", {}) == made(theirs, "GET", "/x", {})


@LIBRARIES
@pytest.mark.contract("plain-without-plugins")
def test_what_is_done_to_one_request_does_not_show_in_the_next(library):
    host, client = connected(library)
    with host, client:
        first = client.build_request("GET", "/x")
        again = client.build_request("GET", "/x")
        for request in (first, again):
            request.headers["X-Mark"] = "1"
            request.extensions["mark"] = 1
            request.extensions["timeout"]["read"] = 99.0
            request.url = library.URL("http://127.0.0.1:9/elsewhere")
        third = client.build_request("GET", "/x")
        assert "X-Mark" not in third.headers
        assert "mark" not in third.extensions
        assert third.extensions["timeout"]["read"] != 99.0
        assert third.url.path == "/x"


@LIBRARIES
def test_an_option_that_cannot_be_compared_is_passed_on(library):
    class Incomparable(dict):
        __hash__ = None

        def __eq__(self, other):
            raise ValueError("ambiguous")

    host, client = connected(library)
    with host, client:
        request = client.build_request("POST", "/x", json=Incomparable(a=1))
        assert request.content.replace(b" ", b"") == b'{"a":1}'
        with pytest.raises(TypeError):
            client.build_request("GET", "/x", unheard_of=None)


@LIBRARIES
@pytest.mark.contract("plain-without-plugins")
def test_a_client_class_that_makes_its_own_requests_goes_on_to_do_so(library):
    class Numbered(library.Client):
        number = 0

        def build_request(self, *args, **options):
            self.number += 1
            request = super().build_request(*args, **options)
            request.headers["X-Number"] = str(self.number)
            return request

    host, client = connected(library, client=Numbered)
    with host, client:
        numbers = [client.build_request("GET", "/x").headers["X-Number"] for _ in range(3)]
    assert numbers == ["1", "2", "3"]


@LIBRARIES
@pytest.mark.contract("kept-without-secrets")
def test_a_client_that_asks_for_ever_new_paths_keeps_few_of_them(library):
    host, client = connected(library)
    with host, client:
        for number in range(3 * MOST):
            client.build_request("GET", f"/orders/{number}")
            client.build_request("GET", f"/?token={number}")
            client.build_request("GET", f"http://ana:token-{number}@127.0.0.1:9/")
        paths = client._flext_prepared.urls
    assert 0 < len(paths) <= MOST
    assert not [path for path in paths if "token" in path]  # it may be a secret


def test_cookies_are_set_kept_replaced_and_sent(flext_world, flext_service):
    flext_service.answer = Answer(headers={"Set-Cookie": "session=one; Path=/"})
    host = flext_world.serve(flext_service)

    async def calls():
        client = await flext_world.client(host)
        for _ in range(3):
            await client.get("/x")

    flext_world.run(calls)
    sent = [each.headers.get("cookie") for each in flext_service.received]
    assert sent == [None, "session=one", "session=one"]


@LIBRARIES
@pytest.mark.contract("plain-without-plugins")
def test_a_cookie_jar_of_ones_own_hears_of_each_answer(library, flext_service):
    class Jar(http.cookiejar.CookieJar):
        heard = 0

        def extract_cookies(self, response, request):
            self.heard += 1
            super().extract_cookies(response, request)

    own = Jar()
    host, client = connected(library, flext_service.url, cookies=own)
    with host, client:
        client.get("/")
        client.get("/")
        assert client.cookies.jar is own
        plain = library.Client(cookies=(theirs := Jar()))
        with plain:
            plain.get(flext_service.url)
            plain.get(flext_service.url)
        assert own.heard == theirs.heard


@LIBRARIES
def test_cookies_can_be_put_in_place_of_others(library, flext_service):
    host, client = connected(library, flext_service.url)
    with host, client:
        client.cookies.set("a", "1")
        client.cookies = {"b": "2"}
        client.get("/")
        assert dict(client.cookies) == {"b": "2"}
        assert isinstance(client.cookies, library.Cookies)
    assert flext_service.received[0].headers["cookie"] == "b=2"


SESSION_CHANGES = [
    lambda session: session.headers.update({"X-Tenant": "ana"}),
    lambda session: session.headers.pop("X-Tenant", None),
    lambda session: setattr(session, "params", {"page": "2"}),
    lambda session: setattr(session, "params", [("page", "3")]),
    lambda session: session.cookies.set("session", "s"),
    lambda session: session.cookies.clear(),
    lambda session: setattr(session, "auth", ("ana", "secret")),
    lambda session: setattr(session, "auth", None),
    lambda session: session.hooks["response"].append(print),
    lambda session: session.hooks["response"].clear(),
    lambda session: setattr(session, "trust_env", not session.trust_env),
]
ASKED = [
    {},
    {},
    {"headers": {"X-One": "1"}},
    {"params": {"q": "ü"}},
    {"data": {"a": "1"}},
    {"data": b"bytes"},
    {"json": {}},
    {"files": {"file": b"content"}},
    {"auth": ("bob", "other")},
    {"cookies": {"c": "1"}},
    {"hooks": {"response": print}},
]
SESSION_STEP = st.one_of(
    st.sampled_from(SESSION_CHANGES),
    st.tuples(st.sampled_from(["GET", "post"]), PATH, st.sampled_from(ASKED)),
)


def prepared(session, method, path, options):
    try:
        made = session.prepare_request(requests.Request(method, BASES[0] + path, **options))
    except Exception as error:
        return type(error)
    boundary = (made.headers.get("Content-Type") or "").partition("boundary=")[2].encode()
    body = made.body.replace(boundary, b"") if boundary else made.body
    headers = {k: v for k, v in made.headers.items() if not (boundary and k == "Content-Type")}
    return made.method, made.url, list(headers.items()), body, made.hooks, dict(made._cookies)


@given(steps=st.lists(SESSION_STEP, min_size=2, max_size=12))
@settings(max_examples=300, deadline=None, derandomize=True)
@pytest.mark.contract("plain-without-plugins")
def test_sessions_prepare_what_requests_would_whatever_they_go_through(steps):
    host, ours = connected(requests, client=requests.Session)
    with host, ours, requests.Session() as theirs:
        for step in steps:
            if callable(step):
                step(ours)
                step(theirs)
            else:
                for _ in range(2):
                    assert prepared(ours, *step) == prepared(theirs, *step)


@pytest.mark.parametrize("change", SESSION_CHANGES)
@pytest.mark.contract("plain-without-plugins")
def test_a_change_of_a_session_holds_from_the_next_request_on(change):
    host, ours = connected(requests, client=requests.Session)
    with host, ours, requests.Session() as theirs:
        for step in (None, change, None):
            for session in (ours, theirs):
                prepared(session, "GET", "/x", {})
                if step:
                    step(session)
            assert prepared(ours, "GET", "/x", {}) == prepared(theirs, "GET", "/x", {})


@pytest.mark.contract("plain-without-plugins")
def test_what_is_done_to_one_prepared_request_does_not_show_in_the_next():
    host, session = connected(requests, client=requests.Session)
    with host, session:
        for _ in range(2):
            made = session.prepare_request(requests.Request("GET", f"{BASES[0]}/x"))
            made.headers["X-Mark"] = "1"
            made.register_hook("response", print)
            made.prepare_cookies({"c": "1"})
            made.url = "http://127.0.0.1:9/elsewhere"
        third = session.prepare_request(requests.Request("GET", f"{BASES[0]}/x"))
    assert third.url == f"{BASES[0]}/x"
    assert not {"X-Mark", "Cookie"} & third.headers.keys()
    assert third.hooks == {"response": []}


@pytest.mark.contract("plain-without-plugins")
def test_a_password_of_a_netrc_is_read_again_for_each_request(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    host, session = connected(requests, client=requests.Session)
    sent = []
    with host, session:
        for password in ("one", "two"):
            netrc.write_text(f"machine 127.0.0.1 login ana password {password}\n")
            made = session.prepare_request(requests.Request("GET", f"{BASES[0]}/x"))
            sent.append(made.headers["Authorization"])
    assert sent == [requests.auth._basic_auth_str("ana", each) for each in ("one", "two")]


@pytest.mark.contract("kept-without-secrets")
def test_a_session_that_asks_for_ever_new_paths_keeps_few_of_them():
    host, session = connected(requests, client=requests.Session)
    with host, session:
        for number in range(3 * MOST):
            session.prepare_request(requests.Request("GET", f"{BASES[0]}/orders/{number}"))
            session.prepare_request(requests.Request("GET", f"{BASES[0]}/?token={number}"))
            secret = f"http://ana:token-{number}@127.0.0.1:9/"
            session.prepare_request(requests.Request("GET", secret))
        _, methods, urls = session._flext_prepared
    assert 0 < len(urls) <= MOST
    assert list(methods) == ["GET"]
    assert not [url for url in urls if "token" in url]


@LIBRARIES
def test_a_template_is_of_the_client_as_it_was_when_it_was_looked_at(library):
    """Another thread may change it in between."""
    host, client = connected(library)
    with host, client:
        client.headers["X-Tenant"] = "ana"
        known = Prepared(client)
        client.headers["X-Tenant"] = "bob"
        client.cookies.set("session", "s")
        made = known.of("GET", library.URL(f"{BASES[0]}/x"), library)
    assert made.headers["x-tenant"] == "ana"
    assert "cookie" not in made.headers


@LIBRARIES
@pytest.mark.contract("kept-without-secrets")
def test_a_secret_among_a_clients_headers_is_kept_nowhere_else(library):
    host, client = connected(library, headers={"Authorization": "Bearer canary"})
    with host, client:
        for _ in range(2):
            request = client.build_request("GET", "/x")
            assert request.headers["authorization"] == "Bearer canary"
        del client.headers["Authorization"]
        assert "authorization" not in client.build_request("GET", "/x").headers
        kept = client._flext_prepared
        assert "canary" not in str([getattr(kept, name) for name in kept.__slots__])


@LIBRARIES
def test_another_jar_can_be_given_to_a_clients_cookies(library, flext_service):
    jar = library.Cookies({"a": "1"}).jar
    host, client = connected(library, flext_service.url)
    with host, client:
        client.get("/")
        client.cookies.jar = jar
        client.get("/")
        assert dict(client.cookies) == {"a": "1"}
    assert [each.headers.get("cookie") for each in flext_service.received] == [None, "a=1"]


@pytest.mark.parametrize("base", ["/api", "http://h/api?x=1", "mailto:x", "//host/x"])
@LIBRARIES
def test_a_base_that_is_no_plain_address_is_the_librarys_to_join(library, base):
    host, ours = connected(library)
    nowhere = library.MockTransport(print)
    with host, ours, library.Client(base_url=base, transport=nowhere) as theirs:
        ours.base_url = base
        for path in ("/x", "/{a}", "x"):
            assert made(ours, "GET", path, {}) == made(theirs, "GET", path, {})


def test_a_session_may_be_copied_send_while_it_is_made_and_have_no_headers(flext_service):
    class Early(requests.Session):
        def __init__(self):
            super().__init__()
            self.token = self.get(f"{flext_service.url}/token").status_code

    for kind in (requests.Session, Early):
        host, session = connected(requests, flext_service.url, client=kind)
        with host, session:
            assert copy.copy(session).get(f"{flext_service.url}/x").ok


def test_a_session_whose_headers_or_hooks_are_none_does_what_requests_does():
    host, ours = connected(requests, client=requests.Session)
    with host, ours, requests.Session() as theirs:
        for name in ("headers", "hooks"):
            for session in (ours, theirs):
                setattr(session, name, None)
            assert prepared(ours, "GET", "/x", {}) == prepared(theirs, "GET", "/x", {})


def test_a_session_class_that_asks_its_environment_is_asked_each_time(flext_service):
    class Streams(requests.Session):
        def merge_environment_settings(self, url, *args):
            found = super().merge_environment_settings(url, *args)
            return {**found, "stream": url.endswith("/stream")}

    host, session = connected(requests, flext_service.url, client=Streams)
    with host, session:
        assert session.get("/a")._content is not False
        assert session.get("/stream")._content is False
