"""FlexCore forwards the commands of FLEXT's guide to FLEXT Service."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from flext_plugins_devstack import Devstack, Fault

from flext_plugins import ServiceError, hookimpl, raise_for_status

pytestmark = pytest.mark.usefixtures("stack")

PLUGIN = "/api/v1/flexcore/plugins/flext-service/execute"
PIPELINE = "/api/v1/flexcore/pipelines/singer-etl-001/execute"
# Word for word.
HEALTH = (
    '{"operation": "health", "parameters": {}, "metadata": {"correlation_id": "health-check-001"}}'
)
PROCESS = """{"operation": "process_data",
 "parameters": {"source": "oracle-db-prod", "target": "data-warehouse",
                "transform": "customer-normalization"},
 "metadata": {"correlation_id": "pipeline-exec-123", "user_id": "system", "priority": "high"}}"""
SINGER = """{"pipeline_config": {"tap": "flext-tap-oracle", "target": "flext-target-oracle-wms",
                     "transform": "flext-dbt-oracle-wms"},
 "parameters": {"source_connection": "oracle-prod", "target_connection": "wms-staging",
                "batch_size": 1000, "parallel_jobs": 4},
 "metadata": {"correlation_id": "singer-pipeline-456", "execution_mode": "incremental",
              "data_classification": "customer-data"}}"""
COMMANDS = [(PLUGIN, HEALTH), (PLUGIN, PROCESS), (PIPELINE, SINGER)]


@pytest.fixture(scope="module")
def flexcore(running: Devstack) -> Iterator[httpx.Client]:
    """A client of a FlexCore."""
    with httpx.Client(base_url=running.flexcore.url, trust_env=False, timeout=10) as client:
        yield client


def processing(**parameters: Any) -> str:
    asked = json.loads(PROCESS)
    asked["parameters"] |= parameters
    return json.dumps(asked)


def test_health_is_that_of_the_service_now(stack: Devstack, flexcore: httpx.Client) -> None:
    answer = flexcore.post(PLUGIN, content=HEALTH).json()
    assert answer["flext_service"] == stack.flext_service.url
    own = flexcore.get(stack.flext_service.url + "/health").json()
    assert (answer["flext_status"], answer["capabilities"]) == (own["status"], own["capabilities"])
    stack.flext_service.fault(Fault(status=503))
    assert flexcore.post(PLUGIN, content=HEALTH).status_code == 503


@pytest.mark.parametrize(
    ("path", "body", "target", "records", "first"),
    [
        (PLUGIN, PROCESS, "data-warehouse", {"customers": 12}, {"name": "Ana Silva"}),
        (PIPELINE, SINGER, "flext-target-oracle-wms", {"stock": 7}, {"ITEM": "A-100"}),
    ],
)
def test_a_pipeline_of_the_guide_runs_and_its_records_are_those_of_the_target(
    stack: Devstack,
    flexcore: httpx.Client,
    path: str,
    body: str,
    target: str,
    records: dict[str, int],
    first: dict[str, str],
) -> None:
    response = flexcore.post(path, content=body)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["status"], answer["execution"]["status"]) == ("success", "succeeded")
    assert answer["execution"]["records"] == records
    assert answer["params"] == json.loads(body)
    written = (stack.flext_service.folder / f"{target}.jsonl").read_text().splitlines()
    assert [len(written)] == [*records.values()]
    assert first.items() <= json.loads(written[0]).items()


@pytest.mark.parametrize(("path", "body"), COMMANDS)
def test_the_correlation_id_goes_on(
    stack: Devstack, flexcore: httpx.Client, path: str, body: str
) -> None:
    flexcore.post(path, content=body)
    sent = stack.flext_service.received[-1].headers["x-correlation-id"]
    assert sent == json.loads(body)["metadata"]["correlation_id"]


class Users:
    """Names the user of each call to the service."""

    @hookimpl
    def flext_request(self, request: Any, connection: Any) -> None:
        call = connection.call
        request.headers["X-User"] = str(call and call.user)


def test_the_user_is_that_of_the_call_whose_plugins_may_look_it_up(client: httpx.Client) -> None:
    with Devstack(plugins={"users": {}}) as stack:
        stack.flexcore.host.register(Users, "users")
        assert client.post(stack.flexcore.url + PLUGIN, content=PROCESS).status_code == 200
        assert stack.flext_service.received[-1].headers["x-user"] == "system"


@pytest.mark.parametrize(("path", "body"), COMMANDS)
def test_with_the_service_down_it_is_named_and_nothing_is_said_to_have_succeeded(
    stack: Devstack, flexcore: httpx.Client, path: str, body: str
) -> None:
    stack.flext_service.down()
    response = flexcore.post(path, content=body)
    assert response.status_code == 502
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"].startswith("flext-service: ")
    stack.flext_service.up()
    assert flexcore.post(path, content=body).status_code == 200


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(status=500), 502),
        (Fault(status=503), 503),
        (Fault(reset=True), 502),
        (Fault(cut_body=5), 502),
    ],
    ids=str,
)
def test_a_service_that_fails_is_a_bad_gateway(
    stack: Devstack, flexcore: httpx.Client, fault: Fault, status: int
) -> None:
    stack.flext_service.fault(fault)
    response = flexcore.post(PLUGIN, content=PROCESS)
    assert response.status_code == status
    assert "flext-service" in response.text


def test_names_that_are_not_configured_are_told_to_whoever_asks(
    stack: Devstack, flexcore: httpx.Client
) -> None:
    response = flexcore.post(PLUGIN, content=processing(source="mysql-staging"))
    assert response.headers["content-type"] == "application/problem+json"
    with pytest.raises(ServiceError) as caught:
        raise_for_status(response)
    assert caught.value.status == 422
    root = caught.value.root_cause
    assert (root.service, root.correlation_id) == ("flext-service", "pipeline-exec-123")
    assert root.detail is not None
    assert root.detail.startswith("there is no tap 'mysql-staging'")
    assert flexcore.post(PIPELINE, content='{"pipeline_config": 7}').status_code == 422


@pytest.mark.parametrize("metadata", [{"correlation_id": "two words"}, {"user_id": 7}])
def test_metadata_that_cannot_go_on_is_a_problem(
    flexcore: httpx.Client, metadata: dict[str, Any]
) -> None:
    response = flexcore.post(PLUGIN, json=json.loads(PROCESS) | {"metadata": metadata})
    assert response.status_code == 422
    assert response.json()["detail"].startswith("metadata: ")


def test_a_pipeline_that_fails_is_an_error(
    stack: Devstack, flexcore: httpx.Client, tmp_path: Any
) -> None:
    file = stack.flext_service.taps["orders"] = tmp_path / "orders.jsonl"
    file.write_text('{"n": 1}\nnonsense\n')
    response = flexcore.post(PLUGIN, content=processing(source="orders", transform=None))
    assert response.status_code == 500
    answer = response.json()
    told = "flext-service: the pipeline failed: orders.jsonl: line 2: it is no JSON"
    assert (answer["status"], answer["error"]) == ("failed", told)
    assert answer["execution"]["records"] == {"orders": 1}


def test_a_key_that_is_sent_again_starts_nothing_anew(
    stack: Devstack, flexcore: httpx.Client
) -> None:
    key = {"Idempotency-Key": "nightly-9"}
    answers = [flexcore.post(PLUGIN, content=PROCESS, headers=key).json() for _ in range(2)]
    first, again = (each["execution"]["execution_id"] for each in answers)
    assert first == again


def test_a_token_of_the_caller_goes_on_to_a_protected_service(client: httpx.Client) -> None:
    login = {"username": "admin", "password": "flexcore100", "tenant_id": "tenant-1"}
    with Devstack(protected=True) as stack:
        token = client.post(stack.auth.url + "/auth/login", json=login).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        url = stack.flexcore.url + PLUGIN
        assert client.post(url, content=PROCESS).status_code == 401
        assert client.post(url, content=PROCESS, headers=headers).status_code == 200
        seen = [each.headers["authorization"] for each in stack.flext_service.received]
    assert seen == [f"Bearer {token}"]


@pytest.fixture
def guarded() -> Iterator[Devstack]:
    circuit = {"failure_threshold": 2, "recovery_timeout": 60}
    with Devstack(plugins={"circuit-breaker": circuit}) as stack:
        yield stack


def test_plugins_of_the_connection_work_as_anywhere(
    guarded: Devstack, client: httpx.Client
) -> None:
    guarded.flext_service.fault(Fault(status=503, times=None))
    url = guarded.flexcore.url + PLUGIN
    answers = [client.post(url, content=PROCESS) for _ in range(3)]
    assert [each.status_code for each in answers] == [503, 503, 503]
    assert len(guarded.flext_service.received) == 2
    assert "flext-service: circuit-breaker: the circuit for " in answers[-1].json()["detail"]


def test_flexcore_goes_down_while_the_service_does_not_answer(
    stack: Devstack, flexcore: httpx.Client
) -> None:
    stack.flext_service.fault(Fault(delay=60))
    with pytest.raises(httpx.ReadTimeout):
        flexcore.post(PLUGIN, content=HEALTH, timeout=0.2)
    stack.flext_service.down()
    started = time.monotonic()
    stack.flexcore.down()
    assert time.monotonic() - started < 2
