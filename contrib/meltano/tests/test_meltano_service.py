"""Runs at a FLEXT Service: what is sent, what is made of the answers, and the plugins around it."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flext_plugins_meltano import (
    AsyncPipelines,
    Meltano,
    PipelineError,
    Pipelines,
    PipelinesUnavailable,
    RunCancelled,
    RunFailed,
    StillRunning,
)

from flext_plugins import DeadlineExceeded, Refused, options
from flext_plugins.testing import Answer, LoopbackService, Received, World


class FlextService:
    """Answers as FLEXT Service does: by its guide's paths and fields."""

    def __init__(self, service: LoopbackService) -> None:
        self.service, self.runs = service, {}  # type: ignore[var-annotated]
        self.states: list[dict[str, Any]] = [{"status": "completed"}]
        """What the status of a run is, at each look; the last one stays."""
        self.next: list[Answer] = []
        """Answers that come first."""
        service.answer = self

    def __call__(self, received: Received) -> Answer:
        if self.next:
            return self.next.pop(0)
        if received.method == "POST" and received.path.endswith("/cancel"):
            return self._json({})
        if received.method == "POST":
            run = self.runs.setdefault(
                received.headers["idempotency-key"], f"exec-{len(self.runs)}"
            )
            return self._json({"execution_id": run}, 202)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return self._json(state)

    def _json(self, body: Any, status: int = 200) -> Answer:
        headers = {"Content-Type": "application/json"}
        return Answer(status, headers=headers, body=json.dumps(body).encode())


