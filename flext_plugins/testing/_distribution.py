"""Installed distributions that are not: what an installer leaves behind, in a folder."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def install(
    site: Path,
    name: str,
    version: str = "1.0.0",
    *,
    plugins: Mapping[str, type | str] | None = None,
    commands: Mapping[str, str] | None = None,
    requires: tuple[str, ...] = ("flext-plugins>=1,<2",),
    module: str = "",
) -> Path:
    """Write a distribution into the folder `site`, which has to be on `sys.path` to be found.

    Args:
        site: the folder, made if it is not there.
        name: the distribution's; its module has this name with `_` for `-`.
        version: the distribution's.
        plugins: by the name that a configuration says: a class, which this process then imports
            from the distribution's module, or a target such as `acme_tenant:Tenant`.
        commands: by the name on the command line: a target such as `acme_tenant:app`.
        requires: what it asks for, as in `pyproject.toml`.
        module: the source text of its module.

    Returns:
        Its `.dist-info` folder.
    """
    package = name.replace("-", "_")
    folder = site / f"{package}-{version}.dist-info"
    folder.mkdir(parents=True)
    wanted = "".join(f"Requires-Dist: {each}\n" for each in requires)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wanted}"
    (folder / "METADATA").write_text(metadata)
    targets = {key: _target(package, each) for key, each in (plugins or {}).items()}
    groups = {"flext_plugins": targets, "flext_plugins.commands": commands or {}}
    text = "".join(
        f"[{group}]\n" + "".join(f"{key} = {target}\n" for key, target in points.items())
        for group, points in groups.items()
    )
    (folder / "entry_points.txt").write_text(text)
    (site / f"{package}.py").write_text(module)
    return folder


def _target(package: str, plugin: type | str) -> str:
    if isinstance(plugin, str):
        return plugin
    made = sys.modules.setdefault(package, ModuleType(package))
    setattr(made, plugin.__name__, plugin)
    return f"{package}:{plugin.__name__}"
