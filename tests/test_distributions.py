"""The distributions belong together: one version, complete metadata, an extra for each, installed by file."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from trove_classifiers import classifiers

import flext_plugins

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
FOLDERS = {
    tomllib.loads(path.read_text())["project"]["name"]: path.parent
    for path in sorted([ROOT / "pyproject.toml", *ROOT.glob("contrib/*/pyproject.toml")])
}
PROJECTS = {
    name: tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    for name, folder in FOLDERS.items()
}
HOST = "flext-plugins"
EXTRAS = PROJECTS[HOST]["optional-dependencies"]
VERSION = flext_plugins.__version__
PLUGINS = {
    name for name, each in PROJECTS.items() if "flext_plugins" in each.get("entry-points", {})
}
OF_THEIR_OWN = {"flext-plugins-ldap", "flext-plugins-meltano", "flext-plugins-oracle"}
"""Not for HTTP alone: they need a directory, pipelines, a database."""
READ = sorted(
    {
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*.*"),
        *ROOT.glob("examples/pipeline/[!.]*.*"),
        *ROOT.glob("flext_plugins/**/*.py"),
        *ROOT.glob("contrib/*/README.md"),
        *ROOT.glob("contrib/*/flext_plugins_*/**/*.py"),
        *ROOT.glob("contrib/*/flext_plugins_*/*.toml"),
    }
)
"""What tells a reader to install something."""
BY_NAME = re.compile(r"\b(?:install|add)(?= )[^\n`&;]*[\s'\"]flext[-_.]plugins(?![\w.\[\],-]* @ )")
COMMAND = re.compile(r"\bpip install [^\n`&]*")
WHEEL = re.compile(
    r"dist/(?P<name>\w+)-(?P<version>[\d.]+)-py3-none-any\.whl(?:\[(?P<extras>[\w,-]+)\])?"
)


def every_distribution(test):
    return pytest.mark.parametrize("name", PROJECTS)(test)


def required(name, extras):
    """Which of ours a distribution requires, with these extras, and with which of theirs."""
    project = PROJECTS[name]
    optional = [each for extra in extras for each in project["optional-dependencies"][extra]]
    for each in map(Requirement, [*project["dependencies"], *optional]):
        if each.name in PROJECTS:
            yield each.name, each.extras


def lacking(command):
    """Which of ours pip would look for by name, since no file of theirs is in the command."""
    files = {
        canonicalize_name(each["name"]): {*(each["extras"] or "").split(",")} - {""}
        for each in map(WHEEL.fullmatch, shlex.split(command))
        if each
    }
    left = [pair for pair in files.items() if pair[0] in PROJECTS]
    seen = []
    while left:
        pair = left.pop()
        if pair not in seen:
            seen.append(pair)
            left += required(*pair)
    return {name for name, _ in seen} - files.keys()


def commands():
    for path in READ:
        for each in COMMAND.findall(path.read_text(encoding="utf-8").replace("\\\n", " ")):
            if "flext_plugins" in each:
                yield pytest.param(each, id=f"{path.relative_to(ROOT)}: {each[:60]}")


@every_distribution
def test_an_index_has_all_to_show(name):
    project = PROJECTS[name]
    assert 40 < len(project["description"]) < 160
    assert project["readme"] == "README.md"
    assert project["license"] == "MIT"
    assert project["license-files"] == ["LICENSE"]
    assert project["authors"] == [{"name": "The flext-plugins authors"}]
    assert len(project["keywords"]) > 3
    assert {
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Typing :: Typed",
    } < {*project["classifiers"]}
    assert any(each.startswith("Topic :: ") for each in project["classifiers"])
    assert project["classifiers"] == sorted(project["classifiers"])
    assert {*project["classifiers"]} <= classifiers


@every_distribution
def test_what_is_said_to_be_typed_is_typed(name):
    assert (FOLDERS[name] / name.replace("-", "_") / "py.typed").exists()


@every_distribution
def test_each_has_the_licence_beside_it(name):
    """A copy: what is built from a folder alone, or from its sdist, cannot reach above it."""
    assert (FOLDERS[name] / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@every_distribution
def test_versions_move_together(name):
    if name == HOST:
        assert PROJECTS[name]["dynamic"] == ["version"]
    else:
        assert PROJECTS[name]["version"] == VERSION


@every_distribution
def test_what_requires_one_of_ours_takes_all_of_its_major_version(name):
    major = int(VERSION.partition(".")[0])
    project = PROJECTS[name]
    optional = project.get("optional-dependencies", {}).values()
    texts = [*project["dependencies"], *(each for extra in optional for each in extra)]
    ours = [each for each in map(Requirement, texts) if each.name in PROJECTS]
    assert {str(each.specifier) for each in ours} == {f"<{major + 1},>={major}"}


def test_the_change_log_begins_with_this_version():
    heading = re.search(r"^## (\S+) \(.+\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading
    assert heading[1] == VERSION


@every_distribution
def test_each_has_an_extra_of_the_host_that_is_named_as_it_is(name):
    if name != HOST:
        assert [Requirement(each).name for each in EXTRAS[name.removeprefix(f"{HOST}-")]] == [name]


def test_further_extras_name_all_plugins_and_all_for_http():
    named = {extra: [Requirement(each).name for each in EXTRAS[extra]] for extra in EXTRAS}
    assert named["all"] == sorted(PLUGINS)
    assert named["standard"] == sorted(PLUGINS - OF_THEIR_OWN)
    assert {*named} == {name.removeprefix(f"{HOST}-") for name in PROJECTS if name != HOST} | {
        *("all", "standard", "aiohttp", "cli", "httpx2", "new", "requests", "testing")
    }


def test_nothing_says_to_install_one_of_ours_by_name():
    """The names are nobody's yet: whoever registers one would be installed."""
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in READ}
    assert len(texts) > 150
    names = {path: BY_NAME.search(text.replace("\\\n", " ")) for path, text in texts.items()}
    assert {path: each[0] for path, each in names.items() if each} == {}


