"""What `host.explain` tells: the onion, who is in it, and where each value came from."""

from __future__ import annotations

import json
from dataclasses import asdict

from pydantic import BaseModel

from flext_plugins import Host, Secret, ServiceName, Stage, hookimpl


class Guard:
    stage = Stage.GUARD

    class Settings(BaseModel):
        threshold: int = 5
        roles: list[str] = ["reader"]
        issuer: ServiceName | None = None

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    async def flext_exchange(self, request, send): ...

    @hookimpl
    def flext_event(self, event): ...


class Watch:
    observer = True

    @hookimpl
    def flext_response(self, response): ...


class Holder:
    class Settings(BaseModel):
        password: Secret | None = None
        api_key: str = ""
        address: str = ""

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def flext_request(self, request): ...


def host_of(service, **config):
    host = Host({"services": {"a": service}, **config})
    for kind in (Guard, Watch, Holder):
        host.register(kind, kind.__name__.lower())
    return host


def test_it_draws_the_onion_outermost_first():
    plugins = {"watch": {}, "guard": {"threshold": 3}}
    told = str(host_of({"base_url": "https://a.example", "plugins": plugins}).explain("a"))
    lines = told.splitlines()
    assert lines[0] == "a  https://a.example"
    assert "  base_url = https://a.example  (code)" in lines
    assert "  timeout.read = 5.0  (default)" in lines
    assert lines[-7:] == [
        "└─ GUARD  guard  [registered in code]  flext_event, flext_exchange",
        "     placed by stage",
        "     threshold = 3  (code)",
        "     roles.0 = reader  (default)",
        "  └─ MESSAGE  watch  [registered in code, observer]  flext_response",
        "       placed by stage",
        "    └─ wire",
    ]


def test_it_says_why_each_plugin_stands_where_it_does():
    class Bulkhead(Guard):
        after = ("guard",)
        before = ("late", "absent")

    class Late(Guard):
        pass

    tables = {"late": {}, "bulkhead": {}, "watch": {}}
    config = {"services": {"a": {"plugins": tables}}, "plugins": {"guard": {}}}
    order = ["late", "guard", "bulkhead", "watch"]
    config["services"]["b"] = {"plugins": tables, "order": order}
    host = host_of({}, **config)
    host.register(Bulkhead, "bulkhead")
    host.register(Late, "late")

    reasons = {each.plugin: each.reason for each in host.explain("a").layers}
    assert reasons == {
        "guard": "stage, appearance for every service",
        "bulkhead": "stage, after guard, before late, appearance",
        "late": "stage, after bulkhead, as it says, appearance",
        "watch": "stage",
    }
    assert [each.plugin for each in host.explain("b").layers] == order
    assert {each.reason for each in host.explain("b").layers} == {"order"}


def test_it_is_made_of_plain_records():
    explained = host_of({"plugins": {"guard": {}}}).explain("a")
    layer = json.loads(json.dumps(asdict(explained)))["layers"][0]
    assert (layer["plugin"], layer["stage"], layer["observer"]) == ("guard", "GUARD", False)
    assert layer["hooks"] == ["flext_event", "flext_exchange"]
    assert layer["settings"][0] == {"name": "threshold", "value": "5", "source": "default"}
    assert explained.layers[0].source == "registered in code"


def test_a_service_without_plugins_is_only_the_wire():
    explained = host_of({}).explain("a")
    assert explained.layers == ()
    assert str(explained).splitlines()[-1] == "└─ wire"


def test_each_value_tells_the_layer_that_it_came_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flext.toml").write_text(
        "[defaults]\ndeadline = 9\n[plugins.guard]\nthreshold = 1\nroles = ['x']\n"
        "[services.a]\nhttp2 = true\n[services.a.plugins.guard]\nthreshold = 2\n[services.b]"
    )
    (tmp_path / "flext.test.toml").write_text("[services.a]\nmax_connections = 3\n")
    monkeypatch.setenv("FLEXT__SERVICES__B__PLUGINS__GUARD__THRESHOLD", "7")
    host = Host.from_file(environment="test")
    host.register(Guard, "guard")

    def told(service):
        explained = host.explain(service)
        settings = (*explained.settings, *explained.layers[0].settings)
        return {each.name: (each.value, each.source) for each in settings}

    a, b = told("a"), told("b")
    assert a["deadline"] == ("9.0", "flext.toml")
    assert a["http2"] == ("True", "flext.toml")
    assert a["max_connections"] == ("3", "flext.test.toml")
    assert a["verify"] == ("True", "default")
    assert a["threshold"] == ("2", "flext.toml")
    assert a["roles.0"] == ("x", "flext.toml")
    assert "issuer" not in a  # nothing is in force
    assert b["http2"] == ("False", "default")
    assert b["threshold"] == ("7", "FLEXT__SERVICES__B__PLUGINS__GUARD__THRESHOLD")


def test_what_is_secret_by_type_by_name_or_in_an_address_is_masked():
    table = {"password": "pw", "api_key": "k", "address": "ldap://u:p@x.example/?token=t"}
    service = {
        "base_url": "https://u:p@x.example/",
        "headers": {"X": "y"},
        "plugins": {"holder": table},
    }
    explained = host_of(service).explain("a")
    settings = {each.name: each for each in (*explained.settings, *explained.layers[0].settings)}
    assert settings["password"].value == settings["api_key"].value == "***"
    assert settings["address"].value == "ldap://***@x.example/?token=***"
    assert settings["base_url"].value == explained.base_url == "https://x.example/"
    assert settings["headers.X"].value == "***"
    assert settings["headers.Authorization"].value == "***"
    assert settings["headers.Authorization"].source == "code"


def test_sets_are_shown_in_one_order_in_every_process():
    class Names(BaseModel):
        names: frozenset[str]
        numbers: set[int] = {3, 1, 2}

    class Plugin:
        Settings = Names

        @hookimpl
        def flext_request(self): ...

    names = [f"name-{number}" for number in range(9)]
    with Host({"services": {"a": {"plugins": {"sets": {"names": names[::-1]}}}}}) as host:
        host.register(Plugin, "sets")
        settings = host.explain("a").layers[0].settings
    assert [each.value for each in settings] == [*names, "1", "2", "3"]
    assert [each.source for each in settings] == ["code"] * 9 + ["default"] * 3


def test_a_reference_is_shown_as_it_was_written(tmp_path):
    (tmp_path / "secret").write_text("pw")
    reference = f"file:{tmp_path}/secret"
    explained = host_of({"plugins": {"holder": {"password": reference}}}).explain("a")
    assert explained.layers[0].settings[0].value == reference


def test_what_is_inside_a_secretly_named_setting_is_hidden_too():
    class Keys(BaseModel):
        api_keys: list[str]
        credentials: dict[str, str]
        token_path: str = "data.token"

    class Plugin:
        Settings = Keys

        @hookimpl
        def flext_request(self):
            """Nothing."""

    table = {"api_keys": ["planted-1"], "credentials": {"pin": "planted-2"}}
    with Host(
        {"services": {"a": {"base_url": "https://a.example", "plugins": {"keys": table}}}}
    ) as host:
        host.register(Plugin, "keys")
        text = str(host.explain("a"))
    assert "planted" not in text
    assert "token_path = data.token" in text
