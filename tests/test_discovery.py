"""What is installed is read from metadata; a corrupt neighbour costs one record, not the host."""

from __future__ import annotations

import shutil
import sys

import pytest

import flext_plugins
from flext_plugins import (
    ConfigError,
    Host,
    PluginConflict,
    PluginError,
    PluginIncompatible,
    PluginNotFound,
    hookimpl,
    installed,
    testing,
)
from flext_plugins._discovery import RESERVED

PLUGIN = """
from flext_plugins import hookimpl


class Tenant:
    @hookimpl
    def flext_request(self, request):
        request.headers["X-Tenant"] = __name__
"""


class Listener:
    @hookimpl
    def flext_event(self): ...


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on `sys.path`; what is imported from it is forgotten."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def install(site, name, version="1.0.0", *, plugins=None, module=PLUGIN, **options):
    """A distribution that offers `tenant`, if nothing else is said."""
    if plugins is None:
        plugins = {"tenant": f"{name.replace('-', '_')}:Tenant"}
    return testing.install(site, name, version, plugins=plugins, module=module, **options)


def found(site):
    """The records of the distributions in `site`, and of those that cannot be read."""
    names = {each.name for each in site.glob("*.dist-info")}
    ours = {name.partition("-")[0].replace("_", "-").removeprefix("~") for name in names}
    return [each for each in installed() if each.distribution in ours or not each.name]


def using(plugin="tenant", **table):
    return Host({"services": {"a": {"plugins": {plugin: table}}}})


def source(host, service="a"):
    """Name, distribution, version of the only plugin."""
    (layer,) = host.explain(service).layers
    return layer.plugin, layer.distribution, layer.version


def test_a_record_says_all_that_the_metadata_does(site):
    install(site, "acme-tenant", "2.3.4")
    (record,) = found(site)
    assert record.name == "tenant"
    assert record.distribution == "acme-tenant"
    assert record.version == "2.3.4"
    assert record.target == "acme_tenant:Tenant"
    assert (record.status, record.problem) == ("ready", "")


def test_records_come_by_name_whatever_the_order_on_disk(site):
    for name in ("zeta", "alpha", "mid"):
        install(site, f"acme-{name}", plugins={name: f"acme_{name}:Tenant"})
    assert [each.name for each in found(site)] == ["alpha", "mid", "zeta"]


def test_looking_imports_nothing(site):
    install(site, "acme-tenant", module="raise SystemExit('imported')")
    assert found(site)[0].status == "ready"
    assert "acme_tenant" not in sys.modules


def test_a_plugin_is_imported_when_the_first_service_that_names_it_is_composed(site):
    install(site, "acme-tenant")
    host = Host({"services": {"plain": {}, "a": {"plugins": {"tenant": {}}}}})
    host.check("plain")
    assert "acme_tenant" not in sys.modules
    host.check("a")
    assert "acme_tenant" in sys.modules
    assert source(host) == ("tenant", "acme-tenant", "1.0.0")


def test_a_plugin_whose_import_raises_is_told_with_its_distribution_and_place(site):
    install(site, "acme-tenant", module="import nothing_of_this_name")
    with pytest.raises(PluginError, match=r"services\.a\.plugins\.tenant: importing") as caught:
        using().check()
    assert caught.value.distribution == "acme-tenant"
    assert caught.value.plugin == "tenant"
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def corrupt_line(site):
    folder = install(site, "acme-corrupt", plugins={})
    (folder / "entry_points.txt").write_text("[flext_plugins]\nno equals sign\n")


def corrupt_line_of_another_group(site):
    folder = install(site, "acme-corrupt")
    text = (folder / "entry_points.txt").read_text()
    (folder / "entry_points.txt").write_text(f"[console_scripts]\nno equals sign\n{text}")


def not_utf8(site):
    folder = install(site, "acme-corrupt")
    (folder / "entry_points.txt").write_bytes(b"[flext_plugins]\ntenant = \xff\xfe:Tenant\n")


