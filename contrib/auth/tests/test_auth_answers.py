"""What is read out of a token service's answer: the same for every scheme that fetches a token."""

import gzip
import json
import math
import time
from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import jwt
import pytest
from flext_plugins_auth.cache import TokenCaches

from flext_plugins import Host, Refused
from flext_plugins.testing import Answer, LoopbackService, Received, World

LOGIN: dict[str, Any] = {
    "scheme": "login",
    "service": "tokens",
    "username": "ana",
    "password": "canary-password",
}
OAUTH2: dict[str, Any] = {
    "scheme": "oauth2",
    "service": "tokens",
    "url": "/token",
    "client_id": "id",
    "client_secret": "canary-secret",
}
both = pytest.mark.parametrize("auth", [LOGIN, OAUTH2], ids=["login", "oauth2"])


def services(api: LoopbackService, tokens: LoopbackService, auth: dict[str, Any]) -> dict[str, Any]:
    plugins = {"auth": auth}
    return {
        "services": {
            "api": {"base_url": api.url, "plugins": plugins},
            "tokens": {"base_url": tokens.url},
        }
    }


def says(**fields: Any) -> bytes:
    """An answer with a token, and further fields."""
    return json.dumps({"access_token": "t", **fields}).encode()


def signed(**claims: Any) -> str:
    return jwt.encode(claims, "k" * 32, "HS256")


def life(host: Host) -> float:
    """Seconds that the only token of the host was to last when it was asked for."""
    shared = host._runtime.composed("api").service.shared(TokenCaches, TokenCaches)
    (cache,) = shared._caches.values()
    token = cache._token
    assert token is not None
    assert token.value not in repr(token)
    return token.life


# Tokens, and how long they last

FOR_EVER = math.inf
"""Until it is rejected."""

GOOD: dict[str, tuple[bytes, float]] = {
    "nothing but a token": (says(), FOR_EVER),
    "all there is": (
        says(token_type="Bearer", expires_in=3600, scope="a", refresh_token="r"),
        3600,
    ),
    "nulls": (
        says(token_type=None, expires_in=None, scope=None, refresh_token=None, error=None),
        FOR_EVER,
    ),
    "empty texts": (
        says(token_type="", expires_in="", scope="", refresh_token="", error=""),
        FOR_EVER,
    ),
    "a type in capitals": (says(token_type="BEARER"), FOR_EVER),
    "a type with blanks around": (says(token_type=" bearer "), FOR_EVER),
    "a scope that is a list": (says(scope=["a", "b"]), FOR_EVER),
    "a refresh token that is a number": (says(refresh_token=7), FOR_EVER),
    "a refresh token of half a character": (says(refresh_token="\ud800"), FOR_EVER),
    "a life in text": (says(expires_in="3600"), 3600),
    "a life in text with blanks": (says(expires_in=" 3600 "), 3600),
    "a life in text with a fraction": (says(expires_in="3599.5"), 3599.5),
    "a life with a fraction": (says(expires_in=3599.5), 3599.5),
    "a life that is a float": (says(expires_in=3600.0), 3600),
    "a life below a second": (says(expires_in=0.5), 0.5),
    "a life of a second": (says(expires_in=1), 1),
    "no life": (says(expires_in=0), 0),
    "no life in text": (says(expires_in="0"), 0),
    "a life that is over": (says(expires_in=-5), 0),
    "a long life": (says(expires_in=10**12), 10**12),
    "a life longer than numbers are": (says(expires_in=10**400), FOR_EVER),
    "an infinite life": (says(expires_in=math.inf), FOR_EVER),
    "a life that is no number": (says(expires_in=math.nan), FOR_EVER),
    "a life that is infinite in text": (says(expires_in="inf"), FOR_EVER),
    "a life in words": (says(expires_in="never"), FOR_EVER),
    "a life that is true": (says(expires_in=True), FOR_EVER),
    "a life that is a list": (says(expires_in=[3600]), FOR_EVER),
    "a life that is a table": (says(expires_in={"seconds": 3600}), FOR_EVER),
    "an end that is no life": (says(expires_at=5), FOR_EVER),
    "a scope with what is no text": (b'{"access_token": "t", "scope": "\xe9"}', FOR_EVER),
    "a mark of the byte order": (b"\xef\xbb\xbf" + says(expires_in=9), 9),
    "sixteen bits a character": (says(expires_in=9).decode().encode("utf-16"), 9),
    "blanks around": (b"\r\n " + says(expires_in=9) + b"\n", 9),
    "a form": (b"access_token=t&token_type=bearer&expires_in=9", 9),
    "a form without more": (b"access_token=t\n", FOR_EVER),
}

