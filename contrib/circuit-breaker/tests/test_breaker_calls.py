"""Real calls through the breaker, and what the server and the caller get to see."""

import asyncio
import contextlib
import copy
import pickle
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from flext_plugins_circuit_breaker import CircuitOpen
from flext_plugins_devstack import Fault

from flext_plugins import (
    DeadlineExceeded,
    Failure,
    Operation,
    PluginError,
    Refused,
    Stage,
    events,
    hookimpl,
    options,
)
from flext_plugins.testing import Client, World

SOON = 0.2


class Seen:
    """What the plugins of a service are told."""

    stage = Stage.CALL
    told: list[object]

    def __init__(self) -> None:
        type(self).told = []

    @hookimpl
    def flext_event(self, event: object) -> None:
        self.told.append(event)


def changes() -> list[tuple[str, str]]:
    return [(each.old, each.new) for each in Seen.told if isinstance(each, events.StateChanged)]


async def connected(
    flext_world: World, stack: Any, breaker: dict[str, Any], *more: type, **service: Any
) -> Any:
    plugins: dict[str, Any] = {"circuit-breaker": breaker, "seen": {}}
    plugins |= {kind.__name__.lower(): {} for kind in more}
    host = flext_world.host(
        {"services": {"flexcore": {"base_url": stack.flexcore.url, "plugins": plugins, **service}}}
    )
    for kind in (Seen, *more):
        host.register(kind, kind.__name__.lower())
    return await flext_world.client(host, "flexcore", follow_redirects=True)


async def opened(client: Any, stack: Any, failures: int = 1) -> None:
    """Fail so often."""
    stack.flexcore.fault(Fault(status=503, times=failures))
    for _ in range(failures):
        assert (await client.get("/health")).status_code == 503


async def attempt(client: Client) -> str:
    """How a call ends."""
    try:
        return str((await client.get("/health")).status_code)
    except CircuitOpen:
        return "refused"
    except client.lib.TransportError as error:
        return type(error).__name__


def named(world: World, end: str) -> str:
    """The name of an error in the world's library; a status is its own name."""
    name: str = end if end.isdigit() else getattr(world.lib, end).__name__
    return name


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (Fault(status=500, times=None), "500"),
        (Fault(status=503, times=None), "503"),
        (Fault(reset=True, times=None), "ReadError"),
        (Fault(delay=5, times=None), "ReadTimeout"),
    ],
    ids=["500", "503", "reset", "time-out"],
)
async def test_it_opens_after_exactly_so_many_failures_and_then_sends_nothing(
    flext_world: World, stack: Any, fault: Fault, ends: str
) -> None:
    """pybreaker never counts an `async def`."""
    client = await connected(flext_world, stack, {"failure_threshold": 3}, timeout={"read": 0.15})
    stack.flexcore.fault(fault)
    ends = named(flext_world, ends)
    assert [await attempt(client) for _ in range(5)] == [ends] * 3 + ["refused"] * 2
    assert len(stack.flexcore.received) == 3
    assert changes() == [("closed", "open")]


async def test_it_opens_after_exactly_so_many_refused_connections(
    flext_world: World, stack: Any
) -> None:
    """The breaker of FLEXT's integration guide sees answers alone, and never opens on these."""
    client = await connected(flext_world, stack, {"failure_threshold": 3})
    stack.flexcore.down()
    broken = named(flext_world, "ConnectError")
    assert [await attempt(client) for _ in range(5)] == [broken] * 3 + ["refused"] * 2
    stack.flexcore.up()
    assert await attempt(client) == "refused"
    assert stack.flexcore.received == []


async def test_a_success_in_between_starts_the_count_anew(flext_world: World, stack: Any) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 2})
    for status in (503, 200, 503, 204, 503, 304, 503):
        stack.flexcore.fault(Fault(status=status))
        assert await attempt(client) == str(status)
    assert changes() == []


async def test_a_refusal_of_the_callers_request_in_between_does_not(
    flext_world: World, stack: Any
) -> None:
    """pybreaker, purgatory, aiobreaker: what they exclude is a success and resets the count."""
    client = await connected(flext_world, stack, {"failure_threshold": 3})
    for status in (503, 404, 503, 429, 401, 503):
        assert changes() == []
        stack.flexcore.fault(Fault(status=status))
        assert await attempt(client) == str(status)
    assert changes() == [("closed", "open")]


