"""Writes the tables of settings in the pages, made from the pydantic models.

A page has `<!-- settings: MODULE.MODEL -->`, the table, and `<!-- end of settings -->`. A field's
meaning is the docstring below it in its class. Without arguments all pages are written anew.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from flext_plugins_auth.settings import SCHEMES, AuthSettings
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flext_plugins import Secret, ServiceName, ServiceURL
from flext_plugins._composition.schema import meanings
from flext_plugins._config.models import HostTable, PluginTable, Timeout
from flext_plugins._config.secrets import Address, HeaderSecret

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs/reference/configuration.md", *sorted(ROOT.glob("contrib/*/README.md"))]
PLACE = re.compile(r"(<!-- settings: ([\w.]+) -->\n).*?(<!-- end of settings -->)", re.DOTALL)
WORDS = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    str: "text",
    Secret: "secret",
    HeaderSecret: "text or reference",
    Address: "URL",
    Path: "path",
    ServiceName: "name of a service",
    ServiceURL: "URL",
    PluginTable: "table",
    Timeout: "number, or table",
}


def pages() -> Iterator[tuple[Path, str]]:
    """Each page that has tables, and its text with the tables as the models are now."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        yield (
            page,
            PLACE.sub(lambda place: f"{place[1]}\n{table(model(place[2]))}\n\n{place[3]}", text),
        )


def models() -> list[str]:
    """The models that a page has a table of."""
    return [
        place[2] for page in PAGES for place in PLACE.finditer(page.read_text(encoding="utf-8"))
    ]


def model(name: str) -> type[BaseModel]:
    module, _, attribute = name.rpartition(".")
    found: type[BaseModel] = getattr(import_module(module), attribute)
    return found


def table(settings: type[BaseModel]) -> str:
    """The settings of a model: name, type, default, meaning."""
    head = ["setting", "type", "default", "meaning"]
    rows = list(_rows(settings))
    if settings is AuthSettings:
        head.insert(1, "schemes")
        for row in rows:
            schemes = [f"`{scheme}`" for scheme in _schemes(row[0].strip("`"))]
            row.insert(1, "all" if len(schemes) == len(SCHEMES) else ", ".join(schemes))
    widths = [max(3, *(len(row[at]) for row in (head, *rows))) for at in range(len(head) - 1)]
    lines = [head, ["-" * width for width in [*widths, 3]], *rows]
    return "\n".join(f"| {' | '.join(_padded(line, widths))} |" for line in lines)


def _padded(line: list[str], widths: list[int]) -> list[str]:
    return [each.ljust(width) for each, width in zip(line, [*widths, 0], strict=True)]


def _rows(settings: type[BaseModel], prefix: str = "") -> Iterator[list[str]]:
    written = (vars(base).get("__annotations__", {}) for base in settings.__mro__)
    names = dict.fromkeys(name for own in written for name in own)  # its own first
    for name in [each for each in names if each in settings.model_fields]:
        field = settings.model_fields[name]
        kind = _type(field.annotation, tuple(field.metadata))
        meaning = meanings(settings).get(name, "").replace("|", "\\|")
        yield [f"`{prefix}{field.alias or name}`", kind, _default(settings, name, field), meaning]
        if field.annotation in (HostTable, Timeout):
            yield from _rows(field.annotation, f"{prefix}{name}.")


def _type(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0], (*inner[1:], *metadata))
    if origin in {Union, UnionType}:
        kinds = dict.fromkeys(_type(each, metadata) for each in inner if each is not NoneType)
        return ", or ".join(kinds)
    if origin is Literal:
        *first, last = (f"`{json.dumps(each)}`" for each in inner)
        return f"{', '.join(first)} or {last}" if first else last
    if origin in {list, tuple}:
        return f"list of {_type(inner[0], metadata).replace('whole number', 'whole numbers')}"
    if annotation in WORDS:
        return WORDS[annotation] + _bounds(metadata)
    return "table"


def _bounds(metadata: tuple[Any, ...]) -> str:
    bounds: dict[str, float] = {}
    for each in metadata:
        for one in each.metadata if isinstance(each, FieldInfo) else [each]:
            bounds |= {
                name: value
                for name in ("gt", "ge", "le")
                if (value := getattr(one, name, None)) is not None
            }
    said = [f" above {bounds['gt']:g}"] if "gt" in bounds else []
    said += [f" from {bounds['ge']:g}"] if "ge" in bounds else []
    said += [f" to {bounds['le']:.10g}"] if "le" in bounds else []
    return "".join(said)


def _default(settings: type[BaseModel], name: str, field: FieldInfo) -> str:
    if settings is AuthSettings and not field.is_required():
        if all(name in SCHEMES[each].needed for each in _schemes(name)):
            return "needed"
        possible = (takes.possible.get(name) for takes in SCHEMES.values())
        return _written(next((each for each in possible if each is not None), None))
    if field.is_required():
        return "needed"
    return _written(field.get_default(call_default_factory=True))


def _written(value: Any) -> str:
    """A default as TOML has it; nothing for what is not there."""
    if value is None or value in ("", (), [], {}) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{json.dumps(value)}`"


def _schemes(name: str) -> list[str]:
    return [
        scheme
        for scheme, takes in SCHEMES.items()
        if name in {"scheme", *takes.needed, *takes.possible}
    ]


if __name__ == "__main__":
    for page, text in pages():
        page.write_text(text, encoding="utf-8")
