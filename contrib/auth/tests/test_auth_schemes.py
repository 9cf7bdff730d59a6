"""What each scheme puts on the wire, and where it never shows up."""

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_auth import Auth, AuthSettings
from flext_plugins_auth.credential import static_credential
from flext_plugins_devstack import Fault

from flext_plugins import ConfigError, Host
from flext_plugins.testing import World

BASIC = b64encode("änna:pass:canary".encode()).decode()
PLUGINS = "/api/v1/flexcore/plugins"
SCHEMES: list[tuple[dict[str, Any], str, str]] = [
    ({"scheme": "bearer", "token": "canary-token"}, "authorization", "Bearer canary-token"),
    (
        {"scheme": "basic", "username": "änna", "password": "pass:canary"},
        "authorization",
        f"Basic {BASIC}",
    ),
    ({"scheme": "api-key", "key": "canary-key"}, "x-api-key", "canary-key"),
    ({"scheme": "api-key", "header": "X-Key", "key": "canary-key"}, "x-key", "canary-key"),
    (
        {
            "scheme": "login",
            "service": "flext-auth",
            "username": "admin",
            "password": "flexcore100",
            "body": {"tenant_id": "tenant-1"},
        },
        "authorization",
        "Bearer ey",
    ),
    (
        {
            "scheme": "oauth2",
            "service": "tokens",
            "url": "/token",
            "client_id": "canary-id",
            "client_secret": "canary-secret",
        },
        "authorization",
        "Bearer fetched",
    ),
]
every_scheme = pytest.mark.parametrize(
    ("auth", "header", "value"),
    SCHEMES,
    ids=["bearer", "basic", "api-key", "own-header", "login", "oauth2"],
)


def services(stack: Any, auth: dict[str, Any]) -> dict[str, Any]:
    return {
        "flexcore": {"base_url": stack.flexcore.url, "plugins": {"auth": auth}},
        "flext-auth": {"base_url": stack.auth.url},
        "tokens": {"base_url": stack.tokens.url},
    }


@every_scheme
async def test_a_scheme_marks_the_wire_and_nothing_that_the_caller_gets(
    flext_world: World, stack: Any, auth: dict[str, Any], header: str, value: str
) -> None:
    client = await flext_world.client(
        flext_world.host({"services": services(stack, auth)}), "flexcore"
    )
    response = await client.get("/health")
    assert stack.flexcore.received[-1].headers[header].startswith(value)
    assert header not in response.request.headers


@every_scheme
async def test_a_redirect_is_marked_on_the_own_origin_and_bare_elsewhere(
    flext_world: World, stack: Any, auth: dict[str, Any], header: str, value: str
) -> None:
    stack.flexcore.fault(Fault(redirect="/health", path="/first"))
    stack.flexcore.fault(Fault(redirect=f"{stack.echo.url}/there", path="/health"))
    client = await flext_world.client(
        flext_world.host({"services": services(stack, auth)}), "flexcore", follow_redirects=True
    )
    response = await client.get("/first")
    assert [each.path for each in stack.flexcore.received] == ["/first", "/health"]
    assert all(each.headers[header].startswith(value) for each in stack.flexcore.received)
    assert response.json()["path"] == "/there"
    assert header not in response.json()["headers"]
    assert "canary" not in response.text
    assert len(response.history) == 2
    assert all(header not in each.request.headers for each in [*response.history, response])


@every_scheme
async def test_an_error_does_not_carry_the_credential(
    flext_world: World, stack: Any, auth: dict[str, Any], header: str, value: str
) -> None:
    stack.flexcore.fault(Fault(reset=True))
    client = await flext_world.client(
        flext_world.host({"services": services(stack, auth)}), "flexcore"
    )
    with pytest.raises(flext_world.lib.TransportError) as caught:
        await client.get("/health")
    assert header in stack.flexcore.received[-1].headers
    assert header not in caught.value.request.headers


@every_scheme
async def test_a_request_with_its_own_credential_is_left_alone(
    flext_world: World, stack: Any, auth: dict[str, Any], header: str, value: str
) -> None:
    client = await flext_world.client(
        flext_world.host({"services": services(stack, auth)}), "flexcore"
    )
    own = await client.get(PLUGINS, headers={header: "mine"})
    assert own.status_code == 401
    assert [each.headers[header] for each in stack.flexcore.received] == ["mine"]
    assert stack.auth.received == stack.tokens.received == []


@every_scheme
async def test_a_request_with_its_own_credential_gets_the_services_where_the_settings_say_so(
    flext_world: World, stack: Any, auth: dict[str, Any], header: str, value: str
) -> None:
    table = services(stack, {**auth, "replace": True})
    table["flexcore"]["headers"] = {header: "configured"}
    client = await flext_world.client(flext_world.host({"services": table}), "flexcore")
    for headers in ({header: "mine"}, {}):
        answer = await client.get("/health", headers=headers)
        assert stack.flexcore.received[-1].headers[header].startswith(value)
        assert answer.request.headers.get(header) == headers.get(header)


