"""What was measured: as data, and as text for a terminal and for the page."""

from __future__ import annotations

import json
import platform
import re
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from flext_plugins_devstack import NotInstalled

from benchmarks import page

from .measurement import medians, quartiles
from .tables import lacking, opened, version
from .target import judged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .measurement import Case, Round, Table
    from .target import Target

RESULTS = Path(__file__).parents[1] / "results.json"
PAGE = page.DOCS / "explanation/performance.md"
NOTED = (
    *("flext-plugins", "httpx", "httpx2", "requests", "pluggy", "aiohttp", "opentelemetry-sdk"),
    *("opentelemetry-instrumentation-httpx", "prometheus-client", "pybreaker", "aiobreaker"),
    *("authlib", "purgatory", "interlock-cb", "clientwright", "httpware", "azure-core", "ldap3"),
    *("oracledb", "sqlalchemy", "uvloop"),
)
"""The distributions whose versions are told."""


def measured(table: Table, rounds: int) -> list[Round]:
    """All of its cases that are there; none if what they are sent to is not."""
    rounds = min(rounds, table.rounds or rounds)
    try:
        with ExitStack() as stack:
            return opened(table, [each.name for each in table.cases], stack).rounds(rounds)
    except NotInstalled as missing:
        print(f"skipped: {table.title}: {missing}")
        return []


def result(table: Table, found: list[Round]) -> dict[str, Any]:
    """What came of a table, as data."""
    times = medians(found) if found else {}
    there = times.keys()
    return {
        "name": table.name,
        "title": table.title,
        "unit": table.unit,
        "rounds": len(found),
        "date": str(datetime.now(UTC).date()),
        "cases": [_case(each, table, found, times) for each in table.cases],
        "targets": [
            _target(each, found) for each in table.targets if {each.case, *each.others} <= there
        ],
    }


def _case(case: Case, table: Table, found: list[Round], times: Round) -> dict[str, Any]:
    told: dict[str, Any] = {"name": case.name, "sentence": case.sentence}
    if case.name not in times:
        return told | {"lacks": lacking(case) or ["what it is sent to"]}
    told["median"] = _short(times[case.name] * table.factor)
    if case.base is not None and case.base in times:
        base = case.base
        ratios = quartiles(each[case.name] / each[base] for each in found)
        told |= {"base": base, "ratio": [_short(each) for each in ratios]}
    return told


def _target(target: Target, found: list[Round]) -> dict[str, Any]:
    verdict = judged(target, found)
    told: dict[str, Any] = {"sentence": target.sentence, "limit": _short(target.limit)}
    told["ratio"] = [_short(each) for each in verdict.found]
    told["reached"] = verdict.reached
    if target.aim is not None:
        told["aim"] = _short(target.aim)
    return told


def _short(value: float) -> float:
    """Four digits: more are noise."""
    return float(f"{value:.4g}")


def results(tables: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """All tables, with the versions of what was measured."""
    return {
        "date": str(datetime.now(UTC).date()),
        "interpreter": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: version(name) for name in NOTED},
        "tables": list(tables),
    }


def merged(found: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """What was measured now, with the tables of these names that were recorded before."""
    before = json.loads(RESULTS.read_text(encoding="utf-8"))
    by_name = {each["name"]: each for each in (*before["tables"], *found["tables"])}
    return found | {"tables": [by_name[name] for name in names if name in by_name]}


def head(found: dict[str, Any]) -> str:
    """When and with what it was measured."""
    versions = [f"{name} {each or 'not installed'}" for name, each in found["versions"].items()]
    said = f"Measured on {found['date']} with {found['interpreter']}, {', '.join(versions)}."
    return fill(said, 120, break_on_hyphens=False)


def shown(table: dict[str, Any], *, sentences: bool = False) -> str:
    """A table: its cases, and its targets."""
    what = ["what it is"] if sentences else []
    columns = [table["unit"], "ratio", "half of all rounds"]
    rows = [[table["title"], *what, *columns]]
    for case in table["cases"]:
        name = [case["name"], case["sentence"]] if sentences else [case["name"]]
        rows.append([*name, *_numbers(case)])
    parts = [page.grid(rows, 3)]
    if table["targets"]:
        columns = ["at most", "wanted", "measured", "half of all rounds", "reached"]
        rows = [["target", *columns], *(_row(each) for each in table["targets"])]
        parts.append(page.grid(rows, 5))
    return "\n\n".join(parts)


def _numbers(case: dict[str, Any]) -> list[str]:
    if "lacks" in case:
        return [f"not installed: {', '.join(case['lacks'])}", "", ""]
    if "ratio" not in case:
        return [_number(case["median"]), "1", ""]
    return [_number(case["median"]), *_spread(case["ratio"])]


def _row(target: dict[str, Any]) -> list[str]:
    reached = "yes" if target["reached"] else "no"
    wanted = _number(target.get("aim", target["limit"]))
    limit = _number(target["limit"])
    return [target["sentence"], limit, wanted, *_spread(target["ratio"]), reached]


def _spread(ratio: list[float]) -> list[str]:
    lower, median, upper = ratio
    return [_number(median), f"{_number(lower)} to {_number(upper)}"]


def _number(value: float) -> str:
    """Three digits, and all that stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def text(found: dict[str, Any]) -> str:
    """What the page says was measured."""
    parts = [head(found)]
    for table in found["tables"]:
        parts.append(shown(table, sentences=True))
        if table["date"] != found["date"]:
            parts.append(f"Measured on {table['date']}.")
    return "\n\n".join(parts)


def record(found: dict[str, Any]) -> None:
    """Keep it: as data, and in the page."""
    RESULTS.write_text(f"{_written(found)}\n", encoding="utf-8")
    page.record(PAGE, text(found))


def _written(found: dict[str, Any]) -> str:
    """As JSON with a line for each case and each target."""
    lines = json.dumps(found, indent=1, ensure_ascii=False)
    lines = re.sub(r"(?<=[{[])\n {5,}|\n {4,}(?=[]}])", "", lines)
    return re.sub(r"\n {5,}", " ", lines)
