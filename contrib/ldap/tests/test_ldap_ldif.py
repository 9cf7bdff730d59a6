"""LDIF as slapd's own tools write and read it, and as nobody should write it."""

import os
import shutil
import stat
import subprocess
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_ldap import AsyncDirectory, DirectoryError, Entry, ldif
from flext_plugins_ldap.ldif import Change, Delete, LdifError, Modify
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.once

EVERYTHING = b"""\
version: 1
# a comment
# that is\x20
  folded

dn: cn=Ana Silva,dc=flext,dc=test
objectClass: top
objectClass: person
cn:Ana Silva
cn;lang-pt:: QW5h
CN: Ana
description:   blanks before, not after \x20
sn: Sil
 va
 \x20
jpegPhoto:: /9j/4AAQSkZJRgABAQ
 AAAQABAAD/

dn:: Y249w6QsZGM9eA==
changetype: add
sn: \xc3\xa4
title:


dn: cn=Ana Silva,dc=flext,dc=test
changetype: modify
add: mail
mail: ana@flext.test
mail:: YcOkQGZsZXh0LnRlc3Q=
-
Delete: description
-
delete: title
title: none
-
replace: telephoneNumber
-
# in between
replace: SN
sn: Silva
-
increment: uidNumber
uidNumber: 1
-

dn: cn=gone,dc=flext,dc=test
changetype: delete
"""
RECORDS: list[ldif.Record] = [
    Entry(
        "cn=Ana Silva,dc=flext,dc=test",
        {
            "objectClass": ("top", "person"),
            "cn": ("Ana Silva", "Ana"),
            "cn;lang-pt": ("Ana",),
            "description": ("blanks before, not after  ",),
            "sn": ("Silva ",),
            "jpegPhoto": (bytes.fromhex("ffd8ffe000104a46494600010100000100010000ff"),),
        },
    ),
    Entry("cn=ä,dc=x", {"sn": ("ä",), "title": ("",)}),
    Modify(
        "cn=Ana Silva,dc=flext,dc=test",
        (
            Change("add", "mail", ("ana@flext.test", "aä@flext.test")),
            Change("delete", "description"),
            Change("delete", "title", ("none",)),
            Change("replace", "telephoneNumber"),
            Change("replace", "SN", ("Silva",)),
            Change("increment", "uidNumber", ("1",)),
        ),
    ),
    Delete("cn=gone,dc=flext,dc=test"),
]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [b"", b"\n", b"\n\n# the end"])
def test_all_that_the_format_has_is_read(tmp_path: Path, ending: bytes, last: bytes) -> None:
    file = tmp_path / "everything.ldif"
    file.write_bytes((EVERYTHING.rstrip(b"\n") + last).replace(b"\n", ending))
    assert list(ldif.read(file)) == RECORDS


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "again.ldif"
    ldif.write(file, RECORDS)
    assert list(ldif.read(file)) == RECORDS
    assert max(map(len, file.read_bytes().splitlines())) <= 78


def test_a_file_without_records_has_none(tmp_path: Path) -> None:
    file = tmp_path / "none.ldif"
    for content in (b"", b"\n\n", b"version: 1\n", b"# nothing\n"):
        file.write_bytes(content)
        assert list(ldif.read(file)) == []
    ldif.write(file, [])
    assert list(ldif.read(file)) == []


names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,9}(;[a-z-]{1,5})?", fullmatch=True)
values = st.binary(max_size=200) | st.text(st.characters(codec="utf-8"), max_size=100)
attributes = st.lists(
    st.tuples(
        names.filter(lambda name: name.lower() not in {"dn", "control", "changetype", "version"}),
        st.lists(values, min_size=1, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda pair: pair[0].lower(),
).map(dict)
people = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=60).map("cn={}".format)


def as_read(record: Entry) -> Entry:
    """With text where it is UTF-8."""
    return Entry(
        record.dn,
        {name: tuple(text(each) for each in all_) for name, all_ in record.attributes.items()},
    )


def text(value: str | bytes) -> str | bytes:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


@settings(deadline=None)
@given(records=st.lists(st.builds(Entry, people, attributes), max_size=3))
def test_whatever_the_values_are_they_come_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[Entry]
) -> None:
    file = tmp_path_factory.getbasetemp() / "whatever.ldif"
    ldif.write(file, records)
    assert list(ldif.read(file)) == [as_read(each) for each in records]
    assert file.read_bytes().isascii()


