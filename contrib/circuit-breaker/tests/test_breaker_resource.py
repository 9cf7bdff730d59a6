"""What the application gets of a circuit, and does with it."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_circuit_breaker import CircuitBreaker, CircuitOpen, Counts, State
from flext_plugins_circuit_breaker.switch import Switch

from flext_plugins import ConfigError, Host, Operation, events, hookimpl
from flext_plugins.testing import Answer, LoopbackService, World

NOBODY = 65534


class Heard:
    """What other plugins are told."""

    told: list[events.StateChanged]

    def __init__(self) -> None:
        type(self).told = []

    @hookimpl
    def flext_event(self, event: object) -> None:
        if isinstance(event, events.StateChanged):
            self.told.append(event)


class Directory:
    """Asks something that does not speak HTTP."""

    @hookimpl
    async def flext_request(self, request: Any, connection: Any) -> None:
        if "X-Ask" in request.headers:
            asked = Operation("ldap", "search", request.headers["X-Ask"])
            await connection.perform(asked, str)


def served(world: World, url: str, **breaker: Any) -> Host:
    plugins = {"circuit-breaker": breaker, "heard": {}, "directory": {}}
    services = {"service": {"base_url": url, "plugins": plugins}}
    return world.host({"services": services}, heard=Heard, directory=Directory)


def test_the_application_sees_the_state_and_the_counts(
    flext_world: World, flext_service: LoopbackService
) -> None:
    host = served(flext_world, flext_service.url, failure_threshold=2)
    circuit = flext_world.resource(host, CircuitBreaker)
    assert (circuit.target, circuit.state) == (flext_service.url, State.CLOSED)
    flext_world.get(host)
    flext_service.answer = Answer(503)
    flext_world.get(host)
    assert circuit.counts == Counts(2, 1, 0, 1, 0)
    flext_world.get(host)
    with pytest.raises(CircuitOpen):
        flext_world.get(host)
    assert circuit.state is State.OPEN
    assert circuit.counts == Counts(0, 0, 0, 0, refusals=1)


def test_tripped_by_hand_it_refuses_until_it_is_reset(
    flext_world: World, flext_service: LoopbackService
) -> None:
    host = served(flext_world, flext_service.url, recovery_timeout=0.01)
    circuit = flext_world.resource(host, CircuitBreaker)
    circuit.trip()
    flext_world.run(lambda: flext_world.sleep(0.02))
    with pytest.raises(flext_world.lib.TransportError, match="is held open until") as caught:
        flext_world.get(host)
    assert isinstance(caught.value, CircuitOpen)
    assert caught.value.retry_after is None
    assert circuit.state is State.FORCED_OPEN
    circuit.reset()
    assert flext_world.get(host).status_code == 200
    told = [(each.target, each.old, each.new, each.reason) for each in Heard.told]
    url = flext_service.url
    assert told == [
        (url, "closed", "forced-open", "tripped by hand"),
        (url, "forced-open", "closed", "reset by hand"),
    ]


def test_a_reset_closes_an_open_circuit(flext_world: World, flext_service: LoopbackService) -> None:
    host = served(flext_world, flext_service.url, failure_threshold=1)
    flext_service.answer = Answer(503)
    flext_world.get(host)
    flext_service.answer = Answer(200)
    flext_world.resource(host, CircuitBreaker).reset()
    assert flext_world.get(host).status_code == 200


def test_the_configuration_can_hold_it_open(
    flext_world: World, flext_service: LoopbackService
) -> None:
    host = served(flext_world, flext_service.url, forced_open=True)
    with pytest.raises(CircuitOpen):
        flext_world.get(host)
    assert flext_service.received == []


def test_the_configuration_can_disable_it(
    flext_world: World, flext_service: LoopbackService
) -> None:
    host = served(flext_world, flext_service.url, disabled=True, failure_threshold=1)
    flext_service.answer = Answer(503)
    assert [flext_world.get(host).status_code for _ in range(3)] == [503] * 3
    circuit = flext_world.resource(host, CircuitBreaker)
    assert circuit.state is State.DISABLED
    assert circuit.counts.failures == 3
    assert Heard.told == []


def test_an_operations_target_has_a_circuit_to_be_asked_for(
    flext_world: World, flext_service: LoopbackService
) -> None:
    host = served(flext_world, flext_service.url)
    circuits = flext_world.resource(host, CircuitBreaker)
    circuits.circuit("ldap", "directory:389").trip()
    with pytest.raises(CircuitOpen, match="the circuit for directory:389 is held open"):
        flext_world.get(host, headers={"X-Ask": "directory:389"})
    assert flext_world.get(host, headers={"X-Ask": "other:389"}).status_code == 200
    states = {each.target: each.state for each in circuits.circuits}
    assert states == {
        flext_service.url: State.CLOSED,
        "directory:389": State.FORCED_OPEN,
        "other:389": State.CLOSED,
    }
    assert [each.target for each in Heard.told] == ["directory:389"]


def test_circuits_do_not_pile_up(flext_service: LoopbackService) -> None:
    services = {"service": {"base_url": flext_service.url, "plugins": {"circuit-breaker": {}}}}
    with Host({"services": services}) as host:
        circuits = host.resource("service", CircuitBreaker)
        for number in range(300):
            circuits.circuit("ldap", f"directory-{number}:389").trip()
        assert len(circuits.circuits) == 101


def test_a_service_has_one_circuit_for_threads_and_event_loops(
    flext_service: LoopbackService,
) -> None:
    services = {"service": {"base_url": flext_service.url, "plugins": {"circuit-breaker": {}}}}
    with Host({"services": services}) as host:
        circuit = host.resource("service", CircuitBreaker)
        for _ in range(2):
            assert asyncio.run(host.aresource("service", CircuitBreaker)) is circuit
        circuit.trip()

        async def get() -> None:
            async with host.aconnect("service") as client:
                await client.get("/")

        with pytest.raises(CircuitOpen):
            asyncio.run(get())
        with pytest.raises(CircuitOpen):
            host.connect("service").get("/")


@pytest.mark.parametrize(
    ("base_url", "target"),
    [
        ("https://Example.test/api/v1", "https://example.test"),
        ("https://example.test.:443", "https://example.test"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_target_is_an_origin(base_url: str, target: str) -> None:
    services = {"service": {"base_url": base_url, "plugins": {"circuit-breaker": {}}}}
    with Host({"services": services}) as host:
        assert host.resource("service", CircuitBreaker).target == target


def test_a_service_that_only_lends_is_called_by_its_name() -> None:
    with Host({"services": {"oracle": {"plugins": {"circuit-breaker": {}}}}}) as host:
        assert host.resource("oracle", CircuitBreaker).target == "oracle"


def test_from_outside_each_circuit_is_seen_with_its_state_and_why_it_is_in_it(
    flext_world: World, flext_service: LoopbackService
) -> None:
    host = served(flext_world, flext_service.url, failure_threshold=1)
    before = datetime.now(UTC).replace(microsecond=0)
    flext_world.get(host, headers={"X-Ask": "directory:389"})
    flext_service.answer = Answer(503)
    flext_world.get(host)
    first, second = circuits(flext_world, host)
    assert (first["target"], second["target"]) == (flext_service.url, "directory:389")
    assert (first["state"], second["state"]) == ("open", "closed")
    assert first["reason"] == "consecutive failures: 1, the last one: status 503"
    assert second["reason"] == ""
    assert before <= datetime.fromisoformat(first["since"]) <= datetime.now(UTC)


def test_from_outside_all_circuits_are_tripped_and_reset(
    flext_world: World, flext_service: LoopbackService
) -> None:
    host = served(flext_world, flext_service.url)
    flext_world.get(host, headers={"X-Ask": "directory:389"})
    actions = flext_world.status(host)["circuit-breaker"].actions
    actions["trip"]()
    with pytest.raises(CircuitOpen):
        flext_world.get(host)
    assert [each["state"] for each in circuits(flext_world, host)] == ["forced-open"] * 2
    actions["reset"]()
    assert flext_world.get(host).status_code == 200
    assert [each["state"] for each in circuits(flext_world, host)] == ["closed"] * 2
    assert [each["reason"] for each in circuits(flext_world, host)] == ["reset by hand"] * 2
    assert [each.new for each in Heard.told] == ["forced-open"] * 2 + ["closed"] * 2


@pytest.mark.once
def test_processes_that_share_a_folder_do_what_one_does(
    flext_world: World, flext_service: LoopbackService, tmp_path: Path
) -> None:
    """Two hosts know as little of each other as two processes."""
    here, there = (
        served(flext_world, flext_service.url, shared=str(tmp_path / "circuits")) for _ in range(2)
    )
    for host in (here, there):
        flext_world.get(host, headers={"X-Ask": "directory:389"})
    flext_world.status(here)["circuit-breaker"].actions["trip"]()
    assert (tmp_path / "circuits").stat().st_mode & 0o077 == 0
    later = served(flext_world, flext_service.url, shared=str(tmp_path / "circuits"))
    for host in (here, there, later):
        with pytest.raises(CircuitOpen, match="tripped by hand"):
            flext_world.get(host)
    assert [each["state"] for each in circuits(flext_world, there)] == ["forced-open"] * 2
    assert circuits(flext_world, there)[0]["reason"] == f"tripped by hand in process {os.getpid()}"
    flext_world.status(there)["circuit-breaker"].actions["reset"]()
    for host in (here, there, later):
        assert flext_world.get(host).status_code == 200
    assert flext_world.status(here)["circuit-breaker"].facts["shared"] is True


def test_a_target_that_is_asked_for_the_first_time_is_tripped_with_the_others(
    flext_world: World, flext_service: LoopbackService, tmp_path: Path
) -> None:
    host = served(flext_world, flext_service.url, shared=str(tmp_path))
    flext_world.get(host)
    flext_world.status(host)["circuit-breaker"].actions["trip"]()
    circuit = flext_world.resource(host, CircuitBreaker).circuit("ldap", "new:389")
    assert circuit.state is State.FORCED_OPEN


@pytest.mark.parametrize("text", ["", "trip", "trip me", "burn 17", "\x00\xff"])
def test_what_somebody_else_wrote_there_changes_nothing(
    flext_world: World, flext_service: LoopbackService, tmp_path: Path, text: str
) -> None:
    host = served(flext_world, flext_service.url, shared=str(tmp_path))
    flext_world.get(host)
    (tmp_path / "service.circuit").write_text(text, "latin-1")
    assert flext_world.get(host).status_code == 200
    (tmp_path / "service.circuit").unlink()
    assert flext_world.get(host).status_code == 200


@pytest.mark.once
@pytest.mark.parametrize("setting", ["forced_open", "disabled"])
def test_only_a_trip_outlasts_the_processes(
    flext_world: World, flext_service: LoopbackService, tmp_path: Path, setting: str
) -> None:
    """What was reset once does not close what the settings open."""
    shared = {"shared": str(tmp_path)}
    before = served(flext_world, flext_service.url, **shared)
    flext_world.get(before)
    flext_world.status(before)["circuit-breaker"].actions["trip"]()
    if setting == "forced_open":
        flext_world.status(before)["circuit-breaker"].actions["reset"]()
    after = served(flext_world, flext_service.url, **shared, **{setting: True})
    with pytest.raises(CircuitOpen):
        flext_world.get(after)


@pytest.mark.once
def test_the_first_thing_ever_done_by_hand_may_be_a_reset(
    flext_world: World, flext_service: LoopbackService, tmp_path: Path
) -> None:
    options = {"shared": str(tmp_path), "failure_threshold": 1}
    hosts = [served(flext_world, flext_service.url, **options) for _ in range(3)]
    flext_service.answer = Answer(503)
    for host in hosts[:2]:
        flext_world.get(host)
        assert circuits(flext_world, host)[0]["retry_after"] > 50
    flext_service.answer = Answer()
    flext_world.status(hosts[0])["circuit-breaker"].actions["reset"]()
    for host in hosts:
        assert flext_world.get(host).status_code == 200
        assert circuits(flext_world, host)[0]["retry_after"] is None


@pytest.mark.once
def test_a_folder_that_is_gone_is_made_again(
    flext_world: World, flext_service: LoopbackService, tmp_path: Path
) -> None:
    host = served(flext_world, flext_service.url, shared=str(tmp_path / "a" / "b"))
    flext_world.get(host)
    (tmp_path / "a" / "b").rmdir()
    flext_world.status(host)["circuit-breaker"].actions["trip"]()
    assert [each.name for each in (tmp_path / "a" / "b").iterdir()] == ["service.circuit"]


@pytest.mark.once
def test_a_service_with_a_long_name_has_a_file_of_its_own(tmp_path: Path) -> None:
    long = "x" * 5000
    first, second = (Switch(tmp_path, f"{long}{end}") for end in "ab")
    first.post("trip")
    assert Switch(tmp_path, f"{long}a").news() == ("trip", os.getpid())
    assert not second.has_news()


RACER = """
import sys
from pathlib import Path
from threading import Barrier, Thread
from flext_plugins import Host
from flext_plugins_circuit_breaker import CircuitBreaker

