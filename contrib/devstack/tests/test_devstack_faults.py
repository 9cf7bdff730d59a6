"""Servers that misbehave on request, and what a client sees of it."""

import time
from typing import Any

import httpx
import pytest
from flext_plugins_devstack import Devstack, Fault


def statuses(client: httpx.Client, url: str, count: int) -> list[int]:
    return [client.get(url).status_code for _ in range(count)]


def test_a_status_is_answered_as_often_as_asked_with_its_headers(
    stack: Devstack, client: httpx.Client
) -> None:
    stack.flexcore.fault(Fault(status=503, times=2, headers={"Retry-After": "1"}))
    response = client.get(stack.flexcore.url + "/health")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert statuses(client, stack.flexcore.url + "/health", 2) == [503, 200]


@pytest.mark.parametrize("status", [200, 204, 304, 404, 429, 500, 599])
def test_any_final_status_can_be_asked_for(
    stack: Devstack, client: httpx.Client, status: int
) -> None:
    stack.flexcore.fault(Fault(status=status))
    assert statuses(client, stack.flexcore.url + "/health", 2) == [status, 200]


def test_a_fault_without_end_lasts_until_it_is_cleared(
    stack: Devstack, client: httpx.Client
) -> None:
    stack.flexcore.fault(Fault(status=500, times=None))
    assert statuses(client, stack.flexcore.url + "/health", 4) == [500] * 4
    stack.flexcore.clear()
    assert statuses(client, stack.flexcore.url + "/health", 1) == [200]


def test_faults_are_used_up_in_the_order_asked(stack: Devstack, client: httpx.Client) -> None:
    stack.flexcore.fault(Fault(status=500))
    stack.flexcore.fault(Fault(status=502, times=2))
    assert statuses(client, stack.flexcore.url + "/health", 4) == [500, 502, 502, 200]


def test_a_fault_with_a_path_spares_the_others(stack: Devstack, client: httpx.Client) -> None:
    stack.flexcore.fault(Fault(status=500, path="/api/"))
    assert statuses(client, stack.flexcore.url + "/health", 1) == [200]
    assert statuses(client, stack.flexcore.url + "/api/v1/flexcore/plugins", 2) == [500, 200]


def test_a_fault_of_one_server_spares_the_others(stack: Devstack, client: httpx.Client) -> None:
    stack.flexcore.fault(Fault(status=500))
    assert statuses(client, stack.auth.url + "/health", 1) == [200]


def test_a_delay_passes_before_the_ordinary_answer(stack: Devstack, client: httpx.Client) -> None:
    stack.flexcore.fault(Fault(delay=0.3))
    started = time.monotonic()
    response = client.get(stack.flexcore.url + "/health")
    assert time.monotonic() - started >= 0.3
    assert response.json()["status"] == "healthy"


def test_a_delayed_body_still_reaches_the_application(
    stack: Devstack, client: httpx.Client
) -> None:
    stack.flexcore.fault(Fault(delay=0.05))
    url = stack.flexcore.url + "/api/v1/plugins/flext-service/execute"
    assert client.post(url, json={"operation": "x"}).json()["params"] == {"operation": "x"}


def test_a_delay_outlasts_an_impatient_client(stack: Devstack, client: httpx.Client) -> None:
    stack.flexcore.fault(Fault(delay=5))
    with pytest.raises(httpx.ReadTimeout):
        client.get(stack.flexcore.url + "/health", timeout=0.1)
    assert statuses(client, stack.flexcore.url + "/health", 1) == [200]


def test_a_request_given_up_during_its_delay_never_reaches_the_application(
    stack: Devstack, client: httpx.Client
) -> None:
    login = {"username": "admin", "password": "flexcore100", "tenant_id": "tenant-1"}
    before = stack.auth.logins
    stack.auth.fault(Fault(delay=0.3))
    with pytest.raises(httpx.ReadTimeout):
        client.post(stack.auth.url + "/auth/login", json=login, timeout=0.1)
    time.sleep(0.4)
    assert stack.auth.logins == before


def test_a_delay_goes_before_another_fault(stack: Devstack, client: httpx.Client) -> None:
    stack.flexcore.fault(Fault(delay=0.2, status=503))
    started = time.monotonic()
    assert statuses(client, stack.flexcore.url + "/health", 1) == [503]
    assert time.monotonic() - started >= 0.2


def test_a_reset_breaks_the_connection_before_any_answer(
    stack: Devstack, client: httpx.Client
) -> None:
    stack.flexcore.fault(Fault(reset=True))
    with pytest.raises(httpx.ReadError) as caught:
        client.get(stack.flexcore.url + "/health")
    assert "reset" in str(caught.value).lower()
    assert statuses(client, stack.flexcore.url + "/health", 1) == [200]


