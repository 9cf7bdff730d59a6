"""The command `flext-plugins`, run as people run it: another process, a real server."""

import json
import os
import re
import subprocess
import sys
import threading
import unicodedata
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flext_plugins.testing import Answer, install

pytestmark = pytest.mark.once

TOKEN = "canary-token-4711"
FETCHED = "canary-fetched-0815"
TYPED = "canary-typed-1234"
CANARIES = (TOKEN, FETCHED, TYPED)

PLUGINS = '''
import asyncio
from time import sleep

from pydantic import BaseModel

from flext_plugins import Refused, Secret, ServiceName, Stage, events, hookimpl


class AuthSettings(BaseModel):
    token: Secret
    service: ServiceName


class Login:
    Settings = AuthSettings
    stage = Stage.AUTH

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        answer = await connection.request(
            self.settings.service,
            "POST",
            "/token",
            headers={"Authorization": "Bearer " + self.settings.token.get_secret_value()},
        )
        token = (await connection.read(answer)).decode()
        connection.emit(events.TokenFetched("http://me:pw-canary@issuer", "fetched", 0.25))
        request.headers["Authorization"] = "Bearer " + token
        return await send(request)


class Again:
    stage = Stage.RETRY

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        response = await send(request)
        if response.status_code == 503:
            response = await send(request)
        return response


class Slow:
    """Takes 30 ms for itself before and after what is inside."""

    stage = Stage.ATTEMPT

    @hookimpl
    async def flext_exchange(self, request, send):
        sleep(0.03)
        response = await send(request)
        sleep(0.03)
        return response


class Tenant:
    @hookimpl
    def flext_request(self, request):
        request.headers["X-Tenant"] = "acme"
        if "X-Drop" in request.headers:
            del request.headers["X-Drop"]

    @hookimpl
    async def flext_response(self, response):
        response.headers["X-Seen"] = "yes"


class Cache:
    @hookimpl
    def flext_request(self, connection):
        return connection.respond(200, content=b"kept")


class Closed:
    stage = Stage.GUARD

    @hookimpl
    def flext_request(self):
        raise Refused("maintenance", retry_after=30)


class Waits:
    @hookimpl
    async def flext_request(self):
        await asyncio.sleep(0)


class Patient:
    @hookimpl
    async def flext_exchange(self, request, send, connection):
        await connection.sleep(9)
        return await send(request)


class Broken:
    @hookimpl
    def flext_request(self):
        raise ValueError("canary-token-4711")
'''
TRACES = '''
from opentelemetry import trace

from flext_plugins import Stage, hookimpl


class Spanned:
    """Makes spans as any library may: of several kinds, one inside the other, with secrets."""

    stage = Stage.ATTEMPT

    @hookimpl
    async def flext_exchange(self, request, send):
        tracer = trace.get_tracer("acme")
        kind = trace.SpanKind.PRODUCER
        with tracer.start_as_current_span("sends http://me:pw-canary@a.example", kind=kind):
            with tracer.start_as_current_span("looks\\x1b up") as span:
                span.add_event("found", {"acme.token": "canary-token-4711", "acme.size": 0.25})
                span.add_event("stops", {"acme.at": "http://a.example/?token=canary-token-4711"})
                try:
                    raise LookupError("canary-token-4711")
                except LookupError as error:
                    span.record_exception(error)
            return await send(request)


class Elsewhere:
    """Makes a trace of its own."""

    @hookimpl
    def flext_request(self):
        root = trace.set_span_in_context(trace.INVALID_SPAN)
        trace.get_tracer("acme").start_span("on its own", root).end()


class Silent:
    """Makes none."""

    @hookimpl
    def flext_request(self):
        pass
'''
EXPORTING = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider, export
console = export.ConsoleSpanExporter(out=sys.stderr)
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(export.SimpleSpanProcessor(console))
"""
POINTS = {
    "login": "Login",
    "again": "Again",
    "slow": "Slow",
    "tenant": "Tenant",
    "keep": "Cache",
    "closed": "Closed",
    "waits": "Waits",
    "patient": "Patient",
    "broken": "Broken",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status=200, body=b"", headers=None):
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        self.server.received.append((path, dict(self.headers.items()), body))
        if path == "/token":
            return self.answer(body=FETCHED.encode())
        if path == "/json":
            said = {"access_token": FETCHED, "error": {"code": "E1"}, "items": [1]}
            typed = {"Content-Type": "application/json", "Set-Cookie": f"session={FETCHED}"}
            return self.answer(body=json.dumps(said).encode(), headers=typed)
        if path == "/old":
            return self.answer(302, headers={"Location": f"/new?token={FETCHED}"})
        if path == "/binary":
            return self.answer(body=b"\x1b[2J\xff\x00")
        if path == "/flaky" and sum(each[0] == path for each in self.server.received) == 1:
            return self.answer(503)
        return self.answer(404 if path == "/missing" else 200, b"hello")

    do_POST = do_PUT = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.received = []
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def installed(tmp_path):
    """A folder of installed distributions, with the plugins above."""
    folder = tmp_path / "site"
    points = {name: f"acme_plugins:{kind}" for name, kind in POINTS.items()}
    install(folder, "acme-plugins", "1.2.3", plugins=points, module=PLUGINS)
    kinds = ("Spanned", "Elsewhere", "Silent")
    points = {kind.lower(): f"acme_traces:{kind}" for kind in kinds}
    install(folder, "acme-traces", plugins=points, module=TRACES)
    return folder


@pytest.fixture
def cli(tmp_path):
    """Runs the command; every run is searched for the secrets planted above."""
    folder = tmp_path / "work"
    folder.mkdir()
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("FLEXT") and key not in {"FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"}
    }

    def run(*arguments, expect=0, before="", path=(), **variables):
        code = f"{before}\nimport sys\nfrom flext_plugins.cli import main\nmain()"
        done = subprocess.run(
            [sys.executable, "-Werror", "-c", code, *arguments],
            cwd=folder,
            env={
                **inherited,
                "PYTHONPATH": os.pathsep.join(map(str, path)),
                "ACME_TOKEN": TOKEN,
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == expect, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        assert not [each for each in (*CANARIES, "pw-canary") if each in done.stdout + done.stderr]
        return done

    run.folder = folder
    return run


@pytest.fixture
def configure(cli):
    def write(text, name="flext.toml"):
        (cli.folder / name).write_text(text)

    return write


@pytest.fixture
def wired(configure, installed, server):
    """Writes a configuration of one service, `api`, with these plugins, and of `issuer`."""

    def write(*plugins):
        url = f"http://127.0.0.1:{server.server_port}"
        tables = "".join(f"[services.api.plugins.{each}]\n" for each in plugins)
        if "login" in plugins:
            tables = tables.replace(
                "plugins.login]\n", 'plugins.login]\ntoken = "env:ACME_TOKEN"\nservice = "issuer"\n'
            )
        configure(
            f'[services.api]\nbase_url = "{url}"\n{tables}[services.issuer]\nbase_url = "{url}"\n'
        )
        return (installed,)

    return write


def rows(text):
    """The lines of a timeline as (who, depth, rest), and its numbers."""
    lines = text.splitlines()
    header = next(place for place, line in enumerate(lines) if "at ms" in line)
    at = lines[header].index("who")
    found = []
    for line in lines[header + 1 :]:
        who, *rest = re.split(r"\s{2,}", line[at:].strip())
        depth = (len(line[at:]) - len(line[at:].lstrip())) // 2
        found.append((who, depth, " | ".join(rest), [float(x) for x in line[:at].split()]))
    return found


def tree(text):
    """The trace's id, and its lines as (depth, name, where, ...), durations left out."""
    _, _, shown = text.partition("\ntrace ")
    trace_id, *lines = shown.splitlines()
    found = []
    for line in lines:
        guides, words = re.fullmatch(r"([│├└─ ]*)(.*)", line).groups()
        said = [each for each in words.split("  ") if not re.fullmatch(r"[\d.]+ ms", each)]
        found.append((len(guides) // 4, *said))
    return trace_id, found


def written(text):
    """The spans that OpenTelemetry's own exporter wrote, as (name, trace id, id)."""
    decoder, spans, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        span, end = decoder.raw_decode(rest)
        rest = rest[end:].lstrip()
        ids = span["context"]
        spans.append((span["name"], ids["trace_id"][2:], ids["span_id"][2:]))
    return spans


# The command itself


def test_help_names_every_subcommand(cli):
    text = cli("--help").stdout
    for name in ("list", "check", "explain", "schema", "request", "new"):
        assert re.search(rf"^\s+{name} ", text, re.MULTILINE)


def test_version_is_that_of_the_library(cli):
    import flext_plugins

    assert cli("--version").stdout == f"flext-plugins {flext_plugins.__version__}\n"


def test_the_installed_script_and_the_module_are_the_same_command():
    script = Path(sys.executable).with_name("flext-plugins")
    for command in ([script], [sys.executable, "-m", "flext_plugins.cli"]):
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout.startswith("flext-plugins "), done.stderr


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_one_line_says_what_to_install(cli, missing):
    before = f"import sys; sys.modules[{missing!r}] = None"
    done = cli("list", before=before, expect=1)
    assert done.stderr == "the command needs the extra `cli` of flext-plugins\n"
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [("--help",), ("list",), ("list", "--json")])
def test_help_and_list_load_neither_httpx_nor_pydantic(cli, installed, arguments):
    look = (
        "import atexit, sys\n"
        "bad = ('httpx', 'pydantic', 'acme_plugins')\n"
        "atexit.register(lambda: print([m for m in bad if m in sys.modules], file=sys.stderr))"
    )
    assert cli(*arguments, before=look, path=(installed,)).stderr == "[]\n"


# list


def test_list_shows_a_plugin_with_its_distribution_version_and_status(cli, installed):
    lines = cli("list", path=(installed,)).stdout.splitlines()
    assert lines[0].split() == ["name", "distribution", "version", "status", "problem"]
    assert ["tenant", "acme-plugins", "1.2.3", "ready"] in [line.split() for line in lines]


def test_list_prints_every_problem_whole_when_piped_and_succeeds(cli, tmp_path):
    site = tmp_path / "site"
    install(site, "acme-old", plugins={"old": "acme_old:Old"}, requires=("flext-plugins>=7",))
    install(site, "acme-one", plugins={"same": "acme_one:Same"})
    install(site, "acme-two-with-a-rather-long-name", plugins={"same": "acme_two:Same"})
    (site / "acme_bad-1.0.dist-info").mkdir()
    (site / "acme_bad-1.0.dist-info" / "entry_points.txt").write_bytes(b"[flext_plugins]\n\xff")
    text = cli("list", path=(site,), COLUMNS="40").stdout
    assert re.search(
        r"^old +acme-old +1.0.0 +incompatible +asks for .*that fits$", text, re.MULTILINE
    )
    wanted = 'too: say use = "acme-two-with-a-rather-long-name:same" to mean this one'
    assert re.search(rf"^same .* conflict .*{re.escape(wanted)}$", text, re.MULTILINE)
    assert re.search(r"^- +acme_bad-1.0 .*corrupt .*reinstall", text, re.MULTILINE)


def test_list_says_what_a_configuration_denies_if_it_is_given_one(cli, configure, installed):
    configure('[host]\ndeny = ["acme-traces"]\n')
    configure('[host]\nallow = ["acme-traces"]\ndeny = []\n', "flext.test.toml")

    def denied(*options, **variables):
        records = json.loads(cli("list", "--json", *options, path=(installed,), **variables).stdout)
        acme = [each for each in records if each["distribution"].startswith("acme")]
        return {each["distribution"] for each in acme if each["status"] == "denied"}

    assert denied() == set()
    assert denied("-c", "flext.toml") == {"acme-traces"}
    assert denied("--env", "test") == {"acme-plugins"}
    shown = cli("list", "--import", "-c", "flext.toml", path=(installed,)).stdout
    assert re.search(
        r"^silent .* denied +denied: 'acme-traces' stands in host\.deny", shown, re.MULTILINE
    )


def test_list_folds_rather_than_cuts_in_a_narrow_terminal(cli, tmp_path):
    site = tmp_path / "site"
    install(site, "acme-old", plugins={"old": "acme_old:Old"}, requires=("flext-plugins>=7",))
    text = cli("list", path=(site,), FORCE_COLOR="1", COLUMNS="90").stdout
    plain = re.sub(r"\x1b\[[0-9;]*m|\s", "", text)
    assert "incompatible" in plain
    assert "…" not in plain


def test_list_as_json_has_the_records(cli, installed):
    records = json.loads(cli("list", "--json", path=(installed,)).stdout)
    assert {
        "name": "tenant",
        "distribution": "acme-plugins",
        "version": "1.2.3",
        "target": "acme_plugins:Tenant",
        "status": "ready",
        "problem": "",
    } in records


BROKEN = """
from flext_plugins import hookimpl

class Misspelt:
    @hookimpl
    def flext_requests(self): ...
"""


@pytest.fixture
def broken(tmp_path):
    """A folder of plugins that cannot be used, each in a distribution of its own, and of `fine`."""
    site = tmp_path / "broken"
    install(site, "acme-gone", plugins={"gone": "acme_nothing:Gone"})
    install(site, "acme-misspelt", plugins={"Mis_Spelt": "acme_misspelt:Misspelt"}, module=BROKEN)
    install(site, "acme-exits", plugins={"exits": "acme_exits:X"}, module="raise SystemExit(3)")
    install(site, "acme-lax", plugins={"lax": "acme_lax:Fine"}, module=FINE, requires=())
    install(site, "acme-old", plugins={"old": "acme_old:X"}, requires=("flext-plugins>=7",))
    install(site, "acme-fine", plugins={"fine": "acme_fine:Fine"}, module=FINE)
    return site


FINE = BROKEN.replace("requests", "request").replace("Misspelt", "Fine")
WRONG = {
    "gone": "importing acme_nothing:Gone raised ModuleNotFoundError: No module named 'acme_nothing'",
    "Mis_Spelt": "flext_requests is no hook; did you mean 'flext_request'?",
    "exits": "importing acme_exits:X raised SystemExit at acme_exits.py:1: 3",
    "lax": "it does not require flext-plugins: add 'flext-plugins>=1,<2' to acme-lax",
}


def test_list_imports_each_plugin_if_it_shall_and_says_which_are_broken(cli, broken):
    def told(*options):
        records = json.loads(cli("list", "--json", *options, path=(broken,)).stdout)
        return {each["name"]: (each["status"], each["problem"]) for each in records}

    plain, imported = told(), told("--import")
    for name in ("gone", "Mis_Spelt", "exits", "fine"):
        assert plain[name] == ("ready", "")
    for name, problem in WRONG.items():
        assert imported[name] == ("ready" if name == "lax" else "broken", problem)
    assert imported["old"] == plain["old"]
    assert imported["fine"] == ("ready", "")


def test_list_without_plugins_says_how_to_install_ours(cli):
    alone = (
        "import flext_plugins.cli._commands, sys\n"
        "flext_plugins.installed\n"
        "sys.path[:] = [each for each in sys.path if each.endswith(('lib-dynload', 'zip'))]"
    )
    done = cli("list", before=alone)
    assert done.stdout == (
        "no plugins are installed; for ours: the extra `standard` of flext-plugins\n"
    )
    assert cli("list", "--json", before=alone).stdout == "[]\n"


# check


def test_check_counts_the_services_that_can_be_composed(cli, wired):
    path = wired("login", "tenant")
    assert cli("check", path=path).stdout == "ok: 2 services: api, issuer\n"
    assert cli("check", "api", path=path).stdout == "ok: 1 service: api\n"


def test_check_prints_every_problem_on_a_line_of_its_own(cli, configure, installed):
    configure(
        '[services.one]\nbase_url = "http://127.0.0.1"\n'
        "[services.one.plugins.tenent]\n[services.one.plugins.slow]\nmuch = 1\n"
        '[services.two]\nbase_url = "http://127.0.0.1"\n'
        '[services.two.plugins.login]\ntoken = "env:NOBODY"\nservice = "isuer"\n'
        "[services.issuer]\n"
    )
    done = cli("check", path=(installed,), expect=1)
    problems = done.stderr.splitlines()
    assert done.stdout == ""
    assert len(problems) == 4
    assert "did you mean 'tenant'?" in problems[0]
    assert "unknown key" in problems[1]
    assert "NOBODY" in problems[2]
    assert "did you mean 'issuer'?" in problems[3]
    one = cli("check", "one", path=(installed,), expect=1).stderr.splitlines()
    assert one == problems[:2]


@pytest.mark.parametrize("name", ["fine", "Fine", "acme-fine:fine", "Acme_Fine:FINE"])
def test_check_of_a_plugin_needs_no_configuration(cli, broken, name):
    done = cli("check", "--plugin", name, path=(broken,))
    assert done.stdout == "ok: fine: acme-fine 1.0.0, acme_fine:Fine\n"


@pytest.mark.parametrize("name", WRONG)
def test_check_of_a_plugin_says_what_is_wrong_with_it(cli, broken, name):
    done = cli("check", "--plugin", name.lower().replace("_", "-"), path=(broken,), expect=1)
    distribution = f"acme-{name.lower().replace('_', '')}"
    assert done.stderr == f"{name}: {distribution} 1.0.0: {WRONG[name]}\n"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fines", "no installed plugin is named 'fines'; did you mean 'fine'?"),
        ("old", "acme-old 1.0.0: asks for flext-plugins>=7, and "),
        ("acme-gone:other", "no installed plugin is named 'acme-gone:other'"),
    ],
)
def test_check_of_a_plugin_that_cannot_be_had_says_why(cli, broken, name, told):
    assert cli("check", "--plugin", name, path=(broken,), expect=1).stderr.startswith(told)


