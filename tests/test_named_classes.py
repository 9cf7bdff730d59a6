"""A file may name the class of an application's own plugin, which is held to what every plugin is."""

from __future__ import annotations

import json
import os
import sys

import pytest

from flext_plugins import ConfigError, Host, PluginConflict, PluginError, hookimpl, testing

SHOP = """
from pydantic import BaseModel

from flext_plugins import Secret, hookimpl


class Settings(BaseModel):
    level: int = 1
    token: Secret = Secret("")


class Journal:
    Settings = Settings

    def __init__(self, settings):
        self.level = settings.level

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Journal"] = str(self.level)


class Quiet:
    @hookimpl
    def flext_event(self, event): ...


class Around:
    class Inner(Quiet):
        pass


class Wrong:
    @hookimpl
    def flext_requests(self): ...


def function(): ...


NOTHING = None
"""


class Listener:
    @hookimpl
    def flext_event(self): ...


@pytest.fixture(autouse=True)
def shop(tmp_path, monkeypatch):
    """An application on `sys.path` whose modules are forgotten, and the folder of its files."""
    for name in os.environ:
        if name.startswith("FLEXT"):
            monkeypatch.delenv(name)
    code = tmp_path / "code" / "shop"
    code.mkdir(parents=True)
    (code / "__init__.py").write_text("")
    (code / "journal.py").write_text(SHOP)
    (code / "broken.py").write_text("raise RuntimeError('no such queue')")
    (code / "leaves.py").write_text("raise SystemExit('gone')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(code.parent)
    yield code
    for name in [each for each in sys.modules if each.partition(".")[0] in {"shop", "acme_tenant"}]:
        del sys.modules[name]


@pytest.fixture
def read(tmp_path):
    """The host of a file with this text."""

    def read(text, environment=None, name="flext.toml"):
        (tmp_path / name).write_text(text)
        return Host.from_file(tmp_path / "flext.toml", environment)

    return read


def of(target, **table):
    return Host({"services": {"a": {"plugins": {"journal": {"class": target, **table}}}}})


def problem(host):
    """The only problem of a host."""
    with pytest.raises(ConfigError) as caught:
        host.check()
    (text,) = caught.value.problems
    return text


def layers(host, service="a"):
    """Each plugin of a service, and where it came from."""
    return [(each.plugin, each.source) for each in host.explain(service).layers]


def test_the_class_that_a_file_names_is_the_plugin(read, flext_service):
    host = read(
        f'[services.a]\nbase_url = "{flext_service.url}"\n'
        '[services.a.plugins.journal]\nclass = "shop.journal:Journal"\nlevel = 3\n'
    )
    with host, host.connect("a") as client:
        client.get("/")
    (received,) = flext_service.received
    assert received.headers["x-journal"] == "3"


def test_it_is_imported_when_a_service_that_names_it_is_composed():
    host = of("shop.journal:Journal")
    assert "shop" not in sys.modules
    host.check()
    assert "shop.journal" in sys.modules


def test_yaml_and_code_name_classes_too(tmp_path):
    (tmp_path / "flext.yaml").write_text(
        "services: {a: {plugins: {journal: {class: 'shop.journal:Journal'}}}}"
    )
    with Host.from_file("flext.yaml") as host:
        assert layers(host) == [("journal", "named in flext.yaml")]
    assert layers(of("shop.journal:Journal")) == [("journal", "named in code")]


def test_a_class_inside_another_is_named_with_both():
    of("shop.journal:Around.Inner").check()


def test_explain_says_which_class_it_is_and_where_that_stands(read, tmp_path):
    host = read('[plugins.journal]\nclass = "shop.journal:Journal"\nlevel = 2\n[services.a]\n')
    (layer,) = host.explain("a").layers
    file = str(tmp_path / "flext.toml")
    assert [(each.name, each.value, each.source) for each in layer.settings[:2]] == [
        ("class", "shop.journal:Journal", file),
        ("level", "2", file),
    ]
    assert (layer.distribution, layer.version) == (None, None)
    assert f"journal  [named in {file}]" in str(host.explain("a"))


def test_its_settings_are_validated_and_told_with_their_place(read, tmp_path):
    host = read(
        '[services.a.plugins.journal]\nclass = "shop.journal:Journal"\nlevel = "high"\nlevels = 2\n'
    )
    with pytest.raises(ConfigError) as caught:
        host.check()
    place = f"{tmp_path / 'flext.toml'}: services.a.plugins.journal"
    assert set(caught.value.problems) == {
        f"{place}.levels: unknown key; did you mean 'level'?",
        f"{place}.level: expected a valid integer, unable to parse string as an integer",
    }


def test_its_secrets_are_references_as_any_plugins_are(read):
    table = '[services.a.plugins.journal]\nclass = "shop.journal:Journal"\ntoken = "canary"\n'
    told = problem(read(table))
    assert "journal.token: a secret stands in the file" in told
    assert "canary" not in told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (3, "expected a valid string"),
        (["shop.journal:Journal"], "expected a valid string"),
        ("", 'expected "module:Class"'),
        ("shop.journal", 'expected "module:Class"'),
        ("shop.journal.Journal", 'expected "module:Class"'),
        (":Journal", 'expected "module:Class"'),
        ("shop.journal:", 'expected "module:Class"'),
        (".journal:Journal", 'expected "module:Class"'),
        ("shop journal:Journal", 'expected "module:Class"'),
        ("shop.journal:Journal:x", 'expected "module:Class"'),
        ("shop.journal:Journal [x]", 'expected "module:Class"'),
    ],
)
def test_what_names_no_class_is_told_at_its_place(said, told):
    assert problem(of(said)) == f"services.a.plugins.journal.class: {told}"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("shopp:Journal", "ModuleNotFoundError: No module named 'shopp'"),
        ("shop.nothing:Journal", "ModuleNotFoundError: No module named 'shop.nothing'"),
        ("shop.broken:Journal", "RuntimeError at broken.py:1: no such queue"),
        ("shop.leaves:Journal", "SystemExit at leaves.py:1: gone"),
        ("shop.journal:Jurnal", "AttributeError: module 'shop.journal' has no attribute 'Jurnal'"),
        ("shop.journal:NOTHING", "expected a class, found NoneType"),
        ("shop.journal:function", "expected a class, found function"),
        ("shop.journal:Settings", "it has no hook"),
        ("shop.journal:Wrong", "flext_requests is no hook; did you mean 'flext_request'?"),
    ],
)
def test_what_is_no_plugin_is_told_at_its_place(target, told):
    with pytest.raises(PluginError) as caught:
        of(target).check()
    text = caught.value.args[0]
    assert text.startswith("services.a.plugins.journal.class: ")
    assert told in text
    assert (caught.value.plugin, caught.value.distribution) == ("journal", None)


