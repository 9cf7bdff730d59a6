"""The JSON Schema of the configuration file says of a file what the loader says of it."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from flext_plugins import ConfigError, Host, HostConfig, Secret, ServiceName, hookimpl, testing
from flext_plugins._composition.catalog import Catalog
from flext_plugins._composition.schema import schema_of

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(each for at in ("contrib", "examples") for each in ROOT.glob(f"{at}/*/README.md")),
]
FILES = sorted([*ROOT.glob("examples/**/flext*.toml"), *ROOT.glob("examples/**/flext*.yaml")])
BLOCK = re.compile(r"^```(toml|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLES = {"services", "plugins", "defaults", "host"}


def parsed(kind, text):
    return tomllib.loads(text) if kind == "toml" else yaml.safe_load(text)


def configurations():
    """Every configuration in the documentation and the examples that the loader accepts."""
    for path in FILES:
        yield path.relative_to(ROOT).as_posix(), parsed(path.suffix[1:], path.read_text("utf-8"))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            tables = parsed(block[1], block[2])
            if isinstance(tables, dict) and TABLES & tables.keys() and accepts(tables):
                line = text.count("\n", 0, block.start()) + 1
                yield f"{page.relative_to(ROOT).as_posix()}:{line}", tables


def accepts(tables):
    try:
        HostConfig.model_validate(tables)
    except ConfigError:
        return False
    return True


CONFIGURATIONS = dict(configurations())


class Settings(BaseModel):
    """What `odd` takes."""

    level: int = 1
    """How much
    is told."""
    token: Secret | None = None
    """Sent along."""
    target: ServiceName | None = None
    wait: timedelta = timedelta(seconds=1)
    kinds: frozenset[str] = frozenset()
    words: Annotated[str, BeforeValidator(" ".join, json_schema_input_type=list[str])] = ""
    renamed: int = Field(1, alias="re-named")
    free: dict[str, Any] = {}


class Odd:
    """Does odd things."""

    Settings = Settings

    @hookimpl
    def flext_event(self, event): ...


class Client:
    """Something that no file can say."""


class Open:
    class Settings(BaseModel):
        model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)
        needed: str
        """Has to be there."""
        client: Client | None = None

    @hookimpl
    def flext_event(self, event): ...


class Impossible:
    class Settings(BaseModel):
        level: int = 1

        @classmethod
        def __get_pydantic_json_schema__(cls, core, handler):
            raise RuntimeError("no schema")

    @hookimpl
    def flext_event(self, event): ...


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Some plugins beside ours, one of which cannot be imported."""
    site = tmp_path_factory.mktemp("site")
    kinds = {"odd": Odd, "open": Open, "impossible": Impossible}
    testing.install(site, "acme-kinds", "1.2.3", plugins=kinds)
    testing.install(site, "acme-broken", plugins={"broken": "acme_broken:X"}, module="1 / 0")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield schema_of(Catalog(HostConfig()))
    for name in ("acme_kinds", "acme_broken"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def schema(installed):
    return installed[0]


@pytest.fixture
def problems(schema):
    """The places of what is wrong with a configuration."""

    def problems(tables):
        found = Draft202012Validator(schema).iter_errors(tables)
        return sorted({".".join(map(str, each.absolute_path)) for each in found})

    return problems


def test_it_is_a_schema_of_draft_2020_12(schema):
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    json.dumps(schema)


def test_there_are_configurations_to_try_it_with():
    kinds = {name.partition(":")[0] for name in CONFIGURATIONS}
    assert {"README.md", "examples/flext.toml", "docs/reference/configuration.md"} <= kinds
    assert len(CONFIGURATIONS) > 30


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_what_the_documentation_shows_and_the_loader_accepts_is_valid(problems, name):
    assert problems(CONFIGURATIONS[name]) == []


def service(**said):
    return {"services": {"a": said}}


def plugin(name, **said):
    return service(plugins={name: said})


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"defaults": {"timeout": 5, "verify": False, "proxy": False, "cert": ["a", "b"]}},
        {"defaults": {"timeout": {"connect": 1.5}, "headers": {"X-Key": "env:KEY"}}},
        {"host": {"drain": 5, "allow": ["a-*"], "deny": []}},
        {"plugins": {"auth": False, "metrics": {}, "unknown": {"any": {"thing": 1}}}},
        service(base_url="env:URL", new=True, order=["a"], plugins={"retry": False}),
        plugin("retry", attempts=5, observer=True),
        plugin("Retry", attempts=5),
        plugin("auth", scheme="oauth2", scope=["a", "b"], client_id="env:ID"),
        plugin("auth", token="env:TOKEN"),
        plugin("retry", use="acme-retry:retry", anything=1),
        plugin("mine", **{"class": "shop.journal:Journal.Inner", "anything": 1}),
        plugin("odd", level=2, token="file:/run/x", target="a", wait=2.5, kinds=["a", "a"]),
        plugin("odd", words=["a", "b"], **{"re-named": 2}, free={"a": {"b": [1]}}),
        plugin("odd", wait="PT5S"),
        plugin("open", whatever=1, client=None),
        plugin("broken", whatever=1),
        plugin("impossible", whatever=1),
    ],
    ids=str,
)
def test_what_a_file_may_say_is_valid(problems, tables):
    assert problems(tables) == []


