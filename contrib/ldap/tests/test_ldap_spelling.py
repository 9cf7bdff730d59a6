"""A directory's names have no case: whoever spells one otherwise means the same, and is the same."""

from __future__ import annotations

import copy
import pickle
from typing import Any, NamedTuple

import pytest
from flext_plugins_ldap import Entry, User, UserNotFound

from flext_plugins import options
from flext_plugins.testing import LoopbackService, Record, World

ANA = "uid=ana,ou=people,dc=flext,dc=test"


class Spelled(NamedTuple):
    """A name that somebody gives, and the filter that finds its user."""

    user_filter: str
    given: str
    username: str = "ana"


SPELLED = {
    "as it is": Spelled("(uid={username})", "ana"),
    "in capitals": Spelled("(uid={username})", "ANA"),
    "among other conditions": Spelled("(&(objectClass=person)(uid={username}))", "ANA"),
    "by another name of the attribute": Spelled("(userid={username})", "Ana"),
    "of the attribute in capitals": Spelled("(UID={username})", "ANA"),
    "by number": Spelled("(0.9.2342.19200300.100.1.1={username})", "ANA"),
    "by a rule": Spelled("(uid:caseIgnoreMatch:={username})", "ANA"),
    "about as it sounds": Spelled("(uid~={username})", "ANA"),
    "by mail": Spelled("(mail={username})", "ANA@FLEXT.TEST", "ana@flext.test"),
    "with more around": Spelled("(mail={username}@FLEXT.test)", "ANA"),
    "by either, the first": Spelled("(|(uid={username})(mail={username}))", "ANA"),
    "by either, the second": Spelled("(|(uid={username})(mail={username}))", "ANA@FLEXT.TEST"),
    "by either with more around": Spelled("(|(uid={username})(mail={username}@flext.test))", "ANA"),
    "by mail first": Spelled("(|(mail={username})(uid={username}))", "ANA", "ana@flext.test"),
}


@pytest.mark.parametrize("attributes", [["*"], ["CN"], []], ids=["all", "one", "none"])
@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
def test_a_user_has_the_name_that_the_directory_spells_whatever_finds_him(
    ask: Any, spelled: Spelled, attributes: list[str]
) -> None:
    directory = ask(user_filter=spelled.user_filter, attributes=attributes)
    user = directory.user(spelled.given)
    assert (user.username, user.dn) == (spelled.username, ANA)
    assert directory.authenticate(spelled.given, "ana-passw0rd") == user
    assert sorted(directory.groups(spelled.given)) == ["admins", "engineers"]


@pytest.mark.parametrize("given", ["ana", "ANA", "Ana@Flext.Test"])
def test_groups_are_found_by_the_name_that_the_directory_spells(
    ask: Any, writable: Any, given: str
) -> None:
    """A group that lists names rather than DNs compares them letter by letter."""
    either = "(|(uid={username})(mail={username}))"
    rule = "(&(objectClass=groupOfNames)(description:caseExactMatch:={username}))"
    directory = ask(writable, user_filter=either, group_filter=rule, group_base=writable.groups)
    group = f"cn=engineers,{writable.groups}"
    directory.modify(group, add={"description": "ana"})
    try:
        assert directory.groups(given) == ["engineers"]
    finally:
        directory.modify(group, delete={"description": "ana"})


def test_of_several_names_it_is_the_one_in_the_dn_if_another_attribute_has_led_there(
    ask: Any, scripted: Any
) -> None:
    values = {"uid": ["b", "ana"], "mail": ["a@x"]}
    server = scripted(lambda search: (0, [("uid=ANA,dc=x", values)] if search["base"] else []))
    directory = ask(server, user_filter="(|(uid={username})(mail={username}))")
    assert directory.user("A@x").username == "ana"
    assert directory.user("B").username == "b"


