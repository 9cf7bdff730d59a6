"""Secrets are references; wherever one is planted, it comes out nowhere."""

import base64
import copy
import html
import json
import os
import pickle
import re
import traceback
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from pydantic import (
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from flext_plugins import (
    ConfigError,
    FlextError,
    Host,
    HostConfig,
    Refused,
    Secret,
    ServiceConfig,
    ServiceName,
    Stage,
    hookimpl,
)
from flext_plugins._config.models import Timeout
from flext_plugins._config.secrets import Address, is_there
from flext_plugins.testing import Answer

CANARY = "c4n4ry-s3cr3t-that-is-long-enough-to-be-cut-in-the-middle-of-an-error"


class Login:
    stage = Stage.AUTH

    class Settings(BaseModel):
        username: str = "svc"
        password: Secret | None = None
        others: list[Secret] = []
        service: ServiceName | None = None

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    async def flext_exchange(self, request, send):
        request.headers["Authorization"] = self.settings.password.get_secret_value()
        return await send(request)


class Signer(Login):
    stage = Stage.SIGN


class Quiet(Login):
    observer = True


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name in os.environ:
        if name.startswith("FLEXT"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def write(text, name="flext.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def registered(host, **plugins):
    for name, kind in {"login": Login, "signer": Signer, "quiet": Quiet, **plugins}.items():
        host.register(kind, name)
    return host


def of(services, **plugins):
    return registered(Host({"services": services}), **plugins)


def problems(call, *args, **options):
    with pytest.raises(ConfigError) as caught:
        call(*args, **options)
    return list(caught.value.problems)


# References


def test_a_secret_is_its_own_value_or_stands_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("in a file\n")
    monkeypatch.setenv("FLEXT_TEST", "in a variable")
    assert Secret("plain").get_secret_value() == "plain"
    assert Secret("env:FLEXT_TEST").get_secret_value() == "in a variable"
    assert Secret(f"file:{tmp_path}/secret").get_secret_value() == "in a file"


@pytest.mark.parametrize("text", ["env:", "file:", "environment:X", "", "xenv:X"])
def test_what_is_no_reference_is_a_secret(text):
    assert Secret(text).get_secret_value() == text
    assert Secret(text).reference is None


@pytest.mark.parametrize("place", ["env", "file"])
@pytest.mark.parametrize(
    "end", ["", "\n", "\r\n", "\r", "\n\n", "\r\n\n"], ids=["none", "n", "rn", "r", "nn", "rnn"]
)
@pytest.mark.contract("line-ends-are-no-secret")
def test_only_the_line_ends_after_a_secret_are_left_out(tmp_path, monkeypatch, place, end):
    written = f"\n  two\nlines {end}"
    (tmp_path / "secret").write_bytes(written.encode())
    monkeypatch.setenv("FLEXT_TEST", written)
    reference = "env:FLEXT_TEST" if place == "env" else f"file:{tmp_path}/secret"
    assert Secret(reference).get_secret_value() == "\n  two\nlines "


@pytest.mark.parametrize("text", ["secret", "secret\r\n", "\u043f\u0430\u0440\u043e\u043b\u044c"])
@pytest.mark.contract("line-ends-are-no-secret")
def test_the_mark_with_which_windows_begins_a_file_is_left_out(tmp_path, text):
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert Secret(f"file:{tmp_path}/secret").get_secret_value() == text.rstrip()


def test_a_file_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "secret"
    path.write_text("one")
    secret = Secret(f"file:{path}")
    assert secret.get_secret_value() == "one"
    path.write_text("longer")
    assert secret.get_secret_value() == "longer"


def test_a_file_that_does_not_change_is_read_once(tmp_path):
    path = tmp_path / "secret"
    path.write_text("one")
    secret = Secret(f"file:{path}")
    secret.get_secret_value()
    state = path.stat()
    path.write_text("two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert secret.get_secret_value() == "one"


def empty(path):
    path.write_text("\n")


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (empty, "this file is empty"),
        (Path.unlink, "cannot be read (FileNotFoundError)"),
        (folder, "cannot be read (IsADirectoryError)"),
    ],
    ids=["empty", "gone", "a folder"],
)
@pytest.mark.contract("secret-files-may-be-gone")
def test_what_a_file_said_stays_in_use_while_it_says_nothing(tmp_path, caplog, break_it, why):
    path = tmp_path / "secret"
    path.write_text("one")
    secret = Secret(f"file:{path}")
    assert secret.get_secret_value() == "one"
    break_it(path)
    for _ in range(100):
        assert secret.get_secret_value() == "one"
    said = f"file:{path}: {why}; what was read before stays in use"
    assert caplog.messages == [said]
    if path.is_dir():
        path.rmdir()
    path.write_text("two")
    assert secret.get_secret_value() == "two"


@pytest.mark.contract("secret-files-may-be-gone")
def test_a_file_that_was_always_empty_is_an_error(tmp_path):
    (tmp_path / "secret").write_text("\n")
    secret = Secret(f"file:{tmp_path}/secret")
    assert not is_there(secret)
    with pytest.raises(ConfigError, match="secret: this file is empty$"):
        secret.get_secret_value()


@pytest.mark.contract("unreadable-is-a-problem")
def test_a_file_without_end_is_no_secret():
    for path in ("/dev/zero", "/dev/urandom"):
        with pytest.raises(ConfigError, match=f"file:{path}: "):
            Secret(f"file:{path}").get_secret_value()


def test_a_swapped_link_is_seen_as_kubernetes_swaps_it(tmp_path):
    for name, text in (("..2026_1", "one"), ("..2026_2", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "password").write_text(text)
        os.utime(tmp_path / name / "password", ns=(1, 1))
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "password").symlink_to("..data/password")
    secret = Secret(f"file:{tmp_path}/password")
    assert secret.get_secret_value() == "one"
    (tmp_path / "..data_tmp").symlink_to("..2026_2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert secret.get_secret_value() == "two"


def test_a_variable_is_read_each_time(monkeypatch):
    secret = Secret("env:FLEXT_TEST")
    for value in ("one", "two"):
        monkeypatch.setenv("FLEXT_TEST", value)
        assert secret.get_secret_value() == value


def test_a_missing_variable_or_file_is_a_problem_with_its_place(tmp_path):
    table = {"password": "env:FLEXT_NONE", "others": ["x", "file:/nowhere", "file:\0", "file:."]}
    assert problems(of({"a": {"plugins": {"quiet": table}}}).check) == [
        "services.a.plugins.quiet.password: env:FLEXT_NONE: this variable is not set",
        "services.a.plugins.quiet.others.1: file:/nowhere: cannot be read (FileNotFoundError)",
        "services.a.plugins.quiet.others.2: file:\0: cannot be read (ValueError)",
        "services.a.plugins.quiet.others.3: file:.: cannot be read (IsADirectoryError)",
    ]


def test_missing_secrets_are_told_together_with_everything_else():
    table = {"password": "env:FLEXT_NONE", "usrname": "x", "service": 5}
    service = {
        "base_url": "https://u:env:FLEXT_NO_PASSWORD@x.example",
        "headers": {"X-One": "env:FLEXT_NO_ONE", "X-Two": "file:/nowhere"},
        "proxy": "http://env:FLEXT_NO_USER:x@proxy.example",
        "plugins": {"quiet": table},
    }
    told = problems(of({"a": service}).check)
    assert [each.partition(": ")[0].removeprefix("services.a.") for each in told] == [
        "plugins.quiet.usrname",
        "plugins.quiet.service",
        "plugins.quiet.password",
        "base_url",
        "headers.X-One",
        "headers.X-Two",
        "proxy",
    ]


# Inline secrets


INLINE = '[services.a.plugins.quiet]\npassword = "inline-secret"\nothers = ["x"]\n'


@pytest.mark.parametrize("name", ["flext.toml", "code.toml", "default.yaml.toml"])
def test_a_secret_in_a_file_is_refused_unless_the_file_allows_it(write, name):
    told = problems(registered(Host.from_file(write(INLINE, name).name)).check)
    assert len(told) == 2
    assert "services.a.plugins.quiet.password: a secret stands in the file" in told[0]
    assert "services.a.plugins.quiet.others.0: a secret stands in the file" in told[1]
    assert name in told[0]
    registered(Host.from_file(write("allow_inline_secrets = true\n" + INLINE, name))).check()


def test_a_secret_may_stand_in_a_variable_or_in_code(write, monkeypatch):
    write("[services.a.plugins.quiet]\npassword = 'in the file'")
    monkeypatch.setenv("FLEXT__SERVICES__A__PLUGINS__QUIET__PASSWORD", "overruled")
    registered(Host.from_file()).check()
    of({"a": {"plugins": {"quiet": {"password": "plain"}}}}).check()
    of({"a": {"plugins": {"quiet": {"password": Secret("plain")}}}}).check()


def test_a_default_of_the_plugin_is_not_the_files_business(write):
    class Defaulted(Quiet):
        class Settings(BaseModel):
            password: Secret = Secret("known to all")
            other: str = ""

    write("[services.a.plugins.defaulted]\nother = 'x'\n[services.b.plugins.defaulted]")
    registered(Host.from_file(), defaulted=Defaulted).check()


def test_an_address_may_stand_in_a_file_since_it_is_more_than_its_secret(write):
    class Connecting(Quiet):
        class Settings(BaseModel):
            url: Address

    write("[services.a.plugins.connecting]\nurl = 'ldap://u:p@x.example'")
    host = registered(Host.from_file(), connecting=Connecting)
    assert host.explain("a").layers[0].settings[0].value == "ldap://***@x.example"


# Addresses and headers


def test_userinfo_may_be_references_and_is_sent_to_the_service_only(
    flext_service, flext_elsewhere, tmp_path, monkeypatch
):
    monkeypatch.setenv("FLEXT_TEST", "p@ss:w/rd")
    (tmp_path / "user").write_text("ann@home\n")
    for userinfo, expected in (
        ("svc:env:FLEXT_TEST", "svc:p@ss:w/rd"),
        (f"file:{tmp_path}/user:env:FLEXT_TEST", "ann@home:p@ss:w/rd"),
        ("s%40c:p%2Fw", "s@c:p/w"),
        ("only", "only:"),
    ):
        host = of({"a": {"base_url": f"http://{userinfo}@127.0.0.1:{flext_service.port}/"}})
        with host, host.connect("a") as client:
            client.get("/")
            client.get(flext_elsewhere.url)
        assert (
            host._runtime.composed("a").service.base_url
            == f"http://127.0.0.1:{flext_service.port}/"
        )
        told = flext_service.received[-1].headers["authorization"]
        assert base64.b64decode(told.removeprefix("Basic ")).decode() == expected
        assert "authorization" not in flext_elsewhere.received[-1].headers


def test_a_whole_address_may_be_a_reference(monkeypatch, flext_service):
    monkeypatch.setenv("FLEXT_TEST", f"http://u:pw@127.0.0.1:{flext_service.port}")
    host = of({"a": {"base_url": "env:FLEXT_TEST"}})
    with host, host.connect("a") as client:
        client.get("/x")
    assert "authorization" in flext_service.received[0].headers


@pytest.mark.parametrize(
    "bad",
    [
        "x.example",
        "https://u:p/w@x.example",
        "https://u:p#w@x.example",
        "https://",
        "https://x:y",
        "https://u:p@x.example\ny",
    ],
)
def test_what_is_no_url_is_refused_without_being_shown(bad, monkeypatch):
    (told,) = problems(of, {"a": {"base_url": bad}})
    assert told.startswith("services.a.base_url: expected a URL")
    monkeypatch.setenv("FLEXT_TEST", bad)
    (later,) = problems(of({"a": {"base_url": "env:FLEXT_TEST"}}).check)
    assert later == told


def test_header_values_are_read_at_each_request(flext_service, tmp_path):
    (tmp_path / "key").write_text("one")
    host = of(
        {"a": {"base_url": flext_service.url, "headers": {"X-API-Key": f"file:{tmp_path}/key"}}}
    )
    with host, host.connect("a") as client:
        client.get("/")
        (tmp_path / "key").write_text("second")
        client.get("/")
    assert [each.headers["x-api-key"] for each in flext_service.received] == ["one", "second"]


@pytest.mark.parametrize("spelling", [str, repr, json.dumps, quote, quote_plus, html.escape])
@pytest.mark.parametrize("stands", ["in code", "elsewhere"])
def test_what_a_validator_says_is_masked_in_every_spelling(monkeypatch, spelling, stands):
    monkeypatch.setenv("FLEXT_TEST", 'c4n4ry & "p\xf6/w"')
    value = "env:FLEXT_TEST" if stands == "elsewhere" else os.environ["FLEXT_TEST"]

    class Picky:
        class Settings(BaseModel):
            key: Secret

            @field_validator("key")
            @classmethod
            def _refuse(cls, key):
                raise ValueError(f"too weak: {spelling(key.get_secret_value())}")

        @hookimpl
        def flext_request(self): ...

    service = {"base_url": "http://localhost", "plugins": {"picky": {"key": value}}}
    (told,) = problems(of({"a": service}, picky=Picky).check)
    assert re.fullmatch(r".*too weak: \W?\*\*\*\W?", told), told


UNSENDABLE = {
    "a curly quote": "c4n4ry-\u2019s",
    "a letter beyond Latin-1": "c4n4ry-\u043f",
    "a letter of Latin-1": "c4n4ry-\xe9",
    "a control character beyond ASCII": "c4n4ry-\x85",
    "another header": "c4n4ry-\r\nX-Other: 1",
    "a line break": "c4n4ry-\nfolded",
    "a NUL": "c4n4ry-\0",
    "a tab": "c4n4ry-\tb",
    "a DEL": "c4n4ry-\x7f",
    "an escape": "c4n4ry-\x1b[2J",
    "a blank before it": " c4n4ry-",
    "a blank after it": "c4n4ry- ",
    "a no-break space": "c4n4ry-\xa0",
    "nothing but blanks": "   ",
    "nothing": "",
    "bytes that are not UTF-8": b"c4n4ry-\xff",
}
NOT_BASIC = ["another header", "a line break", "a NUL", "a tab", "a DEL", "an escape", "nothing"]
NOT_BASIC += ["bytes that are not UTF-8"]


def revealing(error, secret="c4n4ry"):
    """The parts of `error`, and of our frames that it passed, that show the secret."""
    errors = [error]
    for each in errors:
        errors += [more for more in (each.__cause__, each.__context__) if more is not None]
        yield from (part for part in (repr(each), repr(vars(each))) if secret in part)
        for frame, _ in traceback.walk_tb(each.__traceback__):
            code = frame.f_code
            if "flext_plugins" in code.co_filename:
                for name, value in frame.f_locals.items():
                    if secret in repr(value):
                        yield f"{code.co_filename}:{code.co_name}:{name}"


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        *(("header", fault) for fault in UNSENDABLE),
        *((place, fault) for place in ("user", "password", "proxy") for fault in NOT_BASIC),
    ],
)
@pytest.mark.contract("unsendable-is-told")
def test_a_value_that_no_header_can_carry_is_told_without_it(
    flext_service, flext_world, tmp_path, place, fault
):
    file, value = tmp_path / "secret", UNSENDABLE[fault]
    url, reference = flext_service.url, f"file:{file}"
    services = {
        "header": {"base_url": url, "headers": {"X-Key": reference}},
        "user": {"base_url": url.replace("//", f"//{reference}:password@")},
        "password": {"base_url": url.replace("//", f"//user:{reference}@")},
        "proxy": {"base_url": url, "proxy": url.replace("//", f"//user:{reference}@")},
    }
    host = flext_world.host({"services": {"service": services[place]}})
    for moment in ("composed", "sent"):
        file.write_bytes(b"fine" if moment == "sent" else b"")
        if moment == "sent":
            assert flext_world.get(host).status_code == 200
        file.write_bytes(value if isinstance(value, bytes) else value.encode())
        with pytest.raises(ConfigError) as caught:
            host.check() if moment == "composed" else flext_world.get(host)
        assert str(caught.value).startswith("service: ")
        assert list(revealing(caught.value)) == []
        if place == "proxy" or fault == "nothing":
            break  # a connection keeps its proxy, and an empty file its last value
    assert len(flext_service.received) == (place != "proxy" and fault != "nothing")


@pytest.mark.parametrize(
    "text",
    ["c4n4ry-\ud800", "env:FLEXT_TEST"],
    ids=["written out", "of a variable"],
)
@pytest.mark.parametrize("place", ["headers", "base_url", "proxy", "plugins"])
@pytest.mark.contract("unsendable-is-told")
def test_a_secret_that_is_not_text_is_told_without_it(monkeypatch, place, text):
    monkeypatch.setenv("FLEXT_TEST", "c4n4ry-\udcff")
    address = f"http://user:{text}@localhost"
    values = {
        "headers": {"X-Key": text},
        "base_url": address,
        "proxy": address,
        "plugins": {"login": {"password": text}},
    }
    service = {"base_url": "http://localhost", place: values[place]}
    (told,) = problems(lambda: of({"a": service}).check())
    assert told.endswith("it is not text in UTF-8")
    assert "c4n4ry" not in told


@pytest.mark.parametrize(
    "place", ["header", "user info", "proxy", "https proxy", "plugin", "login"]
)
@pytest.mark.parametrize("trouble", ["reset", "late", "malformed", "refused"])
@pytest.mark.contract("frames-hold-no-secret")
def test_no_frame_of_ours_holds_a_secret_when_an_error_passes(
    flext_service, flext_world, place, trouble
):
    secret = "c4n4ry"
    answers = {"late": Answer(delay=1), "malformed": Answer(raw=b"no\r\n\r\n")}
    flext_service.answer = answers.get(trouble, Answer(reset=True))
    url = flext_service.url
    with_user = url.replace("//", f"//ann:{secret}@")
    service = {
        "header": {"base_url": url, "headers": {"X-Key": secret}},
        "user info": {"base_url": with_user},
        "proxy": {"base_url": "http://localhost:9", "proxy": with_user},
        "https proxy": {"base_url": "https://localhost:9", "proxy": with_user},
        "plugin": {"base_url": url, "plugins": {"login": {"password": secret}}},
        "login": {"base_url": url, "plugins": {"asks": {"password": secret, "service": "other"}}},
    }[place]

    class Asks(Login):
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            await connection.request(
                "other",
                "POST",
                "/",
                headers={"X-Key": self.settings.password.get_secret_value()},
                json={"password": self.settings.password.get_secret_value()},
            )

    services = {"service": {**service, "deadline": 0.3}, "other": {"base_url": url}}
    host = flext_world.host({"services": services}, login=Login, asks=Asks)
    if trouble == "refused":
        flext_service.refuse()
    with pytest.raises(Exception) as caught:
        flext_world.get(host)

    assert [each for each in revealing(caught.value, secret) if "flext_plugins" in each] == []


def test_a_header_may_be_a_secret_already(flext_service):
    headers = {"X-Key": Secret("in code"), "X-Bad": Secret("c4n4ry-\n")}
    (told,) = problems(of({"a": {"base_url": flext_service.url, "headers": headers}}).check)
    assert told.startswith("services.a.headers.X-Bad: a header cannot carry it")
    del headers["X-Bad"]
    with of({"a": {"base_url": flext_service.url, "headers": headers}}) as host:
        host.connect("a").get("/")
    assert flext_service.received[0].headers["x-key"] == "in code"


def test_a_user_and_a_password_reach_proxy_and_service_in_utf_8(flext_service, flext_world):
    service = flext_service.url.replace("//", "//jos%C3%A9:%FF%D1%8F@")
    proxy = flext_service.url.replace("//", "//jos\xe9:%D1%8F\u20ac@")
    host = flext_world.host({"services": {"service": {"base_url": service, "proxy": proxy}}})

    flext_world.get(host)

    headers = flext_service.received[0].headers
    sent = [headers[name] for name in ("authorization", "proxy-authorization")]
    pairs = [base64.b64decode(each.removeprefix("Basic ")) for each in sent]
    assert pairs == [b"jos\xc3\xa9:\xff\xd1\x8f", "jos\xe9:\u044f\u20ac".encode()]


def test_what_a_plugin_makes_unsendable_in_requests_is_told_without_it(flext_service):
    import requests

    class Spoils:
        @hookimpl
        def flext_request(self, request):
            request.headers["X-Key"] = "c4n4ry-\u043f"

    host = registered(
        Host({"services": {"a": {"base_url": flext_service.url, "plugins": {"spoils": {}}}}}),
        spoils=Spoils,
    )
    with host, pytest.raises(requests.exceptions.InvalidHeader) as caught:
        host.connect("a", requests.Session).get("/")
    assert [each for each in revealing(caught.value) if "test_secrets" not in each] == []


def test_a_proxy_takes_references_too(flext_service, monkeypatch):
    monkeypatch.setenv("FLEXT_TEST", "p@ss:w/rd")
    config = {
        "base_url": "http://localhost:9",
        "proxy": f"http://me:env:FLEXT_TEST@127.0.0.1:{flext_service.port}",
    }
    host = of({"a": config})
    with host, host.connect("a") as client:
        client.get("/through")
    told = flext_service.received[0].headers["proxy-authorization"]
    assert base64.b64decode(told.removeprefix("Basic ")) == b"me:p@ss:w/rd"


# Plain HTTP


PLAIN = "http://x.example"


@pytest.mark.parametrize(
    ("service", "who"),
    [
        ({"plugins": {"login": {"password": "pw"}}}, "plugin 'login'"),
        ({"plugins": {"signer": {"password": "pw"}}}, "plugin 'signer'"),
        ({"headers": {"X-Any": "env:HOME"}}, "header 'X-Any'"),
        ({"headers": {"Authorization": "Bearer x"}}, "header 'Authorization'"),
        ({"headers": {"X-API-Key": "x"}}, "header 'X-API-Key'"),
        ({"base_url": "http://u:p@x.example"}, "the user in it"),
        ({"base_url": "HTTP://u:p@X.example"}, "the user in it"),
    ],
)
def test_credentials_do_not_go_over_plain_http(service, who):
    service = {"base_url": PLAIN, **service}
    (told,) = problems(of({"a": service}).check)
    assert told == (
        f"services.a.base_url: {who} would send credentials over plain http://; "
        "use https://, or say allow_insecure = true"
    )
    of({"a": {**service, "allow_insecure": True}}).check()
    secure = service["base_url"].lower().replace("http:", "https:")
    of({"a": {**service, "base_url": secure}}).check()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9:80", "[::1]:80", "localhost", "x.localhost:1", "LOCALHOST"]
)
def test_loopback_is_this_machine(host):
    login = {"login": {"password": "pw"}}
    of({"a": {"base_url": f"http://{host}/", "plugins": login}}).check()


