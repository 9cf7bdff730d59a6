"""What becomes of callers when a directory is down, slow, hostile or not the one that it says."""

import asyncio
import re
import socket
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flext_plugins_ldap import (
    AuthenticationFailed,
    DirectoryError,
    DirectoryUnavailable,
    Entry,
    User,
)
from flext_plugins_ldap.wire import TimedSocket

from flext_plugins import ConfigError, DeadlineExceeded, Failure, FlextError, options

pytestmark = pytest.mark.once

LONG = {"connect_timeout": 60, "timeout": 60}
"""Seconds that no test waits: what ends, ends for another reason."""
FAR = 20.0
"""Seconds that are no deadline's but a hang's."""


# who it is


def test_a_directory_whose_authority_is_unknown_is_told_nothing(
    ask: Any, slapd: Any, run_slapd: Any, authority_file: Path
) -> None:
    for url in (slapd.url, slapd.tls_url):
        directory = ask(url=url, ca_file=str(authority_file))
        with pytest.raises(DirectoryUnavailable, match="certificate verify failed") as caught:
            directory.user("ana")
        assert caught.value.failure is Failure.CONNECT
    with pytest.raises(DirectoryUnavailable, match="certificate verify failed"):
        ask(ca_file=None).user("ana")  # the system's authorities


def test_a_certificate_for_another_host_is_no_good(ask: Any, slapd: Any) -> None:
    """`localhost` is 127.0.0.1, for which the certificate is, and is not its name."""
    for url in (slapd.url, slapd.tls_url):
        with pytest.raises(DirectoryUnavailable, match="Hostname mismatch"):
            ask(url=url.replace("127.0.0.1", "localhost")).user("ana")


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_what_is_encrypted_is_read_by_nobody_on_the_way(
    ask: Any, slapd: Any, relay: Any, scheme: str
) -> None:
    on_the_way = relay(slapd.port if scheme == "ldap" else slapd.tls_port)
    directory = ask(url=on_the_way.url.replace("ldap", scheme))
    assert directory.authenticate("ana", "ana-passw0rd").username == "ana"
    assert on_the_way.passed
    for secret in (b"ana-passw0rd", slapd.bind_password.encode(), b"service", b"Silva"):
        assert secret not in on_the_way.passed


def test_a_server_that_cannot_do_tls_is_told_nothing(ask: Any, slapd: Any, plain: Any) -> None:
    with pytest.raises(DirectoryUnavailable, match="cannot be reached: .*startTLS failed"):
        ask(plain, ca_file=slapd.ca_file).user("ana")


def frames_with(secret: str, error: BaseException) -> list[str]:
    """The local variables of our own frames that showed `secret` while `error` passed them."""
    errors, found = [error], []
    for each in errors:
        errors += [more for more in (each.__cause__, each.__context__) if more is not None]
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if re.search(r"flext_plugins(_ldap)?/", frame.f_code.co_filename):
                names = [name for name, value in frame.f_locals.items() if secret in repr(value)]
                found += [f"{frame.f_code.co_filename}:{name}" for name in names]
    return found


