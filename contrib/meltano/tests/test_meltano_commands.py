"""`flext-plugins meltano`, run as people run it: in a project on this machine, and at a service."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_meltano_local import ended, wait_for
from test_meltano_service import FlextService

from flext_plugins.cli import main
from flext_plugins.testing import Answer, LoopbackService

pytestmark = pytest.mark.once

Run = Callable[..., Any]
COMMAND = [sys.executable, "-Werror", "-m", "flext_plugins.cli", "meltano"]
SECONDS = 30
STEER = "\x1b]0;owned\x07"


def environment(**variables: str) -> dict[str, str]:
    inherited = {key: each for key, each in os.environ.items() if not key.startswith("FLEXT")}
    return {**inherited, **variables}


@pytest.fixture
def flext(flext_service: LoopbackService) -> FlextService:
    """The service that runs pipelines."""
    return FlextService(flext_service)


@pytest.fixture
def folder(shop: Any, flext: FlextService, tmp_path: Path) -> Path:
    """One with a `flext.toml`: `shop` runs on this machine, `remote` at the service."""
    settings = "".join(f"{key} = {json.dumps(each)}\n" for key, each in shop.settings().items())
    (tmp_path / "flext.toml").write_text(
        f"[services.shop.plugins.meltano]\n{settings}"
        f'[services.remote]\nbase_url = "{flext.service.url}"\n'
        "[services.remote.plugins.meltano]\npoll = 0.01\n"
    )
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command beside that file; nothing that it says steers a terminal."""
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("FLEXT")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, expect: int = 0, **variables: str) -> Any:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["flext-plugins", "meltano", *arguments])
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == expect, said
        assert (said.out + said.err).replace("\n", "").isprintable()
        assert {number: signal.getsignal(number) for number in before} == before
        return said

    return run


def steps(*several: list[Any]) -> tuple[str, str]:
    """What the shop's tap is to do."""
    return "--set", f"do:={json.dumps(several)}"


def body(flext: FlextService) -> Any:
    return json.loads(flext.service.received[0].body)


def test_a_run_prints_its_records_by_stream(run: Run) -> None:
    said = run("run", "shop", "tap-shop", "target-lake", *steps(["records", {"a": 3, "b": 1}]))
    assert re.fullmatch(r"ok: 4 records \(a 3, b 1\) in [0-9.]+ s\n", said.out)


def test_a_run_tells_its_progress_in_lines_where_there_is_no_terminal(run: Run) -> None:
    work = steps(["records", {"a": 3}], ["sleep", 1.2], ["records", {"a": 1}], ["sleep", 0.3])
    said = run("run", "shop", "tap-shop", "target-lake", *work)
    lines = [line for line in said.err.splitlines() if line != "queued"]
    assert lines[-2:] == ["running: 3 records (a 3)", "running: 4 records (a 4)"]
    assert lines[:-2] in (["running"], [])


def test_json_is_the_result_and_nothing_else(run: Run) -> None:
    work = steps(["records", {"a": 3}], ["stderr", "ERROR row 7"])
    said = run("run", "shop", "tap-shop", "target-lake", *work, "--json")
    assert said.err == ""
    facts = json.loads(said.out)
    assert facts.pop("seconds") > 0
    assert facts.pop("id")
    assert facts == {
        "service": "shop",
        "state": "succeeded",
        "records": {"a": 3},
        "error": None,
        "failures": [],
        "complaints": ["tap-shop: ERROR row 7"],
        "exit_codes": {"meltano": 0},
    }


def test_a_failed_run_prints_its_error_first_complaints_and_exit_codes(run: Run) -> None:
    complaints = [["stderr", f"ERROR row {number}"] for number in range(7)]
    work = steps(*complaints, ["fail", 3])
    said = run("run", "shop", "tap-shop", "target-lake", *work, expect=1)
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if not line.startswith(("queued", "running"))]
    assert lines[0].startswith("failed in ")
    assert lines[1:] == [
        "error: Extractor failed",
        "exit codes: extractors 3, meltano 1",
        *(f"complaint: tap-shop: ERROR row {number}" for number in range(5)),
        "and 2 more complaints",
    ]
    said = run("run", "shop", "tap-shop", "target-lake", *work, "--json", expect=1)
    assert said.err == ""
    assert (json.loads(said.out)["state"], len(json.loads(said.out)["complaints"])) == ("failed", 7)