@pytest.mark.parametrize(
    "text",
    [
        "pip install flext-plugins",
        "pip install 'flext-plugins[cli]' flext-plugins-auth",
        '$ python -m pip install -q httpx "flext-plugins[cli]"',
        "uv pip install flext_plugins_auth==1.0.0",
        "uv add flext-plugins",
        "pip install dist/flext_plugins-1.0.0-py3-none-any.whl flext-plugins-auth",
        "pip install 'flext-plugins @ git+https://git.example/a' flext-plugins-auth",
    ],
)
def test_a_name_is_seen_however_it_is_said(text):
    assert BY_NAME.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "pip install 'dist/flext_plugins-1.0.0-py3-none-any.whl[cli]' httpx",
        "pip install dist/flext_plugins_auth-1.0.0-py3-none-any.whl",
        "pip install 'flext-plugins[cli] @ git+https://git.example/flext-plugins'",
        "pip install dist/flext_plugins-1.0.0-py3-none-any.whl && flext-plugins check",
        "install it, then `flext-plugins list`",
    ],
)
def test_a_file_and_an_address_are_not_taken_for_a_name(text):
    assert not BY_NAME.search(text)


@pytest.mark.parametrize("command", [*commands()])
def test_a_command_has_a_file_for_all_of_ours_that_it_brings(command):
    assert lacking(command) == set()
    for each in filter(None, map(WHEEL.fullmatch, shlex.split(command))):
        if canonicalize_name(each["name"]) in PROJECTS:
            assert each["version"] == VERSION


@pytest.mark.parametrize(
    ("files", "left_out"),
    [
        ({"flext_plugins": ""}, set()),
        ({"flext_plugins": "cli,requests"}, set()),
        ({"flext_plugins": "auth"}, {"flext-plugins-auth"}),
        ({"flext_plugins": "all", "flext_plugins_auth": ""}, PLUGINS - {"flext-plugins-auth"}),
        ({"flext_plugins_auth": ""}, {"flext-plugins"}),
        ({"flext_plugins": "devstack", "flext_plugins_devstack": ""}, set()),
        (
            {"flext_plugins": "", "flext_plugins_devstack": "demo"},
            PLUGINS - {"flext-plugins-meltano"},
        ),
    ],
)
def test_what_a_command_leaves_out_is_seen(files, left_out):
    words = [
        f"dist/{name}-{VERSION}-py3-none-any.whl" + (f"[{extras}]" if extras else "")
        for name, extras in files.items()
    ]
    assert lacking(shlex.join(["pip", "install", *words])) == left_out


def test_the_git_addresses_in_the_readme_lead_to_every_distribution():
    lines = re.findall(
        r"^(flext-plugins\S*) @ git\+https://git\.example/flext-plugins(?:#subdirectory=(\S+))?$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert {Requirement(name).name: ROOT / folder for name, folder in lines} == FOLDERS


def test_the_page_on_platforms_names_the_versions_of_python_that_are_tested():
    page = (ROOT / "docs/reference/platforms.md").read_text(encoding="utf-8")
    prefix = "Programming Language :: Python :: "
    tested = [each.removeprefix(prefix) for each in PROJECTS[HOST]["classifiers"] if prefix in each]
    assert re.findall(r"\b3\.\d+", page.partition("\n\n")[2].partition("|\n\n")[0]) == tested