@pytest.mark.parametrize("host", ["127.0.0.1.example", "localhost.example", "10.0.0.1", "0.0.0.0"])
def test_what_only_looks_like_loopback_is_not(host):
    login = {"login": {"password": "pw"}}
    assert problems(of({"a": {"base_url": f"http://{host}/", "plugins": login}}).check)


@pytest.mark.parametrize(
    "service",
    [
        {"plugins": {"quiet": {"password": "pw"}}},
        {"plugins": {"login": {}}},
        {"plugins": {"login": {"password": "pw"}}, "allow_insecure": True},
        {"headers": {"X-Service": "flext-api"}},
    ],
)
def test_what_is_not_sent_is_not_in_danger(service):
    of({"a": {"base_url": PLAIN, **service}}).check()


def test_the_service_that_a_plugin_logs_in_at_is_looked_at_too():
    login = {"login": {"password": "pw", "service": "issuer"}}
    services = {
        "a": {"base_url": "https://a.example", "plugins": login},
        "issuer": {"base_url": PLAIN},
    }
    (told,) = problems(of(services).check)
    assert told.startswith("services.issuer.base_url: plugin 'login' of 'a' would send")
    services["issuer"]["allow_insecure"] = True
    of(services).check()


# Canaries


def chain_of(error):
    """Every exception that can be reached from `error`."""
    found, stack = [], [error]
    while stack:
        each = stack.pop()
        if each is not None and each not in found:
            found.append(each)
            stack += [each.__cause__, each.__context__]
    return found


