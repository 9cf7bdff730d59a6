"""The kit, as a plugin's author gets it."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import tomllib
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path

import pytest
import requests

from flext_plugins import Refused, Stage, events, hookimpl
from flext_plugins.testing import Answer, LoopbackService, World

WORLDS = ["httpx sync", "httpx async", "httpx2 sync", "httpx2 async", "requests sync"]
USED = 'pytest_plugins = ["flext_plugins.testing"]\n'
PLUGIN_TEST = """
from flext_plugins import hookimpl
from flext_plugins.testing import Answer


class Tenant:
    @hookimpl
    def flext_request(self, request):
        request.headers["X-Tenant"] = "acme"


def test_tenant(flext_world, flext_service):
    flext_world.get(flext_world.serve(flext_service, Tenant))
    assert flext_service.received[0].headers["x-tenant"] == "acme"


async def test_awaited(flext_world, flext_service):
    flext_service.answer = Answer(418)
    client = await flext_world.client(flext_world.serve(flext_service, Tenant))
    assert (await client.get("/")).status_code == 418
"""


@pytest.fixture
def project(tmp_path):
    """Runs pytest, as beside a project of somebody else's, over these files.

    Other plugins of pytest take a second to load; unless `alone` they are there.
    """

    def run(*options, ci="", alone=True, **files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        kept = {key: each for key, each in os.environ.items() if not key.startswith("PYTEST_")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *options],
            check=False,
            cwd=tmp_path,
            env={**kept, "CI": ci, **({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} if alone else {})},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_pytest_beside_us_is_not_touched(project):
    test = """
import sys

def test_nothing_of_ours_is_loaded():
    assert not [name for name in sys.modules if name.startswith("flext_plugins")]
