"""Which names are secret, and what is shown in place of their values, wherever it is shown."""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import flext_plugins.redaction
from flext_plugins import (
    FlextError,
    Host,
    Refused,
    ServiceError,
    Stage,
    events,
    hookimpl,
    raise_for_status,
)
from flext_plugins.redaction import MASK, is_secret, redact, redact_headers
from flext_plugins.testing import Answer

CANARY = "c4n4ry"

SECRET = [
    *(
        "password",
        "passwd",
        "pass",
        "db_pass",
        "passphrase",
        "passcode",
        "pwd",
        "userPwd",
        "PassWord",
    ),
    *("secret", "client_secret", "clientSecret", "secret_key", "X-Secret", "SECRET_KEY_BASE"),
    *("token", "access_token", "accessToken", "id_token", "refresh_token", "page_token", "tokens"),
    *(
        "X-CSRFToken",
        "csrf",
        "_csrf",
        "xsrf",
        "csrfmiddlewaretoken",
        "X-Auth-Token",
        "id_token_hint",
    ),
    *(
        "api_key",
        "apikey",
        "apiKey",
        "api-key",
        "X-API-Key",
        "x_api_key",
        "private-key",
        "privateKey",
    ),
    *("access_key", "AccessKeyId", "AWSAccessKeyId", "account_key", "AccountKey", "shared_key"),
    *("signing_key", "auth_key", "Ocp-Apim-Subscription-Key", "x-functions-key", "key"),
    *("authorization", "Authorization", "Proxy-Authorization", "X-Forwarded-Authorization", "auth"),
    *("x-auth", "basic_auth", "bearer", "credential", "credentials", "creds", "X-Credential"),
    *("cookie", "Cookie", "cookies", "Set-Cookie", "set_cookie2"),
    *("session", "session_id", "sessionid", "sessionId", "JSESSIONID", "PHPSESSID", "sid"),
    *("ASP.NET_SessionId", "connect.sid", "X-Session"),
    *("jwt", "id_jwt", "jwe", "otp", "totp", "otp_code", "pin", "user_pin", "cvv"),
    *("code", "auth_code", "authorization_code", "device_code", "user_code", "code_verifier"),
    *("assertion", "client_assertion", "SAMLResponse", "samlresponse", "SAMLart"),
    *("signature", "X-Hub-Signature-256", "sig", "x_sig", "hmac"),
    *(
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Goog-Expires",
    ),
    *("user[password]", "user%5Bapi_key%5D", "p%61ssword", "%74oken", "api+key", "data.pwd"),
]
HARMLESS = [
    *(
        "passenger",
        "passengers",
        "bypass",
        "compass",
        "password_file",
        "passport",
        "boarding_passes",
    ),
    *("secretary", "secretariat", "secret_file", "secret_path"),
    *("tokenizer", "tokenize", "token_type", "token_url", "token_uri", "token_endpoint_url"),
    *("token_path", "token_file", "tokenUrl", "tokenurl", "page_token_lifetime", "token_ttl"),
    *("api_key_file", "private_key_path", "session_timeout", "possession", "obsession"),
    *("monkey", "keyboard", "turkey", "key_id", "sort_key", "cache_key", "public_key", "keys"),
    *("Idempotency-Key", "Sec-WebSocket-Key", "primary_key"),
    *("author", "authority", "authorized", "authentication", "client_auth", "WWW-Authenticate"),
    *("accept_cookies", "status_code", "country_code", "error_code", "zipcode", "encode", "codec"),
    *("code_challenge", "pinned", "spin", "opinion", "shipping", "laptop", "option", "options"),
    *(
        "inside",
        "side",
        "consider",
        "account_sid",
        "design",
        "signal",
        "assign",
        "credit",
        "sacred",
    ),
    *("state", "nonce", "scope", "grant_type", "client_id", "user", "username", "page", "q", "id"),
    *("X-Amzn-Trace-Id", "X-Request-ID", "X-Correlation-ID", "traceparent", "Content-Type", "ETag"),
    *("", "-", "_", "%", "é", "名前"),
]


def test_the_public_names_are_these():
    names = ["MASK", "is_secret", "printable", "redact", "redact_headers"]
    assert flext_plugins.redaction.__all__ == names
    assert MASK == "***"


@pytest.mark.parametrize("name", SECRET)
def test_these_names_are_secret_in_any_case(name):
    assert is_secret(name)
    assert is_secret(name.lower())
    assert is_secret(name.upper())


