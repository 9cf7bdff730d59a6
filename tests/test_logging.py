"""What is logged, where, and what never is."""

from __future__ import annotations

import contextlib
import logging
import re
import subprocess
import sys
import textwrap
import time
from typing import ClassVar

import httpx
import pytest
import requests
from pydantic import BaseModel

from flext_plugins import (
    Call,
    DeadlineExceeded,
    Failure,
    Host,
    Operation,
    ServiceName,
    events,
    hookimpl,
    options,
)
from flext_plugins._connections.log import ServiceLog
from flext_plugins._logging import Occasions
from flext_plugins.testing import Answer

CANARY = "canary-7d2a"


class Opens:
    """Tells of a circuit that opened."""

    @hookimpl
    def flext_request(self, connection):
        connection.emit(events.StateChanged("breaker", "http://x", "closed", "open", "5 failures"))


def test_lines_carry_service_plugin_and_call_for_an_applications_own_handlers(
    flext_service, flext_world, caplog
):
    class Fails:
        observer = True

        @hookimpl
        def flext_request(self, request):
            raise KeyError(request.headers["Authorization"])

    host = flext_world.serve(flext_service, Fails)
    response = flext_world.get(host, headers={"Authorization": f"Bearer {CANARY}"})

    (record,) = caplog.records
    assert record.name == "flext_plugins"
    assert record.levelno == logging.WARNING
    assert (record.service, record.plugin) == ("service", "fails")
    assert record.call_id == response.extensions["flext_plugins.call"].id
    assert CANARY not in caplog.text


def test_the_client_library_logs_no_secret_of_a_url(flext_service, flext_world, caplog):
    caplog.set_level(logging.DEBUG)
    host = flext_world.serve(flext_service)
    userinfo = flext_service.url.replace("http://", f"http://ana:{CANARY}@")

    flext_world.get(host, f"{userinfo}/path?access_token={CANARY}&page=7")

    lines = [each.getMessage() for each in caplog.records if "/path" in each.getMessage()]
    assert any("access_token=***&page=7" in line for line in lines)
    assert CANARY not in caplog.text


class Breaks:
    """Sets a header that no library sends."""

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Key"] = f"{CANARY}\nfolded"


ANSWERS = {
    "a cookie": Answer(headers={"Set-Cookie": f"session={CANARY}; HttpOnly"}),
    "a credential": Answer(headers={"X-Auth-Token": CANARY, "Content-Type": "text/plain"}),
    "a credential with a quote": Answer(headers={"X-Auth-Token": f"it's \\ {CANARY}"}),
    "an address": Answer(302, {"Location": f"http://ann:{CANARY}@127.0.0.1/?token={CANARY}"}),
    "a path": Answer(302, {"Location": f"/?page=1&access_token={CANARY}"}),
    "headers that cannot be parsed": Answer(
        raw=f"HTTP/1.1 200 OK\r\nX-A: 1\r\nbroken {CANARY}\r\nSet-Cookie: {CANARY}\r\n\r\n".encode()
    ),
    "a status": Answer(500, {"WWW-Authenticate": "Basic"}, CANARY.encode()),
    "a reset": Answer(reset=True),
}