WRONG = [
    ({"service": {}}, ""),
    ({"services": []}, "services"),
    ({"allow_inline_secrets": "perhaps"}, "allow_inline_secrets"),
    ({"defaults": {"base_url": "http://a"}}, "defaults"),
    ({"defaults": {"timeout": 0}}, "defaults.timeout"),
    ({"defaults": {"timeout": {"conect": 1}}}, "defaults.timeout"),
    ({"defaults": {"transport": "carrier pigeon"}}, "defaults.transport"),
    ({"defaults": {"max_connections": 1.5}}, "defaults.max_connections"),
    ({"host": {"drain": -1}}, "host.drain"),
    ({"host": {"deny": "acme"}}, "host.deny"),
    (service(base_ulr="http://a"), "services.a"),
    (service(base_url=5), "services.a.base_url"),
    (service(headers={"X-Number": 5}), "services.a.headers.X-Number"),
    (service(plugins={"retry": True}), "services.a.plugins.retry"),
    (service(plugins={"retry": None}), "services.a.plugins.retry"),
    (service(plugins={"mine": 5}), "services.a.plugins.mine"),
    (plugin("retry", attempt=5), "services.a.plugins.retry"),
    (plugin("retry", attempts=0), "services.a.plugins.retry.attempts"),
    (plugin("retry", attempts="many"), "services.a.plugins.retry.attempts"),
    (plugin("retry", observer="perhaps"), "services.a.plugins.retry.observer"),
    (plugin("metrics", level=1), "services.a.plugins.metrics"),
    (plugin("auth", scheme="magic"), "services.a.plugins.auth.scheme"),
    (plugin("auth", scheme="bearer", token=5), "services.a.plugins.auth.token"),
    (plugin("retry", use="acme"), "services.a.plugins.retry.use"),
    (plugin("mine", **{"class": 3}), "services.a.plugins.mine.class"),
    (plugin("mine", **{"class": "shop.journal"}), "services.a.plugins.mine.class"),
    (plugin("mine", **{"class": "a:B", "use": "a:b"}), "services.a.plugins.mine"),
]


@pytest.mark.parametrize(("tables", "place"), WRONG, ids=str)
def test_what_the_loader_refuses_and_a_schema_can_see_is_told_at_its_place(problems, tables, place):
    assert problems(tables) == [place]
    with pytest.raises(ConfigError):
        Host({"services": {"a": {}}} | tables).check()


def test_what_one_file_leaves_out_may_stand_in_another(problems):
    assert problems(plugin("auth", password="env:PASSWORD")) == []
    assert problems(plugin("open", other=1)) == []


def test_every_setting_says_what_it_means(schema):
    timeout = schema["$defs"]["Defaults"]["properties"]["timeout"]
    assert timeout["description"] == "Seconds: one number for all phases, or a table of them."
    odd = schema["$defs"]["plugins"]["properties"]["odd"]
    assert odd["description"] == "What `odd` takes.\n\nacme-kinds 1.2.3"
    table = schema["$defs"]["plugin:odd"]
    assert table["properties"]["level"]["description"] == "How much is told."
    opened = schema["$defs"]["plugin:open"]
    assert opened["properties"]["needed"]["description"] == "Has to be there."


def test_a_secret_is_suggested_as_a_reference(schema):
    token = schema["$defs"]["plugin:odd"]["properties"]["token"]
    assert token["anyOf"][0] == {
        "type": "string",
        "examples": ["env:NAME", "file:/run/secrets/name"],
    }


def test_no_default_is_shown_that_a_file_cannot_say(schema):
    assert '"default": null' not in json.dumps(schema)


def test_all_that_is_installed_is_in_it_and_what_is_left_open_is_told(installed):
    schema, told = installed
    names = schema["$defs"]["plugins"]["properties"]
    assert {"auth", "circuit-breaker", "ldap", "oracle", "retry", "odd", "open"} <= {*names}
    assert {"broken", "impossible"}.isdisjoint(names)
    broken, impossible = sorted(told)
    assert broken.startswith("broken: acme-broken 1.0.0: importing acme_broken:X raised ZeroDiv")
    assert impossible.startswith("impossible: acme-kinds 1.2.3: its settings have no JSON Schema")
    assert all(each.endswith("any table will do for it") for each in told)


def test_what_a_configuration_denies_is_not_imported_for_it(tmp_path, monkeypatch):
    testing.install(tmp_path, "acme-loud", plugins={"loud": "acme_loud:X"}, module="1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    config = HostConfig.model_validate({"host": {"deny": ["acme-*"]}})
    schema, told = schema_of(Catalog(config))
    assert "loud" not in schema["$defs"]["plugins"]["properties"]
    (line,) = [each for each in told if each.startswith("loud")]
    assert line.startswith("loud: acme-loud 1.0.0: denied: 'acme-*' stands in host.deny (code)")
