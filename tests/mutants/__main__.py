"""`make mutants`: break what the contract's rules rest on, and see a test fall for each.

A mutant is caught if one of the tests that it chooses fails or hangs. One that survives, or whose
place is not there, fails the run. Arguments are the beginnings of rules, to try a few.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import pytest
from contract import ROOT
from mutants.mutant import Mutant, Unresolved, broken, chosen_tests, file_of
from mutants.table import MUTANTS

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS, COPIES = 4, 12
SERVER = ROOT / ".venv-seerdb"
"""What the tests of `oracle` start."""
IGNORED = shutil.ignore_patterns("__pycache__", "node_modules")
HUNG = 60
"""Seconds after which tests hang, which is noticed too, and shown; unbroken, none takes as long."""
LINGERS = 5
"""Seconds after which tests mostly wait: another mutant is tried beside them."""
COPIED = ("flext_plugins", "contrib", "tests", "pyproject.toml", "conftest.py")
OURS = ("contract", "mutants", "flext_plugins")
"""What a fork has of the tree, and must import from its copy."""
LIBRARIES = (
    *("h11", "httpcore", "httpcore2", "httpx", "httpx2", "hypothesis", "importlib_metadata"),
    *("pydantic", "requests"),
)
"""What is imported once, not once a mutant. httpx imports httpcore in a client's first request: a
test that forks meanwhile would hang, for who imports holds a lock."""


def copied(folder: Path) -> Path:
    """A copy of the tree in `folder`, to be broken again and again."""
    for name in COPIED:
        part = ROOT / name
        if part.is_dir():
            shutil.copytree(part, folder / name, ignore=IGNORED)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(part, folder)
    (folder / SERVER.name).symlink_to(SERVER)
    return folder


def write(path: Path, text: str) -> None:
    """Write a module; what was compiled of another one in the same second must not be taken."""
    path.write_text(text, encoding="utf-8")
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


class Verdict(NamedTuple):
    """What became of a mutant."""

    word: str
    why: str = ""


class Trial(NamedTuple):
    """A mutant whose tests run in a process of their own."""

    process: int
    mutant: Mutant
    copy: Path
    whole: str
    """What stood in the mutant's file."""
    begun: float
    """When it began, by the clock of `time.monotonic`."""

    @property
    def path(self) -> Path:
        """The file that is broken."""
        return self.copy / "flext_plugins" / file_of(self.mutant)

    @property
    def seconds(self) -> float:
        """For how long it has run."""
        return time.monotonic() - self.begun

    @property
    def said(self) -> Path:
        """What pytest prints."""
        return self.copy / "said.txt"


def begun(mutant: Mutant, copy: Path) -> Trial:
    """Break the copy, and run the tests that have to notice, in a fork of this process."""
    tests = chosen_tests(mutant)
    path = copy / "flext_plugins" / file_of(mutant)
    whole = path.read_text(encoding="utf-8")
    write(path, broken(mutant, copy / "flext_plugins"))
    process = os.fork()
    if not process:
        run(copy, tests)
    return Trial(process, mutant, copy, whole, time.monotonic())


def run(copy: Path, tests: list[str]) -> NoReturn:
    """Be what `python -m pytest` would be in the copy, without importing the libraries again."""
    status = 1  # as Python's own, where an exception ends pytest
    try:
        os.setsid()
        os.chdir(copy)
        with Path("said.txt").open("wb") as said, Path(os.devnull).open("wb") as nowhere:
            os.dup2(said.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        ours = [str(copy), *map(str, copy.glob("contrib/*"))]
        os.environ["PYTHONPATH"] = os.pathsep.join(ours)
        sys.path[:0] = ours
        for name in [each for each in sys.modules if each.startswith(OURS)]:
            del sys.modules[name]
        # Python 3.11's parser, by which tracebacks are shown, fails where the collector comes back to it.
        status = pytest.main(["-x", "-q", "--tb=no", "-p", "no:cacheprovider", *tests])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ended(trial: Trial) -> Verdict | None:
    """Repair its copy, if it has ended or hangs."""
    process, status = os.waitpid(trial.process, os.WNOHANG)
    hangs = not process and trial.seconds > HUNG
    if not process and not hangs:
        return None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(trial.process, signal.SIGKILL)  # what hangs, or was left behind
    if hangs:
        os.waitpid(trial.process, 0)
    write(trial.path, trial.whole)
    return Verdict("hangs") if hangs else judged(trial, status)


def judged(trial: Trial, status: int) -> Verdict:
    """Whether a test failed, by what pytest ended with and said."""
    code, said = os.waitstatus_to_exitcode(status), trial.said.read_text(errors="replace")
    if code == 1 and ("failed" in said or "error" in said):
        return Verdict("caught")
    return Verdict("SURVIVED", f": pytest ended with {code}: {said.strip()[-200:]}")


def verdicts(mutants: list[Mutant], copies: list[Path]) -> Iterator[tuple[Mutant, Verdict]]:
    """Try a few at once, the last first, since those that hang are there; as they end."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for each in LIBRARIES:
        importlib.import_module(each)
    pytest.main(["--version"])  # imports its own plugins
    gc.freeze()
    waiting, running = [*mutants], []
    while waiting or running:
        while waiting and copies and sum(each.seconds < LINGERS for each in running) < WORKERS:
            running.append(begun(waiting.pop(), copies.pop()))
        for trial in [*running]:
            if verdict := ended(trial):
                running.remove(trial)
                copies.append(trial.copy)
                yield trial.mutant, verdict
        time.sleep(0.01)


def main(beginnings: list[str]) -> int:
    """Try them all, four at a time and those that linger, since tests wait too."""
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
    with tempfile.TemporaryDirectory() as folder:
        copies = [copied(Path(folder, str(number))) for number in range(COPIES)]
        for mutant, verdict in verdicts(mutants, copies):
            survivors += bool(verdict.why)
            print(f"{verdict.word:8}  {mutant}{verdict.why}", flush=True)
    seconds = time.monotonic() - started
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants caught in {seconds:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