@pytest.mark.once
async def test_one_person_is_one_in_the_cache_however_calls_name_her(
    flext_world: World, flext_service: LoopbackService, slapd: Any, flext_record: Record
) -> None:
    either = "(|(uid={username})(mail={username}))"
    by_member = {"group_filter": "(member={dn})", "group_base": slapd.groups}
    ldap = slapd.settings(ttl=3600, user_filter=either, **by_member)
    plugins = {"ldap": ldap, "witness": {}}
    service = {"base_url": flext_service.url, "plugins": plugins}
    host = flext_world.host({"services": {"service": service}}, witness=flext_record.of())
    client = await flext_world.client(host)

    async def searches(user: str) -> int:
        before = len(flext_record.hooks("flext_operation"))
        with options(user=user):
            await client.get("/")
        return len(flext_record.hooks("flext_operation")) - before

    names = ("ana", "ANA", "ana@flext.test", "ANA@FLEXT.TEST")
    costs = [await searches(each) for each in (*names, *names)]
    assert costs == [3, 1, 1, 1, 0, 0, 0, 0]
    assert {each.headers["x-user"] for each in flext_service.received} == {"ana"}
    assert {each.headers["x-groups"] for each in flext_service.received} == {"admins,engineers"}


ATTRIBUTES = {
    "mail": "mail",
    "MAIL": "mail",
    "cn;lang-de": "CN;Lang-DE",
    "CN;LANG-DE;x-own": "cn;x-own;lang-de",
    "userCertificate;BINARY": "usercertificate;binary",
}


@pytest.mark.parametrize("kind", [lambda a: Entry("dn", a), lambda a: User("u", "dn", a)])
@pytest.mark.parametrize(("spelled", "asked"), ATTRIBUTES.items())
def test_an_attribute_is_found_however_it_is_spelled(kind: Any, spelled: str, asked: str) -> None:
    found = kind({"cn": ("other",), spelled: ("value",), "sn": ("other",)})
    for each in (found, pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert each[asked] == each.attributes[asked] == each.attributes.get(asked) == ("value",)
        assert asked in each.attributes
        assert spelled in [*each.attributes]
    assert "mail;lang-de" not in found.attributes
    assert found.attributes.get("title", ()) == ()
    with pytest.raises(KeyError, match="title"):
        found["title"]


def test_an_attribute_that_is_spelled_twice_is_one() -> None:
    twice: Any = {"Mail": "a", "mail": ["b"], "MAIL;x-a": ("c",)}
    assert Entry("dn", twice).attributes == {"Mail": ("a", "b"), "MAIL;x-a": ("c",)}


@pytest.mark.once
@pytest.mark.parametrize(
    ("attribute", "sent"),
    [("OU", "unit"), ("ou;LANG-de", "Abteilung"), ("organizationalUnitName;lang-de", "Abteilung")],
)
def test_settings_name_attributes_as_they_like(
    flext_world: World,
    flext_service: LoopbackService,
    ask: Any,
    writable: Any,
    attribute: str,
    sent: str,
) -> None:
    ldap = writable.settings(ttl=0, department_attribute=attribute, attributes=["MEMBEROF", "Mail"])
    service = {"base_url": flext_service.url, "plugins": {"ldap": ldap}}
    host = flext_world.host({"services": {"service": service}})
    writer = ask(writable)
    writer.modify(ANA, add={"ou": "unit", "ou;lang-de": "Abteilung"})
    try:
        with options(user="ana"):
            flext_world.get(host)
        user = ask(writable, attributes=["MEMBEROF", "Mail"]).user("ana")
    finally:
        writer.modify(ANA, replace={"ou": (), "ou;lang-de": ()})
    assert flext_service.received[0].headers["x-department"] == sent
    assert flext_service.received[0].headers["x-groups"] == "admins,engineers"
    assert (len(user["memberOf"]), user["mail"]) == (2, ("ana@flext.test",))


def test_a_server_may_spell_attributes_as_it_likes(ask: Any, scripted: Any) -> None:
    values = {"UID": ["Ana"], "MEMBEROF": ["cn=g,dc=x"], "Mail": ["a@x"]}
    directory = ask(scripted(lambda s: (0, [("uid=Ana,dc=x", values)] if s["base"] else [])))
    assert directory.groups("aNA") == ["g"]
    user = directory.user("aNA", ["mail"])
    assert (user.username, user["MAIL"]) == ("Ana", ("a@x",))


def test_a_name_in_another_language_is_nobodys_whatever_the_filter_compares(
    ask: Any, writable: Any
) -> None:
    writer = ask(writable)
    writer.modify(ANA, add={"uid;lang-de": "ghost"})
    try:
        assert ask(writable, user_filter="(uid;lang-de={username})").user("GHOST").dn == ANA
        for each in ("(uid={username})", "(uid:caseIgnoreMatch:={username})"):
            with pytest.raises(UserNotFound):
                ask(writable, user_filter=each).user("ghost")
    finally:
        writer.modify(ANA, delete={"uid;lang-de": "ghost"})
