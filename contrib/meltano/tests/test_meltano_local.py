"""Runs on this machine: what they report, how they end, and that nothing of them is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_meltano import PipelineError, RunCancelled, RunFailed, StillRunning

from flext_plugins import ConfigError, DeadlineExceeded, hookimpl, options

SECRET = "s3cret-of-the-shop"


def wait_for(check: Any, seconds: float = 20.0) -> None:
    """Wait until `check()` is true."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ended(pid: int) -> bool:
    """Whether a process has ended, or does so now: one that was killed goes on for a moment."""
    wait_for(lambda: not alive(pid))
    return True


def test_a_run_reports_the_records_of_each_stream(lend: Any) -> None:
    run = lend().execute(["records", {"orders": 3, "people": 2}], ["records", {"orders": 4}])
    status = run.wait()
    assert (status.state, status.records, status.moved) == (
        "succeeded",
        {"orders": 7, "people": 2},
        9,
    )
    assert status.exit_codes == {"meltano": 0}
    assert status.duration is not None
    assert run.status() == status


def test_a_tap_that_logs_an_error_and_ends_well_is_told_as_that(lend: Any) -> None:
    status = (
        lend().execute(["stderr", "ERROR row 7 is bad"], ["stderr", "all ERRORS are gone"]).wait()
    )
    assert status.state == "succeeded"
    assert status.complaints == ("tap-shop: ERROR row 7 is bad",)


def test_a_tap_that_fails_is_a_failed_run_with_its_code(lend: Any) -> None:
    run = lend().execute(["stderr", "CRITICAL no such host"], ["fail", 3])
    with pytest.raises(RunFailed, match="tap-shop target-lake: Extractor failed") as caught:
        run.wait()
    status = caught.value.status
    assert status.exit_codes == {"extractors": 3, "meltano": 1}
    assert status.complaints == ("tap-shop: CRITICAL no such host",)
    assert caught.value.service == "service"


def test_progress_is_told_when_it_changes_and_no_more_often(lend: Any) -> None:
    told: list[tuple[str, int]] = []
    steps = [["records", {"a": 1}], ["sleep", 0.5], ["records", {"a": 1}]]
    lend().execute(*steps).wait(
        on_progress=lambda status: told.append((status.state, status.moved))
    )
    assert told[-1] == ("succeeded", 2)
    assert ("running", 1) in told
    assert len(told) == len(set(told))


def test_garbage_and_a_flood_of_output_harm_nobody(lend: Any) -> None:
    steps = [["garbage", 1000], ["flood", 20_000], ["long", 3_000_000], ["records", {"a": 5}]]
    assert lend().execute(*steps).wait().records == {"a": 5}


def test_a_program_that_is_not_there_is_a_mistake_in_the_settings(lend: Any) -> None:
    with pytest.raises(ConfigError, match="no program '/nowhere/meltano'; the setting meltano"):
        lend(meltano="/nowhere/meltano").execute()


def test_whatever_stands_in_a_line_of_the_log_the_next_ones_are_read(lend: Any) -> None:
    strange = [
        '{"info": "x"}',
        '{"metric_info": {"tags": "x", "value": "y"}}',
        "[1]",
        '{"event": 7}',
    ]
    status = lend().execute(["say", strange], ["flood", 200], ["records", {"a": 2}]).wait()
    assert (status.state, status.records) == ("succeeded", {"a": 2})


def test_what_a_target_counts_again_is_not_counted_twice(lend: Any) -> None:
    again = {"metric": "record_count", "value": 5, "tags": {"stream": "a"}}
    line = json.dumps({"event": "METRIC", "metric_info": again, "consumer": True})
    assert lend().execute(["records", {"a": 5}], ["say", [line]]).wait().records == {"a": 5}


def test_a_child_that_left_the_group_does_not_keep_the_run_from_ending(
    lend: Any, shop: Any
) -> None:
    assert lend().execute(["escape"], ["records", {"a": 1}]).wait(20).moved == 1
    os.kill(int((shop.folder / "child.pid").read_text()), signal.SIGKILL)


