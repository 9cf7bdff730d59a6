"""A plugin of each kind from the template: built, installed, tested, linted, tried, broken."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

import pytest
from baking import NAMES, QUICK, ROOT, SCRIPTS, bake, files, package, run
from baking import nothing_of_this_machine as _nothing_of_this_machine  # noqa: F401

pytestmark = pytest.mark.slow

TRIED = {
    "message": r"signature +flext_request +marked \+x-client \+x-signature",
    "guard": r"pause +flext_exchange +passed",
    "observer": r"Slow +flext_event +emitted",
    "resource": r"greeting: hello",
}
"""What `make try` shows, beside the answer of the echo."""
BROKEN = {
    "message": {
        "the body is not signed": ("await connection.read(request)", 'b""'),
        "the query is not signed": ("request.url.target", "request.url.path"),
        "the method is not signed": ("request.method, ", ""),
        "the client is not signed": ("(settings.client, request", "(request"),
        "a stream is read": ("if connection.replayable(request):", "if connection:"),
        "a stream is not told": ('UNSIGNED = "UNSIGNED"', 'UNSIGNED = ""'),
        "the client is not named": ('request.headers["X-Client"] = settings.client', ""),
        "the header is always the same": (
            "request.headers[settings.header]",
            'request.headers["X-Signature"]',
        ),
        "another hash": ("text.encode(), hashlib.sha256", "text.encode(), hashlib.sha512"),
        "the first key stays": (
            "key = settings.key.get_secret_value().encode()",
            "key = KEYS.setdefault(0, settings.key.get_secret_value().encode())",
        ),
        "an observer's failure sends unsigned": ("fail_closed = True", "fail_closed = False"),
    },
    "guard": {
        "a setting is not in the README": ("    longest:", "    least: float = 0.0\n    longest:"),
        "nothing is refused": ("if left > 0:", "if left > 10**6:"),
        "every answer begins a pause": ("response.status_code in self._settings.statuses", "True"),
        "no status begins a pause": ("response.status_code in self._settings.statuses", "False"),
        "a pause without being asked": (
            "= retry_after(response.headers)",
            "= retry_after(response.headers) or 30.0",
        ),
        "the longest is not minded": ("min(seconds, self._settings.longest)", "seconds"),
        "nobody learns how long": (", retry_after=left", ""),
        "an application's tests are refused": ("if not connection.waits:", "if not connection:"),
        "it sends before it refuses": (
            "left = self._until - time.monotonic()",
            "left = self._until - time.monotonic()\n        await send(request)",
        ),
        "its own mistake instead of a refusal": (
            "class Paused(Refused):",
            "class Paused(Exception):",
        ),
    },
    "observer": {
        "quick ones are told": ("if seconds >= self._threshold:", "if seconds:"),
        "nothing is told": ("if seconds >= self._threshold:", "if seconds < 0:"),
        "no event": ("connection.emit(slow)", "pass"),
        "no line in the log": ("LOG.warning(", "LOG.debug("),
        "the query is told": ("or request.url.path", "or request.url.target"),
        "the route is ignored": ("(call.route if call else None) or ", ""),
        "nothing is measured": ("time.perf_counter() - started", "0.0"),
        "a failure is not named": (
            "outcome = failure.value if failure else type(error).__name__",
            "pass",
        ),
        "the answer is not named": ("outcome = str(response.status_code)", "pass"),
    },
    "resource": {
        "an outage counts for nothing": ("failure = Failure.CONNECT", "outage = Failure.CONNECT"),
        "every error is an outage": (
            "if code in DOWN else EntriesError",
            "if DOWN else EntriesError",
        ),
        "no error is an outage": (
            "if code in DOWN else EntriesError",
            "if not DOWN else EntriesError",
        ),
        "an error of SQLite's leaves": (
            "except sqlite3.Error as error:",
            "except sqlite3.Warning as error:",
        ),
        "reading may not be repeated": ('"get", self._path, idempotent=True', '"get", self._path'),
        "writing may not be repeated": ('"put", self._path, idempotent=True', '"put", self._path'),
        "the database stays open": (", close=entries.close", "", ", close=lent.close", ""),
        "what could not be opened is taken for open": (
            "database.close()\n                raise",
            'state["database"] = database\n                raise',
        ),
        "the deadline is not minded": ("self._connection.timeout(self._timeout)", "self._timeout"),
        "the first text stays": ("insert or replace", "insert or ignore"),
        "it is no operation": (
            "rows = await self._connection.perform(operation, self._execute, GET, key)",
            "rows = self._execute(GET, key)",
        ),
        "what is missing is an error": ("rows[0][0] if rows else None", "rows[0][0]"),
    },
}
"""By kind: what is wrong, and what stands there and what takes its place."""


def wheel(project, folder):
    run(SCRIPTS / "python", "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=project)


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder with the wheels of the host and its devstack, as `FLEXT_DIST` names it."""
    folder = tmp_path_factory.mktemp("dist with spaces")
    for project in (ROOT, ROOT / "contrib/devstack"):
        wheel(project, folder)
    return folder