def test_dbts_models_and_tests_that_failed_are_named(run: Run, folder: Path) -> None:
    assert run("dbt", "shop").out.startswith("ok in ")
    with (folder / "flext.toml").open("a") as file:
        file.write("[services.shop.plugins.meltano.variables]\nDBT_WRONG = 'env:WRONG'\n")
    said = run("dbt", "shop", "customers", expect=1, WRONG='["test.shop.ids"]')
    assert "failed: test.shop.ids" in said.err.splitlines()


def test_dbt_gets_its_models_variables_and_target(run: Run, shop: Any) -> None:
    run("dbt", "shop", "customers", "--vars", '{"day": 1}', "--target", "prod")
    (call,) = shop.calls("dbt-calls.jsonl")
    assert call["words"][-6:] == [
        "--target",
        "prod",
        "--select",
        "customers",
        "--vars",
        '{"day": 1}',
    ]


def test_what_meltano_run_takes_is_run(run: Run, shop: Any) -> None:
    run("blocks", "shop", "nightly", "dbt-duckdb:build", "--environment", "prod", "--full-refresh")
    (call,) = shop.calls()
    given = ["--environment", "prod", "run", "--full-refresh", "nightly", "dbt-duckdb:build"]
    assert call["words"][-6:] == given


def test_state_and_catalog_are_read_from_files(run: Run, shop: Any, folder: Path) -> None:
    for name in ("state", "catalog"):
        (folder / f"{name}.json").write_text(json.dumps({"of": name}))
    files = ("--state", "state.json", "--catalog", "catalog.json")
    run("run", "shop", "tap-shop", "target-lake", *files)
    (call,) = shop.calls()
    assert {name: json.loads(text) for name, text in call["extra"].items()} == {
        "TAP_SHOP__STATE": {"of": "state"},
        "TAP_SHOP__CATALOG": {"of": "catalog"},
    }


def test_a_setting_is_text_or_json_as_it_says(run: Run, flext: FlextService) -> None:
    given = ("--set", "since=2026-11-30", "--set", "rows:=7", "--set", "query=a=b:=c")
    options = ("--transform", "customers", "--key", "monday", *given)
    run("run", "remote", "tap-x", "target-y", *options)
    assert body(flext)["config"] == {"since": "2026-11-30", "rows": 7, "query": "a=b:=c"}
    assert body(flext)["transform"] == "customers"
    assert flext.service.received[0].headers["idempotency-key"] == "monday"


SECRET: dict[str, tuple[str, ...]] = {
    "a setting": ("run", "remote", "t", "l", "--set", "password=pw-7261"),
    "a setting in JSON": ("run", "remote", "t", "l", "--set", 'db:=[{"api_key": "pw-7261"}]'),
    "a variable of dbt's": ("dbt", "remote", "--vars", '{"x": {"token": "pw-7261"}}'),
}


@pytest.mark.parametrize("arguments", SECRET.values(), ids=SECRET)
def test_what_is_named_like_a_secret_is_refused(
    run: Run, flext: FlextService, arguments: tuple[str, ...]
) -> None:
    said = run(*arguments, expect=2)
    text = re.sub(r"[\s│]+", " ", said.err)
    assert "looks like a secret" in text
    assert "setting `variables`" in text
    assert "pw-7261" not in said.err
    assert flext.service.received == []


def test_a_run_at_a_service_is_followed_to_its_end(run: Run, flext: FlextService) -> None:
    flext.states = [
        {"status": "queued"},
        {"status": "running", "records": {"orders": 1}},
        {"status": "completed", "records": {"orders": 2}, "duration": 1.25},
    ]
    said = run("run", "remote", "tap-x", "target-y")
    assert said.out == "ok: 2 records (orders 2) in 1.2 s\n"
    assert said.err == "queued\nrunning: 1 record (orders 1)\n"


