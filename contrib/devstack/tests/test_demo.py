"""The demo: that it keeps its promises, and that it notices when one is not kept."""

import io
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from flext_plugins_devstack import Devstack, NotInstalled, directory, oracle, postgres
from flext_plugins_devstack.auth import USERS
from flext_plugins_devstack.demo import (
    acts,
    database,
    identity,
    outage,
    performance,
    pipeline,
    trace,
)
from flext_plugins_devstack.demo.checks import (
    CONFIG,
    PATIENCE,
    Since,
    Skipped,
    Unmet,
    environment,
)
from rich.console import Console

from flext_plugins import ConfigError, Host, installed

pytestmark = pytest.mark.once

EXAMPLE = Path(__file__).parents[3] / "examples" / "flext.toml"
PREFIX = "FLEXT__SERVICES__FLEXCORE__PLUGINS__"
COMMAND = [
    *(sys.executable, "-W", "error", "-c"),
    "from flext_plugins_devstack.cli import app; app()",
    "demo",
]


def playing(acts: str, before: str = "") -> list[str]:
    """The command, with these of its acts alone."""
    program = f"""
from flext_plugins_devstack import cli, directory
from flext_plugins_devstack.demo import performance
every = performance.ACTS
performance.ACTS = {acts}
{before}
cli.app()
"""
    return [*COMMAND[:-2], program, "demo"]


def is_there(*finders: Callable[[], object]) -> bool:
    try:
        return all(find() for find in finders)
    except NotInstalled:
        return False


# Without its server an act is skipped; where CI is set nothing is.
NEEDS: dict[Any, tuple[Callable[[], object], ...]] = {
    identity.identity: (directory.program,),
    database.database: (oracle.interpreter, postgres.programs),
}
PLAYED = [
    act for act in performance.ACTS if os.environ.get("CI") or is_there(*NEEDS.get(act.play, ()))
]
DIRECTORY, DATABASE = performance.ACTS[-2:]
WITHOUT_A_DATABASE = "every[:-1]"
needs_slapd = pytest.mark.skipif(DIRECTORY not in PLAYED, reason="slapd is not installed")
needs_database = pytest.mark.skipif(
    DATABASE not in PLAYED, reason="no Oracle-compatible server is installed"
)


def total(kept: int) -> str:
    skipped = len(performance.ACTS) - len(PLAYED)
    return f"\n{kept} of {len(PLAYED)}{f', {skipped} skipped' if skipped else ''}\n"


def expected(seen: str) -> list[str]:
    """The marks of the acts that are played here, of those of all but the one with a database."""
    return [mark for mark, act in zip(seen, performance.ACTS[:-1], strict=True) if act in PLAYED]