async def test_which_answers_are_failures_is_the_configurations_to_say(
    flext_world: World, stack: Any
) -> None:
    breaker = {"failure_threshold": 1, "failure_statuses": [429, 503]}
    client = await connected(flext_world, stack, breaker)
    for status in (500, 502, 404):
        stack.flexcore.fault(Fault(status=status))
        assert await attempt(client) == str(status)
    assert changes() == []
    stack.flexcore.fault(Fault(status=429))
    assert [await attempt(client) for _ in range(2)] == ["429", "refused"]


async def test_which_errors_are_failures_is_the_configurations_to_say(
    flext_world: World, stack: Any
) -> None:
    breaker = {"failure_threshold": 1, "failure_kinds": ["connect"]}
    client = await connected(flext_world, stack, breaker)
    stack.flexcore.fault(Fault(reset=True))
    assert await attempt(client) == named(flext_world, "ReadError")
    stack.flexcore.down()
    broken = named(flext_world, "ConnectError")
    assert [await attempt(client) for _ in range(2)] == [broken, "refused"]
    stack.flexcore.up()


async def test_it_opens_on_a_rate_of_failures(flext_world: World, stack: Any) -> None:
    """circuitbreaker, pybreaker: two failures of three calls, for ever, never open them."""
    breaker = {"failure_rate": 0.6, "window": 12, "minimum_calls": 6}
    client = await connected(flext_world, stack, breaker)
    for status in (503, 503, 200, 503, 503, 200):
        assert changes() == []
        stack.flexcore.fault(Fault(status=status))
        assert await attempt(client) == str(status)
    assert await attempt(client) == "refused"


async def test_it_opens_on_a_rate_of_slow_answers(flext_world: World, stack: Any) -> None:
    breaker = {"slow_rate": 1, "slow_call": 0.05, "window": "60s", "minimum_calls": 3}
    client = await connected(flext_world, stack, breaker)
    stack.flexcore.fault(Fault(delay=0.1, times=None))
    assert [await attempt(client) for _ in range(4)] == ["200"] * 3 + ["refused"]


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_it_stays_open_as_long_as_retry_after_says(
    flext_world: World, stack: Any, as_date: bool
) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1})
    wish = format_datetime(datetime.now(UTC) + timedelta(seconds=200), usegmt=True)
    headers = {"Retry-After": wish if as_date else "200"}
    stack.flexcore.fault(Fault(status=503, headers=headers))
    assert await attempt(client) == "503"
    with pytest.raises(CircuitOpen) as caught:
        await client.get("/health")
    assert caught.value.retry_after is not None
    assert 150 < caught.value.retry_after <= 200


async def test_with_other_statuses_retry_after_is_no_wish_of_the_targets(
    flext_world: World, stack: Any
) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1})
    stack.flexcore.fault(Fault(status=502, headers={"Retry-After": "200"}))
    assert await attempt(client) == "502"
    with pytest.raises(CircuitOpen) as caught:
        await client.get("/health")
    assert caught.value.retry_after is not None
    assert caught.value.retry_after <= 60


async def test_no_retry_after_takes_the_service_away_for_years(
    flext_world: World, stack: Any
) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1})
    stack.flexcore.fault(Fault(status=503, headers={"Retry-After": "9" * 400}))
    assert await attempt(client) == "503"
    with pytest.raises(CircuitOpen) as caught:
        await client.get("/health")
    assert caught.value.retry_after is not None
    assert caught.value.retry_after <= 300


async def test_what_the_client_refuses_or_answers_itself_does_not_open_it(
    flext_world: World, stack: Any
) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1})
    for status in (400, 401, 403, 404, 429, 499):
        stack.flexcore.fault(Fault(status=status))
        assert await attempt(client) == str(status)
    with pytest.raises(flext_world.lib.LocalProtocolError):
        await client.get("/health", headers={"X-Bad": "a\r\nb"})
    assert await attempt(client) == "200"


