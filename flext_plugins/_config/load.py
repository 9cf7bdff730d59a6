"""A configuration from files and environment variables."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from flext_plugins._config.models import HostConfig, _lay
from flext_plugins._config.provenance import PREFIX, Place, Where
from flext_plugins._config.secrets import leaves
from flext_plugins._config.validation import nearest, report
from flext_plugins._errors import ConfigError

T = TypeVar("T")
NEARLY = tuple(f"FLEXT_{name.upper()}__" for name in HostConfig.model_fields)
"""How variables begin that lack an underscore."""
TWICE = "declared twice"
TOO_DEEP = "nested too deep"
DEEPEST = 50
"""So many tables and lists may stand in each other."""
LONGEST = 16 << 20
"""So many characters may a file have."""
MOST = 1_000_000
"""So many values may a file have, or a variable, what YAML's aliases repeat included."""
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
"""The tags of texts and of the key `<<` in YAML."""
NAMING = ("services", "plugins", "headers")
"""The tables whose keys are names rather than settings."""


def load(path: str | os.PathLike[str] | None, environment: str | None) -> HostConfig:
    """File, environment's file beside it, variables; later ones win, key by key.

    Raises:
        ConfigError: with all problems of the files' shape, or of those that cannot be read.
    """
    file = file_of(path)
    files = [file]
    if environment:
        files.append(file.with_name(f"{file.stem}.{environment}{file.suffix}"))
    values: dict[str, Any] = {}
    sources: dict[Place, str] = {}
    problems, known = list[str](), dict[str, Any]()
    for each in files:
        try:
            _lay(values, _parsed(each), sources, str(each))
        except ConfigError as error:
            hint = _advice(file, path) if not each.exists() and each == file else ""
            problems.append(f"{each}: {error}{hint}")
        if each == file:
            known = dict(_table(values.get("services")))
    problems += _lay_variables(values, sources)
    try:
        config = HostConfig.model_validate(values, context=sources)
    except ConfigError as error:
        problems += error.problems
    else:
        problems += _new_services(config, known, Where(sources))
    folded: dict[str, str] = {}
    for name in _table(values.get("services")):
        if (other := folded.setdefault(_fold(name), name)) != name:
            what = f"has the same name as {other!r} in variables, which write - as _"
            problems.append(Where(sources).problem(("services", str(name)), what))
    if problems:
        raise report(problems)
    return config


def file_of(path: str | os.PathLike[str] | None) -> Path:
    """The file that is read if `path` is what the caller says."""
    return Path(path or os.environ.get("FLEXT_CONFIG") or "flext.toml")


def names_class(place: Place) -> bool:
    """Whether the value at `place` names the class of a plugin, or stands inside one that does."""
    below = place[2:] if place[:1] == ("services",) else place
    return below[:1] == ("plugins",) and below[2:3] == ("class",)


def _advice(file: Path, path: object) -> str:
    """Say what to do about a file that is not there."""
    where = "" if file.is_absolute() else f" in {Path.cwd()}"
    if path is not None:
        return f"{where}; give another path, or none and set FLEXT_CONFIG"
    if "FLEXT_CONFIG" in os.environ:
        return f"{where}; FLEXT_CONFIG names it"
    return f"{where}; give the path, or set FLEXT_CONFIG"


def _lay_variables(values: dict[str, Any], sources: dict[Place, str]) -> Iterator[str]:
    """Lay the environment's variables on `values`; yields what is wrong with their names."""
    laid: dict[Place, str] = {}
    names: dict[Place, dict[str, str]] = {}
    for variable in sorted(os.environ):
        if variable.startswith(NEARLY):
            better = PREFIX + variable.removeprefix("FLEXT_")
            yield f"{variable}: begins with one underscore, and is not read; write {better}"
        if not variable.startswith(PREFIX):
            continue
        try:
            place, value = _variable(variable, values, names)
        except ConfigError as error:
            yield f"{variable}: {error}"
            continue
        if (other := laid.setdefault(place, variable)) != variable:
            yield f"{variable}: sets what {other} sets; take one of them away"
        if isinstance(value, (dict, list)):
            names.clear()  # for there may be others now
        for inner, _ in leaves(value, place):
            if names_class(inner):
                key = ".".join(inner)
                yield f"{variable}: {key}: a file names a class, or code; no variable does"
        for key in reversed(place):
            value = {key: value}
        _lay(values, value, sources, variable)


def _new_services(config: HostConfig, known: Mapping[str, Any], where: Where) -> Iterator[str]:
    """Yield the services that only the environment knows, as it knows a misspelt one.

    Programs share variables, so that one may be about another program's service: it is told only
    if its name is near to one of those in the file.
    """
    for name, service in config.services.items():
        if not known or name in known or service.new:
            continue
        near, place = nearest(name, known), ("services", name)
        if near or where.in_file(place):
            yield where.problem(place, f"is in no other file; say new = true if it is meant{near}")


