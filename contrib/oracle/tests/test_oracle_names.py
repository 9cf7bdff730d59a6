"""Names and values that want to be SQL: refused, or taken to the letter."""

from collections.abc import Callable
from typing import Any

import pytest
from flext_plugins_oracle import DatabaseError, DatabaseSettings
from flext_plugins_oracle.names import NameRefused, identifier, table_name
from pydantic import ValidationError

from flext_plugins import ConfigError

Ask = Callable[..., Any]
Table = Callable[[str], str]
in_threads = pytest.mark.parametrize("world", ["httpx sync"], indirect=True)
"""For what a world makes no difference to."""

CORPUS = [
    *["", " ", "\t", "\n", "\0", "'", '"', "`", ";", "--", "/*", "*/", "/**/", "(", ")", ",", "."],
    *["=", "%", "\\", "|", "||", "@", "?", ":", ":x", ":1", ":c0", "&x", "&&x", "$x", "#x", "_x"],
    *["{", "{}", "{0}", "{x}", "%s", "%(x)s", "%%", "${x}", "$1", "1", "1x", "x y", "x-y", "x\ny"],
    *["x;", "x; drop table canary", "x' or '1'='1", "x'; delete from canary; --", "x')--"],
    *["canary; delete from canary", "canary where 1=1", "canary c", "canary,dual", "canary--"],
    *["canary/**/", "canary\0", "canary\n", " canary", "canary ", "(select 1 from dual)", "x(y)"],
    *['"', '""', '"x', 'x"', '"x""y"', '"x"y"', '"a\0b"', '"a\nb"', '"a"; delete from canary--'],
    *['canary"; delete from canary; --', "a.b.c", "a..b", ".a", "a.", "canary@link", "canary.*"],
    *["select", "SELECT", "Table", "from", "null", "level", "x" * 129, "x" * 100_000, "é", "ñame"],
    *["\uff43anary", "c\u0430nary", "x\u2019y", "x\uff07y", "\u201cx\u201d", "\ud800", "\U0001f600"],
    *["x\u200b", "x\u00a0y", "x\u037ey", "\ufeffx", "x\u2028y", "q'[x]'", "n'x'", "0x41", "chr(39)"],
    *["x' || (delete from canary) || '", "1; begin delete from canary; end;", "x\r\ndelete", "\x1b[2J"],
]  # fmt: skip
CORPUS = [*dict.fromkeys(CORPUS)]
VALUES = [each for each in CORPUS if each and not {"\0", "\ud800"} & {*each}]
"""What the server can store; to Oracle an empty text is NULL."""


@pytest.fixture
def canary(table: Table) -> str:
    """A table that nobody may touch."""
    return table("id number(9), name varchar2(9)")


def tables(db: Any) -> list[Any]:
    return sorted(db.rows("select table_name from user_tables"))


# names


def test_the_corpus_is_large() -> None:
    assert len({*CORPUS}) > 100


@pytest.mark.parametrize("name", CORPUS, ids=ascii)
def test_what_is_no_name_is_refused(name: str) -> None:
    for read in (identifier, table_name):
        with pytest.raises(NameRefused) as caught:
            read(name)
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", [None, 1, b"x", ["x"], ("a", "b"), object()])
def test_what_is_no_text_is_no_name(name: object) -> None:
    with pytest.raises(NameRefused):
        table_name(name)


@pytest.mark.parametrize("name", ["x", "X", "Orders_2026", "a$b#c", "x" * 128])
def test_a_regular_name_is_left_unquoted_and_means_the_same_in_any_case(name: str) -> None:
    found = identifier(name)
    assert (str(found), found.quote) == (name.lower(), False)


@pytest.mark.parametrize("name", ["select", "My Table", "a;b", "é", "x'--", ":c0", "%s", "a.b"])
def test_a_name_in_double_quotes_is_meant_to_the_letter(name: str) -> None:
    found = identifier(f'"{name}"')
    assert (str(found), found.quote) == (name, True)


def test_a_table_may_have_a_schema() -> None:
    for text, names in {
        "Sales.Orders": ("sales", "orders"),
        '"My Sales"."a.b"': ("My Sales", "a.b"),
        '"a.b"': (None, "a.b"),
        "orders": (None, "orders"),
    }.items():
        assert table_name(text) == names


@in_threads
def test_no_name_of_a_table_or_column_becomes_a_statement(
    ask: Ask, table: Table, canary: str
) -> None:
    db, name = ask(), table("id number(9) primary key, name varchar2(9)")
    db.insert_record(canary, {"id": 1})
    before = tables(db)
    for each in (text.replace("canary", canary) for text in CORPUS):
        for method, arguments in (
            ("insert_record", (each, {"id": 1})),
            ("insert_record", (name, {"id": 1, each: 1})),
            ("upsert", (each, [{"id": 1}])),
            ("upsert", (name, [{"id": 1, each: 1}])),
            ("upsert", (name, [{"id": 1}], [each])),
            ("load", (each, [{"id": 1}])),
        ):
            with pytest.raises(DatabaseError):
                getattr(db, method)(*arguments)
        report = db.load(name, [{"id": 1, each: 1}])
        assert (report.loaded, report.refused) == (0, 1)
    assert db.rows(f"select id from {canary}") == [(1,)]
    assert db.rows(f"select * from {name}") == []
    assert tables(db) == before