@pytest.fixture(params=["httpx sync", "httpx async"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Threads, and an event loop."""
    with World(request.param) as made:
        yield made


@pytest.fixture
def flext(flext_service: LoopbackService) -> FlextService:
    """The service that runs pipelines."""
    return FlextService(flext_service)


class Remote:
    """Pipelines at the service, in one of two worlds."""

    def __init__(self, world: World, url: str, **more: Any) -> None:
        settings = {"poll": 0.01, **more.pop("settings", {})}
        plugins = {"pipelines": settings, **more.pop("plugins", {})}
        config = {"services": {"service": {"base_url": url, "plugins": plugins, **more}}}
        self.world = world
        host = world.host(config, pipelines=Meltano)
        self.pipelines = world.resource(host, AsyncPipelines if world.asynchronous else Pipelines)

    def submit(self, method: str, *args: Any, **options: Any) -> Any:
        work = getattr(self.pipelines, method)
        return self.world.run(lambda: work(*args, **options))

    def wait(self, run: Any, *args: Any, **options: Any) -> Any:
        return self.world.run(lambda: run.wait(*args, **options))


def body_of(received: Received) -> Any:
    return json.loads(received.body)


def test_a_pipeline_is_posted_as_the_guide_says(world: World, flext: FlextService) -> None:
    remote = Remote(world, flext.service.url)
    run = remote.submit("execute", "tap-x", "target-y", config={"a": 1}, state={"b": 2})
    assert run.id == "exec-0"
    (received,) = flext.service.received
    assert (received.method, received.path) == ("POST", "/api/v1/pipelines/execute")
    assert received.headers["x-pipeline-type"] == "singer"
    assert body_of(received) == {
        "tap": "tap-x",
        "target": "target-y",
        "config": {"a": 1},
        "catalog": None,
        "state": {"b": 2},
    }


def test_dbt_is_posted_as_the_guide_says(world: World, flext: FlextService) -> None:
    remote = Remote(world, flext.service.url)
    remote.submit("dbt", ["customers"], project="/srv/dbt", vars={"x": 1})
    (received,) = flext.service.received
    assert received.path == "/api/v1/transformations/dbt/run"
    assert received.headers["x-transformation-engine"] == "dbt"
    expected = {"project_path": "/srv/dbt", "models": ["customers"], "vars": {"x": 1}}
    assert body_of(received) == {**expected, "target": "dev"}


def test_meltanos_own_blocks_are_posted_too(world: World, flext: FlextService) -> None:
    Remote(world, flext.service.url).submit("meltano", "tap-x", "target-y", full_refresh=True)
    (received,) = flext.service.received
    assert received.path == "/api/v1/meltano/execute"
    assert body_of(received)["blocks"] == ["tap-x", "target-y"]


def test_paths_and_fields_are_settings(world: World, flext: FlextService) -> None:
    flext.states = [{"phase": "Fertig"}]
    settings = {
        "execute_path": "/run",
        "status_path": "/runs/{id}",
        "state_field": "phase",
        "states": {"fertig": "succeeded"},
    }
    remote = Remote(world, flext.service.url, settings=settings)
    status = remote.wait(remote.submit("execute", "tap", "target"))
    assert status.state == "succeeded"
    assert flext.service.paths() == ["/run", "/runs/exec-0"]


def test_waiting_looks_again_and_again_with_growing_waits_and_tells_of_changes(
    world: World, flext: FlextService
) -> None:
    running = {"status": "running", "records": {"orders": 5}}
    flext.states = [{"status": "queued"}, *[running] * 6, {"status": "success", "duration": 2}]
    remote, told = Remote(world, flext.service.url), []  # type: ignore[var-annotated]
    started = time.monotonic()
    status = remote.wait(remote.submit("execute", "tap", "target"), on_progress=told.append)
    assert time.monotonic() - started > 0.01 * (1 + 1.5 + 1.5**2 + 1.5**3 + 1.5**4 + 1.5**5)
    assert [(each.state, each.moved) for each in told] == [
        ("queued", 0),
        ("running", 5),
        ("succeeded", 0),
    ]
    assert (status.duration, status.answer["status"]) == (2, "success")


def test_a_run_that_fails_or_is_cancelled_there_is_an_error_with_its_status(
    world: World, flext: FlextService
) -> None:
    remote = Remote(world, flext.service.url)
    flext.states = [{"status": "failed", "error": "no such table", "failures": ["test.a"]}]
    with pytest.raises(RunFailed, match="tap target: no such table") as caught:
        remote.wait(remote.submit("execute", "tap", "target"))
    assert caught.value.status.failures == ("test.a",)
    flext.states = [{"status": "cancelled"}]
    with pytest.raises(RunCancelled):
        remote.wait(remote.submit("execute", "tap", "target"))


def test_a_run_can_be_found_again_and_cancelled_by_its_id(
    world: World, flext: FlextService
) -> None:
    remote = Remote(world, flext.service.url)
    run = remote.pipelines.execution("exec/7?x")
    world.run(run.cancel)
    assert flext.service.paths() == ["/api/v1/pipelines/exec%2F7%3Fx/cancel"]


def test_a_submit_that_retry_repeats_is_one_run(world: World, flext: FlextService) -> None:
    flext.next = [Answer(503), Answer(reset=True)]
    plugins = {"retry": {"attempts": 3, "backoff": 0.01}}
    remote = Remote(world, flext.service.url, plugins=plugins)
    remote.submit("execute", "tap", "target")
    keys = {each.headers["idempotency-key"] for each in flext.service.received}
    assert (len(flext.service.received), len(keys), len(flext.runs)) == (3, 1, 1)
    remote.submit("execute", "tap", "target")
    assert len(flext.runs) == 2
    for _ in range(2):
        remote.submit("execute", "tap", "target", key="mine")
    assert len(flext.runs) == 3


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(404, body=b'{"detail": "no tap tap-x"}'), "404 no tap tap-x"),
        (Answer(422, body=b"<html>"), "422$"),
        (Answer(500, body=b'{"error": "broken"}'), "500 broken"),
        (Answer(200, body=b"[]"), "no JSON object"),
        (Answer(200, body=b"not json"), "no JSON object"),
        (Answer(200, body=b'{"id": 1}'), "no 'execution_id'"),
    ],
)
def test_an_answer_that_is_none_says_what_it_was(
    world: World, flext: FlextService, answer: Answer, reason: str
) -> None:
    flext.next = [answer]
    with pytest.raises(PipelineError, match=reason) as caught:
        Remote(world, flext.service.url).submit("execute", "tap", "target")
    assert caught.value.service == "service"
    assert not isinstance(caught.value, PipelinesUnavailable)


def test_a_state_that_nobody_knows_names_the_setting(world: World, flext: FlextService) -> None:
    flext.states = [{"status": "purple"}]
    remote = Remote(world, flext.service.url)
    with pytest.raises(PipelineError, match="'purple', which states does not explain"):
        remote.wait(remote.submit("execute", "tap", "target"))


def test_a_service_that_is_down_is_unavailable_and_opens_the_circuit(
    world: World, flext: FlextService
) -> None:
    flext.service.refuse()
    plugins = {"circuit-breaker": {"failure_threshold": 3}}
    remote = Remote(world, flext.service.url, plugins=plugins)
    kinds = []
    for _ in range(6):
        with pytest.raises((PipelinesUnavailable, Refused)) as caught:
            remote.submit("execute", "tap", "target")
        kinds.append(type(caught.value).__name__)
    assert kinds[0] == "Unreachable"
    assert kinds[-1] == "CircuitOpen"


def test_a_service_that_dies_in_mid_run_is_told_within_the_deadline(
    world: World, flext: FlextService
) -> None:
    flext.states = [{"status": "running"}]
    remote = Remote(world, flext.service.url)
    run = remote.submit("execute", "tap", "target")
    with options(deadline=0.5), pytest.raises(DeadlineExceeded):
        remote.wait(run)
    flext.service.refuse()
    with options(deadline=0.5), pytest.raises((PipelinesUnavailable, DeadlineExceeded)):
        remote.wait(run)


def test_waiting_ends_when_it_has_lasted_long_enough(world: World, flext: FlextService) -> None:
    flext.states = [{"status": "running"}]
    remote = Remote(world, flext.service.url)
    with pytest.raises(StillRunning, match=r"0\.2 s"):
        remote.wait(remote.submit("execute", "tap", "target"), 0.2)


@pytest.mark.parametrize("key", ["a\r\nX-Forged: 1", "\udcff", "a\0b", "kunde ä", " a", "a" * 256])
def test_a_key_that_no_header_can_carry_is_told_and_nothing_is_sent(
    world: World, flext: FlextService, key: str
) -> None:
    remote = Remote(world, flext.service.url)
    with pytest.raises(ValueError, match="key takes 1 to 255 characters of visible ASCII"):
        remote.submit("execute", "tap", "target", key=key)
    assert flext.service.received == []
