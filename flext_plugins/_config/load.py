"""A configuration from files and environment variables."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flext_plugins._config.models import HostConfig, _lay
from flext_plugins._config.provenance import PREFIX, Place, Where
from flext_plugins._config.validation import report
from flext_plugins._errors import ConfigError

NAMING = ("services", "plugins", "headers")
"""The tables whose keys are names rather than settings."""


def load(path: str | os.PathLike[str] | None, environment: str | None) -> HostConfig:
    """File, environment's file beside it, variables; later ones win, key by key.

    Raises:
        ConfigError: with all problems of the files' shape, or of those that cannot be read.
    """
    file = Path(path or os.environ.get("FLEXT_CONFIG") or "flext.toml")
    files = [file]
    if environment:
        files.append(file.with_name(f"{file.stem}.{environment}{file.suffix}"))
    values: dict[str, Any] = {}
    sources: dict[Place, str] = {}
    problems = []
    for each in files:
        try:
            _lay(values, _parsed(each), sources, str(each))
        except ConfigError as error:
            hint = (
                "; give the path, or set FLEXT_CONFIG" if not each.exists() and each == file else ""
            )
            problems.append(f"{each}: {error}{hint}")
    for variable in sorted(each for each in os.environ if each.startswith(PREFIX)):
        place, value = _variable(variable, values)
        for key in reversed(place):
            value = {key: value}
        _lay(values, value, sources, variable)
    try:
        config = HostConfig.model_validate(values, context=sources)
    except ConfigError as error:
        problems += error.problems
    folded: dict[str, str] = {}
    for name in _table(values.get("services")):
        if (other := folded.setdefault(_fold(name), name)) != name:
            what = f"has the same name as {other!r} in variables, which write - as _"
            problems.append(Where(sources).problem(("services", str(name)), what))
    if problems:
        raise report(problems)
    return config


def _parsed(file: Path) -> Mapping[str, Any]:
    """The tables of a file; what is wrong with it is told without its text."""
    try:
        text = file.read_text(encoding="utf-8-sig")  # as Windows writes it
        values = _yaml(text) if file.suffix in {".yaml", ".yml"} else tomllib.loads(text)
        if isinstance(values, Mapping):
            return values
        what = "expected tables at the top"
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line \d+, column \d+|end of document", str(error))
        what = f"not TOML, {line[0]}" if line else "not TOML"
    except FileNotFoundError:
        what = "no such file"
    except (OSError, UnicodeError) as error:
        what = f"cannot be read ({type(error).__name__})"
    raise ConfigError(what)


def _yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415 - for those who use it

    try:
        return yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
    raise ConfigError(f"not YAML, line {mark.line + 1}" if mark else "not YAML")


def _fold(name: Any) -> str:
    return str(name).lower().replace("-", "_")


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _variable(variable: str, values: Mapping[str, Any]) -> tuple[Place, Any]:
    """The place that an environment variable sets, by the names there are, and its value."""
    place: list[str] = []
    current = values
    for part in variable.removeprefix(PREFIX).split("__"):
        naming = place[-1] if place and place[-1] in NAMING else ""
        new = part.lower().replace("_", "-") if naming else part.lower()
        known = [*current, *_table(values.get(naming))]
        place.append(next((key for key in known if _fold(key) == _fold(part)), new))
        current = _table(current.get(place[-1]))
    text = os.environ[variable]
    if text.lower() == "false" and place[-2:-1] == ["plugins"]:
        return tuple(place), False
    if text.startswith(("{", "[")):
        try:
            return tuple(place), json.loads(text)
        except ValueError:
            pass
    return tuple(place), text