def no_metadata(site):
    (install(site, "acme-corrupt") / "METADATA").unlink()


def metadata_not_utf8(site):
    (install(site, "acme-corrupt") / "METADATA").write_bytes(b"Name: \xff\n")


def metadata_without_a_name(site):
    (install(site, "acme-corrupt") / "METADATA").write_text("Metadata-Version: 2.1\n")


def unreadable_requirement(site):
    install(site, "acme-corrupt", requires=("flext-plugins >>> 1",))


def unreadable_marker(site):
    install(site, "acme-corrupt", requires=("flext-plugins>=2; phase == 'moon'",))


CORRUPT = [
    corrupt_line,
    corrupt_line_of_another_group,
    not_utf8,
    no_metadata,
    metadata_not_utf8,
    metadata_without_a_name,
    unreadable_requirement,
    unreadable_marker,
]


@pytest.mark.parametrize("damage", CORRUPT, ids=lambda each: each.__name__)
def test_a_corrupt_neighbour_is_one_record_and_hides_nobody(site, damage):
    damage(site)
    install(site, "acme-healthy", plugins={"healthy": "acme_healthy:Tenant"})
    corrupt, healthy = found(site)
    assert corrupt.status == "corrupt"
    assert "acme_corrupt" in corrupt.distribution
    assert "reinstall" in corrupt.problem
    assert (healthy.name, healthy.status) == ("healthy", "ready")
    assert source(using("healthy"))[1] == "acme-healthy"


def test_a_plugin_that_is_not_found_may_be_in_the_corrupt_neighbour_which_is_named(site):
    not_utf8(site)
    with pytest.raises(PluginNotFound, match=r"'tenant'; acme_corrupt-1\.0\.0: entry_points"):
        using().check()


def test_entry_points_of_strangers_are_none_of_our_business(site):
    folder = install(site, "acme-other", plugins={})
    (folder / "entry_points.txt").write_text("[console_scripts]\nno equals sign\n")
    (folder / "METADATA").unlink()
    assert found(site) == []


def test_an_older_copy_further_down_the_path_does_not_count(site, tmp_path_factory, monkeypatch):
    further = tmp_path_factory.mktemp("further")
    monkeypatch.syspath_prepend(further)
    monkeypatch.syspath_prepend(site)
    install(site, "acme-tenant", "2.0.0")
    install(further, "Acme_Tenant", "1.0.0", plugins={"gone": "acme_tenant:Tenant"})
    assert [(each.name, each.version) for each in found(site)] == [("tenant", "2.0.0")]


@pytest.mark.parametrize("left", ["nothing", "points", "records"])
@pytest.mark.contract("husks-hide-nothing")
def test_what_an_upgrade_left_of_an_older_version_hides_nothing(
    site, tmp_path_factory, monkeypatch, left
):
    before = tmp_path_factory.mktemp("before")
    monkeypatch.syspath_prepend(site)
    monkeypatch.syspath_prepend(before)
    husk = install(before, "acme-tenant", "0.9.0")
    for each in [*husk.iterdir()]:
        if (left, each.name) not in {("points", "entry_points.txt"), ("records", "RECORD")}:
            each.unlink()
    install(site, "acme-tenant", "1.0.0")
    assert [(each.name, each.version, each.status) for each in found(site)] == [
        ("tenant", "1.0.0", "ready")
    ]


@pytest.mark.parametrize("line", ["acme>>>1", "acme; phase == 'moon'", "not a requirement", "@"])
@pytest.mark.contract("husks-hide-nothing")
def test_only_requirements_of_ours_are_judged(site, line):
    install(site, "acme-tenant", requires=(line, "flext-plugins>=1,<2"))
    (record,) = found(site)
    assert (record.status, record.problem) == ("ready", "")


def test_what_a_broken_uninstall_left_is_passed_over(site):
    folder = install(site, "acme-tenant")
    folder.rename(site / "~cme_tenant-1.0.0.dist-info")
    assert found(site) == []
    with pytest.raises(PluginNotFound):
        using().check()


