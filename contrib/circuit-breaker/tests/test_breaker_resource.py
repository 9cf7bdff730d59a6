"""What the application gets of a circuit, and does with it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from flext_plugins_circuit_breaker import CircuitBreaker, CircuitOpen, Counts, State

from flext_plugins import Host, Operation, events, hookimpl
from flext_plugins.testing import Answer, LoopbackService, World


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


def circuits(world: World, host: Host) -> Any:
    return world.status(host)["circuit-breaker"].facts["circuits"]
