"""The example of a pool does what it says, with a real Redis that is killed, stopped and slow."""

from __future__ import annotations

import ast
import asyncio
import gc
import os
import re
import socket
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
from flext_plugins_circuit_breaker import CircuitOpen
from redis_server import RedisServer

from flext_plugins import (
    DeadlineExceeded,
    Failure,
    Host,
    Refused,
    events,
    hookimpl,
    options,
)
from flext_plugins.testing import PluginConformance, without_waiting

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from redis_pool import AsyncRedis, Redis, RedisPlugin
from resp import NotRedis, RedisBroken, RedisError, RedisTimeout, RedisUnavailable

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
BOTH = pytest.mark.parametrize("flext_world", ["httpx2 sync", "httpx2 async"], indirect=True)
"""Which client library is there makes no difference to what is lent."""
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
SOON = 0.02
"""Seconds for what a test waits for itself."""


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared_server):
    shared_server.say("FLUSHALL")
    return shared_server


@pytest.fixture
def own_server(tmp_path):
    """One to kill."""
    with RedisServer(tmp_path) as server:
        yield server


class Journal:
    """Writes down what happens."""

    def __init__(self):
        Journal.seen = []

    @hookimpl
    def flext_event(self, event):
        Journal.seen.append(event)

    @classmethod
    def pools(cls):
        return [each for each in cls.seen if isinstance(each, events.PoolChanged)]


def config(server, size=8, timeout=None, **plugins):
    named = {"redis": {**server.settings, "size": size}, "journal": {}}
    service = {"plugins": {**named, **plugins}}
    return {"services": {"service": {**service, "timeout": timeout} if timeout else service}}


def lending(world, server, size=8, timeout=None, **plugins):
    """A host whose service lends Redis, and has these plugins beside it."""
    return world.host(config(server, size, timeout, **plugins), redis=RedisPlugin, journal=Journal)


def host_of(server, size=8, **plugins):
    host = Host(config(server, size, **plugins))
    host.register(RedisPlugin, name="redis")
    host.register(Journal, name="journal")
    return host


def lent(world, host):
    return world.resource(host, AsyncRedis if world.asynchronous else Redis)


def ask(world, host, method, *args):
    redis = lent(world, host)
    return world.run(lambda: getattr(redis, method)(*args))


def scanned(world, host, *args):
    redis = lent(world, host)

    async def items():
        return [each async for each in redis.scan(*args)]

    return world.run(items) if world.asynchronous else list(redis.scan(*args))


@contextmanager
def later(function, seconds=SOON):
    timer = threading.Timer(seconds, function)
    timer.start()
    try:
        yield
    finally:
        timer.join()


# What is asked


def test_what_is_set_is_read_until_its_time_is_over(flext_world, server):
    host = lending(flext_world, server)
    assert ask(flext_world, host, "get", "a") is None
    ask(flext_world, host, "set", "a", b"\x00\r\n\xff")
    assert ask(flext_world, host, "get", "a") == b"\x00\r\n\xff"
    ask(flext_world, host, "set", "a", "short", SOON)
    time.sleep(2 * SOON)
    assert ask(flext_world, host, "get", "a") is None
    large = os.urandom(1_000_000)
    ask(flext_world, host, "set", "a", large)
    assert ask(flext_world, host, "get", "a") == large


@BOTH
def test_pages_of_a_scan_are_operations_of_one_call(flext_world, server):
    calls = []

    class Calls:
        @hookimpl
        async def flext_operation(self, operation, proceed, connection):
            calls.append((operation.name, connection.call.id))
            return await proceed(operation)

    host = lending(flext_world, server, calls={})
    host.register(Calls, name="calls")
    for number in range(250):
        ask(flext_world, host, "set", f"key-{number}", "")
    calls.clear()
    found = scanned(flext_world, host, "key-*", 50)
    assert {*found} == {f"key-{number}".encode() for number in range(250)}
    assert len(calls) > 3
    assert len({*calls}) == 1


@BOTH
def test_a_pop_waits_for_what_comes_and_no_longer_than_it_says(flext_world, server):
    host = lending(flext_world, server, timeout={"read": 0.1})
    assert ask(flext_world, host, "pop", "list", 0.15) is None  # Redis waits, and says so in time
    with later(lambda: server.say("RPUSH list item")):
        assert ask(flext_world, host, "pop", "list", 5) == b"item"
    assert ask(flext_world, host, "pop", "list", 0) is None
    assert ask(flext_world, host, "pop", "list", SOON) is None