async def test_a_refusal_is_the_librarys_transport_error_and_says_everything(
    flext_world: World, stack: Any
) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1})
    await opened(client, stack)
    with pytest.raises(flext_world.lib.TransportError) as native:
        await client.get("/health")
    with pytest.raises(CircuitOpen) as caught:
        await client.get("/health")
    assert isinstance(native.value, CircuitOpen)
    error = caught.value
    assert isinstance(error, Refused)
    assert error.retry_after is not None
    assert 59 < error.retry_after <= 60
    message = f"the circuit for {stack.flexcore.url} is open since "
    assert error.reason == "consecutive failures: 1, the last one: status 503"
    assert error.since is not None
    assert 0 <= time.time() - error.since < 60
    assert str(error).startswith(f"flexcore: circuit-breaker: {message}")
    assert (error.service, error.plugin) == ("flexcore", "circuit-breaker")
    assert error.distribution == "flext-plugins-circuit-breaker"
    call: Any = error.call
    assert call.answered_by == "circuit-breaker"
    assert [type(each).__name__ for each in Seen.told].count("CallRefused") == 2


async def test_a_refusal_survives_pickling_and_copying(flext_world: World, stack: Any) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1})
    await opened(client, stack)
    with pytest.raises(CircuitOpen) as caught:
        await client.get("/health")
    for again in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert isinstance(again, CircuitOpen)
        assert isinstance(again, flext_world.lib.TransportError)
        assert str(again) == str(caught.value)
        assert again.retry_after == caught.value.retry_after
    plain = CircuitOpen("open", retry_after=3.0)
    for alike in (pickle.loads(pickle.dumps(plain)), copy.copy(plain), copy.deepcopy(plain)):
        assert (type(alike), alike.args, alike.retry_after) == (CircuitOpen, ("open",), 3.0)


async def test_a_probe_that_succeeds_closes_it(flext_world: World, stack: Any) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1, "recovery_timeout": SOON})
    await opened(client, stack)
    assert await attempt(client) == "refused"
    await flext_world.sleep(SOON)
    assert [await attempt(client) for _ in range(3)] == ["200"] * 3
    assert changes() == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]


async def test_a_probe_that_fails_opens_it_again(flext_world: World, stack: Any) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1, "recovery_timeout": SOON})
    await opened(client, stack)
    await flext_world.sleep(SOON)
    stack.flexcore.fault(Fault(reset=True))
    broken = named(flext_world, "ReadError")
    assert [await attempt(client) for _ in range(3)] == [broken, "refused", "refused"]
    await flext_world.sleep(2 * SOON)  # the second time it may stay open twice as long
    assert await attempt(client) == "200"
    assert changes()[2] == ("half-open", "open")


async def test_of_twenty_callers_at_half_open_one_reaches_the_server(
    flext_world: World, stack: Any
) -> None:
    """purgatory, circuitbreaker, aiobreaker, and FLEXT's integration guide: all twenty do."""
    client = await connected(flext_world, stack, {"failure_threshold": 1, "recovery_timeout": SOON})
    await opened(client, stack)
    await flext_world.sleep(SOON)
    stack.flexcore.fault(Fault(delay=0.5, times=None))
    ends = await flext_world.together(20, lambda: attempt(client))
    assert sorted(ends) == ["200"] + ["refused"] * 19
    assert len(stack.flexcore.received) == 2


async def test_a_slow_probe_keeps_its_place(flext_world: World, stack: Any) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1, "recovery_timeout": SOON})
    await opened(client, stack)
    await flext_world.sleep(SOON)
    stack.flexcore.fault(Fault(delay=0.6, times=None))
    waits = iter([0, 1.5 * SOON])

    async def arrive() -> str:
        await flext_world.sleep(next(waits))
        return await attempt(client)

    assert sorted(await flext_world.together(2, arrive)) == ["200", "refused"]


async def test_so_many_probes_as_half_open_calls_says_reach_the_server(
    flext_world: World, stack: Any
) -> None:
    breaker = {"failure_threshold": 1, "recovery_timeout": SOON, "half_open_calls": 3}
    client = await connected(flext_world, stack, breaker)
    await opened(client, stack)
    await flext_world.sleep(SOON)
    stack.flexcore.fault(Fault(delay=0.5, times=None))
    ends = await flext_world.together(20, lambda: attempt(client))
    assert sorted(ends) == ["200"] * 3 + ["refused"] * 17
    assert changes()[-1] == ("half-open", "closed")


