"""A mutant: one place of the library, broken.

The place is a file and the qualified name of a function or class in it. The snippet is looked for
in that place alone, in its text as `ast.unparse` writes it: white space, line breaks, quotes,
comments and indentation do not matter, nor does an edit anywhere else.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

from contract import ROOT, marked_tests, plugins_tests

CORE = ROOT / "flext_plugins"
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Unresolved(Exception):
    """The table names something that is not there, or not there once."""


class Mutant(NamedTuple):
    """One place, broken."""

    rule: str
    """The anchor of the contract's rule that no longer holds, or the plugin that is broken."""
    place: str
    """`_clients/hop.py::edge`, `_chain/layer.py::Layer.method`; a file alone for its top level. A
    plugin's begins `contrib/`."""
    old: str
    """Statements, an expression, or the head of a block; it occurs once in the place."""
    new: str
    """What stands there instead; `pass` in place of statements that are to be left out."""
    tests: str = ""
    """A regular expression; of the rule's tests, or the plugin's, those whose name it finds have to
    notice."""

    def __str__(self) -> str:
        return f"{self.rule}: {self.place}: {' '.join(self.old.split())}"


def chosen_tests(mutant: Mutant) -> list[str]:
    """The tests that have to notice, as pytest selects them.

    Raises:
        Unresolved: no test of the rule has such a name.
    """
    tests = marked_tests() | plugins_tests()
    marked = tests.get(mutant.rule, [])
    chosen = [each for each in marked if re.search(mutant.tests, each.partition("::")[2])]
    if not chosen:
        raise Unresolved(f"{mutant}: no test of this rule matches {mutant.tests!r}")
    return chosen


def file_of(mutant: Mutant) -> Path:
    """The file of the place, from the package `flext_plugins`."""
    name = mutant.place.partition("::")[0]
    return Path("..", name) if name.startswith("contrib/") else Path(name)


def broken(mutant: Mutant, core: Path = CORE) -> str:
    """The text of the mutant's file, broken.

    Raises:
        Unresolved: the place or the snippet is not there, or not there once.
    """
    path, qualified = core / file_of(mutant), mutant.place.partition("::")[2]
    if not path.is_file():
        raise Unresolved(f"{mutant}: there is no such file")
    source = path.read_text(encoding="utf-8")
    node = _definition(ast.parse(source), qualified, mutant)
    text = _replaced(ast.unparse(node), mutant)
    if isinstance(node, DEFINITIONS):
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        indented = textwrap.indent(text, " " * node.col_offset)
        lines = source.split("\n")
        lines[first - 1 : node.end_lineno] = [indented]
        text = "\n".join(lines)
    try:
        compile(text, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise Unresolved(f"{mutant}: broken, it is no Python: {error}") from None
    return text


def _definition(module: ast.Module, qualified: str, mutant: Mutant) -> ast.AST:
    """The definition of that name: each part of it is defined anywhere in the part before."""
    node: ast.AST = module
    for name in qualified.split(".") if qualified else ():
        found = [
            each
            for each in ast.walk(node)
            if isinstance(each, DEFINITIONS) and each.name == name and each is not node
        ]
        if len(found) != 1:
            raise Unresolved(f"{mutant}: {name} is defined {len(found)} times, expected once")
        (node,) = found
    return node


def _replaced(text: str, mutant: Mutant) -> str:
    """`text` with the snippet replaced: part of a line, or several whole lines."""
    old, new = _lines(mutant.old, mutant), _lines(mutant.new, mutant)
    if old == new:
        raise Unresolved(f"{mutant}: nothing would change")
    lines = text.split("\n")
    within = re.compile(rf"(?<!\w){re.escape(old[0])}(?!\w)")
    found = []
    for number, line in enumerate(lines):
        block = textwrap.dedent("\n".join(lines[number : number + len(old)]))
        if len(old) == 1:
            found += [(number, *each.span()) for each in within.finditer(line)]
        elif block.split("\n") == old:
            found.append((number, len(line) - len(line.lstrip()), len(line)))
    if len(found) != 1:
        raise Unresolved(f"{mutant}: occurs {len(found)} times in this place, expected once")
    ((number, start, end),) = found
    line = lines[number]
    indentation = " " * (len(line) - len(line.lstrip()))
    after = f"\n{indentation}".join(new)
    lines[number : number + len(old)] = [line[:start] + after + line[end:]]
    return "\n".join(lines)


def _lines(snippet: str, mutant: Mutant) -> list[str]:
    """A snippet as `ast.unparse` writes it; the head of a block is one that lacks its body."""
    code = textwrap.dedent(snippet).strip("\n")
    for head, body in ((code, 0), (f"{code} ...", 1)):
        try:
            lines = ast.unparse(ast.parse(head)).split("\n")
        except SyntaxError:
            continue
        return lines[: len(lines) - body]
    raise Unresolved(f"{mutant}: neither statements, an expression nor a block's head: {snippet!r}")
