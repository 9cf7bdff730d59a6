"""The plain driver against the Oracle-compatible server, and what the relay and the listener do."""

import asyncio
import gc
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import oracledb
import pytest
from driver import connect
from flext_plugins_devstack import OracleCompatibleServer
from flext_plugins_devstack.certificates import authority
from listener import Listener
from packets import COMMIT, EXECUTE, LOGOFF, PING, ROLLBACK
from real import DSN
from relay import Relay

Table = Callable[[str], str]
Relays = Callable[[OracleCompatibleServer], Relay]
Listeners = Callable[..., Listener]


pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(DSN in os.environ, reason="this is about the Oracle-compatible server"),
    # The driver closes no socket of a connection that is lost.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def sockets() -> Iterator[None]:
    """Those that are left are collected here, and not in somebody else's test."""
    yield
    gc.collect()


def code(error: BaseException | None) -> str:
    """The code of the driver's or the server's error."""
    assert error is not None
    code: str = error.args[0].full_code
    return code


def rows(server: OracleCompatibleServer, table: str) -> list[int]:
    with connect(server) as connection:
        found = connection.cursor().execute(f"select id from {table} order by id")
        return [number for (number,) in found]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_committed_stays_and_what_is_not_goes_with_its_connection(
    database: OracleCompatibleServer, table: Table
) -> None:
    name = table("id number(10)")
    with connect(database) as connection:
        connection.cursor().execute(f"insert into {name} values (:1)", [1])
        connection.commit()
        connection.cursor().execute(f"insert into {name} values (:1)", [2])
    assert rows(database, name) == [1]


def test_a_batch_keeps_its_good_rows_and_tells_of_each_bad_one(
    database: OracleCompatibleServer, table: Table
) -> None:
    name = table("id number(10) primary key, name varchar2(3) not null")
    values = [(1, "a"), (1, "b"), (2, None), (3, "long"), (4, "d")]
    with connect(database) as connection, connection.cursor() as cursor:
        insert = f"insert into {name} values (:1, :2)"
        cursor.executemany(insert, values, batcherrors=True, arraydmlrowcounts=True)
        errors = {error.offset: error.full_code for error in cursor.getbatcherrors()}
        assert errors == {1: "ORA-00001", 2: "ORA-01400", 3: "ORA-12899"}
        assert cursor.getarraydmlrowcounts() == [1, 0, 0, 0, 1]
        assert cursor.rowcount == 2
        connection.commit()
    assert rows(database, name) == [1, 4]


def test_users_are_those_of_the_server_and_each_has_a_schema(
    database: OracleCompatibleServer, table: Table
) -> None:
    name = table("id number(10)")
    with pytest.raises(oracledb.DatabaseError, match="ORA-01017"):
        connect(database, password="a guess")
    (_, (other, word)) = database.users.items()
    with connect(database, user=other, password=word) as connection:
        with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
            connection.cursor().execute(f"select * from {name}")
        connection.cursor().execute(f"select * from flext.{name}")


def test_each_connection_is_a_session_until_it_is_closed(database: OracleCompatibleServer) -> None:
    wait_until(lambda: database.sessions == 0)
    opened = [connect(database) for _ in range(3)]
    assert database.sessions == 3
    for each in opened:
        each.close()
    wait_until(lambda: database.sessions == 0)


def test_over_tls_the_certificate_has_to_be_of_the_authority_and_for_the_host(
    tls_database: OracleCompatibleServer, tmp_path: Path
) -> None:
    assert tls_database.ca_file is not None
    for file, host, refused in [
        (tls_database.ca_file, "localhost", None),
        (tls_database.ca_file, "127.0.0.1", "DPY-6006"),
        (str(authority(tmp_path).path), "localhost", "DPY-6005"),
    ]:
        context = ssl.create_default_context(cafile=file)
        if refused is None:
            with connect(tls_database, protocol="tcps", host=host, ssl_context=context) as made:
                made.ping()
            continue
        with pytest.raises(oracledb.Error, match=refused):
            connect(tls_database, protocol="tcps", host=host, ssl_context=context)