def test_a_run_in_line_can_be_cancelled_and_ends_with_its_deadline(lend: Any, shop: Any) -> None:
    lent = lend()
    first = lent.execute(["ready"], ["sleep", 600])
    lent.until((shop.folder / "ready").exists)
    second = lent.execute()
    second.cancel()
    with pytest.raises(RunCancelled, match="it was ended"):
        second.wait(5)
    with options(deadline=0.3):
        third = lent.execute()
    with pytest.raises(RunCancelled, match="deadline"):
        third.wait(5)
    first.cancel()
    assert _end(first).state == "cancelled"
    assert len(shop.calls()) == 1


def test_a_child_forked_in_mid_run_holds_neither_the_turn_nor_the_program(
    shop: Any,
) -> None:
    config = {"services": {"s": {"plugins": {"pipelines": shop.settings()}}}}
    text = f"""
import os, pathlib, time
from flext_plugins import Host
from flext_plugins_meltano import Meltano, Pipelines
host = Host({config!r})
host.register(Meltano, name="pipelines")
pipelines = host.resource("s", Pipelines)
def execute(steps):
    return pipelines.execute("tap-shop", "target-lake", config={{"do": steps}})
first = execute('[["ready"], ["sleep", 0.5]]')
while not pathlib.Path({str(shop.folder / "ready")!r}).exists():
    time.sleep(0.01)
child = os.fork()
if not child:
    os.close(1), os.close(2)
    time.sleep(600)
first.wait()
print(execute("[]").wait(10).state)
second = execute('[["child"], ["ready"], ["sleep", 600]]')
while not pathlib.Path({str(shop.folder / "child.pid")!r}).exists():
    time.sleep(0.01)
print(child, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False
    )
    state, child = done.stdout.split()
    os.kill(int(child), signal.SIGKILL)
    assert state == "succeeded", done.stderr
    number = int((shop.folder / "child.pid").read_text())
    assert ended(number)


def test_the_operation_is_over_when_a_run_is(lend: Any) -> None:
    class Recorder:
        """Notes when an operation is over, a little later."""

        over = 0

        @hookimpl
        async def flext_operation(self, operation: Any, proceed: Any, connection: Any) -> Any:
            try:
                return await proceed(operation)
            finally:
                await connection.sleep(0.1)
                Recorder.over += 1

    lend(register={"recorder": Recorder}).execute().wait()
    assert Recorder.over == 1


def test_config_catalog_and_state_reach_the_tap_by_its_environment_and_files_of_its_own(
    lend: Any, shop: Any
) -> None:
    lend().execute(
        config={"password": SECRET, "rows.most": 7}, catalog={"streams": []}, state={"last": 3}
    ).wait()
    (call,) = shop.calls()
    assert call["settings"]["TAP_SHOP_PASSWORD"] == SECRET
    assert call["settings"]["TAP_SHOP_ROWS_MOST"] == "7"
    assert {name: json.loads(text) for name, text in call["extra"].items()} == {
        "TAP_SHOP__CATALOG": {"streams": []},
        "TAP_SHOP__STATE": {"last": 3},
    }
    assert set(call["modes"].values()) == {"0o600"}
    assert SECRET not in " ".join(call["words"])
    files = [call["settings"][name] for name in call["extra"]]
    assert not any(Path(each).exists() for each in files)


def test_nothing_else_of_our_environment_is_handed_on(
    lend: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", SECRET)
    monkeypatch.setenv("TAP_TOKEN_OF_OURS", "another-secret")
    lend(variables={"TAP_SHOP_PASSWORD": "env:TAP_TOKEN_OF_OURS"}).execute().wait()
    (call,) = shop.calls()
    assert "DATABASE_PASSWORD" not in call["environment"]
    assert call["settings"]["TAP_SHOP_PASSWORD"] == "another-secret"


def test_a_secret_is_nowhere_to_be_seen_while_it_runs_and_after_each_way_to_end(
    lend: Any, shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lent = lend()
    for last in (["sleep", 0.3], ["fail", 1], ["die"], ["sleep", 600]):
        (shop.folder / "ready").unlink(missing_ok=True)
        steps = [["stderr", f"ERROR {SECRET} is wrong"], ["ready"], ["sleep", 0.2], last]
        nested = {"auth": [SECRET]} if last == ["die"] else SECRET
        run = lent.execute(*steps, config={"password": nested})
        lent.until((shop.folder / "ready").exists)
        words = [
            each.read_bytes() for each in Path("/proc").glob("[0-9]*/cmdline") if each.exists()
        ]
        assert not any(SECRET.encode() in each for each in words)
        assert all(each.stat().st_mode & 0o077 == 0 for each in shop.left)
        if last == ["sleep", 600]:
            run.cancel()
        status = _end(run)
        assert SECRET not in repr(status)
        assert "***" in status.complaints[0]
        assert shop.left == []
    assert SECRET not in caplog.text
    found = [
        each for each in shop.folder.rglob("*") if each.is_file() and each.name != "calls.jsonl"
    ]
    assert not any(SECRET in each.read_text(errors="replace") for each in found)


def _end(run: Any) -> Any:
    try:
        return run.wait()
    except RunFailed as error:
        return error.status


def test_what_the_program_leaves_behind_ends_with_it(lend: Any, shop: Any) -> None:
    lent = lend()
    for last in (["sleep", 0], ["fail", 1], ["die"]):
        _end(lent.execute(["child"], last))
        assert ended(int((shop.folder / "child.pid").read_text()))


@pytest.mark.parametrize("is_deaf", [False, True])
def test_cancelling_ends_all_of_it_and_the_next_run_goes_ahead(
    lend: Any, shop: Any, is_deaf: bool
) -> None:
    lent = lend()
    run = lent.execute(["child"], *([["deaf"]] if is_deaf else []), ["ready"], ["sleep", 600])
    lent.until((shop.folder / "ready").exists)
    run.cancel()
    with pytest.raises(RunCancelled):
        run.wait()
    for file in ("ready", "child.pid"):
        assert ended(int((shop.folder / file).read_text()))
    run.cancel()  # it has ended, and stays as it is
    assert lent.execute(["records", {"a": 1}]).wait().moved == 1


def test_a_run_ends_with_the_deadline_of_its_call(lend: Any, shop: Any) -> None:
    lent, started = lend(), time.monotonic()
    with options(deadline=1.0):
        run = lent.execute(["ready"], ["sleep", 600])
        with pytest.raises((DeadlineExceeded, RunCancelled), match="deadline|no time left"):
            run.wait()
    assert time.monotonic() - started < 5
    lent.until((shop.folder / "ready").exists)
    lent.until(lambda: not alive(int((shop.folder / "ready").read_text())))
    assert _end(run).state == "cancelled"


def test_who_waits_long_enough_is_told_that_it_still_runs(lend: Any) -> None:
    run = lend().execute(["sleep", 0.8])
    with pytest.raises(StillRunning, match=r"0\.3 s") as caught:
        run.wait(0.3)
    assert not caught.value.status.is_over
    assert run.wait().state == "succeeded"


def test_runs_of_a_project_wait_for_each_other(lend: Any, shop: Any) -> None:
    lent = lend()
    runs = [lent.execute(["records", {"a": 1}], ["sleep", 0.05]) for _ in range(10)]
    assert {each.status().state for each in runs} <= {"queued", "running", "succeeded"}
    assert [each.wait().moved for each in runs] == [1] * 10
    assert all("--force" not in each["words"] for each in shop.calls())


def test_fifty_that_wait_end_with_the_host(lend: Any, shop: Any) -> None:
    lent = lend()
    runs = [lent.execute(["ready"], ["sleep", 600]) for _ in range(50)]
    lent.until((shop.folder / "ready").exists)
    assert [each.status().state for each in runs[1:]] == ["queued"] * 49
    lent.close()
    assert ended(int((shop.folder / "ready").read_text()))
    assert len(shop.calls()) == 1


def test_the_same_key_is_one_run(lend: Any, shop: Any) -> None:
    lent = lend()
    first, second = (lent.execute(["records", {"a": 1}], key="k") for _ in range(2))
    assert first.id == second.id
    first.wait()
    assert len(shop.calls()) == 1
    again = lent.pipelines.execution(first.id)
    assert lent.world.run(again.status).moved == 1


def test_after_a_crash_of_the_program_or_of_this_process_the_next_run_goes_ahead(
    lend: Any, shop: Any
) -> None:
    lent = lend()
    with pytest.raises(RunFailed, match="-9"):
        lent.execute(["die"], config={"password": SECRET}).wait()
    assert shop.left == []
    lent.execute().wait()
    lent.execute().wait()
    forced = ["--force" in each["words"] for each in shop.calls()]
    assert forced == [False, True, True]  # for as long as Meltano remembers


def test_a_run_ends_with_the_process_that_started_it(shop: Any) -> None:
    settings = shop.settings()
    config = {"services": {"s": {"plugins": {"pipelines": settings}}}}
    text = f"""