def test_a_detached_run_prints_its_id_and_is_found_again(run: Run, flext: FlextService) -> None:
    assert run("run", "remote", "tap-x", "target-y", "--detach").out == "exec-0\n"
    flext.states = [{"status": "running", "records": 5}, {"status": "failed", "error": "no disk"}]
    assert run("status", "remote", "exec-0").out == "running: 5 records (records 5)\n"
    said = run("status", "remote", "exec-0", "--json", expect=1)
    assert (json.loads(said.out)["state"], json.loads(said.out)["error"]) == ("failed", "no disk")
    assert "error: no disk" in run("status", "remote", "exec-0", "--wait", expect=1).err
    said = run("dbt", "remote", "--detach", "--json")
    assert json.loads(said.out) == {"service": "remote", "id": "exec-1"}


def test_cancel_is_posted(run: Run, flext: FlextService) -> None:
    assert run("cancel", "remote", "exec-7").out == "ok: told to end\n"
    (received,) = flext.service.received
    assert (received.method, received.path) == ("POST", "/api/v1/pipelines/exec-7/cancel")


def test_a_run_at_a_service_that_takes_too_long_goes_on(run: Run, flext: FlextService) -> None:
    flext.states = [{"status": "running"}]
    said = run("run", "remote", "t", "l", "--timeout", "0.2", "-c", "flext.toml", expect=1)
    assert said.err.splitlines()[-1] == (
        "still running after 0.2 s; it goes on: "
        "flext-plugins meltano status remote exec-0 -c flext.toml"
    )


def test_a_run_on_this_machine_that_takes_too_long_is_ended(run: Run, folder: Path) -> None:
    work = steps(["child"], ["sleep", 60])
    said = run("run", "shop", "tap-shop", "target-lake", *work, "--timeout", "0.5", expect=1)
    assert "error: it was ended" in said.err.splitlines()
    assert said.err.splitlines()[-1] == "still running after 0.5 s"
    assert ended(int((folder / "child.pid").read_text()))


def test_a_service_that_goes_away_is_told_with_how_to_look_again(
    run: Run, flext: FlextService
) -> None:
    flext.states = [{"status": "running"}, {"status": "what?"}]
    said = run("run", "remote", "tap-x", "target-y", "--json", expect=1)
    advice, error = said.err.splitlines()
    assert advice == "it may go on: flext-plugins meltano status remote exec-0"
    assert "the service's status is 'what?'" in error


