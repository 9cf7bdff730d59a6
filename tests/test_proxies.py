"""Credentials for a service on this machine do not leave it by a proxy."""

import contextlib

import pytest
import requests
from pydantic import BaseModel

from flext_plugins import ConfigError, FlextError, Host, Secret, ServiceName, ServiceURL, hookimpl
from flext_plugins.testing import Answer

CANARY = "canary-51e0"
AWAY = "http://proxy.example:3128"
NAMES = ("http", "https", "all", "no")


class Login:
    """Sends a secret to its own service, and first to where it logs in."""

    class Settings(BaseModel):
        password: Secret
        at: ServiceName | None = None
        url: ServiceURL | None = None

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    async def flext_request(self, request, connection):
        secret = self.settings.password.get_secret_value()
        if (target := self.settings.at) or self.settings.url:
            url = "/token" if target else self.settings.url
            target = target or self.settings.url.origin
            await connection.close(
                await connection.request(target, "POST", url, content=secret.encode())
            )
        else:
            request.headers["Authorization"] = secret


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in NAMES:
        for each in (f"{name}_proxy", f"{name}_proxy".upper()):
            monkeypatch.delenv(each, raising=False)


def host_of(service, others=None, **defaults):
    login = {"plugins": {"login": {"password": CANARY}}}
    here = {"base_url": "http://localhost:8080", **login, **service}
    made = Host({"services": {"a": here, **(others or {})}, "defaults": defaults})
    made.register(Login, "login")
    return made


def secret_header(**more):
    return {"plugins": {}, "headers": {"X-API-Key": CANARY}, **more}


LOGS_IN_AT_B = {
    "base_url": "https://a.example",
    "plugins": {"login": {"password": CANARY, "at": "b"}},
}
FETCHES_HERE = {
    "base_url": "https://a.example",
    "plugins": {"login": {"password": CANARY, "url": "http://localhost:9/token"}},
}
B = {"b": {"base_url": "http://localhost:9"}}
LEAVES = {
    "a configured proxy": ({}, {"proxy": AWAY}, "services.a.proxy"),
    "one that is reached by TLS": ({}, {"proxy": "https://proxy.example"}, "services.a.proxy"),
    "one with user info": ({}, {"proxy": f"http://me:{CANARY}@10.0.0.1"}, "services.a.proxy"),
    "what only looks like loopback": (
        {},
        {"proxy": "http://localhost.example"},
        "services.a.proxy",
    ),
    "a proxy for all services": ({}, {"defaults": {"proxy": AWAY}}, "defaults.proxy"),
    "http_proxy": ({"http_proxy": AWAY}, {}, "services.a.base_url"),
    "HTTP_PROXY": ({"HTTP_PROXY": AWAY}, {}, "services.a.base_url"),
    "all_proxy": ({"all_proxy": AWAY}, {}, "services.a.base_url"),
    "ALL_PROXY": ({"ALL_PROXY": AWAY}, {}, "services.a.base_url"),
    "SOCKS": ({"all_proxy": "socks5://proxy.example:1080"}, {}, "services.a.base_url"),
    "without a scheme": ({"http_proxy": "proxy.example:3128"}, {}, "services.a.base_url"),
    "user info in a variable": (
        {"http_proxy": f"http://me:{CANARY}@proxy.example"},
        {},
        "services.a.base_url",
    ),
    "the environment's, on loopback": (
        {"http_proxy": "http://127.0.0.1:3128"},
        {},
        "services.a.base_url",
    ),
    "no_proxy for another host": (
        {"http_proxy": AWAY, "no_proxy": "example.com,127.0.0.1"},
        {},
        "services.a.base_url",
    ),
    "no_proxy for another port": (
        {"http_proxy": AWAY, "no_proxy": "localhost:81"},
        {},
        "services.a.base_url",
    ),
    "IPv6": ({"http_proxy": AWAY}, {"base_url": "http://[::1]:8080"}, "services.a.base_url"),
    "a name below localhost": (
        {"http_proxy": AWAY, "no_proxy": "127.0.0.1"},
        {"base_url": "http://app.localhost"},
        "services.a.base_url",
    ),
    "a secret header": ({"http_proxy": AWAY}, secret_header(), "services.a.base_url"),
    "a header by reference": (
        {"http_proxy": AWAY},
        {"plugins": {}, "headers": {"X-Any": "env:HOME"}},
        "services.a.base_url",
    ),
    "user info": (
        {"http_proxy": AWAY},
        {"plugins": {}, "base_url": f"http://me:{CANARY}@localhost"},
        "services.a.base_url",
    ),
    "a service that is logged in at": (
        {"http_proxy": AWAY},
        {**LOGS_IN_AT_B, "others": B},
        "services.b.base_url",
    ),
    "an address that is logged in at": (
        {"http_proxy": AWAY},
        FETCHES_HERE,
        "services.a.plugins.login.url",
    ),
    "that address by a proxy for all": (
        {},
        {**FETCHES_HERE, "defaults": {"proxy": AWAY}},
        "services.a.plugins.login.url",
    ),
}