@pytest.mark.parametrize("plugins", [[], [Breaks]], ids=["", "a broken header"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.contract("library-logs-show-no-secret")
def test_no_logger_of_a_client_library_tells_a_secret(
    flext_service, flext_world, caplog, answer, plugins
):
    caplog.set_level(logging.DEBUG)
    flext_service.answer = answer
    url = flext_service.url.replace("//", f"//ann:{CANARY}@")
    service = {"base_url": url, "proxy": url, "headers": {"X-Token": CANARY}}
    names = {each.__name__.lower(): each for each in plugins}
    host = flext_world.host(
        {"services": {"service": {**service, "plugins": {name: {} for name in names}}}}, **names
    )
    with contextlib.suppress(Exception):
        flext_world.get(host, f"/path?access_token={CANARY}")

    assert plugins or any(each.name != "flext_plugins" for each in caplog.records)
    shown = [caplog.text, *(repr(vars(each)) for each in caplog.records)]
    assert [each for each in shown if CANARY in each] == []


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.contract("library-logs-show-no-secret")
def test_nor_does_one_tell_a_socks_proxys_password(caplog, library):
    with Host({"services": {"a": {"base_url": "http://localhost:9"}}}) as host:
        host.connect("a", __import__(library).Client).close()
    caplog.set_level(logging.DEBUG)
    core = logging.getLogger(f"{library.replace('httpx', 'httpcore')}.socks")

    core.debug(f"setup_socks5_connection.started port=9 auth=(b'ann', b'{CANARY}')")  # as it does

    assert "port=9 auth=***" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("name", ["x-any", "authorization", "cookie"])
@pytest.mark.contract("library-logs-show-no-secret")
def test_nor_does_what_packs_the_headers_of_http2(caplog, name):
    import httpx

    hpack = pytest.importorskip("hpack")
    with Host({"services": {"a": {"base_url": "http://localhost:9"}}}) as host:
        host.connect("a", httpx.Client).close()
    caplog.set_level(logging.DEBUG)
    headers = [(name.encode(), CANARY.encode()), (b"x-other", CANARY.encode())]

    for huffman in (True, False):
        encoder, decoder = hpack.Encoder(), hpack.Decoder()
        assert decoder.decode(encoder.encode(headers, huffman=huffman))
        encoder.header_table_size = 0  # which throws out what it holds

    assert caplog.records
    shown = [caplog.text, *(repr(vars(each)) for each in caplog.records)]
    assert [each for each in shown if CANARY in each] == []


@pytest.mark.contract("library-logs-show-no-secret")
def test_every_logger_of_a_client_library_is_filtered(flext_service, flext_world):
    """Filters do not reach the loggers below, so one that is new in a library would be missed."""
    flext_world.get(flext_world.serve(flext_service))

    roots = {"requests": ("urllib3.",)}.get(
        flext_world.lib.__name__,
        (flext_world.lib.__name__, flext_world.lib.__name__.replace("httpx", "httpcore"), "hpack."),
    )
    loggers = {
        name: each
        for name, each in logging.root.manager.loggerDict.items()
        if f"{name}.".startswith(tuple(f"{root.rstrip('.')}." for root in roots))
        and isinstance(each, logging.Logger)
    }
    bare = {"urllib3", "urllib3.contrib.pyopenssl", "urllib3.http2.connection"}
    assert loggers
    assert [name for name, each in loggers.items() if not each.filters and name not in bare] == []


def test_a_program_that_configures_nothing_sees_an_opening_circuit_and_no_more(flext_service):
    program = f"""
        import sys
        sys.path.insert(0, {str(__import__("pathlib").Path(__file__).parent)!r})
        from test_logging import Opens
        from flext_plugins import Host

        service = {{"base_url": {flext_service.url!r}, "plugins": {{"opens": {{}}}}}}
        with Host({{"services": {{"flexcore": service}}}}) as host:
            host.register(Opens, "opens")
            host.connect("flexcore").get("/")
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert "http://x: closed -> open: 5 failures" in line
    assert "service=flexcore" in line
    assert "plugin=breaker" in line


def test_what_an_application_binds_cannot_break_a_call(flext_service, flext_world, caplog):
    import structlog

    with structlog.contextvars.bound_contextvars(module="billing", name="x", order="o-1"):
        assert flext_world.get(flext_world.serve(flext_service, Opens)).status_code == 200

    (record,) = caplog.records
    assert record.order == "o-1"
    assert "module=billing" in record.getMessage()


def test_refusals_are_logged_below_warning(flext_service, flext_world, caplog):
    from flext_plugins import Refused

    class Refuses:
        @hookimpl
        def flext_request(self):
            raise Refused("maintenance")

    caplog.set_level(logging.INFO, "flext_plugins")
    with contextlib.suppress(Refused):
        flext_world.get(flext_world.serve(flext_service, Refuses))

    assert [(each.levelname, each.getMessage().split("  ")[0]) for each in caplog.records] == [
        ("INFO", "refused: maintenance")
    ]


def test_a_line_imports_nothing_that_would_stop_an_event_loop(flext_service):
    code = """
import sys
from flext_plugins import Host, hookimpl

class Fails:
    observer = True

    @hookimpl
    def flext_request(self):
        raise KeyError

host = Host({"services": {"api": {"base_url": sys.argv[1], "plugins": {"fails": {}}}}})
host.register(Fails, name="fails")
host.connect("api").get("/")
print("structlog" in sys.modules)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, flext_service.url],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert (ran.stdout, "raised KeyError" in ran.stderr) == ("False\n", True)


class Resends:
    """Sends once more what failed."""

    @hookimpl
    async def flext_exchange(self, request, send):
        try:
            return await send(request)
        except Exception:
            return await send(request)


def told(caplog, level=logging.WARNING):
    """Our lines of that level and above, without their keys."""
    ours = [each for each in caplog.records if each.name == "flext_plugins"]
    return [each.getMessage().partition("  ")[0] for each in ours if each.levelno >= level]


@pytest.mark.contract("failure-is-logged")
def test_a_failure_of_the_wire_that_reaches_the_caller_is_a_warning(
    flext_service, flext_world, caplog
):
    host = flext_world.serve(flext_service)
    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError) as caught:
        flext_world.get(host, f"/?access_token={CANARY}")
    (record,) = (each for each in caplog.records if each.name == "flext_plugins")
    assert told(caplog)[0].startswith("call failed: connect: Conn")
    assert told(caplog)[0].endswith("Error: Connection refused")
    assert (record.service, record.call_id) == ("service", caught.value.flext_call.id)
    assert caught.value.__notes__ == ["in a call of service 'service'"]
    assert CANARY not in caplog.text


