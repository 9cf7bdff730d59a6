"""Against HAProxy, which answers, hangs up and loses its own upstream as real ones do."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flext_plugins_circuit_breaker import CircuitBreaker, CircuitOpen, State

from flext_plugins.testing import Answer, LoopbackService, World

CONFIGURATION = """
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
  retries 0

frontend here
  bind fd@{descriptor}
  http-request return status 503 hdr Retry-After 120 if {{ path /busy }}
  http-request reject if {{ path /gone }}
  default_backend there

backend there
  server only 127.0.0.1:{port}
"""
SOON = 0.2


@pytest.fixture
def haproxy(flext_service: LoopbackService, tmp_path: Path) -> Iterator[str]:
    """The URL of a HAProxy in front of `flext_service`."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        wanted = "haproxy is not installed; see tools/servers.sh"
        if os.environ.get("CI"):
            pytest.fail(f"{wanted} (nothing is skipped where CI is set)", pytrace=False)
        pytest.skip(wanted)
    file = tmp_path / "haproxy.cfg"
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        descriptor = listening.fileno()
        file.write_text(CONFIGURATION.format(descriptor=descriptor, port=flext_service.port))
        running = subprocess.Popen(
            [program, "-db", "-q", "-f", str(file)],
            pass_fds=[descriptor],
            stderr=subprocess.DEVNULL,
        )
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        running.kill()
        running.wait(10)


async def test_it_opens_on_what_a_real_proxy_says_and_does(
    flext_world: World, flext_service: LoopbackService, haproxy: str
) -> None:
    plugins = {"circuit-breaker": {"failure_threshold": 1, "recovery_timeout": SOON}}
    host = flext_world.host({"services": {"service": {"base_url": haproxy, "plugins": plugins}}})
    client = await flext_world.client(host)
    circuit = host.aresource("service", CircuitBreaker) if flext_world.asynchronous else None
    found = await circuit if circuit else host.resource("service", CircuitBreaker)

    async def refused() -> CircuitOpen:
        with pytest.raises(CircuitOpen) as caught:
            await client.get("/")
        return caught.value

    assert (await client.get("/")).status_code == 200

    assert (await client.get("/busy")).status_code == 503
    assert 60 < ((await refused()).retry_after or 0) <= 120
    found.reset()

    with pytest.raises(flext_world.lib.TransportError):
        await client.get("/gone")  # it hangs up
    await refused()
    found.reset()

    flext_service.answer = Answer(reset=True)
    assert (await client.get("/")).status_code == 502
    await refused()
    found.reset()

    flext_service.answer = Answer(body=b"x" * 100_000, cut=10)
    with pytest.raises(flext_world.lib.RemoteProtocolError):
        await client.get("/")
    await refused()
    found.reset()

    flext_service.refuse()
    assert (await client.get("/")).status_code == 503
    await refused()
    flext_service.answer = Answer(200)
    flext_service.listen()
    await flext_world.sleep(SOON)
    assert (await client.get("/")).status_code == 200
    assert found.state is State.CLOSED
