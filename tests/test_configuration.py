"""Files, the environment's file and variables become one configuration; problems come together."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from flext_plugins import ConfigError, Host, HostConfig, ServiceConfig, hookimpl


class Tenant:
    class Settings(BaseModel):
        tenant: str
        tags: list[str] = []
        limits: dict[str, int] = {}
        every: float = 1.0

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def flext_event(self, event): ...


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    """No variable of ours is set, and this folder holds the files."""
    for name in os.environ:
        if name.startswith("FLEXT"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def write(text, name="flext.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def read(environment=None, path=None, **plugins):
    host = Host.from_file(path, environment)
    for name, kind in {"tenant": Tenant, **plugins}.items():
        host.register(kind, name)
    return host


def problems(call, *args, **options):
    """The sentences of the `ConfigError` that `call` raises."""
    with pytest.raises(ConfigError) as caught:
        call(*args, **options)
    return list(caught.value.problems)


def settings(host, service="a"):
    """What is in force: name -> (value, origin)."""
    return {each.name: (each.value, each.source) for each in host.explain(service).settings}


def of_plugin(host, service="a"):
    (layer,) = host.explain(service).layers
    return {each.name: (each.value, each.source) for each in layer.settings}


# Files


TOML = """
[defaults]
timeout = { connect = 5, read = 30 }

[plugins.tenant]
tenant = "everyone"

[services.a]
base_url = "https://a.example"
headers = { X-Service = "flext-api" }

[services.a.plugins.tenant]
tags = ["x", "y"]
"""
YAML = """
defaults:
  timeout: {connect: 5, read: 30}
plugins:
  tenant: {tenant: everyone}
services:
  a:
    base_url: https://a.example
    headers: {X-Service: flext-api}
    plugins:
      tenant:
        tags: [x, y]
"""


@pytest.mark.parametrize(
    ("name", "text"), [("flext.toml", TOML), ("flext.yaml", YAML), ("flext.yml", YAML)]
)
def test_toml_and_yaml_say_the_same(write, name, text):
    host = read(path=write(text, name))
    assert host.services == ("a",)
    found = settings(host)
    assert found["base_url"][0] == "https://a.example"
    assert (found["timeout.connect"][0], found["timeout.read"][0]) == ("5.0", "30.0")
    assert of_plugin(host)["tenant"][0] == "everyone"
    assert of_plugin(host)["tags.1"][0] == "y"


@pytest.mark.parametrize(("name", "text"), [("flext.toml", TOML), ("flext.yaml", YAML)])
def test_the_mark_with_which_windows_begins_a_file_is_left_out(write, name, text):
    path = write(f"\ufeff{text}", name)
    assert Host.from_file(path).services == Host.from_file(write(text, name)).services


def test_the_file_is_flext_toml_here_unless_a_variable_or_the_caller_says_otherwise(
    write, monkeypatch
):
    write("[services.here]")
    other = write("[services.other]", "other.toml")
    third = write("[services.third]", "third.toml")
    assert Host.from_file().services == ("here",)
    monkeypatch.setenv("FLEXT_CONFIG", str(other))
    assert Host.from_file().services == ("other",)
    assert Host.from_file(third).services == ("third",)


def test_an_empty_file_is_an_empty_configuration(write):
    assert Host.from_file(write("")).services == ()
    assert Host.from_file(write("", "flext.yaml")).services == ()


def test_a_missing_file_says_what_to_do():
    (told,) = problems(Host.from_file)
    here = Path.cwd()
    assert told == f"flext.toml: no such file in {here}; give the path, or set FLEXT_CONFIG"


def test_the_advice_about_a_missing_file_is_one_that_helps(write, monkeypatch):
    """With a path, FLEXT_CONFIG is not looked at; an absolute path needs no folder."""
    here = Path.cwd()
    (told,) = problems(Host.from_file, "other.toml")
    assert told == (
        f"other.toml: no such file in {here}; give another path, or none and set FLEXT_CONFIG"
    )
    (told,) = problems(Host.from_file, here / "other.toml")
    assert told.startswith(f"{here / 'other.toml'}: no such file; give another path")
    monkeypatch.setenv("FLEXT_CONFIG", "third.toml")
    (told,) = problems(Host.from_file)
    assert told == f"third.toml: no such file in {here}; FLEXT_CONFIG names it"


@pytest.mark.parametrize(
    "text",
    [
        '[services.a]\nbase_url = "https://a.example"\n[services.a]\n',
        "[services.a]\ndeadline = 1\ndeadline = 2\n",
    ],
)
def test_what_stands_twice_in_toml_is_told_so(write, text):
    (told,) = problems(Host.from_file, write(text))
    assert re.search(r"not TOML, line 3, column \d+: declared twice$", told)


@pytest.mark.parametrize(
    "text",
    [
        "services:\n  a: {deadline: 1}\n  a: {deadline: 2}\n",
        "services:\n  a:\n    {deadline: 1, deadline: 2}\n",
        'services: {a: {plugins: {tenant: {x: 1}},\n\n "plugins": {}}}\n',
        'services:\n  404: {deadline: 1}\n  "404": {deadline: 2}\n',
    ],
)
@pytest.mark.contract("formats-refuse-alike")
def test_what_stands_twice_in_yaml_is_told_so(write, text):
    (told,) = problems(Host.from_file, write(text, "flext.yaml"))
    assert told.endswith("flext.yaml: not YAML, line 3: declared twice")


@pytest.mark.parametrize("text", ['{"x": 1, "x": 2}', '{"tables": [{"x": 1, "x": 1}]}'])
@pytest.mark.contract("formats-refuse-alike")
def test_what_stands_twice_in_a_variable_is_told_so(write, monkeypatch, text):
    monkeypatch.setenv("FLEXT__SERVICES__A__PLUGINS__TENANT", text)
    (told,) = problems(Host.from_file, write("[services.a]\n"))
    assert told == "FLEXT__SERVICES__A__PLUGINS__TENANT: not JSON: declared twice"


@pytest.mark.parametrize(
    "text",
    [
        "defaults: &usual {deadline: 1}\nservices:\n  a: {<<: *usual, deadline: 2}\n",
        "services:\n  b: &b {<<: {deadline: 1}, deadline: 3}\n  a: {<<: *b, deadline: 2}\n",
        # `<<: *b` is followed before PyYAML has come to what `b` is.
        """\
