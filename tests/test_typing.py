"""What type checkers say of `tests/typing/`: nothing of one file, what is marked in the other."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

HERE = Path(__file__).parent / "typing"


def mypy(file):
    command = ["mypy", "--strict", "--python-version", "3.11", "--config-file", "", "--no-pretty"]
    ran = run(*command, "--no-error-summary", "--output", "json", str(file))
    found = [json.loads(line) for line in ran.splitlines()]
    return {each["line"]: each["message"] for each in found if each["severity"] == "error"}


def pyright(file):
    settings = HERE / "pyrightconfig.json"
    python = ("--pythonpath", sys.executable)
    ran = json.loads(run("pyright", "--project", str(settings), *python, "--outputjson"))
    assert ran["summary"]["filesAnalyzed"] == 2
    return {
        each["range"]["start"]["line"] + 1: each["message"]
        for each in ran["generalDiagnostics"]
        if Path(each["file"]) == file and each["severity"] == "error"
    }


@cache
def run(module, *arguments):
    ran = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=HERE.parents[1],
    )
    assert ran.returncode in {0, 1}, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_type_checker_finds_what_is_wrong_and_nothing_else(checker):
    assert checker(HERE / "passes.py") == {}
    wrong = HERE / "fails.py"
    lines = enumerate(wrong.read_text(encoding="utf-8").splitlines(), 1)
    marked = {number: line.strip() for number, line in lines if line.endswith("  # error")}
    found = checker(wrong)
    assert {marked[each] for each in marked.keys() - found.keys()} == set()
    assert {each: found[each] for each in found.keys() - marked.keys()} == {}
    assert len(marked) > 20