def test_check_of_a_plugin_takes_neither_services_nor_files(cli, broken):
    for more in (["a"], ["-c", "flext.toml"], ["--env", "test"]):
        done = cli("check", "--plugin", "fine", *more, path=(broken,), expect=2)
        assert "takes neither services nor files" in done.stderr


def test_check_tells_what_a_plugin_raised_and_where(cli, configure, tmp_path):
    site = tmp_path / "odd"
    raises = "raise RuntimeError('no such tenant')"
    made = f"class Odd:\n    def __init__(self):\n        {raises}\n"
    hook = (
        "    from flext_plugins import hookimpl\n    @hookimpl\n    def flext_request(self): ...\n"
    )
    modules = {"acme-raises": raises, "acme-made": made + hook, "acme-wrong": "x ="}
    for name, module in modules.items():
        target = f"{name.replace('-', '_')}:Odd"
        install(site, name, plugins={name: target}, module=module)
    configure("".join(f"[services.{each}.plugins.{each}]\n" for each in modules))
    made, raised, wrong = sorted(cli("check", path=(site,), expect=1).stderr.splitlines())
    said = "its constructor raised RuntimeError at acme_made.py:3: no such tenant"
    assert made == f"acme-made: acme-made: {said}"
    said = "importing acme_raises:Odd raised RuntimeError at acme_raises.py:1: no such tenant"
    assert raised.endswith(said)
    assert wrong.endswith("raised SyntaxError: invalid syntax (acme_wrong.py, line 1)")


