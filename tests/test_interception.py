"""Libraries that intercept requests in tests do so at the wire: the plugins run, and show."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import requests
import responses
import respx

from flext_plugins import Host, hookimpl

URL = "http://flexcore.example"
SECRET = "canary-5d02"


class Marks:
    """Puts a credential on every request, and counts the answers."""

    answers = 0

    @hookimpl
    def flext_request(self, request):
        request.headers["X-API-Key"] = SECRET

    @hookimpl
    def flext_response(self, response):
        type(self).answers += 1


@pytest.fixture(params=["sync", "async"])
def get(request, monkeypatch):
    """Sends one GET through a host of its own."""
    monkeypatch.setattr(Marks, "answers", 0)

    def host():
        made = Host({"services": {"flexcore": {"base_url": URL, "plugins": {"marks": {}}}}})
        made.register(Marks, "marks")
        return made

    def send(path):
        with host() as made, made.connect("flexcore") as client:
            return client.get(path)

    async def asend(path):
        async with host() as made, made.aconnect("flexcore") as client:
            return await client.get(path)

    return send if request.param == "sync" else lambda path: asyncio.run(asend(path))


def _is_as_expected(answer, seen):
    assert answer.json() == {"status": "healthy"}
    assert seen.url == f"{URL}/health"
    assert seen.headers["X-API-Key"] == SECRET
    assert "X-API-Key" not in answer.request.headers
    assert Marks.answers == 1


@respx.mock
def test_respx_intercepts_and_shows_what_plugins_added(get):
    route = respx.get(f"{URL}/health").respond(json={"status": "healthy"})
    _is_as_expected(get("/health"), route.calls.last.request)


def test_respx_fails_as_the_network_would(get):
    with respx.mock as router:
        router.get(f"{URL}/health").mock(side_effect=httpx.ConnectTimeout)
        with pytest.raises(httpx.ConnectTimeout) as caught:
            get("/health")
    assert "X-API-Key" not in caught.value.request.headers


def test_pytest_httpx_intercepts_and_shows_what_plugins_added(get, httpx_mock):
    httpx_mock.add_response(url=f"{URL}/health", json={"status": "healthy"})
    _is_as_expected(get("/health"), httpx_mock.get_request())


def test_pytest_httpx_matches_what_plugins_added(get, httpx_mock):
    httpx_mock.add_response(match_headers={"X-API-Key": SECRET}, json={"status": "healthy"})
    assert get("/health").status_code == 200


def test_pytest_httpx_fails_as_the_network_would(get, httpx_mock):
    httpx_mock.add_exception(httpx.ReadTimeout("too late"))
    with pytest.raises(httpx.ReadTimeout, match="too late") as caught:
        get("/health")
    assert "X-API-Key" not in caught.value.request.headers


@responses.activate
def test_responses_matches_what_plugins_added_and_fails_as_the_network_would():
    marked = responses.matchers.header_matcher({"X-API-Key": SECRET})
    responses.get(f"{URL}/health", match=[marked], json={"status": "healthy"})
    responses.get(f"{URL}/gone", body=requests.ConnectTimeout("too late"))
    with Host({"services": {"flexcore": {"base_url": URL, "plugins": {"marks": {}}}}}) as host:
        host.register(Marks, "marks")
        session = host.connect("flexcore", requests.Session)
        assert session.get("/health").json() == {"status": "healthy"}
        with pytest.raises(requests.ConnectTimeout, match="too late") as caught:
            session.get("/gone")

    assert [call.request.headers["X-API-Key"] for call in responses.calls] == [SECRET, SECRET]
    assert "X-API-Key" not in caught.value.request.headers


def test_without_their_fixtures_neither_intercepts(flext_service):
    """Both are installed as plugins of pytest."""
    with Host({"services": {"echo": {"base_url": flext_service.url}}}) as host:
        assert host.connect("echo").get("/real").json()["path"] == "/real"
        assert host.connect("echo", requests.Session).get("/too").json()["path"] == "/too"
    assert flext_service.paths() == ["/real", "/too"]