services:
  b: {plugins: {x: &b {<<: {y: one}, y: two}}}
  a: {deadline: 2}
defaults:
  headers: {<<: *b}
""",
    ],
)
@pytest.mark.contract("formats-refuse-alike")
def test_what_yaml_lays_over_an_alias_stands_once(write, text):
    settings = Host.from_file(write(text, "flext.yaml")).explain("a").settings
    assert [each.value for each in settings if each.name == "deadline"] == ["2.0"]


@pytest.mark.parametrize("name", ["404", "on", "no", "null", "1e3", "2026-12-01", "0x1f"])
@pytest.mark.contract("formats-refuse-alike")
def test_a_key_is_the_text_that_stands_there(write, name):
    yaml = Host.from_file(write(f"services:\n  {name}: {{}}\n", "flext.yaml"))
    toml = Host.from_file(write(f"[services.{name}]\n", "flext.toml"))
    assert yaml.services == toml.services == (name,)


NESTED, LAUGHS = 3000, 9
UNREADABLE = {
    "TOML in a list in a list": ("a.toml", "x = " + "[" * NESTED + "]" * NESTED, "nested too deep"),
    "TOML with a long key": ("a.toml", ".".join("a" * NESTED) + " = 1", "nested too deep"),
    "TOML with a key that is a little too long": (
        "a.toml",
        ".".join("a" * 51) + " = 1",
        "nested too",
    ),
    "TOML with a long number": ("a.toml", f"x = {'9' * 5000}", "not TOML: a number is too long"),
    "YAML in a list in a list": ("a.yaml", "x: " + "[" * NESTED + "]" * NESTED, "not YAML"),
    "YAML with a long number": ("a.yaml", f"x: {'9' * 5000}", "not YAML"),
    "YAML inside itself": ("a.yaml", "services: &all\n  a: *all\n", "nested too deep"),
    "YAML with a list inside itself": ("a.yaml", "x: &all [*all]\n", "nested too deep"),
    "YAML that laughs": (
        "a.yaml",
        "a0: &a0 [x]\n"
        + "".join(f"a{n + 1}: &a{n + 1} [{','.join([f'*a{n}'] * 10)}]\n" for n in range(LAUGHS)),
        "has more than 1,000,000 values",
    ),
    "a file that is too long": ("a.yaml", "#" * (16 << 20) + "\n", "has more than 16,777,216"),
    "YAML with a list as a key": ("a.yaml", "services:\n  ? [a, b]\n  : {}\n", "not YAML, line 2"),
    "YAML that laughs in pairs": (
        "a.yaml",
        "a0: &a0 [x]\n"
        + "".join(
            f"a{n + 1}: &a{n + 1} !!pairs [{','.join([f'k: *a{n}'] * 10)}]\n" for n in range(LAUGHS)
        ),
        "has more than 1,000,000 values",
    ),
    "YAML that laughs by laying one table on another": (
        "a.yaml",
        "services: &a0 {lay: {}}\n"
        + "".join(
            f"a{n + 1}: &a{n + 1} {{<<: [{','.join([f'*a{n}'] * 10)}]}}\n" for n in range(LAUGHS)
        ),
        "a1: unknown key",
    ),
    "YAML that lays one wide table on many": (
        "a.yaml",
        f"a: &a {{{', '.join(f'k{n}: 1' for n in range(1000))}}}\nb: {{<<: [{'*a, ' * 1100}]}}\n",
        "has more than 1,000,000 values",
    ),
    "YAML with a long number in base 60": ("a.yaml", f"x: {'1:' * 3000}1", "not YAML, line 1"),
    "YAML with a character that is none": ("a.yaml", 'x: "\\UFFFFFFFF"', "not YAML"),
    # It is told before TOML is read, which takes memory by the square of the parts.
    "a table of many parts": ("a.toml", f"[[ {'.'.join('a' * 51)} ]]\n=", "nested too deep"),
    "a key of many parts": ("a.toml", f"x = {{{'.'.join('a' * 51)} = 1}}\n=", "nested too deep"),
    **{
        f"YAML with {each}": ("a.yaml", f"services: {{}}\nx: {each}\n", "not YAML, line 2")
        for each in (
            *("!!bool maybe", "!!int ''", "!!int '-'", "!!float ''", "!!timestamp soon"),
            *("!!int many", "!!binary ä", "!!python/name:os.system", "2026-13-01"),
        )
    },
}


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.contract("unreadable-is-a-problem")
def test_a_file_that_python_would_choke_on_is_a_problem_with_its_name(write, what):
    name, text, expected = UNREADABLE[what]
    started = time.monotonic()
    told = problems(Host.from_file, write(text, name))
    assert f"{name}: {expected}" in told[0]
    assert time.monotonic() - started < 20


NO_ENVIRONMENTS = [("flext.toml", "a/b"), (".", "production"), ("/", "production")]
NO_PATHS = ["x" * 300, "a\0b", "flext.toml/x"]


@pytest.mark.parametrize(("path", "environment"), NO_ENVIRONMENTS)
@pytest.mark.contract("unreadable-is-a-problem")
def test_an_environment_that_names_no_file_is_told(write, path, environment):
    write("[services.a]\n")
    (told,) = problems(Host.from_file, path, environment)
    assert told.startswith(f"{path}: {environment!r} names no file beside it")


@pytest.mark.parametrize("path", NO_PATHS)
@pytest.mark.contract("unreadable-is-a-problem")
def test_a_path_that_can_be_none_is_told(write, path):
    write("[services.a]\n")
    (told,) = problems(Host.from_file, path)
    assert re.search(r": cannot be read \(\w+\)", told)


@pytest.mark.contract("unreadable-is-a-problem")
def test_texts_with_many_dots_are_no_keys(write):
    text = (
        f'[services.a.plugins.tenant]\nx = "{"a." * 60}a"\ny = ["b", "{"a." * 60}a"] # {"." * 60}\n'
    )
    assert Host.from_file(write(text)).services == ("a",)


CHOKING = {
    "a list in a list": ("ORDER", "[" * 100_000),
    "a table in a table": ("PLUGINS", '{"a":' * NESTED + "1" + "}" * NESTED),
    "a list that is a little too deep": ("ORDER", "[" * 51 + "]" * 51),
    "a name of many parts": ("__".join(["A"] * 2000), "1"),
}


@pytest.mark.parametrize("what", CHOKING)
@pytest.mark.contract("unreadable-is-a-problem")
def test_a_variable_that_python_would_choke_on_is_a_problem_with_its_name(write, monkeypatch, what):
    name, value = CHOKING[what]
    monkeypatch.setenv(f"FLEXT__SERVICES__A__{name}", value)
    told = problems(Host.from_file, write("[services.a]\n"))
    assert told == [f"FLEXT__SERVICES__A__{name}: nested too deep"]


PEM = "-----BEGIN CERTIFICATE-----\n" + "MIIB" * 200
PATHS = [{key: each} for key in ("verify", "cert") for each in (PEM, "a\0b", "\ud800", "x" * 5000)]


@pytest.mark.parametrize("said", PATHS)
@pytest.mark.contract("unreadable-is-a-problem")
def test_what_can_be_no_path_is_told_without_its_text(said):
    with Host({"services": {"a": {"base_url": "https://a.example", **said}}}) as host:
        (told,) = problems(host.check)
    assert re.match(
        r"services\.a\.(verify|cert): (expected a file with|there is no such file)", told
    )
    assert len(told) < 100


@pytest.mark.contract("unreadable-is-a-problem")
def test_ten_thousand_services_are_no_trouble(write):
    text = "".join(f'[services.s{n}]\nbase_url = "https://s{n}.example"\n' for n in range(10_000))
    started = time.monotonic()
    host = Host.from_file(write(text))
    assert len(host.services) == 10_000
    assert time.monotonic() - started < 60


def test_a_table_in_place_of_a_value_has_its_own_source(write, monkeypatch):
    write("[services.a.plugins]\ntenant = false\n")
    monkeypatch.setenv("FLEXT__SERVICES__A__PLUGINS__TENANT__NOPE", "1")
    told = problems(read().check)
    assert all(each.startswith("FLEXT__SERVICES__A__PLUGINS__TENANT") for each in told)


@pytest.mark.parametrize("how", ["variable", "file"])
def test_a_service_that_only_the_environment_knows_is_taken_for_a_misspelt_one(
    write, monkeypatch, how
):
    write('[services.orders]\nbase_url = "https://a.example"')
    if how == "variable":
        monkeypatch.setenv("FLEXT__SERVICES__ORDER__BASE_URL", "https://b.example")
        source = "FLEXT__SERVICES__ORDER__BASE_URL"
    else:
        write('[services.order]\nbase_url = "https://b.example"', "flext.prod.toml")
        source = "flext.prod.toml"
    environment = None if how == "variable" else "prod"
    (told,) = problems(Host.from_file, environment=environment)
    what = "is in no other file; say new = true if it is meant; did you mean 'orders'?"
    assert told == f"{source}: services.order: {what}"
    monkeypatch.setenv("FLEXT__SERVICES__ORDER__NEW", "true")
    assert Host.from_file(environment=environment).services == ("orders", "order")


def test_a_variable_about_another_programs_service_is_none(write, monkeypatch):
    """Programs share variables. An environment's file is a program's own."""
    write("[services.orders]")
    monkeypatch.setenv("FLEXT__SERVICES__BILLING__BASE_URL", "https://b.example")
    assert Host.from_file().services == ("orders", "billing")
    write("[services.invoices]", "flext.prod.toml")
    (told,) = problems(Host.from_file, environment="prod")
    assert told == (
        "flext.prod.toml: services.invoices: is in no other file; say new = true if it is meant"
    )


def test_a_variable_with_one_underscore_is_told(write, monkeypatch):
    write("[services.a]")
    monkeypatch.setenv("FLEXT_SERVICES__A__DEADLINE", "3")
    monkeypatch.setenv("FLEXT_CONFIG", "flext.toml")
    (told,) = problems(Host.from_file)
    assert told == (
        "FLEXT_SERVICES__A__DEADLINE: begins with one underscore, and is not read; "
        "write FLEXT__SERVICES__A__DEADLINE"
    )


def test_two_variables_for_one_value_are_told(write, monkeypatch):
    write("[services.a-b]")
    monkeypatch.setenv("FLEXT__SERVICES__A_B__DEADLINE", "3")
    monkeypatch.setenv("FLEXT__SERVICES__a_b__DEADLINE", "4")
    (told,) = problems(Host.from_file)
    assert told == (
        "FLEXT__SERVICES__a_b__DEADLINE: sets what FLEXT__SERVICES__A_B__DEADLINE sets; "
        "take one of them away"
    )


def test_a_problem_of_a_plugin_for_every_service_is_told_once(write):
    write("[plugins.nobody]\n[services.a]\n[services.b]\nplugins.nobody-else = {}\n[services.c]")
    told = problems(Host.from_file().check)
    assert [each.partition("; ")[0] for each in told] == [
        "flext.toml: plugins.nobody: no installed plugin is named 'nobody'",
        "b: flext.toml: services.b.plugins.nobody-else: no installed plugin is named 'nobody-else'",
    ]


def test_a_missing_environment_file_is_a_problem_too(write):
    write("")
    (told,) = problems(Host.from_file, environment="prodution")
    assert told.startswith("flext.prodution.toml: no such file")


def test_broken_toml_is_told_by_line_without_its_text(write):
    (told,) = problems(Host.from_file, write('[services.a]\nbase_url = "canary\n'))
    assert told.endswith("flext.toml: not TOML, line 2, column 19")


@pytest.mark.parametrize(
    "text",
    [
        'services:\n  password: "canary\n',
        "services:\n  password: canary: canary\n",
        "services: &canary\n  - *unknown_canary\n",
        "services:\n\tcanary\n",
        "a: !canary 5\n",
    ],
)
def test_broken_yaml_is_told_by_line_without_its_text(write, text):
    (told,) = problems(Host.from_file, write(text, "flext.yaml"))
    assert "flext.yaml: not YAML, line " in told
    assert "canary" not in told


@pytest.mark.parametrize("text", ["a: 2024-13-45\n", "a: !!int canary\n", "a: \x07\n"])
def test_yaml_that_parses_and_means_nothing_is_not_yaml(write, text):
    (told,) = problems(Host.from_file, write(text, "flext.yaml"))
    assert told.partition("flext.yaml: ")[2].startswith("not YAML")
    assert "canary" not in told


@pytest.mark.parametrize("text", ["- a\n", "text\n", "5\n"])
def test_a_file_is_made_of_tables(write, text):
    (told,) = problems(Host.from_file, write(text, "flext.yaml"))
    assert told.endswith("flext.yaml: expected tables at the top")


def test_a_file_that_cannot_be_read_is_a_problem(write, tmp_path):
    write("").write_bytes(b"\xff\xfe")
    assert problems(Host.from_file) == ["flext.toml: cannot be read (UnicodeDecodeError)"]
    (told,) = problems(Host.from_file, tmp_path)
    assert told.endswith("cannot be read (IsADirectoryError)")


def test_problems_of_both_files_come_together(write):
    write("[")
    write("]", "flext.test.toml")
    assert len(problems(Host.from_file, environment="test")) == 2
    write("[servces.a]")
    assert len(problems(Host.from_file, environment="test")) == 2


# Layers


def test_later_layers_win_key_by_key(write, monkeypatch):
    write(TOML)
    write('[services.a]\nbase_url = "https://b.example"\ndeadline = 7\n', "flext.prod.toml")
    monkeypatch.setenv("FLEXT__SERVICES__A__DEADLINE", "9")
    monkeypatch.setenv("FLEXT__SERVICES__A__PLUGINS__TENANT__TENANT", "acme")
    host = read("prod")
    found = settings(host)
    assert found["base_url"] == ("https://b.example", "flext.prod.toml")
    assert found["deadline"] == ("9.0", "FLEXT__SERVICES__A__DEADLINE")
    assert found["headers.X-Service"][1] == "flext.toml"
    assert found["timeout.read"] == ("30.0", "flext.toml")
    assert found["timeout.write"] == ("5.0", "default")
    assert found["http2"] == ("False", "default")
    told = of_plugin(host)
    assert told["tenant"] == ("acme", "FLEXT__SERVICES__A__PLUGINS__TENANT__TENANT")
    assert told["tags.0"] == ("x", "flext.toml")
    assert told["every"] == ("1.0", "default")


def test_a_later_list_replaces_an_earlier_one(write):
    write(TOML)
    write('[services.a.plugins.tenant]\ntags = ["z"]\n', "flext.prod.toml")
    told = of_plugin(read("prod"))
    assert told["tags.0"] == ("z", "flext.prod.toml")
    assert "tags.1" not in told


def test_a_mapping_reads_neither_file_nor_environment(write, monkeypatch):
    write("[services.file]")
    monkeypatch.setenv("FLEXT__SERVICES__VARIABLE__BASE_URL", "https://x.example")
    monkeypatch.setenv("FLEXT_CONFIG", "flext.toml")
    host = Host({"services": {"a": {"http2": True}}})
    assert host.services == ("a",)
    assert settings(host)["http2"] == ("True", "code")
    assert settings(host)["verify"] == ("True", "default")


def test_models_are_configuration_too():
    config = HostConfig(services={"a": ServiceConfig(plugins={"tenant": {"tenant": "acme"}})})
    host = Host(config)
    host.register(Tenant, "tenant")
    assert of_plugin(host)["tenant"] == ("acme", "code")
    assert of_plugin(host)["every"] == ("1.0", "default")


def test_no_configuration_is_no_services():
    assert Host().services == ()


# Variables


def test_a_dash_in_a_name_is_written_as_an_underscore(write, monkeypatch):
    write('[services.flext-auth.headers]\nX-My-Name = "x"\n[services.flext-auth.plugins.my-tenant]')
    monkeypatch.setenv("FLEXT__SERVICES__FLEXT_AUTH__BASE_URL", "https://x.example")
    monkeypatch.setenv("FLEXT__SERVICES__FLEXT_AUTH__HEADERS__X_MY_NAME", "y")
    monkeypatch.setenv("FLEXT__SERVICES__FLEXT_AUTH__PLUGINS__MY_TENANT__TENANT", "acme")
    host = read(**{"my-tenant": Tenant})
    assert host.services == ("flext-auth",)
    found = settings(host, "flext-auth")
    assert found["base_url"][0] == "https://x.example"
    assert found["headers.X-My-Name"][1] == "FLEXT__SERVICES__FLEXT_AUTH__HEADERS__X_MY_NAME"
    assert of_plugin(host, "flext-auth")["tenant"][0] == "acme"


def test_a_variable_may_name_something_new(write, monkeypatch):
    write("[plugins.my_tenant]\ntenant = 'everyone'")
    monkeypatch.setenv("FLEXT__SERVICES__NEW_ONE__MAX_CONNECTIONS", "7")
    monkeypatch.setenv("FLEXT__SERVICES__NEW_ONE__PLUGINS__MY_TENANT__TENANT", "acme")
    host = read(my_tenant=Tenant)
    assert host.services == ("new-one",)
    assert settings(host, "new-one")["max_connections"][0] == "7"
    assert of_plugin(host, "new-one")["tenant"][0] == "acme"


def test_two_services_of_one_name_in_variables_are_an_error(write):
    write("[services.flext-auth]\n[services.flext_auth]\n[services.a]\nbase = 1\n")
    told = problems(Host.from_file)
    assert any("flext_auth" in each and "'flext-auth'" in each for each in told)
    assert any("services.a.base: unknown key" in each for each in told)
    assert Host({"services": {"flext-auth": {}, "flext_auth": {}}}).services


def test_json_in_a_variable_is_a_list_or_a_table(write, monkeypatch):
    write("[services.a.plugins.tenant]\ntenant = 'acme'")
    monkeypatch.setenv("FLEXT__SERVICES__A__PLUGINS__TENANT__TAGS", '["p", "q"]')
    monkeypatch.setenv("FLEXT__SERVICES__A__PLUGINS__TENANT__LIMITS", '{"rows": 5}')
    monkeypatch.setenv("FLEXT__SERVICES__A__TIMEOUT", '{"read": 3}')
    host = read()
    assert of_plugin(host)["tags.1"][0] == "q"
    assert of_plugin(host)["limits.rows"][0] == "5"
    assert settings(host)["timeout.read"][0] == "3.0"


def test_what_only_looks_like_json_is_text(write, monkeypatch):
    write("[services.a.plugins.tenant]")
    monkeypatch.setenv("FLEXT__SERVICES__A__PLUGINS__TENANT__TENANT", "[acme")
    assert of_plugin(read())["tenant"][0] == "[acme"


@pytest.mark.parametrize("said", [{"verify": "false"}, {"proxy": "False"}])
def test_a_variable_can_say_false(write, monkeypatch, said):
    write("[services.a]")
    ((key, value),) = said.items()
    monkeypatch.setenv(f"FLEXT__SERVICES__A__{key.upper()}", value)
    assert settings(read())[key][0] == "False"


def test_a_variable_with_a_wrong_name_is_told_with_the_nearest(write, monkeypatch):
    write("[services.a]")
    monkeypatch.setenv("FLEXT__SERVICES__A__BASE_ULR", "https://x.example")
    monkeypatch.setenv("FLEXT__SERVICE__A__BASE_URL", "https://x.example")
    assert sorted(problems(Host.from_file)) == [
        "FLEXT__SERVICES__A__BASE_ULR: services.a.base_ulr: unknown key; did you mean 'base_url'?",
        "FLEXT__SERVICE__A__BASE_URL: service: unknown key; did you mean 'services'?",
    ]


# Defaults, global plugins, taking one off


def test_defaults_are_for_every_service_unless_it_says_otherwise():
    config = {
        "defaults": {"deadline": 3, "headers": {"x-one": "d", "X-Two": "d"}, "http2": True},
        "services": {"a": {"deadline": 4, "headers": {"X-One": "s"}}, "b": {}},
    }
    host = Host(config)
    a, b = settings(host), settings(host, "b")
    assert (a["deadline"][0], b["deadline"][0]) == ("4.0", "3.0")
    assert {each for each in a if each.startswith("headers")} == {"headers.X-One", "headers.X-Two"}
    assert {each for each in b if each.startswith("headers")} == {"headers.x-one", "headers.X-Two"}
    assert a["http2"][0] == "True"


@pytest.mark.parametrize("value", [30, 30.0, "30"])
def test_one_number_sets_all_timeouts(value):
    found = settings(Host({"services": {"a": {"timeout": value}}}))
    phases = ("connect", "read", "write", "pool")
    assert [found[f"timeout.{each}"][0] for each in phases] == ["30.0"] * 4


def test_a_timeout_may_be_a_number_in_one_layer_and_a_table_in_the_next(write, monkeypatch):
    write("[defaults]\ntimeout = 30\n[services.a]\ntimeout = {read = 60}\n[services.b]")
    monkeypatch.setenv("FLEXT__DEFAULTS__TIMEOUT__POOL", "1")
    host = read()
    found = settings(host)
    assert found["timeout.connect"] == ("30.0", "flext.toml")
    assert found["timeout.read"] == ("60.0", "flext.toml")
    assert found["timeout.pool"] == ("1.0", "FLEXT__DEFAULTS__TIMEOUT__POOL")
    monkeypatch.setenv("FLEXT__SERVICES__A__TIMEOUT", "2")
    assert settings(read())["timeout.read"] == ("2.0", "FLEXT__SERVICES__A__TIMEOUT")


def test_a_variable_for_a_part_comes_after_the_one_for_the_whole(write, monkeypatch):
    write("[services.a]")
    monkeypatch.setenv("FLEXT__SERVICES__A__TIMEOUT__READ", "2")
    monkeypatch.setenv("FLEXT__SERVICES__A__TIMEOUT", "3")
    found = settings(read())
    assert (found["timeout.read"][0], found["timeout.pool"][0]) == ("2.0", "3.0")


def test_a_plugins_own_timeout_is_a_setting_like_any_other(write, monkeypatch):
    class Waiting(Tenant):
        class Settings(BaseModel):
            timeout: float | dict[str, float]

    write("[plugins.waiting]\ntimeout = 3\n[services.a.plugins.waiting.timeout]\nlong = 4")
    found = of_plugin(read(waiting=Waiting))
    assert found == {"timeout.long": ("4.0", "flext.toml")}
    monkeypatch.setenv("FLEXT__PLUGINS__WAITING__TIMEOUT__SHORT", "1")
    monkeypatch.setenv("FLEXT__SERVICES__A__PLUGINS__WAITING__TIMEOUT__LONG", "5")
    assert sorted(of_plugin(read(waiting=Waiting))) == ["timeout.long", "timeout.short"]


def test_global_plugins_are_for_every_service_key_by_key():
    config = {
        "plugins": {"tenant": {"tenant": "everyone", "limits": {"x": 1}}},
        "services": {"a": {"plugins": {"tenant": {"limits": {"y": 2}}}}, "b": {}},
    }
    host = Host(config)
    host.register(Tenant, "tenant")
    a, b = of_plugin(host), of_plugin(host, "b")
    assert (a["tenant"][0], a["limits.x"][0], a["limits.y"][0]) == ("everyone", "1", "2")
    assert "limits.y" not in b


def test_false_takes_an_inherited_plugin_off_in_a_file_or_by_a_variable(write, monkeypatch):
    write("[plugins.tenant]\ntenant='x'\n[services.a]\nplugins.tenant=false\n[services.b]")
    host = read()
    assert host.explain("a").layers == ()
    assert len(host.explain("b").layers) == 1
    monkeypatch.setenv("FLEXT__SERVICES__B__PLUGINS__TENANT", "false")
    assert read().explain("b").layers == ()
    monkeypatch.delenv("FLEXT__SERVICES__B__PLUGINS__TENANT")
    monkeypatch.setenv("FLEXT__PLUGINS__TENANT", "False")
    assert read().explain("b").layers == ()


def test_what_was_taken_off_may_be_put_on_again(write, monkeypatch):
    write("[services.a]\nplugins.tenant=false")
    monkeypatch.setenv("FLEXT__SERVICES__A__PLUGINS__TENANT__TENANT", "acme")
    assert of_plugin(read())["tenant"][0] == "acme"


def test_a_plugin_is_a_table_or_false():
    told = problems(Host, {"services": {"a": {"plugins": {"tenant": True, "other": "yes"}}}})
    assert [each.partition(": ")[0] for each in told] == [
        "services.a.plugins.tenant",
        "services.a.plugins.other",
    ]


# Problems

TOO_MUCH = {
    ("max_connections", 1_000_000_000): "less than or equal to 65535",
    ("max_connections", 10**30): "less than or equal to 65535",
    ("timeout", 1e300): "less than or equal to 1000000000",
    ("deadline", 1e10): "less than or equal to 1000000000",
    ("keepalive_expiry", 1e308): "less than or equal to 1000000000",
    ("timeout", 10**400): "a valid number",
}
"""What a machine would run out of memory for, or cannot wait for."""


@pytest.mark.parametrize(("key", "value"), TOO_MUCH, ids=str)
@pytest.mark.parametrize("table", ["defaults", "services.one"])
@pytest.mark.contract("unreadable-is-a-problem")
def test_a_number_that_no_machine_can_use_is_a_problem(key, value, table):
    told: dict[str, object] = {key: value}
    config = {"defaults": told} if table == "defaults" else {"services": {"one": told}}
    expected = f"{table}.{key}: expected {TOO_MUCH[key, value]}"
    assert problems(Host, config) == [expected]


@pytest.mark.contract("unreadable-is-a-problem")
def test_a_host_cannot_drain_for_longer_than_anybody_can_wait():
    expected = "host.drain: expected less than or equal to 1000000000"
    assert problems(Host, {"host": {"drain": 1e300}}) == [expected]


def test_all_problems_of_the_shape_come_together_with_file_and_path(write, monkeypatch):
    write(
        "allow_inline = true\n[default]\n[services.a]\ntimout = 3\nverify = 5\n"
        "timeout = -1\nmax_connections = 0\n[services.b]\nbase_url = 'b.example'\n"
        "timeout = { conect = 1 }\n"
    )
    monkeypatch.setenv("FLEXT__SERVICES__B__HTTP2", "perhaps")
    told = problems(Host.from_file)
    assert sorted(told) == sorted(
        [
            "flext.toml: allow_inline: unknown key; did you mean 'allow_inline_secrets'?",
            "flext.toml: default: unknown key; did you mean 'defaults'?",
            "flext.toml: services.a.timout: unknown key; did you mean 'timeout'?",
            (
                "flext.toml: services.a.verify: expected a valid boolean, unable to interpret input "
                "or a valid string"
            ),
            "flext.toml: services.a.timeout: expected greater than 0",
            "flext.toml: services.a.max_connections: expected greater than 0",
            (
                "flext.toml: services.b.base_url: "
                "expected a URL that begins with its scheme, such as http://"
            ),
            "flext.toml: services.b.timeout.conect: unknown key; did you mean 'connect'?",
            (
                "FLEXT__SERVICES__B__HTTP2: services.b.http2: "
                "expected a valid boolean, unable to interpret input"
            ),
        ]
    )


def test_the_message_lists_all_problems():
    with pytest.raises(ConfigError, match="2 problems") as caught:
        Host({"a": 1, "b": 2})
    assert all(each in str(caught.value) for each in caught.value.problems)


def test_problems_of_several_plugins_and_services_come_together(write):
    class Strict(Tenant):
        class Settings(BaseModel):
            model_config = ConfigDict(extra="forbid")
            level: int
            mode: str = Field("x", pattern="^x$")

    write(
        "[plugins.strict]\nlevel = 'high'\n"
        "[services.a.plugins.tenant]\ntenannt = 'x'\n"
        "[services.b.plugins.tenant]\ntenant = 3\n[services.b.plugins.strict]\nmode = 'y'\n"
        "[services.b.plugins.tennant]\n"
        "[services.c]\nplugins.strict = false\norder = ['x']\n"
    )
    told = problems(read(strict=Strict).check)
    assert sorted(told) == [
        "a: flext.toml: services.a.plugins.tenant.tenannt: unknown key; did you mean 'tenant'?",
        "a: flext.toml: services.a.plugins.tenant.tenant: is required",
        "b: flext.toml: services.b.plugins.strict.mode: String should match pattern '^x$'",
        "b: flext.toml: services.b.plugins.tenant.tenant: expected a valid string",
        (
            "b: flext.toml: services.b.plugins.tennant: no installed plugin is named 'tennant'; "
            "did you mean 'tenant'?"
        ),
        "c: flext.toml: services.c.order: expected each of these once: none",
        (
            "flext.toml: plugins.strict.level: expected a valid integer, "
            "unable to parse string as an integer"
        ),
    ]


def test_a_plugin_without_settings_takes_no_keys():
    class Bare:
        @hookimpl
        def flext_event(self, event): ...

    host = Host({"services": {"a": {"plugins": {"bare": {"size": 5}}}}})
    host.register(Bare, "bare")
    assert problems(host.check) == ["services.a.plugins.bare.size: unknown key"]


class Inner(BaseModel):
    host: str = "x"


class Outer(BaseModel):
    one: Inner = Inner()
    either: Inner | None = None
    named: dict[str, Inner] = {}
    several: list[Inner] = []
    free: dict[str, object] = {}
    wide: Inner | dict[str, object] = {}
    alias: int = Field(0, alias="alias-name")


class Deep:
    Settings = Outer

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def flext_event(self, event): ...


def deep(**table):
    host = Host({"services": {"a": {"plugins": {"deep": table}}}})
    host.register(Deep, "deep")
    host.check()


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"on": {}}, "on"),
        ({"one": {"hots": "y"}}, "one.hots"),
        ({"either": {"hots": "y"}}, "either.hots"),
        ({"named": {"n": {"hots": "y"}}}, "named.n.hots"),
        ({"several": [{}, {"hots": "y"}]}, "several.1.hots"),
    ],
)
def test_an_unknown_key_is_told_however_deep_it_stands(table, place):
    (told,) = problems(deep, **table)
    near = "one" if place == "on" else "host"
    assert told == f"services.a.plugins.deep.{place}: unknown key; did you mean {near!r}?"


def test_keys_that_a_model_takes_are_known():
    deep(
        one={"host": "y"},
        either={"host": "y"},
        named={"hots": {"host": "y"}},
        several=[{"host": "y"}],
        free={"hots": {"any": "thing"}},
        wide={"hots": "y"},
        **{"alias-name": 3},
    )


def test_a_model_that_takes_any_key_takes_any_key():
    class Open(Deep):
        class Settings(BaseModel):
            model_config = ConfigDict(extra="allow")

    host = Host({"services": {"a": {"plugins": {"open": {"any": "thing"}}}}})
    host.register(Open, "open")
    host.check()


def test_problems_of_members_of_unions_are_told_at_the_key_itself():
    (told,) = problems(deep, either={"host": 5})
    assert told == "services.a.plugins.deep.either.host: expected a valid string"
    (told,) = problems(deep, either="text")
    assert told.startswith("services.a.plugins.deep.either: expected a table")


@pytest.mark.parametrize("kind", [KeyError, SystemExit])
@pytest.mark.contract("errors-at-composing-are-told")
def test_a_validator_that_raises_something_odd_is_a_problem(kind):
    from pydantic import field_validator

    class Odd(BaseModel):
        tenant: str

        @field_validator("tenant")
        @classmethod
        def look(cls, value):
            raise kind(value)

    host = Host({"services": {"a": {"plugins": {"odd": {"tenant": "canary"}}}}})
    host.register(type("OddPlugin", (Deep,), {"Settings": Odd}), "odd")
    (told,) = problems(host.check)
    said = r"services\.a\.plugins\.odd: validating these settings raised "
    said += kind.__name__
    assert re.fullmatch(said + r" at test_configuration\.py:\d+: '?\*\*\*'?", told)


def test_an_unknown_service_is_told_with_the_nearest_name():
    host = Host({"services": {"flexcore": {}}})
    for ask in (host.connect, host.explain, host.check, host._runtime.composed):
        (told,) = problems(ask, "flexcoer")
        assert told == "no service is named 'flexcoer'; did you mean 'flexcore'?"


def test_only_the_services_that_are_asked_for_are_checked(monkeypatch):
    config = {
        "a": {"headers": {"X-A": "env:FLEXT_TEST_A"}},
        "b": {"headers": {"X-B": "env:FLEXT_TEST_B"}},
    }
    monkeypatch.setenv("FLEXT_TEST_A", "x")
    host = Host({"services": config})
    host.check("a")
    (told,) = problems(host.check)
    assert told == "services.b.headers.X-B: env:FLEXT_TEST_B: this variable is not set"


def test_an_address_speaks_http():
    (told,) = problems(Host({"services": {"a": {"base_url": "ftp://x.example"}}}).check)
    assert told == "services.a.base_url: expected http:// or https://"


@pytest.mark.parametrize("tail", ["?token=canary", "#canary"])
def test_an_address_has_no_query(tail):
    (told,) = problems(Host({"services": {"a": {"base_url": f"https://x.example/{tail}"}}}).check)
    assert told == "services.a.base_url: expected neither ? nor #"


@pytest.mark.parametrize("said", [{"verify": "/nowhere/ca.pem"}, {"cert": ["/nowhere/a", "/b"]}])
def test_a_certificate_that_is_not_there_is_told_before_anything_is_sent(said):
    with Host({"services": {"a": {"base_url": "https://a.example", **said}}}) as host:
        with pytest.raises(ConfigError, match=r"services\.a\.(verify|cert): there is no such file"):
            host.check()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"verify": "FILE"}, "verify: expected a file with certificates"),
        ({"cert": "FILE"}, "cert: expected a file with a certificate and its key"),
        ({"proxy": "ftp://127.0.0.1:1"}, "proxy: expected http://, https://, socks5://"),
        ({"proxy": "socks5://127.0.0.1:1"}, "proxy: needs `pip install 'httpx[socks]'`"),
        ({"timeout": float("inf")}, "timeout: expected a finite number"),
        ({"base_url": "localhost:80"}, "base_url: expected a URL that begins with its scheme"),
    ],
)
def test_what_would_only_fail_when_something_is_sent_is_told_by_check(
    said, told, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "socksio", None)  # as if it were not installed
    file = tmp_path / "not.pem"
    file.write_text("not PEM")
    said = {key: str(file) if value == "FILE" else value for key, value in said.items()}
    with pytest.raises(ConfigError) as caught:
        with Host({"services": {"a": {"base_url": "https://a.example", **said}}}) as host:
            host.check()
    assert told in str(caught.value)


def test_a_path_is_not_a_mapping_and_is_told_so():
    with pytest.raises(ConfigError, match=r"Host\.from_file"):
        Host("flext.toml")


def test_only_a_file_that_was_not_named_is_told_how_to_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flext.toml").write_text("")
    with pytest.raises(ConfigError, match=r"flext\.prod\.toml: no such file$"):
        Host.from_file(environment="prod")


@pytest.mark.parametrize("table", [None, True, "yes"])
def test_what_is_no_table_is_told_how_a_table_without_anything_is_written(table):
    with pytest.raises(ConfigError) as caught:
        Host({"services": {"a": {"plugins": {"retry": table}}, "b": table}})
    assert [each.split(": ", 1)[1] for each in caught.value.problems] == [
        "expected False or a table, which is {} if it says nothing",
        "expected a table, which is {} if it says nothing",
    ]


SERVICES = 10_000
LARGE = {
    "a file": "",
    "another file that overrules each service": "[services.s{n}]\ntimeout = 3\n",
    "another file that misspells each service": '[services.z{n}]\nbase_url = "https://a.example"\n',
    "a variable for each service": "FLEXT__SERVICES__S{n}__DEADLINE",
    "a variable for each of as many new services": "FLEXT__SERVICES__Z{n}__NEW",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", LARGE)
@pytest.mark.contract("unreadable-is-a-problem")
def test_ten_thousand_services_are_read_in_seconds(write, monkeypatch, what):
    text = '[services.s{n}]\nbase_url = "https://a.example"\ntimeout = {{ connect = 1 }}\n'
    path = write("".join(text.format(n=n) for n in range(SERVICES)))
    more = [LARGE[what].format(n=n) for n in range(SERVICES)]
    environment = None
    if what.startswith("another"):
        write("".join(more), "flext.large.toml")
        environment = "large"
    elif what.startswith("a variable"):
        for each in more:
            monkeypatch.setenv(each, "true" if each.endswith("NEW") else "3")
    started = time.process_time()
    with suppress(ConfigError):
        Host.from_file(path, environment)
    assert time.process_time() - started < 40


NO_NAMES = {
    "half a character": "\ud800",
    "a line break": "a\nb",
    "NUL": "a\0",
    "an escape sequence": "\x1b[2J",
    "a line separator": "a\u2028b",
    "blanks": "  ",
    "nothing": "",
    "a megabyte": "a" * 1_000_000,
}
NAMED = {
    "a service": lambda name: {"services": {name: {}}},
    "a plugin": lambda name: {"services": {"a": {"plugins": {name: {}}}}},
    "a plugin for every service": lambda name: {"plugins": {name: {}}},
    "a header": lambda name: {"services": {"a": {"headers": {name: "x"}}}},
    "a header of all": lambda name: {"defaults": {"headers": {name: "x"}}},
}


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("of", NAMED)
@pytest.mark.contract("texts-spoil-nothing")
def test_what_is_no_name_is_told_where_it_stands(of, name):
    (told,) = problems(Host, NAMED[of](NO_NAMES[name]))
    assert " is no name" in told
    assert told.isprintable()
    assert len(told) < 300
