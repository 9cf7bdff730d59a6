"""People, groups and entries in a real slapd, from threads and from an event loop."""

import asyncio
import copy
import pickle
import re
import threading
from typing import Any

import pytest
from flext_plugins_ldap import (
    AccountExpired,
    AccountLocked,
    AsyncDirectory,
    AuthenticationFailed,
    Directory,
    DirectoryError,
    Entry,
    InvalidCredentials,
    UserNotFound,
)

from flext_plugins import ConfigError, Host, Refused

INJECTIONS = [
    "*",
    "ana*",
    "*)(uid=*",
    "ana)(|(uid=*",
    "ana)(objectClass=*",
    "ana))(|(uid=*",
    "ana\x00",
    "ana\\",
    "\\2a",
    "\\",
    "(",
    ")",
    "!(uid=ana)",
    "&",
    "ana,ou=people",
    "ana)%00",
    "",
    " ",
    "\uff21\uff2e\uff21*",
    "a" * 5000,
    "\udc80",
]
DNS = ["x,ou=people", "x+cn=y", "#x", " x ", 'x"y', "x<y>z;=", "x\\,y", "x\\", "x\x00y", "é,x"]


def named(value: str) -> bool:
    """Whether slapd has such names."""
    return bool(value.strip()) and not {"\x00", "\udc80"} & {*value} and len(value) < 1000


def person(uid: str, people: str, **more: tuple[str, ...]) -> Entry:
    given = {"objectClass": ("inetOrgPerson",), "uid": (uid,), "cn": (uid,), "sn": ("Test",)}
    return Entry(f"uid={uid},{people}", {**given, **more})


# who is there


def test_a_user_has_a_dn_and_attributes(ask: Any, slapd: Any) -> None:
    user = ask().user("ana")
    assert (user.username, user.dn) == ("ana", f"uid=ana,{slapd.people}")
    assert user.attributes["mail"] == ("ana@flext.test",)
    assert user.attributes["departmentNumber"] == ("42",)


def test_of_a_user_only_the_configured_attributes_are_read(ask: Any) -> None:
    assert ask(attributes=["mail", "sn"]).user("ana").attributes == {
        "mail": ("ana@flext.test",),
        "sn": ("Silva",),
    }


def test_values_that_are_no_text_are_bytes(ask: Any, run_slapd: Any) -> None:
    directory = ask(run_slapd())
    photo = b"\xff\xd8\xff\xe0\x00"
    directory.modify(directory.user("ana").dn, {"jpegPhoto": photo, "description": "é"})
    found = directory.user("ana").attributes
    assert (found["jpegPhoto"], found["description"]) == ((photo,), ("é",))


def test_nobody_is_found_by_a_name_that_nobody_has(ask: Any) -> None:
    directory = ask()
    for method in ("user", "groups"):
        with pytest.raises(UserNotFound, match="^service: ldap: no such user$"):
            getattr(directory, method)("nobody")


def test_a_name_that_several_have_is_nobodys(ask: Any) -> None:
    directory = ask(user_filter="(departmentNumber={username})")
    with pytest.raises(UserNotFound):
        directory.user("42")
    with pytest.raises(InvalidCredentials):
        directory.authenticate("42", "ana-passw0rd")


def test_groups_are_the_common_names_in_member_of(ask: Any) -> None:
    directory = ask()
    assert sorted(directory.groups("ana")) == ["admins", "engineers"]
    assert sorted(directory.groups("bob")) == ["Sales, North", "engineers"]
    assert directory.groups("eve") == []


def test_a_group_that_is_added_later_is_told_by_the_overlay(ask: Any, run_slapd: Any) -> None:
    slapd = run_slapd()
    directory = ask(slapd)
    dn, member = f"cn=Späte #1 \\+ more,{slapd.groups}", directory.user("eve").dn
    directory.add(dn, {"objectClass": "groupOfNames", "member": member})
    assert directory.groups("eve") == ["Späte #1 + more"]
    directory.delete(dn)
    assert directory.groups("eve") == []


def test_groups_may_be_searched_instead(ask: Any, slapd: Any) -> None:
    directory = ask(group_filter="(member={dn})", group_base=slapd.groups, page_size=1)
    assert sorted(directory.groups("bob")) == ["Sales, North", "engineers"]
    with pytest.raises(UserNotFound):
        directory.groups("nobody")


def test_the_server_that_answers_is_told(ask: Any, slapd: Any) -> None:
    assert ask().health() == slapd.target
    assert ask(bind_dn=None, bind_password=None).health() == slapd.target