def assert_silent(error):
    """The canary, whole or cut, is nowhere in what can be made of `error`."""
    for each in chain_of(error):
        assert not isinstance(each, ValidationError)
        shown = [str(each), repr(each), str(each.args), str(vars(each)), repr(vars(each))]
        shown += getattr(each, "problems", ())
        shown.append("".join(traceback.format_exception(each)))
        for text in shown:
            hidden = text.replace("CANARY", "")
            assert CANARY[:12] not in hidden
            assert CANARY[-12:] not in hidden
    raw = pickle.dumps(error)
    assert CANARY[:12].encode() not in raw
    assert CANARY[-12:].encode() not in raw
    assert str(pickle.loads(raw)) == str(error)


def caught(call, *args, **options):
    with pytest.raises(FlextError) as found:
        call(*args, **options)
    assert_silent(found.value)
    return found.value


class Nested(BaseModel):
    key: Secret | None = None
    level: int = 0


def validator(*raises):
    """A plugin whose validator of `password` calls the first of these with the value."""

    class Settings(BaseModel):
        password: str

        @field_validator("password")
        @classmethod
        def look(cls, value):
            raise raises[0](value)

    return type("Made", (Quiet,), {"Settings": Settings})


def as_model_error(value):
    class Other(BaseModel):
        number: int

    Other(number=value)


