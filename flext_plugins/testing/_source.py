"""Facts about a plugin that can be told without running it."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from flext_plugins._config.validation import may_hold_secrets
from flext_plugins.redaction import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARIES = {"httpx", "httpx2", "requests"}


def open_secrets(model: Any, place: str = "") -> Iterator[str]:
    """The settings that are named like secrets and can hold plain text, models in them included."""
    for name, field in model.model_fields.items():
        where = f"{place}{name}"
        kinds = {*_parts(field.annotation)}
        if is_secret(name) and not may_hold_secrets(field.annotation) and kinds & {str, bytes}:
            yield where
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from open_secrets(kind, f"{where}.")


def _parts(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    yield annotation
    for each in get_args(annotation):
        yield from _parts(each)


def file_of(plugin: type) -> Path:
    """The file that the plugin's class stands in, whichever module the class says it is of."""
    hooks = [value for name, value in vars(plugin).items() if name.startswith("flext_")]
    functions = [getattr(each, "__func__", each) for each in hooks]
    written = next((each for each in functions if inspect.isfunction(each)), plugin)
    return Path(inspect.getfile(written))


def client_imports(plugin: type) -> Iterator[str]:
    """The places where the plugin's package, or else its module, imports a client library."""
    file = file_of(plugin)
    packaged = (file.parent / "__init__.py").exists()
    for path in sorted(file.parent.rglob("*.py")) if packaged else [file]:
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