@pytest.mark.contract("failure-is-logged")
def test_one_that_a_plugin_heals_is_none_and_the_resend_is_told(flext_service, flext_world, caplog):
    caplog.set_level(logging.INFO, "flext_plugins")
    answers = [Answer(reset=True), Answer()]
    flext_service.answer = lambda received: answers.pop(0)
    assert flext_world.get(flext_world.serve(flext_service, Resends)).status_code == 200
    (line,) = told(caplog, logging.DEBUG)
    assert re.fullmatch(r"sent again after (read|protocol), \d\.\d\d s later", line)


@pytest.mark.contract("failure-is-logged")
def test_in_an_outage_each_kind_is_a_warning_once_and_the_rest_is_there_at_debug(caplog):
    caplog.set_level(logging.DEBUG, "flext_plugins")
    service = {"base_url": "http://service.example", "transport": "own"}
    failures = 0

    def answer(request):
        nonlocal failures
        failures += 1
        raise (httpx.ReadTimeout if failures % 2 else httpx.ConnectError)("down")

    with Host({"services": {"one": service, "two": service}}) as host:
        host.provide(httpx.BaseTransport, lambda service: httpx.MockTransport(answer))
        for _ in range(1000):
            for name in "one", "two":
                with pytest.raises(httpx.TransportError):
                    host.connect(name).get("/")
                with pytest.raises(httpx.TransportError):
                    host.connect(name).get("/")
    assert told(caplog) == [
        *("call failed: timeout: ReadTimeout", "call failed: connect: ConnectError") * 2
    ]
    assert len(told(caplog, logging.DEBUG)) == 4000


def test_what_was_passed_over_is_counted_and_told_with_the_next():
    occasions = Occasions(0.05)
    assert [occasions.take(("a",)) for _ in range(4)] == [0, None, None, None]
    assert occasions.take(("b",)) == 0
    time.sleep(0.06)
    assert [occasions.take(("a",)) for _ in range(2)] == [3, None]


def test_a_warning_that_comes_again_says_how_many_were_not_told(caplog):
    log = ServiceLog("orders", Occasions(0.05))
    call = Call("orders")
    for _ in range(3):
        log.failed(call, TimeoutError(), Failure.TIMEOUT)
    time.sleep(0.06)
    log.failed(call, TimeoutError(), Failure.TIMEOUT)
    assert told(caplog) == [
        "call failed: timeout: TimeoutError",
        "call failed: timeout: TimeoutError; 2 more of these since the last such line",
    ]