async def test_a_secret_in_a_file_is_read_again(
    flext_world: World, stack: Any, tmp_path: Any
) -> None:
    secret = tmp_path / "token"
    secret.write_text("first\n")
    auth = {"scheme": "bearer", "token": f"file:{secret}"}
    client = await flext_world.client(
        flext_world.host({"services": services(stack, auth)}), "flexcore"
    )
    await client.get("/health")
    secret.write_text("the-second\n")
    await client.get("/health")
    sent = [each.headers["authorization"] for each in stack.flexcore.received]
    assert sent == ["Bearer first", "Bearer the-second"]


async def test_a_secret_that_became_unsendable_is_not_sent_and_not_shown(
    flext_world: World, stack: Any, tmp_path: Any
) -> None:
    secret = tmp_path / "token"
    secret.write_text("first")
    auth = {"scheme": "bearer", "token": f"file:{secret}"}
    client = await flext_world.client(
        flext_world.host({"services": services(stack, auth)}), "flexcore"
    )
    secret.write_text("canary\r\nX-Injected: yes")
    with pytest.raises(ConfigError, match="token: file:.*: has a line break") as caught:
        await client.get("/health")
    assert "canary" not in str(caught.value)
    assert stack.flexcore.received == []


UNSENDABLE = [
    "canary\u2019s",
    "canary\xe9",
    "canary\0",
    "canary\nX-Other: 1",
    "canary\t",
    "canary\x85",
]
UNSENDABLE += [" canary", "canary ", "  ", "canary\udcff"]


@pytest.mark.parametrize(
    ("auth", "value"),
    [
        *(({"scheme": "bearer", "token": each}, each) for each in UNSENDABLE),
        *(({"scheme": "api-key", "key": each}, each) for each in UNSENDABLE),
        *(
            ({"scheme": "basic", "username": "ann", "password": each}, each)
            for each in UNSENDABLE
            if each.strip() and any(ord(letter) < 32 or letter > "\ud7ff" for letter in each)
        ),
    ],
)
def test_a_value_that_no_header_can_carry_is_told_by_a_check(
    auth: dict[str, Any], value: str
) -> None:
    host = Host({"services": {"one": {"base_url": "http://localhost", "plugins": {"auth": auth}}}})
    with pytest.raises(ConfigError) as caught:
        host.check()
    assert "canary" not in repr(caught.value)


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({}, "scheme: is required"),
        ({"scheme": "digest"}, "scheme: .*'bearer', 'basic', 'api-key', 'login', 'oauth2' or"),
        ({"scheme": "bearer"}, "scheme 'bearer' needs token"),
        ({"scheme": "basic", "username": "canary"}, "scheme 'basic' needs password"),
        ({"scheme": "bearer", "token": "canary", "header": "X"}, "does not take header"),
        ({"scheme": "bearer", "token": "canary", "url": "/auth/login"}, "does not take url"),
        ({"scheme": "login", "username": "canary"}, "scheme 'login' needs service, needs password"),
        ({"scheme": "api-key", "key": "canary", "header": "X: y"}, "header: .*match"),
        ({"scheme": "bearer", "tokn": "canary"}, "unknown key; did you mean 'token'?"),
        ({"scheme": "bearer", "token": "canary\n"}, "token: has a line break, which a header"),
        ({"scheme": "bearer", "token": ""}, "token: is empty"),
        ({"scheme": "basic", "username": "cana:ry", "password": "x"}, "username: .* colon"),
        ({"scheme": "bearer", "token": "env:CANARY_UNSET"}, "this variable is not set"),
    ],
)
def test_settings_that_do_not_fit_are_told_by_key_without_values(
    auth: dict[str, Any], expected: str
) -> None:
    host = Host({"services": {"one": {"base_url": "http://localhost", "plugins": {"auth": auth}}}})
    with pytest.raises(ConfigError, match=expected) as caught:
        host.check()
    assert "canary" not in str(caught.value)


