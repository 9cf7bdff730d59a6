"""The chart of the page: what is added to a plain client's request, by us and by others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHART = page.DOCS / "explanation/performance.svg"
PANELS = {"stacks-memory": "in memory", "stacks-loopback": "over loopback"}
OURS, THEIRS = "#2a6f97", "#b8bec5"
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "flext-plugins",  # the same numbers make the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def _bars(axes: Axes, table: dict[str, Any], title: str) -> None:
    cases = [each for each in table["cases"] if "ratio" in each and each["base"] != "aiohttp"]
    cases.reverse()  # the first of them is on top
    added = [each["ratio"][1] - 1 for each in cases]
    spread = [
        [each["ratio"][1] - each["ratio"][0] for each in cases],
        [each["ratio"][2] - each["ratio"][1] for each in cases],
    ]
    colours = [OURS if ", our" in each["name"] else THEIRS for each in cases]
    names = [each["name"] for each in cases]
    axes.barh(names, added, xerr=spread, color=colours, ecolor="#5c6670", height=0.7)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("CPU time added to a plain client's request, 1 = as much again")
    axes.set_xlim(left=0)


def draw(found: dict[str, Any]) -> None:
    """Write it, from what was recorded."""
    tables = {each["name"]: each for each in found["tables"]}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 5.5), layout="constrained")
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (name, title) in zip(panels, PANELS.items(), strict=True):
            _bars(axes, tables[name], title)
        figure.savefig(CHART, format="svg", metadata={"Date": None, "Creator": None})