def surroundings(**variables: str) -> dict[str, str]:
    """Without what would be taken for an order, with a proxy that nobody may come near."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FLEXT") and name not in {"NO_COLOR", "PYTHONIOENCODING", "NO_PROXY"}
    }
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "FORCE_COLOR": "1", "COLUMNS": "40"}
    return clean | proxies | {"PYTHONUTF8": "1"} | variables


def demo(acts: str = "every", **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        playing(acts),
        capture_output=True,
        encoding="utf-8",
        env=surroundings(**variables),
        timeout=120,
        check=False,
    )


PROJECT = EXAMPLE.parent / "pipeline"
PROGRAMS = [str(PROJECT.parents[1] / f".venv-{name}" / "bin") for name in ("meltano", "dbt")]


@pytest.mark.slow
def test_a_pipeline_keeps_its_promise_in_one_more_act() -> None:
    done = subprocess.run(
        [*playing("()"), "--pipeline", str(PROJECT)],
        capture_output=True,
        encoding="utf-8",
        env=surroundings(PATH=os.pathsep.join([*PROGRAMS, os.environ["PATH"]])),
        timeout=300,
        check=False,
    )
    if "skipped" in done.stdout and not os.environ.get("CI"):
        pytest.skip(done.stdout)
    assert (done.returncode, done.stderr, marks(done.stdout)) == (0, "", ["✓"])
    assert "   $ python pipeline.py flext-service\n   extracted: 1996 changes\n" in done.stdout
    assert "   directory: 1994 added, 2 failed\n" in done.stdout
    assert "   $ python pipeline.py project\n   extracted: 19 changes\n" in done.stdout
    assert "   database: 19 loaded, 0 refused\n" in done.stdout


def test_a_pipeline_that_is_not_installed_is_skipped(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join(["/usr/bin", "/bin"]))
    with pytest.raises(Skipped) as caught:
        next(pipeline.pipeline(tmp_path, Devstack()))
    for what in ("no meltano on the PATH", "no dbt on the PATH", f"meltano install, in {tmp_path}"):
        assert what in str(caught.value)


@needs_slapd
@needs_database
def test_a_pipeline_that_moves_nothing_is_noticed(tmp_path: Path, monkeypatch: Any) -> None:
    left = shutil.ignore_patterns(".meltano")
    project = Path(shutil.copytree(PROJECT, tmp_path / "project", ignore=left))
    for name in pipeline.INSTALLED:
        (project / ".meltano" / name).mkdir(parents=True)
    (project / "pipeline.py").write_text("print('nothing to do')")
    for name in ("meltano", "dbt"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([os.environ["PATH"], str(tmp_path)]))
    unmet = "customers in the directory, in the database: expected (1994, 1992), saw (0, 0)"
    with pytest.raises(Unmet, match=f"^{re.escape(unmet)}$"):
        list(pipeline.pipeline(project, Devstack()))


def marks(said: str) -> list[str]:
    return re.findall(r"^   ([✓✗]) ", said, re.MULTILINE)


@pytest.fixture(scope="module")
def done() -> "subprocess.CompletedProcess[str]":
    return demo()


def test_each_act_keeps_its_promise_and_says_so_in_plain_text(
    done: "subprocess.CompletedProcess[str]",
) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    kept = re.findall(r"^   ✓ (.*)$", done.stdout, re.MULTILINE)
    assert kept == [act.promise for act in PLAYED]
    assert done.stdout.endswith(total(len(PLAYED)))
    for number, act in enumerate(performance.ACTS, 1):
        assert f"\n{number}. {act.title}\n" in done.stdout
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout
    assert f"   {CONFIG}\n" in done.stdout  # longer than COLUMNS, and in one piece


def test_no_secret_is_printed(done: "subprocess.CompletedProcess[str]") -> None:
    said = done.stdout
    secrets = {*(password for _, _, password in USERS), acts.API_KEY, "eyJ"}
    secrets |= {*oracle.USERS.values()}
    secrets |= {directory.PASSWORD, *(password for _, password in directory.USERS.values())}
    assert [secret for secret in secrets if secret in said] == []
    assert "Bearer ***" in said


def test_without_its_auth_plugin_the_acts_that_need_it_fail_and_the_others_go_on() -> None:
    done = demo(WITHOUT_A_DATABASE, **{f"{PREFIX}AUTH": "false"})
    assert done.returncode == 1
    assert marks(done.stdout) == expected("✓✗✗✗✗✓✗✗✓")
    for unmet in (
        "layers, outermost first: expected ['auth', 'circuit-breaker'], saw ['circuit-breaker']",
        "status: expected 200, saw 401",
        "statuses of threads: expected {200: 20}, saw {401: 20}",
        "secrets at flexcore: expected authorization and x-api-key, saw x-api-key",
    ):
        assert f"   ✗ {unmet}\n" in done.stdout


def test_a_circuit_that_lets_everybody_probe_is_noticed() -> None:
    done = demo(WITHOUT_A_DATABASE, **{f"{PREFIX}CIRCUIT_BREAKER__HALF_OPEN_CALLS": "20"})
    assert done.returncode == 1
    assert marks(done.stdout) == expected("✓✓✓✓✓✗✓✓✗")
    assert "   ✗ what 20 callers get: expected {'200': 1, 'CircuitOpen': 19}, saw" in done.stdout


def test_what_is_no_unmet_promise_but_an_error_fails_its_act_alone() -> None:
    done = demo(WITHOUT_A_DATABASE, **{f"{PREFIX}CIRCUIT_BREAKER__FAILURE_TRESHOLD": "3"})
    assert done.returncode == 1
    assert marks(done.stdout) == expected("✓✗✗✗✗✗✗✗✗")
    failed = marks(done.stdout).count("✗")
    assert done.stdout.count("expected no error, saw ConfigError: ") == failed - 1
    assert done.stdout.count("did you mean 'failure_threshold'?") == failed
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("option", "acts", "kept"), [([], "every[:3]", 3), (["--plain"], "every[:2]", 2)]
)
def test_a_terminal_gets_colours_unless_it_wants_none(
    option: list[str], acts: str, kept: int
) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        with subprocess.Popen(
            [*playing(acts), *option],
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=surroundings(TERM="xterm-256color"),
        ) as process:
            os.close(theirs)
            said = b"".join(chunks(terminal)).decode()
            assert process.wait(60) == 0
    assert ("\x1b[" in said) is (not option)
    assert f"\n{kept} of {kept}" in said.replace("\r", "").replace("\x1b[1m", "")


def chunks(terminal: io.FileIO) -> Iterator[bytes]:
    while True:
        try:
            chunk = terminal.read(65536)
        except OSError:  # how Linux says that the other end is closed
            return
        if not chunk:
            return
        yield chunk


@pytest.fixture
def protected() -> Iterator[Devstack]:
    with Devstack(protected=True) as stack, environment(performance.variables(stack)):
        yield stack


class Careless:
    """What a program does without the library: one token for ever, and headers on everything."""

    def __init__(self) -> None:
        self.opened = ExitStack()

    @classmethod
    def from_file(cls, _: Path) -> Self:
        return cls()

    def connect(self, _: str, **options: Any) -> httpx.Client:
        url = os.environ["FLEXT__SERVICES__FLEXCORE__BASE_URL"]
        client = httpx.Client(base_url=url, trust_env=False, timeout=30, **options, **self.more())
        return self.opened.enter_context(client)

    def more(self) -> dict[str, Any]:
        return {"headers": {"Authorization": f"Bearer {token()}", "X-API-Key": acts.API_KEY}}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()


class Forgetful(Careless):
    """One login for each request."""

    def more(self) -> dict[str, Any]:
        def log_in(request: httpx.Request) -> httpx.Request:
            request.headers["Authorization"] = f"Bearer {token()}"
            return request

        return {"auth": log_in}


def token() -> str:
    asked = {"username": "admin", "password": "flexcore100", "tenant_id": "tenant-1"}
    url = os.environ["FLEXT__SERVICES__FLEXT_AUTH__BASE_URL"] + "/auth/login"
    return str(httpx.post(url, json=asked, trust_env=False, timeout=30).json()["token"])


@pytest.mark.parametrize(
    ("act", "host", "unmet"),
    [
        (
            acts.authentication,
            Careless,
            "authorization in response.request: expected False, saw True",
        ),
        (acts.sharing, Forgetful, "logins of threads: expected 1, saw 20"),
        (acts.healing, Careless, "status: expected 200, saw 401"),
        (acts.redirection, Careless, "secrets elsewhere: expected neither, saw x-api-key"),
    ],
)
def test_what_httpx_does_by_itself_does_not_pass_for_the_library(
    act: Callable[[Devstack], Iterator[str]],
    host: type[Careless],
    unmet: str,
    protected: Devstack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acts, "Host", host)
    with pytest.raises(Unmet, match=f"^{re.escape(unmet)}$"):
        list(act(protected))


def test_a_machine_slower_than_the_circuit_stays_open_gets_more_time(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "TIMEOUTS", (1e-9, PATIENCE / 4))
    seen = list(outage.outage(protected))
    assert sum(line.startswith("this machine took longer") for line in seen) == 1
    assert seen[-1] == "heard: half-open -> closed, successful probes: 1"


@pytest.mark.parametrize("absent", ["RETRY", "TRACING", "AUTH"])
def test_a_trace_of_something_else_is_noticed(
    absent: str, protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trace.VARIABLES, f"{PREFIX}{absent}", "false")
    with pytest.raises(Unmet, match=r"^spans: name, status, resends: expected \["):
        list(trace.trace(protected))


@pytest.mark.parametrize(
    ("stream", "before", "after", "unmet"),
    [
        ("stdout", r"(?m)^trace .*$", f"trace {'1' * 32}", "the spans' traces: "),
        ("stdout", r"[0-9a-f]{16}\n\Z", f"{'1' * 16}\n", "spans that are drawn: "),
        ("stdout", r"flext\.retried", "flext.other", "events that are drawn: "),
        ("stderr", r'"parent_id": "0x.', '"parent_id": "0x', "parents: "),
    ],
)
def test_a_drawing_that_does_not_show_what_was_is_noticed(
    stream: str,
    before: str,
    after: str,
    unmet: str,
    protected: Devstack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = f"""
