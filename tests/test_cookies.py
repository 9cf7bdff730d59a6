"""Cookies of a client are the library's own, though httpx's jar is asked about fewer answers."""

import http.cookiejar

import httpx
import httpx2
import pytest

from flext_plugins import Host
from flext_plugins.testing import Answer

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def connected(library, base, **options):
    host = Host({"services": {"svc": {"base_url": base}}})
    return host, host.connect("svc", client=library.Client, **options)


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