class Judging(Quiet):
    class Settings(BaseModel):
        password: Secret
        nested: Nested = Nested()

        @model_validator(mode="after")
        def look(self):
            raise ValueError(f"{self.password.get_secret_value()!r} is weak")


class Various(Quiet):
    class Settings(BaseModel):
        password: Secret | None = None
        old: SecretStr | None = None
        nested: Nested = Nested()
        named: dict[str, Secret] = {}
        choice: Nested | list[int] | None = None
        number: int = 0
        short: Secret = Field(Secret(""), max_length=3)


CASES = {
    "an unknown key": {"passwrd": CANARY},
    "an unknown key below": {"nested": {"passwrd": CANARY}},
    "a number": {"number": CANARY},
    "a list for a secret": {"password": [CANARY]},
    "a table for a secret": {"password": {"value": CANARY}},
    "a list for an old secret": {"old": [CANARY]},
    "a list for a nested secret": {"nested": {"key": [CANARY]}},
    "a table among named secrets": {"named": {"x": {"y": CANARY}}},
    "a secret for a table": {"nested": CANARY},
    "a secret for a union": {"choice": CANARY},
    "a secret for a flag": {"observer": CANARY},
    "a secret for a name": {"use": CANARY + "\n"},
    "too long a secret": {"short": CANARY},
    "beside a problem": {"password": CANARY, "nested": {"level": "x"}},
}


