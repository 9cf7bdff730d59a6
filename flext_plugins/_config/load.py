"""A configuration from files and environment variables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flext_plugins._config.formats import NO_FILE, json_in, tables_in
from flext_plugins._config.limits import DEEPEST, TOO_DEEP
from flext_plugins._config.models import HostConfig, _lay
from flext_plugins._config.provenance import PREFIX, Place, Where
from flext_plugins._config.secrets import leaves
from flext_plugins._config.validation import nearest, report
from flext_plugins._errors import ConfigError
from flext_plugins.redaction import printable

NEARLY = tuple(f"FLEXT_{name.upper()}__" for name in HostConfig.model_fields)
"""How variables begin that lack an underscore."""
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
        files.append(_beside(file, environment))
    values: dict[str, Any] = {}
    sources: dict[Place, str] = {}
    problems, known = list[str](), dict[str, Any]()
    for each in files:
        try:
            _lay(values, tables_in(each), sources, str(each))
        except ConfigError as error:
            hint = _advice(file, path) if each == file and error.args[0] == NO_FILE else ""
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


def _beside(file: Path, environment: str) -> Path:
    """The environment's file beside `file`.

    Raises:
        ConfigError: no file can have that name.
    """
    try:
        return file.with_name(f"{file.stem}.{environment}{file.suffix}")
    except ValueError:
        shown = printable(str(environment), 40)
        what = "expected the name of an environment, such as production"
        raise ConfigError(f"{file}: {shown!r} names no file beside it: {what}") from None


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
    return tuple(place), json_in(text)
