"""A JSON Schema of the configuration's file, for editors."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from flext_plugins._config.models import HostConfig, ServiceConfig
from flext_plugins._errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from pydantic_core import core_schema

    from flext_plugins._composition.catalog import Catalog
    from flext_plugins._discovery import InstalledPlugin

DIALECT = "https://json-schema.org/draft/2020-12/schema"
OFF = {"const": False, "description": "Takes off a plugin that every service has."}
OBSERVER = {"type": "boolean", "description": "Whether it can only look on and hurt nobody."}
USE = {
    "type": "string",
    "pattern": "^[^:]+:.+$",
    "description": "`distribution:name`, where several distributions offer the name.",
}
CLASS = {
    "type": "string",
    "pattern": r"^[^\s:.]+(\.[^\s:.]+)*:[^\s:.]+(\.[^\s:.]+)*$",
    "description": "`module:Class`: a class of the application's own.",
}
TABLE = {"type": "object", "properties": {"use": USE, "class": CLASS, "observer": OBSERVER}}
UNKNOWN = {**TABLE, "not": {"required": ["use", "class"]}}
"""The table of a plugin of which nothing is known."""
CHOSEN = {**TABLE, "oneOf": [{"required": ["use"]}, {"required": ["class"]}]}
"""The table of a plugin that is not the one which is installed under its name."""
EMPTY: dict[str, Any] = {"type": "object", "additionalProperties": False}
"""The table of a plugin that takes no settings."""
PLUGINS = "plugins"
"""The definition of the tables of plugins."""


def schema_of(catalog: Catalog) -> tuple[dict[str, Any], list[str]]:
    """A JSON Schema (draft 2020-12) of a whole file, and a line on each plugin that is left open.

    It says of one file what the loader says of all layers together, so nothing is required: what a
    table leaves out may stand in another one, in the environment's file or in a variable.

    Args:
        catalog: knows the plugins that are installed; those that are ready are imported.
    """
    found: dict[str, tuple[InstalledPlugin, type]] = {}
    problems: list[str] = []
    for record in catalog.installed:
        what = record.problem if record.status != "ready" else ""
        if not what:
            try:
                found[record.name] = record, _checked(catalog, record)
            except PluginError as error:
                what = error.args[0]
        if what:
            who = f"{record.name}: " * bool(record.name) + f"{record.distribution} {record.version}"
            problems.append(f"{who.rstrip()}: {what}; any table will do for it")
    return _whole(found), problems


def _checked(catalog: Catalog, record: InstalledPlugin) -> type:
    """The class of a plugin whose settings have a schema.

    Raises:
        PluginError: it cannot be imported, breaks the contract, or its settings have none.
    """
    kind = catalog.load(record).kind
    if (settings := getattr(kind, "Settings", None)) is not None:
        try:
            models_json_schema([(settings, "validation")], schema_generator=_Generator)
        except Exception as error:  # of a method of its own, which makes a part of the schema
            what = f"its settings have no JSON Schema: {type(error).__name__}"
            raise PluginError(what) from error
    return kind


def _whole(found: Mapping[str, tuple[InstalledPlugin, type]]) -> dict[str, Any]:
    """The schema of a file, with the tables of these plugins by name."""
    models: dict[str, type[BaseModel]] = {
        name: settings
        for name, (_, kind) in found.items()
        if (settings := getattr(kind, "Settings", None)) is not None
    }
    wanted: dict[type[BaseModel], None] = dict.fromkeys((HostConfig, *models.values()))
    made, definitions = models_json_schema(
        [(model, "validation") for model in wanted], schema_generator=_Generator
    )
    defs = definitions["$defs"]

    def of(model: type[BaseModel]) -> dict[str, Any]:
        shape: dict[str, Any] = defs[made[model, "validation"]["$ref"].rpartition("/")[2]]
        return shape

    tables = {
        name: _table(kind, record, of(models[name]) if name in models else EMPTY)
        for name, (record, kind) in found.items()
    }
    defs |= {f"plugin:{name}": table for name, table in tables.items()}
    defs[PLUGINS] = {
        "description": "By name; `false` takes a plugin off that every service has.",
        "type": "object",
        "properties": {name: _plugin(name, table) for name, table in tables.items()},
        "additionalProperties": {"if": {"const": False}, "else": UNKNOWN},
    }
    whole = _tidied({"$schema": DIALECT, **of(HostConfig), "title": "flext-plugins"})
    shapes = _tidied(defs)
    said = json.dumps([whole, shapes])
    used = {
        name: each
        for name, each in shapes.items()
        if f'"#/$defs/{name}"' in said or name.startswith("plugin:")
    }
    return {**whole, "$defs": used}


def _table(kind: type, record: InstalledPlugin, shape: dict[str, Any]) -> dict[str, Any]:
    """The table of an installed plugin: its settings, and what the host reads itself."""
    says = shape.get("description") or inspect.getdoc(kind) or ""
    who = f"{record.distribution} {record.version}"
    properties = {**shape.get("properties", {}), "observer": OBSERVER}
    return {**shape, "description": f"{says}\n\n{who}".strip(), "properties": properties}


def _plugin(name: str, table: dict[str, Any]) -> dict[str, Any]:
    """The values that may stand under the name of an installed plugin.

    Each thing is told by itself, since of an `anyOf` editors say only that nothing in it fits. The
    one that is there holds anything, and shows editors what they may offer.
    """
    reference = {"$ref": f"#/$defs/plugin:{quote(name.replace('~', '~0').replace('/', '~1'))}"}
    other = [{"const": False}, {"required": ["use"]}, {"required": ["class"]}]
    return {
        "description": table.pop("description"),
        "if": {"anyOf": other},
        "then": {"if": {"const": False}, "then": OFF, "else": CHOSEN},
        "else": reference,
        "anyOf": [reference, {}],
    }


def _tidied(value: Any) -> Any:
    """`value` without defaults that a file cannot say, and with secrets as a file has them."""
    if isinstance(value, list):
        return [_tidied(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("format") == "password":
        kept = {key: each for key, each in value.items() if key not in {"format", "writeOnly"}}
        return {**kept, "examples": ["env:NAME", "file:/run/secrets/name"]}
    is_none = "default" in value and value["default"] is None
    return {key: _tidied(each) for key, each in value.items() if not (is_none and key == "default")}


class _Generator(GenerateJsonSchema):
    """Makes schemas of tables as the loader takes them: nothing required, no unknown key."""

    ignored_warning_kinds = {  # noqa: RUF012 - pydantic's, of each instance
        *("skipped-choice", "non-serializable-default", "skipped-discriminator")
    }

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        """A table with the meaning of each key."""
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        properties = made.get("properties", {})
        if "properties" in made:
            made["additionalProperties"] = model.model_config.get("extra") == "allow"
        for key in ("required", "title"):
            made.pop(key, None)
        for name, text in meanings(model).items():
            if (field := model.model_fields.get(name)) and (
                key := field.alias or name
            ) in properties:
                properties[key].setdefault("description", text)
        if issubclass(model, HostConfig | ServiceConfig):
            properties["plugins"] = {"$ref": f"#/$defs/{PLUGINS}"}
        return made

    def set_schema(self, schema: core_schema.SetSchema) -> dict[str, Any]:
        """A list: what stands in it twice is taken for once."""
        made = super().set_schema(schema)
        made.pop("uniqueItems", None)
        return made

    def frozenset_schema(self, schema: core_schema.FrozenSetSchema) -> dict[str, Any]:
        """A list, as for a set."""
        made = super().frozenset_schema(schema)
        made.pop("uniqueItems", None)
        return made

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> dict[str, Any]:
        """Seconds, or text as ISO 8601 has it."""
        return {"anyOf": [{"type": "number"}, super().timedelta_schema(schema)]}

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's
        """A key needs no other name."""
        return False

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:  # noqa: ARG002
        """Anything, where only Python can tell."""
        return {}


@cache
def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The docstring below each field, in one line, those of the bases included."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            for field, text in pairwise(_body(base)):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    said = text.value.value if isinstance(text.value, ast.Constant) else ""
                    found[ast.unparse(field.target)] = " ".join(str(said).split())
    return found


def _body(kind: type) -> list[ast.stmt]:
    """The statements of a class as they are written; none if nobody knows where.

    What a class says of its module is where it is to be imported from.
    """
    names = kind.__qualname__.split(".")
    for module in [sys.modules.get(kind.__module__), *sys.modules.values()]:
        if module is None or vars(module).get(names[0]) is None:
            continue
        place: Any = module
        for name in names:
            place = vars(place).get(name) if hasattr(place, "__dict__") else None
        if place is kind and (body := _written(module, names)):
            return body
    return []


def _written(module: ModuleType, names: list[str]) -> list[ast.stmt]:
    try:
        body = ast.parse(inspect.getsource(module)).body
    except (OSError, TypeError, SyntaxError):
        return []
    for name in names:
        inner = [each for each in body if isinstance(each, ast.ClassDef) and each.name == name]
        body = inner[-1].body if inner else []
    return body