@pytest.mark.parametrize("raw", ["\x1b]0;x\x07", "a\x7f", "a\tb", "\u202e", "\x9b31m"])
def test_no_value_steers_a_terminal(raw: str) -> None:
    """What `flext-plugins ldap search` prints."""
    for record in (
        Entry("cn=a", {"cn": ("a", raw)}),
        Entry(f"cn={raw}", {"cn": ("a",)}),
        Modify("cn=a", (Change("add", "cn", (raw,)),)),
        Delete(f"cn={raw}"),
    ):
        assert ldif.encode(record).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (b"cn: canary\n", 1, "expected `dn: NAME`, with which each record begins"),
        (b"version: 2\ndn: cn=canary\n", 1, "expected version 1"),
        (b"dn: cn=a\nsn: canary\n\nversion: 1\n", 4, "expected `dn: NAME`"),
        (b"\n\n#\n#\n canary\ndn: canary\nsn: b\n", 6, "expected a distinguished name"),
        (b"dn: cn=canary,\nsn: b\n", 1, "expected a distinguished name"),
        (b"dn:: /9j/4A==\nsn: b\n", 1, "expected a distinguished name"),
        (b"dn: cn=canary\n", 1, "the entry has no attributes"),
        (b"dn: cn=canary\nchangetype: add\n", 1, "the entry has no attributes"),
        (b"dn: cn=a\nfolded: can\n ary\ncanary\n", 4, "expected `ATTRIBUTE: VALUE`"),
        (b"dn: cn=a\ncan ary: b\n", 2, "expected `ATTRIBUTE: VALUE`"),
        (b"dn: cn=a\n\tcanary: b\n", 2, "expected `ATTRIBUTE: VALUE`"),
        (b"\xef\xbb\xbfdn: cn=a\nsn: canary\n", 1, "expected `ATTRIBUTE: VALUE`"),
        (b"dn: cn=a\nsn: a\ndn: cn=canary\nsn: b\n", 3, "an empty line ends a record"),
        (b"dn: cn=a\nsn: canary\n-\n", 3, "expected an attribute"),
        (b"dn: cn=a\nsn:: canary\n", 2, "the base64 of sn is broken"),
        (b"dn: cn=a\nsn:: Y2Fu YXJ5\n", 2, "the base64 of sn is broken"),
        (b"dn: cn=a\nsn: canary \xe4\n", 2, "sn is not UTF-8"),
        (b"dn: cn=a\nsn: b\n\n canary\n", 4, "begins with a blank"),
        (b" canary\n", 1, "begins with a blank"),
        (b"dn: cn=a\ncontrol: 1.2.3 true\nchangetype: delete\n", 2, "controls are not supported"),
        (b"dn: cn=a\nchangetype: canary\n", 2, "expected changetype add, modify or delete"),
        (
            b"dn: cn=a\nchangetype: modrdn\nnewrdn: cn=canary\ndeleteoldrdn: 1\n",
            2,
            "changetype add",
        ),
        (b"dn: cn=a\nchangetype: delete\nsn: canary\n", 3, "expected nothing more"),
        (b"dn: cn=a\nchangetype: modify\n", 1, "nothing is modified"),
        (b"dn: cn=a\nchangetype: modify\nsn: canary\n-\n", 3, "expected one of `add:`, `delete:`"),
        (b"dn: cn=a\nchangetype: modify\nadd: can ary\n-\n", 3, "with an attribute's name"),
        (b"dn: cn=a\nchangetype: modify\nadd: sn\n-\n", 3, "expected a value of sn to add"),
        (
            b"dn: cn=a\nchangetype: modify\nincrement: n\nn: 1\nn: 2\n-\n",
            3,
            "expected one value of n",
        ),
        (
            b"dn: cn=a\nchangetype: modify\nadd: sn\ncn: canary\n-\n",
            4,
            "expected a value of sn, or `-`",
        ),
        (b"dn: cn=a\nchangetype: modify\nadd: sn\nsn: canary\n", 3, "expected a line `-`"),
    ],
)
def test_a_malformed_file_is_one_error_with_its_line_and_without_its_values(
    tmp_path: Path, content: bytes, line: int, problem: str
) -> None:
    file = tmp_path / "malformed.ldif"
    file.write_bytes(b"dn: cn=before\nsn: is given\n\n" + content)
    expected = line + 3
    if content.startswith((b"version", b"\xef", b" ")):  # what matters at the beginning
        file.write_bytes(content)
        expected = line
    with pytest.raises(LdifError) as caught:
        list(ldif.read(file))
    assert str(caught.value).startswith(f"{file}:{expected}: ")
    assert problem in str(caught.value)
    assert (caught.value.file, caught.value.line) == (str(file), expected)
    assert "canary" not in str(caught.value).removeprefix(str(file))