async def test_the_callers_of_a_broken_service_are_counted_once_each(
    flext_world: World, stack: Any
) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 20})
    stack.flexcore.down()
    broken = named(flext_world, "ConnectError")
    assert await flext_world.together(20, lambda: attempt(client)) == [broken] * 20
    assert await attempt(client) == "refused"


async def received(stack: Any, count: int) -> None:
    for _ in range(500):
        if len(stack.flexcore.received) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the server saw too few requests")


async def test_a_cancelled_probe_leaves_it_half_open_and_the_next_caller_may_probe(
    flext_async_world: World, stack: Any
) -> None:
    """Polly and circuitbreaker close on it; purgatory opens."""
    breaker = {"failure_threshold": 1, "recovery_timeout": SOON}
    client = await connected(flext_async_world, stack, breaker)
    await opened(client, stack)
    await asyncio.sleep(SOON)
    stack.flexcore.fault(Fault(delay=5))
    probe = asyncio.create_task(attempt(client))
    await received(stack, 2)
    assert await attempt(client) == "refused"
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert changes()[-1] == ("open", "half-open")
    assert await attempt(client) == "200"
    assert changes()[-1] == ("half-open", "closed")


async def test_cancelled_calls_do_not_open_it(flext_async_world: World, stack: Any) -> None:
    client = await connected(flext_async_world, stack, {"failure_threshold": 1})
    stack.flexcore.fault(Fault(delay=5))
    call = asyncio.create_task(attempt(client))
    await received(stack, 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await attempt(client) == "200"


async def test_a_full_pool_is_our_own_congestion_and_does_not_count(
    flext_world: World, stack: Any
) -> None:
    client = await connected(
        flext_world,
        stack,
        {"failure_threshold": 1},
        max_connections=1,
        timeout={"pool": 0.1, "read": 5},
    )
    stack.flexcore.fault(Fault(delay=0.4))
    ends = await flext_world.together(3, lambda: attempt(client))
    assert sorted(ends) == ["200", "PoolTimeout", "PoolTimeout"]
    assert await attempt(client) == "200"


class Broken:
    """Raises something of its own, inside the breaker."""

    @hookimpl
    def flext_request(self, request: Any) -> None:
        if "X-Broken" in request.headers:
            raise ValueError
        if "X-Refused" in request.headers:
            raise Refused("not today")


async def test_a_broken_or_refusing_plugin_does_not_count_and_gives_its_probe_back(
    flext_world: World, stack: Any
) -> None:
    breaker = {"failure_threshold": 1, "recovery_timeout": SOON}
    client = await connected(flext_world, stack, breaker, Broken)

    async def provoke() -> None:
        with pytest.raises(PluginError):
            await client.get("/health", headers={"X-Broken": "1"})
        with pytest.raises(Refused, match="not today"):
            await client.get("/health", headers={"X-Refused": "1"})

    await provoke()
    assert changes() == []
    await opened(client, stack)
    await flext_world.sleep(SOON)
    await provoke()
    assert changes()[-1] == ("open", "half-open")
    assert await attempt(client) == "200"


class Slow:
    """Waits, inside the breaker."""

    @hookimpl
    async def flext_request(self, connection: Any) -> None:
        await connection.sleep(30)


async def test_a_calls_own_deadline_does_not_count(flext_world: World, stack: Any) -> None:
    stack.flexcore.fault(Fault(delay=5, times=None))
    for inside in ((Slow,), ()):
        client = await connected(flext_world, stack, {"failure_threshold": 1}, *inside)
        for _ in range(2):
            with pytest.raises(flext_world.lib.TimeoutException), options(deadline=0.1):
                await client.get("/health")
    assert changes() == []


class Late:
    """Has no time left, inside the breaker."""

    @hookimpl
    async def flext_exchange(self, request: Any, send: Any) -> Any:
        if "X-Late" in request.headers:
            raise DeadlineExceeded("no time left to send")
        return await send(request)


async def test_nothing_that_a_deadline_cuts_short_counts(flext_world: World, stack: Any) -> None:
    breaker = {"failure_threshold": 1, "recovery_timeout": SOON}
    client = await connected(flext_world, stack, breaker, Late)
    with pytest.raises(DeadlineExceeded):
        await client.get("/health", headers={"X-Late": "1"})
    assert changes() == []
    await opened(client, stack)
    await flext_world.sleep(SOON)
    with pytest.raises(DeadlineExceeded):
        await client.get("/health", headers={"X-Late": "1"})
    assert await attempt(client) == "200"


class Maintenance:
    """Answers in the service's place, inside the breaker."""

    @hookimpl
    def flext_request(self, request: Any, connection: Any) -> Any:
        status = request.headers.get("X-Answer")
        return connection.respond(int(status)) if status else None


async def test_what_another_plugin_answers_says_nothing_about_the_service(
    flext_world: World, stack: Any
) -> None:
    breaker = {"failure_threshold": 1, "recovery_timeout": SOON}
    client = await connected(flext_world, stack, breaker, Maintenance)
    assert (await client.get("/health", headers={"X-Answer": "503"})).status_code == 503
    assert changes() == []
    await opened(client, stack)
    await flext_world.sleep(SOON)
    assert (await client.get("/health", headers={"X-Answer": "200"})).status_code == 200
    assert changes()[-1] == ("open", "half-open")
    assert await attempt(client) == "200"
    assert changes()[-1] == ("half-open", "closed")


class Once(Maintenance):
    """Answers the first request in the service's place, inside the breaker."""

    @hookimpl
    def flext_request(self, request: Any, connection: Any) -> Any:
        return connection.respond(503) if connection.call.attempt == 1 else None


async def test_nor_does_it_hide_what_the_service_says_to_the_next_attempt(
    flext_world: World, stack: Any
) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 2}, Once, Again)
    stack.flexcore.fault(Fault(status=503, times=None))
    assert [await attempt(client) for _ in range(2)] == ["503", "503"]
    assert changes() == [("closed", "open")]


