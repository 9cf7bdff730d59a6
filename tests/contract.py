"""The rules of the contract's page, and the tests that show them; the plugins' tests."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/contract.md"
MARK = "pytest.mark.contract"
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
ANCHOR = re.compile(r'<a id="([^"]*)"></a>')


def rules() -> list[str]:
    """The page's anchors, in its order."""
    return ANCHOR.findall(PAGE.read_text(encoding="utf-8"))


@cache
def marked_tests() -> dict[str, list[str]]:
    """The tests that are marked with each rule, as pytest selects them."""
    marked: dict[str, list[str]] = {}
    for test, function in _tests(ROOT / "tests"):
        for mark in function.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == MARK:
                for rule in mark.args:
                    marked.setdefault(ast.literal_eval(rule), []).append(test)
    return marked


@cache
def plugins_tests() -> dict[str, list[str]]:
    """The tests of each distribution in `contrib`, as pytest selects them."""
    return {
        folder.parent.name: [test for test, _ in _tests(folder)]
        for folder in sorted(ROOT.glob("contrib/*/tests"))
    }


def _tests(folder: Path) -> Iterator[tuple[str, Function]]:
    for path in sorted(folder.glob("test_*.py")):
        for function in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(function, Function) and function.name.startswith("test_"):
                yield f"{path.relative_to(ROOT).as_posix()}::{function.name}", function
