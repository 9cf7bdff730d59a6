"""What the settings take, and what is said about those that cannot be used."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_ldap import Directory, LdapSettings

from flext_plugins import ConfigError, Host

GOOD = {"url": "ldaps://directory.example", "search_base": "dc=example"}
PLACE = "services.company.plugins.ldap"


def said(**table: Any) -> str:
    """What is told about settings that cannot be used."""
    with pytest.raises(ConfigError) as caught:
        Host({"services": {"company": {"plugins": {"ldap": table}}}}).check()
    assert len(caught.value.problems) == 1, caught.value.problems
    return caught.value.problems[0]


def test_importing_it_warns_of_nothing() -> None:
    """ldap3 itself does, by asking pyasn1 for names that it has renamed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import flext_plugins_ldap"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_url_and_a_base_are_enough_and_the_rest_has_safe_defaults() -> None:
    settings = LdapSettings.model_validate(GOOD)
    assert settings.url == ("ldaps://directory.example",)
    assert (settings.user_filter, settings.group_filter) == ("(uid={username})", None)
    assert (settings.allow_insecure, settings.referral_hosts) == (False, ())
    assert (settings.pool_size, settings.page_size) == (4, 500)


@pytest.mark.parametrize(
    "url",
    [
        "directory.example",
        "http://directory.example",
        "ldap://",
        "ldap://directory.example/dc=example",
        "ldap://directory.example:0",
        "ldap://directory.example:99999",
        "ldap://cn=svc:secret@directory.example",
        "ldap://directory.example?sub",
        "",
    ],
)
def test_an_address_that_is_none_is_told_what_was_expected(url: str) -> None:
    assert said(url=url, search_base="dc=example") == (
        f"{PLACE}.url: expected ldap://HOST, ldaps://HOST or either with :PORT, "
        "and nothing after it"
    )


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "needs url, or connections with one"),
        ({"url": GOOD["url"]}, "needs search_base, below which people and groups are"),
        ({"search_base": "dc=example"}, "needs url"),
        (
            {**GOOD, "url": "ldap://directory.example", "starttls": False},
            (
                "starttls = false would send passwords in the clear: "
                "use ldaps://, or say allow_insecure = true"
            ),
        ),
        (
            {**GOOD, "starttls": True},
            "starttls goes with ldap:// alone; ldaps:// is encrypted from the start",
        ),
        ({**GOOD, "bind_dn": "cn=svc,dc=example"}, "bind_dn and bind_password go together"),
        ({**GOOD, "group_base": "dc=example"}, "group_base is of no use without group_filter"),
    ],
)
def test_what_does_not_go_together_is_told(table: dict[str, Any], problem: str) -> None:
    assert said(**table) == f"{PLACE}: {problem}"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("user_filter", "", "expected a filter in brackets with {username} in it"),
        ("user_filter", "(uid=ana)", "expected a filter in brackets with {username} in it"),
        ("user_filter", "uid={username}", "expected a filter in brackets with {username} in it"),
        ("user_filter", "(uid={user})", "expected a filter in brackets with {username} in it"),
        ("user_filter", "(uid={username)", "expected a filter in brackets with {username} in it"),
        ("user_filter", "(uid={username}", "expected a filter in brackets with {username} in it"),
        (
            "group_filter",
            "(member={dn.upper})",
            "expected a filter in brackets with {dn} or {username} in it",
        ),
        ("search_base", "people", "expected a DN, such as dc=example,dc=org"),
        ("search_base", "dc=example,", "expected a DN, such as dc=example,dc=org"),
        ("pool_size", 0, "expected greater than 0"),
        ("page_size", 100_000, "expected less than or equal to 10000"),
        ("timeout", -1, "expected greater than 0"),
        ("pasword", "x", "unknown key"),
        ("bind_pasword", "x", "unknown key; did you mean 'bind_password'?"),
    ],
)
def test_a_value_that_is_none_is_told_what_was_expected(
    key: str, value: object, problem: str
) -> None:
    found = said(**{**GOOD, key: value})
    assert found.startswith(f"{PLACE}.{key}: ")
    assert problem in found


def test_the_problems_of_a_named_directory_name_it() -> None:
    partner = {"url": "ldap://partner.example", "starttls": False, "search_base": "dc=example"}
    assert said(**GOOD, connections={"partner": partner}).startswith(
        f"{PLACE}.connections.partner: starttls = false"
    )
    assert said(connections={"partner": {}}) == f"{PLACE}: connections.partner needs url"


def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("no certificate")
    for file, kind in ((empty, "SSLError"), (tmp_path / "none.pem", "FileNotFoundError")):
        told = f"cannot read {str(file)!r} ({kind})"
        assert f"ca_file: expected a file of certificates in PEM, {told}" in said(
            **GOOD, ca_file=str(file)
        )


def test_a_password_in_a_file_is_a_reference_and_shown_nowhere(tmp_path: Path, slapd: Any) -> None:
    secret, file = tmp_path / "secret", tmp_path / "flext.toml"
    table = slapd.settings(bind_password="canary")
    lines = [f"{key} = {value!r}" for key, value in table.items()]
    file.write_text("\n".join(["[services.company.plugins.ldap]", *lines]))
    with pytest.raises(ConfigError, match="bind_password") as caught:
        Host.from_file(file).check()
    assert "canary" not in str(caught.value)
    file.write_text(file.read_text().replace("canary", f"file:{secret}"))
    with Host.from_file(file) as host:
        secret.write_text("wrong\n")
        directory = host.resource("company", Directory)
        with pytest.raises(ConfigError, match="does not accept bind_dn with bind_password"):
            directory.health()
        secret.write_text(f"{slapd.bind_password}\n")  # it is read again when it changes
        assert directory.health() == slapd.target
        assert slapd.bind_password not in str(host.explain("company"))