"""
    code, said = project(alone=False, test_plain=test)
    assert (code, "1 passed" in said) == (0, True), said
    _, said = project("--fixtures", alone=False)
    assert "tmp_path" in said
    assert "flext_" not in said
    groups = {each.group for each in distribution("flext-plugins").entry_points}
    assert groups == {"console_scripts"}


def test_importing_us_does_not_import_the_kit():
    code = "import flext_plugins, sys; flext_plugins.Host({'services': {'a': {}}}).check(); "
    look = "print([name for name in ('flext_plugins.testing', 'pytest', 'h11') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code + look], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_importing_the_kit_loads_no_client_library():
    look = (
        "import flext_plugins.testing, sys; print({'httpx', 'httpx2', 'requests'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"


def test_an_authors_tests_run_in_five_worlds(project):
    code, said = project("-v", alone=False, conftest=USED, test_tenant=PLUGIN_TEST)
    assert code == 0, said
    for world in WORLDS:
        assert f"test_tenant[{world}] PASSED" in said
        assert f"test_awaited[{world}] PASSED" in said
    assert "10 passed" in said


def test_a_conftest_may_import_from_the_kit_as_well(project):
    conftest = "from flext_plugins.testing import Answer\n" + USED
    code, said = project(conftest=conftest, test_tenant=PLUGIN_TEST)
    assert (code, "10 passed" in said) == (0, True), said


def test_fixtures_say_what_they_are_for(project):
    _, said = project("--fixtures", conftest=USED)
    worlds = ("world", "httpx_world", "sync_world", "async_world")
    for fixture in (*worlds, "service", "elsewhere", "record", "distribution", "without_waiting"):
        assert f"flext_{fixture}" in said
    ours = said.partition("fixtures defined from flext_plugins.testing")[2].partition(
        "fixtures defined"
    )[0]
    assert ours.count("flext_") >= 8
    assert "no docstring available" not in ours


@pytest.mark.parametrize("library", ["httpx2", "requests"])
def test_a_library_that_is_not_installed_is_skipped_but_not_in_ci(project, library):
    files = {
        "conftest": f"import sys\nsys.modules[{library!r}] = None\n" + USED,
        "test_tenant": PLUGIN_TEST,
    }
    missing = [world for world in WORLDS if world.startswith(f"{library} ")]
    told = f"{library} is not installed: the extra `{library}` of flext-plugins"

    code, said = project("-rs", **files)
    assert (code, told in said) == (0, True), said
    assert f"{10 - 2 * len(missing)} passed, {2 * len(missing)} skipped" in said

    code, said = project(ci="true", **files)
    assert (code, told in said) == (1, True), said
    assert f"{10 - 2 * len(missing)} passed, {2 * len(missing)} errors" in said


def test_an_async_test_that_fails_fails_in_every_world(project):
    test = "async def test_false(flext_world):\n    assert flext_world.name == 'other'\n"
    code, said = project(conftest=USED, test_false=test)
    assert (code, "5 failed" in said) == (1, True), said


async def test_an_async_test_runs_in_the_loop_of_an_async_world_only(flext_world):
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        assert not flext_world.asynchronous
    else:
        assert flext_world.asynchronous


def test_what_suspends_cannot_be_awaited_in_a_sync_world(flext_sync_world):
    with pytest.raises(AssertionError, match="awaited something that suspends"):
        flext_sync_world.run(lambda: asyncio.sleep(0))


def test_the_other_worlds_are_parts_of_the_five(
    request, flext_httpx_world, flext_sync_world, flext_async_world
):
    assert flext_httpx_world.name in {"httpx", "httpx2"}
    assert not flext_sync_world.asynchronous
    assert flext_async_world.asynchronous


async def test_a_client_to_await_takes_httpxs_names_in_every_library(
    flext_world, flext_service, flext_elsewhere
):
    def redirect(received):
        return Answer(307, {"Location": f"{flext_elsewhere.url}/there"})

    flext_service.answer = redirect
    host = flext_world.serve(flext_service)
    bare = await flext_world.client(host)
    body = flext_world.upload(b"one", b"two")
    assert (await bare.request("POST", "/up", content=body)).status_code == 307
    following = await flext_world.client(host, follow_redirects=True)
    answer = await following.get("/", headers={"X-Mine": "yes"})

    assert answer.json()["path"] == "/there"
    assert answer.json()["headers"]["x-mine"] == "yes"
    assert flext_service.received[0].body == b"onetwo"
    assert flext_service.paths() == ["/up", "/"]
    assert isinstance(
        bare.plain,
        flext_world.lib.AsyncClient if flext_world.asynchronous else flext_world.lib.Client,
    )


async def test_together_they_start_at_once_and_a_failure_is_raised(flext_world, flext_service):
    flext_service.answer = Answer(delay=0.2)
    client = await flext_world.client(flext_world.serve(flext_service))
    answers = await flext_world.together(5, lambda: client.get("/"))
    assert [each.status_code for each in answers] == [200] * 5
    assert flext_service.most_active == 5

    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError):
        await flext_world.together(2, lambda: client.get("/"))


def test_all_of_them_give_results_and_exceptions(flext_world, flext_service, flext_elsewhere):
    flext_elsewhere.refuse()
    well, ill = (flext_world.serve(each) for each in (flext_service, flext_elsewhere))
    works = [flext_world.sender(each, "GET", "/") for each in (well, ill)]
    answer, error = flext_world.all(works)
    assert answer.status_code == 200
    assert isinstance(error, flext_world.lib.ConnectError)


async def test_time_passes(flext_world):
    started = time.monotonic()
    await flext_world.sleep(0.1)
    assert time.monotonic() - started >= 0.09


def test_a_world_ends_what_it_has_made(flext_service):
    class Closes:
        @hookimpl
        def flext_connect(self, connection):
            connection.provide(str, "lent", close=lambda: closed.append(True))

    closed = []
    for name in WORLDS:
        with World(name) as world:
            world.get(world.serve(flext_service, Closes))
            assert closed == []
        assert closed.pop()


def test_requests_classes_have_httpxs_names():
    world = World("requests sync")
    assert world.lib.Client is requests.Session
    kinds = [each for name, each in vars(world.lib).items() if name.endswith(("Error", "Timeout"))]
    assert all(issubclass(each, world.lib.TransportError) for each in kinds)


def test_a_refusal_is_the_librarys_transport_error(flext_world, flext_service):
    class Closed:
        @hookimpl
        def flext_request(self):
            raise Refused("closed")

    with pytest.raises(flext_world.lib.TransportError) as caught:
        flext_world.get(flext_world.serve(flext_service, Closed))
    assert isinstance(caught.value, Refused)
    assert flext_service.received == []


async def test_a_record_has_what_each_hook_saw(flext_world, flext_service, flext_record):
    class Tenant:
        stage = Stage.CALL

        @hookimpl
        def flext_request(self, request):
            request.headers["X-Tenant"] = "acme"

        @hookimpl
        async def flext_response(self, response, request):
            return None

    flext_service.answer = Answer(404)
    host = flext_world.serve(flext_service, flext_record.of(Tenant), flext_record.of())
    await (await flext_world.client(host)).get("/orders", headers={"X-Mine": "yes"})

    request, response = flext_record.hooks("flext_request") + flext_record.hooks("flext_response")
    assert (request.plugin, request.method, request.attempt) == ("Tenant", "GET", 1)
    assert request.url == f"{flext_service.url}/orders"
    assert request.headers["x-mine"] == "yes"
    assert "x-tenant" not in request.headers  # that it put there itself
    assert (request.gave, response.gave, response.status) == (None, None, 404)

    (inside,) = flext_record.hooks("flext_exchange")
    assert inside.headers["x-tenant"] == "acme"
    assert (inside.plugin, inside.gave) == ("Witness", 404)
    (finished,) = flext_record.events(events.CallFinished)
    assert finished.outcome == "answered"
    names = [each.hook for each in flext_record.seen]
    assert names[:4] == ["flext_connect", "flext_request", "flext_exchange", "flext_response"]


async def test_a_record_has_what_a_hook_raised(flext_world, flext_service, flext_record):
    class Closed:
        @hookimpl
        def flext_request(self):
            raise Refused("closed")

    client = await flext_world.client(flext_world.serve(flext_service, flext_record.of(Closed)))
    with pytest.raises(Refused):
        await client.get("/")
    (seen,) = flext_record.seen
    assert isinstance(seen.raised, Refused)


async def test_a_recorded_plugin_is_what_it_was(flext_world, flext_service, flext_record):
    class Counting:
        """Of every form that a hook may have."""

        count = 0

        @classmethod
        @hookimpl
        def flext_connect(cls, connection):
            cls.count += 1

        @staticmethod
        @hookimpl
        async def flext_request(request, connection):
            request.headers["X-Service"] = connection.service.name

    recorded = flext_record.of(Counting)
    assert issubclass(recorded, Counting)
    client = await flext_world.client(flext_world.serve(flext_service, recorded))
    await client.get("/")
    assert flext_service.received[0].headers["x-service"] == "service"
    assert Counting.count == 1
    assert [each.hook for each in flext_record.seen] == ["flext_connect", "flext_request"]


def test_a_plugin_is_installed_until_the_test_ends(project):
    test = """
