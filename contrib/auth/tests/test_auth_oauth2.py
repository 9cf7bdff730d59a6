"""OAuth 2.0: what is asked, what is understood, and all of it against a certified server."""

import asyncio
import base64
import json
import os
from typing import Any
from urllib.parse import parse_qs

import pytest

from flext_plugins import ConfigError, Host, Refused, options
from flext_plugins.testing import Answer, LoopbackService, Received, World


def client(issuer: Any, **changes: Any) -> dict[str, Any]:
    found = {"scheme": "oauth2", "token_url": issuer.token_url, "client_id": "service"}
    return {**found, "client_secret": issuer.secret, "scope": "api:read", **changes}


def guarded(issuer: Any, api: LoopbackService, **changes: Any) -> dict[str, Any]:
    """A service that asks the issuer about each token."""
    api.answer = issuer.guard
    plugins = {"auth": client(issuer, **changes)}
    return {"services": {"api": {"base_url": api.url, "plugins": plugins}}}


def bearer(received: Received) -> str:
    return received.headers["authorization"].removeprefix("Bearer ")


# The real server. authlib (sync) and httpx-auth fetch ten tokens where ten threads find one expired,
# httpx-auth blocks the event loop meanwhile, and neither does anything about a 401.


async def test_ten_callers_on_an_expired_token_make_one_fetch_unlike_authlib_and_httpx_auth(
    flext_world: World, issuer: Any, flext_service: LoopbackService
) -> None:
    config = guarded(issuer, flext_service, client_id="short")
    api = await flext_world.client(flext_world.host(config), "api")
    assert (await api.get("/")).status_code == 200
    await flext_world.sleep(2.1)
    issuer.late(0.2)
    found = await flext_world.together(10, lambda: api.get("/"))
    assert [each.status_code for each in found] == [200] * 10
    assert issuer.asked() == {"client_credentials": 2}
    first, *others = [bearer(each) for each in flext_service.received]
    assert len(set(others)) == 1
    assert first not in others


async def test_the_event_loop_goes_on_while_a_token_is_fetched_unlike_with_httpx_auth(
    flext_async_world: World, issuer: Any, flext_service: LoopbackService
) -> None:
    host = flext_async_world.host(guarded(issuer, flext_service))
    api = await flext_async_world.client(host, "api")
    issuer.late(0.5)
    turns = 0
    fetching = asyncio.create_task(api.get("/"))
    while not flext_service.received:
        await asyncio.sleep(0.01)
        turns += 1
    assert (await fetching).status_code == 200
    assert turns > 5


async def test_a_revoked_token_is_healed_with_a_pool_of_one_unlike_authlib_and_httpx_auth(
    flext_world: World, issuer: Any, flext_service: LoopbackService
) -> None:
    config = guarded(issuer, flext_service)
    config["services"]["api"] |= {"max_connections": 1, "timeout": 10}
    api = await flext_world.client(flext_world.host(config), "api")
    assert (await api.get("/")).json()["scope"] == "api:read"
    issuer.revoke(bearer(flext_service.received[-1]))
    found = await flext_world.together(10, lambda: api.get("/"))
    assert [each.status_code for each in found] == [200] * 10
    assert issuer.asked() == {"client_credentials": 2}


@pytest.mark.parametrize("changes", [{}, {"client_id": "poster", "client_auth": "body"}])
async def test_a_client_is_known_by_basic_or_by_its_body(
    flext_world: World, issuer: Any, flext_service: LoopbackService, changes: dict[str, Any]
) -> None:
    config = guarded(issuer, flext_service, **changes)
    api = await flext_world.client(flext_world.host(config), "api")
    answer = (await api.get("/")).json()
    assert answer["client_id"] == changes.get("client_id", "service")


async def test_a_token_service_may_be_a_service_too(
    flext_world: World, issuer: Any, flext_service: LoopbackService
) -> None:
    config = guarded(issuer, flext_service)
    auth = config["services"]["api"]["plugins"]["auth"] | {"service": "issuer", "url": "/token"}
    del auth["token_url"]
    config["services"]["api"]["plugins"]["auth"] = auth
    config["services"]["issuer"] = {"base_url": issuer.url}
    api = await flext_world.client(flext_world.host(config), "api")
    assert (await api.get("/")).status_code == 200


async def test_a_bad_secret_is_one_clear_error(
    flext_world: World, issuer: Any, flext_service: LoopbackService
) -> None:
    config = guarded(issuer, flext_service, client_secret="canary")
    api = await flext_world.client(flext_world.host(config), "api")
    with pytest.raises(Refused) as caught:
        await api.get("/")
    assert str(caught.value) == (
        f"api: auth: the token service '{issuer.url}' refused: "
        "invalid_client: client authentication failed"
    )
    assert flext_service.received == []


