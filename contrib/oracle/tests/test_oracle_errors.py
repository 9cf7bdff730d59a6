"""What is raised if the database cannot be reached, or says no: class, code, place, words."""

import copy
import logging
import pickle
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from flext_plugins_devstack import OracleCompatibleServer
from flext_plugins_oracle import (
    AsyncOracleDatabase,
    ConstraintViolated,
    DatabaseError,
    DatabaseUnavailable,
    OracleDatabase,
)
from flext_plugins_oracle.errors import code_of, line_of
from listener import Listener
from relay import Relay

from flext_plugins import ConfigError, Failure, FlextError, Host
from flext_plugins.testing import LoopbackService, World

# The driver, whose errors these are, is of the same version in every environment.
pytestmark = pytest.mark.once

FAR = 20.0
"""Seconds that are no time-out's but a hang's."""


def raised(kind: type[FlextError], work: Callable[[], object]) -> Any:
    """The error, whose words are one line, and which survives a process and a copy."""
    with pytest.raises(FlextError) as caught:
        work()
    error = caught.value
    assert type(error) is kind or isinstance(error, kind), repr(error)
    text = str(error)
    assert "\n" not in text
    assert "passw0rd" not in text
    assert "canary" not in text
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == text
        assert vars(again) | {"call": None} == vars(error) | {"call": None}
    return error


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


# no session


def test_a_refused_connection(ask: Any) -> None:
    port = closed_port()
    error = raised(DatabaseUnavailable, lambda: ask(port=port).health())
    assert str(error) == (
        f"service: oracle: 127.0.0.1:{port} cannot be reached: [Errno 111] Connection refused"
    )
    assert (error.failure, error.code) == (Failure.CONNECT, "DPY-6005")


def test_a_host_without_address(ask: Any) -> None:
    error = raised(DatabaseUnavailable, lambda: ask(host="no-such-host.invalid").health())
    assert "no-such-host.invalid:" in str(error)
    assert error.failure is Failure.CONNECT


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (12514, "ORA-12514", 'Service "FLEXT" is not registered .*; check service_name, or wait'),
        (12516, "ORA-12516", "Listener refused connection"),
        (12528, "ORA-12528", "Listener refused connection"),
    ],
)
def test_a_listener_that_knows_no_such_service_or_takes_nobody(
    ask: Any, listener: Callable[..., Listener], number: int, code: str, words: str
) -> None:
    error = raised(DatabaseUnavailable, lambda: ask(port=listener(number).port).health())
    assert (error.failure, error.code) == (Failure.CONNECT, code)
    with pytest.raises(DatabaseUnavailable, match=words):
        raise error


def test_a_sid_that_a_listener_does_not_know(
    listener: Callable[..., Listener], database: OracleCompatibleServer
) -> None:
    refusing = listener(12505)
    table = database.settings(port=refusing.port, sid="OLD")
    del table["service_name"]
    with Host(_config(table)) as host, pytest.raises(DatabaseUnavailable) as caught:
        host.resource("service", OracleDatabase).health()
    assert caught.value.code == "ORA-12505"
    assert 'SID "OLD" is not registered' in str(caught.value)
    assert str(caught.value).endswith("; check sid, or wait until it has started")


def _config(table: dict[str, Any], **service: Any) -> dict[str, Any]:
    services = {"service": {"plugins": {"oracle": table}, **service}}
    return {"services": services, "allow_inline_secrets": True}


@pytest.mark.parametrize(
    "behaviour",
    [{"hears": False, "stays": True}, {"accepts": True, "stays": True}],
    ids=["silent", "accepts and is silent"],
)
def test_a_listener_that_goes_silent(
    ask: Any, listener: Callable[..., Listener], behaviour: dict[str, Any]
) -> None:
    silent = listener(**behaviour)
    asked = ask(port=silent.port, connect_timeout=0.2)
    started = time.monotonic()
    error = raised(DatabaseUnavailable, asked.health)
    assert time.monotonic() - started < FAR
    assert str(error).endswith("cannot be reached: timed out")
    assert (error.failure, error.code) == (Failure.CONNECT, None)


def test_a_listener_that_hangs_up(ask: Any, listener: Callable[..., Listener]) -> None:
    error = raised(DatabaseUnavailable, lambda: ask(port=listener().port).health())
    assert (error.failure, error.code) == (Failure.CONNECT, "DPY-4011")


def test_a_wrong_password_is_the_configurations_fault(ask: Any) -> None:
    error = raised(ConfigError, lambda: ask(password="canary-passw0rd").health())
    assert str(error).startswith("service: oracle: 127.0.0.1:")
    assert "does not accept username with password: ORA-01017" in str(error)
    assert not hasattr(error, "failure")


