"""`flext-plugins oracle`, run as people run it, against a real Oracle-compatible server."""

import codecs
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from driver import connect
from flext_plugins_devstack import OracleCompatibleServer

from flext_plugins.cli import main

pytestmark = pytest.mark.once

Run = Callable[..., Any]
Table = Callable[[str], str]
COLUMNS = "id number(9) primary key, name varchar2(10) not null, price number, born date"
COMMAND = [sys.executable, "-Werror", "-m", "flext_plugins.cli", "oracle"]
SECONDS = 60


def environment(**variables: str) -> dict[str, str]:
    inherited = {key: each for key, each in os.environ.items() if not key.startswith("FLEXT")}
    return {**inherited, **variables}


@pytest.fixture
def folder(tmp_path: Path, database: OracleCompatibleServer) -> Path:
    """One with a `flext.toml` with the service `shop`."""
    configure(tmp_path, database)
    return tmp_path


def configure(folder: Path, server: OracleCompatibleServer) -> None:
    settings = server.settings()
    for secret in ("username", "password"):
        (folder / secret).write_text(f"{settings[secret]}")
        settings[secret] = f"file:{folder / secret}"
    table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    (folder / "flext.toml").write_text(f"[services.shop.plugins.oracle]\n{table}")


@pytest.fixture
def run(
    folder: Path,
    database: OracleCompatibleServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs the command beside that file; no secret is shown, and nothing that steers a terminal."""
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("FLEXT")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, expect: int = 0, put: str | bytes = b"", **variables: str) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["flext-plugins", "oracle", *arguments])
            given = put.encode() if isinstance(put, str) else put
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == expect, said
        assert str(database.settings()["password"]) not in said.out + said.err
        assert (said.out + said.err).replace("\n", "").isprintable()
        return said

    return run


def rows(server: OracleCompatibleServer, query: str) -> list[Any]:
    with connect(server) as connection:
        return [*connection.cursor().execute(query)]


def names(server: OracleCompatibleServer, table: str) -> dict[int, str]:
    return dict(rows(server, f"select id, name from {table}"))


def lines(*records: object) -> str:
    return "".join(json.dumps(each) + "\n" for each in records)


def people(numbers: Sequence[int]) -> str:
    return lines(*({"id": number, "name": f"no {number}"} for number in numbers))


def test_health_says_which_server_answered_and_what_the_pool_does(
    run: Run, database: OracleCompatibleServer
) -> None:
    said = run("health", "shop").out
    assert re.fullmatch(
        rf"ok: {database.target}, version [0-9.]+, [0-9.]+ ms; "
        "sessions: 0 in use, 1 idle, 4 limit, 0 waiting\n",
        said,
    )
    facts = json.loads(run("health", "shop", "--json").out)
    assert 0 < facts.pop("latency") < SECONDS
    assert facts.pop("version") in said
    pool = {"in_use": 0, "idle": 1, "limit": 4, "waiting": 0}
    assert facts == {"service": "shop", "target": database.target, "pool": pool}


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "JSONL"])
def test_json_lines_are_loaded(
    run: Run, folder: Path, database: OracleCompatibleServer, table: Table, ending: str
) -> None:
    name = table(COLUMNS)
    ana = {"id": 1, "name": "Ana", "price": 1.25, "born": "2026-11-30T10:00:00"}
    (folder / f"people.{ending}").write_text(lines(ana) + "\n" + '{"id": 2, "name": "Zoé"}')
    done = run("load", "shop", name, f"people.{ending}")
    assert re.fullmatch(r"ok: 2 loaded in [0-9.]+ s\n", done.out)
    assert done.err == ""
    shown = f"select id, name, price, to_char(born, 'YYYY-MM-DD HH24') from {name} order by id"
    assert rows(database, shown) == [(1, "Ana", 1.25, "2026-11-30 10"), (2, "Zoé", None, None)]


def test_a_number_keeps_all_its_digits(
    run: Run, database: OracleCompatibleServer, table: Table
) -> None:
    name = table("id number(9), price number")
    exact = "12345678901234567890.123"
    record = f'{{"id": 1, "price": {exact}}}\n'
    run("load", "shop", name, "-", "--format", "jsonl", put=record)
    assert rows(database, f"select to_char(price) from {name}") == [(exact,)]


def test_csv_is_loaded_and_an_empty_field_is_null(
    run: Run, folder: Path, database: OracleCompatibleServer, table: Table
) -> None:
    name = table(COLUMNS)
    text = 'id,name,price,born\r\n1,Ana,,2026-11-30\r\n\r\n2,"a, ""b""\nc",7.5,\r\n'
    (folder / "people.csv").write_bytes(codecs.BOM_UTF8 + text.encode())
    run("load", "shop", name, "people.csv")
    shown = f"select id, name, price, to_char(born, 'YYYY-MM-DD') from {name} order by id"
    found = rows(database, shown)
    assert found == [(1, "Ana", None, "2026-11-30"), (2, 'a, "b"\nc', 7.5, None)]


@pytest.mark.parametrize(
    ("kind", "text"), [("jsonl", '{"id": 1, "name": "x"}'), ("csv", "id,name\n1,x\n")]
)
def test_standard_input_is_loaded(
    run: Run, database: OracleCompatibleServer, table: Table, kind: str, text: str
) -> None:
    name = table(COLUMNS)
    run("load", "shop", name, "-", "--format", kind, put=text)
    assert names(database, name) == {1: "x"}


def test_a_bad_row_is_told_by_number_line_code_and_reason_and_all_others_are_loaded(
    run: Run, folder: Path, database: OracleCompatibleServer, table: Table
) -> None:
    name = table(COLUMNS)
    text = people([1]) + "\n" + people([1, 2]) + lines({"id": 3, "name": "x" * 11}) + people([4])
    done = run(
        *("load", "shop", name, "-", "--format", "jsonl", "--bad-rows", "bad.jsonl"),
        put=text,
        expect=1,
    )
    assert re.fullmatch(r"3 loaded, 2 refused in [0-9.]+ s\n", done.out)
    first, second = done.err.splitlines()
    assert first.startswith("record 2, line 3: ORA-00001: ")
    assert second.startswith("record 4, line 5: ORA-12899: ")
    assert "x" * 11 not in done.err
    assert sorted(names(database, name)) == [1, 2, 4]
    bad = [json.loads(each) for each in (folder / "bad.jsonl").read_text().splitlines()]
    assert [(each["number"], each["line"], each["code"]) for each in bad] == [
        (2, 3, "ORA-00001"),
        (4, 5, "ORA-12899"),
    ]
    assert second == f"record 4, line 5: {bad[1]['reason']}"


BAD_JSON: dict[str, tuple[bytes, str]] = {
    "cut off": (b'{"id": 2, "name":', "no JSON: Expecting value at column 18"),
    "a list": (b"[1, 2]", "JSON, but no object with columns and values"),
    "a number": (b"7", "JSON, but no object with columns and values"),
    "no UTF-8": (b'{"id": 2, "name": "\xff"}', "it is no UTF-8 at byte 20"),
    "NaN": (b'{"id": NaN}', "no JSON that can be read: NaN, or a number that is too long"),
    "a number without end": (b'{"id": ' + b"9" * 5000 + b"}", "no JSON that can be read: NaN, or"),
    "a name twice": (b'{"id": 2, "id": 3}', "no JSON that can be read: a name is twice in an"),
    "a deep nest": (b"[" * 100_000, "no JSON that can be read: nested too deep"),
    "half a character": (b'{"id": 2, "name": "\\ud800"}', "the values cannot be sent"),
    "an empty object": (b"{}", "it is no mapping of columns to values"),
    "a name that is none": (b'{"id": 2, "name\\u001b[31m": 1}', r"'name\x1b[31m' is no name"),
    "a line without end": (b'{"id": "' + b"x" * (1 << 24), "the line is longer than 16 MiB"),
    "a byte order mark": (codecs.BOM_UTF8 + b'{"id": 2}', "no JSON: "),
}


@pytest.mark.parametrize(("line", "reason"), BAD_JSON.values(), ids=BAD_JSON)
def test_a_line_that_is_no_record_is_a_bad_row(
    run: Run,
    database: OracleCompatibleServer,
    table: Table,
    line: bytes,
    reason: str,
) -> None:
    name = table(COLUMNS)
    text = people([1]).encode() + line + b"\n" + people([3]).encode()
    done = run("load", "shop", name, "-", "--format", "jsonl", put=text, expect=1)
    (said,) = done.err.splitlines()
    assert said.startswith(f"record 2, line 2: {reason}")
    assert sorted(names(database, name)) == [1, 3]


BAD_CSV: dict[str, tuple[bytes, str]] = {
    "too few fields": (b"2", "1 fields, but 2 in the header"),
    "too many fields": (b"2,x,y", "3 fields, but 2 in the header"),
    "no UTF-8": (b"2,\xff", "it is no UTF-8 at byte 3"),
    "an open quote": (b'2,"x', "no CSV: a quote is opened and not closed as it should"),
    "text after a quote": (b'2,"x"y', "no CSV: ',' expected after '\"'"),
    "no number": (b"two,x", "ORA-01722: "),
    "nothing where something has to be": (b"2,", "ORA-01400: "),
    "a line without end": (b"2," + b"x" * (1 << 24), "the line is longer than 16 MiB"),
}


@pytest.mark.parametrize(("line", "reason"), BAD_CSV.values(), ids=BAD_CSV)
def test_a_line_that_is_no_row_is_a_bad_one(
    run: Run,
    database: OracleCompatibleServer,
    table: Table,
    line: bytes,
    reason: str,
) -> None:
    name = table(COLUMNS)
    text = b"id,name\n1,x\n" + line + b"\n3,x\n4,x\n"
    done = run("load", "shop", name, "-", "--format", "csv", put=text, expect=1)
    (said,) = done.err.splitlines()
    assert said.startswith(f"record 2, line 3: {reason}")
    assert sorted(names(database, name)) == [1, 3, 4]


def test_an_open_quote_takes_no_other_row_with_it_though_a_later_one_closes_it(
    run: Run, database: OracleCompatibleServer, table: Table
) -> None:
    name = table(COLUMNS)
    text = 'id,name\n1,"open\n2,x\n3,"fine"\n4,"also\nfine"\n'
    done = run("load", "shop", name, "-", "--format", "csv", put=text, expect=1)
    assert done.err.startswith("record 1, line 2: no CSV: ")
    assert names(database, name) == {2: "x", 3: "fine", 4: "also\nfine"}


NO_FILE: dict[str, tuple[str, bytes | None, str]] = {
    "no file": ("gone.jsonl", None, "gone.jsonl: No such file or directory"),
    "a folder": ("folder.csv", None, "folder.csv: Is a directory"),
    "empty JSON lines": ("empty.jsonl", b"", "empty.jsonl: it is empty"),
    "empty CSV": ("empty.csv", b"", "empty.csv: it is empty"),
    "UTF-16": ("wide.csv", "id,name\n1,x\n".encode("utf-16"), "wide.csv: line 1: UTF-16, by its"),
    "a header without CSV": ("open.csv", b'id,"name\n1,x\n', "open.csv: line 1: no CSV: "),
    "a header without UTF-8": ("bytes.csv", b"id,\xff\n1,x\n", "bytes.csv: line 1: it is no UTF-8"),
    "a column twice": ("twice.csv", b"id,id\n1,x\n", "twice.csv: line 1: the header names a col"),
    "a column unnamed": ("one.csv", b"id,\n1,x\n", "one.csv: line 1: the header has a column wi"),
    "no header": ("blank.csv", b"\nid\n1\n", "blank.csv: line 1: no header, which names the co"),
    "a steering name": ("a\x1b[31m.csv", None, r"a\u001b[31m.csv: No such file or directory"),
}


@pytest.mark.parametrize(("file", "content", "said"), NO_FILE.values(), ids=NO_FILE)
def test_a_file_that_cannot_be_loaded_is_told_in_one_line(
    run: Run,
    folder: Path,
    database: OracleCompatibleServer,
    table: Table,
    file: str,
    content: bytes | None,
    said: str,
) -> None:
    name = table(COLUMNS)
    (folder / "folder.csv").mkdir()
    if content is not None:
        (folder / file).write_bytes(content)
    (line,) = run("load", "shop", name, file, expect=1).err.splitlines()
    assert line.startswith(said)
    assert names(database, name) == {}


def test_a_header_without_rows_loads_nothing(run: Run, table: Table) -> None:
    done = run("load", "shop", table(COLUMNS), "-", "--format", "csv", put="id,name\n")
    assert done.out.startswith("ok: 0 loaded in ")


def test_the_first_20_bad_rows_are_told_and_how_many_more_and_all_are_kept(
    run: Run, folder: Path, table: Table
) -> None:
    text = "no JSON\n" * 1050 + people([1])
    done = run(
        *("load", "shop", table(COLUMNS), "-", "--format", "jsonl", "--batch-size", "100"),
        *("--bad-rows", "bad.jsonl"),
        put=text,
        expect=1,
    )
    assert re.fullmatch(r"1 loaded, 1050 refused in [0-9.]+ s\n", done.out)
    told = [each for each in done.err.splitlines() if each.startswith("record ")]
    assert [each.partition(":")[0] for each in told] == [
        f"record {number}, line {number}" for number in range(1, 21)
    ]
    assert done.err.endswith("\nand 1030 more\n")
    kept = [json.loads(each) for each in (folder / "bad.jsonl").read_text().splitlines()]
    assert [each["number"] for each in kept] == [*range(1, 1001)]


def test_raise_stops_at_the_first_bad_row_and_keeps_the_batches_before(
    run: Run, folder: Path, database: OracleCompatibleServer, table: Table
) -> None:
    name = table(COLUMNS)
    command = ["load", "shop", name, "-", "--format", "jsonl", "--batch-size", "2"]
    done = run(*command, "--on-error", "raise", put=people([1, 2, 3, 1, 5]), expect=1)
    assert done.out.startswith("stopped after record 2: 2 loaded in ")
    (line,) = done.err.splitlines()
    assert line.startswith("record 4, line 4: ORA-00001: ")
    assert sorted(names(database, name)) == [1, 2]


def test_a_program_gets_the_result_and_nothing_else(run: Run, table: Table) -> None:
    name = table(COLUMNS)
    command = ["load", "shop", name, "-", "--format", "jsonl", "--json"]
    done = run(*command, put=people([1, 1]) + "\n{", expect=1)
    assert done.err == ""
    facts = json.loads(done.out)
    assert facts.pop("seconds") > 0
    (taken, broken) = facts.pop("bad_rows")
    assert (taken["number"], taken["line"], taken["code"]) == (2, 2, "ORA-00001")
    assert (broken["number"], broken["line"], broken["code"]) == (3, 4, None)
    counts = {"loaded": 1, "refused": 2, "resume": 3, "error": None}
    assert facts == {"service": "shop", "table": name, **counts}
    stopped = json.loads(run(*command, "--on-error", "raise", put=people([1]), expect=1).out)
    assert stopped["error"].startswith("record 1, line 1: ORA-00001: ")
    assert stopped["resume"] == 0


def test_a_named_load_goes_on_where_it_stopped(
    run: Run, folder: Path, database: OracleCompatibleServer, table: Table
) -> None:
    name = table(COLUMNS)
    file = folder / "people.jsonl"
    file.write_text("no JSON\n" + people([2, 3]) + "\n" + people([1, 1, 5]))
    command = ["load", "shop", name, file.name, "--batch-size", "2", "--load-name", name]
    run(*command, "--on-error", "raise", expect=1)  # at the first
    file.write_text(people([1, 2, 3]) + "\n" + people([1, 5]))
    run(*command, "--on-error", "raise", expect=1)  # at the fourth, in the third and fourth
    assert sorted(names(database, name)) == [1, 2]
    done = run(*command, expect=1)
    assert re.fullmatch(
        r"2 loaded, 1 refused in [0-9.]+ s, after the 2 that were done before\n", done.out
    )
    assert done.err.startswith("record 4, line 5: ORA-00001: ")
    assert sorted(names(database, name)) == [1, 2, 3, 5]
    again = run(*command)
    assert re.fullmatch(
        r"ok: 0 loaded in [0-9.]+ s, after the 5 that were done before\n", again.out
    )


def test_progress_is_told_in_lines_where_there_is_no_terminal(folder: Path, table: Table) -> None:
    with started(folder, table(COLUMNS)) as process:
        said, count = fed(process)
        assert re.fullmatch(r"(\d+ records, 0 refused\n)+", said)
        stdout, stderr = process.communicate(timeout=SECONDS)
    assert re.match(rf"ok: {count} loaded in ", stdout.decode())
    assert re.fullmatch(r"(\d+ records, 0 refused\n)*", stderr.decode())


def test_a_terminal_gets_a_bar(
    folder: Path, database: OracleCompatibleServer, table: Table
) -> None:
    name = table(COLUMNS)
    (folder / "people.jsonl").write_text(people(range(300)) + "no JSON\n")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "load", "shop", name, "people.jsonl", "--batch-size", "100"],
        cwd=folder,
        env=environment(TERM="xterm-256color", COLUMNS="100"),
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = until_closed(ours)
        assert process.wait(SECONDS) == 1
        assert process.stdout is not None
        assert process.stdout.read().startswith(b"300 loaded, 1 refused in ")
    assert "\x1b[" in said
    assert re.search(r"t_\w+ .*━.* 100%.* 301 records, 1 refused", said)
    assert "record 301, line 301: no JSON: " in said


def until_closed(terminal: int) -> str:
    said = b""
    with os.fdopen(terminal, "rb", buffering=0) as file:
        try:
            while chunk := file.read(1000):
                said += chunk
        except OSError:  # how the other end's end is told
            pass
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode())


def test_ctrl_c_ends_a_load_that_waits_for_its_input_and_says_how_far_it_came(
    folder: Path, database: OracleCompatibleServer, table: Table
) -> None:
    name = table(COLUMNS)
    with started(folder, name) as process:
        fed(process)
        process.send_signal(signal.SIGINT)
        stopped_after = ended(process, "interrupted")
    assert len(names(database, name)) == stopped_after > 0


def test_ctrl_c_ends_a_load_after_the_batch_that_is_under_way(
    folder: Path, database: OracleCompatibleServer, table: Table
) -> None:
    name = table(COLUMNS)
    (folder / "people.jsonl").write_text(people(range(200_000)))
    with subprocess.Popen(
        [*COMMAND, "load", "shop", name, "people.jsonl", "--batch-size", "50"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.read(1000)
        process.send_signal(signal.SIGINT)
        stopped_after = ended(process, "interrupted")
    assert len(names(database, name)) == stopped_after > 0
    assert stopped_after % 50 == 0


def test_another_ctrl_c_ends_a_load_that_the_database_keeps_waiting(
    folder: Path, database: OracleCompatibleServer, table: Table
) -> None:
    name = table(COLUMNS)
    with connect(database) as other, started(folder, name) as process:
        _, count = fed(process)
        other.cursor().execute(f"insert into {name} (id, name) values ({count}, 'first')")
        put(process, people([count]))  # waits for what becomes of the other's
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        where = "interrupted in the middle of a batch, which may be there"
        assert ended(process, where) == count
        other.rollback()
    assert len(names(database, name)) == count


def test_an_end_of_the_database_is_told_with_how_far_it_came(
    tmp_path: Path, run_database: Callable[..., OracleCompatibleServer]
) -> None:
    server = run_database()
    with connect(server) as connection:
        connection.cursor().execute(f"create table people ({COLUMNS})")
    configure(tmp_path, server)
    with started(tmp_path, "people") as process:
        _, count = fed(process)
        server.down()
        put(process, people([count]))
        stdout, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert stdout.decode().startswith(f"stopped after record {count}: {count} loaded in ")
    assert stderr.decode().splitlines()[-1].startswith(f"shop: oracle: {server.target}")
    assert b"Traceback" not in stderr


def started(folder: Path, table: str) -> "subprocess.Popen[bytes]":
    """A load of standard input that is under way, each record in a batch of its own."""
    return subprocess.Popen(
        [*COMMAND, "load", "shop", table, "-", "--format", "jsonl", "--batch-size", "1"],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


def put(process: "subprocess.Popen[bytes]", text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text.encode())


def fed(process: "subprocess.Popen[bytes]") -> tuple[str, int]:
    """Feed records until it tells of the last; what it said, and how many there were."""
    assert process.stderr is not None
    said, count, end = "", 0, time.monotonic() + SECONDS
    while not said:
        assert time.monotonic() < end
        put(process, people([count]))
        count += 1
        if select.select([process.stderr], [], [], 0.3)[0]:
            said += process.stderr.read(1000).decode()
    time.sleep(0.3)  # for the last
    return said, count


def ended(process: "subprocess.Popen[bytes]", why: str) -> int:
    """The last record that was done, by what it says at its end."""
    stdout, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert stderr.decode().splitlines()[-1] == why
    assert b"Traceback" not in stderr
    found = re.match(r"stopped after record (\d+): (\d+) loaded in ", stdout.decode())
    assert found is not None
    return int(found[1])


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown service": (("health", "shopp"), "did you mean 'shop'?"),
    "no such database": (("health", "shop", "--name", "other"), "lends no OracleDatabase named"),
    "no configuration": (("health", "shop", "-c", "gone.toml"), "gone.toml: no such file"),
    "no such table": (("load", "shop", "t_gone", "a.csv"), "ORA-00942"),
    "a table that is no name": (("load", "shop", "a; b", "a.csv"), "'a; b' is no name"),
    "no folder for bad rows": (
        ("load", "shop", "t_gone", "a.csv", "--bad-rows", "gone/bad"),
        "gone/bad: No such file or directory",
    ),
    "a load without a name": (
        ("load", "shop", "t_gone", "a.csv", "--load-name", ""),
        "a load's name has 1 to 128 bytes",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_in_one_line(
    run: Run, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    (folder / "a.csv").write_text("id\n1\n")
    (line,) = run(*arguments, expect=1).err.splitlines()
    assert said in line


SENSELESS: dict[str, tuple[str, ...]] = {
    "an option that there is not": ("load", "shop", "t", "a.csv", "--tabel", "x"),
    "standard input of no format": ("load", "shop", "t", "-"),
    "an unknown ending": ("load", "shop", "t", "a.xlsx"),
    "an unknown format": ("load", "shop", "t", "a.csv", "--format", "xlsx"),
    "batches of nothing": ("load", "shop", "t", "a.csv", "--batch-size", "0"),
    "bad rows over the file": ("load", "shop", "t", "a.csv", "--bad-rows", "./a.csv"),
}


@pytest.mark.parametrize("arguments", SENSELESS.values(), ids=SENSELESS)
def test_what_makes_no_sense_is_refused(run: Run, folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "a.csv").write_text("id\n1\n")
    assert run(*arguments, expect=2).out == ""
    assert (folder / "a.csv").read_text() == "id\n1\n"


def test_a_database_that_is_down_is_told_in_one_line(run: Run, folder: Path) -> None:
    (folder / "a.csv").write_text("id\n1\n")
    down = {"FLEXT__SERVICES__SHOP__PLUGINS__ORACLE__PORT": "1"}
    for arguments in (("health", "shop"), ("load", "shop", "t", "a.csv")):
        (line,) = run(*arguments, expect=1, **down).err.splitlines()
        assert line.startswith("shop: oracle: 127.0.0.1:1 ")


def test_the_environments_file_is_read_too(run: Run, folder: Path) -> None:
    (folder / "flext.broken.toml").write_text("[services.shop.plugins.oracle]\nport = 1\n")
    assert "127.0.0.1:1 " in run("health", "shop", "--env", "broken", expect=1).err
