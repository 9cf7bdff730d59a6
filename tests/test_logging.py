"""What is logged, where, and what never is."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import textwrap

import pytest

from flext_plugins import Host, events, hookimpl
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