import re, subprocess, sys
done = subprocess.run([*{trace.COMMAND!r}, *sys.argv[1:]], capture_output=True, encoding="utf-8")
done.{stream} = re.sub({before!r}, {after!r}, done.{stream}, count=1)
sys.stdout.write(done.stdout)
sys.stderr.write(done.stderr)
"""
    monkeypatch.setattr(trace, "COMMAND", [sys.executable, "-c", program])
    with pytest.raises(Unmet, match=f"^{re.escape(unmet)}"):
        list(trace.trace(protected))


def test_a_traceparent_that_is_not_the_spans_is_noticed(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
from opentelemetry.trace.propagation import tracecontext
from flext_plugins.cli import main
tracecontext.format_span_id = lambda _: "1" * 16
main()
"""
    monkeypatch.setattr(trace, "COMMAND", [sys.executable, "-c", program])
    with pytest.raises(Unmet, match=r"^traceparent on the wire: "):
        list(trace.trace(protected))


def test_without_its_plugins_the_demo_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [each for each in installed() if each.name in {"auth", "ldap", "retry"}]
    monkeypatch.setattr(performance, "installed", lambda: kept)
    said = io.StringIO()
    assert performance.perform(Console(file=said)) is False
    assert said.getvalue() == (
        "not installed: circuit-breaker, tracing; needs the extra `demo` of flext-plugins-devstack\n"
    )