@pytest.mark.parametrize("table", CASES.values(), ids=CASES)
def test_a_secret_in_the_wrong_place_of_a_plugin_is_not_told(table):
    caught(of({"a": {"plugins": {"various": table}}}, various=Various).check)


@pytest.mark.parametrize("table", CASES.values(), ids=CASES)
def test_nor_if_it_came_from_a_file(table, write):
    import json

    text = json.dumps({"services": {"a": {"plugins": {"various": table}}}})
    host = registered(Host.from_file(write(text, "flext.yaml")), various=Various)
    caught(host.check)


@pytest.mark.parametrize(
    "raised",
    [
        ValueError,
        lambda value: AssertionError(f"not {value!r}"),
        lambda value: ValueError(f"{value} and {value!r}", value),
        lambda value: PydanticCustomError("bad", "{value} is bad", {"value": value}),
        lambda value: PydanticCustomError("bad", f"{value!r} is bad"),
        KeyError,
        TypeError,
        RuntimeError,
        ConfigError,
        as_model_error,
    ],
)
@pytest.mark.parametrize("secret", [CANARY, CANARY + "\\'\"\n", "env:FLEXT_TEST"])
def test_what_a_plugins_validator_says_of_a_secret_is_masked(raised, secret, monkeypatch):
    monkeypatch.setenv("FLEXT_TEST", CANARY)
    table = {"password": secret}
    caught(of({"a": {"plugins": {"made": table}}}, made=validator(raised)).check)