def test_check_of_one_service_does_not_look_at_the_others(cli, wired):
    path = wired("login")
    assert cli("check", "issuer", path=path, before="import os; del os.environ['ACME_TOKEN']")


@pytest.mark.parametrize(
    "arguments", [("check",), ("explain", "api"), ("request", "api", "GET", "/")]
)
def test_every_command_that_reads_configuration_says_what_is_wrong_with_it(
    cli, configure, arguments
):
    done = cli(*arguments, expect=1)
    assert done.stderr.startswith("flext.toml: no such file")
    configure("[services.api]\nbase_ulr = 1\n", "other.toml")
    done = cli(*arguments, "-c", "other.toml", expect=1)
    assert "other.toml" in done.stderr
    assert "did you mean 'base_url'?" in done.stderr
    assert done.stdout == ""


def test_the_environment_file_variables_and_flext_config_are_read(cli, configure):
    configure('[services.api]\nbase_url = "http://127.0.0.1:1"\n', "a.toml")
    configure("[services.api]\nmax_connections = 7\n", "a.staging.toml")
    variables = {"FLEXT_CONFIG": "a.toml", "FLEXT__SERVICES__API__DEADLINE": "3"}
    text = cli("explain", "api", "--env", "staging", **variables).stdout
    assert "max_connections = 7  (a.staging.toml)" in text
    assert "deadline = 3.0  (FLEXT__SERVICES__API__DEADLINE)" in text


