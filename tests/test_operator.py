"""The commands for whoever runs a program: status, watch, health, trip, reset; over real HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
from flext_plugins_devstack.certificates import authority
from test_cli import cli, configure  # noqa: F401 - fixtures

from flext_plugins import Host, status
from flext_plugins.cli._operator import MARK
from flext_plugins.testing import Answer

pytestmark = pytest.mark.once

TOKEN = "0123456789-canary"
WITH_TOKEN = {"FLEXT_STATUS_TOKEN": TOKEN}


class Quiet(WSGIRequestHandler):
    """Writes nothing to stderr."""

    def log_message(self, *_): ...


class Threaded(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


@contextmanager
def served(application):
    with make_server("127.0.0.1", 0, application, Threaded, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def host(flext_service, tmp_path):
    """Two services, of which one has shared circuits that open at the second failure."""
    flext_service.answer = Answer()
    breaker = {"failure_threshold": 2, "shared": str(tmp_path / "circuits")}
    plugins = {"circuit-breaker": breaker, "retry": {"attempts": 1}}
    orders = {"base_url": flext_service.url, "health": "/health", "plugins": plugins}
    services = {"orders": orders, "own": {"base_url": flext_service.url}}
    with Host({"services": services}) as made:
        yield made


@pytest.fixture
def program(host):
    """The address of the status pages of a program with that host."""
    with served(status.wsgi(host, token=TOKEN)) as url:
        yield url


@pytest.fixture
def ask(cli, program):
    """Runs a command for that program."""

    def run(*arguments, **more):
        return cli(*arguments, **{"FLEXT_STATUS_URL": program, **WITH_TOKEN, **more})

    return run


def watch(program, *options):
    """The command, as it watches that program."""
    command = [sys.executable, "-m", "flext_plugins.cli", "watch", "--url", program, *options]
    return subprocess.Popen(
        [*command, "--interval", "0.1"],
        env={**os.environ, **WITH_TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def fail(host, service, times=2):
    service.answer = Answer(status=503)
    for _ in range(times):
        assert host.connect("orders").get("/").status_code == 503


def test_status_tells_why_calls_are_refused_and_since_when(ask, host, flext_service):
    fail(host, flext_service)
    told = ask("status").stdout
    first, header, *rows = told.splitlines()
    assert first.startswith(f"process {os.getpid()}, started 20")
    assert header.split() == [
        "service",
        "connection",
        "under",
        "way",
        "circuit",
        "since",
        "why",
        "health",
    ]
    (row,) = [each for each in rows if each.split()[:2] == ["orders", "sync"]]
    assert "open" in row
    assert "consecutive failures: 2, the last one: status 503; probed in " in row
    assert any(each.startswith("orders  retry  budget") for each in rows)
    assert "\x1b" not in told


def test_status_in_json_is_what_the_host_says(ask, host):
    host.connect("orders").get("/")
    assert json.loads(ask("status", "--json").stdout)["services"].keys() == {*host.services}
    assert json.loads(ask("--json", "status").stdout)["process"] == os.getpid()


def test_health_of_a_program_ends_with_1_if_a_service_is_not_well(ask, flext_service):
    assert ask("health").stdout.splitlines()[2].split()[:3] == ["orders", "well", "200"]
    flext_service.answer = Answer(status=503)
    assert "answered 503" in ask("health", "orders", expect=1).stdout
    told = json.loads(ask("health", "orders", "--json", expect=1).stdout)
    assert told["process"] == os.getpid()
    assert (told["services"]["orders"]["status"], [*told["services"]]) == (503, ["orders"])
    assert "no service is named 'nobody'" in ask("health", "nobody", expect=1).stderr


def test_health_without_a_url_asks_the_services_of_the_configuration(
    cli,
    configure,
    flext_service,
):
    flext_service.answer = Answer()
    configure(f'[services.a]\nbase_url = "{flext_service.url}"\nhealth = "/health"\n')
    patient = ("--timeout", "20")
    assert cli("health", *patient).stdout.splitlines()[2].split()[:3] == ["a", "well", "200"]
    # A file that is named is what is meant, whatever the variable says.
    where = {"FLEXT_STATUS_URL": "http://127.0.0.1:1", **WITH_TOKEN}
    told = cli("health", "-c", "flext.toml", *patient, **where).stdout
    assert told.startswith("asked from here\n")
    assert "well    200" in told
    cli("health", "-c", "flext.toml", "--url", "http://127.0.0.1:1", expect=2, **WITH_TOKEN)
    flext_service.answer = Answer(delay=5)
    told = cli("health", "--timeout", "0.2", expect=1).stdout
    assert re.search("no time left|no answer within 0.2 s", told)
    assert cli("health", "b", expect=1).stderr.startswith("no service is named 'b'")


def test_trip_and_reset_switch_a_service(ask, host, flext_service):
    shown = ask("trip", "orders").stdout
    what = f"orders: the circuit of {flext_service.url} is forced-open in process {os.getpid()}\n"
    assert shown == f"{what}the program's other processes do the same before their next call\n"
    with pytest.raises(httpx.TransportError, match="held open"):
        host.connect("orders").get("/")
    assert "is closed in process" in ask("reset", "orders").stdout
    assert host.connect("orders").get("/").status_code == 200
    told = json.loads(ask("trip", "orders", "--json").stdout)
    assert told["plugins"]["circuit-breaker"]["circuits"][0]["state"] == "forced-open"


def test_what_cannot_be_tripped_is_told(ask):
    assert "has anything to trip" in ask("trip", "own", expect=1).stderr
    told = ask("trip", "nobody \x1b[2J", expect=1).stderr
    assert "no service is named 'nobody " in told
    assert "\x1b" not in told


def test_watch_tells_each_change_once(ask, program, host, flext_service):
    host.connect("orders").get("/")
    first = ask("watch", "--count", "3", "--interval", "0.1").stdout.splitlines()
    assert len(first) == 1
    assert first[0].endswith(f"orders  circuit of {flext_service.url}: closed")

    watching = watch(program, "--json")
    lines = [watching.stdout.readline()]
    fail(host, flext_service)
    lines.append(watching.stdout.readline())
    watching.kill()
    watching.communicate()
    changes = [json.loads(each) for each in lines]
    assert [(each["old"], each["new"]) for each in changes] == [
        (None, "closed"),
        ("closed", "open"),
    ]
    assert changes[1]["why"] == "consecutive failures: 2, the last one: status 503"
    assert changes[1]["process"] == os.getpid()


def test_watch_says_once_that_a_program_is_gone(cli):
    where = {"FLEXT_STATUS_URL": "http://127.0.0.1:1", **WITH_TOKEN}
    done = cli("watch", "--count", "3", "--interval", "0.1", expect=1, **where)
    assert done.stderr == "http://127.0.0.1:1 cannot be asked: ConnectError: Connection refused\n"


def test_watch_ends_with_ctrl_c(program, host):
    host.connect("orders").get("/")
    watching = watch(program)
    assert b"closed" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    said, complaints = watching.communicate(timeout=20)
    assert (said, b"Traceback" in complaints) == (b"", False)


WRONG = {
    "without an address": ((), {}, "where are the program's status pages?"),
    "without a token": (("--url", "URL"), {}, "env:FLEXT_STATUS_TOKEN: this variable is not set"),
    "with a token that is written out": (
        ("--url", "URL", "--token", TOKEN),
        {},
        "env:NAME or file:",
    ),
    "with another token": (("--url", "URL", "--token", "env:OTHER"), {}, "answered 401"),
    "at an address that is none": (("--url", "h"), WITH_TOKEN, "--url takes http:// or https://"),
    "at one of another kind": (("--url", "ftp://h"), WITH_TOKEN, "--url takes http:// or https://"),
    "over plain http to elsewhere": (("--url", "http://h.example"), WITH_TOKEN, "use https://"),
    "with a CA that is none": (
        ("--url", "URL", "--ca", "nothing"),
        WITH_TOKEN,
        "--ca: nothing is no",
    ),
    "at one with a user": (("--url", "http://u:p@127.0.0.1:1"), WITH_TOKEN, "without a user"),
    "at one with a query": (("--url", "http://127.0.0.1:1/?a"), WITH_TOKEN, "without a user"),
    "at one with a line end": (("--url", "http://127.0.0.1:1/a\n"), WITH_TOKEN, "without a user"),
    "at what is no status page": (("--url", "SERVICE"), WITH_TOKEN, "these are no status pages"),
}


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("command", [("status",), ("trip", "orders"), ("health",)])
def test_a_program_that_cannot_be_asked_is_one_line(
    cli,
    program,
    flext_service,
    how,
    command,
    configure,
):
    arguments, variables, expected = WRONG[how]
    if command == ("health",) and not arguments:
        pytest.skip("health asks the configuration's services then")
    at = {"URL": program, "SERVICE": flext_service.url}
    words = [at.get(each, each) for each in arguments]
    done = cli(*command, *words, expect=1, OTHER="another-token-that-is-long", **variables)
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert TOKEN not in done.stderr.replace(" ".join(words), "")


NO_PAGES = [b"{}", b'{"status": "ok"}', b"[" * 50_000, b'"x"', b"null", b'{"orders": 3}']


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("body", NO_PAGES)
@pytest.mark.parametrize("command", [("status", "--json"), ("trip", "orders"), ("health",)])
def test_json_of_another_kind_is_no_status_page(cli, flext_service, body, command, marked):
    headers = {"Content-Type": "application/json"} | ({MARK: "1"} if marked else {})
    flext_service.answer = Answer(404 if marked else 200, headers, body)
    done = cli(*command, "--url", flext_service.url, expect=1, **WITH_TOKEN)
    assert "these are no status pages of flext-plugins" in done.stderr


ODD_PAGES = {
    "nothing": {},
    "lists for tables": {"process": 1, "services": [1], "plugins": [1]},
    "numbers for tables": {"services": {"orders": 3}, "plugins": {"x": {"circuits": [5]}}},
    "a time that never was": {
        "process": 1,
        "started": 1e300,
        "version": "1",
        "closed": False,
        "sources": [],
    },
}


@pytest.mark.parametrize("what", ODD_PAGES)
@pytest.mark.parametrize(
    "command", [("status",), ("watch", "--count", "1"), ("trip", "a"), ("health",)]
)
def test_a_status_page_that_says_something_else_is_one_line(cli, flext_service, what, command):
    headers = {"Content-Type": "application/json", MARK: "1"}
    flext_service.answer = Answer(200, headers, json.dumps(ODD_PAGES[what]).encode())
    done = cli(*command, "--url", flext_service.url, expect=1, **WITH_TOKEN)
    assert done.stderr.count("\n") == 1
    assert "answered something else: these are no status pages of flext-plugins" in done.stderr


def test_a_name_that_is_no_text_is_told(ask):
    assert "no service is named" in ask("trip", "\udcff", expect=1).stderr


@pytest.mark.parametrize(("plugin", "status"), [("retry", 0), ("nobody", 1)])
def test_check_of_a_plugin_speaks_json_too(cli, plugin, status):
    done = cli("check", "--plugin", plugin, "--json", expect=status)
    told = json.loads(done.stdout)
    assert (told["ok"], len(told["problems"])) == (status == 0, status)


def test_a_token_may_stand_in_a_file(cli, program, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert cli("status", "--url", program, "--token", f"file:{tmp_path / 'token'}").stdout


def test_a_proxy_of_the_environment_never_gets_a_token_for_this_machine(cli, program):
    proxies = {"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
    assert cli("status", "--url", program, **WITH_TOKEN, **proxies).stdout


def test_pages_behind_tls_are_asked_with_the_authority_that_is_named(cli, host, tmp_path):
    made = authority(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server)

    class Secured(Threaded):
        def get_request(self):
            accepted, address = super().get_request()
            return context.wrap_socket(accepted, server_side=True), address

        def handle_error(self, *_): ...  # who does not trust it hangs up

    application = status.wsgi(host, token=TOKEN)
    with make_server("127.0.0.1", 0, application, Secured, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"https://127.0.0.1:{server.server_port}"
        try:
            assert cli("status", "--url", url, "--ca", str(made.path), **WITH_TOKEN).stdout
            assert "certificate" in cli("status", "--url", url, expect=1, **WITH_TOKEN).stderr
        finally:
            server.shutdown()
            thread.join()


# Options before the command, secrets that are not there, completion


@pytest.fixture
def two(cli, configure, flext_service):
    """A configuration of two services in a folder of its own; gives its file."""
    (cli.folder / "conf").mkdir()
    url = flext_service.url
    text = f'[services.orders]\nbase_url = "{url}"\n[services.orders.headers]\nX-Key = "env:NOPE"\n'
    configure(f'{text}[services.parts]\nbase_url = "env:PARTS"\n', "conf/flext.toml")
    return "conf/flext.toml"


@pytest.mark.parametrize("before", [True, False])
def test_options_stand_before_or_after_the_command(cli, two, before):
    words = ["-c", two, "check", "--no-secrets"] if before else ["check", "--no-secrets", "-c", two]
    assert cli(*words).stdout == "ok: 2 services: orders, parts\n"


def test_one_after_the_command_counts_more_than_one_before(cli, two):
    assert cli("-c", "nothing.toml", "check", "--no-secrets", "-c", two).stdout


@pytest.mark.parametrize("command", ["oracle", "ldap"])
def test_commands_that_plugins_bring_take_what_stands_before_them(cli, two, command):
    told = cli("-c", "nothing.toml", command, "health", "orders", expect=1).stderr
    assert told.startswith("nothing.toml: no such file")


def test_check_passes_over_secrets_that_are_not_there_if_it_shall(cli, two):
    told = cli("check", "-c", two, expect=1).stderr
    assert told.count("this variable is not set") == 2
    assert cli("check", "-c", two, "--no-secrets").stdout.startswith("ok: 2 services")


def test_check_without_secrets_still_finds_what_else_is_wrong(cli, two, configure):
    text = (cli.folder / two).read_text()
    configure(f"{text}[services.orders.plugins.retry]\nattemps = 3\n", two)
    told = cli("check", "-c", two, "--no-secrets", expect=1).stderr
    assert "attemps: unknown key; did you mean 'attempts'?" in told
    assert "not set" not in told


def test_check_in_json_has_the_problems_of_each_service(cli, two, configure):
    told = json.loads(cli("check", "-c", two, "--json", expect=1, NOPE="k").stdout)
    assert (told["ok"], told["problems"], told["services"]["orders"]) == (False, [], [])
    assert "PARTS: this variable is not set" in told["services"]["parts"][0]
    told = json.loads(cli("check", "-c", two, "--json", "--no-secrets").stdout)
    assert told == {"ok": True, "problems": [], "services": {"orders": [], "parts": []}}
    configure("[servises.orders]\n", two)
    told = json.loads(cli("check", "-c", two, "--json", expect=1).stdout)
    assert (told["ok"], told["services"]) == (False, {})
    assert "servises" in told["problems"][0]


def test_explain_shows_all_services_and_which_secrets_are_not_there(cli, two):
    told = cli("explain", "-c", two).stdout
    assert "orders  http://" in told
    assert "\nparts  https://not-set.invalid" in told
    assert "headers.X-Key = env:NOPE (not set)" in told
    assert "headers.X-Key = env:NOPE  (" in cli("explain", "orders", "-c", two, NOPE="k").stdout
    shown = json.loads(cli("explain", "-c", two, "--json").stdout)
    assert [each["service"] for each in shown] == ["orders", "parts"]


def test_request_tells_programs_the_answer_and_what_each_plugin_did(
    cli,
    configure,
    flext_service,
):
    said = {"Content-Type": "application/json", "Set-Cookie": "session=canary-fetched-0815"}
    flext_service.answer = Answer(headers=said, body=b'{"access_token": "canary-fetched-0815"}')
    retry = "[services.a.plugins.retry]\n"
    configure(f'[services.a]\nbase_url = "{flext_service.url}"\n{retry}')
    told = json.loads(cli("request", "a", "GET", "/", "--machine").stdout)
    assert (told["answer"]["status"], told["problem"]) == (200, None)
    assert json.loads(told["answer"]["body"]) == {"access_token": "***"}
    outer, wire = [each for each in told["steps"] if each["total"] is not None]
    assert (outer["who"], outer["depth"], wire["who"], wire["depth"]) == ("retry", 0, "wire", 1)
    assert outer["total"] >= wire["total"] == wire["self"] > 0
    flext_service.refuse()
    told = json.loads(cli("request", "a", "GET", "/", "--machine", expect=1).stdout)
    assert (told["answer"], told["problem"].partition(":")[0]) == (None, "ConnectError")
    assert told["steps"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("flext-plugins explain ", {"orders", "parts"}),
        ("flext-plugins check or", {"orders"}),
        ("flext-plugins -c nothing.toml request ", set()),
        ("flext-plugins heal", {"health"}),
        ("flext-plugins trip p", {"parts"}),
    ],
)
def test_a_shell_completes_commands_and_the_names_of_services(cli, two, typed, offered):
    words = typed.split(" ")
    done = cli(
        before="import sys; sys.argv[0] = 'flext-plugins'",
        _FLEXT_PLUGINS_COMPLETE="complete_bash",
        COMP_WORDS=typed,
        COMP_CWORD=str(len(words) - 1),
        FLEXT_CONFIG=two,
    )
    assert {*done.stdout.split()} == offered