@pytest.mark.parametrize("command", ["status", "cancel"])
def test_a_run_of_another_process_on_this_machine_cannot_be_had(run: Run, command: str) -> None:
    (line,) = run(command, "shop", "some-id", expect=1).err.splitlines()
    assert "shop: runs on this machine belong to the process that started them" in line


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown service": (("run", "shopp", "a", "b"), "did you mean 'shop'?"),
    "no such pipelines": (("dbt", "shop", "--name", "other"), "lends no Pipelines named"),
    "no configuration": (("dbt", "shop", "-c", "gone.toml"), "gone.toml: no such file"),
    "an unknown tap": (("run", "shop", "tap-gone", "target-lake"), "no tap 'tap-gone'"),
    "an unknown model": (("dbt", "shop", "gone"), "no model 'gone'"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_in_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    (line,) = run(*arguments, expect=1).err.splitlines()
    assert said in line


SENSELESS: dict[str, tuple[str, ...]] = {
    "no settings": ("run", "shop", "t", "l", "--set", "password"),
    "a setting that is no JSON": ("run", "shop", "t", "l", "--set", "a:={"),
    "variables that are no object": ("dbt", "shop", "--vars", "[1]"),
    "a state that is not there": ("run", "shop", "t", "l", "--state", "gone.json"),
    "a catalog that is no JSON": ("run", "shop", "t", "l", "--catalog", "flext.toml"),
    "detached on this machine": ("run", "shop", "tap-shop", "target-lake", "--detach"),
    "no time at all": ("dbt", "shop", "--timeout", "0"),
}


@pytest.mark.parametrize("arguments", SENSELESS.values(), ids=SENSELESS)
def test_what_makes_no_sense_is_refused(run: Run, shop: Any, arguments: tuple[str, ...]) -> None:
    assert run(*arguments, expect=2).out == ""
    assert shop.calls() == []


def test_what_steers_a_terminal_is_shown_and_not_obeyed(run: Run, flext: FlextService) -> None:
    work = steps(["records", {f"a{STEER}": 1}], ["stderr", f"ERROR {STEER}"])
    said = run("run", "shop", "tap-shop", "target-lake", *work)
    assert r"a\u001b]0;owned\u0007 1" in said.out
    assert r"complaint: tap-shop: ERROR \u001b]0;owned\u0007" in said.out
    flext.states = [{"status": "failed", "error": STEER, "failures": [STEER]}]
    assert r"error: \u001b" in run("status", "remote", f"exec{STEER}", expect=1).out
    flext.next = [Answer(500, body=json.dumps({"detail": STEER}).encode())]
    assert r"500 \u001b" in run("status", "remote", "exec-0", expect=1).err


def started(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_on_this_machine_and_all_of_it(
    folder: Path, shop: Any, number: signal.Signals
) -> None:
    work = steps(["child"], ["ready"], ["sleep", 60])
    before = signal.signal(number, signal.SIG_DFL)  # below nohup it is ignored, and stays so
    try:
        process = started(folder, "run", "shop", "tap-shop", "target-lake", *work)
    finally:
        signal.signal(number, before)
    with process:
        wait_for(lambda: (folder / "ready").exists() and (folder / "ready").read_text())
        assert process.stderr is not None
        assert any(line == b"running\n" for line in process.stderr)  # it is followed by now
        process.send_signal(number)
        _, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + number
    lines = stderr.decode().splitlines()
    assert "interrupted: waiting for its programs to end" in lines
    assert lines[-1] == "interrupted"
    assert b"Traceback" not in stderr
    assert ended(int((folder / "child.pid").read_text()))
    assert ended(int((folder / "ready").read_text()))
    assert shop.left == []


def test_another_ctrl_c_ends_programs_at_once_that_do_not_listen(folder: Path, shop: Any) -> None:
    patient = (folder / "flext.toml").read_text().replace("kill_after = 1.0", "kill_after = 60.0")
    (folder / "flext.toml").write_text(patient)
    work = steps(["deaf"], ["ready"], *([["sleep", 1]] * 60))
    with started(folder, "run", "shop", "tap-shop", "target-lake", *work) as process:
        wait_for(lambda: (folder / "ready").exists() and (folder / "ready").read_text())
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert ended(int((folder / "ready").read_text()))
    assert shop.left == []


def test_ctrl_c_leaves_a_run_at_a_service_alone_and_says_how_to_look_at_it(
    folder: Path, flext: FlextService
) -> None:
    flext.states = [{"status": "running", "records": {"orders": 1}}]
    with started(folder, "run", "remote", "tap-x", "target-y") as process:
        wait_for(lambda: len(flext.service.received) > 2)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    advice = "interrupted; it goes on: flext-plugins meltano status remote exec-0"
    assert stderr.decode().splitlines()[-1] == advice
    assert not any(each.path.endswith("/cancel") for each in flext.service.received)


def test_ctrl_c_ends_a_submit_that_the_service_does_not_answer(
    folder: Path, flext: FlextService
) -> None:
    flext.next = [Answer(delay=60)]
    with started(folder, "run", "remote", "tap-x", "target-y") as process:
        wait_for(lambda: flext.service.received)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert stderr.decode() == "interrupted\n"


def test_a_terminal_gets_what_moves_as_it_moves(folder: Path) -> None:
    ours, theirs = pty.openpty()
    work = steps(["records", {f"a{STEER}": 3, "people": 4}], ["sleep", 1])
    with subprocess.Popen(
        [*COMMAND, "run", "shop", "tap-shop", "target-lake", *work],
        cwd=folder,
        env=environment(TERM="xterm-256color", COLUMNS="120"),
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = until_closed(ours)
        assert process.wait(SECONDS) == 0
        assert process.stdout is not None
        assert process.stdout.read().startswith(b"ok: 7 records (people 4, a")
    assert "\x1b[" in said
    assert "\x1b]" not in said
    assert re.search(r"running, 7 records, \d s", said)
    assert re.search(r"people +4", said)
    assert re.search(r"a\\u001b\]0;owned\\u0007 +3", said)


def until_closed(terminal: int) -> str:
    said, end = b"", time.monotonic() + SECONDS
    with os.fdopen(terminal, "rb", buffering=0) as file:
        try:
            while select.select([file], [], [], end - time.monotonic())[0]:
                said += file.read(1000)
        except OSError:  # how the other end's end is told
            pass
    return said.decode()