async def test_an_unknown_scope_is_told_in_the_servers_own_words(
    flext_world: World, issuer: Any, flext_service: LoopbackService
) -> None:
    config = guarded(issuer, flext_service, scope="api:admin")
    api = await flext_world.client(flext_world.host(config), "api")
    with pytest.raises(Refused, match="refused: invalid_scope: "):
        await api.get("/")


async def test_a_refresh_token_rotates_and_the_used_one_is_refused(
    flext_world: World, issuer: Any, flext_service: LoopbackService, tmp_path: Any, forget: Any
) -> None:
    secret = tmp_path / "refresh-token"
    first = issuer.refresh_token()
    secret.write_text(first)
    host = flext_world.host(guarded(issuer, flext_service, refresh_token=f"file:{secret}"))
    api = await flext_world.client(host, "api")
    spent: set[str] = set()

    def guard(received: Received) -> Answer:
        return Answer(401) if bearer(received) in spent else issuer.guard(received)

    flext_service.answer = guard
    for _ in range(3):
        assert (await api.get("/")).json()["sub"] == "ana"
        spent.add(bearer(flext_service.received[-1]))
    assert (await api.get("/")).json()["sub"] == "ana"
    assert issuer.asked() == {"refresh_token": 4}  # each with the one that came before

    reused = issuer.ask("/token", grant_type="refresh_token", refresh_token=first)
    assert reused["error"] == "invalid_grant"
    issuer.asked()
    with pytest.raises(Refused, match="refused: invalid_grant: "):
        await api.get("/")  # reuse has ended them all: its successors, and what they gave
    assert issuer.asked() == {"refresh_token": 2}  # the last one, then the configured one
    secret.write_text(issuer.refresh_token())
    forget(host, "api")
    assert (await api.get("/")).json()["sub"] == "ana"
    assert issuer.asked() == {"refresh_token": 1}


async def test_a_token_endpoint_that_is_down_or_slow_fails_closed_within_the_deadline(
    flext_world: World, issuer: Any, flext_service: LoopbackService, flext_elsewhere: Any
) -> None:
    config = guarded(issuer, flext_service)
    config["defaults"] = {"timeout": 40}
    issuer.late(20)
    api = await flext_world.client(flext_world.host(config), "api")
    with pytest.raises(flext_world.lib.TimeoutException), options(deadline=0.5):
        await api.get("/")
    issuer.late(0)
    flext_elsewhere.refuse()
    config = guarded(issuer, flext_service, token_url=f"{flext_elsewhere.url}/token")
    api = await flext_world.client(flext_world.host(config), "api")
    with pytest.raises(Refused, match=f"token service '{flext_elsewhere.url}' failed: connect"):
        await api.get("/")
    assert flext_service.received == []


# What is asked


class Asked:
    """A token service that answers what a test wants."""

    def __init__(self, server: LoopbackService) -> None:
        self.server = server
        self.says(access_token="token", token_type="bearer")

    def says(self, status: int = 200, **answer: Any) -> None:
        self.server.answer = Answer(status, body=json.dumps(answer).encode())

    @property
    def forms(self) -> list[dict[str, str]]:
        found = [parse_qs(each.body.decode(), True, True) for each in self.server.received]
        return [{name: " ".join(values) for name, values in each.items()} for each in found]

    def services(self, api: LoopbackService, **changes: Any) -> dict[str, Any]:
        auth: dict[str, Any] = {"scheme": "oauth2"}
        auth["token_url"] = f"{self.server.url}/v2/token?tenant=1"
        auth = {**auth, "client_id": "an id", "client_secret": "s+cr:t &=%/", **changes}
        plugins = {"auth": {name: each for name, each in auth.items() if each is not None}}
        return {"services": {"api": {"base_url": api.url, "plugins": plugins}}}


@pytest.fixture
def asked(flext_elsewhere: LoopbackService) -> Asked:
    return Asked(flext_elsewhere)


