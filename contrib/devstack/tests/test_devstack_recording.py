"""The recorded exchanges with the Go servers, sent again to ours."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from flext_plugins_devstack import Devstack

RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("flexcore-recorded.json").read_text()
)
BUILT = ("flexcore", "auth")
GUIDES = ("POST", "/api/v1/plugins/flext-service/execute")
# The recorded server had none of these routes; FLEXT's guide names them.
DIFFERENT = (
    GUIDES,
    ("GET", "/metrics"),
    ("POST", "/api/v1/flexcore/pipelines/singer-etl-001/execute"),
)
# What our login says beyond the recorded one, for clients that speak OAuth.
SUPERSET = {"access_token", "refresh_token", "expires_in", "token_type"}
# What is said of data that is really processed, beyond the recorded answer.
PROCESSED = {"execution"}

OTHER = {
    "flext-service": "flext-proxy-adapter",
    "nope": "absent-plugin",
    "wf-1": "wf-nightly-7",
    "singer-etl-001": "singer-etl-977",
    "oracle-db-prod": "mysql-staging",
    "customer-normalization": "order-deduplication",
    "pipeline-exec-123": "pipeline-exec-987",
    "process_data": "archive_data",
    "meltano": "dbt",
    "--version": "--help",
    "TestEvent": "OtherEvent",
    "CreatePipeline": "DeletePipeline",
    "GetPipelineStatus": "ListPipelines",
    "admin": "operator",
    "flexcore100": "flexcore200",
    "tenant-1": "tenant-2",
    '"bad"': '"worse"',
}


def key(exchange: dict[str, Any]) -> tuple[str, str]:
    return exchange["request"]["method"], exchange["request"]["path"]


REPLAYED = [
    exchange
    for exchange in RECORDED
    if exchange["service"] in BUILT and key(exchange) not in DIFFERENT
]
NAMES = [f"{index}-{' '.join(key(exchange))}" for index, exchange in enumerate(REPLAYED)]


def otherwise(request: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(request)
    for old, new in OTHER.items():
        text = text.replace(old, new)
    return json.loads(text)  # type: ignore[no-any-return]


def replay(requests: list[tuple[str, dict[str, Any]]]) -> list[httpx.Response]:
    """Send all in order to a fresh stack, with the token that this run issued in place of `<token>`."""
    token, responses = "none yet", []
    with Devstack() as stack, httpx.Client(trust_env=False) as client:
        for service, request in requests:
            body = request["body"]
            response = client.request(
                request["method"],
                (stack.flexcore if service == "flexcore" else stack.auth).url + request["path"],
                headers={
                    name: value.replace("<token>", token)
                    for name, value in request["headers"].items()
                },
                content=body if isinstance(body, str | None) else json.dumps(body),
            )
            if request["path"] == "/auth/login" and response.is_success:
                token = response.json()["token"]
            responses.append(response)
    return responses


@pytest.fixture(scope="module")
def answers() -> list[httpx.Response]:
    return replay([(exchange["service"], exchange["request"]) for exchange in REPLAYED])


@pytest.fixture(scope="module")
def other_answers() -> list[httpx.Response]:
    return replay([(exchange["service"], otherwise(exchange["request"])) for exchange in REPLAYED])


def content(response: httpx.Response) -> Any:
    return response.json() if "json" in response.headers["content-type"] else response.text


def differences(recorded: Any, actual: Any, where: str = "body") -> list[str]:
    """Compare keys and types; a recorded null stands for null or a container, a list for its first element."""
    if recorded is None:
        return (
            []
            if isinstance(actual, None | list | dict)
            else [f"{where}: {type(actual).__name__}, not null"]
        )
    if type(recorded) is not type(actual):
        return [f"{where}: {type(actual).__name__}, not {type(recorded).__name__}"]
    if isinstance(recorded, list):
        if bool(recorded) is not bool(actual):
            return [f"{where}: {len(actual)} elements, not {len(recorded)}"]
        return differences(recorded[0], actual[0], f"{where}[0]") if recorded else []
    if isinstance(recorded, dict):
        missing = [f"{where}.{name}: missing" for name in recorded.keys() - actual.keys()]
        extra = [f"{where}.{name}: not recorded" for name in actual.keys() - recorded.keys()]
        inner = [
            differences(recorded[name], actual[name], f"{where}.{name}")
            for name in recorded.keys() & actual.keys()
        ]
        return sorted(missing + extra + [line for lines in inner for line in lines])
    return []


def unlike(exchange: dict[str, Any], response: httpx.Response) -> list[str]:
    recorded, body = exchange["response"], content(response)
    if key(exchange) == ("POST", "/auth/login") and response.is_success:
        assert body.keys() >= SUPERSET
        body = {name: value for name, value in body.items() if name not in SUPERSET}
    if isinstance(body, dict) and body.get("operation") == "process_data":
        assert body.keys() >= PROCESSED
        body = {name: value for name, value in body.items() if name not in PROCESSED}
    found = differences(recorded["body"], body)
    if response.status_code != recorded["status"]:
        found.append(f"status: {response.status_code}, not {recorded['status']}")
    if response.headers["content-type"] != recorded["content_type"]:
        found.append(
            f"content type: {response.headers['content-type']}, not {recorded['content_type']}"
        )
    return found


def test_every_recorded_exchange_is_replayed_or_accounted_for() -> None:
    different = [exchange for exchange in RECORDED if key(exchange) in DIFFERENT]
    not_built = [exchange for exchange in RECORDED if exchange["service"] not in BUILT]
    assert {exchange["service"] for exchange in not_built} == {"windmill"}
    assert (len(REPLAYED), len(different), len(not_built), len(RECORDED)) == (30, 3, 4, 37)


@pytest.mark.parametrize("index", range(len(REPLAYED)), ids=NAMES)
def test_the_answer_has_the_recorded_status_content_type_keys_and_types(
    index: int, answers: list[httpx.Response]
) -> None:
    assert unlike(REPLAYED[index], answers[index]) == []


@pytest.mark.parametrize("index", range(len(REPLAYED)), ids=NAMES)
def test_other_names_and_parameters_are_answered_in_the_same_shape(
    index: int, other_answers: list[httpx.Response]
) -> None:
    assert unlike(REPLAYED[index], other_answers[index]) == []


@pytest.mark.parametrize("index", range(len(REPLAYED)), ids=NAMES)
def test_what_the_recorded_answer_echoes_of_its_request_ours_echoes_of_another(
    index: int, other_answers: list[httpx.Response]
) -> None:
    asked, said = (
        json.dumps(REPLAYED[index]["request"]),
        json.dumps(REPLAYED[index]["response"]["body"]),
    )
    for old, new in OTHER.items():
        if old in asked and old in said:
            assert new in other_answers[index].text


@pytest.mark.parametrize("index", range(len(REPLAYED)), ids=NAMES)
def test_a_recorded_text_is_answered_word_for_word(
    index: int, answers: list[httpx.Response]
) -> None:
    recorded = REPLAYED[index]["response"]["body"]
    if isinstance(recorded, str):
        assert answers[index].text == recorded


def test_nothing_in_the_recording_names_a_machine_or_holds_a_token() -> None:
    text = json.dumps(RECORDED)
    assert "/home/" not in text
    assert "eyJ" not in text
    assert "$2a$" not in text


def test_the_guides_route_answers_as_the_recorded_one_does(answers: list[httpx.Response]) -> None:
    index = next(
        index
        for index, exchange in enumerate(REPLAYED)
        if key(exchange)[1].endswith("/flext-service/execute")
    )
    with Devstack() as stack:
        url = stack.flexcore.url + GUIDES[1]
        response = httpx.post(url, json=REPLAYED[index]["request"]["body"], trust_env=False)
    assert unlike(REPLAYED[index], response) == []


@pytest.mark.parametrize(
    ("recorded", "actual", "found"),
    [
        ({"a": 1}, {"a": "1"}, ["body.a: str, not int"]),
        ({"a": 1}, {"a": True}, ["body.a: bool, not int"]),
        ({"a": 1}, {}, ["body.a: missing"]),
        ({}, {"a": 1}, ["body.a: not recorded"]),
        ([{"a": 1}], [{"b": 1}], ["body[0].a: missing", "body[0].b: not recorded"]),
        ([1], [], ["body: 0 elements, not 1"]),
        (None, "text", ["body: str, not null"]),
        (None, [], []),
    ],
)
def test_the_comparison_notices_what_differs(recorded: Any, actual: Any, found: list[str]) -> None:
    assert differences(recorded, actual) == found