def test_the_records_before_a_malformed_one_are_given(tmp_path: Path) -> None:
    file = tmp_path / "half.ldif"
    file.write_bytes(b"dn: cn=a\nsn: b\n\nhalf")
    records = ldif.read(file)
    assert next(records) == Entry("cn=a", {"sn": ("b",)})
    with pytest.raises(LdifError, match=r"half\.ldif:4: "):
        next(records)


def test_a_url_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    file = tmp_path / "url.ldif"
    file.write_text(f"dn: cn=a\ndescription:< file://{tmp_path}/secret\n")
    with pytest.raises(LdifError, match=r"url\.ldif:2: description would be read from a URL"):
        list(ldif.read(file))


def test_no_entry_is_written_as_a_line_of_another_kind(tmp_path: Path) -> None:
    file = tmp_path / "out.ldif"
    for name in ("sn\nchangetype: delete\nx", "sn:", "", "-", "sn;", "a b", "é"):
        with pytest.raises(ValueError, match="is no name of an attribute"):
            ldif.write(file, [Entry("cn=a", {name: ("b",)})])
        with pytest.raises(ValueError, match="is no name of an attribute"):
            ldif.write(file, [Modify("cn=a", (Change("add", name, ("b",)),))])
    hostile = Entry("cn=a\nchangetype: delete", {"sn": ("b\n\ndn: cn=c\nchangetype: delete",)})
    ldif.write(file, [hostile])
    assert list(ldif.read(file)) == [hostile]


def test_where_entries_are_expected_a_change_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mixed.ldif"
    file.write_bytes(EVERYTHING)
    line = EVERYTHING[: EVERYTHING.index(b"\ndn: cn=Ana Silva", 200)].count(b"\n") + 2
    found = ldif.entries(file)
    assert [next(found), next(found)] == RECORDS[:2]
    with pytest.raises(LdifError, match=rf"mixed\.ldif:{line}: expected entries alone"):
        next(found)


def test_an_error_on_the_way_leaves_the_older_file(tmp_path: Path) -> None:
    file = tmp_path / "people.ldif"

    def broken() -> Any:
        yield Entry("cn=b", {"sn": ("b",)})
        raise ConnectionError("the directory went away")

    with pytest.raises(ConnectionError):
        ldif.write(file, broken())
    assert list(tmp_path.iterdir()) == []
    ldif.write(file, [Entry("cn=a", {"sn": ("a",)})])
    with pytest.raises(ConnectionError):
        ldif.write(file, broken())
    assert list(tmp_path.iterdir()) == [file]
    assert list(ldif.read(file)) == [Entry("cn=a", {"sn": ("a",)})]


def test_only_its_owner_may_read_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "people.ldif"
    ldif.write(file, [])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_is_not_there_is_an_ordinary_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(ldif.read(tmp_path / "none.ldif"))
    with pytest.raises(FileNotFoundError):
        ldif.write(tmp_path / "none" / "out.ldif", [])