@pytest.mark.parametrize("name", HARMLESS)
def test_these_are_not(name):
    assert not is_secret(name)


@pytest.mark.parametrize("word", ["passw", "credential", "signature", "session", "secret", "token"])
def test_a_word_for_a_secret_is_one_in_the_midst_of_others(word):
    assert is_secret(f"my{word}of2026")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://a.example/?page=7", "https://a.example/?page=7"),
        (
            "https://a.example/?pwd=x&jwt=y&access_token=z",
            "https://a.example/?pwd=***&jwt=***&access_token=***",
        ),
        ("https://ann:pw@a.example/", "https://***@a.example/"),
        ("https://ann@a.example/", "https://***@a.example/"),
        ("https://a.example/@ann?q=b@c", "https://a.example/@ann?q=b@c"),
        ("/?pwd=x", "/?pwd=***"),
        ("/#access_token=x&state=s", "/#access_token=***&state=s"),
        ("/?p%61ssword=x", "/?p%61ssword=***"),
        ("/?p%2561ssword=x", "/?p%2561ssword=***"),
        ("/?a=1&amp;pwd=x", "/?a=1&amp;pwd=***"),
        ("/a;jsessionid=x", "/a;jsessionid=***"),
        ("/?a=1;pwd=x&b=2", "/?a=1;pwd=***&b=2"),
        ("/?pwd=x;y&b=2", "/?pwd=***&b=2"),  # the value has a `;` in it
        ("/?pwd=x=y&b=2", "/?pwd=***&b=2"),
        ("/?pwd=&b=2", "/?pwd=***&b=2"),
        ("/?pwd", "/?pwd"),
        ("/?x?pwd=x", "/?x?pwd=***"),
        ("a=1&pwd=x", "a=1&pwd=***"),
        ("pwd=x&a=1", "pwd=***&a=1"),
        ('GET "/?sig=x HTTP/1.1" 200', 'GET "/?sig=*** HTTP/1.1" 200'),
        (
            "two: http://u:p@a/?pwd=x http://u:p@b/?pwd=x",
            "two: http://***@a/?pwd=*** http://***@b/?pwd=***",
        ),
        ("the words say code = 7", "the words say code = 7"),
        ("monkey=1&token_type=bearer&state=open", "monkey=1&token_type=bearer&state=open"),
        ("", ""),
    ],
)
def test_a_text_is_shown_with_its_secrets_masked(text, shown):
    assert redact(text) == shown
    assert redact(shown) == shown


PLAIN = st.text(st.characters(categories=["L", "N"], max_codepoint=0x2FF), min_size=1, max_size=9)
NAMES = st.sampled_from([name for name in SECRET if name.isascii()])


@given(
    st.lists(st.tuples(PLAIN, PLAIN), max_size=3),
    NAMES,
    st.text(max_size=9),
    st.lists(st.tuples(PLAIN, PLAIN), max_size=3),
    st.sampled_from(["https://a.example/x?", "https://u:p@a.example/x?", "/x?a;b&", "/#", "?", ""]),
    st.sampled_from(["%s", "say %s now", '"GET %s HTTP/1.1"', "a\n%s"]),
)
def test_no_value_of_a_secret_name_comes_through(before, name, value, after, start, around):
    query = urlencode([*before, (name, f"{CANARY}{value}{CANARY}"), *after])
    if start == "" and around != "%s":
        start = "?"
    assert CANARY not in redact(around % f"{start}{query}")
    raw = f"{CANARY};{quote(value, safe=';/?:@=+$,')}{CANARY}"
    assert CANARY not in redact(f"{start}{quote(name, safe='[]')}={raw}")


