"""Measures all tables and prints them; `record` keeps them as data, in the page and its chart.

Those of `--only` are recorded among the others, which stay as they were.

`check` measures what there are targets for, and fails where one is not kept.
"""

from __future__ import annotations

import argparse
import os
import sys

from .telling import CONVENTIONS

os.environ.update(CONVENTIONS)

from . import report
from .checking import check, planted
from .tables import TABLES
from .wire import no_proxies

ROUNDS, CHECK_ROUNDS = 60, 30


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["print", "record", "check"], default="print")
    beginnings = "tables whose names begin so; several with commas"
    parser.add_argument("--only", default="", help=beginnings)
    rounds = f"{CHECK_ROUNDS} for a check, else {ROUNDS}"
    parser.add_argument("--rounds", type=int, default=0, help=rounds)
    slowed = "slow each target's case down by 30 %% and see it caught, ten times"
    parser.add_argument("--planted", action="store_true", help=slowed)
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Whether something is not as it should be."""
    arguments = _arguments(given)
    no_proxies()
    tables = [each for each in TABLES if each.name.startswith(tuple(arguments.only.split(",")))]
    if arguments.what == "check":
        run = planted if arguments.planted else check
        return 0 if run(tables, arguments.rounds or CHECK_ROUNDS) else 1
    found = []
    for table in tables:
        found.append(report.result(table, report.measured(table, arguments.rounds or ROUNDS)))
        print(report.shown(found[-1]), end="\n\n", flush=True)
    results = report.results(found)
    print(report.head(results))
    if arguments.what == "record":
        from .chart import draw  # noqa: PLC0415 - what draws is large

        results = report.merged(results, [each.name for each in TABLES])
        report.record(results)
        draw(results)
    return 0


sys.exit(main(sys.argv[1:]))