folder, name = sys.argv[1:]
plugins = {"circuit-breaker": {"shared": folder}}
host = Host({"services": {"s": {"base_url": "http://127.0.0.1:1", "plugins": plugins}}})
circuit = host.resource("s", CircuitBreaker)
host._runtime.channels.open()
for line in sys.stdin:
    status = host._runtime.channels.open()[0].status()["circuit-breaker"]
    if line.strip() != "look":
        threads = [Thread(target=status.actions[each]) for each in line.split()]
        for each in threads: each.start()
        for each in threads: each.join()
    state = host._runtime.channels.open()[0].status()["circuit-breaker"].facts["circuits"][0]["state"]
    print(state, flush=True)
"""


@pytest.mark.once
def test_the_last_one_to_do_something_wins_in_all_processes(tmp_path: Path) -> None:
    """Two processes with two threads each do it at the same time."""
    command = [sys.executable, "-c", RACER, str(tmp_path)]
    racers = [
        subprocess.Popen(
            [*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for name in "ab"
    ]

    def say(text: str) -> list[str]:
        for each in racers:
            assert each.stdin
            each.stdin.write(f"{text}\n")
        return [each.stdout.readline().strip() for each in racers if each.stdout]

    try:
        for _ in range(60):
            say("trip reset trip reset")
            last = (tmp_path / "s.circuit").read_text().split()[0]
            assert say("look") == [{"trip": "forced-open", "reset": "closed"}[last]] * 2
    finally:
        for each in racers:
            each.communicate(timeout=20)


@pytest.mark.once
@pytest.mark.parametrize("what", ["a file", "a folder for everybody"])
def test_a_folder_that_is_none_or_anybodys_is_refused(
    flext_service: LoopbackService, tmp_path: Path, what: str
) -> None:
    shared = tmp_path / "shared"
    if what == "a file":
        shared.touch()
    else:
        shared.mkdir()
        shared.chmod(0o777)
    breaker = {"shared": str(shared)}
    services = {"s": {"base_url": flext_service.url, "plugins": {"circuit-breaker": breaker}}}
    expected = "is no folder" if what == "a file" else "anybody may write in"
    with Host({"services": services}) as host, pytest.raises(ConfigError, match=expected):
        host.check()


@pytest.mark.once
def test_what_one_user_does_another_can_read(
    flext_world: World, flext_service: LoopbackService, tmp_path: Path
) -> None:
    """Root trips it, and the program, which may look into the folder, is a user of its own."""
    host = served(flext_world, flext_service.url, shared=str(tmp_path))
    flext_world.get(host)
    flext_world.status(host)["circuit-breaker"].actions["trip"]()
    assert (tmp_path / "service.circuit").stat().st_mode & 0o777 == 0o644


@pytest.mark.once
def test_a_folder_that_cannot_be_looked_into_is_refused() -> None:
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o711)
        folder = Path(parent, "shared")
        folder.mkdir(0o600)
        child = os.fork()
        if not child:
            with contextlib.suppress(PermissionError):
                os.setuid(NOBODY)  # root may look everywhere
            try:
                Switch(folder, "service")
            except ConfigError as error:
                os._exit(0 if "is another user's" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def circuits(world: World, host: Host) -> Any:
    return world.status(host)["circuit-breaker"].facts["circuits"]