@pytest.mark.parametrize(
    ("changes", "form"),
    [
        ({}, {}),
        ({"scope": "b a b", "audience": "x"}, {"scope": "a b", "audience": "x"}),
        (
            {"client_auth": "body", "scope": ["a", "b"]},
            {"client_id": "an id", "client_secret": "s+cr:t &=%/", "scope": "a b"},
        ),
        ({"client_auth": "mtls", "client_secret": None}, {"client_id": "an id"}),
    ],
    ids=["basic", "scope", "body", "mtls"],
)
async def test_the_question_is_what_the_settings_say(
    flext_world: World,
    flext_service: LoopbackService,
    asked: Asked,
    changes: dict[str, Any],
    form: dict[str, str],
) -> None:
    api = await flext_world.client(
        flext_world.host(asked.services(flext_service, **changes)), "api"
    )
    assert (await api.get("/")).status_code == 200
    (sent,) = asked.server.received
    assert (sent.method, sent.path) == ("POST", "/v2/token?tenant=1")
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.forms == [{"grant_type": "client_credentials", **form}]
    pair = sent.headers.get("authorization", "Basic ").removeprefix("Basic ")
    expected = "" if "client_auth" in changes else "an+id:s%2Bcr%3At+%26%3D%25%2F"
    assert base64.b64decode(pair).decode() == expected


async def test_a_refresh_token_that_comes_with_a_token_is_used_and_its_successor_kept(
    flext_world: World, flext_service: LoopbackService, asked: Asked
) -> None:
    """Until it is not good any more: then the client asks in its own name, once."""
    config = asked.services(flext_service, client_auth="body")
    api = await flext_world.client(flext_world.host(config), "api")
    refreshes: list[dict[str, Any]] = [{"refresh_token": "r1"}, {"refresh_token": "r2"}, {}, {}]
    for number, refresh in enumerate(refreshes):
        asked.says(access_token=f"t{number}", **refresh)
        flext_service.answer = lambda received, number=number: Answer(
            200 if bearer(received) == f"t{number}" else 401
        )
        assert (await api.get("/")).status_code == 200

    def no_refresh(received: Received) -> Answer:
        if b"refresh_token" in received.body:
            return Answer(400, body=b'{"error": "invalid_grant"}')
        return Answer(body=b'{"access_token": "last"}')

    asked.server.answer = no_refresh
    flext_service.answer = lambda received: Answer(200 if bearer(received) == "last" else 401)
    assert (await api.get("/")).status_code == 200
    told = [(each["grant_type"], each.get("refresh_token")) for each in asked.forms]
    assert told == [
        ("client_credentials", None),
        ("refresh_token", "r1"),
        ("refresh_token", "r2"),
        ("refresh_token", "r2"),  # kept where none takes its place
        ("refresh_token", "r2"),
        ("client_credentials", None),
    ]
    assert all(each["client_secret"] == "s+cr:t &=%/" for each in asked.forms)


async def test_a_users_refresh_token_is_never_followed_by_the_clients_own_credentials(
    flext_world: World, flext_service: LoopbackService, asked: Asked
) -> None:
    config = asked.services(flext_service, refresh_token="canary")
    api = await flext_world.client(flext_world.host(config), "api")
    await api.get("/")
    flext_service.answer = Answer(401)
    asked.says(400, error="invalid_grant", error_description="it has expired")
    with pytest.raises(Refused, match="refused: invalid_grant: it has expired"):
        await api.get("/")
    assert [each["grant_type"] for each in asked.forms] == ["refresh_token"] * 2


# What is understood


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(500, body=b"<html>canary</html>"), "failed with status 500"),
        (Answer(404, body=b'{"access_token": "canary"}'), "failed with status 404"),
        (Answer(body=b"canary"), "answered with something that is no token"),
        (Answer(body=b"[]"), "answered with something that is no token"),
        (Answer(body=b"\xff"), "answered with something that is no token"),
        (Answer(body=b'{"access_token": 1}'), "answered with a token that a header cannot carry"),
        (Answer(body=b'{"access_token": "canary", "token_type": "mac"}'), "is no bearer token"),
        (Answer(400, body=b'{"error": "strange"}'), "refused: strange$"),
        (Answer(400, body=b'{"error": 1}'), "refused: status 400$"),
        (Answer(200, body=b'{"error": "strange", "access_token": "x"}'), "refused: strange$"),
        (
            Answer(400, body=b'{"error": "a", "error_description": "' + b"x" * 999 + b'"}'),
            "refused: a: x{200}$",
        ),
        (
            Answer(400, body=b'{"error": "a", "error_description": "b\\nc \\u00e9"}'),
            "refused: a$",
        ),
    ],
)
async def test_an_answer_without_a_token_is_one_clear_refusal(
    flext_world: World,
    flext_service: LoopbackService,
    asked: Asked,
    answer: Answer,
    expected: str,
) -> None:
    asked.server.answer = answer
    api = await flext_world.client(flext_world.host(asked.services(flext_service)), "api")
    with pytest.raises(Refused, match=expected) as caught:
        await api.get("/")
    assert "canary" not in str(caught.value)
    assert flext_service.received == []


