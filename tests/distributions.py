"""Installed distributions, written as an installer leaves them: a `.dist-info` folder and a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = """
from flext_plugins import hookimpl


class Tenant:
    @hookimpl
    def flext_request(self, request):
        request.headers["X-Tenant"] = __name__
"""


def install(
    site: Path,
    name: str,
    version: str = "1.0.0",
    *,
    plugins: dict[str, str] | None = None,
    requires: tuple[str, ...] = ("flext-plugins>=1,<2",),
    module: str = PLUGIN,
) -> Path:
    """Install a distribution into the folder `site`; gives its `.dist-info`.

    Its module has the distribution's name with `_` for `-`, and offers `plugins`: by default
    `tenant`, its class `Tenant`.
    """
    package = name.replace("-", "_")
    folder = site / f"{package}-{version}.dist-info"
    folder.mkdir(parents=True)
    wanted = "".join(f"Requires-Dist: {each}\n" for each in requires)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wanted}"
    (folder / "METADATA").write_text(metadata)
    points = plugins if plugins is not None else {"tenant": f"{package}:Tenant"}
    lines = "".join(f"{key} = {target}\n" for key, target in points.items())
    (folder / "entry_points.txt").write_text(f"[flext_plugins]\n{lines}")
    (site / f"{package}.py").write_text(module)
    return folder