@pytest.mark.once
def test_an_account_that_is_locked_after_too_many_of_them(
    run_database: Callable[..., OracleCompatibleServer],
) -> None:
    server = run_database(failed_logins=2)
    for password, code in (("a", 1017), ("b", 1017), (server.users["FLEXT"], 28000)):
        with (
            Host(_config(server.settings(password=password, required=True))) as host,
            pytest.raises(ConfigError, match=f"not accept username with password: ORA-{code:05}"),
        ):
            host.resource("service", OracleDatabase)


@pytest.mark.parametrize(
    ("dsn", "problem"),
    [
        ("(DESCRIPTION=(ADDRESS", "dsn: DPY-4017: invalid connect descriptor"),
        ("prod_high", "dsn: DPY-4027: .*; wallet is the folder of tnsnames.ora"),
    ],
)
def test_a_dsn_that_leads_nowhere_is_the_configurations_fault(dsn: str, problem: str) -> None:
    table = {"dsn": dsn, "username": "FLEXT", "password": "x", "required": True}
    with Host(_config(table)) as host, pytest.raises(ConfigError, match=problem):
        host.resource("service", OracleDatabase)


# no answer


def test_a_connection_that_is_lost(ask: Any, relay: Any, database: OracleCompatibleServer) -> None:
    way: Relay = relay(database)
    asked = ask(port=way.port)
    asked.health()
    way.fail("cut", sent=0)
    error = raised(DatabaseUnavailable, lambda: asked.fetch("select 'canary' from dual"))
    assert error.failure in {Failure.READ, Failure.CONNECT}
    assert error.code
    assert asked.rows("select 1 from dual") == [(1,)]


def test_an_answer_that_does_not_come_in_time(
    ask: Any, relay: Any, database: OracleCompatibleServer
) -> None:
    way: Relay = relay(database)
    asked = ask(port=way.port, timeout=0.3)
    asked.health()
    way.freeze()
    error = raised(DatabaseUnavailable, lambda: asked.fetch("select 'canary' from dual"))
    assert str(error) == f"service: oracle: 127.0.0.1:{way.port} did not answer in time"
    assert (error.failure, error.code) == (Failure.TIMEOUT, None)
    way.thaw()


# no


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("insert into {t} (id, name) values (1, 'x')", "ORA-00001"),
        ("insert into {t} (id, name) values (:canary, null)", "ORA-01400"),
        ("update {t} set name = null", "ORA-01407"),
        ("insert into {t} (id, name, size_) values (:canary, 'x', -777)", "ORA-02290"),
        ("insert into {t} (id, name) values (:canary, 'canary')", "ORA-12899"),
        ("insert into {t} (id, name) values (1234567, 'x')", "ORA-01438"),
        ("insert into {t} (id, name, parent) values (:canary, 'x', 777)", "ORA-02291"),
    ],
)
def test_a_row_that_breaks_a_rule_of_its_table(
    table: Callable[[str], str], ask: Any, statement: str, code: str
) -> None:
    name = table(
        "id number(5) primary key, name varchar2(3) not null, "
        "size_ number(5) check (size_ > 0), parent number(5)"
    )
    asked = ask()
    asked.execute(f"alter table {name} add foreign key (parent) references {name} (id)")
    asked.insert_record(name, {"id": 1, "name": "a"})
    values = {"canary": 2} if ":canary" in statement else None
    error = raised(ConstraintViolated, lambda: asked.execute(statement.format(t=name), values))
    assert (error.code, getattr(error, "failure", None)) == (code, None)
    assert str(error).startswith(f"service: oracle: execute: {code}: ")
    assert "777" not in str(error)
    assert "1234567" not in str(error)
    assert asked.rows(f"select id from {name}") == [(1,)]


@pytest.mark.parametrize(
    ("statement", "values", "code"),
    [
        ("select to_number('canary') from dual", None, "ORA-01722"),
        ("select to_date('canary', 'YYYY-MM-DD') from dual", None, "ORA-"),
        ("select 1 / 0 from dual", None, "ORA-01476"),
        ("select 'canary' from no_such_table", None, "ORA-00942"),
        ("select no_such_column, 'canary' from dual", None, "ORA-00904"),
        ("select 'canary from dual", None, "DPY-2041"),
        ("select :a from dual", {}, "DPY-4010"),
        ("select 1 from dual where 'x' = :a", {"a": {"canary"}}, "DPY-3002"),
        ("select 1 from dual where 'x' = :a", {"a": "canary\udcff"}, None),
        ("", None, "DPY-2066"),
    ],
)
def test_a_statement_that_the_database_or_the_driver_refuses(
    ask: Any, statement: str, values: dict[str, Any] | None, code: str | None
) -> None:
    asked = ask()
    error = raised(DatabaseError, lambda: asked.fetch(statement, values))
    assert not isinstance(error, (DatabaseUnavailable, ConstraintViolated))
    assert (error.code or "").startswith(code or "")
    assert (error.code is None) is (code is None)
    assert not hasattr(error, "failure")
    assert asked.rows("select 1 from dual") == [(1,)]


