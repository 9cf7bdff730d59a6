"""From a configuration to ordered layers: what a plugin class may be, and where it stands."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field

from flext_plugins import (
    ConfigError,
    Host,
    PluginError,
    Secret,
    Service,
    ServiceName,
    Stage,
    hookimpl,
)


class Plain:
    @hookimpl
    def flext_event(self, event): ...


def host_with(kinds, /, **config):
    """A host whose service `a` has these classes, by name, without settings."""
    tables = {name: {} for name in kinds}
    config = {"services": {"a": {"plugins": tables}}, **config}
    host = Host(config)
    for name, kind in kinds.items():
        host.register(kind, name)
    return host


def refused(kind):
    """What is wrong with a class."""
    with pytest.raises(PluginError) as caught:
        Host().register(kind, "plugin")
    assert caught.value.plugin == "plugin"
    return str(caught.value)


def plugin(**members):
    """A class with these members beside a hook that is fine."""
    return type("Made", (Plain,), members)


# What a class may be


def test_a_plugin_is_a_class():
    assert "expected a class, found Plain" in refused(Plain())


def test_a_plugin_has_a_hook():
    assert "it has no hook" in refused(type("Empty", (), {}))


def test_an_inherited_hook_is_a_hook():
    host = host_with({"plugin": type("Child", (Plain,), {})})
    assert host.explain("a").layers[0].hooks == ("flext_event",)


def test_settings_are_a_pydantic_model():
    assert "Settings is not a pydantic model" in refused(plugin(Settings=dict))
    assert "Settings is not a pydantic model" in refused(plugin(Settings=5))


@pytest.mark.parametrize("name", ["use", "observer"])
def test_settings_leave_the_reserved_keys_alone(name):
    model = type("Settings", (BaseModel,), {"__annotations__": {name: str}})
    assert f"Settings has {name!r}, which is the host's" in refused(plugin(Settings=model))


def test_so_does_an_alias():
    model = type(
        "Settings", (BaseModel,), {"kind": Field(alias="class"), "__annotations__": {"kind": str}}
    )
    assert "Settings has 'class', which is the host's" in refused(plugin(Settings=model))


@pytest.mark.parametrize("stage", [6, "MESSAGE", None])
def test_a_stage_is_one_of_the_seven(stage):
    assert "stage is not a Stage" in refused(plugin(stage=stage))


@pytest.mark.parametrize("name", ["observer", "fail_closed"])
def test_flags_are_bools(name):
    assert f"{name} is not a bool" in refused(plugin(**{name: "no"}))


def test_what_fails_closed_is_no_observer():
    assert "cannot be an observer and fail closed" in refused(
        plugin(observer=True, fail_closed=True)
    )


def test_a_constructor_can_have_settings_and_service_and_nothing_else():
    def constructor(self, settings, service, client): ...

    assert "its constructor asks for 'client'" in refused(plugin(__init__=constructor))


def test_a_constructor_may_have_arguments_of_its_own_with_defaults():
    def constructor(self, retries=3): ...

    host_with({"plugin": plugin(__init__=constructor)}).check()


def test_a_constructor_gets_by_name_what_it_names():
    seen = {}

    class Settings(BaseModel):
        tenant: str = "acme"

    class Both(Plain):
        def __init__(self, service, settings):
            seen["both"] = settings, service

    class WithSettings(Both):
        def __init__(self, *, settings):
            seen["settings"] = settings

    class Neither(Plain):
        def __init__(self):
            seen["neither"] = True

    Both.Settings = Settings
    host_with({"both": Both, "with-settings": WithSettings, "neither": Neither}).check()
    settings, service = seen["both"]
    assert (settings.tenant, seen["settings"].tenant) == ("acme", "acme")
    assert isinstance(service, Service)
    assert [each.name for each in service.plugins] == ["both", "with-settings", "neither"]
    assert seen["neither"]


def test_settings_are_none_for_a_class_that_has_no_model():
    seen = []

    class Curious(Plain):
        def __init__(self, settings):
            seen.append(settings)

    host_with({"curious": Curious}).check()
    assert seen == [None]


def test_a_constructor_that_raises_is_told_with_who_and_where():
    class Broken(Plain):
        def __init__(self):
            raise LookupError("no database")

    with pytest.raises(
        PluginError, match="a: broken: its constructor raised LookupError"
    ) as caught:
        host_with({"broken": Broken}).check()
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_constructor_may_raise_an_error_of_ours():
    class Broken(Plain):
        def __init__(self):
            raise ConfigError("says what to mend")

    with pytest.raises(ConfigError, match="a: broken: says what to mend"):
        host_with({"broken": Broken}).check()


# What a hook may be


def test_a_function_that_looks_like_a_hook_has_to_be_marked():
    def flext_request(self, request): ...

    assert "flext_request is not marked with @hookimpl" in refused(
        plugin(flext_request=flext_request)
    )


@pytest.mark.parametrize("mark", [hookimpl, lambda function: function])
def test_an_unknown_hook_is_told_with_the_nearest_one(mark):
    @mark
    def flext_requests(self, request): ...

    assert "flext_requests is no hook; did you mean 'flext_request'?" in refused(
        plugin(flext_requests=flext_requests)
    )


def test_an_unknown_argument_is_told_with_the_nearest_one():
    class Wrong:
        @hookimpl
        def flext_request(self, reqest): ...

    assert "flext_request has no argument 'reqest'; did you mean 'request'?" in refused(Wrong)


def test_an_unknown_argument_is_refused_also_with_a_default():
    class Wrong:
        @hookimpl
        def flext_request(self, request, retries=3): ...

    assert "flext_request has no argument 'retries'" in refused(Wrong)


def test_arguments_are_named_one_by_one():
    class Star:
        @hookimpl
        def flext_request(self, *request): ...

    class Keyword:
        @hookimpl
        def flext_request(self, *, request): ...

    assert "flext_request takes *request; name the arguments" in refused(Star)
    assert "flext_request takes 'request' by keyword only" in refused(Keyword)


@pytest.mark.parametrize("hook", ["flext_exchange", "flext_operation"])
def test_hooks_around_something_are_async(hook):
    def function(self): ...

    function.__name__, function.__qualname__ = hook, f"Made.{hook}"
    assert f"{hook} must be async def" in refused(plugin(**{hook: hookimpl(function)}))


def test_a_receiver_of_events_is_not_async():
    class Wrong:
        @hookimpl
        async def flext_event(self, event): ...

    assert "flext_event must not be async def" in refused(Wrong)


def test_no_hook_is_a_generator():
    class AsyncGenerator:
        @hookimpl
        async def flext_exchange(self, request, send):
            yield

    class Generator:
        @hookimpl
        def flext_request(self, request):
            yield

    assert "flext_exchange is a generator" in refused(AsyncGenerator)
    assert "flext_request is a generator" in refused(Generator)


@pytest.mark.parametrize(
    "option", ["tryfirst", "trylast", "wrapper", "hookwrapper", "optionalhook"]
)
def test_order_is_not_the_plugins_business(option):
    class Pushy:
        @hookimpl(**{option: True})
        def flext_request(self, request): ...

    assert f"@hookimpl takes no {option}" in refused(Pushy)


@pytest.mark.parametrize("small", ["flext_request", "flext_response"])
def test_a_plugin_has_the_small_hooks_or_the_exchange(small):
    def function(self): ...

    class Both:
        @hookimpl
        async def flext_exchange(self, request, send): ...

    function.__name__, function.__qualname__ = small, f"Both.{small}"
    setattr(Both, small, hookimpl(function))
    assert "flext_exchange and the small hooks; choose" in refused(Both)


def test_all_that_is_wrong_with_a_class_is_told_at_once():
    class Wrong:
        stage = 5
        observer = 1

        @hookimpl(tryfirst=True)
        def flext_request(self, request, retries): ...

        def flext_wrong(self): ...

    told = refused(Wrong)
    assert all(
        each in told for each in ("stage", "observer", "tryfirst", "'retries'", "flext_wrong")
    )


# Order


def at(stage):
    return plugin(stage=stage)


def order(host, service="a"):
    return [each.plugin for each in host.explain(service).layers]


def test_plugins_stand_by_stage():
    stages = list(reversed(Stage))
    host = host_with({f"at-{each.name}": at(each) for each in stages})
    assert order(host) == [f"at-{each.name}" for each in Stage]


def test_a_plugin_that_names_no_stage_changes_messages():
    host = host_with({"sign": at(Stage.SIGN), "plain": Plain, "attempt": at(Stage.ATTEMPT)})
    assert order(host) == ["attempt", "plain", "sign"]


def test_within_a_stage_the_first_to_appear_is_outermost_and_global_plugins_come_first():
    plugins = {each: plugin() for each in "wxyz"}
    host = host_with(
        plugins,
        plugins={"z": {}, "y": {}},
        services={"a": {"plugins": {"x": {}, "y": {}, "w": {}}}},
    )
    assert order(host) == ["z", "y", "x", "w"]


def test_a_service_may_overrule_the_order():
    plugins = {"login": at(Stage.AUTH), "sign": at(Stage.SIGN), "call": at(Stage.CALL)}
    tables = {name: {} for name in plugins}
    said = ["sign", "call", "login"]
    host = host_with(
        plugins, services={"a": {"plugins": tables, "order": said}, "b": {"plugins": tables}}
    )
    assert order(host) == said
    assert order(host, "b") == ["call", "login", "sign"]


@pytest.mark.parametrize("said", [["x"], ["x", "y", "y"], ["x", "y", "z"], []])
def test_an_order_names_every_plugin_once(said):
    tables = {"x": {}, "y": {}}
    host = host_with(
        {each: plugin() for each in tables}, services={"a": {"plugins": tables, "order": said}}
    )
    with pytest.raises(ConfigError, match=r"services\.a\.order: expected each .* once: x, y"):
        host.check()


def test_names_are_compared_in_any_spelling():
    config = {"plugins": {"Bad_Name": {}}}
    config["services"] = {
        "a": {"plugins": {"x": {}, "bad-name": {"threshold": 2}}, "order": ["X", "BAD.name"]},
        "b": {"plugins": {"bad.name": False, "x": {}}},
    }

    class Settings(BaseModel):
        threshold: int = 1

    host = host_with({"bad__name": plugin(Settings=Settings), "x": plugin()}, **config)
    assert order(host) == ["x", "Bad_Name"]
    assert host.explain("a").layers[1].settings[0].value == "2"
    assert order(host, "b") == ["x"]


def test_a_name_is_spelt_in_one_way_in_one_table():
    tables = {"bad-name": {}, "Bad_Name": {}}
    for config in ({"plugins": tables}, {"services": {"a": {"plugins": tables}}}):
        told = r"plugins: 'Bad_Name' and 'bad-name' are one name, spelt in two ways"
        with pytest.raises(ConfigError, match=told):
            Host(config)


def test_a_problem_is_told_at_the_spelling_where_it_stands():
    config = {"plugins": {"Bad_Name": {}}, "services": {"a": {"plugins": {"bad-name": {"y": 1}}}}}
    with pytest.raises(ConfigError, match=r"services\.a\.plugins\.bad-name\.y: unknown key"):
        host_with({"bad-name": plugin()}, **config).check()


# Order among neighbours


def wishing(after=(), before=(), stage=Stage.GUARD):
    return plugin(stage=stage, after=after, before=before)


def test_a_plugin_stands_further_in_than_those_it_wants_to_be_after():
    host = host_with({"x": wishing(after=("z",)), "y": wishing(), "z": wishing()})
    assert order(host) == ["y", "z", "x"]


def test_a_plugin_stands_further_out_than_those_it_wants_to_be_before():
    host = host_with({"x": wishing(), "y": wishing(), "z": wishing(before=("x",))})
    assert order(host) == ["y", "z", "x"]


def test_a_plugin_for_every_service_need_not_be_outermost():
    plugins = {"breaker": wishing(), "bulkhead": wishing(before=["breaker"])}
    config = {"plugins": {"breaker": {}}, "services": {"a": {"plugins": {"bulkhead": {}}}}}
    assert order(host_with(plugins, **config)) == ["bulkhead", "breaker"]


def test_wishes_reach_over_others():
    kinds = {
        "d": wishing(after=("c",)),
        "c": wishing(after=("b",)),
        "b": wishing(before=("a", "c")),
        "a": wishing(),
    }
    assert order(host_with(kinds)) == ["b", "c", "d", "a"]


def test_a_name_is_meant_in_any_spelling():
    host = host_with({"x": wishing(after=("Slow_guard",)), "slow-Guard": wishing()})
    assert order(host) == ["slow-Guard", "x"]


def test_names_that_are_not_there_and_ones_own_are_ignored():
    host = host_with({"x": wishing(after=("nobody", "x"), before=("x",)), "y": wishing()})
    assert order(host) == ["x", "y"]


def test_a_wish_that_the_stages_fulfil_is_fine_and_changes_nothing():
    kinds = {
        "y": wishing(after=("call",)),
        "x": wishing(before=("sign",)),
        "sign": at(Stage.SIGN),
        "call": at(Stage.CALL),
    }
    assert order(host_with(kinds)) == ["call", "y", "x", "sign"]


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        (
            {"x": wishing(after=("sign",)), "sign": at(Stage.SIGN)},
            "it wants to stand after 'sign', and stage GUARD is before SIGN",
        ),
        (
            {"x": wishing(before=("call",)), "call": at(Stage.CALL)},
            "it wants to stand before 'call', and stage CALL is before GUARD",
        ),
    ],
)
def test_a_wish_that_the_stages_contradict_is_told(kinds, told):
    with pytest.raises(ConfigError, match=rf"services\.a\.plugins\.x: {told}; say order = "):
        host_with(kinds).check()


@pytest.mark.parametrize(
    ("kinds", "circle"),
    [
        ({"a": wishing(after=("b",)), "b": wishing(after=("a",))}, "'a' before 'b' before 'a'"),
        (
            {
                "free": wishing(),
                "a": wishing(before=("b",)),
                "b": wishing(before=("c",)),
                "c": wishing(before=("a",)),
                "behind": wishing(after=("c",)),
            },
            "'a' before 'b' before 'c' before 'a'",
        ),
    ],
)
def test_a_circle_of_wishes_is_told_by_name(kinds, circle):
    told = rf"services\.a\.plugins: they want to stand {circle}; say order"
    with pytest.raises(ConfigError, match=told):
        host_with(kinds).check()


def test_an_order_overrules_wishes_even_if_they_cannot_be():
    kinds = {"a": wishing(after=("b", "sign")), "b": wishing(after=("a",)), "sign": at(Stage.SIGN)}
    said = ["a", "b", "sign"]
    tables = {name: {} for name in kinds}
    host = host_with(kinds, services={"a": {"plugins": tables, "order": said}})
    assert order(host) == said


@pytest.mark.parametrize("names", ["circuit-breaker", (1,), None, {"x": 1}])
@pytest.mark.parametrize("attribute", ["before", "after"])
def test_wishes_are_tuples_of_names(attribute, names):
    assert f"{attribute} is not a tuple of plugins' names" in refused(plugin(**{attribute: names}))


# Observers


def observes(kind, **table):
    host = host_with({"plugin": kind}, services={"a": {"plugins": {"plugin": table}}})
    return host.explain("a").layers[0].observer


def test_a_configuration_may_make_a_plugin_an_observer_or_hold_it_responsible():
    assert not observes(Plain)
    assert observes(Plain, observer=True)
    assert observes(Plain, observer="true")
    assert observes(plugin(observer=True))
    assert not observes(plugin(observer=True), observer=False)


def test_a_plugin_that_fails_closed_is_never_an_observer():
    kind = plugin(fail_closed=True)
    assert not observes(kind, observer=False)
    with pytest.raises(ConfigError, match=r"plugins\.plugin\.observer: this plugin has to fail"):
        observes(kind, observer=True)


def test_observer_is_a_bool():
    with pytest.raises(ConfigError, match=r"plugins\.plugin\.observer: expected a valid boolean"):
        observes(Plain, observer="perhaps")


# Names of other services


class Login(Plain):
    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid")
        service: ServiceName
        others: list[ServiceName] = []
        password: Secret | None = None


def logging_in(**targets):
    """Services that each log in at another."""
    services = {name: {"plugins": {"login": {"service": at}}} for name, at in targets.items()}
    return host_with({"login": Login}, services=services)


def test_a_service_that_a_plugin_names_has_to_be_there():
    with pytest.raises(
        ConfigError,
        match=r"services\.a\.plugins\.login\.service: no service is named 'issuerr'; "
        r"did you mean 'issuer'\?",
    ):
        logging_in(a="issuerr", issuer="issuer").check("a")


def test_names_of_services_are_found_inside_lists_too():
    tables = {"login": {"service": "a", "others": ["a", "nobody"]}}
    host = host_with({"login": Login}, services={"a": {"plugins": tables}})
    with pytest.raises(ConfigError, match=r"login\.others\.1: no service is named 'nobody'"):
        host.check()


def test_a_service_may_log_in_at_itself():
    logging_in(a="a").check()


def test_a_chain_of_services_is_fine():
    logging_in(a="b", b="c", c="c").check()


@pytest.mark.parametrize("entry", ["a", "b", "c"])
def test_a_loop_between_services_is_told_by_name(entry):
    with pytest.raises(ConfigError) as caught:
        logging_in(a="b", b="c", c="a").check(entry)
    ring = "a -> b -> c -> a -> b -> c -> a"
    assert str(caught.value).rpartition(": ")[2] in ring
    assert str(caught.value).count("->") == 3


def test_a_loop_further_in_names_only_those_in_it():
    with pytest.raises(ConfigError, match=r": b -> c -> b$"):
        logging_in(a="b", b="c", c="b").check("a")


def test_checking_a_service_checks_those_it_logs_in_at():
    host = host_with(
        {"login": Login},
        services={
            "a": {"plugins": {"login": {"service": "issuer"}}},
            "issuer": {"plugins": {"nobody": {}}},
        },
    )
    with pytest.raises(ConfigError, match=r"issuer: services\.issuer\.plugins\.nobody"):
        host.check("a")