@pytest.fixture
def own(cli, configure):
    """A file that names a class which lies beside it, and the same class in another folder."""
    configure('[services.a]\nbase_url = "http://127.0.0.1:9"\n[services.b]\n')
    configure(
        '[services.a]\nbase_url = "http://127.0.0.1:9"\n'
        '[services.a.plugins.journal]\nclass = "shop_journal:Journal"\n',
        "own.toml",
    )
    code = (
        "from flext_plugins import Refused, hookimpl\n"
        "class Journal:\n"
        "    @hookimpl\n"
        "    def flext_request(self): raise Refused(__file__)\n"
    )
    for folder in (cli.folder, cli.folder / "src"):
        folder.mkdir(exist_ok=True)
        (folder / "shop_journal.py").write_text(code)
    return cli.folder


@pytest.mark.parametrize(
    "command", [("check",), ("explain", "a"), ("request", "a", "GET", "/")], ids=" ".join
)
def test_a_class_beside_the_file_that_names_it_is_found_wherever_the_command_runs(
    cli, own, command
):
    expect = int(command[0] == "request")
    cli(*command, "-c", "own.toml", expect=expect)
    before = f"import os; os.chdir({os.fspath(own.parent)!r})"
    for variables in ({}, {"FLEXT_CONFIG": "work/own.toml"}):
        options = () if variables else ("-c", "work/own.toml")
        done = cli(*command, *options, before=before, expect=expect, **variables)
    if expect:
        assert os.fspath(own / "shop_journal.py") in done.stderr


def test_app_dir_says_where_classes_are_and_comes_first(cli, own):
    elsewhere = cli("request", "a", "GET", "/", "-c", "own.toml", "--app-dir", "src", expect=1)
    assert os.fspath(own / "src" / "shop_journal.py") in elsewhere.stderr


def test_a_class_that_is_not_there_is_one_line(cli, configure):
    configure('[services.a.plugins.journal]\nclass = "nowhere:Journal"\n')
    assert cli("check", expect=1).stderr == (
        "a: journal: flext.toml: services.a.plugins.journal.class: importing nowhere:Journal raised "
        "ModuleNotFoundError: No module named 'nowhere'\n"
    )


def test_the_folder_of_a_file_that_names_no_class_is_no_place_to_import_from(cli, own):
    look = "import atexit, sys; atexit.register(lambda: print(*sys.path, sep='\\n'))"
    shown = cli("check", before=look).stdout.splitlines()
    assert os.fspath(own) not in shown
    assert os.fspath(own) in cli("check", "-c", "own.toml", before=look).stdout.splitlines()


def test_check_says_which_pattern_denies_a_plugin_and_where_it_stands(cli, own, installed):
    said = {"FLEXT__HOST__DENY": '["acme-*", "shop_*"]'}
    variables = {**said, "FLEXT__SERVICES__B__PLUGINS__TENANT": "{}"}
    done = cli("check", "b", path=(installed,), expect=1, **variables)
    assert (
        "acme-plugins 1.2.3: denied: 'acme-*' stands in host.deny (FLEXT__HOST__DENY)"
        in done.stderr
    )
    done = cli("explain", "a", "-c", "own.toml", expect=1, **said)
    assert "journal.class: denied: 'shop_*' stands in host.deny (FLEXT__HOST__DENY)" in done.stderr


# explain


def test_explain_shows_stage_plugin_distribution_hooks_and_sources_in_order(cli, wired):
    text = cli("explain", "api", path=wired("tenant", "login", "again")).stdout
    order = [text.index(name) for name in ("RETRY  again", "AUTH  login", "MESSAGE  tenant")]
    assert order == sorted(order)
    assert "[acme-plugins 1.2.3]" in text
    assert "flext_request, flext_response" in text
    assert "token = env:ACME_TOKEN  (flext.toml)" in text


def test_explain_draws_a_tree_in_a_terminal_with_the_same_facts(cli, wired):
    text = cli("explain", "api", path=wired("tenant", "login"), FORCE_COLOR="1").stdout
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    for fact in ("AUTH  login", "acme-plugins 1.2.3", "token = env:ACME_TOKEN  (flext.toml)"):
        assert fact in plain
    assert plain.index("login") < plain.index("tenant") < plain.index("wire")


def test_explain_as_json_can_be_read_by_programs(cli, wired):
    onion = json.loads(cli("explain", "api", "--json", path=wired("login")).stdout)
    assert onion["layers"][0]["plugin"] == "login"
    assert onion["layers"][0]["version"] == "1.2.3"


def test_explain_names_the_nearest_service(cli, wired):
    done = cli("explain", "apo", path=wired(), expect=1)
    assert "did you mean 'api'?" in done.stderr


# schema