def test_threads_share_one_and_each_event_loop_has_its_own(server):
    with host_of(server) as host:
        ask_redis = host.resource("service", Redis)
        ask_redis.set("a", "kept")

        async def own():
            redis = await host.aresource("service", AsyncRedis)
            assert await asyncio.gather(*(redis.get("a") for _ in range(20))) == [b"kept"] * 20
            return redis

        assert len({asyncio.run(own()) for _ in range(3)}) == 3
        assert host.resource("service", Redis) is ask_redis
        assert ask_redis.get("a") == b"kept"
        server.has_clients(1)  # the loops' are closed
    server.has_clients(0)


# Errors


@BOTH
def test_errors_say_whether_it_is_the_wire_that_failed(flext_world, own_server):
    host = lending(flext_world, own_server, timeout={"read": 0.1, "connect": 0.1})
    own_server.say("RPUSH list item")
    with pytest.raises(RedisError, match="service: redis: WRONGTYPE") as caught:
        ask(flext_world, host, "get", "list")
    assert not hasattr(caught.value, "failure")

    with own_server.stopped():
        with pytest.raises(RedisTimeout) as caught:  # in a connection of the pool
            ask(flext_world, host, "get", "list")
        assert caught.value.failure is Failure.TIMEOUT
        with pytest.raises(RedisUnavailable) as caught:  # in a new one
            ask(flext_world, host, "get", "list")
        assert caught.value.failure is Failure.CONNECT

    with later(own_server.down), pytest.raises(RedisBroken) as caught:
        ask(flext_world, host, "pop", "nothing", 5)
    assert caught.value.failure is Failure.READ
    with pytest.raises(RedisUnavailable, match=f"no connection to {own_server.target}: "):
        ask(flext_world, host, "get", "list")


@BOTH
def test_a_wrong_password_is_no_failure_and_is_not_repeated(flext_world, server):
    host = lending(flext_world, server, redis={"port": server.port, "password": "wr0ng-passw0rd"})
    for _ in range(2):
        with pytest.raises(RedisError, match="WRONGPASS") as caught:
            ask(flext_world, host, "get", "a")
        assert not hasattr(caught.value, "failure")
        assert "wr0ng" not in str(caught.value)
    server.has_clients(0)
    assert "wr0ng" not in str(host.explain("service"))


@contextmanager
def somebody(says):
    """The port of a server that answers the first command with these bytes."""

    def answer():
        with listening.accept()[0] as sock:
            sock.settimeout(5)
            sock.recv(1000)
            sock.sendall(says)
            sock.recv(1000)  # until the caller has closed it

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


@BOTH
@pytest.mark.parametrize(
    ("says", "kind", "failure"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", NotRedis, Failure.PROTOCOL),
        (b"+PONG\r\n+PONG\r\n", NotRedis, Failure.PROTOCOL),
        (b"-LOADING Redis is loading the dataset\r\n", RedisUnavailable, Failure.CONNECT),
    ],
    ids=["HTTP", "two answers", "loading"],
)
def test_what_somebody_says_who_is_no_redis_that_works_is_a_failure(
    flext_world, server, says, kind, failure
):
    with somebody(says) as port:
        host = lending(flext_world, server, redis={"port": port})
        with pytest.raises(kind) as caught:
            ask(flext_world, host, "get", "a")
    assert caught.value.failure is failure


# A server that comes and goes


@BOTH
def test_retry_hides_a_redis_that_is_killed_and_comes_back(flext_world, own_server):
    host = lending(flext_world, own_server, retry={"attempts": 8, "backoff": 0.05})
    ask(flext_world, host, "set", "a", "lost")
    own_server.down()
    with later(own_server.up):
        assert ask(flext_world, host, "get", "a") is None
    assert any(isinstance(each, events.Retried) for each in Journal.seen)


@BOTH
def test_the_circuit_opens_while_redis_is_down_and_closes_when_it_is_back(flext_world, own_server):
    breaker = {"failure_threshold": 3, "recovery_timeout": 0.1}
    host = lending(flext_world, own_server, **{"circuit-breaker": breaker})
    ask(flext_world, host, "set", "a", "lost")
    own_server.down()
    for _ in range(3):
        with pytest.raises(RedisUnavailable):
            ask(flext_world, host, "get", "a")
    with pytest.raises(CircuitOpen):
        ask(flext_world, host, "get", "a")
    own_server.up()
    time.sleep(0.15)
    assert ask(flext_world, host, "get", "a") is None


