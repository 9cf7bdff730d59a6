"""The contract's page and the tests agree: each rule has a test, and each test names a rule."""

import re

import pytest
from contract import PAGE, ROOT, marked_tests, rules

pytestmark = pytest.mark.once


@pytest.mark.parametrize("rule", rules())
def test_a_rule_has_a_test(rule):
    assert marked_tests().get(rule)


@pytest.mark.parametrize("rule", sorted(marked_tests()))
def test_a_test_refers_to_a_rule_of_the_page(rule):
    assert rule in rules()


def test_every_mark_in_the_tests_is_read():
    """One on a class, on a module or spelt in another way would not be."""
    marks = sum(
        len(re.findall(r"mark\.contract\(", path.read_text(encoding="utf-8")))
        for path in (ROOT / "tests").glob("test_*.py")
        if path.name != "test_contract.py"
    )
    marked = {test for tests in marked_tests().values() for test in tests}
    assert marks == len(marked)


def test_rules_have_readable_names_of_their_own():
    assert len(rules()) == len(set(rules()))
    assert [each for each in rules() if not re.fullmatch(r"[a-z]+(-[a-z]+)+", each)] == []


def test_links_to_rules_and_to_headings_of_the_page_resolve():
    page = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    slugs = {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}
    contents = re.findall(r"\]\(#([^)]+)\)", page)
    assert contents == [*dict.fromkeys(contents)]
    assert {*contents} == slugs
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("contrib/*/README.md")]
    linked = [
        each
        for path in pages
        for each in re.findall(r"\(\S*contract\.md#([^)]+)\)", path.read_text(encoding="utf-8"))
    ]
    assert [each for each in linked if each not in {*rules(), *slugs}] == []
