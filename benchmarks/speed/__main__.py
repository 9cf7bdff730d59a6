"""Measures all tables and prints them; `record` writes them into the page as well.

`check` measures what there are targets for, and fails where one is not kept.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")  # as our plugin words spans

from .checking import check, planted
from .report import measured, shown
from .tables import TABLES
from .wire import no_proxies


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["print", "record", "check"], default="print")
    parser.add_argument("--only", default="", help="tables whose name begins so")
    parser.add_argument("--rounds", type=int, default=0, help="30 for a check, else 100")
    parser.add_argument("--planted", action="store_true", help="see a slow-down of 30 % be caught")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Whether something is not as it should be."""
    arguments = _arguments(given)
    no_proxies()
    tables = [each for each in TABLES if each.name.startswith(arguments.only)]
    if arguments.what == "check":
        run = planted if arguments.planted else check
        return 0 if run(tables, arguments.rounds or 30) else 1
    for table in tables:
        print(shown(table, measured(table, arguments.rounds or 100)), end="\n\n", flush=True)
    return 0


sys.exit(main(sys.argv[1:]))