class Listens:
    """Receives events, as metrics do."""

    @hookimpl
    def flext_event(self):
        pass


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.contract("failure-is-logged")
async def test_a_body_that_breaks_is_told_once_whoever_reads_it(
    flext_service, flext_httpx_world, caplog, streams
):
    caplog.set_level(logging.DEBUG, "flext_plugins")  # where it would be told again
    flext_service.answer = Answer(body=b"all of it", cut=3)
    host = flext_httpx_world.serve(flext_service, Listens)
    client = (await flext_httpx_world.client(host)).plain
    with pytest.raises(flext_httpx_world.lib.RemoteProtocolError) as caught:
        if not streams:
            answer = client.get("/")
            if flext_httpx_world.asynchronous:
                await answer
        elif flext_httpx_world.asynchronous:
            async with client.stream("GET", "/") as response:
                await response.aread()
        else:
            with client.stream("GET", "/") as response:
                response.read()
    assert told(caplog, logging.DEBUG) == ["call failed: protocol: RemoteProtocolError"]
    assert caught.value.__notes__ == ["in a call of service 'service'"]


def test_a_session_that_streams_is_told_of_a_body_that_breaks(flext_service, caplog):
    flext_service.answer = Answer(body=b"all of it", cut=3)
    service = {"base_url": flext_service.url, "plugins": {"listens": {}}}
    with Host({"services": {"service": service}}) as host:
        host.register(Listens, "listens")
        session = host.connect("service", requests.Session)
        for _ in range(2):
            with session.get("/", stream=True) as response:
                with pytest.raises(requests.RequestException):
                    next(response.iter_content(None))
    assert told(caplog) == ["call failed: protocol: ChunkedEncodingError"]


@pytest.mark.contract("failure-is-logged")
def test_what_is_the_callers_is_no_warning(flext_service, flext_world, caplog):
    host = flext_world.serve(flext_service)
    with pytest.raises((flext_world.lib.LocalProtocolError, flext_world.lib.TransportError)):
        flext_world.get(host, headers={"X-Bad": "a\nb"})
    flext_service.answer = Answer(delay=1)
    with pytest.raises(DeadlineExceeded), options(deadline=0.1):
        flext_world.get(host)
    flext_service.answer = Answer(status=500)
    flext_world.get(host)
    assert told(caplog) == []


class Asks:
    """Asks another service first, and goes on if that fails."""

    failed: ClassVar[list[Failure | None]] = []

    class Settings(BaseModel):
        service: ServiceName

    def __init__(self, settings):
        self._settings = settings

    @hookimpl
    async def flext_request(self, connection):
        try:
            await connection.request(self._settings.service, "GET", "/")
        except Exception as error:
            self.failed.append(connection.failure(error))


def test_what_a_plugin_asks_in_a_call_is_the_plugins_to_tell(
    flext_service, flext_elsewhere, flext_world, caplog
):
    flext_elsewhere.refuse()
    services = {
        "service": {"base_url": flext_service.url, "plugins": {"asks": {"service": "elsewhere"}}},
        "elsewhere": {"base_url": flext_elsewhere.url},
    }
    host = flext_world.host({"services": services}, asks=Asks)
    Asks.failed.clear()
    assert flext_world.get(host).status_code == 200
    assert Asks.failed == [Failure.CONNECT]
    assert told(caplog) == []


class Broken(Exception):
    failure = Failure.READ


class Lends:
    """Lends what breaks."""

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Lends.Door, Lends.Door(connection))

    class Door:
        def __init__(self, connection):
            self._connection = connection

        def open(self):
            operation = Operation("door", "open", "front")
            opening = self._connection.perform(operation, self._fail)
            asynchronous = self._connection.asynchronous
            return opening if asynchronous else self._connection.drive(opening)

        async def _fail(self):
            raise Broken


@pytest.mark.contract("failure-is-logged")
async def test_an_operation_that_fails_on_the_wire_is_told_alike(
    flext_world, flext_service, caplog
):
    host = flext_world.serve(flext_service, Lends)
    lend = host.aresource if flext_world.asynchronous else host.resource
    door = lend("service", Lends.Door)
    door = await door if flext_world.asynchronous else door
    with pytest.raises(Broken) as caught:
        opening = door.open()
        if flext_world.asynchronous:
            await opening
    assert told(caplog) == ["call failed: read: Broken"]
    (note,) = caught.value.__notes__
    assert note.endswith("of service 'service'")