def test_over_tls_a_client_can_be_asked_for_its_certificate(
    run_database: Callable[..., OracleCompatibleServer],
) -> None:
    server = run_database(tls=True, client_certificates=True)
    context = ssl.create_default_context(cafile=server.ca_file)
    with pytest.raises(oracledb.Error, match="DPY-4011|DPY-6005"):
        connect(server, protocol="tcps", ssl_context=context)
    assert server.authority is not None
    context.load_cert_chain(server.authority.client)
    with connect(server, protocol="tcps", ssl_context=context) as made:
        made.ping()


def test_a_server_that_is_killed_comes_back_with_what_was_committed(
    run_database: Callable[..., OracleCompatibleServer],
) -> None:
    server = run_database()
    lost = connect(server)
    lost.cursor().execute("create table t (id number(10))")
    lost.cursor().execute("insert into t values (1)")
    lost.commit()
    lost.cursor().execute("insert into t values (2)")
    server.down()
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        lost.commit()
    with pytest.raises(oracledb.OperationalError, match="Connection refused"):
        connect(server)
    server.up()
    assert rows(server, "t") == [1]


def test_a_server_that_serves_no_more_closes_the_connection(
    run_database: Callable[..., OracleCompatibleServer],
) -> None:
    server = run_database(max_sessions=1)
    until = time.monotonic() + 10
    while server.sessions and time.monotonic() < until:  # the one by which it was seen to be up
        time.sleep(0.05)
    with connect(server):
        with pytest.raises(oracledb.OperationalError) as refused:
            connect(server)
        assert code(refused.value.__cause__) == "DPY-4011"


@pytest.mark.parametrize(
    ("error", "told"),
    [(12514, "DPY-6001"), (12505, "DPY-6003"), (12516, "DPY-6000"), (12528, "DPY-6000")],
)
def test_a_listener_refuses_for_the_reason_given(
    error: int, told: str, listener: Listeners, database: OracleCompatibleServer
) -> None:
    with pytest.raises(oracledb.OperationalError) as refused:
        connect(database, port=listener(error).port)
    assert code(refused.value) == "DPY-6005"
    assert code(refused.value.__cause__) == told
    assert f"ORA-{error}" in str(refused.value.__cause__)


@pytest.mark.parametrize("options", [{}, {"hears": False}, {"accepts": True}])
def test_a_listener_closes_the_connection_sooner_or_later(
    options: dict[str, bool], listener: Listeners, database: OracleCompatibleServer
) -> None:
    with pytest.raises(oracledb.Error, match="DPY-4011"):
        connect(database, port=listener(**options).port)


@pytest.mark.parametrize("options", [{"hears": False}, {"accepts": True}])
def test_a_listener_stays_silent_until_the_client_gives_up(
    options: dict[str, bool], listener: Listeners
) -> None:
    silent = listener(stays=True, **options)

    async def ask() -> None:
        async with asyncio.timeout(0.3):
            await oracledb.connect_async(
                user="A", password="b", host="127.0.0.1", port=silent.port, service_name="C"
            )

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    assert silent.count == 1
    wait_until(lambda: silent.open == 0)


@pytest.mark.parametrize("fault", ["cut", "reset"])
@pytest.mark.parametrize(("moment", "kept"), [("before", []), ("after", [1])])
def test_a_commit_is_lost_on_its_way_or_only_its_answer_is(
    fault: Any,
    moment: Any,
    kept: list[int],
    database: OracleCompatibleServer,
    table: Table,
    relay: Relays,
) -> None:
    name, between = table("id number(10)"), relay(database)
    connection = connect(database, port=between.port)
    connection.cursor().execute(f"insert into {name} values (1)")
    plan: dict[str, Any] = {moment: COMMIT}
    between.fail(fault, **plan)
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        connection.commit()
    between.wait()
    assert rows(database, name) == kept
    assert (between.count, between.open) == (1, 0)


