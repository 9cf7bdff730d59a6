"""What plugins need to know of HTTP: origins, `Retry-After`, methods."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from urllib3.util import parse_url

import flext_plugins.http
from flext_plugins import Failure, Host, HostConfig, ServiceURL, Stage, hookimpl
from flext_plugins._config.service_checks import exposure
from flext_plugins.http import IDEMPOTENT, SAFE, Origin, retry_after

CANARY = "c4n4ry"


def test_the_public_names_are_these():
    assert flext_plugins.http.__all__ == [
        *("IDEMPOTENT", "SAFE", "URL", "Origin"),
        *("basic_credentials", "is_header_value", "retry_after"),
    ]


# Origins


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("https://a.example", "https://a.example:443"),
        ("https://a.example", "HTTPS://A.Example."),
        ("https://a.example", "https://a.example:0443/x?y#z"),
        ("https://a.example", "https://a.example:"),
        ("https://a.example", "https://ann:pw@a.example/"),
        ("https://a.example", "https://x@y@a.example/"),
        ("http://a.example", "http://a.example:80"),
        ("ws://a.example", "ws://a.example:80"),
        ("wss://a.example", "wss://a.example:443"),
        ("ldap://a.example", "LDAP://a.example:389"),
        ("ldaps://a.example", "ldaps://a.example:636"),
        ("http://[::1]", "http://[0:0:0:0:0:0:0:1]:80"),
        ("http://[2001:db8::a]:8080", "http://[2001:DB8:0::A]:8080/"),
        ("http://127.0.0.1", "http://127.0.0.1."),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("http://BÜCHER.example", "http://xn--bcher-kva.example"),
        ("http://faß.example", "http://xn--fa-hia.example"),  # not fass.example
        ("http://例え。テスト/", "http://xn--r8jz45g.xn--zckzah"),
        ("http://a。example。", "http://a.example"),
        ("http://\uff21\uff22\uff23.example", "http://abc.example"),
        ("http://a\u00adb.example", "http://ab.example"),
        ("http://a\tb.example", "http://ab.example"),
    ],
)
def test_an_origin_is_one_in_all_its_spellings(one, same):
    assert Origin.of(one) == Origin.of(same)
    assert hash(Origin.of(one)) == hash(Origin.of(same))
    assert str(Origin.of(one)) == str(Origin.of(same))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example", "http://a.example"),
        ("https://a.example", "https://a.example:80"),
        ("https://a.example", "https://a.example.evil.example"),
        ("https://a.example", "https://b.example/https://a.example"),
        ("https://a.example", "https://a.example@b.example"),
        ("https://a.example", "https://a.example:443@b.example"),
        ("https://a.example", "https://a.example;@b.example"),
        ("https://a.example", "https://b.example#@a.example"),
        ("https://a.example", "https://b.example?@a.example"),
        ("https://fass.example", "https://faß.example"),
        ("http://[::1]", "http://[::2]"),
    ],
)
def test_what_leads_elsewhere_is_another(one, other):
    assert Origin.of(one) != Origin.of(other)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:pw@A.example.:443/x?y", "https://a.example"),
        ("https://a.example:8443", "https://a.example:8443"),
        ("http://a.example:443", "http://a.example:443"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[0::1]:8080", "http://[::1]:8080"),
        ("oracle://a.example", "oracle://a.example"),
        ("oracle://a.example:1521", "oracle://a.example:1521"),
        ("http://my_service:8080", "http://my_service:8080"),
    ],
)
def test_it_is_shown_without_what_is_secret_or_superfluous(url, shown):
    assert str(Origin.of(url)) == shown


def test_its_parts_are_there_for_labels():
    origin = Origin.of("https://[2001:DB8::1]/")
    assert (origin.scheme, origin.host, origin.port) == ("https", "2001:db8::1", 443)
    assert Origin.of("oracle://a.example").port is None


def test_nobody_changes_one():
    with pytest.raises(AttributeError):
        Origin.of("https://a.example").host = "b.example"
    assert pickle.loads(pickle.dumps(Origin.of("https://a"))) == Origin.of("https://a")


@pytest.mark.parametrize("made", [httpx.URL, parse_url, ServiceURL])
def test_it_takes_what_is_a_url_as_text(made):
    assert str(Origin.of(made("http://A.example:8080/x"))) == "http://a.example:8080"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no scheme"),
        ("/path", "no scheme"),
        ("//a.example", "no scheme"),
        ("a.example", "no scheme"),
        ("a.example:443", "no host"),
        ("https://", "no host"),
        ("https:///path", "no host"),
        (f"https://{CANARY}@", "no host"),
        ("mailto:ann@a.example", "no host"),
        (None, "no scheme"),
        (b"https://a.example", "no scheme"),
        (f"https://ann:{CANARY}", "port is no number"),
        (f"https://ann:{CANARY}@a.example:x", "port is no number"),
        ("https://a.example:65536", "port is no number"),
        ("https://a.example:-1", "port is no number"),
        ("https://a.example:٣", "port is no number"),
        (f"https://ann:{CANARY}@[::1", "host cannot be read"),
        (f"https://a.example\\@{CANARY}", "host cannot be read"),  # a browser goes to a.example
        (f"https://{CANARY}@a℀b", "host cannot be read"),
        ("https://.", "no name"),
        ("https://a..example", "no name"),
        ("https://a b", "no name"),
        ("https://a%20b", "no name"),
        ("https://a.example\x00", "no name"),
        ("https://[v1.x]", "host"),
        ("https://a\u200db", "no name"),
    ],
)
def test_what_is_no_absolute_url_is_an_error_that_says_why_and_quotes_nothing(text, problem):
    with pytest.raises(ValueError, match=problem) as caught:
        Origin.of(text)
    assert type(caught.value) is ValueError
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None  # which might quote it


HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,9}[a-z0-9])?(\.[a-z]{2,9}){0,2}", fullmatch=True)
PORTS = st.none() | st.integers(1, 65535)


@given(st.sampled_from(["http", "https", "ldaps", "x"]), HOSTS, PORTS, st.randoms())
def test_no_spelling_makes_a_difference(scheme, host, port, random):
    def spelt():
        cased = "".join(random.choice([each, each.upper()]) for each in f"{scheme}://{host}")
        dot = random.choice(["", "."])
        user = random.choice(["", "u@", "u:p@", "u:p:q@"])
        default = {"http": 80, "https": 443, "ldaps": 636}.get(scheme)
        number = random.choice([f":{default}", "", ":"]) if port in {None, default} else f":{port}"
        if default is None and port is None:
            number = ""
        return (
            cased.replace("://", f"://{user}") + dot + number + random.choice(["", "/", "/@", "?@"])
        )

    origin = Origin.of(spelt())
    assert origin == Origin.of(spelt())
    assert Origin.of(origin) == origin
    assert str(origin) == str(origin).lower()


@given(st.text() | st.text().map("https://{}".format) | st.text("a:/@[]\\.#?%\t0"))
def test_any_text_is_an_origin_or_a_value_error(text):
    try:
        origin = Origin.of(text)
    except ValueError:
        return
    assert Origin.of(str(origin)) == origin
    assert origin.host.isascii()


# Where the host uses them


def test_three_spellings_of_an_address_in_settings_are_one_connection():
    opened, failures = [], []

    class Asks:
        """Sends to each address in its settings."""

        class Settings(BaseModel):
            urls: list[ServiceURL]

        stage = Stage.AUTH

        def __init__(self, settings):
            self.urls = settings.urls

        @hookimpl
        async def flext_exchange(self, connection):
            for url in self.urls:
                try:
                    await connection.request(url.origin, "GET", url)
                except Exception as error:  # nobody listens there
                    failures.append(connection.failure(error))
            return connection.respond(204)

    class Watches:
        observer = True

        @hookimpl
        def flext_connect(self, connection):
            opened.append(connection.service.name)

    spellings = ["http://127.0.0.1/", "http://127.0.0.1:80/x", "HTTP://127.0.0.1./y"]
    config = {
        "services": {
            "a": {"base_url": "https://a.example", "plugins": {"asks": {"urls": spellings}}}
        },
        "plugins": {"watches": {}},
        "defaults": {"timeout": 2},
    }
    with Host(config) as host:
        host.register(Asks, "asks")
        host.register(Watches, "watches")
        assert host.connect("a").get("/").status_code == 204
    assert sorted(opened) == ["a", "http://127.0.0.1"]
    assert failures == [Failure.CONNECT] * 3
    three = ["https://a.example/x", "https://a.example:443/y", "HTTPS://A.example./z"]
    assert {ServiceURL(each).origin for each in three} == {"https://a.example"}


@pytest.mark.parametrize("url", ["HTTPS://A.example./x", "https://a.example:443/x", "/x"])
def test_a_request_is_the_services_own_in_any_spelling_of_its_origin(flext_world, url):
    class Answers:
        @hookimpl
        def flext_request(self, connection):
            return connection.respond(299)

    service = {"base_url": "https://a.example", "plugins": {"answers": {}}}
    host = flext_world.host({"services": {"service": service}}, answers=Answers)
    assert flext_world.get(host, url).status_code == 299


@pytest.mark.parametrize(
    ("base_url", "plain"),
    [
        ("HTTP://A.example.", True),
        ("http://localhost.", False),
        ("http://api.LOCALHOST.:8080", False),
        ("http://[0:0::1]", False),
        ("http://127.0.0.1.", False),
        ("https://a.example", False),
    ],
)
def test_what_is_plain_http_to_another_machine_is_told_in_any_spelling(base_url, plain):
    config = HostConfig.model_validate({"services": {"a": {"base_url": base_url}}})
    assert bool(exposure(config.service("a"))) is plain


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("0120", 120),
        (" 120 ", 120),
        ("2147483648", 2**31),
        ("2147483649", 2**31),
        ("9" * 5000, 2**31),
        ("0" * 5000 + "5", 5),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0),
        ("Sun Nov  6 08:49:37 1994", 0),
    ],
)
def test_seconds_are_themselves_and_past_dates_are_now(value, seconds):
    assert retry_after({"Retry-After": value}) == seconds


RFC_850 = "%A, %d-%b-%y %H:%M:%S GMT"
ASCTIME = "%a %b %e %H:%M:%S %Y"


@pytest.mark.parametrize("seconds", [90, 3600, 86400 * 365])
@pytest.mark.parametrize(
    "form", ["%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S -0000", RFC_850, ASCTIME]
)
def test_each_form_of_an_http_date_is_read(form, seconds):
    then = datetime.now(UTC) + timedelta(seconds=seconds)
    found = retry_after({"Retry-After": then.strftime(form)})
    assert found == pytest.approx(seconds, abs=5)


def test_a_date_may_be_in_another_zone():
    then = (datetime.now(UTC) + timedelta(seconds=90)).astimezone(
        tz=datetime.strptime("+0200", "%z").tzinfo
    )
    assert retry_after({"Retry-After": format_datetime(then)}) == pytest.approx(90, abs=5)


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "-7", "+7", "1.5", "1e3", "inf", "nan", "²", "٣", "7, 9", "7 9", "0x7"),
        *("Fri, 06", "GMT", "Fri, 99 Nov 2026 08:49:37 GMT", "Fri, 31 Feb 2040 08:49:37 GMT"),
        "Sun Nov  6 999999999999999999999:49:37 1994",
        "Fri, 06 Nov 2026 08:49:37 GMT" + " " * 70 + "x",
    ],
)
def test_what_makes_no_sense_asks_for_nothing(value):
    assert retry_after({"Retry-After": value}) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "7"},
        {"retry-after": "7"},
        {"X": "9", "RETRY-AFTER": "7"},
        httpx.Headers({"retry-after": "7"}),
    ],
)
def test_headers_may_be_of_any_mapping(headers):
    assert retry_after(headers) == 7


def test_without_the_header_nothing_is_asked():
    assert retry_after({}) is retry_after(httpx.Headers({"X": "7"})) is None


@given(
    st.text()
    | st.from_regex(
        r"\w{3}, \d{1,9} \w{3} \d{1,9} \d+:\d+(:\d+)? ([+-]\d{4,9}|GMT)", fullmatch=True
    )
)
def test_no_header_that_a_service_may_send_breaks_anything(value):
    found = retry_after({"Retry-After": value})
    assert found is None or 0 <= found < float("inf")


# Methods


def test_methods_are_those_of_the_rfc():
    assert {"GET", "HEAD", "OPTIONS", "TRACE"} == SAFE
    assert {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"} == IDEMPOTENT
    assert isinstance(IDEMPOTENT, frozenset)
    assert isinstance(SAFE, frozenset)
