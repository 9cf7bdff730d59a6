"""The versions that are declared are those that are run: of Python, and of what is depended on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tools/interpreters.sh"
PYPROJECTS = sorted([ROOT / "pyproject.toml", *ROOT.glob("contrib/*/pyproject.toml")])
PROJECTS = [
    pytest.param(tomllib.loads(path.read_text())["project"], id=path.parent.name)
    for path in PYPROJECTS
]


def minima(project):
    """Each direct dependency that is not ours, required or optional, with its declared minimum."""
    optional = project.get("optional-dependencies", {}).values()
    for text in [*project["dependencies"], *(each for extra in optional for each in extra)]:
        requirement = Requirement(text)
        if not requirement.name.startswith("flext-plugins"):
            lowest = [each.version for each in requirement.specifier if each.operator == ">="]
            yield requirement.name, *lowest


def by_name(pair):
    return pair[0].lower(), pair[1]


def interpreters(*arguments, cwd=ROOT, env=None):
    return subprocess.run(
        [shutil.which("sh"), SCRIPT, *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def machine(tmp_path):
    """A machine with interpreters of the versions that are named, and no others."""

    def machine(**pythons):
        for tool in ("id", "sh"):
            (tmp_path / tool).symlink_to(shutil.which(tool))
        for name, version in pythons.items():
            parts = *map(int, version.split(".")), 0, "final", 0
            python = tmp_path / name.replace("_", ".")
            python.write_text(
                "#!/bin/sh\ncode=$2\nshift 2\n"
                f'exec {sys.executable} -c "import sys; sys.version_info = {parts}\n$code" "$@"\n'
            )
            python.chmod(0o755)
        env = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
        return lambda *arguments: interpreters(*arguments, env=env)

    return machine


@pytest.mark.parametrize("project", PROJECTS)
def test_any_python_from_3_11_on_is_taken(project):
    assert project["requires-python"] == ">=3.11"


@pytest.mark.parametrize("project", PROJECTS)
def test_classifiers_name_the_versions_of_python_that_are_tested(project):
    prefix = "Programming Language :: Python :: "
    named = [each.removeprefix(prefix) for each in project["classifiers"] if prefix in each]
    assert named == interpreters("tested").stdout.split()


@pytest.mark.parametrize("project", PROJECTS)
def test_every_dependency_has_one_minimum(project):
    assert [each for each in minima(project) if len(each) != 2] == []


def test_the_lowest_versions_that_are_run_are_the_minima_that_are_declared():
    """`make test-lowest` runs with them; distributions that share a dependency declare the same."""
    declared = {pair for each in PROJECTS for pair in minima(each.values[0])}
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    assert lines == [f"{name}=={version}" for name, version in sorted(declared, key=by_name)]
    assert len({line.partition("==")[0] for line in lines}) == len(lines)


def test_what_python3_means_is_used_whatever_else_there_is(machine):
    run = machine(python3="3.12", python3_11="3.11", python3_13="3.13")
    assert run("first").stdout == "python3\n"
    assert run("oldest").stdout == "python3.11\n"
    assert run("newest").stdout == "python3.13\n"


def test_a_python3_that_is_too_old_gives_way_to_the_oldest_that_is_not(machine):
    run = machine(python3="3.10", python3_12="3.12", python3_13="3.13")
    assert run("first").stdout == "python3.12\n"


def test_a_version_is_found_by_its_number_and_not_by_its_name(machine):
    run = machine(python3="3.12", python3_13="3.11")
    assert run("find", "3.12").stdout == "python3\n"
    assert run("find", "3.13").returncode == 1
    assert run("newest").stdout == "python3\n"


@pytest.mark.parametrize("name", ["python3", "python3.14"])
def test_a_python_newer_than_those_tested_is_taken_with_a_line(machine, name):
    run = machine(**{name.replace(".", "_"): "3.14"})
    assert run("first").stdout == run("oldest").stdout == run("newest").stdout == f"{name}\n"
    checked = run("check", name)
    assert checked.returncode == 0
    newest = interpreters("tested").stdout.split()[-1]
    assert checked.stderr == f"Python 3.14 has not been tested; newest tested: {newest}\n"


def test_a_tested_python_is_taken_without_a_word(machine):
    checked = machine(python3="3.12")("check", "python3")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_python_that_is_too_old_is_refused(machine):
    checked = machine(python3="3.10")("check", "python3")
    assert checked.returncode == 1
    assert checked.stderr == "Python 3.11 or newer is needed, and python3 is not.\n"


def test_a_machine_without_python_is_told_what_is_needed(machine):
    run = machine()
    assert run("first").stdout == ""
    checked = run("check", "")
    assert checked.returncode == 1
    assert checked.stderr == "Python 3.11 or newer is needed, and none was found.\n"


COMMANDS = {
    "--help": "request",
    "list --import": "retry",
    "check": "ok: 1 service",
    "explain api": "RETRY",
    "explain api --json": '"layers"',
    "schema": "2020-12",
    "request api GET /": "200",
}
"""Each command, and a word of what it prints."""


@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
@pytest.mark.parametrize(("command", "word"), COMMANDS.items(), ids=COMMANDS)
def test_each_command_runs_with_the_versions_that_are_here(
    flext_service, tmp_path, command, word, terminal
):
    """What it prints, and what it makes of mistakes, is in `test_cli.py`, on one interpreter."""
    service = f'[services.api]\nbase_url = "{flext_service.url}"\n[services.api.plugins.retry]\n'
    (tmp_path / "flext.toml").write_text(service)
    done = subprocess.run(
        [sys.executable, "-Werror", "-m", "flext_plugins.cli", *command.split()],
        cwd=tmp_path,
        env={**os.environ, **({"FORCE_COLOR": "1"} if terminal else {"TERM": "dumb"})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert word in done.stdout
