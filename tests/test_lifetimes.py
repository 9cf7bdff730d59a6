"""Connections and pools live as long as their loop, thread or process."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import requests
from forks import exit_code

from flext_plugins import Host, Refused, hookimpl
from flext_plugins._clients.tls import MOST
from flext_plugins.testing import Answer, echo


class Counted:
    """Counts its connections and instances."""

    opened: list[bool]
    made: list[int]

    @classmethod
    def fresh(cls):
        return type("Counted", (cls,), {"opened": [], "made": []})

    def __init__(self):
        self.made.append(os.getpid())

    @hookimpl
    def flext_connect(self, connection):
        self.opened.append(connection.asynchronous)


def host_for(flext_service, *, plugin=None, **service):
    plugins = {"counted": {}} if plugin else {}
    made = Host(
        {"services": {"service": {"base_url": flext_service.url, "plugins": plugins, **service}}}
    )
    if plugin:
        made.register(plugin, "counted")
    return made


@pytest.mark.contract("connections-end-with-their-loop")
def test_three_asyncio_runs_in_a_row_work_on_one_host(flext_service):
    plugin = Counted.fresh()
    closed = []

    class Closes(plugin):
        @hookimpl
        def flext_connect(self, connection):
            async def close():
                closed.append(connection)

            connection.provide(str, "x", close=close)
            self.opened.append(True)

    host = host_for(flext_service, plugin=Closes)

    async def once():
        async with host.aconnect("service") as client:
            return [(await client.get("/")).status_code for _ in range(2)]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(3):
            assert asyncio.run(once()) == [200, 200]
            assert len(closed) == number + 1  # with its loop, before the next
        gc.collect()
    host.close()

    assert plugin.made == [os.getpid()]
    assert len(plugin.opened) == 3
    assert flext_service.most_sockets == 1


@pytest.mark.contract("connections-end-with-their-loop")
def test_a_pool_whose_loop_was_closed_without_ceremony_is_dropped(flext_service):
    host = host_for(flext_service)

    async def once():
        async with host.aconnect("service") as client:
            return (await client.get("/")).status_code

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(3):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(once()) == 200
            loop.close()
        host.close()
        gc.collect()


@pytest.mark.contract("clients-are-light")
def test_clients_are_light_and_closing_one_closes_only_it(flext_service, flext_world):
    host = flext_world.serve(flext_service)
    for _ in range(5):
        flext_world.get(host)

    assert {each.socket for each in flext_service.received} == {1}


@pytest.mark.contract("tls-context-per-setting")
def test_one_tls_context_for_each_distinct_setting(tmp_path):
    from flext_plugins_devstack.certificates import authority

    ca = authority(tmp_path)
    services = {
        "a": {"base_url": "https://127.0.0.1:1", "verify": str(ca.path)},
        "b": {"base_url": "https://127.0.0.1:1", "verify": str(ca.path)},
        "c": {"base_url": "https://127.0.0.1:1", "verify": str(ca.path), "cert": str(ca.client)},
        "d": {"base_url": "https://127.0.0.1:1", "verify": False},
    }
    with Host({"services": services}) as host:
        for name in services:
            with pytest.raises(httpx.ConnectError):
                host.connect(name).get("/")
        assert len(host._runtime.tls) == 3


@pytest.mark.contract("nothing-grows")
def test_a_session_that_names_a_file_for_each_call_fills_no_memory(tmp_path):
    from flext_plugins_devstack.certificates import authority

    ca = authority(tmp_path).path
    with Host({"services": {"a": {"base_url": "https://127.0.0.1:1"}}}) as host:
        session = host.connect("a", requests.Session)
        for number in range(MOST + 3):
            (tmp_path / f"{number}.pem").write_bytes(ca.read_bytes())
            with pytest.raises(requests.ConnectionError):
                session.get("/", verify=str(tmp_path / f"{number}.pem"))
        assert len(host._runtime.tls) == MOST


@pytest.mark.contract("one-connection-per-loop", "one-instance-per-service")
def test_sync_threads_and_async_loops_share_one_host(flext_service):
    host = host_for(flext_service, plugin=(plugin := Counted.fresh()))
    results = []

    async def main():
        async with host.aconnect("service") as client:
            results.extend([(await client.get("/")).status_code for _ in range(3)])

    def sync():
        results.extend([host.connect("service").get("/").status_code for _ in range(3)])

    threads = [threading.Thread(target=each) for each in (sync, sync)]
    threads += [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(10)
    host.close()

    assert results == [200] * 12
    assert sorted(plugin.opened) == [False, True, True]
    assert len(plugin.made) == 1


@pytest.mark.contract("closing-from-elsewhere")
def test_closing_from_outside_closes_the_connections_of_a_running_loop(flext_service):
    host = host_for(flext_service)
    ready, stop = threading.Event(), None
    loop = asyncio.new_event_loop()

    async def main():
        nonlocal stop
        stop = asyncio.Event()
        async with host.aconnect("service") as client:
            await client.get("/")
        ready.set()
        await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    ready.wait(5)
    host.close()
    deadline = time.monotonic() + 5
    while flext_service.sockets and time.monotonic() < deadline:
        time.sleep(0.01)

    assert flext_service.sockets == 0
    loop.call_soon_threadsafe(stop.set)
    thread.join(5)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.mark.contract("closing-from-elsewhere")
def test_close_inside_a_running_loop_says_what_to_call(flext_service):
    host = host_for(flext_service)

    async def main():
        client = await host.aconnect("service")
        await client.get("/")
        with pytest.raises(ExceptionGroup) as caught:
            host.close()
        assert "await host.aclose()" in str(caught.value.exceptions[0])
        assert flext_service.sockets == 1
        await host.aclose()  # which still has something to close
        await asyncio.sleep(0.05)
        assert flext_service.sockets == 0

    asyncio.run(main())


@pytest.mark.contract("closing-from-elsewhere")
def test_closing_waits_so_long_for_a_busy_loop_and_says_so(flext_service, monkeypatch):
    monkeypatch.setattr("flext_plugins._connections.channels.LOOP_SECONDS", 0.05)
    host = host_for(flext_service)
    ready, done = threading.Event(), threading.Event()

    async def main():
        async with host.aconnect("service") as client:
            await client.get("/")
        ready.set()
        done.wait(5)  # blocks the loop

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    ready.wait(5)
    with pytest.raises(ExceptionGroup) as caught:
        host.close()
    done.set()
    thread.join(5)

    assert str(caught.value.exceptions[0]).startswith("'service': its event loop is busy")


@pytest.mark.contract("permits-bound-exchanges", "cancellation-unwinds")
def test_a_thousand_concurrent_requests_get_a_thousand_answers(flext_service, flext_async_world):
    host = flext_async_world.serve(flext_service, max_connections=10, timeout=30)
    cancelled = set(range(0, 1000, 10))

    async def scenario(cancel):
        async with flext_async_world.aconnect(host) as client:
            tasks = [asyncio.create_task(client.get(f"/{number}")) for number in range(1000)]
            if cancel:
                await asyncio.sleep(0.05)
                for number in cancelled:
                    tasks[number].cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    for cancel in (False, True):
        results = flext_async_world.run(lambda cancel=cancel: scenario(cancel))
        answers = {
            number: result.json()["path"]
            for number, result in enumerate(results)
            if isinstance(result, flext_async_world.lib.Response)
        }
        failed = {n for n, result in enumerate(results) if isinstance(result, BaseException)}
        assert all(isinstance(results[n], asyncio.CancelledError) for n in failed)
        assert failed <= cancelled if cancel else not failed
        assert all(path == f"/{number}" for number, path in answers.items())
        assert len(answers) >= 900
        # Ten at most are on the wire when the hundred are cancelled, all at one moment: so many
        # sockets are closed then that the server may not have noticed when ten new ones open.
        assert flext_service.most_sockets <= (20 if cancel else 10)
        assert flext_service.most_active <= (20 if cancel else 10)


@pytest.mark.contract("permits-bound-exchanges")
def test_sixteen_threads_share_a_small_pool(flext_service, flext_sync_world):
    host = flext_sync_world.serve(flext_service, max_connections=4)
    flext_service.answer = lambda received: Answer(delay=0.01, body=received.path.encode())
    results = flext_sync_world.all(
        [flext_sync_world.sender(host, "GET", f"/{n}") for n in range(16)]
    )

    assert [each.text for each in results] == [f"/{n}" for n in range(16)]
    assert flext_service.most_sockets <= 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.contract("fork-starts-afresh")
def test_four_forked_children_under_load_start_afresh(flext_service):
    """Children are forked while threads hold every lock there is, and all go on."""
    plugin = Counted.fresh()
    host = host_for(flext_service, plugin=plugin, max_connections=8)
    client = host.connect("service")
    stop, failures = threading.Event(), []

    def load():
        number = 0
        while not stop.is_set():
            number += 1
            try:
                assert client.get(f"/parent/{number}").json()["path"] == f"/parent/{number}"
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for each in threads:
        each.start()
    children = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork with threads
        for number in range(4):
            time.sleep(0.02)
            child = os.fork()
            if child == 0:
                os._exit(_in_child(client, host, plugin, number))
            children.append(child)
    codes = [exit_code(child) for child in children]
    stop.set()
    for each in threads:
        each.join(10)
    host.close()

    assert codes == [0, 0, 0, 0]
    assert failures == []
    parents = {each.socket for each in flext_service.received if each.path.startswith("/parent")}
    assert not parents & {each.socket for each in flext_service.received if "/child" in each.path}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.contract("fork-starts-afresh")
def test_a_host_closed_before_a_fork_stays_closed_in_the_child(flext_service):
    host = host_for(flext_service)
    client = host.connect("service")
    host.close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            client.get("/")
        except Refused as error:
            code = 0 if str(error) == "service: the host is closed" else 2
        finally:
            os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert flext_service.received == []


def _in_child(client, host, plugin, number):
    try:
        plugin.opened.clear()
        for step in range(5):
            path = f"/child/{number}/{step}"
            assert client.get(path).json()["path"] == path
        assert plugin.made[-1] == os.getpid()  # made anew, so that its locks are fresh too
        assert plugin.opened == [False]

        async def main():
            async with host.aconnect("service") as aclient:
                return (await aclient.get(f"/child/{number}/async")).status_code

        assert asyncio.run(main()) == 200
        host.close()
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    return 0


def test_reusing_a_path_echoes_it(flext_service, flext_world):
    flext_service.answer = echo
    assert flext_world.get(flext_world.serve(flext_service), "/x?y=1").json()["path"] == "/x?y=1"


async def test_connecting_opens_no_socket(flext_service, flext_world):
    host = flext_world.serve(flext_service)
    clients = [await flext_world.client(host) for _ in range(20)]
    assert flext_service.most_sockets == 0
    for each in clients:
        assert (await each.get("/")).status_code == 200
    assert flext_service.most_sockets == 1


@pytest.mark.contract("one-instance-per-service")
def test_clients_of_one_library_share_a_pool_and_those_of_all_share_the_plugins(flext_service):
    with host_for(flext_service, plugin=(plugin := Counted.fresh())) as host:
        for kind in (httpx.Client, requests.Session) * 2:
            assert host.connect("service", kind).get("/").status_code == 200
    assert [each.socket for each in flext_service.received] == [1, 2, 1, 2]
    assert len(plugin.made) == len(plugin.opened) == 1


def test_sixteen_threads_share_one_client(flext_service, flext_sync_world):
    client = flext_sync_world.connect(flext_sync_world.serve(flext_service))
    flext_service.answer = lambda received: Answer(delay=0.01, body=received.path.encode())
    paths = [f"/{number}" for number in range(16)] * 4
    works = [lambda path=path: client.get(path).text for path in paths]
    assert flext_sync_world.all(works) == paths


def test_a_sync_client_works_in_an_event_loop_and_blocks_it(flext_service, flext_sync_world):
    client = flext_sync_world.connect(flext_sync_world.serve(flext_service))
    flext_service.answer = Answer(delay=0.1)
    passed = []

    async def main():
        other = asyncio.create_task(_notes(passed))
        await asyncio.sleep(0)
        assert client.get("/").status_code == 200
        meanwhile = len(passed)
        assert (await asyncio.to_thread(client.get, "/")).status_code == 200
        other.cancel()
        return meanwhile

    assert asyncio.run(main()) == 1
    assert len(passed) > 1


async def _notes(passed):
    while True:
        passed.append(time.monotonic())
        await asyncio.sleep(0.01)


@pytest.mark.contract("closed-host-refuses")
def test_closing_the_host_does_not_wait_for_calls_under_way(flext_service, flext_world):
    """They are refused, as nobody's failure."""
    host = flext_world.serve(flext_service)
    flext_service.answer = Answer(delay=0.3)

    def close():
        while not flext_service.active:
            time.sleep(0.01)
        host.close()
        return flext_service.active

    with ThreadPoolExecutor(1) as one:
        closing = one.submit(close)
        with pytest.raises(flext_world.lib.TransportError, match="the host is closed") as caught:
            flext_world.get(host)
        assert closing.result() == 1
    assert isinstance(caught.value, Refused)
    assert caught.value.sent
    with pytest.raises(Refused, match="the host is closed"):
        flext_world.get(host)