# who proves it


def test_a_user_is_authenticated_by_the_password(ask: Any) -> None:
    user = ask().authenticate("ana", "ana-passw0rd")
    assert (user.username, user.attributes["cn"]) == ("ana", ("Ana Silva",))


@pytest.mark.parametrize(
    "password", ["wrong", "", "\u00ad", "\x00", "\udc80", "Ana-passw0rd", "x" * 100_000]
)
def test_no_other_password_is_good(ask: Any, run_slapd: Any, password: str) -> None:
    """Not even one that SASLprep, which ldap3 does to passwords, leaves nothing of."""
    slapd = run_slapd(options="allow bind_anon_cred bind_anon_dn")
    with pytest.raises(InvalidCredentials):
        ask(slapd).authenticate("ana", password)


def test_an_empty_password_never_reaches_the_server(ask: Any) -> None:
    with pytest.raises(InvalidCredentials):
        ask(url="ldap://127.0.0.1:1").authenticate("ana", "")


def test_three_wrong_passwords_lock_the_account_and_are_told_apart(
    ask: Any, run_slapd: Any
) -> None:
    directory = ask(run_slapd())
    for _ in range(3):
        with pytest.raises(InvalidCredentials):
            directory.authenticate("eve", "wrong")
    for password in ("wrong", "eve-passw0rd"):
        with pytest.raises(AccountLocked):
            directory.authenticate("eve", password)
    assert directory.authenticate("ana", "ana-passw0rd").username == "ana"


def test_a_password_that_has_to_be_changed_first_is_told_apart(ask: Any) -> None:
    for username in ("old", "new"):
        with pytest.raises(AccountExpired):
            ask().authenticate(username, f"{username}-passw0rd")
    with pytest.raises(InvalidCredentials):
        ask().authenticate("old", "wrong")


def test_why_nobody_was_authenticated_is_in_the_class_and_nowhere_else(
    ask: Any, run_slapd: Any
) -> None:
    directory = ask(run_slapd())
    for _ in range(3):
        with pytest.raises(InvalidCredentials):
            directory.authenticate("eve", "wrong")
    said = set()
    tries = [
        ("ana", "wrong"),
        ("nobody", "wrong"),
        ("ana", ""),
        ("eve", "x"),
        ("old", "old-passw0rd"),
    ]
    for username, password in tries:
        with pytest.raises(AuthenticationFailed) as caught:
            directory.authenticate(username, password)
        error = caught.value
        assert error.__cause__ is None
        assert error.__context__ is None
        assert error.code is None
        said.add((str(error), repr(error).replace(type(error).__name__, "")))
        again = pickle.loads(pickle.dumps(copy.copy(error)))
        assert (type(again), str(again)) == (type(error), str(error))
    assert said == {("service: ldap: authentication failed", "('authentication failed')")}


def test_a_name_that_nobody_has_costs_a_bind_all_the_same(
    ask: Any, run_slapd: Any, monkeypatch: Any
) -> None:
    """Counted by slapd itself."""
    slapd = run_slapd(options="moduleload back_monitor\ndatabase monitor\naccess to * by * read")
    directory = ask(slapd)
    directory.user("ana")

    def binds() -> int:
        (entry,) = directory.search(
            "(objectClass=*)", base="cn=Bind,cn=Operations,cn=Monitor", attributes=["+"]
        )
        return int(entry.attributes["monitorOpCompleted"][0])

    costs = []
    for username in ("ana", "nobody"):
        before = binds()
        with pytest.raises(InvalidCredentials):
            directory.authenticate(username, "wrong")
        costs.append(binds() - before)
    assert costs == [1, 1]