@pytest.mark.parametrize("cut", [0, 10])
@pytest.mark.parametrize("also", [{}, {"status": 500}])
def test_a_cut_body_ends_after_so_many_bytes(
    stack: Devstack, client: httpx.Client, cut: int, also: dict[str, int]
) -> None:
    stack.flexcore.fault(Fault(cut_body=cut, **also))  # type: ignore[arg-type]
    arrived = b""
    with client.stream("GET", stack.flexcore.url + "/health") as response:
        assert response.status_code == also.get("status", 200)
        assert int(response.headers["content-length"]) > cut
        with pytest.raises(httpx.RemoteProtocolError):
            for piece in response.iter_raw():
                arrived += piece
    assert len(arrived) == cut
    assert statuses(client, stack.flexcore.url + "/health", 1) == [200]


def test_a_body_shorter_than_the_cut_is_still_broken_off(
    stack: Devstack, client: httpx.Client
) -> None:
    stack.flexcore.fault(Fault(cut_body=100_000))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(stack.flexcore.url + "/health")


def test_a_redirect_leads_elsewhere_and_keeps_method_and_body(
    stack: Devstack, client: httpx.Client
) -> None:
    stack.flexcore.fault(Fault(redirect=stack.echo.url + "/landed?a=1"))
    response = client.post(
        stack.flexcore.url + "/x", content=b"body", headers={"X-Key": "k"}, follow_redirects=True
    )
    assert [hop.status_code for hop in response.history] == [307]
    assert response.json()["method"] == "POST"
    assert response.json()["path"] == "/landed"
    assert response.json()["headers"]["x-key"] == "k"
    landed = stack.echo.received[-1]
    assert (landed.method, landed.path, landed.query, landed.body) == (
        "POST",
        "/landed",
        "a=1",
        b"body",
    )


def test_a_redirect_takes_another_status(stack: Devstack, client: httpx.Client) -> None:
    stack.flexcore.fault(Fault(redirect="/health", status=302))
    response = client.get(stack.flexcore.url + "/x")
    assert (response.status_code, response.headers["location"]) == (302, "/health")


def test_requests_that_meet_a_fault_are_received_too(stack: Devstack, client: httpx.Client) -> None:
    before = len(stack.flexcore.received)
    stack.flexcore.fault(Fault(reset=True))
    with pytest.raises(httpx.ReadError):
        client.put(
            stack.flexcore.url + "/a%20b?q=1", content=b"\x00body", headers={"X-Name": "value"}
        )
    (record,) = stack.flexcore.received[before:]
    assert (record.method, record.path, record.query, record.body) == (
        "PUT",
        "/a b",
        "q=1",
        b"\x00body",
    )
    assert record.headers["x-name"] == "value"


def test_what_was_received_cannot_be_changed_from_outside(
    stack: Devstack, client: httpx.Client
) -> None:
    client.get(stack.flexcore.url + "/health")
    stack.flexcore.received.clear()
    assert stack.flexcore.received


def test_a_large_body_arrives_whole(stack: Devstack, client: httpx.Client) -> None:
    body = bytes(range(256)) * 8192
    client.post(stack.echo.url + "/", content=body).raise_for_status()
    assert stack.echo.received[-1].body == body


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"times": 2},
        {"status": 100},
        {"status": 600},
        {"status": "503"},
        {"status": True},
        {"status": 503, "times": 0},
        {"delay": -1},
        {"delay": "1"},
        {"delay": float("nan")},
        {"cut_body": -1},
        {"reset": 1},
        {"redirect": 5},
        {"status": 503, "path": 5},
        {"status": 503, "headers": {"Retry-After": 1}},
        {"status": 503, "headers": None},
        {"delay": 1, "headers": {"Retry-After": "1"}},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^fault: "):
        Fault(**wrong)


def test_faults_can_be_asked_for_and_cleared_over_http(
    stack: Devstack, client: httpx.Client
) -> None:
    faults, before = stack.flexcore.url + "/devstack/faults", len(stack.flexcore.received)
    asked = {"status": 503, "times": None, "headers": {"Retry-After": "2"}}
    answer = client.post(faults, json=asked)
    assert answer.status_code == 201
    assert answer.json().items() >= asked.items()
    assert client.get(stack.flexcore.url + "/health").headers["retry-after"] == "2"
    assert client.delete(faults).status_code == 204
    assert statuses(client, stack.flexcore.url + "/health", 1) == [200]
    assert len(stack.flexcore.received) == before + 2


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"{}", b'{"speed": 1}', b'{"status": "503"}', b"\xff"]
)
def test_a_senseless_fault_over_http_is_a_bad_request_and_does_nothing(
    stack: Devstack, client: httpx.Client, body: bytes
) -> None:
    response = client.post(stack.flexcore.url + "/devstack/faults", content=body)
    assert response.status_code == 400
    assert response.json()["error"]
    assert statuses(client, stack.flexcore.url + "/health", 1) == [200]