BAD: dict[str, tuple[Answer, str]] = {
    "nothing": (Answer(body=b""), "something that is no token"),
    "no content": (Answer(204, body=b""), "something that is no token"),
    "a word": (Answer(body=b"canary"), "something that is no token"),
    "a token in quotes": (Answer(body=b'"canary"'), "something that is no token"),
    "a list": (Answer(body=b'[{"access_token": "canary"}]'), "something that is no token"),
    "no text": (Answer(body=b"\xff\xfe\xfd"), "something that is no token"),
    "a page": (Answer(body=b"<html>canary</html>"), "something that is no token"),
    "a number": (Answer(body=b"1" * 5000), "something that is no token"),
    "deeper than anybody reads": (Answer(body=b"[" * 100_000), "something that is no token"),
    "an empty table": (Answer(body=b"{}"), "without a token at 'access_token'"),
    "another form": (Answer(body=b"token=canary"), "without a token at 'access_token'"),
    "another name": (Answer(body=b'{"token": "canary"}'), "without a token at 'access_token'"),
    "another case": (Answer(body=b'{"Access_Token": "canary"}'), "without a token at"),
    "null": (Answer(body=says(access_token=None)), "without a token at 'access_token'"),
    "an empty text": (Answer(body=says(access_token="")), "without a token at 'access_token'"),
    "a blank": (Answer(body=says(access_token=" ")), "that a header cannot carry"),
    "true": (Answer(body=says(access_token=True)), "that a header cannot carry"),
    "a token of numbers": (Answer(body=says(access_token=7)), "that a header cannot carry"),
    "several": (Answer(body=says(access_token=["canary"])), "that a header cannot carry"),
    "a line's end": (Answer(body=says(access_token="canary\n")), "that a header cannot carry"),
    "two lines": (Answer(body=says(access_token="canary\r\nX: y")), "a header cannot carry"),
    "an umlaut": (Answer(body=says(access_token="canäry")), "that a header cannot carry"),
    "half a character": (Answer(body=says(access_token="\ud800")), "a header cannot carry"),
    "broken text": (Answer(body=b'{"access_token": "\xff"}'), "that a header cannot carry"),
    "another type": (Answer(body=says(token_type="mac")), "is no bearer token"),
    "a type that is a list": (Answer(body=says(token_type=["x"])), "is no bearer token"),
    "a failure with a token": (Answer(500, body=says()), "failed with status 500"),
    "a redirect with a token": (Answer(302, body=says()), "failed with status 302"),
    "a refusal without a word": (Answer(401, body=b"{}"), "failed with status 401"),
}


@both
@pytest.mark.parametrize(("body", "seconds"), GOOD.values(), ids=GOOD)
def test_a_token_is_taken_from_an_answer_whatever_else_is_missing_or_odd(
    flext_service: LoopbackService,
    flext_elsewhere: LoopbackService,
    auth: dict[str, Any],
    body: bytes,
    seconds: float,
) -> None:
    flext_elsewhere.answer = Answer(body=body)
    with Host(services(flext_service, flext_elsewhere, auth)) as host:
        assert host.connect("api").get("/").status_code == 200
        assert life(host) == seconds
    (sent,) = flext_service.received
    assert sent.headers["authorization"] == "Bearer t"


@both
@pytest.mark.parametrize(("answer", "problem"), BAD.values(), ids=BAD)
def test_an_answer_without_a_token_that_can_be_sent_is_one_clear_refusal(
    flext_service: LoopbackService,
    flext_elsewhere: LoopbackService,
    auth: dict[str, Any],
    answer: Answer,
    problem: str,
) -> None:
    flext_elsewhere.answer = answer
    with (
        Host(services(flext_service, flext_elsewhere, auth)) as host,
        pytest.raises(Refused, match=problem) as caught,
    ):
        host.connect("api").get("/")
    assert "can" not in str(caught.value).replace("cannot", "")
    assert flext_service.received == []


