"""The Oracle-compatible server of the devstack: its processes, its port, and what it needs."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import oracledb
import pytest
from flext_plugins_devstack import NotInstalled, OracleCompatibleServer, oracle, postgres

pytestmark = pytest.mark.once

SEERDB = Path(__file__).parents[1] / "seerdb.txt"


def make(port: int = 0, **options: Any) -> OracleCompatibleServer:
    try:
        return OracleCompatibleServer(port, **options)
    except NotInstalled as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def connect(
    server: OracleCompatibleServer, user: str = "FLEXT", word: str = ""
) -> oracledb.Connection:
    return oracledb.connect(
        user=user, password=word or server.users[user], dsn=f"{server.target}/{oracle.SERVICE_NAME}"
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files are made; everybody gets there, for PostgreSQL's user has to."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", made)
        yield Path(made)


def processes(folder: Path) -> set[str]:
    """The processes whose words name something in that folder."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in each.read_bytes():
                found.add(each.parent.name)
        except OSError:  # it has ended
            pass
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_down_it_refuses_connections_and_comes_up_on_its_port(folder: Path) -> None:
    with make() as server:
        pid = server.pid
        server.up()
        assert server.pid == pid
        server.down()
        server.down()
        assert server.pid is None
        wait_until(lambda: not processes(folder))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port))
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((server.host, server.port))
        server.up()
        connect(server).close()


def test_nothing_remains_of_it(folder: Path) -> None:
    with make() as server:
        (own,) = folder.iterdir()
        assert own.stat().st_mode & 0o077 == 0
        assert processes(folder)
    server.close()
    wait_until(lambda: not processes(folder))
    assert list(folder.iterdir()) == []
    with socket.socket() as other:
        other.bind((server.host, server.port))


def test_it_ends_with_the_program_that_started_it_however_that_ends(folder: Path) -> None:
    make().close()
    program = """
import sys, tempfile
from flext_plugins_devstack import OracleCompatibleServer
tempfile.tempdir = sys.argv[1]
OracleCompatibleServer().up()
print("up", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert len(processes(folder)) > 3
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not processes(folder))


def test_it_listens_on_its_port_and_no_other(folder: Path) -> None:
    with make() as server:
        listening = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A":
                listening.add((inode, int(local.partition(":")[2], 16)))
        ports = set()
        for process in processes(folder):
            for each in Path(f"/proc/{process}/fd").iterdir():
                try:
                    name = str(each.readlink())
                except OSError:
                    continue
                ports |= {port for inode, port in listening if name == f"socket:[{inode}]"}
        assert ports == {server.port}


def test_several_start_at_once_and_know_nothing_of_each_other() -> None:
    servers = [make() for _ in range(3)]
    try:
        with ThreadPoolExecutor() as threads:
            list(threads.map(OracleCompatibleServer.up, servers))
        for number, server in enumerate(servers):
            with connect(server) as connection:
                connection.cursor().execute(f"create table t as select {number} n from dual")
        for number, server in enumerate(servers):
            with connect(server) as connection:
                assert connection.cursor().execute("select n from t").fetchall() == [(number,)]
            assert len({each.port for each in servers}) == 3
    finally:
        for each in servers:
            each.close()


def test_users_and_their_failures_are_those_that_it_was_given() -> None:
    with make(users={"ANA": "ana-passw0rd"}, failed_logins=2) as server:
        connect(server, "ANA").close()
        assert server.settings(username="BOB") == {
            "host": "127.0.0.1",
            "port": server.port,
            "service_name": "FLEXT",
            "username": "BOB",
            "password": "ana-passw0rd",
        }
        for told in ("ORA-01017", "ORA-01017", "ORA-28000"):
            with pytest.raises(oracledb.DatabaseError, match=told):
                connect(server, "ANA", "a guess")


def test_what_it_cannot_start_with_is_told_in_the_programs_words(folder: Path) -> None:
    server = make(max_sessions=0)
    with pytest.raises(RuntimeError, match="(?s)does not start: .*max_sessions must be at least 1"):
        server.__enter__()
    wait_until(lambda: not processes(folder))
    with socket.socket() as other:
        other.bind((server.host, server.port))


def test_a_port_that_is_taken_is_told(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"oracle cannot listen on 127.0.0.1:{port}"):
            make(port)
    assert list(folder.iterdir()) == []


def test_without_postgresql_it_says_how_to_install_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "EXTENSIONS", folder)
    monkeypatch.setenv(oracle.VARIABLE, sys.executable)
    told = re.escape("orafce is not installed: apt-get install '^postgresql-[0-9]+-orafce$' (")
    with pytest.raises(NotInstalled, match=told):
        OracleCompatibleServer()
    assert list(folder.iterdir()) == []


def test_without_seerdb_it_says_how_to_install_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oracle, "ENVIRONMENT", ".venv-none")
    monkeypatch.delenv(oracle.VARIABLE, raising=False)
    told = "^seerdb is not installed: python3 -m venv .venv-none && .venv-none/bin/pip install 's"
    with pytest.raises(NotInstalled, match=told):
        OracleCompatibleServer()
    monkeypatch.setenv(oracle.VARIABLE, str(folder / "python"))
    with pytest.raises(NotInstalled, match=f"{oracle.VARIABLE} names no program: {folder}/python"):
        OracleCompatibleServer()


def test_the_seerdb_that_it_names_is_the_one_that_is_tested() -> None:
    assert oracle.SEERDB.replace("[mirror]", "") in SEERDB.read_text().splitlines()


def command(*options: str) -> "subprocess.Popen[str]":
    ports = [word for name in ("flexcore", "auth", "echo") for word in (f"--{name}-port", "0")]
    program = [sys.executable, "-c", "from flext_plugins_devstack.cli import app; app()", "up"]
    return subprocess.Popen(
        [*program, *ports, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_command_starts_it_on_request_and_says_how_to_connect() -> None:
    make().close()
    with command("--oracle", "--oracle-port", "0") as process:
        assert process.stdout is not None
        try:
            said = "".join(iter(process.stdout.readline, "Ctrl-C stops.\n"))
            (shown,) = re.findall(r"oracledb\.connect\((.*)\)$", said, re.MULTILINE)
            given = dict(re.findall(r'(\w+)="([^"]*)"', shown))
            where = given["dsn"].removesuffix("/FLEXT")
            assert re.search(rf"^oracle +{where}  \(Oracle-comp", said, re.MULTILINE)
            oracledb.connect(**given).close()
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(oracle.VARIABLE, "/nowhere/python")
    with command("--oracle", "--oracle-port", "0") as process:
        said, errors = process.communicate(timeout=20)
    assert (process.returncode, said) == (1, "")
    assert errors == f"{oracle.VARIABLE} names no program: /nowhere/python\n"


def test_the_command_names_its_port_and_the_option_to_change_it() -> None:
    make().close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with command("--oracle", "--oracle-port", str(taken.getsockname()[1])) as process:
            said, errors = process.communicate(timeout=20)
    assert (process.returncode, said) == (1, "")
    assert errors.endswith("in use; choose another with --oracle-port\n")
