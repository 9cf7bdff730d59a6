"""At its end a test run says what took long: seconds of each distribution, and the slowest tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SLOW = "import time\n\ndef test_slow():\n    time.sleep({seconds})\n"


@pytest.fixture
def project(tmp_path):
    """A project with tests as ours has them: the core's take a tenth of a second, those of auth three."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder, seconds in {"tests": 0.1, "contrib/auth/tests": 0.3}.items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "test_one.py").write_text(SLOW.format(seconds=seconds))
        (tmp_path / folder / "test_two.py").write_text("def test_quick():\n    pass\n")
    return tmp_path


def test_a_run_ends_with_its_slowest_tests_and_the_seconds_of_each_distribution(project):
    """Those of all its processes."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-n", "2"],
        cwd=project,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    _, _, end = run.stdout.partition("slowest 30 durations")
    slowest, _, sums = end.partition("seconds of tests, by distribution")
    assert "contrib/auth/tests/test_one.py::test_slow" in slowest
    assert "tests/test_one.py::test_slow" in slowest
    assert "test_quick" not in slowest
    spent = {name: float(took[:-1]) for took, name in map(str.split, sums.splitlines()[1:3])}
    assert list(spent) == ["flext-plugins-auth", "flext-plugins"]
    assert spent["flext-plugins-auth"] >= 0.3
    assert spent["flext-plugins"] >= 0.1