def test_what_the_application_itself_says_in_the_database_is_told_as_it_is(ask: Any) -> None:
    text = "order ''A-1'' is closed"
    block = f"begin raise_application_error(-20001, '{text}'); end;"
    error = raised(DatabaseError, lambda: ask().execute(block))
    assert str(error) == "service: oracle: execute: ORA-20001: order 'A-1' is closed"
    assert error.code == "ORA-20001"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            "ORA-01722: unable to convert string value containing 'a\ncanary' to a number: \nHelp: x",
            "ORA-01722: unable to convert string value containing '***' to a number",
        ),
        (
            "ORA-01438: value 777 greater than specified precision (5, 0) for column ID\nHelp: x",
            "ORA-01438: value *** greater than specified precision (5, 0) for column ID",
        ),
        (
            "ORA-00001: unique constraint (S.PK) violated\nORA-03301: row with (ID:777) exists",
            "ORA-00001: unique constraint (S.PK) violated",
        ),
        (
            'ORA-12899: value too large for column "S"."T"."C" (actual: 9, maximum: 3)',
            'ORA-12899: value too large for column "S"."T"."C" (actual: 9, maximum: 3)',
        ),
        ('ORA-00904: "NAME": invalid identifier', 'ORA-00904: "NAME": invalid identifier'),
        (
            'ORA-00900: invalid input syntax for type timestamp: "can\nary"\nHelp: x',
            'ORA-00900: invalid input syntax for type timestamp: "***"',
        ),
        ("ORA-20001: value 7 is 'late'\nORA-06512: at line 1", "ORA-20001: value 7 is 'late'"),
        (
            "DPY-6001: no such service (CONNECTION_ID=abc==)\n(Similar to ORA-12514)",
            "DPY-6001: no such service",
        ),
    ],
)
def test_a_message_is_its_first_line_without_values(message: str, line: str) -> None:
    assert line_of(message) == line


def test_a_code_is_the_databases_own_however_the_driver_words_it() -> None:
    assert code_of(ValueError("DPY-6000: Listener refused. (Similar to ORA-1017)")) == "ORA-01017"
    assert code_of(ValueError("no code at all")) is None


# at the start


@pytest.fixture
def config(flext_service: LoopbackService, database: OracleCompatibleServer) -> Any:
    def config(**settings: Any) -> dict[str, Any]:
        return _config(database.settings(**settings), base_url=flext_service.url)

    return config


def kind(world: World) -> type:
    return AsyncOracleDatabase if world.asynchronous else OracleDatabase


def test_a_database_that_is_not_required_is_warned_of_once_and_goes_without(
    flext_world: World, config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    host = flext_world.host(config(port=1))
    assert flext_world.get(host).status_code == 200
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.name == "flext_plugins.oracle"
    assert (record.service, record.plugin) == ("service", "oracle")  # type: ignore[attr-defined]
    assert record.getMessage() == (
        "service: oracle: 127.0.0.1:1 cannot be reached: [Errno 111] Connection refused"
    )


def test_a_database_that_is_required_refuses_the_opening(
    flext_world: World, config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    host = flext_world.host(config(port=1, required=True))
    caught = raised(DatabaseUnavailable, lambda: flext_world.get(host))
    assert (caught.service, caught.plugin) == ("service", "oracle")
    raised(DatabaseUnavailable, lambda: flext_world.resource(host, kind(flext_world)))
    assert caplog.records == []


def test_a_wrong_password_is_warned_of_too_unless_the_database_is_required(
    world: World, config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert world.get(world.host(config(password="canary-passw0rd"))).status_code == 200
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert "does not accept username with password: ORA-01017" in record.getMessage()
    assert "passw0rd" not in caplog.text
    required = world.host(config(password="canary-passw0rd", required=True))
    raised(ConfigError, lambda: world.get(required))


def test_a_required_database_closes_those_before_it(
    flext_world: World, database: OracleCompatibleServer
) -> None:
    before = database.sessions
    connections = {
        "up": database.settings(),
        "down": database.settings(port=1, required=True),
    }
    host = flext_world.host(_config({"connections": connections}))
    raised(DatabaseUnavailable, lambda: flext_world.resource(host, kind(flext_world)))
    end = time.monotonic() + FAR
    while database.sessions > before:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("required", [False, True])
def test_a_silent_database_is_asked_once_at_the_start_and_waited_for_no_longer(
    flext_world: World, config: Any, listener: Callable[..., Listener], required: bool
) -> None:
    """Retry would make three times as long of it."""
    silent = listener(hears=False, stays=True)
    table = config(port=silent.port, connect_timeout=0.2, required=required)
    table["services"]["service"]["plugins"]["retry"] = {"attempts": 3, "backoff": 0.001}
    host = flext_world.host(table)
    if required:
        raised(DatabaseUnavailable, lambda: flext_world.get(host))
    else:
        assert flext_world.get(host).status_code == 200
    assert silent.count == 1
