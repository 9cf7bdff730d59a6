"""A Meltano project on disk: what it has by name, and what a run leaves in it."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import yaml

from .errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
FILE = "meltano.yml"
KINDS = ("extractors", "loaders", "mappers", "transformers", "utilities", "orchestrators")


class Project:
    """A folder with a `meltano.yml`.

    Raises:
        PipelineError: there is none, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._content = self._read()

    def _read(self) -> dict[str, Any]:
        content: dict[str, Any] = {}
        try:
            files = [self.folder / FILE]
            content = _table(files[0])
            for pattern in content.get("include_paths") or ():
                for file in sorted(self.folder.glob(pattern)):
                    if file != files[0]:
                        _merge(content, _table(file))
        except (OSError, ValueError, yaml.YAMLError) as error:
            problem = f"{self.folder / FILE}: cannot be read ({type(error).__name__})"
            raise PipelineError(problem) from None
        return content

    def plugins(self, *kinds: str) -> dict[str, dict[str, Any]]:
        """The plugins of these kinds, by name."""
        every = self._content.get("plugins") or {}
        return {
            str(each["name"]): each
            for kind in kinds
            for each in every.get(kind) or ()
            if isinstance(each, dict) and "name" in each
        }

    @property
    def jobs(self) -> frozenset[str]:
        """The names of its jobs."""
        return frozenset(_names(self._content.get("jobs")))

    @property
    def environments(self) -> frozenset[str]:
        """The names of its environments."""
        return frozenset(_names(self._content.get("environments")))

    @property
    def environment(self) -> str | None:
        """The one that is used if nobody names another."""
        name = self._content.get("default_environment")
        return str(name) if name else None

    def check(self, name: object, kinds: Sequence[str], what: str) -> str:
        """`name`, which the project has among these kinds of plugins.

        Raises:
            PipelineError: it has none of that name.
        """
        known = self.plugins(*kinds)
        if not isinstance(name, str) or not NAME.fullmatch(name) or name not in known:
            raise PipelineError(f"the project has no {what} {name!r:.80}{_list(known)}")
        return name

    def check_block(self, block: object) -> str:
        """`block`, which `meltano run` takes: a plugin, `plugin:command` or a job.

        Raises:
            PipelineError: the project has no such thing.
        """
        plugin, colon, command = block.partition(":") if isinstance(block, str) else ("", "", "")
        known = self.plugins(*KINDS)
        commands = (known.get(plugin) or {}).get("commands") or {}
        is_plugin = plugin in known and (not colon or command in commands)
        if not (NAME.fullmatch(plugin) and (is_plugin or (block in self.jobs and not colon))):
            names = {*known, *self.jobs}
            raise PipelineError(f"the project has no plugin or job {block!r:.80}{_list(names)}")
        return str(block)

    def check_blocks(self, blocks: Sequence[str]) -> list[str]:
        """`blocks`, each of which `meltano run` takes.

        Raises:
            PipelineError: the project has no such thing, or there are none.
        """
        if not blocks:
            raise PipelineError("there is nothing to run")
        return [self.check_block(each) for each in blocks]

    def check_setting(self, plugin: str, name: object) -> str:
        """The end of the variable for the setting `name` of a plugin.

        Raises:
            PipelineError: it has no such setting.
        """
        known = (self.plugins(*KINDS).get(plugin) or {}).get("settings")
        names = [*_names(known), *((self.plugins(*KINDS)[plugin].get("config")) or {})]
        if not isinstance(name, str) or not NAME.fullmatch(name) or (known and name not in names):
            raise PipelineError(f"{plugin} has no setting {name!r:.80}{_list(names)}")
        return re.sub(r"[^A-Za-z0-9]", "_", name).upper()

    def check_environment(self, name: str) -> str:
        """`name`, which is one of its environments.

        Raises:
            PipelineError: it is none.
        """
        if name not in self.environments:
            problem = f"the project has no environment {name!r:.80}{_list(self.environments)}"
            raise PipelineError(problem)
        return name

    def clear(self, since: float) -> None:
        """Remove the settings, with their secrets, that a run which ended abruptly has left."""
        for file in (self.folder / ".meltano" / "run").rglob("*.config.json"):
            with suppress(OSError):
                if file.stat().st_mtime >= since - 1:
                    file.unlink()


def _table(file: Path) -> dict[str, Any]:
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    if not isinstance(content, dict):
        raise ValueError("it is no table")  # noqa: TRY004 - about a file
    return content


def _merge(content: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            _merge(content[key], value)
        elif isinstance(value, list) and isinstance(content.get(key), list):
            content[key] = [*content[key], *value]
        else:
            content.setdefault(key, value)


def _names(entries: Any) -> list[str]:
    return [
        str(each["name"]) for each in entries or () if isinstance(each, dict) and "name" in each
    ]


def _list(names: Any) -> str:
    return f"; it has: {', '.join(sorted(names)[:20])}" if names else ""