@both
@pytest.mark.parametrize("seconds", [0, "0", -1, 0.0], ids=repr)
async def test_a_token_without_a_life_is_for_the_call_that_fetched_it(
    flext_world: World,
    flext_service: LoopbackService,
    flext_elsewhere: LoopbackService,
    auth: dict[str, Any],
    seconds: object,
) -> None:
    flext_elsewhere.answer = Answer(body=says(expires_in=seconds))
    host = flext_world.host(services(flext_service, flext_elsewhere, auth))
    client = await flext_world.client(host, "api")
    for _ in range(3):
        assert (await client.get("/")).status_code == 200
    assert len(flext_service.received) == len(flext_elsewhere.received) == 3
    flext_service.answer = Answer(401)  # for which another one would not help
    assert (await client.get("/")).status_code == 401
    assert len(flext_service.received) == len(flext_elsewhere.received) == 4


@both
def test_a_life_begins_when_the_token_is_asked_for(
    flext_service: LoopbackService, flext_elsewhere: LoopbackService, auth: dict[str, Any]
) -> None:
    flext_elsewhere.answer = Answer(delay=0.3, body=says(expires_in=0.2))
    with Host(services(flext_service, flext_elsewhere, auth)) as host:
        for _ in range(2):
            assert host.connect("api").get("/").status_code == 200
    assert len(flext_elsewhere.received) == 2


@pytest.mark.parametrize(
    ("path", "answer", "seconds"),
    [
        ("data.token", {"data": {"token": "t", "expires_in": "50"}, "expires_in": 7}, 50),
        ("data.token", {"data": {"token": "t"}, "expires_in": 50.0}, 50),
        ("data.token", {"data": {"token": "t", "expires_in": "soon"}, "expires_in": 50}, 50),
        ("a.b.token", {"a": {"b": {"token": "t"}, "expires_in": 50}, "expires_in": 7}, 50),
        ("token", {"data": {"expires_in": 7}, "token": "t"}, FOR_EVER),
    ],
)
def test_a_life_is_read_next_to_the_token_or_else_further_out(
    flext_service: LoopbackService,
    flext_elsewhere: LoopbackService,
    path: str,
    answer: dict[str, Any],
    seconds: float,
) -> None:
    flext_elsewhere.answer = Answer(body=json.dumps(answer).encode())
    auth = {**LOGIN, "token_path": path}
    with Host(services(flext_service, flext_elsewhere, auth)) as host:
        assert host.connect("api").get("/").status_code == 200
        assert life(host) == seconds


@pytest.mark.parametrize(
    "answer",
    [{}, {"data": None}, {"data": "t"}, {"data": ["t"]}, {"data": {}}, {"data.token": "t"}],
)
def test_a_path_that_leads_nowhere_finds_no_token(
    flext_service: LoopbackService, flext_elsewhere: LoopbackService, answer: dict[str, Any]
) -> None:
    flext_elsewhere.answer = Answer(body=json.dumps(answer).encode())
    auth = {**LOGIN, "token_path": "data.token"}
    with (
        Host(services(flext_service, flext_elsewhere, auth)) as host,
        pytest.raises(Refused, match=r"without a token at 'data\.token'"),
    ):
        host.connect("api").get("/")


# Whose clock


class Clock(NamedTuple):
    """What an issuer says about the life of a token, by its own clock."""

    behind: float
    """Seconds of that clock behind ours."""
    claims: dict[str, float]
    """From now on, by that clock."""
    dates: float | None = None
    """Seconds of the clock behind ours that dates the answer; without one it has no date."""
    fields: dict[str, Any] = {}


HOUR = 3600.0
CLOCKS: dict[str, tuple[Clock, float]] = {
    "the same": (Clock(0, {"iat": 0, "exp": HOUR}), HOUR),
    "an hour behind": (Clock(HOUR, {"iat": 0, "exp": HOUR}), HOUR),
    "a day behind": (Clock(24 * HOUR, {"iat": 0, "exp": HOUR}), HOUR),
    "an hour ahead": (Clock(-HOUR, {"iat": 0, "exp": HOUR}), HOUR),
    "behind, and the date is right": (Clock(HOUR, {"iat": 0, "exp": HOUR}, 0), HOUR),
    "behind, and says how long": (Clock(HOUR, {"exp": HOUR}, None, {"expires_in": 90}), 90),
    "behind, with a date": (Clock(HOUR, {"exp": HOUR}, HOUR), HOUR),
    "ahead, with a date": (Clock(-HOUR, {"exp": HOUR}, -HOUR), HOUR),
    "the same, without a date": (Clock(0, {"exp": HOUR}), HOUR),
    "behind, without a date": (Clock(2 * HOUR, {"exp": HOUR}), FOR_EVER),
    "behind, with another's date": (Clock(2 * HOUR, {"exp": HOUR}, 0), FOR_EVER),
    "begins when it ends": (Clock(0, {"iat": HOUR, "exp": HOUR}), HOUR),
    "no end": (Clock(0, {"iat": 0}), FOR_EVER),
}