from flext_plugins import Host
from flext_plugins_meltano import Meltano, Pipelines
host = Host({config!r})
host.register(Meltano, name="pipelines")
steps = '[["child"], ["deaf"], ["ready"], ["sleep", 600]]'
host.resource("s", Pipelines).execute("tap-shop", "target-lake", config={{"do": steps}}).wait()
"""
    ours = subprocess.Popen([sys.executable, "-c", text])
    wait_for((shop.folder / "ready").exists)
    os.kill(ours.pid, signal.SIGKILL)
    ours.wait()
    for file in ("ready", "child.pid"):
        number = int((shop.folder / file).read_text())
        assert ended(number)


def test_dbt_builds_the_models_and_a_failing_test_is_a_failed_run_with_its_name(
    lend: Any, shop: Any
) -> None:
    lent = lend()
    status = lent.submit("dbt", ["customers+"], vars={"day": "2026-11-29"}, target="prod").wait()
    assert status.exit_codes == {"dbt": 0}
    (call,) = shop.calls("dbt-calls.jsonl")
    words = call["words"]
    assert words[words.index("--select") + 1] == "customers+"
    assert words[words.index("--target") + 1] == "prod"
    assert json.loads(words[words.index("--vars") + 1]) == {"day": "2026-11-29"}


def test_a_failing_dbt_test_is_named(lend: Any) -> None:
    name = "test.shop.unique_customers_id"
    run = lend(variables={"DBT_WRONG": json.dumps([name])}).submit("dbt", "customers")
    with pytest.raises(RunFailed, match=name) as caught:
        run.wait()
    assert caught.value.status.failures == (name,)


@pytest.mark.parametrize(
    ("method", "arguments", "reason"),
    [
        ("execute", ("tap-none", "target-lake"), "no tap 'tap-none'; it has: tap-shop"),
        ("execute", ("tap-shop", "--help"), "no target '--help'"),
        ("execute", ("tap-shop\n", "target-lake"), "no tap"),
        ("meltano", (), "nothing to run"),
        ("meltano", ("tap-shop", "dbt-duckdb:drop"), "no plugin or job 'dbt-duckdb:drop'"),
        ("meltano", ("; rm -rf /",), "no plugin or job"),
        ("dbt", (["--profiles-dir=/tmp"],), "no model"),
        ("dbt", (["customers", "tag:x"],), "no model 'tag:x'"),
    ],
)
def test_what_the_project_does_not_have_is_refused(
    lend: Any, shop: Any, method: str, arguments: Any, reason: str
) -> None:
    with pytest.raises(PipelineError, match=reason):
        lend().submit(method, *arguments)
    assert shop.calls() == []


def test_settings_and_variables_that_are_none_are_refused(lend: Any) -> None:
    lent = lend()
    with pytest.raises(PipelineError, match="tap-shop has no setting 'colour'"):
        lent.execute(config={"colour": "blue"})
    with pytest.raises(PipelineError, match="looks like a secret"):
        lent.submit("dbt", "customers", vars={"db": [{"password": SECRET}]})
    with pytest.raises(PipelineError, match="looks like a secret"):
        lent.submit("dbt", "customers", vars={"password": SECRET})
    with pytest.raises(PipelineError, match="no environment 'moon'; it has: dev, prod"):
        lent.submit("meltano", "nightly", environment="moon")


def test_blocks_commands_and_jobs_of_the_project_run(lend: Any, shop: Any) -> None:
    lend(environment="prod").submit(
        "meltano", "tap-shop", "target-lake", "dbt-duckdb:build", "nightly", full_refresh=True
    ).wait()
    (call,) = shop.calls()
    assert call["words"] == [
        *("--log-format", "json", "--environment", "prod", "run", "--full-refresh"),
        *("tap-shop", "target-lake", "dbt-duckdb:build", "nightly"),
    ]


def test_a_folder_that_is_not_there_is_a_mistake_in_the_settings(lend: Any) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        lend(project="/nowhere").pipelines  # noqa: B018