def test_two_distributions_of_one_name_are_both_named_and_use_picks_one(site):
    install(site, "acme-tenant")
    install(site, "other-tenant", "3.0.0")
    assert [each.status for each in found(site)] == ["conflict", "conflict"]
    with pytest.raises(PluginConflict) as caught:
        using().check()
    assert 'use = "acme-tenant:tenant"' in str(caught.value)
    assert 'use = "other-tenant:tenant"' in str(caught.value)
    assert source(using(use="other-tenant:tenant")) == ("tenant", "other-tenant", "3.0.0")


def test_use_gives_a_plugin_another_name_and_takes_any_spelling_of_the_distribution(site):
    install(site, "acme-tenant")
    assert source(using("mine", use="Acme_Tenant:tenant")) == ("mine", "acme-tenant", "1.0.0")


def test_a_wish_means_a_plugin_by_the_name_that_use_picks_too(site):
    install(site, "acme-tenant")

    class Wishes(Listener):
        after = ("tenant",)

    tables = {"wishes": {}, "mine": {"use": "acme-tenant:tenant"}}
    host = Host({"services": {"a": {"plugins": tables}}})
    host.register(Wishes, "wishes")
    assert [each.plugin for each in host.explain("a").layers] == ["mine", "wishes"]


def test_one_class_may_be_used_under_several_names(site):
    install(site, "acme-tenant")
    picked = {"use": "acme-tenant:tenant"}
    tables = {"tenant": {}, "first": picked, "second": picked}
    host = Host({"services": {"a": {"plugins": tables}}})
    assert [each.plugin for each in host.explain("a").layers] == list(tables)


@pytest.mark.parametrize("use", ["acme-tenant:other", "nobody:tenant"])
def test_use_that_nobody_offers_is_not_found(site, use):
    install(site, "acme-tenant")
    with pytest.raises(PluginNotFound, match=rf"services\.a\.plugins\.tenant: .*{use!r}"):
        using(use=use).check()


@pytest.mark.parametrize("first", ["ab", "ba"])
def test_a_name_that_looks_like_a_use_is_a_name_and_stands_for_no_use(site, first):
    install(site, "acme-tenant")
    tables = {"a": {"nobody:tenant": {}}, "b": {"tenant": {"use": "nobody:tenant"}}}
    host = Host({"services": {name: {"plugins": table} for name, table in tables.items()}})
    for name in first:
        with pytest.raises(PluginNotFound, match="nobody:tenant"):
            host.explain(name)


@pytest.mark.parametrize("use", ["acme-tenant", "", ":tenant", "acme-tenant:", 5])
def test_use_is_a_distribution_and_a_name(site, use):
    install(site, "acme-tenant")
    with pytest.raises(ConfigError, match=r"services\.a\.plugins\.tenant\.use: expected "):
        using(use=use).check()


@pytest.fixture
def vault(monkeypatch):
    """A name of ours that no plugin has yet."""
    monkeypatch.setitem(RESERVED, "vault", "flext-plugins-vault")


def test_our_names_belong_to_our_distributions():
    assert RESERVED["auth"] == "flext-plugins-auth"
    assert RESERVED["circuit-breaker"] == "flext-plugins-circuit-breaker"


def test_a_stranger_that_takes_a_name_of_ours_is_in_conflict_and_told_how_to_be_used(site, vault):
    install(site, "evil-vault", plugins={"vault": "evil_vault:Tenant"})
    (record,) = found(site)
    assert record.status == "conflict"
    assert "belongs to flext-plugins-vault" in record.problem
    with pytest.raises(PluginConflict, match='use = "evil-vault:vault"'):
        using("vault").check()
    assert "evil_vault" not in sys.modules
    assert source(using("vault", use="evil-vault:vault"))[1] == "evil-vault"


def test_a_name_of_ours_is_ours_even_if_a_stranger_takes_it_too(site, vault):
    install(site, "evil-vault", plugins={"vault": "evil_vault:Tenant"})
    install(site, "flext-plugins-vault", plugins={"vault": "flext_plugins_vault:Tenant"})
    status = {each.distribution: each.status for each in found(site)}
    assert status == {"evil-vault": "conflict", "flext-plugins-vault": "ready"}
    assert source(using("vault"))[1] == "flext-plugins-vault"


