"""Empty environments with what pages install, made once a run for all that install the same."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from zipfile import ZipFile

import pip
import reader

ROOT = Path(__file__).parents[1]
PROJECTS = [ROOT, *(each.parent for each in sorted(ROOT.glob("contrib/*/pyproject.toml")))]
HUGE = 35_000_000
"""Bytes. Type checkers, and the node that one of them needs: no page installs them."""
UNCHECKED = (1).to_bytes(12, "little")
"""In a compiled file: not to be compared with its source, which is younger in each environment."""


class Broken(Exception):
    """A page does not work as it says; the message is what was printed."""


class Environments:
    """What pages install, below one folder that all processes of a test run share.

    Args:
        folder: is made, and emptied when the last process is done with it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def open(self) -> Iterator[Environments]:
        """Keep them while any process has them open: each is 60 MB or more."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "users").open("w") as users:
            fcntl.flock(users, fcntl.LOCK_SH)
            yield self
            with suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Nobody waits for it: on some disks it takes longer than all pages.
                command = 'rm -rf "$0" >/dev/null 2>&1 &'
                subprocess.run(["sh", "-c", command, self.folder], check=False)

    def read(self, page: Path, folder: Path) -> str:
        """Do what a page says, in that folder, and give what it printed.

        Raises:
            Broken: something in it does not work.
        """
        programs = self.of(page) / "bin"
        command = [programs / "python", "-u", reader.__file__, page]
        return run(command, folder, self._variables(programs), 300)

    def of(self, page: Path) -> Path:
        """The environment of a page.

        Raises:
            Broken: what it installs cannot be installed.
        """
        commands = [each for block in reader.blocks(page) for each in reader.commands(block)]
        setup = [each for each in commands if each.is_setup]
        names = sorted({word for each in setup for word in each.words})
        if any(each.installs and not each.is_setup for each in commands):
            names.append(str(page))  # what it makes itself, nobody else shall have
        name = sha256(" ".join(names).encode()).hexdigest()[:12]
        return self._made(name, lambda path: self._fill(path, [each.text for each in setup]))

    def _fill(self, environment: Path, setup: Sequence[str]) -> None:
        self._made("dist", build)
        self._made("index", repack)
        venv.create(environment, symlinks=True)
        programs, (site,) = environment / "bin", environment.glob("lib/python*/site-packages")
        for each in ("pip", f"pip-{pip.__version__}.dist-info"):  # ensurepip takes four seconds
            (site / each).symlink_to(Path(pip.__file__).parents[1] / each)
        script = "from pip._internal.cli.main import main\nraise SystemExit(main())\n"
        (programs / "pip").write_text(f"#!{programs}/python\n{script}")
        (programs / "pip").chmod(0o755)
        for command in setup:
            run(["sh", "-c", command], self.folder, self._variables(programs), 120)

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        """A folder in this one, made by the first process that wants it; others wait meanwhile."""
        path, done = self.folder / name, self.folder / f"{name}.done"
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(path, ignore_errors=True)
                make(path)
                done.touch()
        return path

    def _variables(self, programs: Path) -> dict[str, str]:
        """The variables of a reader who has those programs, and none of the developers'."""
        path = os.environ["PATH"].split(os.pathsep)
        others = [each for each in path if not Path(each).is_relative_to(sys.prefix)]
        return {
            "PATH": os.pathsep.join([str(programs), *others]),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "FLEXT_SEERDB_PYTHON": str(ROOT / ".venv-seerdb/bin/python"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
            "PIP_FIND_LINKS": str(self.folder / "index"),
            "PIP_NO_INDEX": "1",
            "PIP_COMPILE": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }


def build(folder: Path) -> None:
    """Build the wheels of the checkout, as `make wheels` does."""
    for project in PROJECTS:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        run(command, project, os.environ, 60)


def repack(folder: Path) -> None:
    """Make wheels of what is installed here and not ours, in the versions of constraints.txt.

    So no index is asked: that takes seconds, and what is of ours and a page forgets might be a
    stranger's there. And nothing is compiled in each environment anew.
    """
    folder.mkdir()
    for each in distributions():
        files = each.files or []
        if each.name.startswith("flext-plugins") or sum(file.size or 0 for file in files) > HUGE:
            continue
        name = f"{each.name.replace('-', '_')}-{each.version}-py3-none-any.whl"
        with ZipFile(folder / name, "w") as wheel:
            for file in files:
                if ".." not in file.parts:
                    content = file.read_binary()
                    if file.suffix == ".pyc":
                        content = content[:4] + UNCHECKED + content[16:]
                    wheel.writestr(str(file), content)


def run(command: Sequence[object], folder: Path, env: Mapping[str, str], seconds: int) -> str:
    """Run a program, end whatever it leaves behind, and give what it printed.

    Raises:
        Broken: it fails, or takes longer.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        program = subprocess.Popen(
            [str(each) for each in command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: object = program.wait(seconds)
        except subprocess.TimeoutExpired:
            code = f"it takes more than {seconds} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        output.seek(0)
        printed = output.read()
    if code != 0:
        raise Broken(f"{printed}\n{' '.join(str(each) for each in command)}: {code}")
    return printed
