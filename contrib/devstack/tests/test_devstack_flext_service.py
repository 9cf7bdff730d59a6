"""Pipelines at FLEXT Service: JSON lines, copied from file to file."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flext_plugins_devstack import Devstack
from flext_plugins_devstack.flext_service import MOST_BYTES
from flext_plugins_meltano import PipelineError, Pipelines, RunCancelled, RunFailed, StillRunning

from flext_plugins import Host

pytestmark = pytest.mark.usefixtures("stack")

EXECUTE = "/api/v1/pipelines/execute"
MELTANO = "/api/v1/meltano/execute"
DBT = "/api/v1/transformations/dbt/run"
BUILT_IN = {"tap": "oracle-db-prod", "target": "data-warehouse"}
AT_END = {"Prefer": "wait=5"}


@pytest.fixture(scope="module")
def service(running: Devstack) -> Iterator[httpx.Client]:
    """A client of a FLEXT Service."""
    with httpx.Client(base_url=running.flext_service.url, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def slow(stack: Devstack, lines: Any) -> Iterator[dict[str, str]]:
    """A pipeline that takes half a minute, or until the end of the test."""
    lines("long", *[{"n": number} for number in range(3000)])
    is_over = threading.Event()

    def wait(record: dict[str, Any]) -> dict[str, Any]:
        if is_over.wait(0.01):
            raise ValueError("the test is over")
        return record

    stack.flext_service.transforms["slow"] = wait
    yield {"tap": "long", "target": "out", "transform": "slow"}
    is_over.set()


@pytest.fixture
def lines(stack: Devstack, tmp_path: Path) -> Any:
    """Configures a tap with these lines, as JSON unless they are bytes, and a target `out`."""
    stack.flext_service.targets["out"] = tmp_path / "out.jsonl"

    def write(tap: str, *records: Any) -> Path:
        texts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in records]
        file = tmp_path / f"{tap}.jsonl"
        file.write_bytes(b"".join(each + b"\n" for each in texts))
        stack.flext_service.taps[tap] = file
        return tmp_path / "out.jsonl"

    return write


def read(file: Path) -> list[Any]:
    return [json.loads(each) for each in file.read_text().splitlines()]


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert told["status"] == response.status_code
    return response.status_code, told["detail"]


def copied(service: httpx.Client, **job: Any) -> dict[str, Any]:
    response = service.post(EXECUTE, json={"target": "out", **job}, headers=AT_END)
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def test_a_built_in_data_set_is_copied_and_counted(stack: Devstack, service: httpx.Client) -> None:
    run = copied(service, **BUILT_IN)
    written = read(stack.flext_service.folder / "data-warehouse.jsonl")
    assert (run["status"], run["records"]) == ("succeeded", {"customers": len(written)})
    assert written[0]["email"] == "Ana.Silva@Example.ORG"


def test_a_transform_changes_each_record(stack: Devstack, service: httpx.Client) -> None:
    copied(service, **BUILT_IN, transform="customer-normalization")
    first, *_ = read(stack.flext_service.folder / "data-warehouse.jsonl")
    assert first == {
        "id": 1,
        "name": "Ana Silva",
        "email": "ana.silva@example.org",
        "country": "BR",
    }


def test_a_submit_is_answered_before_the_run_is_over_unless_it_asks_to_wait(
    service: httpx.Client, slow: dict[str, str]
) -> None:
    response = service.post(EXECUTE, json=slow)
    assert response.status_code == 202
    assert response.json()["status"] in {"queued", "running"}
    again = service.get(response.headers["location"]).json()
    assert again["execution_id"] == response.json()["execution_id"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"{broken", "it is no JSON"),
        (b"[1]", "it is no JSON object"),
        (b'{"a": NaN}', "it is no JSON"),
        (b'{"a": "\xff"}', "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b'{"a": "' + b"x" * 1_048_576 + b'"}', "over 1048576 bytes"),
    ],
)
def test_a_bad_line_fails_the_run_by_its_number_and_what_came_before_it_is_counted(
    service: httpx.Client, lines: Any, bad: bytes, why: str
) -> None:
    out = lines("orders", {"n": 1}, b"", {"n": 2}, bad, {"n": 3})
    run = copied(service, tap="orders")
    assert (run["status"], run["error"]) == ("failed", f"orders.jsonl: line 4: {why}")
    assert read(out) == [{"n": 1}, {"n": 2}]
    assert run["records"] == {"orders": 2}


def test_a_record_that_its_transform_cannot_take_fails_the_run_by_its_line(
    stack: Devstack, service: httpx.Client, lines: Any
) -> None:
    lines("orders", {"n": 1}, {"m": 2})
    stack.flext_service.transforms["n-alone"] = lambda record: {"n": record["n"]}
    run = copied(service, tap="orders", transform="n-alone")
    assert (run["status"], run["error"]) == ("failed", "orders.jsonl: line 2: 'n'")


def test_a_file_that_is_not_there_fails_the_run(
    stack: Devstack, service: httpx.Client, lines: Any, tmp_path: Path
) -> None:
    stack.flext_service.taps["gone"] = tmp_path / "gone.jsonl"
    run = copied(service, tap="gone")
    assert (run["status"], run["error"]) == ("failed", "gone.jsonl: No such file or directory")


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        (EXECUTE, {**BUILT_IN, "tap": "nope"}, "there is no tap 'nope'; there are: flext-tap-ora"),
        (EXECUTE, {**BUILT_IN, "target": "nope"}, "there is no target 'nope'; there are: data-"),
        (EXECUTE, {**BUILT_IN, "transform": "nope"}, "there is no transform 'nope'; there are: "),
        (EXECUTE, {**BUILT_IN, "config": {"a": 1}}, "a copy of JSON lines takes no config"),
        (EXECUTE, {"tap": 7}, "tap: Input should be a valid string; target: Field required"),
        (EXECUTE, {**BUILT_IN, "state": []}, "state: Input should be "),
        (EXECUTE, {**BUILT_IN, "sink": "a"}, "sink: Extra inputs are not permitted"),
        (EXECUTE, [], "Input should be an object"),
        (MELTANO, {"blocks": ["oracle-db-prod"]}, "a copy of JSON lines takes a tap, a target"),
        (MELTANO, {"blocks": []}, "blocks: List should have at least 1 item"),
        (MELTANO, {"blocks": ["oracle-db-prod", "nope"]}, "there is no target 'nope'"),
        (DBT, {"models": ["customers"]}, "there is no dbt project here"),
    ],
)
def test_what_cannot_be_run_is_a_problem_that_says_why(
    service: httpx.Client, path: str, body: Any, why: str
) -> None:
    status, detail = problem(service.post(path, json=body))
    assert status == 422
    assert detail.startswith(why)


@pytest.mark.parametrize("body", [b"", b"notjson", b'{"tap": ', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_a_bad_request(service: httpx.Client, body: bytes) -> None:
    assert problem(service.post(EXECUTE, content=body))[0] == 400


def test_a_body_that_is_too_long_is_not_read(service: httpx.Client) -> None:
    assert problem(service.post(EXECUTE, content=b" " * (MOST_BYTES + 1)))[0] == 413


def test_a_secret_that_was_posted_wrongly_is_not_shown(service: httpx.Client) -> None:
    body = {**BUILT_IN, "config": ["s3cret"], "password": "s3cret"}
    assert "s3cret" not in service.post(EXECUTE, json=body).text


def test_a_run_that_nobody_knows_and_a_path_that_is_none_are_not_found(
    service: httpx.Client,
) -> None:
    assert problem(service.get("/api/v1/pipelines/7/status")) == (404, "there is no run '7'")
    assert problem(service.post("/api/v1/pipelines/7/cancel")) == (404, "there is no run '7'")
    assert problem(service.get("/api/v2"))[0] == 404
    assert problem(service.get(EXECUTE))[0] == 405


def test_blocks_of_meltano_are_a_tap_a_target_and_a_transform(service: httpx.Client) -> None:
    blocks = ["flext-tap-oracle", "flext-target-oracle-wms", "flext-dbt-oracle-wms"]
    run = service.post(MELTANO, json={"name": "stock", "blocks": blocks}, headers=AT_END).json()
    assert (run["status"], run["records"]) == ("succeeded", {"stock": 7})


def test_the_same_key_twice_is_one_run_and_for_something_else_a_problem(
    service: httpx.Client, lines: Any
) -> None:
    lines("orders", {"n": 1})
    job, key = {"tap": "orders", "target": "out"}, {"Idempotency-Key": "nightly-7"}
    first, again = (service.post(EXECUTE, json=job, headers=key).json() for _ in range(2))
    other = service.post(EXECUTE, json=job, headers={"Idempotency-Key": "nightly-8"}).json()
    assert first["execution_id"] == again["execution_id"] != other["execution_id"]
    changed = service.post(EXECUTE, json={**job, "transform": None}, headers=key)
    assert problem(changed) == (422, "Idempotency-Key: it was for something else")
    assert problem(service.post(EXECUTE, json=job, headers={"Idempotency-Key": ""}))[0] == 400


def test_a_refused_submit_does_not_use_up_its_key(service: httpx.Client, lines: Any) -> None:
    job, key = {"tap": "later", "target": "out"}, {"Idempotency-Key": "later"}
    assert service.post(EXECUTE, json=job, headers=key).status_code == 422
    lines("later", {"n": 1})
    assert service.post(EXECUTE, json=job, headers=key).is_success


def test_cancelling_ends_a_run_and_those_that_wait_and_changes_none_that_is_over(
    service: httpx.Client, slow: dict[str, str], lines: Any
) -> None:
    going, waiting = (service.post(EXECUTE, json=slow).json()["execution_id"] for _ in range(2))
    assert service.post(f"/api/v1/pipelines/{waiting}/cancel").json()["status"] == "cancelled"
    service.post(f"/api/v1/pipelines/{going}/cancel")
    lines("orders", {"n": 1})
    run = copied(service, tap="orders")  # its turn comes as soon as the one before has ended
    ended = service.get(f"/api/v1/pipelines/{going}/status").json()
    assert (ended["status"], ended["error"]) == ("cancelled", "it was ended")
    assert ended["records"]["long"] < 3000
    over = service.post(f"/api/v1/pipelines/{run['execution_id']}/cancel").json()
    assert over["status"] == "succeeded"


def test_runs_wait_in_line_and_too_many_are_sent_away(
    service: httpx.Client, slow: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flext_plugins_devstack.flext_service.MOST_UNFINISHED", 50)
    answers = [service.post(EXECUTE, json=slow) for _ in range(51)]
    assert {each.status_code for each in answers[:-1]} == {202}
    assert problem(answers[-1]) == (503, "50 runs wait or go on already")
    assert answers[-1].headers["retry-after"] == "1"
    assert service.get("/health").json()["unfinished"] == 50
    states = [service.get(each.headers["location"]).json()["status"] for each in answers[:-1]]
    assert states.count("running") == 1


def test_runs_that_were_over_long_ago_are_forgotten_with_their_keys(
    service: httpx.Client, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flext_plugins_devstack.flext_service.MOST_FINISHED", 2)
    lines("orders", {"n": 1})
    job = {"tap": "orders", "target": "out"}
    headers = {**AT_END, "Idempotency-Key": "the first"}
    first = service.post(EXECUTE, json=job, headers=headers).headers["location"]
    last = [copied(service, tap="orders") for _ in range(3)][-1]
    assert problem(service.get(first))[0] == 404
    assert service.get(f"/api/v1/pipelines/{last['execution_id']}/status").status_code == 200
    assert service.post(EXECUTE, json=job, headers=headers).headers["location"] != first


def test_a_run_goes_on_while_the_service_is_down(
    stack: Devstack, service: httpx.Client, slow: dict[str, str]
) -> None:
    where = service.post(EXECUTE, json=slow).headers["location"]
    stack.flext_service.down()
    stack.flext_service.up()
    before = service.get(where).json()
    time.sleep(0.05)
    after = service.get(where).json()
    assert (before["status"], after["status"]) == ("running", "running")
    assert after["records"]["long"] > before["records"]["long"]


def test_what_was_written_is_removed_and_a_run_ended_when_the_stack_is_closed(
    client: httpx.Client, tmp_path: Path
) -> None:
    endless = tmp_path / "endless.jsonl"
    endless.write_bytes(b"{}\n" * 100_000)

    def wait(record: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.01)
        return record

    with Devstack() as stack:
        folder = stack.flext_service.folder
        stack.flext_service.taps["endless"] = endless
        stack.flext_service.transforms["slow"] = wait
        job = {"tap": "endless", "target": "data-warehouse", "transform": "slow"}
        client.post(stack.flext_service.url + EXECUTE, json=job)
        assert folder.is_dir()
    assert not folder.exists()
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = stack.flext_service.folder


def test_a_protected_service_demands_a_token_but_for_its_health(client: httpx.Client) -> None:
    with Devstack(protected=True) as stack:
        refused = client.post(stack.flext_service.url + EXECUTE, json=BUILT_IN)
        assert problem(refused)[0] == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert client.get(stack.flext_service.url + "/health").status_code == 200


# the plugin


@pytest.fixture
def pipelines(stack: Devstack) -> Iterator[Pipelines]:
    service = {"base_url": stack.flext_service.url, "plugins": {"meltano": {"poll": 0.01}}}
    with Host({"services": {"flext-service": service}}) as host:
        yield host.resource("flext-service", Pipelines)


def test_the_plugin_reads_how_a_run_went(pipelines: Pipelines) -> None:
    status = pipelines.execute("oracle-db-prod", "data-warehouse").wait()
    assert (status.state, status.records) == ("succeeded", {"customers": 12})
    with pytest.raises(PipelineError, match="422 there is no tap 'nope'") as caught:
        pipelines.execute("nope", "data-warehouse")
    assert caught.value.code == 422


def test_the_plugin_reads_that_a_run_failed_goes_on_or_was_ended(
    pipelines: Pipelines, slow: dict[str, str], lines: Any
) -> None:
    lines("orders", b"{")
    with pytest.raises(RunFailed, match="orders.jsonl: line 1"):
        pipelines.execute("orders", "out").wait()
    execution = pipelines.execute(slow["tap"], slow["target"], transform=slow["transform"])
    with pytest.raises(StillRunning):
        execution.wait(0.05)
    execution.cancel()
    with pytest.raises(RunCancelled):
        execution.wait()