@pytest.mark.parametrize("secret", [CANARY, "env:FLEXT_TEST"])
def test_what_a_plugin_says_of_its_settings_is_masked(secret, monkeypatch):
    monkeypatch.setenv("FLEXT_TEST", CANARY)
    table = {"password": secret, "nested": {"key": secret}}
    error = caught(of({"a": {"plugins": {"judging": table}}}, judging=Judging).check)
    assert "services.a.plugins.judging: '***' is weak" in str(error)


def test_a_problem_worded_with_care_keeps_its_words():
    class Choosing(Quiet):
        class Settings(BaseModel):
            scheme: str
            password: Secret | None = None

            @model_validator(mode="after")
            def look(self):
                raise PydanticCustomError("x", f"{self.scheme} wants {CANARY}")

    table = {"scheme": "login", "password": CANARY}
    error = caught(of({"a": {"plugins": {"choosing": table}}}, choosing=Choosing).check)
    assert str(error).endswith("login wants ***")


def test_a_constructor_that_validates_something_does_not_tell_it():
    class Constructing(Quiet):
        def __init__(self, settings):
            Timeout.model_config  # noqa: B018 - a model is at hand
            as_model_error(settings.password.get_secret_value())

    table = {"password": CANARY}
    error = caught(of({"a": {"plugins": {"made": table}}}, made=Constructing).check)
    said = r"a: made: its constructor raised ValidationError at test_secrets\.py:\d+, in pydantic\.main"
    assert re.fullmatch(said, str(error))


