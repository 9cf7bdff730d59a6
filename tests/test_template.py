"""The template of a plugin: what it refuses, and that what it makes works from birth."""

import ast
import builtins
import io
import json
import re
import sys
import tokenize
import tomllib

import pytest
import yaml
from baking import NAMES, QUICK, SCRIPTS, TEMPLATE, bake, files, package, run
from baking import nothing_of_this_machine as _nothing_of_this_machine  # noqa: F401
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter
from packaging.requirements import Requirement

from flext_plugins._discovery import RESERVED

pytestmark = pytest.mark.once

ANSWERS = json.loads((TEMPLATE / "cookiecutter.json").read_text())
MADE = {
    *(".github/workflows/ci.yml", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md"),
    *("conftest.py", "constraints-lowest.txt", "flext.toml", "pyproject.toml", "try.py"),
    *("tests/test_conformance.py", "tests/test_plugin.py", "tests/test_readme.py"),
    *("src/PACKAGE/__init__.py", "src/PACKAGE/plugin.py", "src/PACKAGE/settings.py"),
    "src/PACKAGE/py.typed",
}
"""What every kind has."""


@pytest.fixture(scope="module")
def baked(tmp_path_factory):
    """A plugin of each kind."""
    output = tmp_path_factory.mktemp("baked")
    return {kind: bake(output, kind=kind) for kind in NAMES}


# What is refused


@pytest.mark.parametrize(
    ("answers", "reasons"),
    [
        ({"name": "Tenant"}, ["the name 'Tenant' has to be lower-case letters and digits, words"]),
        ({"name": "rate_limit", "author": 'Ana "A"'}, ["the name 'rate_limit'", "the author has"]),
        ({"name": "2fa", "prefix": "Acme"}, ["the name '2fa'", "the prefix 'Acme' has to be"]),
        ({"name": "../tenant", "author": "Ana\nB"}, ["the name '../tenant'", "to be one line"]),
        ({"name": "", "prefix": "/tmp/acme"}, ["the name '' has", "the prefix '/tmp/acme' has"]),
        (
            {"name": "a-name-that-is-far-too-long", "description": "x" * 89, "author": "y" * 61},
            ["has 27 characters", "has 89 characters, and 88 at most", "has 61 characters"],
        ),
        (
            {"name": "response", "prefix": "acme-flext-of-the-very-long-name", "description": " "},
            ["longer than 40 characters", "makes the class Response", "the description is empty"],
        ),
        (
            {"name": "exception", "prefix": "flext-plugins", "description": "a\\b"},
            ["flext-plugins-exception: flext-plugins-* is ours", "class Exception", "one line"],
        ),
        ({"name": "plugins-tenant", "prefix": "flext"}, ["flext-plugins-* is ours"]),
        ({"name": "oracle"}, ["the name 'oracle' belongs to flext-plugins-oracle"]),
        ({"name": "none"}, ["the name 'none' makes the class None"]),
        ({"name": "test"}, ["the name 'test' makes the class Test, which pytest would take"]),
        ({"name": "test-thing"}, ["makes the class TestThing, which pytest would take for tests"]),
        ({"name": "core", "prefix": "pydantic"}, ["pydantic-core is installed already"]),
    ],
    ids=lambda value: value.get("name") or "nothing" if isinstance(value, dict) else "",
)
def test_what_would_be_no_plugin_is_refused_with_the_reason(answers, reasons, tmp_path, capfd):
    with pytest.raises(FailedHookException):
        bake(tmp_path / "made", **{"name": "tenant", **answers})
    said = capfd.readouterr().err.splitlines()
    for reason in reasons:
        assert any(reason in line for line in said), said
    assert len(
        [line for line in said if line.startswith(("the ", "a ", "acme", "flext", "pydantic"))]
    ) == len(reasons)
    assert files(tmp_path / "made") == {}


def test_the_name_of_an_installed_plugin_is_refused(flext_distribution, tmp_path, capfd):
    flext_distribution("other-tenant", plugins={"Te_nant": "other_tenant:Tenant"}, module="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "flext-site"))
        with pytest.raises(FailedHookException):
            bake(tmp_path / "made", name="te-nant")
        (tmp_path / "acme_flext_tenant").mkdir()
        (tmp_path / "acme_flext_tenant/__init__.py").touch()
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(FailedHookException):
            bake(tmp_path / "made", name="tenant")
    reasons = capfd.readouterr().err
    assert "other-tenant, which is installed, has a plugin 'te-nant'" in reasons
    assert "a package acme_flext_tenant is installed already" in reasons


def test_the_reserved_names_are_those_of_the_host():
    assert ANSWERS["_reserved"] == sorted(RESERVED)


def test_no_name_makes_a_class_that_the_code_uses_for_something_else(baked):
    used = set()
    for kind, folder in baked.items():
        own = "".join(map(str.capitalize, NAMES[kind].split("-")))
        for path in folder.rglob("*.py"):
            for each in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
                if each.type == tokenize.NAME and re.fullmatch(r"[A-Z][A-Za-z0-9]*", each.string):
                    used.add(each.string)
        used -= {own, f"{own}Settings", f"Test{own}"}
    # Of several words in capitals a name is made by no plugin's name.
    made = {each for each in used if not each.isupper() or len(each) == 1}
    assert made - set(vars(builtins)) <= set(ANSWERS["_used"])


# What is made


@pytest.mark.parametrize("kind", NAMES)
def test_only_what_was_chosen_is_in_it(kind, baked):
    more = {"src/PACKAGE/entries.py"} if kind == "resource" else set()
    made = files(baked[kind])
    name = package(baked[kind]).name
    assert {each.replace(name, "PACKAGE") for each in made} == MADE | more
    for path, content in made.items():
        text = content.decode()
        assert not re.search(
            r"cookiecutter|\{%|%\}|(?<!\$)\{\{|[ \t]$|^\s*\n|\n{4}|\n\n\Z", text
        ), path
        assert text.endswith("\n") or path.endswith("py.typed")
    everything = b"".join(made.values()).decode()
    for other in NAMES.values():
        assert (other in everything) == (other == NAMES[kind]) or other in {"store", "pause"}


@pytest.mark.parametrize(
    "answers",
    [
        {"name": "a", "prefix": "b", "author": "Zoë O'Neil", "description": "it's <b> & é."},
        {
            "name": "paused-x1-entries-slow-a",
            "prefix": "acme-of-flext-x",
            "author": "W" * 60,
            "description": "{{ " + "w" * 82 + " }}",
        },
    ],
    ids=["short", "long"],
)
def test_whatever_the_answers_it_is_formatted_and_linted(answers, tmp_path):
    """In the order of imports, and in the length of lines, names make a difference."""
    safe = {key: f"{{% raw %}}{value}{{% endraw %}}" for key, value in answers.items()}
    for kind in NAMES:
        folder = bake(tmp_path / kind, kind=kind, **safe)
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert project["authors"] == [{"name": answers.get("author", "Ana")}]
        said = answers["description"].removesuffix(".")
        assert project["description"] == said[0].upper() + said[1:]
        assert f"{project['description']}." in (folder / "README.md").read_text()
    for command in (("check", "-q", "--no-cache"), ("format", "--check", "-q", "--no-cache")):
        run(SCRIPTS / "ruff", *command, ".", cwd=tmp_path)


@pytest.mark.parametrize("kind", NAMES)
def test_the_distribution_says_what_it_is(kind, baked):
    project = tomllib.loads((baked[kind] / "pyproject.toml").read_text())["project"]
    name = NAMES[kind]
    assert project["name"] == f"acme-flext-{name}"
    assert [*project["entry-points"]["flext_plugins"]] == [name]
    (ours,) = [each for each in project["dependencies"] if each.startswith("flext-plugins")]
    assert ours == "flext-plugins>=1,<2"
    lowest = (baked[kind] / "constraints-lowest.txt").read_text().splitlines()
    for pin, each in zip(map(Requirement, lowest), project["dependencies"], strict=True):
        assert pin.name == Requirement(each).name
        assert Requirement(each).specifier.contains(next(iter(pin.specifier)).version)
    assert "Copyright (c) 20" in (baked[kind] / "LICENSE").read_text()


@pytest.mark.parametrize("kind", NAMES)
def test_the_table_of_settings_is_that_of_the_model(kind, baked):
    source = ast.parse((package(baked[kind]) / "settings.py").read_text())
    (model,) = [each for each in source.body if isinstance(each, ast.ClassDef)]
    fields = [each.target.id for each in model.body if isinstance(each, ast.AnnAssign)]
    readme = (baked[kind] / "README.md").read_text()
    table = re.search(r"^\| setting .*?\n\n", readme, re.MULTILINE | re.DOTALL)
    assert re.findall(r"^\| `(\w+)`", table[0], re.MULTILINE) == fields


def test_its_ci_runs_targets_that_there_are_and_a_leg_with_the_lowest_versions(baked):
    folder = baked["message"]
    job = yaml.safe_load((folder / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    commands = [each["run"] for each in job["strategy"]["matrix"]["include"]]
    targets = re.findall(r"^([\w-]+):", (folder / "Makefile").read_text(), re.MULTILINE)
    assert {each.removeprefix("make ") for each in commands} <= set(targets)
    assert {"make test", "make test-lowest", "make lint", "make try", "make wheel"} == {*commands}
    assert job["steps"][-1]["run"] == "${{ matrix.run }}"


def test_its_own_tests_pass_from_birth(baked):
    folder = baked["message"]
    python = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    said = run(
        *python, "tests/test_plugin.py", cwd=folder, PYTHONPATH=package(folder).parent, **QUICK
    )
    assert re.search(r"^35 passed", said, re.MULTILINE), said


def test_who_git_says_you_are_is_the_author(tmp_path):
    (tmp_path / "gitconfig").write_text("[user]\nname = Bea B\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
        cookiecutter(str(TEMPLATE), no_input=True, output_dir=str(tmp_path / "made"))
    assert "Bea B" in (tmp_path / "made/bea-flext-signature/LICENSE").read_text()
