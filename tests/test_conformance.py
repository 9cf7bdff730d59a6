"""Conformance, tested by plugins that are wrong: each is caught by the rule that it breaks, and by no other."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from inspect import iscoroutinefunction
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from flext_plugins import Connection, hookimpl
from flext_plugins.testing import PluginConformance

pytestmark = pytest.mark.once

WRONG = sorted(path.stem for path in (Path(__file__).parent / "wrong_plugins").glob("*.py"))
WORLDS = ["httpx sync", "httpx async", "httpx2 sync", "httpx2 async", "requests sync"]
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Without other plugins of pytest, which take a second to load."""
KEPT = "not httpx2 and not (httpx and not async)"
OPTIONS = ["-p", "no:cacheprovider", "--junit-xml=found.xml", "-k", KEPT]
"""One awaited world and one sync: who is wrong in one is in others, and it saves three of five minutes."""
RULES = [name for name in dir(PluginConformance) if name.startswith("test_")]


def wrong(name):
    return importlib.import_module(f"wrong_plugins.{name}").Wrong


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """For each wrong plugin what each rule said: `rule -> failures`, each with its world."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "conftest.py").write_text(
        'pytest_plugins = ["flext_plugins.testing"]\n'
        "from flext_plugins.testing._conformance import crowds, exchanges, remains, rules\n"
        "crowds.TASKS, crowds.THREADS = 50, 8  # who is caught by fewer is caught by more\n"
        "rules.STUCK, crowds.LATE = 1.0, 0.2\n"
        "remains.BATCHES = 20\n"
        "exchanges.PAUSE = remains.PATIENCE = 0.5  # and who by less by more\n"
    )
    classes = "".join(
        f"class Test_{name}(getattr({name}, 'Conformance', Bare), PluginConformance):\n"
        f"    plugin = {name}.Wrong\n"
        f"    settings = getattr(plugin, 'settings', {{}})\n"
        f"    services = getattr(plugin, 'services', {{}})\n\n"
        for name in WRONG
    )
    imports = f"from wrong_plugins import {', '.join(WRONG)}\n"
    bare = "class Bare: ...\n"
    test = f"from flext_plugins.testing import PluginConformance\n{imports}\n{bare}\n{classes}"
    (folder / "test_wrong.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS],
        check=False,
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parent), "CI": "true", **ALONE},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    found = {name: {} for name in WRONG}
    for case in ET.parse(folder / "found.xml").iter("testcase"):
        name = case.get("classname").partition("Test_")[2]
        rule, _, world = case.get("name").partition("[")
        failures = found[name].setdefault(rule, {})
        for each in [*case.iter("failure"), *case.iter("error")]:
            failures[world.rstrip("]")] = each.text
    assert done.returncode == 1, done.stdout
    return found


def test_each_rule_has_a_plugin_that_breaks_it():
    assert {wrong(name).rule for name in WRONG} == set(RULES)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_plugin_is_caught_by_exactly_the_rule_that_it_breaks(verdicts, name):
    caught = {rule: failures for rule, failures in verdicts[name].items() if failures}
    assert list(caught) == [wrong(name).rule], caught
    for world, said in caught[wrong(name).rule].items():
        assert "Wrong breaks a rule of plugins" in said
        assert f"world: {world or ''}" in said
        for each in getattr(wrong(name), "seen", ()):
            assert each in said


DROPPED = {
    "close": lambda connection, response: connection.close(response),
    "once": lambda connection, response: connection.once("key", None),
    "perform": lambda connection, response: connection.perform(None, None),
    "permit": lambda connection, response: connection.permit("key", 1),
    "read": lambda connection, response: connection.read(response),
    "request": lambda connection, response: connection.request("other", "GET", "/"),
    "run": lambda connection, response: connection.run(len, ()),
    "sleep": lambda connection, response: connection.sleep(1),
}
"""What a hook may call and not await, each on a line of its own."""


class Forgetful:
    drop = None

    @hookimpl
    async def flext_response(self, response, connection):
        type(self).drop(connection, response)


@pytest.mark.contract("awaitables-are-awaited")
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", DROPPED)
def test_the_kit_misses_each_awaitable_of_connection_that_is_dropped(name, world):
    class Conformance(PluginConformance):
        plugin = type("Forgetful", (Forgetful,), {"drop": DROPPED[name]})

    with pytest.raises(pytest.fail.Exception) as failed:
        Conformance().test_what_connection_offers_is_awaited(world)
    seen = rf"connection\.{name} was not awaited in flext_response at test_conformance\.py:\d+"
    assert re.search(seen, str(failed.value)), str(failed.value)


def test_these_are_all_the_awaitables_of_connection():
    public = [name for name in dir(Connection) if not name.startswith("_")]
    awaitable = {name for name in public if iscoroutinefunction(getattr(Connection, name))}
    assert awaitable | {"permit"} == {*DROPPED}


class Nothing:
    """Does nothing."""

    @hookimpl
    def flext_request(self): ...


@pytest.mark.parametrize("world", WORLDS)
def test_what_pytest_fails_with_in_one_of_many_exercises_is_told(world):
    class Conformance(PluginConformance):
        plugin = Nothing
        under_way = 0

        async def exercise(self, trial):
            self.under_way += 1
            await trial.world.sleep(0.05)
            crowd, self.under_way = self.under_way, 0
            if crowd > 1:
                pytest.fail(f"{crowd} at once")

    with pytest.raises(
        pytest.fail.Exception, match="of 16 exercises at once one raised .* at once"
    ):
        Conformance().test_many_threads_and_tasks_use_it_at_once(world)


def test_a_plugin_that_stops_the_event_loop_for_good_is_told_with_its_line(tmp_path):
    (tmp_path / "conftest.py").write_text(
        'pytest_plugins = ["flext_plugins.testing"]\n'
        "from flext_plugins.testing._conformance import rules\n"
        "rules.STUCK = 1.0\n"
    )
    (tmp_path / "test_turns.py").write_text(TURNS)
    options = ["-p", "no:cacheprovider", "-q", "-rs", "-k", "many_threads and async"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        check=False,
        cwd=tmp_path,
        env={**os.environ, **ALONE},
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = done.stdout
    seen = "200 callers at once hang, the event loop in flext_exchange at test_turns.py:15"
    assert f"world: httpx async\n  seen:  {seen}" in said, said
    assert f"it hangs: {seen}" in said
    assert "1 failed, 1 skipped" in said


TURNS = """
import threading
from flext_plugins import Stage, hookimpl
from flext_plugins.testing import PluginConformance

class Turns:
    stage = Stage.GUARD

    def __init__(self):
        self.turn = threading.Lock()

    @hookimpl
    async def flext_exchange(self, request, send):
        \"\"\"Takes turns by a lock that blocks.\"\"\"
        with self.turn:
            return await send(request)

class TestTurns(PluginConformance):
    plugin = Turns
"""


def test_a_rule_that_is_left_out_has_to_be_one():
    with pytest.raises(TypeError, match="there is no rule 'test_it_streams'"):
        type("TestIt", (PluginConformance,), {"exempt_from": {"test_it_streams"}})


def test_events_that_vary_are_not_compared():
    class Asynchronous:
        """Tells of what happens in one world alone."""

    class Tells:
        @hookimpl
        def flext_request(self, connection):
            if connection.asynchronous:
                connection.emit(Asynchronous())

    class Conformance(PluginConformance):
        plugin = Tells

    with pytest.raises(pytest.fail.Exception, match="events were: .*'Asynchronous'"):
        Conformance().test_it_does_the_same_in_all_worlds()

    class Lenient(Conformance):
        varying_events = {"Asynchronous"}

    Lenient().test_it_does_the_same_in_all_worlds()