def test_class_and_use_are_two_answers_to_one_question(read, tmp_path):
    told = problem(of("shop.journal:Journal", use="acme-tenant:tenant"))
    assert told == "services.a.plugins.journal.class: stands beside use; take one of them away"
    host = read(
        '[plugins.journal]\nclass = "shop.journal:Journal"\n'
        '[services.a.plugins.journal]\nuse = "acme-tenant:tenant"\n'
    )
    assert problem(host).startswith(f"{tmp_path / 'flext.toml'}: plugins.journal.class: ")


@pytest.mark.parametrize("name", ["auth", "Circuit_Breaker"])
def test_a_name_of_ours_is_no_name_for_it(name):
    host = Host({"services": {"a": {"plugins": {name: {"class": "shop.journal:Journal"}}}}})
    with pytest.raises(PluginConflict, match=rf"plugins\.{name}\.class: .* belongs to flext-plug"):
        host.check()
    assert "shop" not in sys.modules


def test_a_registered_name_is_no_name_for_it_and_the_other_way_round():
    host = of("shop.journal:Journal")
    host.register(Listener, "Journal")
    with pytest.raises(PluginConflict, match=r"journal\.class: .* is registered already"):
        host.check()
    host = of("shop.journal:Journal")
    host.check()
    with pytest.raises(PluginConflict, match="the configuration names a class for 'Journal'"):
        host.register(Listener, "Journal")


def test_it_comes_before_what_is_installed_under_its_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "site")
    testing.install(tmp_path / "site", "acme-tenant", plugins={"journal": "acme_tenant:Tenant"})
    assert layers(of("shop.journal:Journal")) == [("journal", "named in code")]
    assert "acme_tenant" not in sys.modules


def test_two_services_may_name_two_classes_for_one_plugin(read):
    host = read(
        '[services.a.plugins.journal]\nclass = "shop.journal:Journal"\n'
        '[services.b.plugins.journal]\nclass = "shop.journal:Quiet"\n'
        '[services.c.plugins.other]\nclass = "shop.journal:Quiet"\n'
    )
    hooks = {name: host.explain(name).layers[0].hooks for name in "abc"}
    assert hooks == {"a": ("flext_request",), "b": ("flext_event",), "c": ("flext_event",)}


def test_one_class_may_stand_under_two_names_each_with_its_settings(read):
    host = read(
        '[services.a.plugins.first]\nclass = "shop.journal:Journal"\nlevel = 1\n'
        '[services.a.plugins.second]\nclass = "shop.journal:Journal"\nlevel = 2\n'
    )
    found = [(each.plugin, each.settings[1].value) for each in host.explain("a").layers]
    assert found == [("first", "1"), ("second", "2")]