@pytest.mark.parametrize(("variables", "said", "place"), LEAVES.values(), ids=LEAVES)
@pytest.mark.contract("credentials-stay-here")
def test_credentials_for_this_machine_by_way_of_a_proxy_are_refused_at_composing(
    monkeypatch, variables, said, place
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    said = dict(said)
    host = host_of(others=said.pop("others", {}), **said.pop("defaults", {}), service=said)
    with pytest.raises(ConfigError) as caught:
        host.check("a")
    (problem,) = caught.value.problems
    assert problem.startswith(f"{place}: ")
    assert "would send credentials over plain http:// to the proxy " in problem
    assert "allow_insecure = true" in problem
    assert CANARY not in problem


STAYS = {
    "no proxies for this service": ({"http_proxy": AWAY}, {"proxy": False}),
    "no proxies for any": ({"http_proxy": AWAY}, {"defaults": {"proxy": False}}),
    "no_proxy": ({"http_proxy": AWAY, "no_proxy": "localhost"}, {}),
    "NO_PROXY": ({"HTTP_PROXY": AWAY, "NO_PROXY": "x.example, localhost"}, {}),
    "no_proxy for all": ({"all_proxy": AWAY, "no_proxy": "*"}, {}),
    "no_proxy for the port": ({"http_proxy": AWAY, "no_proxy": "localhost:8080"}, {}),
    "no_proxy for what is below": (
        {"http_proxy": AWAY, "no_proxy": "localhost"},
        {"base_url": "http://app.localhost"},
    ),
    "a proxy for https alone": ({"https_proxy": AWAY}, {}),
    "a proxy that was chosen on this machine": ({}, {"proxy": "http://127.0.0.1:3128"}),
    "one by name": ({"http_proxy": AWAY}, {"proxy": "http://localhost:3128"}),
    "one by IPv6": ({}, {"proxy": "http://[::1]:3128"}),
    "TLS through the proxy": ({"https_proxy": AWAY}, {"base_url": "https://localhost"}),
    "TLS to a token": (
        {"https_proxy": AWAY},
        {**LOGS_IN_AT_B, "others": {"b": {"base_url": "https://b.example"}}},
    ),
    "what has been allowed": ({"http_proxy": AWAY}, {"allow_insecure": True}),
    "what has been allowed to all": ({"http_proxy": AWAY}, {"defaults": {"allow_insecure": True}}),
    "no credentials": ({"http_proxy": AWAY}, {"plugins": {}, "headers": {"X-Service": "a"}}),
    "an observer's": (
        {"http_proxy": AWAY},
        {"plugins": {"login": {"password": CANARY, "observer": True}}},
    ),
    "a proxy that is not there to read": ({}, {"plugins": {}, "proxy": AWAY}),
}


@pytest.mark.parametrize(("variables", "said"), STAYS.values(), ids=STAYS)
@pytest.mark.contract("credentials-stay-here")
def test_what_stays_here_or_is_encrypted_or_allowed_is_composed(monkeypatch, variables, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    said = dict(said)
    host_of(others=said.pop("others", {}), **said.pop("defaults", {}), service=said).check()


LATER = {
    "by a plugin": ("http_proxy", lambda here: {"a": {"plugins": {"login": {"password": CANARY}}}}),
    "by a header": ("HTTP_PROXY", lambda here: {"a": {"headers": {"X-API-Key": CANARY}}}),
    "by user info": (
        "all_proxy",
        lambda here: {"a": {"base_url": here.url.replace("http://", f"http://me:{CANARY}@")}},
    ),
    "to a service that is logged in at": (
        "ALL_PROXY",
        lambda here: {
            "a": {"proxy": False, "plugins": {"login": {"password": CANARY, "at": "b"}}},
            "b": {"base_url": here.url},
        },
    ),
    "to an address that is logged in at": (
        "http_proxy",
        lambda here: {
            "a": {"proxy": False, "plugins": {"login": {"password": CANARY, "url": here.url}}}
        },
    ),
}


@pytest.mark.parametrize(("variable", "services"), LATER.values(), ids=LATER)
@pytest.mark.contract("credentials-stay-here")
def test_a_proxy_that_the_environment_names_later_gets_no_credentials(
    flext_service, flext_elsewhere, flext_world, monkeypatch, variable, services
):
    settings = services(flext_service)
    settings["a"] = {"base_url": flext_service.url, "max_connections": 1, **settings["a"]}
    host = flext_world.host({"services": settings}, login=Login)
    host.check()
    monkeypatch.setenv(variable, flext_elsewhere.url)

    for _ in range(2):  # the only permit is back
        with pytest.raises(ConfigError, match=f"to the proxy {flext_elsewhere.url};"):
            flext_world.get(host, service="a")
    assert flext_elsewhere.received == []

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert flext_world.get(host, service="a").status_code == 200
    assert flext_elsewhere.received == []


@pytest.mark.contract("credentials-stay-here")
def test_a_proxy_that_was_in_use_gets_no_credentials_of_services_composed_later(
    flext_service, flext_elsewhere, flext_httpx_world, monkeypatch
):
    monkeypatch.setenv("http_proxy", flext_elsewhere.url)
    login = {"login": {"password": CANARY, "at": "b"}}
    config = {"b": {"base_url": flext_service.url}, "a": {"base_url": "https://a.example"}}
    config["a"]["plugins"] = login
    host = flext_httpx_world.host({"services": config}, login=Login)
    assert flext_httpx_world.get(host, "/", service="b").status_code == 200
    assert flext_elsewhere.paths() == [f"{flext_service.url}/"]

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    host.check()
    monkeypatch.delenv("no_proxy")
    with pytest.raises(ConfigError, match="plugin 'login' of 'a' would send"):
        flext_httpx_world.get(host, "/", service="a")
    assert len(flext_elsewhere.received) == 1


@pytest.mark.parametrize(
    ("proxies", "is_refused"),
    [
        ({"http": "http://proxy.invalid:1"}, True),
        ({"http": f"http://me:{CANARY}@proxy.invalid:1"}, True),
        ({"http": "proxy.invalid:1"}, True),
        ({"all": "http://proxy.invalid:1"}, True),
        ({"http://127.0.0.1": "http://proxy.invalid:1"}, True),
        ({"https": "http://proxy.invalid:1"}, False),
        ({"http": "http://127.0.0.1:1"}, False),
    ],
)
@pytest.mark.contract("credentials-stay-here")
def test_a_sessions_own_proxies_get_no_credentials(flext_service, proxies, is_refused):
    with host_of({"base_url": flext_service.url}) as host:
        session = host.connect("a", requests.Session)
        session.proxies = proxies
        error = None
        try:
            session.get("/")
        except (ConfigError, requests.exceptions.ProxyError) as raised:
            error = raised
        assert isinstance(error, ConfigError) is is_refused
        assert CANARY not in str(error)


@pytest.mark.contract("credentials-stay-here")
def test_a_proxy_that_appears_before_a_redirect_gets_no_credentials(
    flext_service, flext_elsewhere, flext_world, monkeypatch
):
    def redirect(received):
        if received.path != "/":
            return Answer()
        monkeypatch.setenv("http_proxy", flext_elsewhere.url)
        return Answer(302, {"Location": "/there"})

    flext_service.answer = redirect
    settings = {"base_url": flext_service.url, "plugins": {"login": {"password": CANARY}}}
    host = flext_world.host({"services": {"service": settings}}, login=Login)
    with contextlib.suppress(FlextError):  # requests chooses a proxy for each hop
        flext_world.get(host, client_options={"follow_redirects": True})
    assert flext_elsewhere.received == []