def test_without_slapd_its_act_is_skipped_and_says_how_to_install_it(tmp_path: Path) -> None:
    done = subprocess.run(
        playing("(every[0], every[-2])", "directory.ELSEWHERE = ()"),
        capture_output=True,
        encoding="utf-8",
        env=surroundings(PATH=str(tmp_path)),
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert marks(done.stdout) == ["✓"]
    install = "slapd is not installed: apt-get install slapd (Debian, Ubuntu)"
    assert done.stdout.endswith(f"\n   - skipped: {install}\n\n1 of 1, 1 skipped\n")


def test_all_that_is_missing_is_named_at_once(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(identity, "installed", lambda: ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(directory, "ELSEWHERE", ())
    plugin = "flext-plugins-ldap is not installed: the extra `demo` of flext-plugins-devstack"
    with pytest.raises(Skipped, match=f"^{plugin}; slapd is not installed: apt-get "):
        list(identity.identity(protected))


@needs_slapd
def test_without_the_ldap_plugin_its_act_is_skipped(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "installed", lambda: ())
    with pytest.raises(
        Skipped, match="^flext-plugins-ldap is not installed: the extra `demo` of [a-z-]+$"
    ):
        list(identity.identity(protected))


@needs_slapd
@pytest.mark.parametrize(
    ("settings", "unmet"),
    [
        (
            {"LDAP__USER_HEADER": "X-Somebody"},
            f"who the call is for: expected {identity.ANA}, saw {['root', *identity.ANA[1:]]}",
        ),
        (
            {"LDAP__GROUP_FILTER": "(ou={dn})"},
            f"who the call is for: expected {identity.ANA}, saw {[*identity.ANA[:2], 'nothing']}",
        ),
        (
            {"LDAP__TTL": "60"},
            f"first calls for ana: expected {['Refused'] * 3}, saw {['200'] * 3}",
        ),
        (
            {"CIRCUIT_BREAKER__DISABLED": "true"},
            "the last one: expected CircuitOpen, saw Refused",
        ),
    ],
)
def test_a_directory_of_which_another_use_is_made_is_noticed(
    settings: dict[str, str], unmet: str, protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant = identity._variables
    more = {f"{PREFIX}{name}": value for name, value in settings.items()}
    monkeypatch.setattr(identity, "_variables", lambda server: {**meant(server), **more})
    with pytest.raises(Unmet, match=f"^{re.escape(unmet)}$"):
        list(identity.identity(protected))


@needs_slapd
def test_without_the_ldap_plugin_on_flexcore_its_act_fails(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(server: directory.DirectoryServer) -> dict[str, str]:
        return {name: value for name, value in meant(server).items() if "__LDAP__" not in name}

    meant = identity._variables
    monkeypatch.setattr(identity, "_variables", without)
    monkeypatch.setattr(performance, "ACTS", performance.ACTS[-2:-1])
    with io.StringIO() as written:
        assert not performance.perform(Console(file=written, force_terminal=False, width=1000))
        said = written.getvalue()
    assert said.endswith("\n0 of 1\n")
    assert marks(said) == ["✗"]


@needs_slapd
def test_a_guess_that_is_right_is_noticed(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(directory.USERS, "bob", ("Bob Jones", "a guess"))
    with pytest.raises(Unmet, match="^what a guess gets: .*'authenticated as uid=bob,"):
        list(identity.identity(protected))


@needs_slapd
def test_a_directory_that_lives_on_is_noticed(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Immortal(directory.DirectoryServer):
        def down(self) -> None:
            pass

        def close(self) -> None:
            super().down()
            super().close()

    monkeypatch.setattr(identity, "DirectoryServer", Immortal)
    with pytest.raises(Unmet, match=r"^first calls for ana: .*, saw \['200', '200', '200'\]$"):
        list(identity.identity(protected))


@needs_slapd
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_remains_of_a_directory_when_the_demo_is_ended(number: signal.Signals) -> None:
    with subprocess.Popen(
        playing("every[-2:-1]"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=surroundings(),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"__CA_FILE=(\S+)/tls/", line):
                folder = Path(found[1])
            if line.startswith("   ana, with her password"):
                break
        pid = int((folder / "slapd.pid").read_text())
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode in {128 + number, -number}
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_without_the_oracle_compatible_server_its_act_is_skipped_and_says_how_to_install_it(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres, "EXTENSIONS", tmp_path)
    monkeypatch.setattr(oracle, "ENVIRONMENT", "gone")
    monkeypatch.delenv(oracle.VARIABLE, raising=False)
    with pytest.raises(Skipped) as skipped:
        list(database.database(protected))
    first, second = str(skipped.value).split("; ")
    assert first.startswith("PostgreSQL with orafce is not installed: apt-get install ")
    assert second.startswith("seerdb is not installed: python3 -m venv gone && ")


def test_without_its_plugins_the_act_with_a_database_is_skipped(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "installed", lambda: ())
    extra = "the extra `demo` of flext-plugins-devstack"
    names = ("flext-plugins-oracle", "flext-plugins-metrics")
    missing = "; ".join(f"{name} is not installed: {extra}" for name in names)
    with pytest.raises(Skipped, match=f"^{missing}"):
        list(database.database(protected))


@needs_database
def test_a_table_that_takes_a_bad_row_is_noticed(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = "create table orders (id number(9), item varchar2(12) not null)"
    monkeypatch.setattr(database, "TABLE", table)
    with pytest.raises(Unmet, match=r"^bad rows: .*saw {17: 'ORA-01400', 144: 'ORA-12899'}$"):
        list(database.database(protected))


@needs_database
def test_a_database_without_a_circuit_is_noticed(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant = database._variables
    off = {"FLEXT__SERVICES__SHOP__PLUGINS__CIRCUIT_BREAKER__DISABLED": "true"}
    monkeypatch.setattr(database, "_variables", lambda server: {**meant(server), **off})
    with pytest.raises(Unmet, match="^the last one: expected CircuitOpen, saw DatabaseUnavail"):
        list(database.database(protected))


@needs_database
def test_a_database_that_lives_on_is_noticed(
    protected: Devstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Immortal(oracle.OracleCompatibleServer):
        def down(self) -> None:
            pass

        def close(self) -> None:
            super().down()
            super().close()

    monkeypatch.setattr(database, "OracleCompatibleServer", Immortal)
    with pytest.raises(Unmet, match=r"^the first loads: .*, saw \['1 loaded', '0 loaded'"):
        list(database.database(protected))


def test_a_plugin_that_has_been_imported_is_noticed(protected: Devstack) -> None:
    __import__("flext_plugins_auth")
    with pytest.raises(Unmet, match=r"modules of plugins in sys.modules: expected \[\], saw"):
        list(acts.discovery(protected))


@pytest.mark.parametrize(("encoding", "mark"), [("ascii", "ok:"), ("utf-8", "✓")])
def test_it_can_be_read_in_any_encoding_and_leaves_the_environment_as_it_was(
    encoding: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEXT_PASSWORD", "of the user's own")
    monkeypatch.delenv("FLEXT_USERNAME", raising=False)
    monkeypatch.setattr(performance, "ACTS", performance.ACTS[1:3])
    before, written = dict(os.environ), io.BytesIO()
    with io.TextIOWrapper(written, encoding=encoding, write_through=True) as file:
        assert performance.perform(Console(file=file, force_terminal=False))
        said = written.getvalue().decode(encoding)
    assert dict(os.environ) == before
    assert f"   {mark} {performance.ACTS[0].promise}\n" in said
    assert said.endswith("\n2 of 2\n")


def test_the_environment_is_put_back_after_an_error() -> None:
    before = dict(os.environ)
    with pytest.raises(Unmet), environment({"FLEXT_DEMO": "1", "PATH": ""}):
        raise Unmet
    assert dict(os.environ) == before


def test_what_the_servers_saw_is_counted_from_a_moment_on(protected: Devstack) -> None:
    httpx.get(f"{protected.flexcore.url}/health", trust_env=False)
    since = Since(protected)
    assert (since.flexcore, since.elsewhere, since.logins) == ([], [], 0)
    httpx.get(f"{protected.echo.url}/x", trust_env=False)
    assert [each.path for each in since.elsewhere] == ["/x"]


def test_the_example_is_the_file_that_the_demo_reads_and_that_is_shipped() -> None:
    assert EXAMPLE.read_bytes() == CONFIG.read_bytes()


def test_the_example_is_sound_once_its_secrets_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLEXT_PASSWORD", raising=False)
    monkeypatch.setenv("FLEXT_USERNAME", "admin")
    with Host.from_file(EXAMPLE) as host:
        assert host.services == ("flext-auth", "flexcore")
        with pytest.raises(ConfigError, match="env:FLEXT_PASSWORD: this variable is not set"):
            host.check()
    monkeypatch.setenv("FLEXT_PASSWORD", "canary")
    with Host.from_file(EXAMPLE) as host:
        host.check()
        assert "canary" not in str(host.explain("flexcore"))
    ports = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))["services"]
    assert [each["base_url"][-5:] for each in ports.values()] == [":8082", ":8080"]
