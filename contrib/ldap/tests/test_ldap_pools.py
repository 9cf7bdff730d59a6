"""How a pool of connections looks from outside."""

import threading
import time
from typing import Any

import pytest
from flext_plugins_ldap import DirectoryUnavailable

from flext_plugins import events, hookimpl


class Hears:
    """Keeps what it is told of pools."""

    told: list[events.PoolChanged] = []

    @hookimpl
    def flext_event(self, event: object) -> None:
        if isinstance(event, events.PoolChanged):
            self.told.append(event)


@pytest.fixture
def told() -> list[events.PoolChanged]:
    """What `Hears` is told."""
    Hears.told = []
    return Hears.told


def numbers(told: list[events.PoolChanged]) -> list[tuple[int, int, int]]:
    return [(each.in_use, each.idle, each.waiting) for each in told]


def pools(directory: Any) -> list[Any]:
    facts: Any = directory.world.status(directory.host)["ldap"].facts
    assert [*facts] == ["pools"]
    return list(facts["pools"])


def until(true: Any) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_pool_is_seen_with_its_connections_and_with_who_waits(
    ask: Any, slapd: Any, relay: Any
) -> None:
    slow = relay(slapd.port)
    directory = ask(url=slow.url, pool_size=2, service={"timeout": 20.0})
    directory.health()
    empty = {"target": slow.target, "in_use": 0, "idle": 1, "limit": 2, "waiting": 0}
    assert pools(directory) == [empty]
    slow.on_hold.set()
    seen: list[Any] = []

    def look() -> None:
        until(lambda: pools(directory)[0]["waiting"] == 3)
        seen.extend(pools(directory))
        slow.on_hold.clear()

    thread = threading.Thread(target=look)
    thread.start()
    found = directory.world.all([directory.work("user", "ana")] * 5)
    thread.join()
    assert [each.username for each in found] == ["ana"] * 5
    assert seen == [{**empty, "in_use": 2, "idle": 0, "waiting": 3}]
    assert pools(directory) == [{**empty, "idle": 2}]


def test_each_server_of_each_directory_has_a_pool(ask: Any, slapd: Any) -> None:
    partner = {"url": ["ldap://127.0.0.1:1", slapd.url], "ca_file": slapd.ca_file}
    partner["search_base"] = slapd.base
    directory = ask(connections={"partner": partner}, name="partner")
    directory.health()
    targets = [each["target"] for each in pools(directory)]
    assert targets == [slapd.target, "127.0.0.1:1", slapd.target]


def test_changes_of_a_pool_are_told_and_the_last_one_is_how_it_is(
    ask: Any, slapd: Any, told: list[events.PoolChanged]
) -> None:
    directory = ask(register={"hears": Hears}, pool_size=1)
    directory.health()
    directory.authenticate("ana", "ana-passw0rd")
    assert {(each.system, each.target, each.limit) for each in told} == {("ldap", slapd.target, 1)}
    assert numbers(told) == [
        *[(1, 0, 0), (0, 1, 0)],  # the health
        *[(1, 0, 0), (0, 1, 0)],  # the search
        *[(1, 0, 0), (0, 0, 0)],  # the bind, over a connection for nothing else
    ]
    directory.world.all([directory.work("user", "ana")] * 8)
    assert max(each.in_use for each in told) == 1
    assert max(each.waiting for each in told) > 0
    assert numbers(told)[-1] == (0, 1, 0)
    directory.world.close(directory.host)
    assert told[-1] == events.PoolChanged("ldap", slapd.target, 0, 0, 0, 0)


def test_two_directories_at_one_server_are_told_as_one_pool(
    ask: Any, slapd: Any, told: list[events.PoolChanged]
) -> None:
    more = {"url": slapd.url, "ca_file": slapd.ca_file, "search_base": slapd.base, "pool_size": 3}
    settings = {"pool_size": 2, "connections": {"partner": more}}
    ask(register={"hears": Hears}, name="partner", **settings).health()
    assert {each.limit for each in told} == {5}
    assert numbers(told) == [(1, 0, 0), (0, 1, 0)]


def test_where_nobody_listens_nothing_is_made(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: object) -> None:
        raise AssertionError("an event for nobody")

    monkeypatch.setattr(events, "PoolChanged", made)
    assert ask().user("ana").username == "ana"


def test_a_server_that_is_down_leaves_no_place_taken(ask: Any, slapd: Any) -> None:
    directory = ask(slapd, url="ldap://127.0.0.1:1")
    for _ in range(3):
        with pytest.raises(DirectoryUnavailable):
            directory.health()
    (pool,) = pools(directory)
    assert (pool["in_use"], pool["idle"], pool["waiting"]) == (0, 0, 0)
