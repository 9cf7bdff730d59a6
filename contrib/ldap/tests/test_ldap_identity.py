"""Who a request is for, as it arrives at a service, from people in a real slapd."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import unquote

import pytest
from flext_plugins_circuit_breaker import CircuitBreaker, State
from flext_plugins_ldap import Entry, Ldap, identity, ldif
from flext_plugins_ldap.ldif import Change, Modify

from flext_plugins import ConfigError, DeadlineExceeded, Host, Refused, options
from flext_plugins.testing import Answer, LoopbackService, PluginConformance, Record, World

pytestmark = pytest.mark.once

Run = Callable[..., Any]
Serve = Callable[..., Host]

SPOOFED = {
    "X-User": "root",
    "x-department": "board",
    "X-GROUPS": "admins",
    "X_User": "root",
    "x_groups": "admins",
}
NEVER = {"ttl": 0}
ALWAYS = {"ttl": 3600}


@pytest.fixture
def serve(flext_world: World, flext_service: LoopbackService) -> Serve:
    """A host whose `service` has the plugin with the directory of some slapd."""

    def made(slapd: Any, record: Record | None = None, plugins: Any = None, **more: Any) -> Host:
        ldap = slapd.settings(**more)
        witness = {"witness": record.of()} if record else {}
        tables = {**(plugins or {}), "ldap": ldap, **{name: {} for name in witness}}
        service = {"base_url": flext_service.url, "plugins": tables}
        return flext_world.host({"services": {"service": service}}, **witness)

    return made


def told(headers: dict[str, str]) -> dict[str, str]:
    """What of it says who it is for, by any name that somebody might read so."""
    wanted = {"x-user", "x-department", "x-groups"}
    return {name: value for name, value in headers.items() if name.replace("_", "-") in wanted}


def changed(slapd: Any, records: Iterable[ldif.Record], tool: str = "slapmodify") -> None:
    """Have slapd's own tool do it while it is stopped."""
    was_running = slapd.pid is not None
    slapd.down()
    file = slapd.folder / "changes.ldif"
    ldif.write(file, records)
    path = shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin")
    assert path is not None
    done = subprocess.run(
        [path, "-f", "slapd.conf", "-l", str(file)],
        cwd=slapd.folder,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if was_running:
        slapd.up()


def department(slapd: Any, value: str) -> Modify:
    return Modify(f"uid=ana,{slapd.people}", (Change("replace", "departmentNumber", (value,)),))


# What is sent


def test_a_request_says_who_it_is_for(
    flext_world: World, flext_service: LoopbackService, serve: Serve, slapd: Any
) -> None:
    host = serve(slapd)
    for user in ("ana", "bob"):
        with options(user=user):
            answer = flext_world.get(host)
        assert told({name.lower(): each for name, each in answer.request.headers.items()}) == {}
    assert [told(each.headers) for each in flext_service.received] == [
        {"x-user": "ana", "x-department": "42", "x-groups": "admins,engineers"},
        {"x-user": "bob", "x-department": "42", "x-groups": "Sales%2C%20North,engineers"},
    ]


def test_a_call_that_names_nobody_is_for_the_configured_identity(
    flext_world: World, flext_service: LoopbackService, serve: Serve, slapd: Any
) -> None:
    host = serve(slapd, identity="bob")
    flext_world.get(host)
    with options(user="ana"):
        flext_world.get(host)
    assert [each.headers["x-user"] for each in flext_service.received] == ["bob", "ana"]


def test_somebody_without_department_and_groups_has_no_headers_for_them(
    flext_world: World, flext_service: LoopbackService, serve: Serve, slapd: Any
) -> None:
    with options(user="crowd-0001"):
        flext_world.get(serve(slapd), headers=SPOOFED)
    assert told(flext_service.received[0].headers) == {"x-user": "crowd-0001"}


def test_headers_and_the_departments_attribute_have_the_names_that_the_settings_say(
    flext_world: World, flext_service: LoopbackService, serve: Serve, slapd: Any
) -> None:
    host = serve(
        slapd,
        user_header="Remote-User",
        department_header="Remote-Unit",
        groups_header="Remote-Groups",
        department_attribute="MAIL",
    )
    with options(user="ana"):
        flext_world.get(host, headers={"X-User": "is another", "REMOTE_GROUPS": "admins"})
    headers = flext_service.received[0].headers
    assert headers["remote-user"] == "ana"
    assert headers["remote-unit"] == "ana@flext.test"
    assert headers["remote-groups"] == "admins,engineers"
    assert headers["x-user"] == "is another"
    assert "remote_groups" not in headers


def test_a_user_has_one_name_however_it_is_spelled(
    flext_world: World, flext_service: LoopbackService, serve: Serve, slapd: Any
) -> None:
    host = serve(slapd)
    for spelled in ("ANA", "Ana"):
        with options(user=spelled):
            flext_world.get(host)
    assert [each.headers["x-user"] for each in flext_service.received] == ["ana", "ana"]


# What the caller says itself


@pytest.mark.parametrize("user", [None, "ana"])
def test_what_the_caller_says_about_the_user_is_taken_off(
    flext_world: World,
    flext_service: LoopbackService,
    serve: Serve,
    slapd: Any,
    user: str | None,
) -> None:
    with options(user=user):
        answer = flext_world.get(serve(slapd), headers=SPOOFED)
    known = {"x-user": "ana", "x-department": "42", "x-groups": "admins,engineers"}
    assert told(flext_service.received[0].headers) == (known if user else {})
    assert answer.request.headers["X-User"] == "root"  # the caller's own request is not touched


def test_a_header_that_is_given_twice_is_taken_off_twice(
    flext_httpx_world: World, flext_service: LoopbackService, slapd: Any
) -> None:
    service = {"base_url": flext_service.url, "plugins": {"ldap": slapd.settings()}}
    host = flext_httpx_world.host({"services": {"service": service}})
    flext_httpx_world.get(host, headers=[("X-User", "root"), ("x-user", "admin"), ("X-A", "b")])
    assert told(flext_service.received[0].headers) == {}
    assert flext_service.received[0].headers["x-a"] == "b"


def test_what_the_configuration_says_about_the_user_is_taken_off_too(
    flext_world: World, flext_service: LoopbackService, slapd: Any
) -> None:
    service = {
        "base_url": flext_service.url,
        "headers": SPOOFED,
        "plugins": {"ldap": slapd.settings()},
    }
    flext_world.get(flext_world.host({"services": {"service": service}}))
    assert told(flext_service.received[0].headers) == {}


# What people are called

HOSTILE = [
    "Sales, North",
    'the "quoted"',
    "back\\slash",
    "100%2C",
    "line\r\nX-Injected: yes",
    "bell \x07 and escape \x1b",
    "Jürgen & Søn",
    "日本 🎉",
    "semi;colon=equals",
    "a+b c",
]


def grouped(run_slapd: Run, names: Iterable[str]) -> Any:
    """A slapd whose ana is in groups of these names."""
    slapd = run_slapd()
    groups = [
        Entry(
            f"ou=group-{number},{slapd.groups}",
            {
                "objectClass": ("groupOfNames",),
                "ou": (f"group-{number}",),
                "cn": (name,),
                "member": (f"uid=ana,{slapd.people}",),
            },
        )
        for number, name in enumerate(names)
    ]
    changed(slapd, groups, "slapadd")
    return slapd


BY_MEMBER = {"group_filter": "(&(objectClass=groupOfNames)(ou=group-*)(member={dn}))"}


def test_whatever_groups_are_called_a_service_reads_their_names(
    flext_world: World, flext_service: LoopbackService, serve: Serve, run_slapd: Run
) -> None:
    slapd = grouped(run_slapd, HOSTILE)
    with options(user="ana"):
        flext_world.get(serve(slapd, **BY_MEMBER))
    headers = flext_service.received[0].headers
    assert [unquote(each) for each in headers["x-groups"].split(",")] == sorted(HOSTILE)
    assert "x-injected" not in headers
    assert headers["x-groups"].isascii()
    assert headers["x-groups"].isprintable()


def test_a_department_that_would_break_the_header_does_not(
    flext_world: World, flext_service: LoopbackService, serve: Serve, run_slapd: Run
) -> None:
    slapd = run_slapd()
    changed(slapd, [department(slapd, "R&D\r\nX-Injected: yes, Ü")])
    with options(user="ana"):
        flext_world.get(serve(slapd))
    headers = flext_service.received[0].headers
    assert unquote(headers["x-department"]) == "R&D\r\nX-Injected: yes, Ü"
    assert "x-injected" not in headers


def test_a_header_that_would_be_too_long_is_refused_and_never_cut(
    flext_world: World, flext_service: LoopbackService, serve: Serve, run_slapd: Run
) -> None:
    long = "canary" + "ü" * 1_700  # 6 bytes each on the wire
    slapd = grouped(run_slapd, [long])
    with options(user="ana"):
        with pytest.raises(Refused, match="X-Groups would be longer than 4096 bytes") as caught:
            flext_world.get(serve(slapd, **BY_MEMBER))
        assert flext_service.received == []
        assert "canary" not in str(caught.value)
        flext_world.get(serve(slapd, longest_header=12_000, **BY_MEMBER))
    assert unquote(flext_service.received[0].headers["x-groups"]) == long


# Who is not known


@pytest.mark.parametrize("user", ["nobody", "*", "ana)(uid=*", "", "an\x00a", "a" * 5000])
def test_a_user_that_the_directory_does_not_know_is_refused(
    flext_world: World, flext_service: LoopbackService, serve: Serve, slapd: Any, user: str
) -> None:
    host = serve(slapd, identity="ana")
    with options(user=user), pytest.raises(Refused, match="ldap: the directory knows no such user"):
        flext_world.get(host)
    assert flext_service.received == []


def test_a_user_whose_name_is_longer_than_a_header_may_be_is_refused_and_not_looked_up(
    flext_world: World, serve: Serve, slapd: Any
) -> None:
    with options(user="x" * 1_000_000), pytest.raises(Refused, match="no header could hold"):
        flext_world.get(serve(slapd))


def test_a_user_whom_no_directory_can_be_asked_about_is_refused(
    flext_world: World, flext_service: LoopbackService, serve: Serve, slapd: Any
) -> None:
    with options(user="half of a \udc80"), pytest.raises(Refused, match="ldap: the directory "):
        flext_world.get(serve(slapd))
    assert flext_service.received == []


def test_a_directory_that_is_down_refuses_calls_and_opens_no_circuit_of_the_service(
    flext_world: World, flext_service: LoopbackService, serve: Serve, run_slapd: Run
) -> None:
    slapd = run_slapd()
    breaker = {"circuit-breaker": {"failure_threshold": 1, "recovery_timeout": 0.1}}
    host = serve(slapd, plugins=breaker, **NEVER)
    circuit = flext_world.resource(host, CircuitBreaker)
    slapd.down()
    for _ in range(3):
        with options(user="ana"), pytest.raises(Refused) as caught:
            flext_world.get(host)
        assert isinstance(caught.value, flext_world.lib.TransportError)
        assert (circuit.state, circuit.counts.failures) == (State.CLOSED, 0)
    assert flext_service.received == []
    flext_world.get(host)  # it is for nobody
    assert len(flext_service.received) == 1
    directory = circuit.circuit("ldap", slapd.target)
    assert directory.state is State.OPEN  # its own
    directory.reset()
    slapd.up()
    with options(user="ana"):
        flext_world.get(host)
    assert flext_service.received[1].headers["x-user"] == "ana"


def test_what_goes_wrong_does_not_tell_what_the_directory_knows(
    flext_world: World, serve: Serve, run_slapd: Run
) -> None:
    slapd = run_slapd()
    host = serve(slapd, **NEVER)
    with options(user="ana"):
        flext_world.get(host)
        slapd.down()
        with pytest.raises(Refused) as caught:
            flext_world.get(host)
    error: BaseException | None = caught.value
    while error is not None:
        said = f"{error} {error!r} {vars(error)}"
        assert not [each for each in ("Silva", "flext.test", "engineers") if each in said]
        error = error.__cause__


def test_a_deadline_is_the_callers_and_no_refusal(
    flext_world: World, flext_service: LoopbackService, serve: Serve, run_slapd: Run
) -> None:
    slapd = run_slapd()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_url = f"ldap://127.0.0.1:{silent.getsockname()[1]}"
        host = serve(slapd, url=silent_url)
        with options(user="ana", deadline=0.2), pytest.raises(DeadlineExceeded):
            flext_world.get(host)
    assert flext_service.received == []


# What is kept


def test_what_the_directory_said_is_sent_until_its_time_is_up(
    flext_world: World, flext_service: LoopbackService, serve: Serve, run_slapd: Run
) -> None:
    slapd = run_slapd()
    kept, fresh = serve(slapd, **ALWAYS), serve(slapd, **NEVER)
    with options(user="ana"):
        for host in (kept, fresh):
            flext_world.get(host)
        changed(slapd, [department(slapd, "43")])
        for host in (kept, fresh):
            flext_world.get(host)
        found = [each.headers["x-department"] for each in flext_service.received]
        assert found == ["42", "42", "42", "43"]
        slapd.down()
        flext_world.get(kept)
        with pytest.raises(Refused):
            flext_world.get(fresh)


async def test_after_its_time_the_directory_is_asked_again(
    flext_world: World, flext_service: LoopbackService, serve: Serve, run_slapd: Run
) -> None:
    slapd = run_slapd()
    client = await flext_world.client(serve(slapd, ttl=0.2))
    with options(user="ana"):
        await client.get("/")
        changed(slapd, [department(slapd, "43")])
        await flext_world.sleep(0.2)
        await client.get("/")
    assert [each.headers["x-department"] for each in flext_service.received] == ["42", "43"]


async def test_many_who_ask_at_once_ask_the_directory_once(
    flext_world: World,
    flext_service: LoopbackService,
    serve: Serve,
    slapd: Any,
    flext_record: Record,
) -> None:
    client = await flext_world.client(serve(slapd, flext_record, **ALWAYS))

    def searches() -> int:
        asked = [each.operation for each in flext_record.hooks("flext_operation")]
        return sum(each is not None and each.name == "search" for each in asked)

    async def get(user: str = "ana") -> None:
        with options(user=user):
            await client.get("/")

    await get("bob")
    for_one = searches()
    assert for_one > 0
    await flext_world.together(20, get)
    assert searches() == 2 * for_one
    assert [each.headers["x-user"] for each in flext_service.received] == ["bob"] + ["ana"] * 20


def test_a_service_keeps_the_latest_users_only(
    flext_world: World, serve: Serve, run_slapd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "MOST_USERS", 2)
    slapd = run_slapd()
    host = serve(slapd, **ALWAYS)

    def get(user: str) -> None:
        with options(user=user):
            flext_world.get(host)

    for user in ("ana", "bob", "eve"):
        get(user)
    slapd.down()
    get("bob")
    get("eve")
    with pytest.raises(Refused):
        get("ana")


# Whose headers they are


@pytest.mark.parametrize("kept", [NEVER, ALWAYS], ids=["asked each time", "kept"])
async def test_nobody_gets_anothers_headers(
    flext_world: World,
    flext_service: LoopbackService,
    serve: Serve,
    slapd: Any,
    kept: dict[str, Any],
) -> None:
    client = await flext_world.client(serve(slapd, **kept))
    turns = count()
    users: list[str | None] = ["ana", "bob", None, "crowd-0001"]

    async def get() -> None:
        user = users[next(turns) % len(users)]
        for _ in range(3):
            with options(user=user):
                await client.get(f"/{user}")

    await flext_world.together(24, get)
    expected = {
        "/ana": {"x-user": "ana", "x-department": "42", "x-groups": "admins,engineers"},
        "/bob": {"x-user": "bob", "x-department": "42", "x-groups": "Sales%2C%20North,engineers"},
        "/None": {},
        "/crowd-0001": {"x-user": "crowd-0001"},
    }
    assert len(flext_service.received) == 72
    for received in flext_service.received:
        assert told(received.headers) == expected[received.path]


def test_two_directories_of_one_host_are_not_confused(
    flext_world: World, flext_service: LoopbackService, run_slapd: Run
) -> None:
    one, other = run_slapd(), run_slapd()
    changed(other, [department(other, "43")])
    services = {
        name: {"base_url": flext_service.url, "plugins": {"ldap": slapd.settings(**NEVER)}}
        for name, slapd in (("one", one), ("other", other))
    }
    host = flext_world.host({"services": services})
    with options(user="ana"):  # a thread begins without what its caller said
        inside = copy_context()
    senders = [
        flext_world.sender(host, "GET", f"/{name}", service=name) for name in ("one", "other") * 10
    ]
    if flext_world.asynchronous:
        with options(user="ana"):
            found = flext_world.all(senders)
    else:
        found = flext_world.all([partial(inside.copy().run, each) for each in senders])
    assert [each.status_code for each in found] == [200] * 20
    for received in flext_service.received:
        assert received.headers["x-department"] == {"/one": "42", "/other": "43"}[received.path]


def test_a_redirect_to_another_origin_carries_no_user(
    flext_world: World,
    flext_service: LoopbackService,
    flext_elsewhere: LoopbackService,
    serve: Serve,
    slapd: Any,
) -> None:
    there = {"/": "/again", "/again": f"{flext_elsewhere.url}/there"}
    flext_service.answer = lambda received: Answer(302, {"Location": there[received.path]})
    with options(user="ana"):
        flext_world.get(serve(slapd), client_options={"follow_redirects": True})
    assert [each.headers["x-user"] for each in flext_service.received] == ["ana", "ana"]
    assert [each.path for each in flext_elsewhere.received] == ["/there"]
    assert told(flext_elsewhere.received[0].headers) == {}


# What the settings may say


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"user_header": "X User"}, "user_header"),
        ({"user_header": "X_User"}, "user_header"),
        ({"user_header": "x-groups"}, "each header needs a name of its own"),
        ({"ttl": -1}, "ttl"),
        ({"ttl": float("inf")}, "ttl"),
        ({"longest_header": 0}, "longest_header"),
        ({"identity": ""}, "identity"),
        ({"observer": True}, "observer"),
    ],
)
def test_settings_that_cannot_be_are_told(
    slapd: Any, settings: dict[str, Any], problem: str
) -> None:
    service = {"base_url": "http://127.0.0.1:1", "plugins": {"ldap": slapd.settings(**settings)}}
    with pytest.raises(ConfigError) as caught, Host({"services": {"service": service}}) as host:
        host.check("service")
    assert problem in str(caught.value.problems)


# The contract


class TestNamed(PluginConformance):
    plugin = Ldap

    @pytest.fixture(autouse=True)
    def _somebody(self, slapd: Any) -> None:
        type(self).settings = slapd.settings(identity="ana", ttl=0.05)