@pytest.fixture(scope="module")
def environment(dist, tmp_path_factory):
    """An environment with those wheels; other people's distributions are those of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    install(folder, *dist.glob("*.whl"))
    site = next(folder.glob("[lL]ib/**/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    shutil.copy(SCRIPTS / "ruff", folder / "bin/ruff")
    (folder / "bin/mypy").write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -m mypy "$@"\n')
    (folder / "bin/mypy").chmod(0o755)
    return folder


def install(environment, *wheels):
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin/python", "-q")
    offline = ("--disable-pip-version-check", "--no-deps", "--no-index")
    run(*pip, "install", *offline, *wheels, cwd=environment)


@pytest.fixture(scope="module")
def baked(environment, tmp_path_factory):
    """A plugin of each kind, its wheel installed beside the host's, and its own `.venv`."""
    output, wheels = tmp_path_factory.mktemp("baked"), tmp_path_factory.mktemp("wheels")
    folders = {}
    for kind, name in NAMES.items():
        by = ("--author", "Ana", "--prefix", "acme-flext", "-o", output)
        run(environment / "bin/flext-plugins", "new", name, "--kind", kind, *by, cwd=output)
        folders[kind] = output / f"acme-flext-{name}"
        wheel(folders[kind], wheels)
    install(environment, *wheels.glob("*.whl"))
    (environment / "installed").touch()
    for folder in folders.values():
        (folder / ".venv").symlink_to(environment)  # what the Makefile would build
    return folders


def test_an_installed_host_makes_what_the_checkout_makes(environment, tmp_path):
    """What pip has compiled in the template is no part of it."""
    assert [*environment.glob("lib/**/cookiecutter-plugin/**/*.pyc")] != []
    new = (environment / "bin/flext-plugins", "new", "calm", "--author", "Ana")
    run(*new, "--prefix", "acme-flext", "-o", tmp_path / "new", cwd=tmp_path)
    bake(tmp_path / "baked", name="calm")
    assert files(tmp_path / "new") == files(tmp_path / "baked")


@pytest.mark.parametrize("kind", NAMES)
def test_its_tests_and_checks_pass(kind, baked, environment):
    cache = {"MYPY_CACHE_DIR": environment / "mypy-cache"}
    said = run("make", "-j2", "test", "lint", cwd=baked[kind], CI="true", **cache, **QUICK)
    assert re.search(r"^\d{2,3} passed in", said, re.MULTILINE), said
    assert "Success: no issues found" in said