@both
@pytest.mark.parametrize(("clock", "seconds"), CLOCKS.values(), ids=CLOCKS)
def test_a_tokens_life_is_read_off_the_issuers_clock_and_not_off_ours(
    flext_service: LoopbackService,
    flext_elsewhere: LoopbackService,
    auth: dict[str, Any],
    clock: Clock,
    seconds: float,
) -> None:
    def issue(_: Received) -> Answer:
        now = int(time.time() - clock.behind)
        token = signed(**{name: now + after for name, after in clock.claims.items()})
        dated = None if clock.dates is None else formatdate(time.time() - clock.dates, usegmt=True)
        headers = {} if dated is None else {"Date": dated}
        return Answer(headers=headers, body=says(access_token=token, **clock.fields))

    flext_elsewhere.answer = issue
    with Host(services(flext_service, flext_elsewhere, auth)) as host:
        client = host.connect("api")
        for _ in range(5):
            client.get("/")
        assert life(host) == pytest.approx(seconds, abs=5)
    assert len(flext_elsewhere.received) == 1


@pytest.mark.parametrize(
    "claims",
    [{}, {"exp": "soon"}, {"exp": None}, {"exp": True}, {"exp": [1]}, {"exp": math.inf}],
    ids=repr,
)
def test_a_signed_token_that_does_not_say_its_end_lasts_until_it_is_rejected(
    flext_service: LoopbackService, flext_elsewhere: LoopbackService, claims: dict[str, Any]
) -> None:
    token = jwt.api_jws.encode(json.dumps(claims).encode(), "k" * 32)
    flext_elsewhere.answer = Answer(body=says(access_token=token))
    with Host(services(flext_service, flext_elsewhere, LOGIN)) as host:
        assert host.connect("api").get("/").status_code == 200
        assert life(host) == FOR_EVER


# Refresh tokens that are refused


class Refusing:
    """A token service that gives tokens without a life, and answers refresh tokens in its way."""

    def __init__(self, server: LoopbackService, refusal: Answer) -> None:
        self.server, self.refusal = server, refusal
        server.answer = self._answer

    def _answer(self, received: Received) -> Answer:
        (grant,) = parse_qs(received.body.decode())["grant_type"]
        first = parse_qs(received.body.decode()).get("refresh_token") == ["canary-first"]
        if grant == "refresh_token" and not first:
            return self.refusal
        return Answer(body=says(expires_in=0, refresh_token="given"))

    @property
    def asked(self) -> list[str]:
        forms = [parse_qs(each.body.decode()) for each in self.server.received]
        return [each.get("refresh_token", each["grant_type"])[0] for each in forms]


def refusal(status: int, **fields: str) -> Answer:
    return Answer(status, body=json.dumps(fields).encode())


CLOSED = {
    "invalid_grant": refusal(400, error="invalid_grant"),
    "unauthorized_client": refusal(400, error="unauthorized_client"),
    "unsupported_grant_type": refusal(400, error="unsupported_grant_type"),
    "invalid_client": refusal(401, error="invalid_client"),
    "a word of its own": refusal(400, error="strange"),
    "200 with a word": refusal(200, error="bad_refresh_token"),
    "200 with nothing": refusal(200),
    "a form": Answer(body=b"error=bad_refresh_token&error_description=x"),
    "400": Answer(400, body=b"<html></html>"),
    "401": refusal(401),
    "403": Answer(403),
    "404": Answer(404),
    "405": Answer(405),
}


@pytest.mark.parametrize("own", [True, False], ids=["client", "user"])
@pytest.mark.parametrize("refusal", CLOSED.values(), ids=CLOSED)
def test_where_a_refresh_token_is_refused_the_first_way_is_taken_again(
    flext_service: LoopbackService, flext_elsewhere: LoopbackService, refusal: Answer, *, own: bool
) -> None:
    tokens = Refusing(flext_elsewhere, refusal)
    auth = OAUTH2 if own else {**OAUTH2, "refresh_token": "canary-first"}
    first = "client_credentials" if own else "canary-first"
    with Host(services(flext_service, flext_elsewhere, auth)) as host:
        for _ in range(3):
            assert host.connect("api").get("/").status_code == 200
    assert tokens.asked == [first, "given", first, "given", first]


