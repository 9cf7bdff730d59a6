"""Each promise on the page about security has a test, and one in the contract is tested as such."""

import ast
import re
from functools import cache

import pytest
from contract import ROOT, marked_tests, rules

pytestmark = pytest.mark.once

PAGE = ROOT / "docs/explanation/security.md"


def promises():
    """The points of the part that promises, by their first words."""
    page = PAGE.read_text(encoding="utf-8")
    part = page.partition("## What is promised")[2].partition("## What is not promised")[0]
    points = re.split(r"^- ", re.sub(r"^#.*", "", part, flags=re.MULTILINE), flags=re.MULTILINE)
    return {re.sub(r"\W+", " ", each)[:60].strip(): each for each in points[1:]}


def named_tests(promise):
    return re.findall(r"`([\w/-]+\.py)::(\w+)`", promise)


def named_rules(promise):
    return re.findall(r"\[([a-z-]+)\]\(\.\./reference/contract\.md#\1\)", promise)


@cache
def functions(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {
        each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("promise", promises().values(), ids=promises())
def test_a_promise_names_tests_that_there_are(promise):
    tests = named_tests(promise)
    assert tests
    assert [each for each in tests if not each[1].startswith("test_")] == []
    assert [each for each in tests if each[1] not in functions(each[0])] == []


@pytest.mark.parametrize("promise", promises().values(), ids=promises())
def test_a_promise_that_refers_to_the_contract_names_a_test_of_that_rule(promise):
    assert len(named_rules(promise)) == promise.count("contract.md#")
    tests = {f"{file}::{name}" for file, name in named_tests(promise)}
    for rule in named_rules(promise):
        assert rule in rules()
        assert tests & {*marked_tests()[rule]}, rule


def test_the_page_and_how_to_report_lead_to_each_other():
    assert "../../SECURITY.md" in PAGE.read_text(encoding="utf-8")
    report = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "docs/explanation/security.md" in report
    assert "not in a public issue" in report