@BOTH
def test_a_connection_that_was_closed_while_it_was_idle_is_not_used(flext_world, own_server):
    host = lending(flext_world, own_server)
    ask(flext_world, host, "set", "a", "lost")
    own_server.down()
    own_server.up()
    own_server.say("RPUSH list item")
    assert ask(flext_world, host, "pop", "list", 1) == b"item"


# Deadlines and cancellation


@BOTH
def test_a_redis_that_stands_still_ends_with_the_deadline(flext_world, server):
    host = lending(flext_world, server, size=1)
    ask(flext_world, host, "set", "a", "kept")
    with server.stopped():
        for _ in range(2):  # in a connection of the pool, and in a new one
            started = time.monotonic()
            with options(deadline=0.1), pytest.raises(DeadlineExceeded, match=server.target):
                ask(flext_world, host, "get", "a")
            assert time.monotonic() - started < 3
    assert ask(flext_world, host, "get", "a") == b"kept"


@BOTH
def test_an_answer_that_comes_after_the_deadline_is_nobodys(flext_world, server):
    host = lending(flext_world, server, size=1)
    for number in range(3):
        ask(flext_world, host, "set", f"key-{number}", f"value-{number}")
    for number in range(3):
        with server.stopped(), options(deadline=0.03), pytest.raises(DeadlineExceeded):
            ask(flext_world, host, "get", f"key-{number}")
        other = (number + 1) % 3
        assert ask(flext_world, host, "get", f"key-{other}") == f"value-{other}".encode()


def test_a_pool_of_one_survives_pops_that_are_cancelled(server):
    async def main():
        redis = await host.aresource("service", AsyncRedis)
        for _ in range(20):
            pops = [asyncio.create_task(redis.pop("list", 30)) for _ in range(2)]
            await asyncio.sleep(0.005)  # one waits for Redis, the other for its turn
            for each in pops:
                each.cancel()
            results = await asyncio.gather(*pops, return_exceptions=True)
            assert [type(each) for each in results] == [asyncio.CancelledError] * 2
        await redis.set("a", "kept")
        assert await redis.get("a") == b"kept"

    with host_of(server, size=1) as host:
        asyncio.run(main())
    server.has_clients(0)


# The pool


def received(server):
    """The connections that the server has ever accepted, without those that ask."""
    lines = server.say("INFO stats").splitlines()
    (number,) = [each for each in lines if each.startswith("total_connections_received:")]
    return int(number.partition(":")[2])


@BOTH
@pytest.mark.parametrize("waits", [True, False], ids=["", "inside without_waiting"])
def test_a_crowd_uses_no_more_connections_than_there_may_be(flext_world, server, waits):
    host = lending(flext_world, server, size=3)
    before = received(server)
    redis = lent(flext_world, host)
    crowd = [lambda: redis.pop("nothing", 0.005), lambda: redis.get("nothing")]
    crowd *= 25 if flext_world.asynchronous else 8
    if waits:
        results = flext_world.all(crowd)
    else:
        with without_waiting(host):
            results = flext_world.all(crowd)
    assert results == [None] * len(crowd)
    assert received(server) - before - 1 <= 3
    assert max(each.in_use + each.idle for each in Journal.pools()) == 3
    assert max(each.waiting for each in Journal.pools()) > 3
    last = Journal.pools()[-1]
    assert (last.in_use, last.idle, last.limit, last.waiting) == (0, 3, 3, 0)


def test_threads_and_event_loops_wait_for_each_other(server):
    with host_of(server, size=1) as host:
        redis = host.resource("service", Redis)
        popping = threading.Thread(target=redis.pop, args=("list", 5))
        popping.start()
        server.has_clients(1)

        async def main():
            other = await host.aresource("service", AsyncRedis)
            with options(deadline=0.05), pytest.raises(DeadlineExceeded):
                await other.get("a")
            server.say("RPUSH list item")
            assert await other.get("a") is None

        asyncio.run(main())
        popping.join()


@BOTH
def test_who_waits_too_long_for_a_connection_is_refused(flext_world, server):
    host = lending(flext_world, server, size=1, timeout={"pool": 0.05})
    redis = lent(flext_world, host)
    results = flext_world.all([lambda: redis.pop("nothing", 0.2)] * 2)
    (refused,) = [each for each in results if each is not None]
    assert isinstance(refused, Refused)
    assert "all 1 permits are taken" in str(refused)
    assert {each.waiting for each in Journal.pools()} == {0, 1}
    assert Journal.pools()[-1].waiting == 0