def _parsed(file: Path) -> Mapping[str, Any]:
    """The tables of a file; what is wrong with it is told without its text."""
    try:
        with file.open(encoding="utf-8-sig") as opened:  # as Windows writes it
            text = opened.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise ConfigError(f"has more than {LONGEST:,} characters")
        values = _yaml(text) if file.suffix in {".yaml", ".yml"} else tomllib.loads(text)
        if isinstance(values, Mapping):
            return _bounded(values)
        what = "expected tables at the top"
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line \d+, column \d+|end of document", str(error))
        what = f"not TOML, {line[0]}" if line else "not TOML"
        if re.search("twice|overwrite", str(error)):
            what += f": {TWICE}"
    except FileNotFoundError:
        what = "no such file"
    except (OSError, UnicodeError) as error:
        what = f"cannot be read ({type(error).__name__})"
    except ValueError:  # Python refuses to read it
        what = "not TOML: a number is too long"
    except RecursionError:
        what = TOO_DEEP
    raise ConfigError(what)


def _bounded(values: T) -> T:
    """Give `values`, which are of a size that a configuration may have.

    Raises:
        ConfigError: they are nested too deep, or inside themselves, or too many.
    """
    level: list[Any] = [values]
    number = 0
    for _ in range(DEEPEST):
        level = list(islice(_inside(level), MOST))
        number += len(level)
        if not level:
            return values
        if number >= MOST:
            raise ConfigError(f"has more than {MOST:,} values")
    raise ConfigError(TOO_DEEP)


def _inside(values: Iterable[Any]) -> Iterator[Any]:
    for each in values:
        if isinstance(each, Mapping):
            yield from each.values()
        elif isinstance(each, (list, tuple, set)):
            yield from each


def _yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415 - for those who use it

    flat = set[int]()

    class Loader(yaml.SafeLoader):
        """Reads keys as the text that stands there, and refuses one that stands twice in a table.

        TOML does both. It is done before any `<<` is followed, which adds keys to a table.
        """

        def compose_mapping_node(self, anchor: Any) -> Any:
            node: Any = super().compose_mapping_node(anchor)
            node.value = [(_text_key(key), value) for key, value in node.value]
            seen = set()
            for key, _ in node.value:
                if key.tag == TEXT and str(key.value) in seen:
                    raise yaml.composer.ComposerError(None, None, TWICE, key.start_mark)
                seen.add(str(key.value))  # a list, or a table, is refused where it is made a key
            return node

        def flatten_mapping(self, node: Any) -> None:
            """Lay a table on those that its `<<` names, each key of which is kept once."""
            if id(node) not in flat:
                flat.add(id(node))
                super().flatten_mapping(node)
                last = {(key.tag, str(key.value)): (key, value) for key, value in node.value}
                node.value = [*last.values()]

    def _text_key(key: Any) -> Any:
        if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
            return key
        return yaml.ScalarNode(TEXT, key.value, key.start_mark)

    try:
        return yaml.load(text, Loader) or {}  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    what = f"not YAML, line {mark.line + 1}" if mark else "not YAML"
    raise ConfigError(f"{what}: {TWICE}" if problem == TWICE else what)


def _table_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ConfigError(f"not JSON: {TWICE}")
    return table


def _fold(name: Any) -> str:
    return str(name).lower().replace("-", "_")


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _variable(
    variable: str, values: Mapping[str, Any], names: dict[Place, dict[str, str]]
) -> tuple[Place, Any]:
    """The place that an environment variable sets, by the names there are, and its value.

    Args:
        variable: its name.
        values: what has been laid so far.
        names: those at each place, as variables write them; it grows here.

    Raises:
        ConfigError: it is nested too deep, by its name or its value.
    """
    place: list[str] = []
    current, parts = values, variable.removeprefix(PREFIX).split("__")
    if len(parts) > DEEPEST:
        raise ConfigError(TOO_DEEP)
    for part in parts:
        naming = place[-1] if place and place[-1] in NAMING else ""
        new = part.lower().replace("_", "-") if naming else part.lower()
        here = tuple(place)
        if here not in names:
            known = [*current, *_table(values.get(naming))]
            names[here] = {_fold(key): key for key in reversed(known)}
        place.append(names[here].setdefault(_fold(part), new))
        current = _table(current.get(place[-1]))
    text = os.environ[variable]
    if text.lower() == "false" and place[-2:-1] == ["plugins"]:
        return tuple(place), False
    if text.startswith(("{", "[")):
        try:
            return tuple(place), _bounded(json.loads(text, object_pairs_hook=_table_of))
        except ValueError:
            pass
        except RecursionError:
            raise ConfigError(TOO_DEEP) from None
    return tuple(place), text