from flext_plugins import Host, hookimpl, installed


class Tenant:
    @hookimpl
    def flext_request(self, request): ...


def test_installed(flext_distribution):
    flext_distribution("acme-tenant", "2.0.0", plugins={"tenant": Tenant})
    flext_distribution("acme-user", plugins={"user": "acme_user:User"}, module="User = 7")
    flext_distribution("acme-old", plugins={"old": Tenant}, requires=("flext-plugins>=7",))
    found = {each.name: each for each in installed()}
    assert found["tenant"].version == "2.0.0"
    assert found["old"].status == "incompatible"
    (layer,) = Host({"services": {"a": {"plugins": {"tenant": {}}}}}).explain("a").layers
    assert (layer.plugin, layer.distribution) == ("tenant", "acme-tenant")
    import acme_user
    assert acme_user.User == 7


def test_gone():
    import sys
    assert not {"tenant", "user", "old"} & {each.name for each in installed()}
    assert not [name for name in sys.modules if name.startswith("acme")]
"""
    code, said = project(conftest=USED, test_installing=test)
    assert (code, "2 passed" in said) == (0, True), said


def asked(service, method="GET", path="/", body=None, **headers):
    """Status, headers and body, by nobody's library but Python's."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=5)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_a_service_records_what_it_receives_and_echoes_it_at_first(flext_service):
    _, headers, body = asked(flext_service, "POST", "/a?b=c", b"text", **{"X-Mine": "yes"})
    (received,) = flext_service.received
    assert (received.method, received.path, received.body) == ("POST", "/a?b=c", b"text")
    assert received.headers["x-mine"] == "yes"
    assert headers["Content-Type"] == "application/json"
    assert b'"path": "/a?b=c"' in body
    asked(flext_service)
    assert [each.socket for each in flext_service.received] == [1, 2]
    assert flext_service.paths() == ["/a?b=c", "/"]


