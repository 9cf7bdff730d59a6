"""What is logged, where, and what never is."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import textwrap

from flext_plugins import events, hookimpl

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
        def flext_request(self):
            raise KeyError(CANARY)

    response = flext_world.get(flext_world.serve(flext_service, Fails))

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
