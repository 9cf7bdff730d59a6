"""When a token is fetched, renewed, given up: one set of rules for every scheme that fetches one."""

import asyncio
import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import pytest
from flext_plugins_auth import AuthSettings
from flext_plugins_auth.cache import LONGEST, Backoff, TokenCache, TokenCaches
from flext_plugins_auth.plugin import GRANTS, ServiceTokens
from flext_plugins_auth.token import Token

from flext_plugins import DeadlineExceeded, Host, Refused, events, hookimpl, options
from flext_plugins.testing import Answer, LoopbackService, Received, World

LOGIN: dict[str, Any] = {
    "scheme": "login",
    "service": "tokens",
    "username": "ana",
    "password": "canary",
}
OAUTH2: dict[str, Any] = {
    "scheme": "oauth2",
    "service": "tokens",
    "url": "/token",
    "client_id": "id",
} | {"client_secret": "canary"}
both = pytest.mark.parametrize("auth", [LOGIN, OAUTH2], ids=["login", "oauth2"])


class Api:
    """A service and the token service that it believes: `token-1`, `token-2`, ..."""

    def __init__(self, server: LoopbackService, tokens: LoopbackService) -> None:
        self.server, self.tokens = server, tokens
        self.revoked: set[str] = set()
        self.trouble: Answer | None = None
        """What the token service answers instead of a token."""
        self.delay = 0.0
        """Of both."""
        self.awaited = 0
        """How many requests the service has before a token is given."""
        self.status = 200
        self._numbers = count(1)
        server.answer, tokens.answer = self._answer, self._issue

    def _issue(self, _: Received) -> Answer:
        if self.trouble is not None:
            return self.trouble
        until = time.monotonic() + 10
        while len(self.server.received) < self.awaited and time.monotonic() < until:
            time.sleep(0.001)  # in the token service's own thread
        token = {"access_token": f"token-{next(self._numbers)}", "expires_in": 100}
        return Answer(delay=self.delay, body=json.dumps({**token, "token_type": "Bearer"}).encode())

    def _answer(self, received: Received) -> Answer:
        token = received.headers.get("authorization", "").removeprefix("Bearer ")
        is_bad = token in self.revoked or not token.startswith("token-")
        return Answer(401 if is_bad else self.status, delay=self.delay)

    @property
    def asked(self) -> int:
        """How often the token service was asked."""
        return len(self.tokens.received)

    @property
    def sent(self) -> list[str]:
        """The tokens that the service was sent."""
        return [
            each.headers["authorization"].removeprefix("Bearer ") for each in self.server.received
        ]

    def services(self, auth: dict[str, Any], **more: Any) -> dict[str, Any]:
        api = {"base_url": self.server.url, "plugins": {"auth": auth}, **more}
        return {"services": {"api": api, "tokens": {"base_url": self.tokens.url}}}


@pytest.fixture
def api(flext_service: LoopbackService, flext_elsewhere: LoopbackService) -> Api:
    return Api(flext_service, flext_elsewhere)


def age(host: Host, auth: dict[str, Any], seconds: float) -> None:
    """Let the token be older by so much."""
    settings = AuthSettings(**auth)
    cache = (
        host._runtime.composed("api")
        .service.shared(TokenCaches, TokenCaches)
        .of(GRANTS[settings.scheme].of(settings))
    )
    token = cache.valid()
    assert token is not None
    cache._token = replace(token, fetched_at=token.fetched_at - seconds)


# Renewal


