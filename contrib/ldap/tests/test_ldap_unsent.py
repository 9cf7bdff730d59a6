"""What never left is the caller's mistake: told at the call, and nothing against the directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from flext_plugins_circuit_breaker import CircuitBreaker
from flext_plugins_ldap import (
    DirectoryError,
    DirectoryUnavailable,
    Entry,
    InvalidCredentials,
    UserNotFound,
)

from flext_plugins import ConfigError
from flext_plugins.events import Retried
from flext_plugins.testing import Record

ANA = "uid=ana,ou=people,dc=flext,dc=test"
NEW = "uid=new-one,ou=people,dc=flext,dc=test"
FILTER, TEXT, UNICODE = (
    "the filter is empty or malformed; expected",
    "has to be text, not",
    "Unicode",
)
HALF = "\udc80"


class Mistake(NamedTuple):
    """A call that cannot be sent."""

    method: str
    given: list[Any]
    said: str
    options: dict[str, Any] = {}
    error: type[Exception] = DirectoryError


def broken() -> Iterator[str]:
    """Yield a value, and break as a file does that cannot be read further."""
    yield "a@flext.test"
    raise OSError("the caller's own")


MISTAKES = {
    "two stars": Mistake("search", ["(uid=**)"], FILTER),
    "a blank before a star": Mistake("search", ["(objectClass= *)"], FILTER),
    "stars inside": Mistake("search", ["(&(objectClass=***)(uid=ana))"], FILTER),
    "stars in a negation": Mistake("search", ["(!(uid=**))"], FILTER),
    "no end": Mistake("search", ["(uid=ana"], FILTER),
    "nothing to join": Mistake("search", ["(&)"], FILTER),
    "too deep": Mistake("search", [f"{'(&' * 3000}(uid=ana){')' * 3000}"], FILTER),
    "no Unicode in a filter": Mistake("search", [f"(uid={HALF})"], UNICODE),
    "no Unicode in a value": Mistake("search", ["(uid={uid})", {"uid": HALF}], UNICODE),
    "no Unicode in a base": Mistake("search", ["(uid=ana)"], UNICODE, {"base": f"uid={HALF}"}),
    "a filter of bytes": Mistake("search", [b"(uid=ana)"], TEXT),
    "no filter": Mistake("search", [None], TEXT),
    "a number in a filter": Mistake(
        "search", ["(uid={uid})", {"uid": 5}], "the value of 'uid' has"
    ),
    "a base of bytes": Mistake("search", ["(uid=ana)"], TEXT, {"base": b"dc=flext"}),
    "an attribute of bytes": Mistake("search", ["(uid=ana)"], TEXT, {"attributes": [b"mail"]}),
    "no attributes": Mistake("search", ["(uid=ana)"], "attributes are names", {"attributes": None}),
    "no Unicode in a name": Mistake("search", ["(uid=ana)"], UNICODE, {"attributes": [HALF]}),
    "no user": Mistake("user", [None], TEXT),
    "a user of bytes": Mistake("groups", [b"ana"], TEXT),
    "a user that is no Unicode": Mistake("user", [HALF], "no such user", error=UserNotFound),
    "a password of bytes": Mistake("authenticate", ["ana", b"canary"], TEXT),
    "a number as password": Mistake("authenticate", ["ana", 5], TEXT),
    "a password that is no Unicode": Mistake(
        "authenticate", ["ana", HALF], "failed", error=InvalidCredentials
    ),
    "a password with a NUL": Mistake(
        "authenticate", ["ana", "ana-passw0rd\0"], "failed", error=InvalidCredentials
    ),
    "a DN of bytes": Mistake("delete", [b"uid=ana"], TEXT),
    "a DN that is no Unicode": Mistake("delete", [f"uid={HALF}"], UNICODE),
    "nothing to change": Mistake("modify", [ANA], "there is nothing to change"),
    "changes that are a list": Mistake("modify", [ANA, [("mail", "a")]], "a mapping of names"),
    "a value that is a number": Mistake("modify", [ANA, {"mail": 5}], "cannot be sent"),
    "a value that is nothing": Mistake("modify", [ANA, {"mail": [None]}], "cannot be sent"),
    "a value that is no Unicode": Mistake("modify", [ANA, {"mail": HALF}], UNICODE),
    "a name of bytes": Mistake("modify", [ANA, {b"mail": "a"}], TEXT),
    "attributes that are none": Mistake("add", [NEW, None], "a mapping of names"),
    "a new value that is a number": Mistake("add", [NEW, {"cn": 5}], "cannot be sent"),
    "no entry": Mistake("upsert", [[{"dn": NEW}]], "expected an Entry, not dict"),
    "no record": Mistake("apply", ["dn: x"], "expected a record of ldif.read, not str"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_sent_is_told_at_the_call_and_counts_for_nothing(
    ask: Any, flext_record: Record, mistake: Mistake
) -> None:
    plugins = {"circuit-breaker": {"failure_threshold": 1}, "retry": {}}
    directory = ask(plugins=plugins, register={"witness": flext_record.of()})
    target = directory.health()
    with pytest.raises(mistake.error, match=mistake.said) as caught:
        getattr(directory, mistake.method)(*mistake.given, **mistake.options)
    assert not isinstance(caught.value, DirectoryUnavailable)
    assert (caught.value.code, caught.value.service) == (None, "service")  # type: ignore[attr-defined]
    assert not {"canary", "\n"} & {*str(caught.value).split(" ")}
    circuit = directory.world.resource(directory.host, CircuitBreaker).circuit("ldap", target)
    assert circuit.counts.failures == 0
    assert flext_record.events(Retried) == []
    assert directory.user("ana").dn == ANA


@pytest.mark.parametrize(
    "work",
    [
        lambda directory: directory.modify(ANA, {"mail": broken()}),
        lambda directory: directory.add(NEW, {"cn": broken()}),
        lambda directory: directory.upsert([Entry(NEW, {"mail": broken()})]),  # type: ignore[dict-item]
        lambda directory: directory.upsert(Entry(each, {}) for each in broken()),
    ],
    ids=["replaced", "added", "in an entry", "of entries"],
)
def test_an_error_of_the_callers_own_iterator_is_his(
    ask: Any, work: Callable[[Any], object]
) -> None:
    directory = ask(plugins={"circuit-breaker": {"failure_threshold": 1}})
    with pytest.raises(OSError, match="^the caller's own"):
        work(directory)
    assert directory.user("ana").dn == ANA


def test_values_that_can_be_read_once_are_there_each_time_that_they_are_sent(
    ask: Any, writable: Any
) -> None:
    """An upsert adds, and modifies where that fails; a replace is done again."""
    directory, mails = ask(writable), ("a@flext.test", "b@flext.test")
    whole = {
        "objectClass": ("inetOrgPerson",),
        "uid": ("ana",),
        "cn": ("Ana Silva",),
        "sn": ("Silva",),
    }
    new = Entry(ANA, {**whole, "mail": (each for each in mails)})  # type: ignore[dict-item]
    (result,) = directory.upsert([new])
    assert result.outcome == "modified", result
    assert sorted(map(str, directory.user("ana")["mail"])) == [*mails]
    directory.modify(ANA, {"mail": (each for each in ["ana@flext.test"])})
    assert directory.user("ana")["mail"] == ("ana@flext.test",)


@pytest.mark.parametrize("setting", ["bind_dn", "bind_password"])
def test_an_account_that_cannot_be_sent_is_a_matter_of_configuration(
    ask: Any, setting: str
) -> None:
    value = f"cn=canary{HALF},dc=flext" if setting == "bind_dn" else f"canary{HALF}"
    directory = ask(plugins={"circuit-breaker": {"failure_threshold": 1}}, **{setting: value})
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"{setting}.* (cannot be sent|not text)") as caught:
            directory.user("ana")
        error: BaseException | None = caught.value
        while error is not None:
            assert "canary" not in f"{error!r} {vars(error)}"
            error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("user_filter", "(&(uid={username})(cn=**))"),
        ("user_filter", "(|(uid={username})(cn= *))"),
        ("group_filter", "(&(member={dn})(cn=***))"),
    ],
)
def test_a_filter_that_cannot_be_sent_is_told_where_it_is_configured(
    ask: Any, setting: str, value: str
) -> None:
    with pytest.raises(ConfigError, match=f"{setting}: expected a filter in brackets"):
        ask(**{setting: value}).health()


# what the server says of its schema is an aid, and no more


def of_schema(search: Any) -> list[tuple[str, dict[str, list[str]]]]:
    """A server that tells of `uid` alone, and has more."""
    known = ["( 0.9.2342.19200300.100.1.1 NAME ( 'uid' 'userid' ) )"]
    if search["base"] == "":
        return [("", {"subschemaSubentry": ["cn=schema"]})]
    if search["base"] == "cn=schema":
        return [("cn=schema", {"attributeTypes": known})]
    return [("uid=ana,dc=x", {"uid": ["ana"], "memberOf": ["cn=g,dc=x"], "team": ["a"]})]


def test_a_name_that_the_schema_lacks_is_good_if_entries_have_it(ask: Any, scripted: Any) -> None:
    directory = ask(scripted(lambda search: (0, of_schema(search))))
    assert directory.groups("ana") == ["g"]
    assert directory.user("ana", ["team", "@person", "!person"])["team"] == ("a",)
    assert len(directory.search("(team=a)")) == 1
    with pytest.raises(DirectoryError, match="no attribute 'teem', asked for by attributes"):
        directory.user("ana", ["teem"])


def test_a_name_by_which_nothing_was_found_is_told_until_something_was(
    ask: Any, scripted: Any
) -> None:
    found: list[bool] = []

    def answer(search: Any) -> tuple[int, list[Any]]:
        return 0, of_schema(search) if found or search["base"] in {"", "cn=schema"} else []

    directory = ask(scripted(answer))
    with pytest.raises(DirectoryError, match="no attribute 'team', asked for by the filter"):
        directory.search("(team=a)")
    found.append(True)
    assert len(directory.search("(team=a)")) == 1
    found.clear()
    assert directory.search("(team=b)") == []


@pytest.mark.parametrize("code", [1, 50, 51, 53, 80])
def test_a_schema_that_cannot_be_read_keeps_nobody_from_asking(
    ask: Any, scripted: Any, code: int
) -> None:
    def answer(search: Any) -> tuple[int, list[Any]]:
        refused = search["base"] in {"", "cn=schema"}
        return (code, []) if refused else (0, of_schema(search))

    assert ask(scripted(answer)).user("ana", ["team"])["TEAM"] == ("a",)
