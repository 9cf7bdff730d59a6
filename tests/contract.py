"""The rules of the contract's page, and the tests that show them."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/contract.md"
MARK = "pytest.mark.contract"
ANCHOR = re.compile(r'<a id="([^"]*)"></a>')


def rules() -> list[str]:
    """The page's anchors, in its order."""
    return ANCHOR.findall(PAGE.read_text(encoding="utf-8"))


@cache
def marked_tests() -> dict[str, list[str]]:
    """The tests that are marked with each rule, as pytest selects them."""
    marked: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for function in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for mark in function.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == MARK:
                        for rule in mark.args:
                            test = f"tests/{path.name}::{function.name}"
                            marked.setdefault(ast.literal_eval(rule), []).append(test)
    return marked
