"""Tables in TOML, YAML and JSON: what is wrong with them is told without their text, in seconds."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from flext_plugins._config.limits import (
    DEEPEST,
    LONGEST,
    MOST,
    TOO_DEEP,
    TOO_LONG,
    TOO_MANY,
    TWICE,
)
from flext_plugins._errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
NO_FILE = "no such file"
_KEY = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*"|'[^'\n]*')"""
_DEEP_KEY = re.compile(
    rf"(?:^[ \t]*+\[{{0,2}}|[{{,])[ \t]*+(?:{_KEY}[ \t]*+\.[ \t]*+){{{DEEPEST}}}", re.MULTILINE
)
"""A key of too many parts, where TOML may have one: it is read in quadratic time and memory."""


def tables_in(file: Path) -> Mapping[str, Any]:
    """The tables of a file.

    Raises:
        ConfigError: it cannot be read, or has none.
    """
    text = _text_of(file)
    values = _yaml(text) if file.suffix in {".yaml", ".yml"} else _toml(text)
    if not isinstance(values, Mapping):
        raise ConfigError("expected tables at the top")
    return _bounded(values)


def json_in(text: str) -> Any:
    """Give what stands in `text` as JSON, if that is a table or a list; else the text.

    Raises:
        ConfigError: a key stands twice, or it is nested too deep.
    """
    if not text.startswith(("{", "[")):
        return text
    try:
        return _bounded(json.loads(text, object_pairs_hook=_table_of))
    except ValueError:
        return text
    except RecursionError:
        raise ConfigError(TOO_DEEP) from None


def _text_of(file: Path) -> str:
    try:
        with file.open(encoding="utf-8-sig") as opened:  # as Windows writes it
            text = opened.read(LONGEST + 1)
    except FileNotFoundError:
        raise ConfigError(NO_FILE) from None
    except (OSError, ValueError) as error:  # the latter of what no path, or no text, can be
        raise ConfigError(f"cannot be read ({type(error).__name__})") from None
    if len(text) > LONGEST:
        raise ConfigError(f"has more than {LONGEST:,} characters")
    return text


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
            raise ConfigError(TOO_MANY)
    raise ConfigError(TOO_DEEP)


def _inside(values: Iterable[Any]) -> Iterator[Any]:
    for each in values:
        if isinstance(each, Mapping):
            yield from each.values()
        elif isinstance(each, (list, tuple, set)):
            yield from each


def _toml(text: str) -> dict[str, Any]:
    if _DEEP_KEY.search(text):
        raise ConfigError(TOO_DEEP)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line \d+, column \d+|end of document", str(error))
        what = f"not TOML, {line[0]}" if line else "not TOML"
        if re.search("twice|overwrite", str(error)):
            what += f": {TWICE}"
    except ValueError:  # Python refuses to read it
        what = f"not TOML: {TOO_LONG}"
    except RecursionError:
        what = TOO_DEEP
    raise ConfigError(what)


def _yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415 - for those who use it

    from flext_plugins._config.yaml_loader import Loader  # noqa: PLC0415 - as above

    try:
        return yaml.load(text, Loader) or {}  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    what = f"not YAML, line {mark.line + 1}" if mark else "not YAML"
    raise ConfigError(f"{what}: {problem}" if problem in {TWICE, TOO_LONG} else what)


def _table_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ConfigError(f"not JSON: {TWICE}")
    return table