class Optional:
    """Asks a directory that is away, and does without."""

    @hookimpl
    async def flext_request(self, connection: Any) -> None:
        with contextlib.suppress(BROKEN["connect:389"], CircuitOpen):
            asked = Operation("ldap", "search", "connect:389")
            await connection.perform(asked, self.search)

    def search(self) -> None:
        raise BROKEN["connect:389"]


async def test_nor_does_an_open_circuit_of_an_operation(flext_world: World, stack: Any) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 2}, Optional)
    for _ in range(3):
        assert await attempt(client) == "200"
    assert len(changes()) == 1  # the directory's
    stack.flexcore.fault(Fault(status=503, times=None))
    assert [await attempt(client) for _ in range(3)] == ["503", "503", "refused"]


class Crowd:
    """How many calls are inside the breaker at a time."""

    most = now = 0
    lock = threading.Lock()

    @hookimpl
    async def flext_exchange(self, request: Any, send: Any) -> Any:
        with self.lock:
            type(self).now += 1
            type(self).most = max(self.most, self.now)
        try:
            return await send(request)
        finally:
            with self.lock:
                type(self).now -= 1


async def test_slow_calls_run_in_parallel(flext_world: World, stack: Any) -> None:
    """pybreaker holds its lock during the call: five of 0.2 s take a second."""
    Crowd.most = 0
    client = await connected(flext_world, stack, {}, Crowd)
    stack.flexcore.fault(Fault(delay=0.2, times=None))
    assert await flext_world.together(5, lambda: attempt(client)) == ["200"] * 5
    assert Crowd.most == 5


async def test_each_change_is_told_to_the_other_plugins(flext_world: World, stack: Any) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 2, "recovery_timeout": SOON})
    await opened(client, stack, 2)
    await flext_world.sleep(SOON)
    await attempt(client)
    told = [each for each in Seen.told if isinstance(each, events.StateChanged)]
    target = stack.flexcore.url
    assert told == [
        events.StateChanged(
            "circuit-breaker",
            target,
            "closed",
            "open",
            "consecutive failures: 2, the last one: status 503",
        ),
        events.StateChanged("circuit-breaker", target, "open", "half-open", "0.2 s have passed"),
        events.StateChanged(
            "circuit-breaker", target, "half-open", "closed", "successful probes: 1"
        ),
    ]