def test_a_service_may_have_another_class_than_every_service_has(read):
    host = read(
        '[plugins.journal]\nclass = "shop.journal:Journal"\n'
        "[services.a.plugins.journal]\nlevel = 5\n"
        '[services.b.plugins.journal]\nclass = "shop.journal:Quiet"\n'
        "[services.c.plugins]\njournal = false\n"
    )
    (inherited,) = host.explain("a").layers
    assert inherited.settings[1].value == "5"
    assert host.explain("b").layers[0].hooks == ("flext_event",)
    assert host.explain("c").layers == ()


def test_an_environments_file_may_name_another_class(read, tmp_path):
    (tmp_path / "flext.test.toml").write_text(
        '[services.a.plugins.journal]\nclass = "shop.journal:Quiet"\n'
    )
    host = read('[services.a.plugins.journal]\nclass = "shop.journal:Journal"\n', "test")
    assert layers(host) == [("journal", f"named in {tmp_path / 'flext.test.toml'}")]


@pytest.mark.contract("only-files-name-classes")
@pytest.mark.parametrize(
    ("variable", "said", "key"),
    [
        ("FLEXT__PLUGINS__JOURNAL__CLASS", "shop.journal:Quiet", "plugins.journal.class"),
        ("FLEXT__PLUGINS__JOURNAL", {"class": "shop.journal:Quiet"}, "plugins.journal.class"),
        ("FLEXT__PLUGINS", {"new": {"class": "shop.journal:Quiet"}}, "plugins.new.class"),
        ("FLEXT__SERVICES__A__PLUGINS__NEW__CLASS", "x:Y", "services.a.plugins.new.class"),
        ("FLEXT__SERVICES__A__PLUGINS__NEW", {"class": {}}, "services.a.plugins.new.class"),
        ("FLEXT__SERVICES", {"b": {"plugins": {"x": {"class": 1}}}}, "services.b.plugins.x.class"),
    ],
)
def test_no_variable_names_a_class(read, monkeypatch, variable, said, key):
    monkeypatch.setenv(variable, said if isinstance(said, str) else json.dumps(said))
    with pytest.raises(ConfigError) as caught:
        read('[plugins.journal]\nclass = "shop.journal:Journal"\n[services.a]\n')
    told = f"{variable}: {key}: a file names a class, or code; no variable does"
    assert told in caught.value.problems
    assert "shop" not in sys.modules


def test_a_variable_may_set_what_a_named_class_takes(read, monkeypatch):
    monkeypatch.setenv("FLEXT__PLUGINS__JOURNAL__LEVEL", "7")
    host = read('[plugins.journal]\nclass = "shop.journal:Journal"\n[services.a]\n')
    assert host.explain("a").layers[0].settings[1].value == "7"


# What may be imported


@pytest.mark.contract("denied-is-not-imported")
@pytest.mark.parametrize(
    ("lists", "told"),
    [
        ('deny = ["shop.*"]', "denied: 'shop.*' stands in host.deny ({file})"),
        ('deny = ["other", "shop"]', "denied: 'shop' stands in host.deny ({file})"),
        ('deny = ["*.journal"]', "denied: '*.journal' stands in host.deny ({file})"),
        ('deny = ["shop"]\nallow = ["shop"]', "denied: 'shop' stands in host.deny ({file})"),
        ("allow = []", "denied: nothing in host.allow ({file}) stands for shop.journal"),
        ('allow = ["sho", "shop.j"]', "denied: nothing in host.allow ({file}) stands for shop."),
    ],
)
def test_a_denied_class_is_not_imported(read, tmp_path, lists, told):
    host = read(f'[host]\n{lists}\n[services.a.plugins.j]\nclass = "shop.journal:Journal"\n')
    file = tmp_path / "flext.toml"
    expected = f"{file}: services.a.plugins.j.class: {told.format(file=file)}"
    assert problem(host).startswith(expected)
    assert "shop" not in sys.modules


@pytest.mark.contract("denied-is-not-imported")
@pytest.mark.parametrize("allow", ["shop", "shop.journal", "shop.*", "*"])
def test_what_is_allowed_is_imported(allow):
    table = {"plugins": {"journal": {"class": "shop.journal:Journal"}}}
    Host({"host": {"allow": ["acme-*", allow]}, "services": {"a": table}}).check()


def test_a_class_that_code_registers_needs_no_leave():
    host = Host({"host": {"allow": []}, "services": {"a": {"plugins": {"listener": {}}}}})
    host.register(Listener, "listener")
    host.check()