def test_an_inline_secret_in_a_file_is_refused_and_a_plain_body_field_is_not(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEXT_USER", "admin")
    monkeypatch.setenv("FLEXT_TENANT", "tenant-1")
    config = tmp_path / "flext.toml"
    table = """
        [services.one]
        base_url = "http://localhost"
        [services.one.plugins.auth]
        scheme = "login"
        service = "one"
        username = "env:FLEXT_USER"
        password = "%s"
        body = { plan = "plain", tenant_id = "%s" }
        """
    config.write_text(table % ("env:FLEXT_USER", "env:FLEXT_TENANT"))
    Host.from_file(config).check()
    config.write_text(table % ("env:FLEXT_USER", "env:FLEXT_NO_SUCH"))
    with pytest.raises(ConfigError, match=r"body\.tenant_id.*not set"):
        Host.from_file(config).check()
    config.write_text(table % ("canary", "tenant-1"))
    with pytest.raises(ConfigError, match="a secret stands in the file") as caught:
        Host.from_file(config).check()
    assert "canary" not in str(caught.value)


def test_another_mistake_does_not_make_a_client_id_that_stands_in_the_file_one_too(
    monkeypatch: Any, tmp_path: Any
) -> None:
    monkeypatch.setenv("FLEXT_SECRET", "canary")
    config = tmp_path / "flext.toml"
    config.write_text(
        """
        [services.a]
        base_url = "http://127.0.0.1:1"
        [services.a.plugins.auth]
        scheme = "oauth2"
        token_url = "http://127.0.0.1:1/token"
        client_id = "shop"
        client_secret = "env:FLEXT_SECRET"
        leeway = -1
        """
    )
    with pytest.raises(ConfigError) as caught:
        Host.from_file(config).check()
    (told,) = caught.value.problems
    assert "plugins.auth.leeway: expected greater than or equal to 0" in told


def test_a_scheme_without_a_credential_in_its_settings_sends_none() -> None:
    with pytest.raises(AssertionError, match="scheme 'mtls' has no credential"):
        static_credential(AuthSettings.model_validate({"scheme": "mtls"}))


def test_it_cannot_be_made_an_observer() -> None:
    auth = {"scheme": "bearer", "token": "x", "observer": True}
    host = Host({"services": {"one": {"base_url": "http://localhost", "plugins": {"auth": auth}}}})
    with pytest.raises(ConfigError, match="fail closed"):
        host.check()
    assert Auth.fail_closed


@every_scheme
def test_no_secret_shows_in_what_is_printed(
    stack: Any, auth: dict[str, Any], header: str, value: str
) -> None:
    names = ("token", "username", "password", "key", "client_secret")
    secrets = [auth[key] for key in names if key in auth]
    host = Host({"services": services(stack, auth)})
    settings = AuthSettings(**auth)
    shown = f"{host.explain('flexcore')} {settings!r} {settings}"
    assert not [each for each in secrets if each in shown]


def test_every_configuration_in_the_readme_composes(
    tls_server: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEXT_USERNAME", "admin")
    monkeypatch.setenv("FLEXT_PASSWORD", "secret")
    (tmp_path / "secret").write_text("secret")
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^```toml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    for text in found:
        text = text.replace("/run/secrets/flext", str(tmp_path / "secret"))
        text = text.replace("/etc/flext/client.pem", str(tls_server.authority.client))
        file = tmp_path / "flext.toml"
        file.write_text(text)
        Host.from_file(file).check()
    for scheme in ("bearer", "basic", "api-key", "login", "oauth2", "mtls"):
        assert f'scheme = "{scheme}"' in "".join(found)


@pytest.mark.parametrize("replace", [False, True], ids=["stepping back", "replacing"])
@every_scheme
async def test_a_netrc_is_no_credential_of_the_callers(
    flext_world: World,
    stack: Any,
    auth: dict[str, Any],
    header: str,
    value: str,
    replace: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password else\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    table = services(stack, {**auth, "replace": replace})
    client = await flext_world.client(flext_world.host({"services": table}), "flexcore")
    await client.get("/health")
    assert stack.flexcore.received[-1].headers[header].startswith(value)
    machines = "Basic " + b64encode(b"somebody:else").decode()
    issuers = [*stack.auth.received, *stack.tokens.received]
    assert machines not in [each.headers.get("authorization") for each in issuers]


@pytest.mark.parametrize(
    "service",
    [
        {"base_url": "https://ana:secret@api.example"},
        {"base_url": "https://api.example", "headers": {"authorization": "Bearer x"}},
    ],
)
def test_a_credential_of_the_services_own_leaves_nothing_to_do_which_is_told(
    service: dict[str, Any],
) -> None:
    auth = {"scheme": "bearer", "token": "mine"}
    with Host({"services": {"api": {**service, "plugins": {"auth": auth}}}}) as host:
        with pytest.raises(
            ConfigError, match="auth: the service has a header Authorization of its"
        ):
            host.check()
    replacing = {**service, "plugins": {"auth": auth | {"replace": True}}}
    with Host({"services": {"api": replacing}}) as host:
        host.check()
    other = {"scheme": "api-key", "header": "X-Key", "key": "mine"}
    with Host({"services": {"api": {**service, "plugins": {"auth": other}}}}) as host:
        host.check()