def test_a_missing_plugin_of_ours_says_what_to_install(vault):
    with pytest.raises(PluginNotFound, match="it comes in the distribution flext-plugins-vault$"):
        using("vault").check()


@pytest.mark.parametrize("name", ["tennant", "tenants", "TENNANT"])
def test_a_missing_plugin_is_told_with_the_nearest_name(site, name):
    install(site, "acme-tenant")
    with pytest.raises(PluginNotFound, match=f"{name!r}; did you mean 'tenant'"):
        using(name).check()


def test_the_nearest_name_may_be_that_of_a_registered_class():
    host = using("tennant")
    host.register(Listener, "tenant")
    with pytest.raises(PluginNotFound, match="did you mean 'tenant'"):
        host.check()


def test_a_plugin_for_another_major_of_ours_is_incompatible_and_never_imported(site):
    install(site, "acme-tenant", requires=("flext-plugins>=2,<3",))
    (record,) = found(site)
    assert record.status == "incompatible"
    with pytest.raises(PluginIncompatible, match=r"flext-plugins<3,>=2, and 1\..* acme-tenant"):
        using().check()
    with pytest.raises(PluginIncompatible):
        using(use="acme-tenant:tenant").check()
    assert "acme_tenant" not in sys.modules


@pytest.mark.parametrize(
    ("ours", "status"),
    [
        ("1.4.0", "incompatible"),
        ("1.5.0.dev3", "ready"),
        ("1.5.0b1", "ready"),
        ("1.5.0", "ready"),
        ("1.9.0+local", "ready"),
        ("2.0.0rc1", "incompatible"),
    ],
)
def test_of_our_version_the_release_is_compared(site, monkeypatch, ours, status):
    install(site, "acme-tenant", requires=("Flext_Plugins >=1.5,<2",))
    monkeypatch.setattr(flext_plugins._discovery, "__version__", ours)
    assert found(site)[0].status == status


def test_requirements_for_other_environments_extras_and_distributions_do_not_matter(site):
    requires = (
        'flext-plugins>=2; python_version < "3"',
        'flext-plugins>=2; extra == "next"',
        "flext-plugins[standard]>=1",
        "httpx>=99",
    )
    install(site, "acme-tenant", requires=requires)
    assert found(site)[0].status == "ready"


@pytest.mark.parametrize("requires", [(), ('flext-plugins>=1; extra == "next"', "httpx")])
def test_a_plugin_that_does_not_require_us_is_taken_as_it_is_and_told(site, requires):
    install(site, "acme-tenant", requires=requires)
    (record,) = found(site)
    assert record.status == "ready"
    told = "it does not require flext-plugins: add 'flext-plugins>=1,<2' to acme-tenant"
    assert record.problem == told
    using().check()


@pytest.mark.parametrize("name", ["bad-name", "Bad_Name", "bad.NAME"])
def test_a_plugin_is_found_by_any_spelling_of_its_name(site, name):
    install(site, "acme-tenant", plugins={"Bad_Name": "acme_tenant:Tenant"})
    assert source(using(name)) == (name, "acme-tenant", "1.0.0")
    assert source(using("mine", use=f"acme-tenant:{name}"))[0] == "mine"


def test_names_that_differ_in_spelling_alone_are_in_conflict(site, vault):
    install(site, "acme-tenant", plugins={"Bad_Name": "acme_tenant:Tenant"})
    install(site, "other-tenant", plugins={"bad-name": "other_tenant:Tenant"})
    install(site, "evil-vault", plugins={"Vault": "evil_vault:Tenant"})
    assert [each.status for each in found(site)] == ["conflict"] * 3
    for name in ("bad_name", "VAULT"):
        with pytest.raises(PluginConflict):
            using(name).check()


