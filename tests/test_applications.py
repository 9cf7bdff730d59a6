"""The programs of docs/how-to/use-in-an-application.md, as the page has them, in real servers."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from flext_plugins import DeadlineExceeded, Host, Refused
from flext_plugins.testing import Answer, LoopbackService, echo

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:The ``noload``:DeprecationWarning"),  # kombu's tables
]

PAGE = (Path(__file__).parents[1] / "docs/how-to/use-in-an-application.md").read_text("utf-8")
FILES = re.findall(r"^```\w+\n(# (\w+\.\w+)\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = dict(re.findall(r"^\| (\S.*?) +\| `(.*?)` +\|$", PAGE, re.MULTILINE))
PLACES = {
    "FastAPI": ("/items", "/threads/items"),
    "Django, ASGI": ("/items", "/async/items"),
    "Django, WSGI": ("/items", "/async/items"),
    "Flask": ("/items",),
}
FORKED = [name for name, command in COMMANDS.items() if "--preload" in command]
NOTES = "def post_request(worker, request, environ, response):\n    open(f'worker-{worker.pid}', 'w').close()\n"
TASKS = """
from pathlib import Path

from shop_celery import app
from structlog.contextvars import get_contextvars

from flext_plugins import Refused


@app.task(bind=True)
def refused_at_first(self, sent):
    with Path("runs").open("a") as runs:
        print(self.request.id, file=runs)
    if self.request.retries:
        return get_contextvars()["correlation_id"]
    refused = Refused("not now", retry_after=0.2)
    refused.sent = sent
    raise refused
