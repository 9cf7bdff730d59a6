"""The commands that plugins bring, listed from metadata and loaded when they are called."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from flext_plugins._discovery import InstalledPlugin, commands, load
from flext_plugins._errors import PluginError
from flext_plugins.cli._display import visible

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_installed = cache(commands)
SAID = "flext_plugins.cli.said"
"""Where a context's `meta` has the options that stood before the command."""
_HARMLESS = (ImportError, AttributeError, SyntaxError)
"""Errors whose text is no secret."""


class PluginCommand(TyperCommand):
    """Stands for a command until it is called."""

    def __init__(self, record: InstalledPlugin) -> None:
        who = visible(f"{record.distribution} {record.version}")
        super().__init__(record.name, help=f"By {who}.")
        self._record = record

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Load the command, which goes on in its place."""
        command = _loaded(self._record)
        if parent is not None and (said := parent.meta.get(SAID)):
            extra["default_map"] = _defaults(command, said)
        return command.make_context(info_name, args, parent=parent, **extra)


def _defaults(command: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    """Give a command, and those below it, what was said before it."""
    below = getattr(command, "commands", {})
    return {**said, **{name: _defaults(each, said) for name, each in below.items()}}


def offered(own: Container[str]) -> dict[str, PluginCommand]:
    """The commands that can be called, by name, as far as can be told without importing any."""
    return {each.name: PluginCommand(each) for each in _installed() if _problem(each, own) is None}


def refused(own: Container[str]) -> list[str]:
    """A line on each command that cannot be called."""
    problems = [(each, _problem(each, own)) for each in _installed()]
    return [visible(_line(each, problem)) for each, problem in problems if problem is not None]


def check_commands(distribution: str, own: Container[str]) -> None:
    """Check that the commands which `distribution` brings can be called.

    Raises:
        PluginError: one cannot.
    """
    for each in _installed():
        if each.distribution == distribution:
            if (problem := _problem(each, own)) is not None:
                raise PluginError(visible(_line(each, problem)))
            _loaded(each)


def _line(record: InstalledPlugin, problem: str) -> str:
    return f"no command {record.name!r} of {record.distribution} {record.version}: {problem}"


def _problem(record: InstalledPlugin, own: Container[str]) -> str | None:
    if record.name in own:
        return "the name is flext-plugins' own"
    if not _NAME.fullmatch(record.name):
        return "a name has letters, digits and `-`"
    return None if record.status == "ready" else record.problem


def _loaded(record: InstalledPlugin) -> Any:
    """The command itself.

    Raises:
        PluginError: it cannot be imported, or is none.
    """
    try:
        app = load(record)
        if isinstance(app, typer.Typer):
            return typer.main.get_command(app)
        problem = f"{record.target} is no typer.Typer, but {type(app).__name__}"
    except (Exception, SystemExit) as error:
        kind, text = type(error).__name__, f": {error}" if isinstance(error, _HARMLESS) else ""
        problem = f"importing {record.target} raised {kind}{text}"
    raise PluginError(_line(record, problem))