SHAPES = {
    "a header that is a list": {"services": {"a": {"headers": {"X": [CANARY]}}}},
    "headers": {"services": {"a": {"headers": CANARY}}},
    "an address that is none": {"services": {"a": {"base_url": f"https://u:{CANARY}/@x.example"}}},
    "an address that is a list": {"services": {"a": {"base_url": [CANARY]}}},
    "a proxy": {"services": {"a": {"proxy": CANARY}}},
    "an unknown key of a service": {"services": {"a": {"passwrd": CANARY}}},
    "an unknown key of the host": {"passwrd": CANARY},
    "a plugin that is none": {"services": {"a": {"plugins": {"x": CANARY}}}},
    "services": {"services": CANARY},
    "timeout": {"defaults": {"timeout": CANARY}},
    "one timeout": {"defaults": {"timeout": {"read": CANARY}}},
    "certificate": {"defaults": {"cert": [CANARY] * 3}},
    "beside a problem": {
        "x": 1,
        "services": {
            "a": {
                "headers": {"X": CANARY},
                "base_url": f"https://u:{CANARY}@x",
                "plugins": {"x": {"y": CANARY}},
            }
        },
    },
}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_a_secret_in_the_wrong_place_of_the_configuration_is_not_told(config, write):
    import json

    caught(Host, config)
    caught(HostConfig, **config)
    caught(HostConfig.model_validate, config)
    caught(HostConfig.model_validate_json, json.dumps(config))
    caught(Host.from_file, write(json.dumps(config), "flext.yaml"))


def test_models_built_in_code_do_not_tell_either():
    caught(ServiceConfig, headers={"X": [CANARY]})
    caught(ServiceConfig, passwrd=CANARY)
    caught(ServiceConfig, plugins={"x": CANARY})
    caught(Timeout, connect=CANARY)
    caught(HostConfig, services={"a": ServiceConfig(headers={"X": CANARY})}, x=1)


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_syntax_error_beside_a_secret_does_not_tell_it(write, quote):
    caught(Host.from_file, write(f"password: {quote}{CANARY}\nother: [", "flext.yaml"))
    caught(Host.from_file, write(f"password: {CANARY}: x\n", "flext.yaml"))
    caught(Host.from_file, write(f"password: !!int {CANARY}\n", "flext.yaml"))
    caught(Host.from_file, write(f"password: *{CANARY}\n", "flext.yaml"))
    caught(Host.from_file, write(f"password = {quote}{CANARY}\n"))
    caught(Host.from_file, write(f"{CANARY} = \n"))


def test_a_secret_in_a_variable_in_the_wrong_place_is_not_told(write, monkeypatch):
    write("")
    for name in ("SERVICES", "PASSWRD", "SERVICES__A__TIMEOUT", "SERVICES__A__PLUGINS"):
        monkeypatch.setenv(f"FLEXT__{name}", CANARY)
        caught(Host.from_file)
        monkeypatch.setenv(f"FLEXT__{name}", f'{{"{CANARY[:3]}": "{CANARY}')
        caught(Host.from_file)
        monkeypatch.delenv(f"FLEXT__{name}")


def full(monkeypatch):
    """A configuration with the canary in every place where one may stand, and its host."""
    monkeypatch.setenv("FLEXT_TEST", CANARY)
    table = {
        "password": CANARY,
        "old": CANARY,
        "nested": {"key": CANARY},
        "named": {"x": "env:FLEXT_TEST"},
    }
    config = HostConfig.model_validate(
        {
            "defaults": {"headers": {"X-Default": CANARY}},
            "plugins": {"various": {"named": {"y": CANARY}}},
            "services": {
                "a": {
                    "base_url": f"https://user:{CANARY}@x.example/p",
                    "headers": {"X-Key": CANARY, "X-Reference": "env:FLEXT_TEST"},
                    "proxy": f"http://user:{CANARY}@proxy.example/?token={CANARY}",
                    "plugins": {"various": table},
                },
                "b": {"base_url": "env:FLEXT_ADDRESS"},
            },
        }
    )
    return config, registered(Host(config), various=Various)


