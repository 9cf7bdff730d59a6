"""Starting, stopping, and the command that does both."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from flext_plugins_devstack import Devstack, Fault


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("devstack")]


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_server_that_is_down_refuses_and_comes_back_on_its_port(
    stack: Devstack, client: httpx.Client
) -> None:
    url = stack.flexcore.url
    assert client.get(url + "/health").status_code == 200
    for _ in range(3):
        stack.flexcore.down()
        with pytest.raises(httpx.ConnectError):
            client.get(url + "/health")
        stack.flexcore.up()
        assert stack.flexcore.url == url
        assert client.get(url + "/health").status_code == 200


def test_going_down_closes_connections_that_were_kept_alive(stack: Devstack) -> None:
    with socket.create_connection(("127.0.0.1", stack.flexcore.port), timeout=5) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        stack.flexcore.down()
        while connection.recv(4096):
            pass  # an endless recv would be a timeout, and fail


def test_going_down_does_not_wait_for_a_delayed_answer(stack: Devstack) -> None:
    stack.flexcore.fault(Fault(delay=60))
    errors: list[Exception] = []

    def ask() -> None:
        try:
            httpx.get(stack.flexcore.url + "/health", timeout=30, trust_env=False)
        except httpx.HTTPError as error:
            errors.append(error)

    before = len(stack.flexcore.received)
    asking = threading.Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 5
    while len(stack.flexcore.received) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    started = time.monotonic()
    stack.flexcore.down()
    assert time.monotonic() - started < 2
    asking.join(5)
    assert isinstance(errors[0], httpx.RemoteProtocolError | httpx.ReadError)


def test_a_port_is_kept_while_its_server_is_down(stack: Devstack) -> None:
    stack.flexcore.down()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", stack.flexcore.port))


def test_down_and_up_twice_are_down_and_up_once(stack: Devstack, client: httpx.Client) -> None:
    stack.flexcore.down()
    stack.flexcore.down()
    stack.flexcore.up()
    stack.flexcore.up()
    assert client.get(stack.flexcore.url + "/health").status_code == 200


def test_closing_leaves_no_thread_and_no_listener_and_may_be_repeated() -> None:
    before = threads()
    stack = Devstack()
    with stack:
        assert len(threads()) == len(before) + 4
        servers = (stack.flexcore, stack.flext_service, stack.auth, stack.echo)
        ports = [server.port for server in servers]
    stack.close()
    assert threads() == before
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_stack_is_closed_with_a_server_down_or_a_body_raising() -> None:
    before = threads()
    with pytest.raises(ZeroDivisionError), Devstack() as stack:
        stack.auth.down()
        raise ZeroDivisionError
    assert threads() == before


def test_if_one_server_cannot_start_none_runs() -> None:
    before = threads()
    with taken_port() as port:
        stack = Devstack(ports={"echo": port})
        with pytest.raises(OSError, match=f"echo cannot listen on 127.0.0.1:{port}"):
            stack.start()
    assert threads() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", stack.auth.port), timeout=1)


def test_a_closed_stack_can_be_started_again(client: httpx.Client) -> None:
    stack = Devstack()
    with stack:
        url = stack.flexcore.url
    with stack:
        assert stack.flexcore.url == url
        assert client.get(url + "/health").status_code == 200


def test_a_stack_that_was_not_started_has_no_url() -> None:
    with pytest.raises(RuntimeError, match="flexcore has not been started"):
        _ = Devstack().flexcore.url


def test_unknown_servers_and_tenants_are_refused_with_those_that_exist() -> None:
    with pytest.raises(
        ValueError, match="no server oracle; there are flexcore, flext-service, flext-auth, echo"
    ):
        Devstack(ports={"oracle": 0})
    with pytest.raises(ValueError, match="no tenant 'nope'; there are tenant-1, tenant-2"):
        Devstack(default_tenant="nope")


def command(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", "from flext_plugins_devstack.cli import app; app()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


PORTS = ("--flexcore-port", "--flext-service-port", "--auth-port", "--echo-port")


def free_ports() -> list[str]:
    return [word for option in PORTS for word in (option, "0")]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal_and_exits_cleanly(
    ending: signal.Signals, client: httpx.Client
) -> None:
    with command("up", *free_ports(), "--protected") as process:
        assert process.stdout is not None
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("Ctrl-C"):
                    break
            said = "".join(lines)
            urls = dict(re.findall(r"^([\w-]+) +(http://127\.0\.0\.1:\d+)", said, re.MULTILINE))
            assert urls.keys() == {"flexcore", "flext-service", "flext-auth", "echo"}
            assert "\x1b" not in said
            tried = re.search(r"^Try: (curl .*)$", said, re.MULTILINE)
            assert tried
            token = client.post(
                urls["flext-auth"] + "/auth/login",
                json={"username": "admin", "password": "flexcore100", "tenant_id": "tenant-1"},
            ).json()["token"]
            plugins = urls["flexcore"] + "/api/v1/flexcore/plugins"
            assert client.get(plugins).status_code == 401
            assert (
                client.get(plugins, headers={"Authorization": f"Bearer {token}"}).status_code == 200
            )
            process.send_signal(ending)
            rest, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize("option", PORTS)
def test_the_command_names_a_port_in_use_and_the_option_to_change_it(option: str) -> None:
    with taken_port() as port:
        with command("up", *free_ports(), option, str(port)) as process:
            said, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said == ""
    assert errors.count("\n") == 1
    assert f":{port}" in errors
    assert "in use" in errors
    assert option in errors
