"""A service with `transport = "own"` is spoken to over what the application makes."""

from __future__ import annotations

import asyncio

import httpx
import httpx2
import pytest
import requests

from flext_plugins import ConfigError, Host, hookimpl
from flext_plugins.testing import Answer

ADDRESS, PROXY = "http://service.example", "http://proxy.example:3128"


class Marks:
    """Puts a header on every request, and notes the answers."""

    seen: list[int] = []

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Mark"] = "here"

    @hookimpl
    def flext_response(self, response):
        self.seen.append(response.status_code)


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def lib(request):
    return request.param


@pytest.fixture
def host():
    service = {"base_url": ADDRESS, "transport": "own", "plugins": {"marks": {}}}
    with Host({"services": {"service": service}}) as host:
        host.register(Marks, "marks")
        Marks.seen.clear()
        yield host


def mock(lib, answer):
    """Makes a transport that notes requests."""
    received = []

    def answered(request):
        received.append(request)
        return answer(request)

    return received, lambda service: lib.MockTransport(answered)


async def echo(scope, receive, send):
    """Answers with the header that a plugin has put there."""
    body = dict(scope["headers"])[b"x-mark"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.contract("own-transport")
def test_a_sync_client_goes_through_plugins_and_then_over_it(host, lib):
    received, factory = mock(lib, lambda request: lib.Response(201, text="made"))
    host.provide(lib.BaseTransport, factory)
    answer = host.connect("service", lib.Client).get("/x")
    assert (answer.status_code, answer.text) == (201, "made")
    assert received[0].headers["X-Mark"] == "here"
    assert str(received[0].url) == f"{ADDRESS}/x"
    assert Marks.seen == [201]


def test_an_application_is_tested_without_a_socket(lib, host):
    host.provide(lib.AsyncBaseTransport, lambda service: lib.ASGITransport(echo))

    async def calls():
        async with host, host.aconnect("service", lib.AsyncClient) as client:
            assert (await client.get("/")).content == b"here"
            async with client.stream("GET", "/") as response:
                assert [each async for each in response.aiter_bytes()] == [b"here"]

    asyncio.run(calls())


@pytest.mark.contract("own-transport")
def test_it_is_made_once_for_a_connection_and_closed_with_the_host(lib, host):
    class Closing(lib.MockTransport):
        made = closed = 0

        def __init__(self, service):
            super().__init__(lambda request: lib.Response(200))
            assert service.name == "service"
            Closing.made += 1

        def close(self):
            Closing.closed += 1

    host.provide(lib.BaseTransport, Closing)
    for _ in range(3):
        with host.connect("service", lib.Client) as client:
            client.get("/")
    assert (Closing.made, Closing.closed) == (1, 0)
    host.close()
    assert (Closing.made, Closing.closed) == (1, 1)


@pytest.mark.contract("own-transport")
def test_each_event_loop_has_one_of_its_own(lib, host):
    loops = []

    class Bound(lib.ASGITransport):
        def __init__(self, service):
            super().__init__(echo)
            loops.append(asyncio.get_running_loop())

    host.provide(lib.AsyncBaseTransport, Bound)

    async def calls():
        async with host.aconnect("service", lib.AsyncClient) as client:
            for _ in range(2):
                await client.get("/")

    asyncio.run(calls())
    asyncio.run(calls())
    assert len(loops) == 2


def test_its_errors_are_the_librarys_as_from_any_other(host, lib):
    def refuse(request):
        raise lib.ConnectError("refused", request=request)

    host.provide(lib.BaseTransport, mock(lib, refuse)[1])
    with pytest.raises(lib.ConnectError, match="refused"):
        host.connect("service", lib.Client).get("/")


def test_a_redirect_to_another_origin_goes_over_it_too_without_the_services_headers(host, lib):
    def answer(request):
        if request.url.host == "service.example":
            return lib.Response(302, headers={"Location": "http://other.example/y"})
        return lib.Response(200)

    received, factory = mock(lib, answer)
    host.provide(lib.BaseTransport, factory)
    host.connect("service", lib.Client, follow_redirects=True).get("/x")
    assert [each.url.host for each in received] == ["service.example", "other.example"]
    assert "X-Mark" not in received[1].headers


@pytest.mark.contract("own-transport")
def test_permits_bound_it_as_any_other(lib):
    service = {"base_url": ADDRESS, "transport": "own", "max_connections": 1, "timeout": 0.1}
    with Host({"services": {"service": service}}) as host:
        body = [b"never ", b"ending"]
        factory = mock(lib, lambda request: lib.Response(200, content=iter(body)))[1]
        host.provide(lib.BaseTransport, factory)
        client = host.connect("service", lib.Client)
        with client.stream("GET", "/"), pytest.raises(lib.PoolTimeout):
            client.get("/")
        assert client.get("/").content == b"never ending"


def test_without_a_function_that_makes_one_nothing_connects(host, lib):
    what = rf"transport = 'own', and nothing makes one: call host.provide\({lib.__name__}.BaseT"
    with pytest.raises(ConfigError, match=what):
        host.connect("service", lib.Client)
    with pytest.raises(ConfigError, match=what):
        host.transport("service", lib.BaseTransport)
    host.provide(lib.BaseTransport, mock(lib, lambda request: lib.Response(200))[1])
    assert host.connect("service", lib.Client).get("/").status_code == 200


def test_a_function_is_wanted_and_no_transport(host, lib):
    with pytest.raises(ConfigError, match="takes a function that makes one for a service"):
        host.provide(lib.BaseTransport, lib.MockTransport(print))


def test_a_function_that_makes_something_else_is_told_so(host, lib):
    host.provide(lib.BaseTransport, lambda service: lib.Client)
    what = f"host.provide.{lib.__name__}.BaseTransport, .* makes none of it, but the class Client"
    with pytest.raises(ConfigError, match=what):
        host.connect("service", lib.Client).get("/")


@pytest.mark.contract("own-transport")
def test_a_session_is_refused_since_it_has_urllib3(host):
    with pytest.raises(ConfigError) as caught:
        host.connect("service", requests.Session)
    assert str(caught.value) == (
        "service 'service' has transport = 'own', which cannot serve requests: "
        "it serves httpx, httpx async, httpx2, httpx2 async"
    )


@pytest.mark.contract("own-transport")
def test_from_the_defaults_a_client_that_it_cannot_serve_gets_the_librarys_own(flext_service, lib):
    flext_service.answer = Answer(body=b"by urllib3")
    services = {"service": {"base_url": flext_service.url}}
    with Host({"defaults": {"transport": "own"}, "services": services}) as host:
        factory = mock(lib, lambda request: lib.Response(200, text="by hand"))[1]
        host.provide(lib.BaseTransport, factory)
        assert host.connect("service", lib.Client).get("/").text == "by hand"
        assert host.connect("service", requests.Session).get("/").text == "by urllib3"
        shown = str(host.explain("service"))
    assert "transport = own  (code)" in shown
    assert "transport of requests: default" in shown
    assert "transport of httpx async: own" in shown


def test_explain_says_so_of_each_client(host):
    explained = host.explain("service")
    assert explained.transports == {
        **dict.fromkeys(("httpx", "httpx async", "httpx2", "httpx2 async"), "own"),
        "requests": "none",
    }
    assert "transport of requests: none" in str(explained)


@pytest.mark.parametrize(
    ("name", "value"),
    {
        "http2": True,
        "cert": "c.pem",
        "verify": False,
        "proxy": PROXY,
        "keepalive_expiry": 3,
    }.items(),
)
def test_what_it_would_not_heed_is_refused_beside_it(name, value):
    service = {"base_url": ADDRESS, "transport": "own", name: value}
    with pytest.raises(ConfigError) as caught:
        Host({"services": {"service": service}}).check()
    problems = [each for each in caught.value.problems if "transport = 'own'" in each]
    assert problems == [f"services.service.{name}: means nothing with transport = 'own'"]
