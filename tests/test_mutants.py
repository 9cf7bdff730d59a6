"""Each mutant still finds its place, and its tests: what is stale is told before anything is run."""

import pytest
from contract import plugins_tests, rules
from mutants.mutant import Mutant, Unresolved, broken, chosen_tests
from mutants.table import MUTANTS

pytestmark = pytest.mark.once

SOURCE = '''
class Gate:
    """Admits so many."""

    @property
    def free(self):
        return self.slots > 0 and not self.closed  # both

    async def enter(self):
        async with self.lock:
            if self.closed:
                raise Refused('closed')
            if self.full:
                raise Refused('full')
            await self.wait(self.slots,
                            "a free slot")
'''


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_breaks_one_place_and_names_tests_of_a_rule_or_a_plugin(mutant):
    assert mutant.rule in (*rules(), *plugins_tests())
    assert chosen_tests(mutant)
    assert broken(mutant)


def mutated(tmp_path, place, old, new):
    (tmp_path / "gate.py").write_text(SOURCE)
    return broken(Mutant("rule", place, old, new), tmp_path)


@pytest.mark.parametrize(
    ("place", "old", "new", "line"),
    [
        ("gate.py::Gate.free", "not self.closed", "True", "return self.slots > 0 and (True)"),
        ("gate.py::enter", "self.wait(self.slots, 'a free slot')", "now", "await now"),
        ("gate.py", "async with self.lock:", "async with other:", "async with other:"),
        (
            "gate.py::Gate.enter",
            "if self.full:\n    raise Refused(\n        'full')",
            "pass",
            "pass\n            await self.wait",
        ),
        ("gate.py::Gate", "if self.full:", "if self.full: pass", "pass\n                raise"),
    ],
    ids=["expression", "laid out otherwise", "head, whole file", "statements", "at a block's head"],
)
def test_a_snippet_is_found_however_it_is_laid_out(tmp_path, place, old, new, line):
    text = mutated(tmp_path, place, old, new)
    assert line in text
    assert "@property\n    def free(self):" in text


@pytest.mark.parametrize(
    ("place", "old", "new", "expected"),
    [
        ("gat.py", "self.full", "x", "no such file"),
        ("gate.py::Gate.leave", "self.full", "x", "leave is defined 0 times"),
        ("gate.py::free", "self.full", "x", "occurs 0 times"),
        ("gate.py::Gate", "self.closed", "x", "occurs 2 times"),
        ("gate.py::free", "slot", "x", "occurs 0 times"),
        ("gate.py::Gate", "if self.", "x", "neither statements"),
        ("gate.py::Gate", "if self.full:", "self.full", "it is no Python"),
        ("gate.py::Gate", "self.full", "(self.full)", "nothing would change"),
    ],
)
def test_one_that_is_not_there_once_says_so(tmp_path, place, old, new, expected):
    with pytest.raises(Unresolved, match=expected) as caught:
        mutated(tmp_path, place, old, new)
    assert str(caught.value).startswith(f"rule: {place}: ")


def test_tests_that_the_rule_does_not_have_are_told():
    with pytest.raises(Unresolved, match="no test of this rule matches 'nonesuch'"):
        chosen_tests(MUTANTS[0]._replace(tests="nonesuch"))