@both
async def test_inside_the_leeway_one_caller_renews_while_the_others_go_on(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    host = flext_world.host(api.services(auth))
    client = await flext_world.client(host, "api")
    await client.get("/")
    age(host, auth, 80)
    api.awaited = 10
    await flext_world.together(10, lambda: client.get("/"))
    assert api.sent[1:] == ["token-1"] * 9 + ["token-2"]  # for which nobody had waited
    assert api.asked == 2


@both
async def test_a_token_outside_the_leeway_is_not_renewed_and_one_past_its_end_not_sent(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    host = flext_world.host(api.services({**auth, "leeway": 10}))
    client = await flext_world.client(host, "api")
    for seconds in (0, 80, 15, 6):
        await client.get("/")
        age(host, auth, seconds)
    await client.get("/")
    assert api.sent == ["token-1", "token-1", "token-1", "token-2", "token-2"]
    age(host, auth, 200)
    await client.get("/")
    assert api.sent[-1] == "token-3"


@both
async def test_while_the_token_is_valid_a_renewal_that_fails_hurts_nobody(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    host = flext_world.host(api.services(auth))
    client = await flext_world.client(host, "api")
    await client.get("/")
    age(host, auth, 80)
    api.trouble = Answer(503, {"Retry-After": "40"})
    for _ in range(5):
        assert (await client.get("/")).status_code == 200
    assert api.sent == ["token-1"] * 6
    assert api.asked == 2  # it failed once, which is remembered
    age(host, auth, 30)
    for _ in range(2):  # past its end it is tried at once, and that is remembered too
        with pytest.raises(Refused, match="failed with status 503"):
            await client.get("/")
    assert api.asked == 3


@both
async def test_a_slow_renewal_leaves_time_for_the_request(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    host = flext_world.host(api.services(auth))
    client = await flext_world.client(host, "api")
    await client.get("/")
    age(host, auth, 80)
    api.trouble = Answer(delay=30)
    with options(deadline=1):
        assert (await client.get("/")).status_code == 200
    api.trouble = None
    age(host, auth, 30)
    assert (await client.get("/")).status_code == 200  # and makes nobody else wait or fail
    assert api.sent == ["token-1", "token-1", "token-2"]


@both
async def test_who_waits_for_a_renewal_that_runs_out_of_its_callers_time_asks_anew(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    host = flext_world.host(api.services(auth))
    client = await flext_world.client(host, "api")
    await client.get("/")
    age(host, auth, 80)
    api.trouble = Answer(delay=30)
    roles = count()

    async def call() -> Any:
        if next(roles) == 0:
            with options(deadline=1.5):
                return (await client.get("/")).status_code
        while api.asked < 2:
            await flext_world.sleep(0.01)
        age(host, auth, 30)  # past its end: the renewal under way is waited for
        api.trouble = None
        return (await client.get("/")).status_code

    assert await flext_world.together(2, call) == [200, 200]
    assert api.asked == 3


async def test_a_cancelled_renewal_leaves_it_to_the_next_caller(
    flext_async_world: World, api: Api
) -> None:
    host = flext_async_world.host(api.services(OAUTH2))
    client = await flext_async_world.client(host, "api")
    await client.get("/")
    age(host, OAUTH2, 80)
    api.trouble = Answer(delay=30)
    first = asyncio.create_task(client.get("/"))
    while api.asked < 2:
        await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    api.trouble = None
    await client.get("/")
    assert api.sent == ["token-1", "token-2"]


# Failures


@both
async def test_a_failed_fetch_is_shared_with_those_waiting_and_remembered_for_a_while(
    flext_world: World, api: Api, auth: dict[str, Any], forget: Any
) -> None:
    api.trouble = Answer(503, {"Retry-After": "30"}, delay=0.3)
    host = flext_world.host(api.services(auth))
    client = await flext_world.client(host, "api")

    async def refused() -> list[Refused]:
        with pytest.raises(Refused) as caught:
            await client.get("/")
        return [caught.value]

    found = await flext_world.together(10, refused)
    assert all("'tokens' failed with status 503" in str(each) for (each,) in found)
    (last,) = await refused()
    assert re.search(r"failed with status 503 \(\d+ s ago; tried again in \d+ s\)", str(last))
    assert last.retry_after is not None
    assert 0 < last.retry_after <= 30
    assert api.asked == 1
    assert api.sent == []
    api.trouble = None
    forget(host, "api")
    assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
@both
async def test_a_token_service_that_has_too_much_to_do_is_left_alone_as_long_as_it_wants(
    flext_world: World, api: Api, auth: dict[str, Any], *, as_date: bool
) -> None:
    client = await flext_world.client(flext_world.host(api.services(auth)), "api")
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    api.trouble = Answer(429, {"Retry-After": then if as_date else "30"})
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            await client.get("/")
        assert caught.value.retry_after == pytest.approx(30, abs=5)
    assert api.asked == 1


def test_a_failure_is_remembered_twice_as_long_each_time_and_at_most_a_minute() -> None:
    backoff, seen = Backoff(), []
    for _ in range(9):
        backoff.note_failure("failed")
        backoff.note_failure("said by another caller at the same time")
        seen.append(round(backoff.remaining))
        with pytest.raises(Refused, match="failed"):
            backoff.check()
        backoff._until = 0.0  # time passes
        backoff.check()
    assert seen == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    backoff.reset()
    backoff.note_failure("failed", at_least=3600)
    assert backoff.remaining == pytest.approx(LONGEST, abs=5)


@both
async def test_a_slow_token_service_fails_closed_within_the_deadline(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    api.trouble = Answer(delay=30)
    host = flext_world.host(api.services(auth) | {"defaults": {"timeout": 40}})
    client = await flext_world.client(host, "api")

    async def timed_out() -> type:
        with pytest.raises(flext_world.lib.TimeoutException) as caught, options(deadline=0.5):
            await client.get("/")
        return type(caught.value)

    started = time.monotonic()
    found = await flext_world.together(5, timed_out)
    assert time.monotonic() - started < 15
    assert all(issubclass(each, DeadlineExceeded) for each in found)
    assert api.server.received == []


@both
async def test_a_secret_in_a_file_is_read_again_before_a_token_is_fetched_again(
    flext_world: World, api: Api, auth: dict[str, Any], tmp_path: Any
) -> None:
    secret = tmp_path / "secret"
    key = "password" if auth is LOGIN else "client_secret"
    more = {} if auth is LOGIN else {"client_auth": "body"}
    auth = {**auth, key: f"file:{secret}", **more}
    host = flext_world.host(api.services(auth))
    sent = []
    for value in ("first", "the second"):
        secret.write_text(value)
        client = await flext_world.client(host, "api")
        await client.get("/")
        age(host, auth, 200)
        body = api.tokens.received[-1].body.decode()
        sent.append(json.loads(body)[key] if auth["scheme"] == "login" else parse_qs(body)[key][0])
    assert sent == ["first", "the second"]
    secret.unlink()
    await client.get("/")  # with what was read last
    assert api.sent == ["token-1", "token-2", "token-3"]


# Rejected tokens


@both
async def test_any_number_of_401s_at_once_makes_one_fetch(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    client = await flext_world.client(flext_world.host(api.services(auth)), "api")
    await client.get("/")
    api.revoked.add("token-1")
    found = await flext_world.together(10, lambda: client.get("/"))
    assert [each.status_code for each in found] == [200] * 10
    assert api.asked == 2
    assert api.sent.count("token-2") == 10


@both
async def test_a_token_that_is_rejected_straight_after_its_fetch_stops_there(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    api.status = 401
    client = await flext_world.client(flext_world.host(api.services(auth)), "api")
    assert (await client.get("/")).status_code == 401
    assert (api.asked, api.sent) == (1, ["token-1"])
    assert (await client.get("/")).status_code == 401
    assert (api.asked, api.sent[1:]) == (2, ["token-1", "token-2"])
    for _ in range(3):  # it wants something else than a new token: for a while none is fetched
        assert (await client.get("/")).status_code == 401
    assert (api.asked, api.sent[3:]) == (2, ["token-2"] * 3)


async def test_a_service_that_rejects_every_token_spoils_them_for_nobody_else(
    flext_world: World, api: Api
) -> None:
    config = api.services(OAUTH2)
    config["services"]["sour"] = {
        **config["services"]["api"],
        "plugins": {"auth": OAUTH2, "sour": {}},
    }
    host = flext_world.host(config, sour=Sour)
    good, sour = [await flext_world.client(host, name) for name in ("api", "sour")]
    for _ in range(5):
        assert (await good.get("/")).status_code == 200
        assert (await sour.get("/")).status_code == 401
    assert api.asked == 2


class Sour:
    """Answers 401 whatever comes."""

    @hookimpl
    def flext_request(self, connection: Any) -> Any:
        return connection.respond(401)


@both
@pytest.mark.parametrize("status", [403, 400, 500])
async def test_no_other_status_fetches_a_token(
    flext_world: World, api: Api, auth: dict[str, Any], status: int
) -> None:
    client = await flext_world.client(flext_world.host(api.services(auth)), "api")
    await client.get("/")
    api.status = status
    assert (await client.get("/")).status_code == status
    assert (api.asked, api.sent) == (1, ["token-1"] * 2)


@both
async def test_a_401_that_cannot_be_healed_is_a_refusal(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    one = {"max_connections": 1, "timeout": 5}
    client = await flext_world.client(flext_world.host(api.services(auth, **one)), "api")
    await client.get("/")
    api.revoked.add("token-1")
    api.trouble = Answer(500)
    for _ in range(2):
        with pytest.raises(Refused):
            await client.get("/")
    assert api.sent == ["token-1"] * 2


@both
async def test_nothing_is_locked_while_a_request_is_under_way(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    client = await flext_world.client(flext_world.host(api.services(auth)), "api")
    await client.get("/")
    api.delay = 0.3
    await flext_world.together(5, lambda: client.get("/"))
    assert api.server.most_active == 5


async def test_a_token_that_another_flight_has_just_landed_is_used(flext_sync_world: World) -> None:
    tokens = TokenCaches()

    class Shared:
        def shared(self, kind: object, factory: object) -> TokenCaches:
            return tokens

    class Late:
        async def once(self, grant: Any, work: Any, *, shared: bool) -> Any:
            tokens.of(grant).keep(Token("landed", time.monotonic()))
            return await work()

    shared: Any = Shared()
    late: Any = Late()
    found = await ServiceTokens(AuthSettings(**OAUTH2), shared).get(late)
    assert found.value == "landed"


def test_only_the_token_that_was_rejected_is_given_up() -> None:
    cache, old, new = TokenCache(), Token("same", time.monotonic()), Token("same", time.monotonic())
    cache.keep(new)
    cache.reject(old)
    assert cache.valid() is new
    cache.reject(new)
    assert cache.valid() is None


# Who shares one


async def test_one_token_for_all_services_that_ask_for_the_same(
    flext_world: World, api: Api
) -> None:
    config = api.services({**OAUTH2, "scope": "a b"})
    more: dict[str, dict[str, Any]] = {
        "alike": {"scope": ["b", "a", "b"], "leeway": 5, "replace": True},
        "scope": {"scope": "a"},
        "audience": {"scope": "a b", "audience": "x"},
        "client": {"scope": "a b", "client_id": "other"},
        "secret": {"scope": "a b", "client_secret": "other"},
        "address": {"scope": "a b", "url": "/other"},
    }
    for name, changes in more.items():
        auth = {**OAUTH2, **changes}
        config["services"][name] = {**config["services"]["api"], "plugins": {"auth": auth}}
    host = flext_world.host(config)
    for _ in range(2):
        for name in ("api", *more):
            await (await flext_world.client(host, name)).get("/")
    numbers = [1, 1, 2, 3, 4, 5, 6]
    assert api.sent == [f"token-{number}" for number in numbers] * 2


async def test_each_fetch_is_told_once(flext_world: World, api: Api) -> None:
    told: list[Any] = []

    class Seen:
        @hookimpl
        def flext_event(self, event: object) -> None:
            told.append(event)

    config = api.services(OAUTH2)
    config["services"]["api"]["plugins"]["seen"] = {}
    host = flext_world.host(config, seen=Seen)
    client = await flext_world.client(host, "api")
    await client.get("/")
    api.revoked.add("token-1")
    api.trouble = Answer(500)
    for _ in range(2):
        with pytest.raises(Refused):
            await client.get("/")
    fetches = [each for each in told if isinstance(each, events.TokenFetched)]
    assert [(each.issuer, each.outcome) for each in fetches] == [
        ("tokens", "fetched"),
        ("tokens", "failed"),
    ]


# How long one lasts


def test_a_leeway_is_at_most_half_of_a_tokens_life() -> None:
    now = time.monotonic()
    assert Token("x", now - 71, 100).is_due(30)
    assert not Token("x", now - 60, 100).is_due(30)
    assert Token("x", now - 60, 100).is_due(300)
    assert not Token("x", now - 40, 100).is_due(300)
    assert not Token("x", now).is_due(300)


# Seen from outside


@both
def test_the_age_of_a_token_is_seen_and_never_its_value(
    flext_world: World, api: Api, auth: dict[str, Any]
) -> None:
    host = flext_world.host(api.services(auth))
    flext_world.get(host, service="api")
    age(host, auth, 30)
    facts = dict(flext_world.status(host, "api")["auth"].facts)
    token: Any = facts.pop("token")
    assert facts == {"scheme": auth["scheme"], "issuer": "tokens"}
    assert 30 <= token["age"] < 40
    assert token["age"] + token["expires_in"] == pytest.approx(100)
    age(host, auth, 100)
    assert flext_world.status(host, "api")["auth"].facts["token"] is None
    assert "token-1" not in str(flext_world.status(host, "api"))


def test_a_credential_in_the_settings_has_no_age(
    flext_world: World, flext_service: LoopbackService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "canary")
    plugins = {"auth": {"scheme": "bearer", "token": "env:API_TOKEN"}}
    host = flext_world.serve(flext_service, plugins=plugins)
    flext_world.get(host)
    assert flext_world.status(host)["auth"].facts == {"scheme": "bearer"}