def test_of_several_connections_one_is_cut(
    database: OracleCompatibleServer, table: Table, relay: Relays
) -> None:
    name, between = table("id number(10)"), relay(database)
    connections = [connect(database, port=between.port) for _ in range(4)]
    assert (between.most, between.open) == (4, 4)
    for number, each in enumerate(connections):
        each.cursor().execute(f"insert into {name} values ({number})")
    between.fail("cut", after=COMMIT)

    def commit(connection: oracledb.Connection) -> bool:
        try:
            connection.commit()
        except oracledb.DatabaseError as error:
            return code(error) != "DPY-4011"
        return True

    before = len(between.sent)
    assert database.pid is not None
    os.kill(database.pid, signal.SIGSTOP)
    with ThreadPoolExecutor() as threads:
        try:
            committed = threads.map(commit, connections)
            wait_until(lambda: len(between.sent) == before + 4 * 14)  # all are on their way
        finally:
            os.kill(database.pid, signal.SIGCONT)
        assert sorted(committed) == [False, True, True, True]
    assert rows(database, name) == [0, 1, 2, 3]
    assert between.open == 3
    for each in connections:
        if each.is_healthy():
            each.close()


def test_a_connection_breaks_within_a_batch(
    database: OracleCompatibleServer, table: Table, relay: Relays
) -> None:
    name, between = table("id number(10), name varchar2(100)"), relay(database)
    connection = connect(database, port=between.port)
    before = len(between.sent)
    between.fail("cut", sent=50_000)
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        values = [(number, "x" * 90) for number in range(2000)]
        connection.cursor().executemany(f"insert into {name} values (:1, :2)", values)
    assert len(between.sent) - before == 50_000
    assert rows(database, name) == []


def test_an_answer_breaks_within_its_rows(database: OracleCompatibleServer, relay: Relays) -> None:
    between = relay(database)
    connection = connect(database, port=between.port)
    between.fail("cut", received=10_000)
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        query = "select level, rpad('x', 100) from dual connect by level <= 1000"
        connection.cursor().execute(query).fetchall()


@pytest.mark.parametrize("call", [COMMIT, ROLLBACK, PING, LOGOFF, EXECUTE])
def test_each_call_is_known_by_its_code(
    call: Any, database: OracleCompatibleServer, relay: Relays
) -> None:
    between = relay(database)
    connection = connect(database, port=between.port)
    calls = {
        COMMIT: connection.commit,
        ROLLBACK: connection.rollback,
        PING: connection.ping,
        EXECUTE: lambda: connection.cursor().execute("select 1 from dual"),
        LOGOFF: connection.close,
    }
    between.fail("cut", before=call)
    for each, does in calls.items():
        if each is call:
            with (
                nullcontext() if each is LOGOFF else pytest.raises(oracledb.Error, match="DPY-4011")
            ):
                does()
            break
        does()
    between.wait()


def test_what_is_frozen_comes_through_when_it_is_thawed(
    database: OracleCompatibleServer, table: Table, relay: Relays
) -> None:
    name, between = table("id number(10)"), relay(database)
    with connect(database, port=between.port) as connection:
        connection.cursor().execute(f"insert into {name} values (1)")
        between.fail("freeze", before=COMMIT)
        committing = threading.Thread(target=connection.commit)
        committing.start()
        between.wait()
        committing.join(0.2)
        assert committing.is_alive()
        assert rows(database, name) == []
        between.thaw()
        committing.join(10)
        assert rows(database, name) == [1]


def test_a_relay_that_is_cut_serves_new_connections(
    database: OracleCompatibleServer, relay: Relays
) -> None:
    between = relay(database)
    old = connect(database, port=between.port)
    between.cut()
    with pytest.raises(oracledb.Error, match="DPY-4011"):
        old.ping()
    between.refuses = 1
    with pytest.raises(oracledb.Error, match="DPY-4011"):
        connect(database, port=between.port)
    with connect(database, port=between.port) as new:
        new.ping()
    assert between.count == 3