async def test_in_every_world_a_refused_refresh_token_is_followed_by_the_first_way(
    flext_world: World, flext_service: LoopbackService, flext_elsewhere: LoopbackService
) -> None:
    tokens = Refusing(flext_elsewhere, CLOSED["unauthorized_client"])
    host = flext_world.host(services(flext_service, flext_elsewhere, OAUTH2))
    client = await flext_world.client(host, "api")
    for _ in range(2):
        assert (await client.get("/")).status_code == 200
    assert tokens.asked == ["client_credentials", "given", "client_credentials"]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_token_service_in_trouble_is_asked_for_nothing_else_and_the_refresh_token_stays(
    flext_service: LoopbackService,
    flext_elsewhere: LoopbackService,
    status: int,
    forget: Any,
) -> None:
    tokens = Refusing(flext_elsewhere, refusal(status))
    with Host(services(flext_service, flext_elsewhere, OAUTH2)) as host:
        client = host.connect("api")
        client.get("/")
        for _ in range(2):
            with pytest.raises(Refused, match=f"failed with status {status}"):
                client.get("/")
            forget(host, "api")
        tokens.refusal = Answer(body=says(expires_in=100))
        assert client.get("/").status_code == 200
    assert tokens.asked == ["client_credentials", *["given"] * 3]


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "strange"])
def test_a_refresh_token_outlives_a_time_in_which_nothing_is_accepted(
    flext_service: LoopbackService, flext_elsewhere: LoopbackService, error: str, forget: Any
) -> None:
    """A user's cannot be had again, and a client whose secret is being changed is refused too."""
    tokens = Refusing(flext_elsewhere, Answer(body=says(expires_in=0)))
    auth = {**OAUTH2, "refresh_token": "canary-first"}
    with Host(services(flext_service, flext_elsewhere, auth)) as host:
        client = host.connect("api")
        client.get("/")
        working = flext_elsewhere.answer
        flext_elsewhere.answer = refusal(401, error=error)
        with pytest.raises(Refused, match=f"refused: {error}$"):
            client.get("/")
        forget(host, "api")
        flext_elsewhere.answer = working
        assert client.get("/").status_code == 200
    assert tokens.asked == ["canary-first", "given", "canary-first", "given"]


@pytest.mark.parametrize("value", [None, "", 7, ["r"], "\ud800", "two\nlines"], ids=ascii)
def test_a_refresh_token_that_cannot_be_sent_is_none(
    flext_service: LoopbackService, flext_elsewhere: LoopbackService, value: object
) -> None:
    flext_elsewhere.answer = Answer(body=says(expires_in=0, refresh_token=value))
    with Host(services(flext_service, flext_elsewhere, OAUTH2)) as host:
        for _ in range(2):
            assert host.connect("api").get("/").status_code == 200
    bodies = [each.body for each in flext_elsewhere.received]
    assert bodies == [b"grant_type=client_credentials"] * 2


# Nothing is told that the token service did not say


@pytest.mark.parametrize(
    "error",
    ["invalid_grant", "consent_required", "login_required", "insufficient_scope", "missing_token"],
)
def test_a_refusal_has_the_words_of_the_token_service_alone(
    flext_service: LoopbackService, flext_elsewhere: LoopbackService, error: str
) -> None:
    flext_elsewhere.answer = refusal(400, error=error)
    with (
        Host(services(flext_service, flext_elsewhere, OAUTH2)) as host,
        pytest.raises(Refused) as caught,
    ):
        host.connect("api").get("/")
    assert str(caught.value) == f"api: auth: the token service 'tokens' refused: {error}"


@both
def test_an_answer_that_is_too_long_is_a_failure_that_is_remembered(
    flext_world: World,
    flext_service: LoopbackService,
    flext_elsewhere: LoopbackService,
    auth: dict[str, Any],
) -> None:
    bomb = Answer(
        headers={"Content-Encoding": "gzip"}, body=gzip.compress(says(more="x" * (1 << 25)))
    )
    flext_elsewhere.answer = bomb
    host = flext_world.host(services(flext_service, flext_elsewhere, auth))

    for _ in range(2):
        with pytest.raises(Refused, match="'tokens' failed: .* 1048576 bytes.*max_plugin_read"):
            flext_world.get(host, service="api")
    assert (len(flext_elsewhere.received), flext_service.received) == (1, [])
