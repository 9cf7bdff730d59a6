"""Measures all libraries and prints the tables; `record` writes them into the page as well.

Each library has a process of its own, since some of them change what others do (the loggers, for
example), and a few of their threads may be hanging at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import libraries, table
from .measurement import measured

PATIENCE = 110
"""Seconds for one library."""
AT_A_TIME = 2


def one(name: str) -> table.Cells:
    """What came of one library, measured here."""
    return {
        group: {
            each.name: str(measured(each, libraries.adapter(group, name)))
            for each in table.behaviours(group)
        }
        for group, names in libraries.TABLES.items()
        if name in names
    }


def apart(name: str) -> table.Cells | str:
    """What came of one library in another process, or why it could not be measured."""
    if libraries.version(name) is None:
        why = Path(sys.prefix, "not-installed", name)
        said = why.read_text(encoding="utf-8").strip() if why.exists() else "not tried"
        return f"does not install on Python {sys.version.split()[0]}: {said}"
    command = [sys.executable, "-m", "benchmarks.compare", "one", name]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"did not end within {PATIENCE} s"
    if ran.returncode:
        sys.stderr.write(ran.stderr)
        return ran.stderr.strip().rsplit("\n", 1)[-1][:100]
    cells: table.Cells = json.loads(ran.stdout)
    return cells


def main(arguments: list[str]) -> int:
    """Whether something went wrong that is no library's fault."""
    if arguments[:1] == ["one"]:
        print(json.dumps(one(arguments[1])), flush=True)
        os._exit(0)  # threads that hang would keep it
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        results = dict(zip(libraries.NAMES, pool.map(apart, libraries.NAMES), strict=True))
    missing = {name: each for name, each in results.items() if isinstance(each, str)}
    found = {name: each for name, each in results.items() if not isinstance(each, str)}
    text = table.shown(found, missing)
    print(text)
    if libraries.OURS in missing or "error (" in text:
        print("\nAn error is the comparison's own: nothing is recorded.", file=sys.stderr)
        return 1
    if arguments == ["record"]:
        table.record(text)
    return 0


sys.exit(main(sys.argv[1:]))
