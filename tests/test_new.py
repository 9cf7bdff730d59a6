"""The command `flext-plugins new`."""

import json
import shutil
import subprocess
import sys
import tomllib

import pytest
from baking import ACME, ROOT, SCRIPTS, TEMPLATE, files, run
from baking import nothing_of_this_machine as _nothing_of_this_machine  # noqa: F401

PROMPTS = json.loads((TEMPLATE / "cookiecutter.json").read_text())["__prompts__"]["kind"]


@pytest.fixture
def repository(tmp_path):
    """A git repository with the template in its folder."""
    made = tmp_path / "repository"
    shutil.copytree(TEMPLATE, made / TEMPLATE.name, ignore=shutil.ignore_patterns("__pycache__"))
    author = ("-c", "user.name=Ana", "-c", "user.email=ana@example.org")
    for command in (("init", "-q"), ("add", "."), (*author, "commit", "-q", "-m", "Begin")):
        run("git", *command, cwd=made)
    return made


def test_the_command_makes_the_same_byte_for_byte(repository, tmp_path):
    answers = [f"{key}={value}" for key, value in {"kind": "guard", "name": "calm", **ACME}.items()]
    cut = (SCRIPTS / "cookiecutter", "--no-input", "--directory", TEMPLATE.name)
    run(*cut, ROOT, *answers, "-o", tmp_path / "path", cwd=tmp_path)
    run(*cut, f"git+file://{repository}", *answers, "-o", tmp_path / "git", cwd=tmp_path)
    new = (SCRIPTS / "flext-plugins", "new", "calm", "--kind", "guard", "--output", "new")
    by = ("--author", "Ana", "--prefix", "acme-flext")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    said = run(*new, *by, cwd=tmp_path, TMPDIR=temporary)
    assert said.startswith("made new/acme-flext-calm; go there, then: make test try wheel FLEXT_D")
    made = files(tmp_path / "new")
    assert "acme-flext-calm/pyproject.toml" in made
    assert made == files(tmp_path / "path") == files(tmp_path / "git")
    said = run(*new, *by, cwd=tmp_path, expect=1, TMPDIR=temporary)
    assert said == '"new/acme-flext-calm" directory already exists\n'
    assert [*temporary.iterdir()] == []


def test_without_a_name_the_command_asks_with_defaults_that_fit(tmp_path):
    typed = "2\n\nHolds back\nZoë Ž\n\n"
    command = [str(SCRIPTS / "flext-plugins"), "new", "-o", "made"]
    done = subprocess.run(
        command, input=typed, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for kind, what in PROMPTS.items():
        assert kind == "__prompt__" or (what.startswith(f"{kind}: ") and what in done.stdout)
    project = tomllib.loads((tmp_path / "made/zoe-flext-pause/pyproject.toml").read_text())
    assert project["project"]["description"] == "Holds back"
    assert project["project"]["authors"] == [{"name": "Zoë Ž"}]


def test_what_the_command_refuses_is_told_without_a_traceback(tmp_path):
    said = run(SCRIPTS / "flext-plugins", "new", "auth", cwd=tmp_path, expect=1)
    assert said == "the name 'auth' belongs to flext-plugins-auth\n"
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ("--description", "Costs {{ 7 * 7 }} euros"),
            "description: {{, {% and {# mean something in a template\n",
        ),
        (("--output", "file/below"), "file/below"),
    ],
)
def test_what_cannot_be_written_is_told_in_a_line(options, told, tmp_path):
    (tmp_path / "file").touch()
    new = (SCRIPTS / "flext-plugins", "new", "calm", "--author", "Ana", "--prefix", "acme")
    said = run(*new, *options, cwd=tmp_path, expect=1)
    assert told in said
    assert said.count("\n") == 1


def test_without_its_extra_one_line_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['cookiecutter'] = None; sys.argv = ['flext-plugins', 'new', 'a']\n"
        "from flext_plugins.cli import main; main()"
    )
    said = run(sys.executable, "-c", code, cwd=tmp_path, expect=1)
    assert said == "flext-plugins new needs the extra `new` of flext-plugins\n"