def test_a_line_that_is_too_long_is_formatted_and_the_rest_mended(baked, tmp_path):
    folder = tmp_path / "message"
    shutil.copytree(baked["message"], folder, symlinks=True)
    line = f"VALUES = {{{', '.join(f'{number}: {number}' for number in range(10, 21))}, 7: 1}}"
    assert len(line) == 103
    plugin = package(folder) / "plugin.py"
    plugin.write_text(f"{plugin.read_text()}\n\n{line}\nimport os, json\n\n\ndef bare(): pass\n")
    run("make", "format", cwd=folder)
    text = plugin.read_text()
    assert "\n    10: 10,\n" in text
    assert "import os" not in text
    run(folder / ".venv/bin/ruff", "format", "--check", ".", cwd=folder)
    assert "D103" in run("make", "lint", cwd=folder, expect=2)


@pytest.mark.parametrize("kind", NAMES)
def test_it_is_ready_and_a_request_passes_it(kind, baked, environment):
    name, plugins = NAMES[kind], environment / "bin/flext-plugins"
    said = run(plugins, "check", "--plugin", name, cwd=environment)
    assert said.startswith(f"ok: {name}: acme-flext-{name} 0.1.0, acme_flext_")
    said = run("make", "try", cwd=baked[kind])
    assert re.search(rf"─ [A-Z]+  {name}  \[acme-flext-{name} 0.1.0[],]", said), said
    assert '"path": "/orders"' in said
    assert "HTTP/1.1 200 OK" in said
    assert re.search(TRIED[kind], said), said


@pytest.mark.parametrize("kind", NAMES)
def test_its_own_tests_notice_what_is_broken(kind, baked, tmp_path):
    tests = ("tests/test_plugin.py", "tests/test_readme.py")

    def survives(what, edits):
        broken = tmp_path / re.sub(r"\W", "-", what)
        done = run_tests(
            baked[kind], broken, edits, *tests, "-k", "requests or readme"
        )  # one world
        return what if done.returncode == 0 else None

    broken = {"nothing": (), **BROKEN[kind]}
    with ThreadPoolExecutor(2) as pool:
        assert {*pool.map(survives, broken, broken.values())} == {"nothing", None}


def test_its_conformance_notices_a_guard_that_refuses_where_nothing_waits(baked, tmp_path):
    rule = ("tests/test_conformance.py", "-k", "refuses_nothing and requests")
    edits = BROKEN["guard"]["an application's tests are refused"]
    done = run_tests(baked["guard"], tmp_path, edits, *rule)
    assert "a caller got Paused('the service asked for a pause')" in done.stdout


def run_tests(folder, copy, edits, *arguments):
    """The end of its tests with `copy`, a copy of its package with those `edits`."""
    broken = copy / package(folder).name
    shutil.copytree(package(folder), broken)
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        (place,) = [each for each in broken.glob("*.py") if old in each.read_text()]
        text = place.read_text().replace(old, new)
        place.write_text(f"{text}\nKEYS = {{}}\n" if "KEYS" in new else text)
    python = folder / ".venv/bin/python"
    offline = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", **QUICK}
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **offline},
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done


def test_from_nothing_a_wheel_is_built_and_seen_ready_and_the_lowest_versions_do(
    baked, dist, tmp_path
):
    """With an index for other people's distributions, and with ours by file."""
    folder = tmp_path / "signature"
    shutil.copytree(baked["message"], folder, ignore=shutil.ignore_patterns(".venv", ".*_cache"))
    said = run(
        "make",
        "-j2",
        "wheel",
        "test-lowest",
        cwd=folder,
        FLEXT_DIST=os.path.relpath(dist, folder),
        **QUICK,
    )
    assert "ok: signature: acme-flext-signature 0.1.0, acme_flext_signature:Signature" in said
    assert re.search(r"^\d{2,3} passed in", said, re.MULTILINE), said
    python = folder / ".venv-lowest/bin/python"
    frozen = run(python, "-m", "pip", "list", "--format=freeze", cwd=folder).splitlines()
    assert "pydantic==2.10.4" in frozen
    told = run("make", "test", cwd=folder, expect=2, FLEXT_DIST=tmp_path)
    assert "has to hold one wheel of flext-plugins and one of its devstack" in told