class Again:
    """Sends once more after a failure, outside the breaker."""

    stage = Stage.RETRY

    @hookimpl
    async def flext_exchange(self, request: Any, send: Any) -> Any:
        response = await send(request)
        return await send(request) if response.status_code == 503 else response


class Counter:
    """Counts what the breaker lets through."""

    stage = Stage.ATTEMPT
    count = 0

    @hookimpl
    def flext_request(self) -> None:
        type(self).count += 1


async def test_each_attempt_of_a_retry_counts_and_none_that_is_refused_goes_further_in(
    flext_world: World, stack: Any
) -> None:
    Counter.count = 0
    client = await connected(flext_world, stack, {"failure_threshold": 2}, Counter, Again)
    stack.flexcore.fault(Fault(status=503, times=None))
    assert [await attempt(client) for _ in range(2)] == ["503", "refused"]
    assert Counter.count == len(stack.flexcore.received) == 2


async def test_another_origin_is_no_business_of_the_breaker(flext_world: World, stack: Any) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1})
    await opened(client, stack)
    stack.echo.fault(Fault(status=503))
    for status in (503, 200):
        assert (await client.get(f"{stack.echo.url}/x")).status_code == status
    assert await attempt(client) == "refused"


async def test_two_services_at_one_origin_have_circuits_of_their_own(
    flext_world: World, stack: Any
) -> None:
    one = {
        "base_url": stack.flexcore.url,
        "plugins": {"circuit-breaker": {"failure_threshold": 1}},
    }
    host = flext_world.host({"services": {"one": one, "two": one}})
    first, second = await flext_world.client(host, "one"), await flext_world.client(host, "two")
    stack.flexcore.fault(Fault(status=503))
    assert [await attempt(first) for _ in range(2)] == ["503", "refused"]
    assert await attempt(second) == "200"


def broken(kind: Failure) -> type[Exception]:
    return type("Broken", (Exception,), {"failure": kind})


BROKEN = {f"{kind.value}:389": broken(kind) for kind in Failure}


class Directory:
    """Asks something that does not speak HTTP, for each request."""

    tried = 0

    @hookimpl
    async def flext_request(self, request: Any, connection: Any) -> None:
        target = request.headers.get("X-Ask")
        if target:
            await connection.perform(Operation("ldap", "search", target), self.search, target)

    def search(self, target: str) -> None:
        type(self).tried += 1
        if target in BROKEN:
            raise BROKEN[target]


async def test_an_operations_target_has_a_circuit_of_its_own(
    flext_world: World, stack: Any
) -> None:
    Directory.tried = 0
    client = await connected(flext_world, stack, {"failure_threshold": 2}, Directory)
    for _ in range(2):
        with pytest.raises(PluginError):
            await client.get("/health", headers={"X-Ask": "connect:389"})
    with pytest.raises(CircuitOpen, match="the circuit for connect:389 is open"):
        await client.get("/health", headers={"X-Ask": "connect:389"})
    assert Directory.tried == 2
    assert (await client.get("/health", headers={"X-Ask": "up:389"})).status_code == 200
    assert await attempt(client) == "200"


@pytest.mark.parametrize("kind", Failure)
async def test_the_targets_failures_count_and_our_own_do_not(
    flext_world: World, stack: Any, kind: Failure
) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1}, Directory)
    for _ in range(2):
        with pytest.raises((PluginError, CircuitOpen)):
            await client.get("/health", headers={"X-Ask": f"{kind.value}:389"})
    ours = kind in {Failure.POOL, Failure.CALLER}
    assert changes() == ([] if ours else [("closed", "open")])


async def test_of_very_many_targets_those_without_trouble_are_forgotten(
    flext_world: World, stack: Any
) -> None:
    client = await connected(flext_world, stack, {"failure_threshold": 1}, Directory)
    down = {"X-Ask": "connect:389"}
    with pytest.raises(PluginError):
        await client.get("/health", headers=down)
    for number in range(120):
        await client.get("/health", headers={"X-Ask": f"host-{number}:389"})
    with pytest.raises(CircuitOpen):
        await client.get("/health", headers=down)