"""
DEADLINE = "X-Envoy-Expected-Rq-Timeout-Ms"


@pytest.fixture(scope="module")
def stock():
    service = LoopbackService()
    yield service
    service.close()


@pytest.fixture(scope="module")
def folder(stock, tmp_path_factory):
    """Where the page's files lie; its service is `stock`, and its circuits do not stay open long."""
    folder = tmp_path_factory.mktemp("shop")
    for text, name in FILES:
        (folder / name).write_text(text, "utf-8")
    (folder / "notes.py").write_text(NOTES)
    (folder / "tasks.py").write_text(TASKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEXT__SERVICES__STOCK__BASE_URL", stock.url)
        patch.setenv("FLEXT__PLUGINS__CIRCUIT_BREAKER__FAILURE_THRESHOLD", "2")
        patch.setenv("FLEXT__PLUGINS__CIRCUIT_BREAKER__RECOVERY_TIMEOUT", "0.3")
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield folder


@contextmanager
def running(command, folder, **options):
    """A command of the page's, until the end of the block."""
    program, *words = shlex.split(command)
    with (folder / "log").open("a") as log:
        words = [sys.executable, "-m", program, *words]
        process = subprocess.Popen(
            words, cwd=folder, stdout=log, stderr=log, start_new_session=True, **options
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Server(NamedTuple):
    process: subprocess.Popen
    url: str


@contextmanager
def serving(name, folder):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor = listening.fileno()
        options = {
            "uvicorn": f"--fd {descriptor}",
            "gunicorn": f"--bind fd://{descriptor} --config notes.py",
        }
        command = COMMANDS[name]
        command += f" {options[command.split()[0]]}"
        with running(command, folder, pass_fds=[descriptor]) as process:
            yield Server(process, f"http://127.0.0.1:{listening.getsockname()[1]}")


@pytest.fixture(scope="module")
def servers(folder):
    """Those that were asked for, by name."""
    with ExitStack() as stack:
        started = {}

        def server(name):
            if name not in started:
                started[name] = stack.enter_context(serving(name, folder))
            return started[name]

        yield server


@pytest.fixture(params=[(name, path) for name, paths in PLACES.items() for path in paths])
def ask(request, servers, stock):
    """Ask one program at one path for an item; the stock echoes until it is told otherwise."""
    name, path = request.param
    stock.answer = echo
    with caller(servers(name).url) as client:
        yield lambda number, **headers: client.get(f"{path}/{number}", headers=headers)


def caller(url):
    """A client that leaves no connection behind which a server might close meanwhile."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=url, timeout=20, trust_env=False, limits=limits)


def sent_id(response):
    return response.json()["headers"]["x-correlation-id"]


def test_a_callers_correlation_id_goes_along(ask):
    told = ask(7, **{"X-Correlation-ID": "order-7"})
    assert told.json()["path"] == "/items/7"
    assert sent_id(told) == "order-7"


@pytest.mark.parametrize("said", [{}, {"X-Correlation-ID": "a b"}, {"X-Correlation-ID": "x" * 129}])
def test_a_caller_without_one_that_can_be_sent_gets_a_new_one(ask, said):
    ids = [sent_id(ask(7, **said)) for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{16,32}", each) for each in ids)
    assert ids[0] != ids[1]


def test_a_call_ends_with_the_deadline_of_its_caller(ask, stock):
    ask(7)  # the first takes longer
    stock.answer = Answer(delay=9)
    started = time.monotonic()
    assert ask(7, **{DEADLINE: "100"}).status_code == 504
    assert time.monotonic() - started < 6  # the configuration's 10 seconds are not waited for


def test_many_callers_at_once_get_each_their_own_answer(ask):
    def one(number):
        return ask(number, **{"X-Correlation-ID": f"order-{number}"})

    with ThreadPoolExecutor(16) as threads:
        told = [*threads.map(one, range(48))]
    assert [each.json()["path"] for each in told] == [f"/items/{number}" for number in range(48)]
    assert [sent_id(each) for each in told] == [f"order-{number}" for number in range(48)]


@pytest.mark.parametrize("name", FORKED)
def test_both_workers_go_on_with_the_client_that_was_made_before_the_fork(
    servers, stock, folder, name
):
    stock.answer = echo
    for note in folder.glob("worker-*"):
        note.unlink()
    server = servers(name)
    with caller(server.url) as client, ThreadPoolExecutor(8) as threads:
        for _ in range(50):
            paths = [f"/items/{number}" for number in range(16)]
            assert [each.json()["path"] for each in threads.map(client.get, paths)] == paths
            if len([*folder.glob("worker-*")]) == 2:
                break
    workers = {int(each.name.partition("-")[2]) for each in folder.glob("worker-*")}
    assert len(workers) == 2
    assert server.process.pid not in workers


@pytest.mark.parametrize("failure", [Answer(404), Answer(reset=True)], ids=["answer", "wire"])
def test_a_service_that_fails_makes_a_502(ask, stock, failure):
    ask(7)  # so that no failure of another test counts in the circuit
    stock.answer = failure
    assert ask(7).status_code == 502


def test_a_refusal_is_a_503_that_says_when_to_come_again(ask, stock):
    stock.answer = Answer(503)
    answers = [ask(7)]
    while answers[-1].status_code == 502 and len(answers) < 50:
        answers.append(ask(7))
    assert (answers[-1].status_code, answers[-1].headers.get("retry-after")) == (503, "1")


@pytest.mark.parametrize("name", ["FastAPI", "Flask"])
def test_a_server_that_is_told_to_end_finishes_the_call_under_way(servers, stock, name):
    """The last of these tests, therefore."""
    late = Answer(delay=0.5, body=b'{"number": 8}')
    stock.answer = lambda received: late if received.path == "/items/8" else echo(received)
    server = servers(name)
    time.sleep(0.3)  # circuits that were opened let a probe through
    with caller(server.url) as client, ThreadPoolExecutor(1) as one:
        client.get("/items/1")
        stock.received.clear()
        under_way = one.submit(client.get, "/items/8")
        while "/items/8" not in stock.paths():
            time.sleep(0.01)
        server.process.terminate()
        assert under_way.result().json() == {"number": 8}
    assert server.process.wait(20) in {0, -signal.SIGTERM}


@pytest.fixture(scope="module")
def inbound():
    """The module of that name."""
    text, _ = next(each for each in FILES if each[1] == "inbound.py")
    names = {}
    exec(compile(text, "inbound.py", "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize(
    "said", ["0", "-3", "1e9", "0x10", "²", "1٣", "9" * 5000, "999999999", "", None]
)
def test_no_caller_makes_a_call_last_longer_than_the_configuration_lets_it(
    inbound, flext_service, said
):
    service = {"base_url": flext_service.url, "deadline": 10}
    with Host({"services": {"stock": service}}) as host, inbound["inbound"](None, said):
        call = host.connect("stock").get("/").extensions["flext_plugins.call"]
    assert call.deadline - call.started == pytest.approx(10)


def test_a_caller_may_shorten_it(inbound, flext_service):
    service = {"base_url": flext_service.url, "deadline": 10}
    with Host({"services": {"stock": service}}) as host, inbound["inbound"](None, "2500"):
        call = host.connect("stock").get("/").extensions["flext_plugins.call"]
    assert call.deadline - call.started == pytest.approx(2.5)


def test_calls_made_for_one_caller_have_one_correlation_id(inbound, flext_service):
    with Host({"services": {"stock": {"base_url": flext_service.url}}}) as host:
        with inbound["inbound"](None, None):
            ids = {sent_id(host.connect("stock").get("/")) for _ in range(2)}
        ids |= {sent_id(host.connect("stock").get("/"))}
    assert len(ids) == 2


def test_nobody_is_told_to_come_again_where_something_was_sent(inbound):
    unavailable = inbound["unavailable"]
    refused = Refused("not now", retry_after=1.2)
    assert unavailable(refused) == (503, {"Retry-After": "2"})
    refused.sent = True
    assert unavailable(refused) == (503, {})
    assert unavailable(Refused("not now")) == (503, {})
    assert unavailable(DeadlineExceeded("too late")) == (504, {})
    assert unavailable(httpx.ReadTimeout("too late")) == (504, {})


@pytest.fixture(scope="module")
def celery(folder, stock):
    """The program as those who send tasks import it; a worker runs."""
    with running(f"{COMMANDS['Celery']} --include tasks", folder):
        yield importlib.import_module("shop_celery")
    for name, _ in [*sys.modules.items()]:
        if name in {"shop_celery", "celeryconfig", "inbound"}:
            del sys.modules[name]


def test_a_task_has_the_correlation_id_of_the_caller_that_it_was_sent_for(celery, stock):
    stock.answer = echo
    with celery.inbound("order-7", None):
        task = celery.item.delay(7)
    other = celery.item.delay(8)
    told = result(task)
    assert (told["path"], told["headers"]["x-correlation-id"]) == ("/items/7", "order-7")
    assert re.fullmatch("[0-9a-f]{32}", result(other)["headers"]["x-correlation-id"])


def result(task):
    return task.get(timeout=60, interval=0.05)


def test_what_a_task_calls_ends_when_its_result_is_of_no_use_any_more(celery, stock):
    stock.answer = Answer(delay=20)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        result(celery.item.apply_async((7,), expires=3))
    assert time.monotonic() - started < 9  # the configuration's 10 seconds are not waited for


def test_a_refused_task_runs_again_later_for_the_same_caller_unless_something_was_sent(celery):
    with celery.inbound("order-8", None):
        unsent, sent = (
            celery.app.send_task("tasks.refused_at_first", [each]) for each in (False, True)
        )
    assert result(unsent) == "order-8"
    with pytest.raises(Refused, match="not now"):
        result(sent)
    runs = Path("runs").read_text().split()
    assert (runs.count(unsent.id), runs.count(sent.id)) == (2, 1)