@pytest.mark.parametrize("setting", ["schema", "loads_table"])
def test_no_name_in_the_settings_becomes_a_statement(setting: str) -> None:
    address = {"host": "h", "service_name": "s", "username": "env:U", "password": "env:P"}
    for each in CORPUS:
        with pytest.raises(ValidationError) as caught:
            DatabaseSettings.model_validate({**address, setting: each})
        (error,) = caught.value.errors()
        assert "is no name" in error["msg"] or "word of SQL" in error["msg"]
    DatabaseSettings.model_validate({**address, setting: '"a b"'})


@in_threads
def test_an_exact_name_in_the_settings_stays_exact(ask: Ask, table: Table, canary: str) -> None:
    exact = f'"x; delete from {canary} --"'
    db, name = ask(loads_table=exact), table("id number(9)")
    db.insert_record(canary, {"id": 1})
    assert db.load(name, [{"id": 1}], name="n").loaded == 1
    assert db.position("n") == 1
    assert db.rows(f"select id from {canary}") == [(1,)]
    db.execute(f"drop table {exact}")
    with pytest.raises(ConfigError):
        ask(schema='"FLEXT" x').health()


# values


def test_any_text_is_a_value(ask: Ask, table: Table, canary: str) -> None:
    db, name = ask(), table("id number(9) primary key, v clob")
    db.insert_record(canary, {"id": 1})
    texts = [text.replace("canary", canary) for text in VALUES]
    db.insert_records(name, [{"id": place, "v": text} for place, text in enumerate(texts)])
    rows = [{"id": 1000 + place, "v": text} for place, text in enumerate(texts)]
    assert db.load(name, rows, on_error="raise").loaded == len(texts)
    db.upsert(name, [{"id": 2000 + place, "v": text} for place, text in enumerate(texts)])
    for first in (0, 1000, 2000):
        found = db.rows(
            f"select v from {name} where id between {first} and {first + 999} order by id"
        )
        assert [text for (text,) in found] == texts
    assert db.rows(f"select id from {canary}") == [(1,)]


@in_threads
def test_any_text_is_a_value_of_a_statement(ask: Ask, table: Table, canary: str) -> None:
    db, name = ask(), table("id number(9) primary key, v clob")
    db.insert_record(canary, {"id": 1})
    for place, text in enumerate(text.replace("canary", canary) for text in VALUES):
        db.execute(f"insert into {name} values (:id, :text)", {"id": place, "text": text})
        assert db.fetch("select :text from dual", {"text": text[:1000]}) == [(text[:1000],)]
    found = db.rows(f"select v from {name} order by id")
    assert [text for (text,) in found] == [text.replace("canary", canary) for text in VALUES]
    assert db.rows(f"select id from {canary}") == [(1,)]


@in_threads
def test_any_text_is_the_name_of_a_load(ask: Ask, table: Table, canary: str) -> None:
    db, name = ask(), table("id number(9)")
    db.insert_record(canary, {"id": 1})
    usable = [each for each in VALUES if len(each.encode()) <= 128][::3]
    for each in usable:
        assert db.load(name, [{"id": 1}], name=each).loaded == 1
    assert [db.position(each) for each in usable] == [1] * len(usable)
    assert db.rows(f"select id from {canary}") == [(1,)]
    for each in usable:
        db.forget(each)
    for each in ("", "\0", "\ud800", "x" * 129):
        with pytest.raises(DatabaseError):
            db.load(name, [{"id": 1}], name=each)


@in_threads
def test_no_error_tells_a_value(table: Table, ask: Ask) -> None:
    db = ask(record_statements=True)
    name = table("id number(3) primary key, v varchar2(5), d date, n number(3)")
    secret = "CANARY\n' to a \"number"
    attempts: list[Callable[[], Any]] = [
        lambda: db.execute(f"insert into {name} (v) values (:v)", {"v": secret}),
        lambda: db.execute(f"insert into {name} (n) values (:v)", {"v": secret}),
        lambda: db.execute(f"insert into {name} (d) values (:v)", {"v": secret}),
        lambda: db.execute(f"insert into {name} (v) values (:v)", {"w": secret}),
        lambda: db.execute(f"insert into {name} (v) values (:v)", {"v": {secret: secret}}),
        lambda: db.execute(f"insert into {name} (v) values (:v)", {"v": secret + "\ud800"}),
        lambda: db.insert_record(name, {"id": 1, "v": secret}),
        lambda: db.insert_record(name, {"id": 1, "d": secret}),
        lambda: db.insert_record(name, {"id": 1, "n": [secret]}),
        lambda: db.upsert(name, [{"id": 1, "v": secret}]),
        lambda: db.upsert(name, [{"id": 1, "n": secret}]),
        lambda: db.load(name, [{"id": 1, "d": secret}], on_error="raise"),
        lambda: db.load(name, [{"id": 1, "n": secret}, secret], on_error="raise"),
        lambda: db.fetch("select to_number(:v) from dual", {"v": secret}),
        lambda: db.fetch("select 1 from dual", {"v": secret}),
        lambda: db.fetch("select 1 from dual", [secret]),
        lambda: db.execute(f"insert into {name} (v) values (:v)", secret),
    ]
    for attempt in attempts:
        with pytest.raises(DatabaseError) as caught:
            attempt()
        told = f"{caught.value}{caught.value!r}{getattr(caught.value, '__notes__', '')}"
        assert "CANARY" not in told
        assert caught.value.__cause__ is None