def test_a_service_answers_what_it_is_told(flext_service):
    flext_service.answer = Answer(503, {"Retry-After": "7"}, b"later", delay=0.1)
    started = time.monotonic()
    status, headers, body = asked(flext_service)
    assert time.monotonic() - started >= 0.09
    assert (status, headers["Retry-After"], body) == (503, "7", b"later")
    flext_service.answer = lambda received: Answer(body=received.method.encode())
    assert asked(flext_service)[::2] == (200, b"GET")
    assert asked(flext_service, "HEAD")[::2] == (200, b"")


def test_a_service_fails_as_it_is_told(flext_service):
    flext_service.answer = Answer(reset=True)
    with pytest.raises(ConnectionResetError):
        asked(flext_service)
    flext_service.answer = Answer(body=b"0123456789", cut=4)
    with pytest.raises(http.client.IncompleteRead) as broken:
        asked(flext_service)
    assert (broken.value.partial, broken.value.expected) == (b"0123", 6)
    flext_service.answer = Answer(raw=b"SSH-2.0-other\r\n")
    with pytest.raises(http.client.BadStatusLine):
        asked(flext_service)
    assert len(flext_service.received) == 3


def test_a_service_answers_bit_by_bit(flext_service):
    flext_service.answer = Answer(chunks=(b"one", b"two"), pause=0.2)
    got, times = [], []
    with requests.get(flext_service.url, stream=True) as answer:
        assert "content-length" not in answer.headers
        for chunk in answer.iter_content(None):
            got.append(chunk)
            times.append(time.monotonic())
    assert got == [b"one", b"two"]
    assert times[1] - times[0] > 0.1


@pytest.mark.parametrize("library", ["httpx2", "requests"])
def test_the_extra_for_testing_brings_the_libraries_of_all_worlds(library):
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert {*extras[library]} <= {*extras["testing"]}


def test_a_service_refuses_until_it_listens_again_on_the_same_port(flext_service):
    port = flext_service.port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as open_one:
        assert asked(flext_service)[0] == 200
        flext_service.refuse()
        open_one.settimeout(5)
        with pytest.raises(ConnectionResetError):
            if open_one.recv(1) == b"":
                raise ConnectionResetError
    with pytest.raises(ConnectionRefusedError):
        asked(flext_service)
    flext_service.listen()
    assert flext_service.port == port
    assert asked(flext_service)[0] == 200


def test_a_closed_service_is_gone():
    service = LoopbackService()
    service.close()
    with pytest.raises(ConnectionRefusedError):
        asked(service)


def test_a_service_is_closed_in_the_middle_of_an_answer_without_a_word(caplog):
    service = LoopbackService()
    service.answer = Answer(delay=30)

    def call():
        with suppress(OSError):
            asked(service)

    calling = threading.Thread(target=call)
    calling.start()
    while not service.active:
        time.sleep(0.001)
    service.close()
    calling.join()
    assert caplog.records == []


def test_what_an_answer_function_raises_fails_the_test(project):
    test = """
import pytest

def test_it(flext_httpx_world, flext_service):
    def answer(received):
        assert received.path == "/other"

    flext_service.answer = answer
    with pytest.raises(flext_httpx_world.lib.TransportError):
        flext_httpx_world.get(flext_httpx_world.serve(flext_service))
"""
    code, said = project(conftest=USED, test_it=test)
    assert (code, "4 passed, 4 errors" in said) == (1, True), said
    assert "assert received.path" in said
