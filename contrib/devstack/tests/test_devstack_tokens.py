"""Logging in at flext-auth, and what its tokens open at FlexCore."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from flext_plugins_devstack import Devstack

LOGIN = {"username": "admin", "password": "flexcore100", "tenant_id": "tenant-1"}
PLUGINS = "/api/v1/flexcore/plugins"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Devstack]:
    with Devstack(protected=True, default_tenant="tenant-1") as stack:
        yield stack


def log_in(stack: Devstack, client: httpx.Client, **login: str) -> dict[str, Any]:
    response = client.post(stack.auth.url + "/auth/login", json=LOGIN | login)
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def validate(stack: Devstack, client: httpx.Client, token: str) -> tuple[int, str]:
    response = client.get(stack.auth.url + "/auth/validate", headers=bearer(token))
    return response.status_code, "" if response.is_success else response.text


def test_a_token_is_a_jwt_that_the_public_key_verifies(
    stack: Devstack, client: httpx.Client
) -> None:
    token = log_in(stack, client)["token"]
    claims = jwt.decode(
        token, stack.auth.public_key, ["RS256"], audience="tenant-1", issuer="flexcore-auth"
    )
    assert jwt.get_unverified_header(token)["alg"] == "RS256"
    assert claims["username"] == "admin"


def test_the_second_tenants_user_logs_in_as_itself_and_only_there(
    stack: Devstack, client: httpx.Client
) -> None:
    other = {"username": "operator", "password": "flexcore200"}
    assert log_in(stack, client, **other, tenant_id="tenant-2")["user"]["tenant_id"] == "tenant-2"
    refused = client.post(stack.auth.url + "/auth/login", json=other | {"tenant_id": "tenant-1"})
    assert (refused.status_code, refused.text) == (401, "Invalid credentials\n")


def test_a_login_without_tenant_means_the_default_tenant(
    guarded: Devstack, client: httpx.Client
) -> None:
    login = {"username": "admin", "password": "flexcore100"}
    response = client.post(guarded.auth.url + "/auth/login", json=login)
    assert response.json()["tenant"]["id"] == "tenant-1"


@pytest.mark.parametrize("body", [b"", b"notjson", b"[]", b"\xff"])
def test_a_login_that_is_not_a_json_object_is_a_bad_request(
    stack: Devstack, client: httpx.Client, body: bytes
) -> None:
    assert client.post(stack.auth.url + "/auth/login", content=body).status_code == 400


def test_only_successful_logins_are_counted(stack: Devstack, client: httpx.Client) -> None:
    before = stack.auth.logins
    client.post(stack.auth.url + "/auth/login", json=LOGIN | {"password": "bad"})
    answer = log_in(stack, client)
    client.post(stack.auth.url + "/auth/refresh", json={"refresh_token": answer["refresh_token"]})
    assert stack.auth.logins == before + 1


def test_health_counts_sessions_and_blacklisted_tokens() -> None:
    with Devstack() as stack, httpx.Client(trust_env=False) as client:
        first, _ = log_in(stack, client), log_in(stack, client)
        client.post(
            stack.auth.url + "/auth/refresh", json={"refresh_token": first["refresh_token"]}
        )
        health = client.get(stack.auth.url + "/health").json()
        assert (health["active_sessions"], health["blacklisted_tokens"]) == (2, 0)
        client.post(stack.auth.url + "/auth/logout", headers=bearer(first["token"]))
        health = client.get(stack.auth.url + "/health").json()
        assert (health["active_sessions"], health["blacklisted_tokens"]) == (1, 2)


def test_a_refresh_token_works_once_and_leaves_the_session_open(
    stack: Devstack, client: httpx.Client
) -> None:
    first = log_in(stack, client)
    url = stack.auth.url + "/auth/refresh"
    second = client.post(url, json={"refresh_token": first["refresh_token"]})
    assert second.json().keys() == first.keys()
    assert validate(stack, client, second.json()["access_token"])[0] == 200
    assert client.post(url, json={"refresh_token": first["refresh_token"]}).status_code == 401
    assert (
        client.post(url, json={"refresh_token": second.json()["refresh_token"]}).status_code == 200
    )


@pytest.mark.parametrize(
    "asked", [{}, {"refresh_token": None}, {"refresh_token": ["a"]}, {"refresh_token": "made up"}]
)
def test_an_unknown_refresh_token_is_refused(
    stack: Devstack, client: httpx.Client, asked: dict[str, Any]
) -> None:
    assert client.post(stack.auth.url + "/auth/refresh", json=asked).status_code == 401


def test_logout_ends_the_whole_session_and_no_other(stack: Devstack, client: httpx.Client) -> None:
    session, other = log_in(stack, client), log_in(stack, client)
    client.post(
        stack.auth.url + "/auth/logout", headers=bearer(session["token"])
    ).raise_for_status()
    assert validate(stack, client, session["token"]) == (401, "token is blacklisted\n")
    asked = {"refresh_token": session["refresh_token"]}
    assert client.post(stack.auth.url + "/auth/refresh", json=asked).status_code == 401
    assert validate(stack, client, other["token"])[0] == 200


def test_a_short_life_ends_on_time(guarded: Devstack, client: httpx.Client) -> None:
    guarded.auth.token_lifetime = 0.6
    try:
        answer = log_in(guarded, client)
    finally:
        guarded.auth.token_lifetime = 3600.0
    issued = time.monotonic()
    assert answer["expires_in"] == 0.6
    sessions = client.get(guarded.auth.url + "/health").json()["active_sessions"]
    assert validate(guarded, client, answer["token"])[0] == 200
    assert (
        client.get(guarded.flexcore.url + PLUGINS, headers=bearer(answer["token"])).status_code
        == 200
    )
    time.sleep(max(0.0, issued + 0.65 - time.monotonic()))
    assert validate(guarded, client, answer["token"]) == (401, "token is expired\n")
    assert client.get(guarded.auth.url + "/health").json()["active_sessions"] == sessions - 1
    assert (
        client.get(guarded.flexcore.url + PLUGINS, headers=bearer(answer["token"])).status_code
        == 401
    )


def test_revoking_all_refuses_what_was_issued_and_not_what_comes_after(
    guarded: Devstack, client: httpx.Client
) -> None:
    before = log_in(guarded, client)
    guarded.auth.revoke_all()
    asked = {"refresh_token": before["refresh_token"]}
    assert (
        client.get(guarded.flexcore.url + PLUGINS, headers=bearer(before["token"])).status_code
        == 401
    )
    assert client.post(guarded.auth.url + "/auth/refresh", json=asked).status_code == 401
    after = log_in(guarded, client)["token"]
    assert client.get(guarded.flexcore.url + PLUGINS, headers=bearer(after)).status_code == 200


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer notatoken", "Basic YTpi", "Bearer a.b.c"]
)
def test_a_protected_flexcore_refuses_what_is_no_token(
    guarded: Devstack, client: httpx.Client, value: str | None
) -> None:
    headers = {} if value is None else {"Authorization": value}
    response = client.get(guarded.flexcore.url + PLUGINS, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert list(response.json()) == ["error"]


def test_a_token_of_another_stack_or_another_algorithm_is_refused(
    guarded: Devstack, stack: Devstack, client: httpx.Client
) -> None:
    foreign = log_in(stack, client)["token"]
    claims = jwt.decode(foreign, options={"verify_signature": False})
    for token in (foreign, jwt.encode(claims, "k" * 32, "HS256"), jwt.encode(claims, "", "none")):
        assert client.get(guarded.flexcore.url + PLUGINS, headers=bearer(token)).status_code == 401


def test_a_token_counts_only_as_a_bearer_token(guarded: Devstack, client: httpx.Client) -> None:
    token, url = log_in(guarded, client)["token"], guarded.flexcore.url + PLUGINS
    found = [
        client.get(url, headers={"Authorization": f"{scheme} {token}"}).status_code
        for scheme in ("Bearer", "bearer", "Basic")
    ]
    assert found == [200, 200, 401]


def test_a_protected_flexcore_tells_its_health_to_anyone(
    guarded: Devstack, client: httpx.Client
) -> None:
    assert client.get(guarded.flexcore.url + "/health").status_code == 200


def test_a_protected_flexcore_executes_for_a_token(guarded: Devstack, client: httpx.Client) -> None:
    asked = {"operation": "archive_data", "parameters": {"rows": [1, {"a": None}]}, "metadata": {}}
    for path in (
        "/api/v1/plugins/flext-service/execute",
        "/api/v1/flexcore/plugins/flext-service/execute",
    ):
        url = guarded.flexcore.url + path
        assert client.post(url, json=asked).status_code == 401
        answer = client.post(url, json=asked, headers=bearer(log_in(guarded, client)["token"]))
        assert answer.json()["params"] == asked


def test_an_unprotected_flexcore_asks_for_nothing(stack: Devstack, client: httpx.Client) -> None:
    assert client.get(stack.flexcore.url + PLUGINS).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_executing_an_unreadable_body_is_an_error_not_a_crash(
    stack: Devstack, client: httpx.Client, body: bytes
) -> None:
    response = client.post(stack.flexcore.url + PLUGINS + "/flext-service/execute", content=body)
    assert response.status_code == 500
    assert response.json()["error"].startswith("invalid request body: ")