@pytest.mark.parametrize(
    "quoted",
    [
        "can+ary&1",
        "can%2Bary%261",
        "can%2bary%261",
        "can+ary&amp;1",
        r"can\u002bary\u00261",
        r"can\x2bary\&1",
        "can%252bary%25261",
        "canary-refresh",
        "aWQ6Y2FuJTJCYXJ5JTI2MQ==",
    ],
    ids=["secret", "encoded", "lower", "html", "json", "repr", "twice", "refresh", "basic"],
)
async def test_a_server_that_quotes_what_it_was_sent_is_not_quoted(
    flext_world: World, flext_service: LoopbackService, asked: Asked, quoted: str
) -> None:
    asked.says(400, error="invalid_request", error_description=f"what is {quoted}?")
    secrets = {"client_id": "id", "client_secret": "can+ary&1", "refresh_token": "canary-refresh"}
    api = await flext_world.client(
        flext_world.host(asked.services(flext_service, **secrets)), "api"
    )
    with pytest.raises(Refused, match="refused: invalid_request$"):
        await api.get("/")


def test_a_scope_that_the_server_changes_is_no_error_whatever_the_environment_says(
    flext_world: World, flext_service: LoopbackService, asked: Asked
) -> None:
    asked.says(access_token="x", scope="less")
    host = flext_world.host(asked.services(flext_service, scope="more"))
    assert flext_world.get(host, service="api").status_code == 200
    assert not [each for each in os.environ if each.startswith("OAUTHLIB")]


# What the settings must be


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"token_url": None}, "needs either token_url, or service and url"),
        ({"service": "api"}, "needs either token_url, or service and url"),
        ({"token_url": None, "service": "api"}, "needs either token_url, or service and url"),
        ({"url": "/x"}, "needs either token_url, or service and url"),
        ({"client_secret": None}, "needs client_secret where client_auth is 'basic'"),
        ({"client_auth": "mtls"}, "takes no client_secret where client_auth is 'mtls'"),
        ({"client_id": None}, "needs client_id"),
        ({"client_auth": "jwt"}, r"client_auth: expected 'basic', 'body' or 'mtls'"),
        ({"token_url": "/token"}, "token_url: expected a URL"),
        ({"token_url": "http://a.example/token"}, "token_url: .* over plain http://"),
        ({"leeway": -1}, "leeway: .*greater than or equal to 0"),
        ({"password": "canary"}, "does not take password"),
        ({"scope": 5}, "scope: "),
    ],
)
def test_settings_that_do_not_fit_are_told_without_values(
    flext_service: LoopbackService, asked: Asked, changes: dict[str, Any], expected: str
) -> None:
    config = asked.services(flext_service, **{"client_secret": "canary", **changes})
    with pytest.raises(ConfigError, match=expected) as caught:
        Host(config).check()
    assert "canary" not in str(caught.value)


# Client certificates


async def test_mtls_presents_the_services_certificate(flext_world: World, tls_server: Any) -> None:
    api = tls_server.service(plugins={"auth": {"scheme": "mtls"}})
    client = await flext_world.client(flext_world.host({"services": {"api": api}}), "api")
    assert (await client.get("/")).status_code == 200
    ((name, _, headers),) = tls_server.received
    assert name == "client"
    assert "authorization" not in {each.lower() for each in headers}


async def test_a_certificate_may_stand_for_the_clients_secret(
    flext_world: World, tls_server: Any, flext_service: LoopbackService
) -> None:
    auth = {"scheme": "oauth2", "service": "issuer", "url": "/token"}
    auth |= {"client_id": "id", "client_auth": "mtls"}
    services = {
        "api": {"base_url": flext_service.url, "plugins": {"auth": auth}},
        "issuer": tls_server.service(),
    }
    client = await flext_world.client(flext_world.host({"services": services}), "api")
    await client.get("/")
    assert bearer(flext_service.received[0]) == "over-tls"
    ((name, body, _),) = tls_server.received
    assert (name, body) == ("client", b"grant_type=client_credentials&client_id=id")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cert": None}, "scheme 'mtls' needs the service's `cert`, .* its key$"),
        ({"base_url": "http://127.0.0.1:1"}, "scheme 'mtls' needs a `base_url` with https://"),
        ({"cert": None, "base_url": "http://127.0.0.1:1"}, "`cert`.*; it needs a `base_url`"),
        ({"plugins": {"auth": {"scheme": "mtls", "token": "canary"}}}, "does not take token"),
    ],
)
def test_mtls_without_a_certificate_or_over_plain_http_is_refused(
    tls_server: Any, changes: dict[str, Any], expected: str
) -> None:
    api = tls_server.service(plugins={"auth": {"scheme": "mtls"}}) | changes
    with pytest.raises(ConfigError, match=expected):
        Host({"services": {"api": api}}).check()
    assert tls_server.received == []