def test_nothing_that_can_be_printed_shows_a_secret(monkeypatch):
    config, host = full(monkeypatch)
    composed = host._runtime.composed("a")
    shown = [config, config.services["a"], config.service("a"), config.defaults, config.plugins]
    shown += [composed, composed.service, *composed.layers, host.explain("a"), host]
    shown += [
        composed.layers[0].settings,
        composed.service.proxy,
        *composed.service.headers.values(),
    ]
    shown += [config.model_dump(), config.services["a"].model_dump(mode="json")]
    for each in shown:
        for text in (repr(each), str(each), f"{each}"):
            assert CANARY[:12] not in text
            assert CANARY[-12:] not in text
    for each in (config, config.services["a"], config.service("a"), composed.layers[0].settings):
        assert CANARY[:12] not in each.model_dump_json()
    explained = host.explain("a")
    values = {
        each.name: each.value for each in (*explained.settings, *explained.layers[0].settings)
    }
    assert values["headers.X-Key"] == "***"
    assert values["headers.X-Reference"] == values["named.x"] == "env:FLEXT_TEST"
    assert values["password"] == values["nested.key"] == values["headers.Authorization"] == "***"
    assert values["base_url"] == "https://x.example/p"
    assert values["proxy"] == "http://***@proxy.example/?token=***"


def test_a_dump_does_not_read_what_references_lead_to(monkeypatch):
    config, _ = full(monkeypatch)
    assert '"base_url":"env:FLEXT_ADDRESS"' in config.model_dump_json()
    assert "FLEXT_ADDRESS" in repr(config)


def test_a_secret_equals_what_was_written_and_travels_without_what_was_read(tmp_path):
    (tmp_path / "secret").write_text(CANARY)
    secret = Secret(f"file:{tmp_path}/secret")
    assert secret.get_secret_value() == CANARY
    assert CANARY.encode() not in pickle.dumps(secret)
    assert secret == Secret(f"file:{tmp_path}/secret") == copy.deepcopy(secret)
    assert secret != Secret(CANARY)
    assert len({secret, Secret(f"file:{tmp_path}/secret")}) == 1


def test_what_a_request_raises_does_not_tell_a_missing_secret_either(monkeypatch, flext_service):
    monkeypatch.setenv("FLEXT_TEST", CANARY)
    service = {"base_url": flext_service.url, "plugins": {"login": {"password": "env:FLEXT_TEST"}}}
    host = of({"a": service})
    with host, host.connect("a") as client:
        client.get("/")
        monkeypatch.delenv("FLEXT_TEST")
        error = caught(client.get, "/")
    assert str(error) == "a: login: env:FLEXT_TEST: this variable is not set"
    assert len(flext_service.received) == 1


@pytest.mark.parametrize("place", ["env", "file"])
def test_an_empty_secret_is_a_missing_one(tmp_path, monkeypatch, place):
    """A deployment that forgot to fill it in must not sign with nothing."""
    (tmp_path / "secret").write_text("\n")
    monkeypatch.setenv("FLEXT_TEST", "")
    reference = "env:FLEXT_TEST" if place == "env" else f"file:{tmp_path / 'secret'}"
    with pytest.raises(ConfigError, match=rf"^{reference}: .*is empty$"):
        Secret(reference).get_secret_value()


class Marks:
    @hookimpl
    def flext_request(self, request):
        request.headers["Authorization"] = CANARY


class Gives:
    """Notes whose request an error from further in tells of, and refuses."""

    stage = Stage.CALL
    seen: list

    @hookimpl
    async def flext_exchange(self, request, send):
        try:
            return await send(request)
        except Exception as error:
            self.seen += marked(error)
            raise Refused("not now") from error


def marked(error):
    """The errors behind `error` that tell of a request with the canary."""
    errors = [error]
    for each in errors:
        errors += [found for found in (each.__cause__, each.__context__) if found]
    requests = [getattr(vars(each).get("request"), "headers", {}) for each in errors]
    return [each for each, found in zip(errors, requests, strict=True) if CANARY in found.values()]


@pytest.mark.parametrize("plugins", [[Marks], [Gives, Marks]])
@pytest.mark.parametrize("answer", [Answer(delay=1), Answer(reset=True)])
@pytest.mark.contract("errors-show-no-secret")
def test_no_error_tells_further_out_what_plugins_put_on_a_request(
    flext_service, flext_world, plugins, answer
):
    Gives.seen = []
    flext_service.answer = answer
    host = flext_world.serve(flext_service, *plugins, deadline=0.3)
    with pytest.raises(flext_world.lib.TransportError) as caught:
        flext_world.get(host)

    assert Gives.seen + marked(caught.value) == []