@BOTH
def test_a_closed_pool_has_no_connections_and_says_so(flext_world, server):
    host = lending(flext_world, server)
    redis = lent(flext_world, host)
    flext_world.run(lambda: redis.get("a"))
    flext_world.close(host)
    assert Journal.pools()[-1] == events.PoolChanged("redis", server.target, 0, 0, 0, 0)
    server.has_clients(0)
    with pytest.raises(Refused, match="closed"):
        flext_world.run(lambda: redis.get("a"))


def test_a_connection_that_is_in_use_at_the_close_is_closed_when_it_comes_back(server):
    host = host_of(server)
    redis = host.resource("service", Redis)
    popping = threading.Thread(target=redis.pop, args=("list", 5))
    popping.start()
    server.has_clients(1)
    host.close()
    server.say("RPUSH list item")
    popping.join()
    server.has_clients(0)


# A fork


def child(work):
    """What a forked child's `work` gave, as text."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork with threads
        pid = os.fork()
    if pid == 0:
        try:
            with options(deadline=5):
                result = work()
        except BaseException as error:
            result = error
        os.write(writing, repr(result).encode())
        os._exit(0)
    os.close(writing)
    told = b"".join(iter(lambda: os.read(reading, 1000), b"")).decode()
    os.close(reading)
    os.waitpid(pid, 0)
    return told


@FORKS
def test_a_forked_child_has_connections_of_its_own(server):
    with host_of(server, size=2) as host:
        held = host.resource("service", Redis)
        held.set("who", "parent")

        def work():
            before = server.clients
            values = [held.get("who"), host.resource("service", Redis).get("who")]
            return values, server.clients - before

        assert child(work) == "([b'parent', b'parent'], 1)"  # held and fresh share a pool
        assert held.get("who") == b"parent"
        server.has_clients(1)


@FORKS
def test_a_child_of_an_event_loop_has_connections_of_its_own(server):
    with host_of(server) as host:

        async def main():
            held = await host.aresource("service", AsyncRedis)
            await held.set("who", "parent")

            async def inside():
                fresh = await host.aresource("service", AsyncRedis)
                values = [await held.get("who"), await fresh.get("who")]
                gc.collect()  # what is the parent's must not be closed by it
                return values

            assert child(lambda: asyncio.run(inside())) == "[b'parent', b'parent']"
            assert await held.get("who") == b"parent"

        asyncio.run(main())


@FORKS
def test_a_child_is_not_stopped_by_what_the_parents_threads_hold(server):
    with host_of(server, size=1, **{"circuit-breaker": {}, "retry": {}}) as host:
        held = host.resource("service", Redis)
        stop = threading.Event()

        def work():
            while not stop.is_set():
                held.get("a")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads:
            each.start()
        told = {child(lambda: held.get("a")) for _ in range(5)}
        stop.set()
        for each in threads:
            each.join()
    assert told == {"None"}


# The page, and the rules


def pool_in(source):
    """The methods of the class `Pool` by name, without types, docstrings and leading `_`."""
    (pool,) = [each for each in ast.parse(source).body if getattr(each, "name", "") == "Pool"]
    methods = {}
    for method in pool.body[isinstance(pool.body[0], ast.Expr) :]:
        if ast.get_docstring(method):
            del method.body[0]
        method.returns = None
        for each in method.args.args:
            each.annotation = None
        methods[method.name.lstrip("_")] = ast.unparse(method).replace("._", ".").replace(" _", " ")
    return methods


def test_the_pool_on_the_page_is_the_examples():
    page = (ROOT / "docs" / "how-to" / "lend-a-resource.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(class Pool:\n.*?)```", page, re.DOTALL)
    shown, real = pool_in(block), pool_in((ROOT / "examples" / "redis_pool.py").read_text("utf-8"))
    assert shown == {name: real[name] for name in ("ask", "answer")}


class TestRedis(PluginConformance):
    plugin = RedisPlugin

    @pytest.fixture(autouse=True)
    def _server(self, shared_server):
        self.settings = {**shared_server.settings, "size": 2}

    async def exercise(self, trial):
        """Wait for Redis, and of a crowd for each other."""
        redis = await trial.resource(AsyncRedis if trial.world.asynchronous else Redis)
        await trial.call(redis.set, "exercise", "done", 60)
        assert await trial.call(redis.pop, "nothing", 0.005) is None
        assert await trial.call(redis.get, "exercise") == b"done"
        with pytest.raises(RedisError, match="WRONGTYPE"):
            await trial.call(redis.pop, "exercise", 1)
        keys = redis.scan("exercise")
        keys = [each async for each in keys] if trial.world.asynchronous else [*keys]
        assert keys == [b"exercise"]