def test_schema_prints_the_schema_alone_and_says_on_stderr_what_it_leaves_open(cli, broken):
    done = cli("schema", path=(broken,))
    schema = json.loads(done.stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "retry" in schema["$defs"]["plugins"]["properties"]
    lines = done.stderr.splitlines()
    assert lines
    assert all(each.endswith("any table will do for it") for each in lines)


def test_schema_imports_nothing_that_a_configuration_denies(cli, configure, installed):
    configure('[host]\ndeny = ["acme-traces"]\n')
    done = cli("schema", "-c", "flext.toml", path=(installed,))
    assert "tenant" in json.loads(done.stdout)["$defs"]["plugins"]["properties"]
    told = [each.partition(":")[0] for each in done.stderr.splitlines()]
    assert told == ["elsewhere", "silent", "spanned"]


# request: what came back


def test_request_shows_status_headers_and_json_with_secrets_masked(cli, wired):
    text = cli("request", "api", "GET", "/json", path=wired()).stdout
    assert text.startswith("HTTP/1.1 200 OK\n")
    assert "content-type: application/json\n" in text
    assert "set-cookie: ***\n" in text
    assert '  "access_token": "***",\n' in text
    assert '    "code": "E1"\n' in text


@pytest.mark.parametrize("path", ["/missing", "/old"])
def test_request_shows_no_secret_of_its_address_wherever_it_is_quoted(cli, wired, path):
    query = "&".join(f"{name}={TYPED}" for name in ("pwd", "jwt", "session_id", "access_token"))
    before = "import logging; logging.basicConfig(level=logging.INFO)"
    done = cli("request", "api", "GET", f"{path}?{query}", path=wired(), before=before)
    assert f"{path}?pwd=***&jwt=***&session_id=***&access_token=*** " in done.stderr


def test_request_says_how_long_a_binary_body_is(cli, wired):
    assert "\n(6 bytes)\n" in cli("request", "api", "GET", "/binary", path=wired()).stdout


def test_request_sends_the_headers_and_the_body_that_are_given(cli, wired, server):
    path = wired()
    cli("request", "api", "PUT", "/x", "-H", f"X-Api-Key: {TYPED}", "-d", "text", path=path)
    cli("request", "api", "POST", "/y", "--json", '{"a": 1}', path=path)
    first, second = server.received
    assert (first[1]["X-Api-Key"], first[2]) == (TYPED, b"text")
    assert (second[1]["Content-Type"], second[2]) == ("application/json", b'{"a": 1}')


@pytest.mark.parametrize(
    "options",
    [("-H", TYPED), ("--json", "{" + TYPED), ("--json", "1", "-d", "2"), ("--deadline", "0")],
)
def test_options_that_make_no_sense_are_refused_without_repeating_them(cli, wired, options):
    done = cli("request", "api", "GET", "/", *options, path=wired(), expect=2)
    assert "Usage:" in done.stderr


def test_a_malformed_header_is_told_without_its_value(cli, wired):
    done = cli("request", "api", "GET", "/", "-H", f"X-A: {TYPED}\nb", path=wired(), expect=1)
    assert done.stderr == "LocalProtocolError: a header or the path is malformed\n"


def test_redirects_are_followed_only_when_asked(cli, wired):
    path = wired("tenant")
    text = cli("request", "api", "GET", "/old", path=path).stdout
    assert text.startswith("HTTP/1.1 302 Found\nlocation: /new?token=***\n")
    text = cli("request", "api", "GET", "/old", "--follow", path=path).stdout
    assert text.startswith("HTTP/1.1 200 OK\n")
    assert [row[2] for row in rows(text) if row[0] == "wire"] == ["302", "200"]


def test_an_error_status_fails_only_when_asked(cli, wired):
    path = wired()
    assert "404 Not Found" in cli("request", "api", "GET", "/missing", path=path).stdout
    cli("request", "api", "GET", "/missing", "--fail", path=path, expect=1)
    cli("request", "api", "GET", "/", "--fail", path=path)


# What others say, on a terminal


OBEYED = "\x1b]0;title\x07 \x1b[2J \x9b31m \u202e \u2066 \u200b \x7f \x08 \ufeff \U000e0041 end"
"""Sets a title, clears the screen, colours, turns letters around, hides some."""
ANSWERS = {
    "a reason phrase": ("200 %s", "", ""),
    "a header": ("200 OK", "X-A: %s\r\n", ""),
    "JSON": ("200 OK", "", json.dumps({"a": OBEYED})),
    "JSON in UTF-8": ("200 OK", "", json.dumps([OBEYED], ensure_ascii=False)),
    "a key in JSON": ("200 OK", "", json.dumps({OBEYED: 1})),
    "text": ("200 OK", "", re.sub(r"[\x00-\x1f\x7f-\x9f]", "", OBEYED)),
    "a carriage return": ("200 OK", "", "harmless\rend"),
    "a line separator": ("200 OK", "", "harmless\u2028end"),
    "no HTTP at all": ("%s", "", ""),
}
NAMES = {
    "a plugin's name": ("spoiled", OBEYED),
    "a distribution's name": (OBEYED, "spoiled"),
}
SPEAKS = """
from flext_plugins import Refused, hookimpl
from pydantic import BaseModel, field_validator

class Speaks:
    class Settings(BaseModel):
        word: str = ""
        said: str = ""

        @field_validator("word")
        @classmethod
        def _refuse(cls, word):
            raise ValueError({said!r})

    @hookimpl
    def flext_request(self):
        raise Refused({said!r})
"""


def raw(text):
    """The characters in it that no terminal shows as they are."""
    unseen = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {each for each in text if unicodedata.category(each) in unseen} - {"\n", "\t"}


def test_the_characters_tried_here_are_the_dangerous_ones():
    assert len(raw(OBEYED)) == 10


@pytest.mark.parametrize("place", ANSWERS)
def test_nothing_that_a_service_says_reaches_the_terminal_raw(cli, configure, flext_service, place):
    status, head, body = (each.replace("%s", OBEYED).encode() for each in ANSWERS[place])
    if place != "no HTTP at all":
        status = b"HTTP/1.1 " + status
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    flext_service.answer = Answer(raw=status + b"\r\n" + head + length + body)
    configure(f'[services.api]\nbase_url = "{flext_service.url}"\n')

    done = cli("request", "api", "GET", "/", expect=int(place == "no HTTP at all"))

    assert raw(done.stdout + done.stderr) == set()
    assert re.search(r"end|\(\d+ bytes\)", done.stdout + done.stderr)


ENCODINGS = {
    "ASCII": {"PYTHONIOENCODING": "ascii"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1"},
    "Windows' own": {"PYTHONIOENCODING": "cp1252"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_a_terminal_cannot_write_is_escaped(cli, configure, flext_service, encoding):
    said = {"name": "\u0416 \u2603 \U0001f600"}
    body = json.dumps(said, ensure_ascii=False).encode()
    flext_service.answer = Answer(200, {"Content-Type": "application/json"}, body)
    configure(f'[services.api]\nbase_url = "{flext_service.url}"\n[services."\u2603"]\n')

    done = cli("request", "api", "GET", "/", **ENCODINGS[encoding])
    assert "\\u2603 \\U0001f600" in done.stdout

    done = cli("request", "api", "GET", "/", "--machine", **ENCODINGS[encoding])
    assert json.loads(json.loads(done.stdout)["answer"]["body"]) == said

    done = cli("check", "\u2604", expect=1, **ENCODINGS[encoding])
    assert "\\u2603" in done.stderr


@pytest.mark.parametrize("option", ["-d", "-H"])
@pytest.mark.parametrize("argument", [b"\xe4\xff", "\u00e4\u2603".encode(), b"\x80"], ids=repr)
def test_an_argument_is_sent_byte_for_byte(cli, configure, flext_service, option, argument):
    """Also one that is no UTF-8."""
    configure(f'[services.api]\nbase_url = "{flext_service.url}"\n')
    said = b"X-Said: " * (option == "-H") + argument
    cli("request", "api", "POST", "/", option, os.fsdecode(said))
    received = flext_service.received[0]
    header = received.headers.get("x-said", "").encode("latin-1")
    assert argument == (header if option == "-H" else received.body)


@pytest.mark.parametrize("seconds", ["inf", "nan", "1e300", "0"])
def test_a_deadline_that_is_no_time_is_told(cli, configure, seconds):
    configure('[services.api]\nbase_url = "http://127.0.0.1"\n')
    done = cli("request", "api", "GET", "/", "--deadline", seconds, expect=2)
    assert "--deadline" in done.stderr


BODIES = {
    "nested deeper than Python reads": ("application/json", b"[" * 100_000),
    "nested deeper than it is masked": ("application/json", b"[" * 990 + b"]" * 990),
    "an object in an object and so on": ("application/json", b'{"a":' * 990 + b"1" + b"}" * 990),
    "of an encoding that decodes nothing": ("text/plain; charset=undefined", b"abc"),
    "of an encoding for names of hosts": ("text/plain; charset=idna", b"xn--\xff"),
    "of an encoding that is none for text": ("text/plain; charset=zlib", b"abc\xff"),
}


@pytest.mark.parametrize("machine", [[], ["--machine"]])
@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_cannot_be_read_is_told_by_its_size(
    cli, configure, flext_service, body, machine
):
    kind, content = BODIES[body]
    flext_service.answer = Answer(200, {"Content-Type": kind}, content)
    configure(f'[services.api]\nbase_url = "{flext_service.url}"\n')
    done = cli("request", "api", "GET", "/", *machine)
    assert f"({len(content)} bytes)" in done.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("place", NAMES)
def test_nothing_that_a_distribution_says_does_either(cli, tmp_path, place, options):
    distribution, plugin = NAMES[place]
    folder = tmp_path / "site" / "spoiled-1.dist-info"
    folder.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n"
    (folder / "METADATA").write_text(metadata)
    (folder / "entry_points.txt").write_text(f"[flext_plugins]\n{plugin} = a:b\n")

    done = cli("list", *options, path=(tmp_path / "site",))

    assert raw(done.stdout + done.stderr) == set()
    assert "\\u001b]0;title" in done.stdout
    if options:
        said = [{each["name"], each["distribution"]} for each in json.loads(done.stdout)]
        assert any(OBEYED in each for each in said)


@pytest.mark.parametrize("drawn", [{}, {"FORCE_COLOR": "1", "NO_COLOR": "1"}])
@pytest.mark.parametrize(
    ("arguments", "table"),
    [
        (["check"], {"word": "x"}),
        (["request", "api", "GET", "/"], {}),
        (["explain", "api"], {"said": OBEYED}),
        (["explain", "api", "--json"], {"said": OBEYED}),
    ],
)
def test_nothing_that_a_plugin_or_a_configuration_says_does_either(
    cli, configure, tmp_path, flext_service, arguments, table, drawn
):
    site = tmp_path / "site"
    module = SPEAKS.format(said=OBEYED)
    install(site, "acme-speaks", plugins={"speaks": "acme_speaks:Speaks"}, module=module)
    service = {"base_url": flext_service.url, "plugins": {"speaks": table}}
    configure(json.dumps({"services": {"api": service}}), "flext.yaml")
    fails = int(arguments[0] != "explain")

    done = cli(*arguments, "-c", "flext.yaml", path=(site,), expect=fails, **drawn)

    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    assert raw(text) == set()
    assert "\\u001b]0;title" in text


# request: the timeline


def test_the_timeline_tells_in_onion_order_what_each_plugin_did(cli, wired):
    text = cli("request", "api", "GET", "/", "-H", "X-Drop: 1", path=wired("tenant", "slow")).stdout
    steps = [row[:3] for row in rows(text)]
    assert steps == [
        ("slow", 0, "flext_exchange | passed"),
        ("tenant", 1, "flext_request | marked -x-drop +x-tenant"),
        ("wire", 1, "200"),
        ("tenant", 1, "flext_response | marked +x-seen"),
        ("HopFinished", 0, steps[4][2]),
        ("BodyEnded", 0, "flext_event | bytes=5"),
        ("CallFinished", 0, steps[6][2]),
    ]
    told = r"flext_event \| outcome=answered \| duration=\d\.\d{3} s \| attempts=1"
    assert re.fullmatch(told, steps[4][2])
    assert re.fullmatch(told, steps[6][2])
    assert "acme" not in text


def test_own_time_leaves_out_what_is_inside(cli, wired):
    steps = {
        row[0]: row[3]
        for row in rows(cli("request", "api", "GET", "/", path=wired("slow", "again")).stdout)
    }
    (_, own, total), (_, around, whole) = steps["slow"], steps["again"]
    assert 60 <= own <= total <= whole
    assert around < 30


def test_a_retry_shows_both_attempts_and_the_event(cli, wired):
    text = cli("request", "api", "GET", "/flaky", path=wired("again", "tenant")).stdout
    steps = [row[:3] for row in rows(text)]
    assert steps[0] == ("again", 0, "flext_exchange | sent 2 times")
    assert [row[2] for row in steps if row[0] == "wire"] == ["503", "200"]
    told = "flext_event | plugin=again | reason=503 | delay=0.000 s"
    assert ("Retried", 1, told) in [
        (*step[:2], re.sub(r"0\.00\d", "0.000", step[2])) for step in steps
    ]


def test_a_login_at_another_service_stands_inside_the_plugin_that_needs_it(cli, wired, server):
    text = cli("request", "api", "GET", "/", path=wired("login")).stdout
    steps = [row[:3] for row in rows(text)]
    assert steps[0] == ("login", 0, "flext_exchange | marked +authorization")
    assert steps[1] == ("wire (issuer)", 1, "200")
    told = "flext_event | issuer=http://***@issuer | outcome=fetched | duration=0.250 s"
    assert ("TokenFetched", 1, told) in steps
    assert ("wire", 1, "200") in steps
    assert server.received[1][1]["Authorization"] == f"Bearer {FETCHED}"


def test_a_plugin_that_answers_is_told_and_nothing_is_sent(cli, wired, server):
    text = cli("request", "api", "GET", "/", path=wired("keep")).stdout
    assert rows(text)[0][:3] == ("keep", 0, "flext_request | answered 200")
    assert server.received == []


def test_a_refusal_is_one_line_and_the_timeline_says_who_refused(cli, wired):
    done = cli("request", "api", "GET", "/", path=wired("closed", "again"), expect=1)
    assert "api: closed: maintenance" in done.stderr.splitlines()
    steps = [row[:3] for row in rows(done.stdout)]
    assert steps[0] == ("again", 0, "flext_exchange | passed on Refused")
    assert steps[1] == ("closed", 1, "flext_request | refused Refused")
    told = "flext_event | plugin=closed | reason=maintenance | retry_after=30 | kind=Refused"
    assert ("CallRefused", 1, told) in steps


def test_a_plugin_that_raises_is_named_without_what_it_said(cli, wired):
    done = cli("request", "api", "GET", "/", path=wired("broken"), expect=1)
    assert re.fullmatch(
        r"api: broken: flext_request raised ValueError at acme_plugins\.py:\d+\n", done.stderr
    )
    assert rows(done.stdout)[0][:3] == ("broken", 0, "flext_request | raised ValueError")


def test_a_plugin_that_awaits_what_it_may_not_is_named_as_without_the_timeline(cli, wired):
    done = cli("request", "api", "GET", "/", path=wired("waits"), expect=1)
    assert done.stderr.startswith("api: waits: awaited ")
    assert rows(done.stdout)[0][2] == "flext_request | raised PluginError"


def test_a_server_that_is_not_there_is_one_line(cli, configure):
    configure('[services.api]\nbase_url = "http://127.0.0.1:9"\n')
    done = cli("request", "api", "GET", "/", expect=1)
    assert re.fullmatch(r"ConnectError: .*refused\n", done.stderr)
    assert rows(done.stdout)[0][:3] == ("wire", 0, "raised ConnectError")


def test_a_deadline_ends_the_call(cli, wired):
    done = cli("request", "api", "GET", "/", "--deadline", "0.5", path=wired("patient"), expect=1)
    assert done.stderr == "api: patient: no time left to wait 9 s\n"
    assert rows(done.stdout)[0][2] == "flext_exchange | raised DeadlineExceeded"


def test_a_terminal_gets_a_table_with_the_same_steps(cli, wired):
    text = cli("request", "api", "GET", "/", path=wired("tenant"), FORCE_COLOR="1").stdout
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "marked +x-tenant" in plain


# request: the trace


def test_login_attempts_and_what_happened_are_one_tree_with_the_ids_that_were_sent(
    cli, wired, server
):
    path = wired("login", "retry")
    text = cli("request", "api", "GET", "/flaky", path=path, FLEXT__PLUGINS__TRACING="{}").stdout
    trace_id, lines = tree(text)
    (depth, name, kind, root), *below = lines
    assert (depth, name, kind) == (0, "flext-plugins request", "internal")
    sent = [each[1]["traceparent"].split("-")[1:3] for each in server.received]
    assert [each[0] for each in sent] == [trace_id] * 4
    login, first, again, second = (each[1] for each in sent)
    assert root not in (login, first, again, second)
    fetched = (1, "flext.token_fetched", "issuer=http://***@issuer")
    assert [each[:3] if each[1].startswith("flext.") else each for each in below] == [
        (1, "POST", "client issuer", "200", login),
        fetched,
        (1, "GET", "client api", "error 503", first),
        (1, "flext.retried", "plugin=retry"),
        (1, "POST", "client issuer", "200", again),
        fetched,
        (1, "GET", "client api", "200", "resend_count=1", second),
    ]


def test_any_plugins_spans_are_shown_with_their_secrets_masked(cli, wired):
    text = cli("request", "api", "GET", "/", path=wired("spanned")).stdout
    _, lines = tree(text)
    (root, sends, looks) = (each for each in lines if re.fullmatch("[0-9a-f]{16}", each[-1]))
    assert sends[:-1] == (1, "sends http://***@a.example", "producer api")
    assert looks[:-1] == (2, "looks\\u001b up", "internal api")
    assert [each for each in lines if each not in (root, sends, looks)] == [
        (3, "found", "token=***", "size=0.250"),
        (3, "stops", "at=http://a.example/?token=***"),
        (3, "exception", "type=LookupError", "escaped=False"),
    ]


def test_an_error_is_told_on_the_attempt_and_on_the_whole(cli, configure):
    configure('[services.api]\nbase_url = "http://127.0.0.1:9"\nplugins = { tracing = {} }\n')
    done = cli("request", "api", "GET", "/", expect=1)
    _, (root, attempt, event) = tree(done.stdout)
    assert root[1:-1] == ("flext-plugins request", "internal", "error ConnectError")
    assert attempt[:-1] == (1, "GET", "client api", "error connect")
    assert event == (2, "exception", "type=httpx.ConnectError")
    assert re.fullmatch(r"ConnectError: .*refused\n", done.stderr)


def test_a_call_that_is_refused_has_a_trace_with_the_refusal(cli, wired):
    path = wired("closed", "tracing")
    _, (_, event) = tree(cli("request", "api", "GET", "/", path=path, expect=1).stdout)
    assert event[:4] == (1, "flext.refused", "plugin=closed", "reason=maintenance")


@pytest.mark.parametrize(
    ("before", "variables"),
    [
        ("", {"FLEXT__SERVICES__API__PLUGINS__TRACING__EXPORTER": "console"}),
        (EXPORTING, {}),
    ],
    ids=["the settings'", "the process's"],
)
def test_what_is_shown_is_exported_as_ever_and_the_whole_with_it(cli, wired, before, variables):
    path = wired("tracing")
    done = cli("request", "api", "GET", "/", path=path, before=before, **variables)
    trace_id, lines = tree(done.stdout)
    root, attempt = lines
    assert written(done.stderr) == [(each[1], trace_id, each[-1]) for each in (attempt, root)]


def test_a_login_that_is_exported_elsewhere_is_in_the_tree_all_the_same(cli, wired):
    exporter = {"FLEXT__SERVICES__ISSUER__PLUGINS__TRACING__EXPORTER": "console"}
    done = cli("request", "api", "GET", "/", path=wired("login", "tracing"), **exporter)
    trace_id, lines = tree(done.stdout)
    assert [each[1:3] for each in lines if len(each) > 3 and each[2].startswith("client")] == [
        ("POST", "client issuer"),
        ("GET", "client api"),
    ]
    assert [each[:2] for each in written(done.stderr)] == [("POST", trace_id)]


def test_another_trace_has_a_tree_of_its_own(cli, wired):
    text = cli("request", "api", "GET", "/", path=wired("tracing", "elsewhere")).stdout
    assert len(set(re.findall(r"^trace ([0-9a-f]{32})$", text, re.MULTILINE))) == 2
    assert re.search(r"^on its own  internal api  ", text, re.MULTILINE)


def test_a_service_that_nobody_traces_has_no_tree_and_loads_no_sdk(cli, wired):
    look = "import atexit, sys\natexit.register(lambda: print('opentelemetry' in sys.modules))"
    text = cli("request", "api", "GET", "/", path=wired("again"), before=look).stdout
    assert "\ntrace " not in text
    assert text.endswith("\nFalse\n")


@pytest.mark.parametrize(
    ("plugin", "variables"),
    [("silent", {}), ("tracing", {"OTEL_TRACES_SAMPLER": "always_off"})],
    ids=["no spans", "not sampled"],
)
def test_where_there_is_nothing_to_see_there_is_no_tree(cli, wired, plugin, variables):
    done = cli("request", "api", "GET", "/", path=wired(plugin), **variables)
    assert ("\ntrace " in done.stdout, done.stderr) == (False, "")


def test_without_the_sdk_a_line_says_what_to_install_if_a_plugin_would_trace(cli, wired):
    absent = "import sys; sys.modules['opentelemetry.sdk'] = None"
    done = cli("request", "api", "GET", "/", path=wired("tracing"), before=absent)
    assert done.stderr == "no spans without OpenTelemetry's SDK: pip install opentelemetry-sdk\n"
    assert rows(done.stdout)[-1][0] == "CallFinished"
    assert cli("request", "api", "GET", "/", path=wired("again"), before=absent).stderr == ""


def test_a_terminal_gets_the_same_tree(cli, wired):
    path = wired("spanned")
    piped, drawn = (
        cli("request", "api", "GET", "/", path=path, **more).stdout
        for more in ({}, {"FORCE_COLOR": "1", "COLUMNS": "120"})
    )
    assert "\x1b[" in drawn
    lines = [each[1:3] for each in tree(piped)[1]]
    assert [each[1:3] for each in tree(re.sub(r"\x1b\[[0-9;]*m", "", drawn))[1]] == lines


# commands that plugins bring

GREETS = """
import sys
import typer

app = typer.Typer()
print("imported", file=sys.stderr)


@app.command()
def greet(name: str, times: int = 1) -> None:
    print("hello " * times + name)


@app.command()
def fails() -> None:
    from flext_plugins import Refused

    raise Refused("not today: http://me:canary-token-4711@a.example")
"""


@pytest.fixture
def bring(tmp_path):
    """Installs a distribution that brings commands; gives the folder that it is in."""

    def bring(name="acme-greets", commands=None, module=GREETS, plugins=None):
        commands = {"greet": "acme_greets:app"} if commands is None else commands
        install(tmp_path / "brought", name, plugins=plugins, commands=commands, module=module)
        return tmp_path / "brought"

    return bring


HAILS = """

from flext_plugins import hookimpl


class Hails:
    @hookimpl
    def flext_request(self): ...
"""


def test_check_of_a_plugin_looks_at_its_commands_too(cli, bring):
    plugins, module = {"hails": "acme_hails:Hails"}, GREETS + HAILS
    site = bring("acme-hails", {"hail": "acme_hails:app"}, module, plugins=plugins)
    assert cli("check", "--plugin", "hails", path=(site,)).stdout == (
        "ok: hails: acme-hails 1.0.0, acme_hails:Hails\n"
    )
    entry_points = site / "acme_hails-1.0.0.dist-info" / "entry_points.txt"
    entry_points.write_text(entry_points.read_text().replace("acme_hails:app", "acme_hails:ap"))
    told = cli("check", "--plugin", "hails", path=(site,), expect=1).stderr.splitlines()[-1]
    assert told.startswith("no command 'hail' of acme-hails 1.0.0: importing acme_hails:ap raised")


def test_help_lists_the_commands_that_plugins_bring_and_imports_none(cli, bring):
    done = cli("--help", path=(bring(),))
    assert re.search(r"^  greet +By acme-greets 1\.0\.0\.$", done.stdout, re.MULTILINE)
    assert done.stderr == ""


def test_a_command_is_imported_when_it_is_called(cli, bring):
    done = cli("greet", "greet", "ana", "--times", "2", path=(bring(),))
    assert (done.stdout, done.stderr) == ("hello hello ana\n", "imported\n")
    assert "--times" in cli("greet", "greet", "--help", path=(bring("acme-other", {}),)).stdout
    assert cli("list", path=(bring("acme-third", {}),)).stderr == ""


def test_an_option_that_makes_no_sense_is_refused_as_anywhere(cli, bring):
    assert "--tims" in cli("greet", "greet", "ana", "--tims", path=(bring(),), expect=2).stderr


def test_what_goes_wrong_in_a_command_is_told_in_a_line(cli, bring):
    done = cli("greet", "fails", path=(bring(),), expect=1)
    assert done.stderr.splitlines() == ["imported", "not today: http://***@a.example"]


BROKEN_COMMANDS = {
    "no such module": ("acme_nothing:app", "", "importing acme_nothing:app raised ModuleNotFound"),
    "no such name": ("acme_greets:gone", "", "importing acme_greets:gone raised AttributeError: "),
    "an error": ("acme_greets:app", "raise ValueError('canary-token-4711')", "raised ValueError"),
    "an exit": ("acme_greets:app", "import sys; sys.exit(0)", "raised SystemExit"),
    "no app": ("acme_greets:app", "app = 5", "acme_greets:app is no typer.Typer, but int"),
    "an empty app": ("acme_greets:app", "import typer\napp = typer.Typer()", "raised RuntimeError"),
}


@pytest.mark.parametrize(
    ("target", "module", "said"), BROKEN_COMMANDS.values(), ids=BROKEN_COMMANDS
)
def test_a_broken_command_costs_a_line_that_names_its_distribution(
    cli, bring, installed, target, module, said
):
    site = bring("acme-greets", {"greet": target, "works": "acme_works:app"}, module)
    (site / "acme_works.py").write_text(GREETS)
    done = cli("greet", "ana", path=(site,), expect=1)
    (line,) = done.stderr.splitlines()
    assert line.startswith("no command 'greet' of acme-greets 1.0.0: ")
    assert said in line
    assert cli("works", "greet", "ana", path=(site,)).stdout == "hello ana\n"
    assert "greet" in cli("--help", path=(site, installed)).stdout
    cli("list", path=(site,))


@pytest.mark.parametrize("name", ["list", "check", "explain", "request", "new"])
def test_our_own_names_are_ours(cli, bring, name):
    site = bring(commands={name: "acme_greets:app"})
    said = f"no command '{name}' of acme-greets 1.0.0: the name is flext-plugins' own"
    done = cli("--help", path=(site,))
    assert done.stdout.splitlines()[-1] == said
    assert len(re.findall(rf"^  {name} ", done.stdout, re.MULTILINE)) == 1
    assert cli("list", path=(site,)).stderr.splitlines() == [said]
    assert "imported" not in cli(name, "--help", path=(site,)).stderr


def test_a_name_that_two_offer_is_nobodys_and_that_of_our_plugin_is_its_own(cli, bring):
    bring("acme-greets", {"greet": "acme_greets:app", "oracle": "acme_greets:app"})
    site = bring("acme-other", {"greet": "acme_other:app"})
    two = "another distribution offers 'greet' too: uninstall"
    ours = "the name 'oracle' belongs to flext-plugins-oracle: uninstall"
    assert cli("list", path=(site,)).stderr.splitlines() == [
        f"no command 'greet' of acme-greets 1.0.0: {two} acme-greets or the other one",
        f"no command 'greet' of acme-other 1.0.0: {two} acme-other or the other one",
        f"no command 'oracle' of acme-greets 1.0.0: {ours} acme-greets or the other one",
    ]
    assert "No such command 'greet'" in cli("greet", path=(site,), expect=2).stderr


def test_a_distribution_that_needs_another_version_of_us_brings_no_command(cli, tmp_path):
    site = tmp_path / "site"
    commands = {"old": "acme_old:app"}
    install(site, "acme-old", commands=commands, requires=("flext-plugins>=7",))
    assert "no command 'old' of acme-old 1.0.0: asks for flext-plugins>=7" in (
        cli("list", path=(site,)).stderr
    )


def test_a_name_that_would_steer_the_terminal_is_no_command(cli, bring):
    site = bring(commands={"\x1b[2Jgreet": "acme_greets:app"})
    for arguments in (("--help",), ("list",)):
        done = cli(*arguments, path=(site,))
        assert "\x1b" not in done.stdout + done.stderr
        assert "a name has letters, digits and `-`" in done.stdout + done.stderr