@given(st.text() | st.text("?&;#=@:/% pwd"))
def test_any_text_is_redacted_once_and_for_all(text):
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "?",
        "?a",
        "&pwd=x",
        ";",
        "a",
        "A",
        "aB",
        "_",
        "%",
        "%41",
        "=",
        "token",
        "session_",
        "://",
        "://@",
        "key_",
        "x-amz-",
    ],
)
def test_the_time_for_a_text_is_linear(text):
    """Quadratic in its length this would take minutes."""
    began = time.process_time()
    redact(text * (400_000 // len(text)))
    redact("?" + text * (400_000 // len(text)) + "=x")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer x", "X-Session-Id": "y", "Referer": "/?pwd=z", "Accept": "*/*"},
        {
            b"Authorization": b"Bearer x",
            b"X-Session-Id": b"y",
            b"Referer": b"/?pwd=z",
            b"Accept": b"*/*",
        },
        [
            ("Authorization", "Bearer x"),
            ("X-Session-Id", "y"),
            ("Referer", "/?pwd=z"),
            ("Accept", "*/*"),
        ],
        iter(
            [
                (b"Authorization", b"Bearer x"),
                (b"X-Session-Id", b"y"),
                ("Referer", "/?pwd=z"),
                (b"Accept", "*/*"),
            ]
        ),
    ],
)
def test_headers_are_shown_with_their_secrets_masked(headers):
    assert redact_headers(headers) == {
        "Authorization": "***",
        "X-Session-Id": "***",
        "Referer": "/?pwd=***",
        "Accept": "*/*",
    }


def test_headers_that_come_several_times_are_joined():
    pairs = [("Via", "a"), ("Set-Cookie", "x"), ("Via", "http://u:p@b"), ("Set-Cookie", "y")]
    assert redact_headers(pairs) == {"Via": "a, http://***@b", "Set-Cookie": "***"}
    assert redact_headers(httpx.Headers(pairs))["via"] == "a, http://***@b"
    assert redact_headers({}) == {}


# Wherever the host shows something

LEAKY = f"/?pwd={CANARY}&jwt={CANARY}&access_token={CANARY}&PHPSESSID={CANARY};{CANARY}&page=7"


def test_no_log_of_a_request_has_its_secrets(flext_service, flext_world, caplog):
    caplog.set_level(logging.DEBUG)
    flext_world.get(flext_world.serve(flext_service), LEAKY)

    assert CANARY in flext_service.received[0].path
    told = [each.getMessage() for each in caplog.records if "page=7" in each.getMessage()]
    assert any("pwd=***&jwt=***&access_token=***" in each for each in told)
    assert CANARY not in caplog.text


def test_our_own_lines_have_none_either(flext_service, flext_world, caplog):
    class Tells:
        stage = Stage.AUTH

        @hookimpl
        def flext_request(self, connection):
            change = events.StateChanged("tells", f"http://a{LEAKY}", "a", "b", f"at {LEAKY}")
            connection.emit(change)
            raise Refused(f"no: http://a{LEAKY}")

    caplog.set_level(logging.DEBUG)
    with suppress(FlextError):
        flext_world.get(flext_world.serve(flext_service, Tells))

    assert len([each for each in caplog.records if each.name == "flext_plugins"]) == 2
    assert CANARY not in caplog.text
    assert CANARY not in repr(
        [vars(each) for each in caplog.records if each.name == "flext_plugins"]
    )


def test_an_error_of_a_service_that_quotes_a_request_has_none(flext_service, flext_world):
    def quotes(received):
        problem = {"detail": f"cannot GET {received.path}", "at": [f"http://u:{CANARY}@a/"]}
        return Answer(400, {"Content-Type": "application/json"}, json.dumps(problem).encode())

    flext_service.answer = quotes
    with pytest.raises(ServiceError, match=r"cannot GET /\?pwd=\*\*\*&jwt=\*\*\*") as caught:
        raise_for_status(flext_world.get(flext_world.serve(flext_service), LEAKY))
    assert CANARY not in f"{caught.value} {caught.value.extensions} {caught.value.problem()}"


def test_what_is_explained_has_none():
    class Plugin:
        class Settings(BaseModel):
            jwt: str
            pin: str
            session: dict[str, str]
            token_url: str
            callback: str

        @hookimpl
        def flext_request(self):
            pass

    table = {
        "jwt": CANARY,
        "pin": CANARY,
        "session": {"a": CANARY},
        "token_url": "https://a.example/token",
        "callback": f"https://u:{CANARY}@a{LEAKY}",
    }
    service = {"headers": {"X-Callback": f"https://a{LEAKY}"}, "plugins": {"plugin": table}}
    host = Host({"services": {"a": service}})
    host.register(Plugin, "plugin")
    explained = host.explain("a")
    assert CANARY not in f"{explained} {explained!r}"
    settings = {each.name: each.value for each in explained.layers[0].settings}
    assert settings["token_url"] == "https://a.example/token"
    assert settings["callback"].startswith("https://***@a/?pwd=***&jwt=***")


def test_a_header_of_any_secret_name_is_not_sent_over_plain_http():
    for name in ("X-Session-Id", "X-Auth", "jwt"):
        service = {"base_url": "http://a.example", "headers": {name: "x"}}
        with pytest.raises(FlextError, match=f"header '{name}' would send credentials"):
            Host({"services": {"a": service}}).check()
