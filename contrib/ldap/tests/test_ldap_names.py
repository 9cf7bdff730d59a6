"""An attribute is found by name: others than those who give out names and groups may write the rest."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from flext_plugins_ldap import Entry, InvalidCredentials, UserNotFound
from flext_plugins_ldap.entry import common_name, values_of

from flext_plugins import Refused, options
from flext_plugins.testing import LoopbackService, World

BOB = "uid=bob,{people}"
ADMINS = "cn=admins,{groups}"
GROUPS = ["Sales, North", "engineers"]
BY_UID, BY_MAIL = "(uid={username})", "(mail={username})"
BY_ALIAS, BY_NUMBER = "(userid={username})", "(0.9.2342.19200300.100.1.1={username})"
BY_EITHER = "(|(uid={username})(mail={username}))"
BY_ADDRESS = "(mail={username}@flext.test)"


class Member(NamedTuple):
    """What stands in an entry under a name that nobody asked for."""

    written: Mapping[str, str]
    user_filter: str = BY_UID
    username: str = "bob"


MEMBERS = {
    "a language": Member({"uid;lang-de": ADMINS}),
    "two languages": Member({"uid;lang-de;lang-en": ADMINS}),
    "capitals": Member({"UID;LANG-DE": ADMINS}),
    "another name of it": Member({"userid;lang-de": ADMINS}),
    "a value without options": Member({"uid": ADMINS}),
    "asked for by another name": Member({"uid": ADMINS}, BY_ALIAS),
    "asked for by number": Member({"uid": ADMINS}, BY_NUMBER),
    "asked for by another name, a language": Member({"uid;lang-de": ADMINS}, BY_ALIAS),
    "another attribute": Member({"mail;lang-de": ADMINS}, BY_MAIL, "bob@flext.test"),
    "one of two": Member({"mail;lang-de": ADMINS}, BY_EITHER),
    "another one of two": Member({"uid;lang-de": ADMINS}, BY_EITHER, "bob@flext.test"),
}


@contextmanager
def written(directory: Any, slapd: Any, dn: str, values: Mapping[str, str]) -> Iterator[None]:
    """Write these values into an entry, for a while."""
    places = {"people": slapd.people, "groups": slapd.groups}
    dn, values = dn.format(**places), {name: each.format(**places) for name, each in values.items()}
    directory.modify(dn, add=values)
    try:
        yield
    finally:
        directory.modify(dn, delete=values)


@pytest.mark.parametrize("member", MEMBERS.values(), ids=MEMBERS)
def test_no_group_is_read_out_of_another_attribute(ask: Any, writable: Any, member: Member) -> None:
    directory = ask(writable, user_filter=member.user_filter)
    with written(ask(writable), writable, BOB, member.written):
        assert sorted(directory.groups(member.username)) == GROUPS


def ber(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([tag, 0x84]) + len(body).to_bytes(4, "big") + body


def answering(attributes: Mapping[str, str]) -> Callable[[Any, socket.socket], None]:
    """A server without a schema that gives one entry to each search, whatever is searched for."""
    values = [
        ber(0x30, ber(4, name.encode()), ber(0x31, ber(4, value.encode())))
        for name, value in attributes.items()
    ]
    entry = ber(0x64, ber(4, b"uid=bob,dc=x"), ber(0x30, *values))
    done = ber(0x65, ber(10, b"\0"), ber(4), ber(4))

    def answer(_: Any, accepted: socket.socket) -> None:
        while data := accepted.recv(65536):
            begins = 2 + max(data[1] - 0x80, 0)
            number = data[begins : begins + 2 + data[begins + 1]]
            answers = [done] if b"subschemaSubentry" in data else [entry, done]
            accepted.sendall(b"".join(ber(0x30, number, each) for each in answers))

    return answer


@pytest.mark.parametrize(
    "name",
    ["memberOf;lang-de", "memberof;X-OWN", "memberOf;binary", "memberOfAll", "mail", "uid;lang-de"],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_groups_are_read_out_of_member_of_alone_whatever_a_server_sends(
    ask: Any, peer: Any, name: str, *, is_first: bool
) -> None:
    other, own = {name: "cn=admins,dc=x"}, {"MemberOf": "cn=engineers,dc=x", "uid": "bob"}
    server = peer(answering({**other, **own} if is_first else {**own, **other}))
    plain = {"url": server.url, "starttls": False, "allow_insecure": True, "ca_file": None}
    directory = ask(**plain, bind_dn=None, bind_password=None)
    assert directory.groups("bob") == ["engineers"]


@pytest.mark.parametrize("written_name", ["cn;lang-de", "cn;lang-de;lang-en", "cn", "commonName"])
def test_a_group_that_is_searched_for_has_the_name_in_its_dn(
    ask: Any, writable: Any, written_name: str
) -> None:
    directory = ask(writable, group_filter="(member={dn})", group_base=writable.groups)
    engineers = "cn=engineers,{groups}"
    with written(ask(writable), writable, engineers, {written_name: "admins"}):
        assert sorted(directory.groups("bob")) == GROUPS


ADDED = {
    "in the attribute": ("ou=unit", {"ou": ("unit",), "cn": ("late",)}),
    "beside a language": ("ou=unit", {"cn;lang-de": ("admins",), "ou": ("unit",), "cn": ("late",)}),
    "in the DN": ("cn=late", {"cn": ("admins", "late")}),
    "in the DN by another name": ("commonName=late", {"cn": ("admins", "late")}),
    "in the DN after another part": (
        "ou=unit+cn=late",
        {"ou": ("unit",), "cn": ("admins", "late")},
    ),
}


@pytest.mark.parametrize(("part", "attributes"), ADDED.values(), ids=ADDED)
def test_a_group_is_called_what_its_dn_says_or_else_its_attribute(
    ask: Any, writable: Any, part: str, attributes: dict[str, Any]
) -> None:
    directory = ask(writable, group_filter="(member={dn})", group_base=writable.groups)
    dn, member = f"{part},{writable.groups}", BOB.format(people=writable.people)
    directory.add(dn, {**attributes, "objectClass": "groupOfNames", "member": member})
    try:
        assert sorted(directory.groups("bob")) == [*GROUPS, "late"]
    finally:
        directory.delete(dn)


CLAIMS = {
    "a language": Member({"uid;lang-de": "ghost"}, username="ghost"),
    "spelled in another way": Member({"uid;lang-de": "ghost"}, username=" GHOST"),
    "by another name": Member({"uid;lang-de": "ghost"}, BY_ALIAS, "ghost"),
    "by number": Member({"uid;lang-de": "ghost"}, BY_NUMBER, "ghost"),
    "another attribute": Member({"mail;lang-de": "g@flext.test"}, BY_MAIL, "g@flext.test"),
    "one of two": Member({"uid;lang-de": "ghost"}, BY_EITHER, "ghost"),
    "with more around": Member({"mail;lang-de": "ghost@flext.test"}, BY_ADDRESS, "ghost"),
}


@pytest.mark.parametrize("wanted", [None, ("mail",), ("cn", "uid")], ids=["all", "mail", "uid"])
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_nobody_has_a_name_that_stands_in_another_attribute(
    ask: Any, writable: Any, claim: Member, wanted: tuple[str, ...] | None
) -> None:
    """To a server, a filter for `uid` also matches `uid;lang-de`."""
    more = {} if wanted is None else {"attributes": wanted}
    directory = ask(writable, user_filter=claim.user_filter, **more)
    with written(ask(writable), writable, BOB, claim.written):
        with pytest.raises(UserNotFound):
            directory.user(claim.username)
        with pytest.raises(UserNotFound):
            directory.groups(claim.username)
        with pytest.raises(InvalidCredentials):
            directory.authenticate(claim.username, "bob-passw0rd")


@pytest.mark.parametrize("user_filter", [BY_UID, BY_ALIAS, BY_NUMBER, BY_EITHER])
def test_nobody_loses_a_name_by_what_stands_in_others_attributes(
    ask: Any, writable: Any, user_filter: str
) -> None:
    """However many they are: the server would give two entries, and neither the right one."""
    directory, writer = ask(writable, user_filter=user_filter), ask(writable)
    claim = {"uid;lang-de": "new", "uid;lang-en": "old", "uid;lang-fr": "ana"}
    with (
        written(writer, writable, BOB, claim),
        written(writer, writable, "uid=eve,{people}", claim),
    ):
        for name in ("ana", "old", "new"):
            assert directory.user(name).dn == f"uid={name},{writable.people}"
        assert directory.authenticate("ana", "ana-passw0rd").username == "ana"
        assert sorted(directory.groups("ana")) == ["admins", "engineers"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("mail",), {"mail": ("bob@flext.test",)}),
        (("MAIL",), {"mail": ("bob@flext.test",)}),
        (("rfc822Mailbox",), {"rfc822Mailbox": ("bob@flext.test",)}),
        (
            ("surname", "userid"),
            {"surname": ("Jones",), "userid": ("bob",), "userid;lang-de": ("b",)},
        ),
        (("surname", "sn"), {"sn": ("Jones",)}),
        (("uid;lang-de",), {"uid;lang-de": ("b",)}),
        (("uid",), {"uid": ("bob",), "uid;lang-de": ("b",)}),
        (("1.1",), {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("user_filter", [BY_UID, BY_ALIAS])
def test_a_users_attributes_are_those_that_were_asked_for_by_the_names_they_were_asked_by(
    ask: Any, writable: Any, user_filter: str, wanted: tuple[str, ...], expected: dict[str, Any]
) -> None:
    directory = ask(writable, user_filter=user_filter)
    with written(ask(writable), writable, BOB, {"uid;lang-de": "b"}):
        user = directory.user("BOB", wanted)
    assert (user.username, user.attributes) == ("bob", expected)


@pytest.mark.once
@pytest.mark.parametrize(
    ("attribute", "written_by_him", "department"),
    [
        ("departmentNumber", {"departmentNumber;lang-de": "99"}, "42"),
        ("DEPARTMENTNUMBER", {"departmentNumber;lang-de;lang-en": "99"}, "42"),
        ("ou", {"ou;lang-de": "board"}, None),
        ("surname", {"sn;lang-de": "board"}, "Jones"),
        ("organizationalUnitName", {"ou": "unit", "ou;lang-de": "board"}, "unit"),
        ("uid", {"uid;lang-de": "board"}, "bob"),
    ],
)
def test_a_department_is_the_value_of_that_attribute_alone(
    flext_world: World,
    flext_service: LoopbackService,
    ask: Any,
    writable: Any,
    attribute: str,
    written_by_him: dict[str, str],
    department: str | None,
) -> None:
    ldap = writable.settings(ttl=0, department_attribute=attribute)
    service = {"base_url": flext_service.url, "plugins": {"ldap": ldap}}
    host = flext_world.host({"services": {"service": service}})
    with written(ask(writable), writable, BOB, written_by_him), options(user="bob"):
        flext_world.get(host)
    (sent,) = flext_service.received
    assert sent.headers["x-user"] == "bob"
    assert sent.headers.get("x-department") == department
    assert sent.headers["x-groups"] == "Sales%2C%20North,engineers"


@pytest.mark.once
def test_a_call_for_a_name_that_somebody_gave_himself_is_refused(
    flext_world: World, flext_service: LoopbackService, ask: Any, writable: Any
) -> None:
    service = {"base_url": flext_service.url, "plugins": {"ldap": writable.settings(ttl=0)}}
    host = flext_world.host({"services": {"service": service}})
    with (
        written(ask(writable), writable, BOB, {"uid;lang-de": "ghost"}),
        options(user="ghost"),
        pytest.raises(Refused, match="knows no such user"),
    ):
        flext_world.get(host)
    assert flext_service.received == []


@pytest.mark.parametrize(
    ("dn", "name"),
    [
        ("cn=a,ou=x", "a"),
        ("CN = a,ou=x", "a"),
        ("commonName=a,ou=x", "a"),
        ("2.5.4.3=a,ou=x", "a"),
        ("ou=x+cn=a,dc=x", "a"),
        (r"ou=x\,cn=b+ou=y+cn=a,dc=x", "a"),
        (r"ou=x\+cn=b,dc=x", None),
        ("ou=x,cn=a", None),
        ("ou=cn,cn=a", None),
        ("xcn=a,ou=x", None),
        ("", None),
    ],
)
def test_a_common_name_is_found_by_its_type_wherever_it_stands_in_the_first_part(
    dn: str, name: str | None
) -> None:
    assert common_name(dn) == name


def test_values_are_those_of_exactly_one_attribute() -> None:
    entry = Entry("cn=x", {"cn;lang-de": ("b",), "xcn": ("c",), "CN": ("a",), "cn;binary": ("d",)})
    assert values_of(entry.attributes, "cn") == ("a",)
    assert values_of(entry.attributes, "CN;lang-DE") == ("b",)
    assert values_of(entry.attributes, "sn") == ()
