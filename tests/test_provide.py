"""What an application hands to plugins by `host.provide`, and what comes too late."""

from __future__ import annotations

import os
from collections.abc import Sized
from typing import Protocol

import pytest

from flext_plugins import ConfigError, Host, hookimpl


class Registry:
    """The application's."""


class Wants:
    """Takes the registry that there is, or does without."""

    def __init__(self, service):
        self.registry = service.resource(Registry, None)

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Registry"] = str(self.registry is not None)


class Needs(Wants):
    """Cannot do without."""

    def __init__(self, service):
        self.registry = service.resource(Registry)


def hosting(*plugins):
    """A host with a service `a`, which has these plugins, and a service `b` without any."""
    names = {each.__name__.lower(): each for each in plugins}
    host = Host({"services": {"a": {"plugins": {name: {} for name in names}}, "b": {}}})
    for name, each in names.items():
        host.register(each, name)
    return host


TOO_LATE = (
    r"^host\.provide\(Registry, \.\.\.\) comes too late: a plugin of service 'a' has asked for it\. "
    "Call it before anything connects or is checked$"
)


@pytest.mark.contract("provided-before-it-is-asked-for")
def test_what_a_plugin_has_asked_for_comes_too_late(flext_service, flext_world):
    host = flext_world.serve(flext_service, Wants)
    assert flext_world.get(host).json()["headers"]["x-registry"] == "False"
    with pytest.raises(ConfigError, match="service 'service' has asked for it"):
        host.provide(Registry, Registry())


@pytest.mark.parametrize("way", ["check", "explain"])
@pytest.mark.contract("provided-before-it-is-asked-for")
def test_so_it_does_after_a_look_at_the_service(way):
    host = hosting(Wants)
    host.check() if way == "check" else host.explain("a")
    with pytest.raises(ConfigError, match=TOO_LATE):
        host.provide(Registry, Registry())


@pytest.mark.contract("provided-before-it-is-asked-for")
def test_of_another_object_too_if_there_was_one(flext_service):
    host, mine = hosting(Wants), Registry()
    host.provide(Registry, mine)
    host.check()
    host.provide(Registry, mine)
    with pytest.raises(ConfigError, match=TOO_LATE):
        host.provide(Registry, Registry())


@pytest.mark.contract("provided-before-it-is-asked-for")
def test_what_nobody_has_asked_for_may_come_at_any_time():
    class Other:
        """Nobody's."""

    host = hosting(Wants)
    host.check("b")
    host.provide(Registry, Registry())
    host.check()
    host.provide(Other, Other())


@pytest.mark.contract("provided-before-it-is-asked-for")
def test_a_service_that_could_not_be_composed_asks_anew():
    host = hosting(Wants, Needs)
    with pytest.raises(ConfigError, match=r"call host\.provide\(Registry"):
        host.check()
    host.provide(Registry, Registry())
    host.check()


@pytest.mark.contract("provided-before-it-is-asked-for")
def test_but_not_what_an_object_was_made_of_that_all_services_share():
    class Counts:
        """Made once, of the registry that there was."""

    class Shares(Wants):
        def __init__(self, service):
            super().__init__(service)
            service.shared(Counts, Counts)

    class Broken(Wants):
        def __init__(self):
            raise LookupError

    host = hosting(Shares, Broken)
    with pytest.raises(Exception, match="LookupError"):
        host.check()
    with pytest.raises(ConfigError, match=TOO_LATE):
        host.provide(Registry, Registry())


@pytest.mark.contract("provided-before-it-is-asked-for")
def test_what_is_asked_for_in_a_hook_counts_too(flext_service, flext_world):
    class Asks:
        @hookimpl
        def flext_request(self, connection):
            connection.service.resource(Registry, None)

    host = flext_world.serve(flext_service, Asks)
    host.check()
    flext_world.get(host)
    with pytest.raises(ConfigError, match="comes too late"):
        host.provide(Registry, Registry())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.contract("provided-before-it-is-asked-for")
def test_in_a_forked_child_plugins_ask_anew():
    registries = []

    class Keeps(Wants):
        def __init__(self, service):
            super().__init__(service)
            registries.append(self.registry)

    host, mine = hosting(Keeps), Registry()
    host.check()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            host.provide(Registry, mine)
            host.check()
            code = 0 if registries == [None, mine] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(ConfigError, match=TOO_LATE):
        host.provide(Registry, mine)


@pytest.mark.contract("provided-once-and-fitting")
def test_a_type_stands_for_one_object():
    host, mine = hosting(Wants), Registry()
    host.provide(Registry, mine)
    host.provide(Registry, mine)
    with pytest.raises(ConfigError, match="was called before; a type stands for one object"):
        host.provide(Registry, Registry())


@pytest.mark.parametrize(
    ("value", "named"), [(None, "NoneType"), ("text", "str"), (Registry, "the class Registry")]
)
@pytest.mark.contract("provided-once-and-fitting")
def test_what_is_provided_is_an_instance_of_its_type(value, named):
    with pytest.raises(ConfigError) as caught:
        hosting(Wants).provide(Registry, value)
    said = f"host.provide(Registry, ...) takes an instance of it, not {named}"
    assert str(caught.value) == said


@pytest.mark.contract("provided-once-and-fitting")
def test_what_it_is_asked_for_by_is_a_type():
    with pytest.raises(ConfigError, match="takes a type and an instance of it, not 'registry'"):
        hosting(Wants).provide("registry", Registry())


class StandIn:
    """Says that it is a registry."""

    __class__ = Registry


class Named(Protocol):
    """A protocol that no object can be asked for."""

    name: str


@pytest.mark.contract("provided-once-and-fitting")
def test_subclasses_stand_ins_and_protocols_fit():
    host = hosting(Wants)
    host.provide(Sized, [])
    host.provide(Named, object())
    host.provide(Registry, StandIn())


@pytest.mark.contract("provided-before-it-is-asked-for")
def test_after_the_end_nothing_is_provided(flext_world):
    host = flext_world.host({"services": {"a": {}}})
    flext_world.close(host)
    with pytest.raises(ConfigError, match="comes too late: the host is closed"):
        host.provide(Registry, Registry())