def test_a_user_who_proves_it_lends_nobody_that_identity(ask: Any, run_slapd: Any) -> None:
    """Everybody may read only his own telephone number, and the service none."""
    own = 'access to attrs=telephoneNumber by self read by dn.exact="cn=root" write by * none\n'
    slapd = run_slapd(access=own, numbers=True)
    directory = ask(slapd, pool_size=2)

    def alternating(number: int) -> Any:
        if number % 2:
            return directory.work(
                "authenticate", *[("ana", "ana-passw0rd"), ("bob", "bob-passw0rd")][number % 4 // 2]
            )
        return directory.work("user", ("ana", "bob")[number % 4 // 2])

    found = directory.world.all([alternating(number) for number in range(48)])
    assert [each for each in found if isinstance(each, Exception)] == []
    assert [each for each in found if "telephoneNumber" in each.attributes] == []
    assert {each.username for each in found} == {"ana", "bob"}


def test_two_directories_of_a_service_are_two_identities(
    world: Any, slapd: Any, run_slapd: Any
) -> None:
    other = run_slapd()
    mine = other.settings(bind_dn=f"uid=ana,{other.people}", bind_password="ana-passw0rd")
    table = {**slapd.settings(), "connections": {"partner": mine}}
    host = world.host({"services": {"service": {"plugins": {"ldap": table}}}})
    kind = AsyncDirectory if world.asynchronous else Directory
    with pytest.raises(ConfigError, match="unnamed .*, partner .*; give the name"):
        world.resource(host, kind)
    partner = world.resource(host, kind, "partner")
    assert world.run(partner.health) == other.target
    with pytest.raises(DirectoryError, match=r"insufficientAccessRights \(50\).*bind_dn may not"):
        world.run(lambda: partner.delete(f"uid=bob,{other.people}"))


# what is there


def test_a_search_of_5000_comes_in_pages(ask: Any, slapd: Any) -> None:
    found = ask().search("(objectClass=inetOrgPerson)", base=slapd.crowd_base, attributes=["uid"])
    assert sorted(each.attributes["uid"][0] for each in found) == [
        f"crowd-{number:04}" for number in range(5000)
    ]


def test_a_search_that_is_given_up_gives_its_connection_back(ask: Any, slapd: Any) -> None:
    directory = ask(pool_size=1, page_size=10)
    plain = directory.directory

    async def some() -> list[str]:
        found = plain.search("(uid=crowd-*)")
        names = []
        async for entry in found:
            names.append(entry.dn)
            if len(names) == 15:
                break
        await found.aclose()
        return names

    def few() -> list[str]:
        found = plain.search("(uid=crowd-*)")
        return [next(found).dn for _ in range(15)]

    assert len(set(directory.world.run(some) if directory.world.asynchronous else few())) == 15
    assert directory.user("ana").username == "ana"


def test_what_a_search_has_read_it_has_before_the_next_page(ask: Any, run_slapd: Any) -> None:
    slapd = run_slapd(crowd=20)
    directory = ask(slapd, page_size=5)
    plain = directory.directory

    async def three() -> int:
        found = plain.search("(uid=crowd-*)")
        names = [(await anext(found)).dn for _ in range(3)]
        slapd.down()
        names += [(await anext(found)).dn for _ in range(2)]
        with pytest.raises(DirectoryError):
            await anext(found)
        return len(names)

    def driven() -> int:
        found = plain.search("(uid=crowd-*)")
        names = [next(found).dn for _ in range(3)]
        slapd.down()
        names += [next(found).dn for _ in range(2)]
        with pytest.raises(DirectoryError):
            next(found)
        return len(names)

    assert directory.world.run(three if directory.world.asynchronous else driven) == 5


@pytest.mark.parametrize("username", ["ANA", " ana ", "ana\n"])
def test_a_user_has_one_name_however_it_is_spelled(ask: Any, username: str) -> None:
    """LDAP compares without regard to case and blanks around."""
    for attributes in (["*"], ["mail"]):
        directory = ask(attributes=attributes)
        assert directory.user(username).username == "ana"
        assert directory.authenticate(username, "ana-passw0rd").username == "ana"


@pytest.mark.parametrize("value", INJECTIONS)
def test_a_value_in_a_filter_is_a_value_and_nothing_else(ask: Any, value: str) -> None:
    directory = ask()
    with pytest.raises(UserNotFound):
        directory.user(value)
    with pytest.raises(InvalidCredentials):
        directory.authenticate(value, "ana-passw0rd")
    if value != "\udc80":  # which is no text, and told as that
        assert directory.search("(|(uid={one})(mail={one}))", {"one": value}) == []


@pytest.mark.parametrize("value", [each for each in DNS + INJECTIONS if named(each)])
def test_a_value_in_a_dn_is_a_value_and_nothing_else(ask: Any, writable: Any, value: str) -> None:
    directory = ask(writable)
    dn = f"ou={{ou}},{writable.base}"
    directory.add(dn, {"objectClass": "organizationalUnit"}, {"ou": value})
    try:
        (found,) = directory.search("(ou={ou})", {"ou": value})
        folded = re.sub(r" +", " ", value.strip() or value)
        assert [re.sub(r" +", " ", str(each).strip()) for each in found.attributes["ou"]] == [
            folded
        ]
        assert len(directory.search("(objectClass=*)", {"ou": value}, base=dn)) == 1
    finally:
        directory.delete(dn, {"ou": value})


def test_a_placeholder_without_a_value_is_told(ask: Any) -> None:
    with pytest.raises(DirectoryError, match="no value for 'mail' in the filter or DN: braces"):
        ask().search("(mail={mail})", {"male": "x"})
    assert ask().search("(description={mail})") == []


# what is changed


def test_an_entry_is_added_changed_and_deleted(ask: Any, writable: Any) -> None:
    directory = ask(writable)
    dn = f"uid=zoe,{writable.people}"
    directory.add(dn, {"objectClass": "inetOrgPerson", "cn": "Zoe", "sn": "Z", "mail": "z@x.test"})
    directory.modify(dn, {"cn": ["Zoe", "Zoë"], "mail": ()}, add={"title": "Dr"})
    directory.modify(dn, delete={"cn": "Zoe"})
    found = directory.user("zoe").attributes
    assert (found["cn"], found["title"], "mail" in found) == (("Zoë",), ("Dr",), False)
    directory.delete(dn)
    with pytest.raises(UserNotFound):
        directory.user("zoe")


def test_an_upsert_tells_of_each_entry(ask: Any, writable: Any) -> None:
    directory = ask(writable, page_size=2)
    people = [person(f"up-{number}", writable.people) for number in range(5)]
    wrong = Entry(f"uid=up-x,{writable.people}", {"objectClass": ("inetOrgPerson",)})
    first = directory.upsert([*people, wrong])
    assert [each.outcome for each in first] == ["added"] * 5 + ["failed"]
    assert [each.dn for each in first] == [each.dn for each in [*people, wrong]]
    assert first[5].error.code == 65
    again = directory.upsert([person("up-1", writable.people, mail=("a@x.test",)), people[2]])
    assert [each.outcome for each in again] == ["modified"] * 2
    assert directory.user("up-1").attributes["mail"] == ("a@x.test",)
    for each in people:
        directory.delete(each.dn)
    assert directory.upsert([]) == []


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        ("search", [""], "search: the filter is empty or malformed"),
        ("search", ["(uid=ana"], "search: the filter is empty or malformed"),
        ("search", ["uid=ana)("], "search: the filter is empty or malformed"),
        (
            "search",
            ["(mial=x)"],
            "no attribute 'mial', asked for by the filter; did you mean 'mail'",
        ),
        ("delete", ["nonsense"], "delete: the DN is malformed; check search_base, or the DN"),
        ("delete", ["uid=nobody,dc=flext,dc=test"], r"delete: noSuchObject \(32\).*; nothing has"),
        ("modify", ["uid=ana,ou=people,dc=flext,dc=test", {"mial": "x"}], r"\(17\).*mial"),
        (
            "modify",
            ["uid=ana,ou=people,dc=flext,dc=test", {"mail": 5}],
            "the values cannot be sent",
        ),
        ("add", ["uid=y,ou=people,dc=flext,dc=test", {}], "add: "),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_sentence(
    ask: Any, method: str, given: list[Any], said: str
) -> None:
    directory = ask()
    with pytest.raises(DirectoryError, match=f"^service: ldap: .*{said}") as caught:
        getattr(directory, method)(*given)
    assert "\n" not in str(caught.value)
    assert directory.user("ana").username == "ana"


def test_a_wrong_base_or_attribute_is_told(ask: Any) -> None:
    with pytest.raises(DirectoryError, match="nothing has that DN; check search_base"):
        ask(search_base="dc=elsewhere").user("ana")
    with pytest.raises(DirectoryError, match="no attribute 'memberOff', asked for by attributes"):
        ask(attributes=["memberOff"]).user("ana")
    with pytest.raises(DirectoryError, match="the DN is malformed"):
        ask().search("(uid=ana)", base="people")


def test_a_directory_of_a_closed_host_refuses(ask: Any) -> None:
    directory = ask()
    plain = directory.directory
    assert directory.world.run(lambda: plain.user("ana")).username == "ana"
    directory.world.close(directory.host)
    with pytest.raises(Refused, match="the host is closed"):
        directory.world.run(lambda: plain.user("ana"))


def test_several_event_loops_one_after_the_other_use_one_host(slapd: Any) -> None:
    host = Host({"services": {"service": {"plugins": {"ldap": slapd.settings()}}}})

    async def asked() -> str:
        return (await (await host.aresource("service", AsyncDirectory)).user("ana")).username

    assert [asyncio.run(asked()) for _ in range(3)] == ["ana"] * 3
    before = threading.active_count()
    host.close()
    assert threading.active_count() <= before
