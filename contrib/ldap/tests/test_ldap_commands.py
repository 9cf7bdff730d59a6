"""`flext-plugins ldap`, run as people run it, against a real slapd."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_devstack.directory import SERVICE
from flext_plugins_ldap import Entry, ldif
from slapd import Slapd  # type: ignore[import-not-found]

Run = Callable[..., Any]
CROWD = 600
"""More than a page."""
HASH = "e1NTSEF9"
"""How `{SSHA}` begins in base64."""


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One that shows hashes of passwords to the account that asks."""
    access = f'access to attrs=userPassword by dn.exact="{SERVICE}" write by anonymous auth'
    made = Slapd(tmp_path_factory.mktemp("slapd"), crowd=CROWD, access=access)
    yield made
    made.close()


@pytest.fixture
def run(tmp_path: Path, slapd: Any) -> Run:
    """Runs the command beside a `flext.toml` with the service `company`; no secret is shown."""
    (tmp_path / "password").write_text(slapd.bind_password)
    settings = slapd.settings(bind_password=f"file:{tmp_path / 'password'}")
    table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    (tmp_path / "flext.toml").write_text(f"[services.company.plugins.ldap]\n{table}")
    inherited = {key: each for key, each in os.environ.items() if not key.startswith("FLEXT")}

    def run(*arguments: str, expect: int = 0, **variables: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-Werror", "-m", "flext_plugins.cli", "ldap", *arguments],
            cwd=tmp_path,
            env={**inherited, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == expect, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        for secret in (slapd.bind_password, HASH, "{SSHA}", "ana-passw0rd"):
            assert secret not in done.stdout + done.stderr
        return done

    return run


def entries(text: str, folder: Path) -> list[Entry]:
    file = folder / "shown.ldif"
    file.write_text(text)
    return list(ldif.entries(file))


def test_health_says_which_server_answered(run: Run, slapd: Any) -> None:
    assert run("health", "company").stdout == f"ok: {slapd.target}\n"
    shown = json.loads(run("health", "company", "--json").stdout)
    assert shown == {"service": "company", "server": slapd.target}


def test_a_search_prints_ldif(run: Run, slapd: Any, tmp_path: Path) -> None:
    (found,) = entries(run("search", "company", "(uid=ana)").stdout, tmp_path)
    assert found.dn == f"uid=ana,{slapd.people}"
    assert found.attributes["uid"] == ("ana",)
    assert found.attributes["userPassword"] == ("***",)


def test_a_search_reads_what_is_asked_for_and_below_where_it_is_told(
    run: Run, slapd: Any, tmp_path: Path
) -> None:
    (found,) = entries(run("search", "company", "(uid=ana)", "-a", "uid").stdout, tmp_path)
    assert found == Entry(f"uid=ana,{slapd.people}", {"uid": ("ana",)})
    elsewhere = run("search", "company", "(uid=ana)", "--base", slapd.groups)
    assert (elsewhere.stdout, elsewhere.stderr) == ("", "")


def test_a_search_prints_a_line_of_json_for_each_entry(run: Run, slapd: Any) -> None:
    shown = run("search", "company", "(uid=crowd-*)", "--json", "-a", "uid").stdout
    lines = [json.loads(each) for each in shown.splitlines()]
    assert len(lines) == CROWD
    first = min(lines, key=lambda each: str(each["dn"]))
    assert first == {
        "dn": f"uid=crowd-0000,{slapd.crowd_base}",
        "attributes": {"uid": ["crowd-0000"]},
    }
    (ana,) = run("search", "company", "(uid=ana)", "--json").stdout.splitlines()
    assert json.loads(ana)["attributes"]["userPassword"] == ["***"]


def test_a_search_prints_entries_as_they_come(run: Run, tmp_path: Path) -> None:
    """Who has seen enough ends it."""
    command = f"{sys.executable} -m flext_plugins.cli ldap search company '(uid=crowd-*)'"
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -n 1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("dn: uid=crowd-")
    assert "Traceback" not in done.stderr


def test_an_export_leaves_passwords_out_and_says_so(run: Run, slapd: Any, tmp_path: Path) -> None:
    done = run("ldif", "company", "people.ldif", "(objectClass=inetOrgPerson)")
    number = CROWD + len(slapd.users)
    assert done.stdout == f"ok: {number} entries, without userPassword\n"
    file = tmp_path / "people.ldif"
    assert file.stat().st_mode & 0o777 == 0o600
    found = {each.dn: each for each in ldif.entries(file)}
    assert len(found) == number
    ana = found[f"uid=ana,{slapd.people}"]
    assert ana.attributes["uid"] == ("ana",)
    assert "userPassword" not in ana.attributes
    assert HASH not in file.read_text()


def test_an_export_can_be_counted_by_a_program(run: Run, slapd: Any) -> None:
    shown = run("ldif", "company", "groups.ldif", "--base", slapd.groups, "--json").stdout
    facts = json.loads(shown)
    assert facts["entries"] > 1
    assert (facts["file"], facts["left_out"]) == ("groups.ldif", [])


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown service": (("health", "compny"), "did you mean 'company'?"),
    "no such directory": (("health", "company", "--name", "partner"), "lends no Directory named"),
    "no filter": (("search", "company", "uid=ana)("), ""),
    "no such entry": (("search", "company", "(uid=a)", "--base", "dc=nowhere"), "company: ldap: "),
    "no such folder": (("ldif", "company", "gone/people.ldif"), "gone/people.ldif: No such file"),
    "no configuration": (("health", "company", "-c", "gone.toml"), "gone.toml: no such file"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_in_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments, expect=1)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert said in line


def test_a_server_that_is_down_is_told_in_one_line(run: Run) -> None:
    down = {"FLEXT__SERVICES__COMPANY__PLUGINS__LDAP__URL": "ldap://127.0.0.1:1"}
    for arguments in (("health", "company"), ("ldif", "company", "people.ldif")):
        (line,) = run(*arguments, expect=1, **down).stderr.splitlines()
        assert line.startswith("company: ldap: 127.0.0.1:1 ")


def test_an_option_that_makes_no_sense_is_refused(run: Run) -> None:
    assert "--bass" in run("search", "company", "(uid=ana)", "--bass", "x", expect=2).stderr


def test_the_environments_file_is_read_too(run: Run, tmp_path: Path, slapd: Any) -> None:
    text = '[services.company.plugins.ldap]\nurl = "ldap://127.0.0.1:1"\n'
    (tmp_path / "flext.broken.toml").write_text(text)
    assert "127.0.0.1:1" in run("health", "company", "--env", "broken", expect=1).stderr