def test_a_record_is_given_before_the_next_one_is_there(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    first = threading.Event()

    def feed() -> None:
        with pipe.open("wb", buffering=0) as file:
            file.write(b"dn: cn=a\nsn: b\n\ndn: cn=c\n")
            assert first.wait(10)
            file.write(b"changetype: delete\n")

    feeding = threading.Thread(target=feed)
    feeding.start()
    records = ldif.read(pipe)
    assert next(records) == Entry("cn=a", {"sn": ("b",)})
    first.set()
    assert list(records) == [Delete("cn=c")]
    feeding.join(10)


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "large.ldif"
    one = 2_000

    def large() -> Any:
        for number in range(5_000):
            yield Entry(f"cn={number}", {"jpegPhoto": (b"\xff" * one,)})

    tracemalloc.start()
    try:
        ldif.write(file, large())
        assert sum(1 for _ in ldif.read(file)) == 5_000
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.stat().st_size > 5_000 * one
    assert most < 200 * one


def test_a_value_of_many_lines_takes_time_in_proportion(tmp_path: Path) -> None:
    file = tmp_path / "long.ldif"
    photo = b"\xff" * 8_000_000  # 140,000 lines: joined one by one they would take minutes
    ldif.write(file, [Entry("cn=a", {"jpegPhoto": (photo,), "member": ("cn=b",) * 50_000})])
    (found,) = ldif.read(file)
    assert isinstance(found, Entry)
    assert found.attributes["jpegPhoto"] == (photo,)
    assert len(found.attributes["member"]) == 50_000


# With slapd and its tools

Run = Callable[..., Any]

HOSTILE: tuple[str | bytes, ...] = (
    " begins with a blank",
    "ends with one ",
    ": begins with a colon",
    "< begins with a bracket",
    "# is no comment",
    "two\nlines",
    "a carriage\r return",
    "tab\tand \x7f",
    "Jürgen, 日本 🎉",
    "long " * 100,
)


def tool(slapd: Any, name: str, *arguments: str) -> None:
    """One of slapd's own, while it is stopped."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert path is not None
    done = subprocess.run(
        [path, "-f", "slapd.conf", *arguments], cwd=slapd.folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def crowd_of(base: str, count: int) -> Iterator[Entry]:
    for number in range(count):
        uid = f"made-{number:04}"
        yield Entry(
            f"uid={uid},{base}",
            {
                "objectClass": ("inetOrgPerson",),
                "uid": (uid,),
                "cn": (uid, HOSTILE[number % len(HOSTILE)]),
                "sn": ("Crowd",),
                "description": (*HOSTILE[: number % len(HOSTILE)], f"number {number}"),
                "jpegPhoto": (bytes([255, number % 256, number // 256]) * 50,),
                "cn;lang-pt": (f"Pessoa nº {number}",),
            },
        )


def plain(entries: Iterable[Entry]) -> dict[str, dict[str, set[str | bytes]]]:
    """What people have put there, by name; neither attributes nor values have an order."""
    return {
        each.dn: {name: set(values) for name, values in each.attributes.items() if name in OURS}
        for each in entries
    }


OURS = {"objectClass", "uid", "cn", "sn", "description", "jpegPhoto", "cn;lang-pt"}
UIDS = "(uid=made-*)"


def test_slapd_reads_what_is_written_and_its_own_files_are_read(run_slapd: Run) -> None:
    slapd = run_slapd()
    slapd.down()
    made, dumped = slapd.folder / "made.ldif", slapd.folder / "dumped.ldif"
    ldif.write(made, crowd_of(slapd.crowd_base, 5_000))
    tool(slapd, "slapadd", "-l", str(made))
    tool(slapd, "slapcat", "-l", str(dumped), "-a", UIDS)
    assert b"\n " in dumped.read_bytes()  # it folds
    assert b"jpegPhoto:: " in dumped.read_bytes()
    expected = plain(crowd_of(slapd.crowd_base, 5_000))
    assert plain(ldif.entries(dumped)) == expected
    assert plain(ldif.entries(made)) == expected


CHANGES = (
    Change("add", "description", ("added", *HOSTILE[7:])),
    Change("delete", "description", ("number 7",)),
    Change("replace", "sn", ("Ä" * 100,)),
    Change("delete", "cn;lang-pt"),
    Change("replace", "jpegPhoto"),
)


def changes_of(base: str) -> list[ldif.Record]:
    return [Modify(f"uid=made-0007,{base}", CHANGES), Delete(f"uid=made-0008,{base}")]


def changed(base: str) -> dict[str, dict[str, set[str | bytes]]]:
    expected = plain(crowd_of(base, 10))
    del expected[f"uid=made-0008,{base}"]
    seventh = expected[f"uid=made-0007,{base}"]
    seventh["description"] = {*HOSTILE, "added"}
    seventh["sn"] = {"Ä" * 100}
    del seventh["cn;lang-pt"], seventh["jpegPhoto"]
    return expected


def test_slapd_makes_the_changes_that_are_written(run_slapd: Run) -> None:
    slapd = run_slapd()
    slapd.down()
    made, changes, dumped = (slapd.folder / f"{each}.ldif" for each in ("made", "changes", "all"))
    ldif.write(made, crowd_of(slapd.crowd_base, 10))
    tool(slapd, "slapadd", "-l", str(made))
    ldif.write(changes, changes_of(slapd.crowd_base))
    tool(slapd, "slapmodify", "-l", str(changes))
    tool(slapd, "slapcat", "-l", str(dumped), "-a", UIDS)
    assert plain(ldif.entries(dumped)) == changed(slapd.crowd_base)


# With a directory


def test_a_directory_goes_out_and_in_again_and_is_the_same(
    ask: Any, run_slapd: Run, tmp_path: Path
) -> None:
    one, other = run_slapd(), run_slapd()
    one.down()
    ldif.write(tmp_path / "made.ldif", crowd_of(one.crowd_base, 1_500))
    tool(one, "slapadd", "-l", str(tmp_path / "made.ldif"))
    one.up()
    source, target = ask(one), ask(other)

    ldif.write(tmp_path / "out.ldif", source.search(UIDS))
    reports = target.upsert(ldif.entries(tmp_path / "out.ldif"))
    assert [each.outcome for each in reports] == ["added"] * 1_500
    ldif.write(tmp_path / "again.ldif", target.search(UIDS))
    assert plain(ldif.entries(tmp_path / "again.ldif")) == plain(crowd_of(one.crowd_base, 1_500))

    some = islice(ldif.entries(tmp_path / "again.ldif"), 50)
    assert [each.outcome for each in target.upsert(some)] == ["modified"] * 50
    assert plain(target.search(UIDS)) == plain(crowd_of(one.crowd_base, 1_500))


async def written(directory: AsyncDirectory, file: Path) -> None:
    with ldif.writing(file) as put:
        async for entry in directory.search("(objectClass=*)"):
            put(entry)


def test_an_export_is_written_as_its_pages_come(ask: Any, slapd: Any, tmp_path: Path) -> None:
    asked, file = ask(), tmp_path / "all.ldif"
    if asked.world.asynchronous:
        directory = asked.directory
        asked.world.run(lambda: written(directory, file))
    else:
        ldif.write(file, asked.directory.search("(objectClass=*)"))
    found = {each.dn: each.attributes for each in ldif.entries(file)}
    assert len(found) > 5_000
    assert found[f"uid=ana,{slapd.people}"]["cn"] == ("Ana Silva",)
    assert not [name for each in found.values() for name in each if name == "userPassword"]


def test_a_directory_makes_the_changes_that_are_read(
    ask: Any, run_slapd: Run, tmp_path: Path
) -> None:
    slapd = run_slapd()
    directory, base = ask(slapd), slapd.crowd_base
    changes = tmp_path / "changes.ldif"
    ldif.write(changes, [*crowd_of(base, 10), *changes_of(base)])
    for record in ldif.read(changes):
        directory.apply(record)
    assert plain(directory.search(UIDS)) == changed(base)


def test_the_changes_of_a_record_happen_in_their_order_or_not_at_all(
    ask: Any, run_slapd: Run, tmp_path: Path
) -> None:
    slapd = run_slapd()
    directory, dn = ask(slapd), f"uid=ana,{slapd.people}"
    file = tmp_path / "changes.ldif"

    def apply(*lines: str) -> tuple[Any, ...]:
        file.write_text("\n".join([f"dn: {dn}", "changetype: modify", *lines, "-", ""]))
        (record,) = ldif.read(file)
        try:
            directory.apply(record)
        finally:
            (found,) = directory.search("(uid=ana)")
        return found.attributes.get("title"), found.attributes["sn"]

    assert apply("add: title", "title: a", "-", "replace: title", "title: b") == (
        ("b",),
        ("Silva",),
    )
    assert apply("replace: title", "title: b", "-", "add: title", "title: c")[0] == ("b", "c")
    assert apply("delete: title", "-", "add: title", "title: d")[0] == ("d",)
    with pytest.raises(DirectoryError, match="modify: "):
        apply("replace: sn", "sn: Changed", "-", "delete: title", "title: is not there")
    assert apply("replace: title") == (None, ("Silva",))
    with pytest.raises(DirectoryError, match="modify: "):
        apply("delete: title")


def test_a_number_is_incremented(ask: Any, run_slapd: Run, tmp_path: Path) -> None:
    slapd = run_slapd(options="include /etc/ldap/schema/nis.schema")
    directory, file = ask(slapd), tmp_path / "changes.ldif"
    dn = f"uid=number,{slapd.crowd_base}"
    file.write_text(
        f"dn: {dn}\nchangetype: add\nobjectClass: account\nobjectClass: posixAccount\n"
        "uid: number\ncn: number\nuidNumber: 41\ngidNumber: 1\nhomeDirectory: /\n\n"
        f"dn: {dn}\nchangetype: modify\nincrement: uidNumber\nuidNumber: 1\n-\n"
    )
    for record in ldif.read(file):
        directory.apply(record)
    (found,) = directory.search("(uid=number)")
    assert found.attributes["uidNumber"] == ("42",)
