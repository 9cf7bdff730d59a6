"""`make mutants`: break what the contract's rules rest on, and see a test fall for each.

A mutant is caught if one of the tests that it chooses fails or hangs. One that survives, or whose
place is not there, fails the run. Arguments are the beginnings of rules, to try a few.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import cache_from_source
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from contract import ROOT
from mutants.mutant import Mutant, Unresolved, broken, chosen_tests, file_of
from mutants.table import MUTANTS

WORKERS = 3
HUNG = 30
"""Seconds after which tests hang, which is noticed too, and shown."""
COPIED = ("flext_plugins", "tests", "pyproject.toml", "conftest.py")


def copied(folder: Path) -> Path:
    """A copy of the tree in `folder`, to be broken again and again."""
    for name in COPIED:
        part = ROOT / name
        if part.is_dir():
            shutil.copytree(part, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(part, folder)
    return folder


def write(path: Path, text: str) -> None:
    """Write a module; what was compiled of another one in the same second must not be taken."""
    path.write_text(text, encoding="utf-8")
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


class Verdict(NamedTuple):
    """What became of a mutant."""

    word: str
    why: str = ""


def judged(mutant: Mutant, copies: SimpleQueue[Path]) -> Verdict:
    """Break a copy that is free, and run the tests that have to notice."""
    copy = copies.get()
    path = copy / "flext_plugins" / file_of(mutant)
    whole = path.read_text(encoding="utf-8")
    options = ["-x", "-q", "-p", "no:cacheprovider"]
    try:
        write(path, broken(mutant, copy / "flext_plugins"))
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *chosen_tests(mutant)],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=HUNG,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict("hangs")
    finally:
        write(path, whole)
        copies.put(copy)
    if ran.returncode == 1 and ("failed" in ran.stdout or "error" in ran.stdout):
        return Verdict("caught")
    return Verdict("SURVIVED", f": pytest ended with {ran.returncode}: {ran.stdout.strip()[-200:]}")


def main(beginnings: list[str]) -> int:
    """Try them all, three at a time, since tests wait too."""
    started = time.monotonic()
    mutants = [each for each in MUTANTS if each.rule.startswith(tuple(beginnings or [""]))]
    stale = 0
    for each in mutants:
        try:
            broken(each)
            chosen_tests(each)
        except Unresolved as error:
            stale += 1
            print(f"STALE     {error}")
    if stale:
        return 1
    survivors = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(WORKERS):
            copies.put(copied(Path(folder, str(number))))
        verdicts = pool.map(judged, mutants, repeat(copies))
        for mutant, verdict in zip(mutants, verdicts, strict=True):
            survivors += bool(verdict.why)
            print(f"{verdict.word:8}  {mutant}{verdict.why}", flush=True)
    seconds = time.monotonic() - started
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants caught in {seconds:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