@pytest.mark.parametrize(
    ("username", "password", "settings"),
    [
        ("crowd-0011", "canary-wrong", {}),
        ("nobody", "canary-wrong", {}),
        ("crowd-0011", "canary-\udcff", {}),
        ("crowd-0011", "canary-\0", {}),
        (
            "crowd-0011",
            "canary-refused",
            {"bind_dn": "cn=nobody,dc=example", "bind_password": "other"},
        ),
        ("crowd-0011", "canary-late", {"timeout": 0.000_001}),
        ("crowd-0011", "x", {"bind_password": "canary-own"}),
        ("crowd-0011", "canary-nowhere", {"search_base": "dc=nowhere"}),
    ],
)
def test_no_frame_holds_a_password_when_an_error_passes(
    ask: Any, username: str, password: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(FlextError) as caught:
        ask(**settings).authenticate(username, password)
    assert frames_with("canary", caught.value) == []


def test_nor_does_the_frame_that_sends_it() -> None:
    class Gone:
        def settimeout(self, seconds: float) -> None:
            assert seconds == 1

        def sendall(self, data: bytes) -> None:
            raise ConnectionResetError(len(data))

    session: Any = SimpleNamespace(remaining=lambda: 1)
    with pytest.raises(ConnectionResetError) as caught:
        TimedSocket(Gone(), session).sendall(b"canary")
    assert [each for each in frames_with("canary", caught.value) if "/tests/" not in each] == []


@pytest.mark.parametrize("place", ["variable", "file"])
def test_a_bind_password_that_is_not_text_is_told_without_it(
    ask: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    monkeypatch.setenv("PASSWORD", "canary-\udcff")
    (tmp_path / "secret").write_bytes(b"canary-\xff")
    reference = "env:PASSWORD" if place == "variable" else f"file:{tmp_path / 'secret'}"
    with pytest.raises(ConfigError) as caught:
        ask(bind_password=reference).user("ana")
    assert "canary" not in repr(caught.value)
    assert frames_with("canary", caught.value) == []


def test_plain_ldap_has_to_be_allowed(ask: Any, plain: Any) -> None:
    with pytest.raises(ConfigError, match="starttls = false would send passwords in the clear"):
        ask(plain, starttls=False).user("ana")
    assert ask(plain, starttls=False, allow_insecure=True).user("ana").username == "ana"


def test_a_password_that_is_not_accepted_is_a_matter_of_configuration(ask: Any) -> None:
    said = "does not accept bind_dn with bind_password"
    with pytest.raises(ConfigError, match=f"^service: ldap: 127.*{said}") as caught:
        ask(bind_password="canary").user("ana")
    assert "canary" not in str(caught.value)


# where it sends us


@pytest.fixture
def referring(run_slapd: Any, peer: Any) -> Any:
    """Refers to `hostile`, for all below `ou=away` and for all that it does not have."""
    hostile = peer()
    found = run_slapd(options=f"referral {hostile.url}", referral=f"{hostile.url}/")
    return found, hostile


def test_a_referral_is_told_and_not_followed(ask: Any, referring: Any) -> None:
    slapd, hostile = referring
    directory = ask(slapd)
    for base in (f"ou=away,{slapd.base}", "dc=elsewhere"):
        with pytest.raises(DirectoryError, match="refers to another server; referral_hosts"):
            directory.search("(uid=ana)", base=base)
    away = f"ou=away,{slapd.base}"
    for method, given in (
        ("delete", [away]),
        ("modify", [away, {"ou": "x"}]),
        ("add", [f"ou=x,{away}", {"objectClass": "organizationalUnit"}]),
    ):
        with pytest.raises(DirectoryError, match="refers to another server"):
            getattr(directory, method)(*given)
    assert directory.user("ana").username == "ana"  # beside the reference, in the same search
    assert (hostile.count, hostile.received) == (0, b"")


def test_a_server_that_may_be_asked_has_to_prove_who_it_is(ask: Any, referring: Any) -> None:
    slapd, hostile = referring
    directory = ask(slapd, referral_hosts=[hostile.target], timeout=0.3, connect_timeout=0.3)
    with pytest.raises(DirectoryUnavailable, match="cannot be reached: timed out"):
        directory.search("(uid=ana)", base=f"ou=away,{slapd.base}")
    assert hostile.count == 1
    assert b"1.3.6.1.4.1.1466.20037" in hostile.received  # StartTLS, and no more
    assert slapd.bind_password.encode() not in hostile.received
    assert len(hostile.received) < 40


def test_a_server_that_may_be_asked_is_asked(ask: Any, run_slapd: Any) -> None:
    there = run_slapd()
    here = run_slapd(referral=f"{there.url}/{there.people}", authority=there.authority)
    directory = ask(here, referral_hosts=["127.0.0.1"], page_size=1)
    found = directory.search("(uid=a*)", base=f"ou=away,{here.base}")
    assert [each.dn for each in found] == [f"uid=ana,{there.people}"]
    assert len(directory.search("(uid=*)", base=f"ou=away,{here.base}")) == len(there.users)


def test_servers_that_refer_to_each_other_end_in_an_error(ask: Any, run_slapd: Any) -> None:
    here = run_slapd(referral="self")
    directory = ask(here, referral_hosts=["127.0.0.1"])
    with pytest.raises(DirectoryError, match="refers to another server"):
        directory.search("(uid=ana)", base=f"ou=away,{here.base}")


# how long it takes


def test_a_deadline_ends_what_a_silent_server_would_not(ask: Any, peer: Any) -> None:
    silent = peer()
    asked = [
        ask(url=silent.url, **LONG),
        ask(url=silent.url.replace("ldap", "ldaps"), **LONG),
        ask(url=silent.url, starttls=False, allow_insecure=True, **LONG),
    ]
    for directory in asked:
        for method, given in (
            ("user", ["ana"]),
            ("authenticate", ["ana", "x"]),
            ("search", ["(uid=*)"]),
            ("add", ["uid=x,dc=flext,dc=test", {"objectClass": "person"}]),
            ("upsert", [[Entry("uid=x,dc=flext,dc=test", {"objectClass": ("person",)})]]),
        ):
            started = time.monotonic()
            with pytest.raises(DeadlineExceeded, match="^service: ldap: no time left, waiting for"):
                with options(deadline=0.1):
                    getattr(directory, method)(*given)
            assert time.monotonic() - started < FAR


def test_a_deadline_ends_what_does_not_even_connect(ask: Any) -> None:
    """A listener whose queue is full lets nobody in."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        queued = []
        for _ in range(4):
            queued.append(socket.socket())
            queued[-1].setblocking(False)
            queued[-1].connect_ex(address)
        directory = ask(url=f"ldap://127.0.0.1:{address[1]}", **LONG)
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded), options(deadline=0.2):
            directory.user("ana")
        assert time.monotonic() - started < FAR
        directory = ask(url=f"ldap://127.0.0.1:{address[1]}", connect_timeout=0.1)
        with pytest.raises(DirectoryUnavailable, match="cannot be reached: timed out"):
            directory.user("ana")
        for each in queued:
            each.close()


def test_a_deadline_ends_what_comes_too_slowly(ask: Any, peer: Any) -> None:
    """A byte of an endless answer now and then, each of which comes in time."""

    def trickle(one: Any, accepted: socket.socket) -> None:
        accepted.recv(65536)
        accepted.sendall(b"\x30\x84\x00\xff\xff\xff")
        while not one.ended.wait(0.02):
            accepted.sendall(b"\x00")

    for settings in ({}, {"starttls": False, "allow_insecure": True}):
        directory = ask(url=peer(trickle).url, **LONG, **settings)
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded), options(deadline=0.2):
            directory.user("ana")
        assert time.monotonic() - started < FAR


def test_the_services_own_deadline_holds_for_all_operations_of_a_call(
    ask: Any, slapd: Any, relay: Any
) -> None:
    slow = relay(slapd.port)
    directory = ask(url=slow.url, service={"deadline": 1.0}, **LONG)
    assert directory.authenticate("ana", "ana-passw0rd").username == "ana"
    slow.on_hold.set()
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        directory.user("ana")
    assert time.monotonic() - started < FAR


def test_pages_share_one_deadline(ask: Any, slapd: Any) -> None:
    directory = ask(page_size=10)
    with pytest.raises(DeadlineExceeded), options(deadline=0.05):
        directory.search("(uid=crowd-*)")
    assert directory.user("ana").username == "ana"


def test_without_a_deadline_time_outs_end_it(ask: Any, peer: Any, slapd: Any, relay: Any) -> None:
    with pytest.raises(DirectoryUnavailable, match="cannot be reached: timed out") as caught:
        ask(url=peer().url, connect_timeout=0.1).user("ana")
    assert caught.value.failure is Failure.CONNECT
    slow = relay(slapd.port)
    directory = ask(url=slow.url, service={"timeout": {"read": 0.5}})
    assert directory.user("ana").username == "ana"
    slow.on_hold.set()
    with pytest.raises(DirectoryUnavailable, match=f"^service: ldap: {slow.target} did not answer"):
        directory.user("ana")
    slow.on_hold.clear()
    assert directory.user("ana").username == "ana"


def test_no_more_connections_than_the_pool_has(ask: Any, slapd: Any, relay: Any) -> None:
    counted = relay(slapd.port)
    counted.on_hold.set()
    patient = {"timeout": 60.0}  # on a busy machine the last of them wait long
    directory = ask(url=counted.url, pool_size=3, service=patient)
    kinds = ("user", "ana"), ("authenticate", "bob", "bob-passw0rd"), ("search", "(uid=crowd-000*)")
    works = [directory.work(*each) for each in kinds * 10]
    waiting: list[int] = []

    def count() -> None:
        until = time.monotonic() + 30
        while counted.count < 3 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.5)  # for a fourth, which must not come
        waiting.append(counted.count)
        counted.on_hold.clear()

    thread = threading.Thread(target=count)
    thread.start()
    found = directory.world.all(works)
    thread.join()
    assert [each for each in found if isinstance(each, Exception)] == []
    assert waiting == [3]
    assert counted.most <= 3


def test_a_pool_that_stays_busy_is_told(ask: Any, slapd: Any, relay: Any) -> None:
    slow = relay(slapd.port)
    directory = ask(url=slow.url, pool_size=1, service={"timeout": {"pool": 0.1, "read": 0.5}})
    directory.user("ana")
    slow.on_hold.set()
    found = directory.world.all([directory.work("user", "ana")] * 4)
    assert all(isinstance(each, DirectoryUnavailable) for each in found), found
    slow.on_hold.clear()
    said = [str(each) for each in found if each.failure is Failure.POOL]
    busy = f"service: ldap: {slow.target}: all 1 connections are busy; pool_size allows no more"
    assert said == [busy] * 3
    assert directory.user("ana").username == "ana"


@pytest.mark.parametrize("world", ["httpx async"], indirect=True)
def test_a_task_that_is_cancelled_keeps_nothing(ask: Any, slapd: Any, relay: Any) -> None:
    slow = relay(slapd.port)
    directory = ask(url=slow.url, pool_size=1, page_size=10, service={"timeout": {"pool": 5.0}})
    plain = directory.directory

    async def cancelled() -> list[str]:
        async def listed() -> None:
            async for _ in plain.search("(uid=crowd-*)"):
                slow.on_hold.set()

        for work in (listed, lambda: plain.user("ana"), lambda: plain.authenticate("ana", "x")):
            task = asyncio.ensure_future(work())
            while not slow.on_hold.is_set():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        slow.on_hold.clear()
        return [(await plain.user("ana")).username for _ in range(2)]

    assert directory.world.run(cancelled) == ["ana", "ana"]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 64, b"\x30\x03\x02\x01\x01", b"\x30"]
)
def test_what_is_no_ldap_is_a_failure_of_the_wire(ask: Any, peer: Any, answer: bytes) -> None:
    def garbled(_: Any, accepted: socket.socket) -> None:
        accepted.recv(65536)
        accepted.sendall(answer)

    for settings in ({}, {"starttls": False, "allow_insecure": True}):
        directory = ask(url=peer(garbled).url, timeout=1, connect_timeout=1, **settings)
        with pytest.raises(DirectoryUnavailable) as caught:
            directory.user("ana")
        assert caught.value.failure in {Failure.CONNECT, Failure.READ, Failure.PROTOCOL}


def test_a_host_that_nobody_knows_is_told(ask: Any) -> None:
    with pytest.raises(DirectoryUnavailable, match=r"nowhere.invalid:389 cannot be reached: the"):
        ask(url="ldap://nowhere.invalid").user("ana")


# what comes after


def test_the_next_server_is_asked_where_one_is_down(ask: Any, slapd: Any, run_slapd: Any) -> None:
    other = run_slapd(authority=slapd.authority)
    directory = ask(other, url=[other.url, slapd.url])
    assert directory.health() == other.target
    other.down()
    assert directory.health() == slapd.target
    assert directory.authenticate("ana", "ana-passw0rd").username == "ana"
    assert len(directory.search("(uid=crowd-*)")) == 5000
    other.up()
    assert directory.health() == other.target


def test_what_may_have_been_done_is_not_asked_of_the_next(ask: Any, slapd: Any, relay: Any) -> None:
    slow = relay(slapd.port)
    directory = ask(url=[slow.url, slapd.url], timeout=0.7, connect_timeout=0.7)
    assert directory.health() == slow.target
    slow.on_hold.set()
    with pytest.raises(DirectoryUnavailable, match=slow.target):
        directory.delete(f"uid=nobody,{slapd.people}")
    assert directory.user("ana").username == "ana"


def test_a_server_that_was_restarted_meanwhile_costs_nothing(ask: Any, run_slapd: Any) -> None:
    slapd = run_slapd()
    directory = ask(slapd)
    for _ in range(3):
        assert directory.user("ana").username == "ana"
        slapd.down()
        slapd.up()
    dn = f"uid=late,{slapd.people}"
    directory.add(dn, {"objectClass": "inetOrgPerson", "cn": "Late", "sn": "Late"})
    assert directory.user("late").dn == dn


def test_a_server_that_is_killed_and_comes_back_costs_errors_and_nothing_more(
    ask: Any, run_slapd: Any
) -> None:
    """16 callers all the while: each call ends in a result or in an error that says what it is."""
    slapd = run_slapd(crowd=50)
    directory = ask(slapd, service={"deadline": 5.0}, pool_size=4, page_size=7)
    ended, longest = threading.Event(), [0.0]

    def one(number: int) -> Any:
        name = (
            ("user", "ana"),
            ("authenticate", "ana", "ana-passw0rd"),
            ("search", "(uid=crowd-*)"),
        )
        work = directory.work(*name[number % 3])

        def again() -> list[Any]:
            found: list[Any] = []
            while not ended.is_set():
                started = time.monotonic()
                try:
                    found.append(work())
                except Exception as error:
                    found.append(error)
                longest[0] = max(longest[0], time.monotonic() - started)
            return found

        async def aagain() -> list[Any]:
            found: list[Any] = []
            while not ended.is_set():
                started = time.monotonic()
                try:
                    found.append(await work())
                except Exception as error:
                    found.append(error)
                longest[0] = max(longest[0], time.monotonic() - started)
            return found

        return aagain if directory.world.asynchronous else again

    def faults() -> None:
        try:
            for _ in range(3):
                time.sleep(0.2)
                slapd.down()
                time.sleep(0.1)
                slapd.up()
            time.sleep(0.2)
        finally:
            ended.set()

    thread = threading.Thread(target=faults)
    thread.start()
    results = directory.world.all([one(number) for number in range(16)])
    thread.join()
    every = [each for found in results for each in found]
    errors = [each for each in every if isinstance(each, Exception)]
    assert [each for each in errors if not isinstance(each, FlextError)] == []
    assert not [each for each in errors if isinstance(each, (AuthenticationFailed, ConfigError))]
    assert {type(each) for each in every} >= {User, list}
    assert all(len(each) == 50 for each in every if isinstance(each, list))
    assert errors, "nobody noticed"
    assert longest[0] < FAR
    assert directory.user("ana").username == "ana"
