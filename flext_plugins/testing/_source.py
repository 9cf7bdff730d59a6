"""Facts about a plugin that can be told without running it."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

LIBRARIES = {"httpx", "httpx2", "requests"}


def file_of(plugin: type) -> Path:
    """The file that the plugin's class stands in, whichever module the class says it is of."""
    hooks = [value for name, value in vars(plugin).items() if name.startswith("flext_")]
    functions = [getattr(each, "__func__", each) for each in hooks]
    written = next((each for each in functions if inspect.isfunction(each)), plugin)
    return Path(inspect.getfile(written))


def home_of(plugin: type) -> Path:
    """The folder of the plugin's package, or else the file of its module."""
    file = file_of(plugin)
    return file.parent if (file.parent / "__init__.py").exists() else file


def line_of(plugin: type) -> str:
    """The file and line where the plugin's class stands."""
    try:
        return f"{file_of(plugin).name}:{inspect.getsourcelines(plugin)[1]}"
    except (OSError, TypeError):  # made by other means than a file
        return plugin.__module__


Place: TypeAlias = tuple[str, int, str]
"""A file, a line in it, and the function that it belongs to."""


def frames_of(frame: FrameType | None) -> Iterator[Place]:
    """The places of a frame and of those that called it."""
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        frame = frame.f_back


def places_of(error: BaseException) -> Iterator[Place]:
    """The places that an error passed, from where it was raised on."""
    for frame, line in reversed([*walk_tb(error.__traceback__)]):
        yield frame.f_code.co_filename, line, frame.f_code.co_name


def where(places: Iterable[Place], plugin: type) -> str:
    """` in HOOK at FILE:LINE`, of those of `places`, innermost first, that are the plugin's own."""
    home = home_of(plugin)
    own = [each for each in places if home in {Path(each[0]), *Path(each[0]).parents}]
    if not own:
        return ""
    hooks = [function for _, _, function in own if function.startswith("flext_")]
    path, line, function = own[0]
    name = hooks[0] if hooks else function
    return f"{f' in {name}' if name else ''} at {Path(path).name}:{line}"


def client_imports(plugin: type) -> Iterator[str]:
    """The places where the plugin's package, or else its module, imports a client library."""
    home = home_of(plugin)
    for path in sorted(home.rglob("*.py")) if home.is_dir() else [home]:
        for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                if name.partition(".")[0] in LIBRARIES:
                    yield f"{path.name}:{node.lineno} imports {name}"  # type: ignore[attr-defined]


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below that can run: not those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _running(child)