def test_explain_tells_a_loaded_version_that_is_no_longer_the_installed_one(site):
    folder = install(site, "acme-tenant", "1.0.0")
    host = using()
    assert host.explain("a").layers[0].note == ""
    shutil.rmtree(folder)
    install(site, "acme-tenant", "1.1.0")
    assert "1.0.0 is loaded, 1.1.0 is installed" in host.explain("a").layers[0].note
    assert "1.0.0 is loaded, 1.1.0 is installed" in str(host.explain("a"))
    shutil.rmtree(site / "acme_tenant-1.1.0.dist-info")
    assert "1.0.0 is loaded, it is uninstalled" in host.explain("a").layers[0].note


@pytest.mark.parametrize("name", ["auth", "Auth"])
def test_a_name_of_ours_cannot_be_registered_by_an_application(name):
    with pytest.raises(PluginConflict, match="belongs to flext-plugins-auth"):
        using().register(object, name)


@pytest.mark.parametrize("again", ["tenant", "Tenant"])
def test_a_name_can_be_registered_once(again):
    host = using()
    host.register(Listener, "tenant")
    with pytest.raises(PluginConflict, match="registered already"):
        host.register(Listener, again)


def test_what_is_registered_comes_before_what_is_installed(site):
    install(site, "acme-tenant")
    host = using()
    host.register(Listener, "tenant")
    assert source(host) == ("tenant", None, None)
    assert "acme_tenant" not in sys.modules


def limited(plugin="tenant", table=None, **lists):
    """A host with these lists that uses one plugin."""
    return Host({"host": lists, "services": {"a": {"plugins": {plugin: table or {}}}}})


@pytest.mark.contract("denied-is-not-imported")
@pytest.mark.parametrize(
    "lists",
    [
        {"deny": ["acme-tenant"]},
        {"deny": ["ACME_*"]},
        {"deny": ["acme_tenant"]},
        {"deny": ["*tenant"], "allow": ["acme-tenant"]},
        {"allow": []},
        {"allow": ["other-*", "acme"]},
    ],
)
@pytest.mark.parametrize("table", [{}, {"use": "acme-tenant:tenant"}])
def test_a_denied_plugin_is_not_imported(site, lists, table):
    install(site, "acme-tenant")
    with pytest.raises(
        ConfigError, match=r"a\.plugins\.tenant: acme-tenant 1\.0\.0: denied: .*code"
    ):
        limited(table=table, **lists).check()
    assert "acme_tenant" not in sys.modules


@pytest.mark.contract("denied-is-not-imported")
@pytest.mark.parametrize("pattern", ["acme-tenant", "Acme_Tenant", "acme*", "acme_tenant", "*"])
def test_an_allowed_plugin_is_imported(site, pattern):
    install(site, "acme-tenant")
    assert source(limited(allow=["other", pattern])) == ("tenant", "acme-tenant", "1.0.0")


def test_a_module_may_be_denied_in_whatever_distribution_it_comes(site):
    install(site, "acme-tenant", plugins={"tenant": "hidden.inside:Tenant"})
    for pattern in ("hidden", "hidden.*", "hidden.inside"):
        with pytest.raises(ConfigError, match="stands in host.deny"):
            limited(deny=[pattern]).check()


def test_what_is_denied_takes_no_name_from_another(site):
    install(site, "acme-tenant")
    install(site, "other-tenant", "3.0.0")
    assert source(limited(deny=["acme-*"]))[1] == "other-tenant"


def test_what_the_service_does_not_name_may_be_denied_without_harm(site):
    install(site, "acme-tenant")
    install(site, "acme-other", plugins={"other": "acme_other:Tenant"})
    assert source(limited("other", deny=["acme-tenant"]))[1] == "acme-other"


@pytest.mark.parametrize("said", ["acme-*", 3, [3], {"a": 1}])
def test_the_lists_are_lists_of_text(said):
    for key in ("allow", "deny"):
        with pytest.raises(ConfigError, match=rf"host\.{key}(\.0)?: expected a valid"):
            limited(**{key: said})
