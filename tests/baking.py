"""The template of a plugin, filled in without a trace of this machine or on it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "cookiecutter-plugin"
NAMES = {"message": "signature", "guard": "pause", "observer": "slow-calls", "resource": "store"}
"""The plugins by kind, as the template names them."""
ACME = {"author": "Ana", "prefix": "acme-flext"}
SCRIPTS = Path(sys.executable).parent
QUICK = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PIP_NO_COMPILE": "1"}
"""Without the plugins of pytest that only we have, and without compiling what runs once."""


@pytest.fixture(scope="module", autouse=True)
def nothing_of_this_machine(tmp_path_factory):
    """Neither its settings of cookiecutter and git, nor what they would leave behind."""
    home = tmp_path_factory.mktemp("home")
    temporary = tmp_path_factory.mktemp("temporary")
    settings = home / "cookiecutter.yaml"
    settings.write_text(f"replay_dir: {home}/replay\ncookiecutters_dir: {home}/cookiecutters\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("COOKIECUTTER_CONFIG", str(settings))
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", None)
        yield


def run(*command, cwd, expect=0, **variables):
    done = subprocess.run(
        [str(each) for each in command],
        check=False,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def bake(output, **answers):
    """The folder of a plugin that the template makes."""
    given = {**ACME, **answers}
    return Path(
        cookiecutter(str(TEMPLATE), no_input=True, extra_context=given, output_dir=str(output))
    )


def files(folder):
    """Its files by name, with what is in them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def package(folder):
    """The folder of its package."""
    (source,) = (folder / "src").iterdir()
    return source
