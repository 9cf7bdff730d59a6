"""One login for all, tokens that expire, are revoked or never come."""

import asyncio
import json
import pickle
from typing import Any

import pytest
from flext_plugins_devstack import Fault

from flext_plugins import Refused, Stage, events, hookimpl, options
from flext_plugins.testing import World

PLUGINS = "/api/v1/flexcore/plugins"
PASSWORD = "flexcore100"


def login(**changes: Any) -> dict[str, Any]:
    return {
        "scheme": "login",
        "service": "flext-auth",
        "username": "admin",
        "password": PASSWORD,
        "body": {"tenant_id": "tenant-1"},
    } | changes


def services(stack: Any, auth: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    plugins: dict[str, Any] = {"auth": auth or login()}
    return {
        "flexcore": {"base_url": stack.flexcore.url, "plugins": plugins, **more},
        "flext-auth": {"base_url": stack.auth.url},
    }


def logins_tried(stack: Any) -> int:
    return len([each for each in stack.auth.received if each.path == "/auth/login"])


@pytest.mark.parametrize("callers", [20])
async def test_any_number_of_concurrent_callers_log_in_once(
    flext_world: World, stack: Any, callers: int
) -> None:
    stack.auth.fault(Fault(delay=0.2, path="/auth/login", times=None))
    client = await flext_world.client(flext_world.host({"services": services(stack)}), "flexcore")
    responses = await flext_world.together(callers, lambda: client.get(PLUGINS))
    assert [each.status_code for each in responses] == [200] * callers
    assert logins_tried(stack) == stack.auth.logins == 1


async def test_a_token_is_kept_and_shared_by_services_that_log_in_alike(
    flext_world: World, stack: Any
) -> None:
    both = services(stack)
    both["again"] = both["flexcore"]
    both["other"] = {
        **both["flexcore"],
        "plugins": {
            "auth": login(
                username="operator", password="flexcore200", body={"tenant_id": "tenant-2"}
            )
        },
    }
    host = flext_world.host({"services": both})
    for service, logins in [("flexcore", 1), ("flexcore", 1), ("again", 1), ("other", 2)]:
        client = await flext_world.client(host, service)
        assert (await client.get(PLUGINS)).status_code == 200
        assert stack.auth.logins == logins
    tokens = [each.headers["authorization"] for each in stack.flexcore.received]
    assert len(set(tokens[:3])) == 1
    assert tokens[3] != tokens[0]


async def test_threads_and_loops_of_one_host_share_the_token(
    flext_world: World, stack: Any
) -> None:
    host = flext_world.host({"services": services(stack)})
    client = await flext_world.client(host, "flexcore")
    await client.get(PLUGINS)

    def elsewhere() -> int:
        async def inside() -> int:
            async with host.aconnect("flexcore") as other:
                return (await other.get(PLUGINS)).status_code

        return asyncio.run(inside())

    status = await asyncio.to_thread(elsewhere) if flext_world.asynchronous else elsewhere()
    assert (status, stack.auth.logins) == (200, 1)


async def test_an_expired_token_is_renewed_before_it_is_sent(
    flext_world: World, stack: Any
) -> None:
    stack.running.auth.token_lifetime = 0.5
    client = await flext_world.client(flext_world.host({"services": services(stack)}), "flexcore")
    for _ in range(2):
        assert (await client.get(PLUGINS)).status_code == 200
    assert stack.auth.logins == 1
    await flext_world.sleep(0.6)
    assert (await client.get(PLUGINS)).status_code == 200
    assert stack.auth.logins == 2
    assert len(stack.flexcore.received) == 3


async def test_a_revoked_token_is_healed_by_one_login_and_one_resend(
    flext_world: World, stack: Any
) -> None:
    client = await flext_world.client(flext_world.host({"services": services(stack)}), "flexcore")
    await client.get(PLUGINS)
    stack.auth.revoke_all()
    response = await client.request(
        "POST",
        "/api/v1/flexcore/events",
        content=b'{"type":"a"}',
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code < 300
    assert stack.auth.logins == 2
    first, second = stack.flexcore.received[1:]
    assert first.body == second.body == b'{"type":"a"}'
    assert first.headers["authorization"] != second.headers["authorization"]
    assert response.extensions["flext_plugins.call"].attempt == 2
    assert "authorization" not in response.request.headers


async def test_a_revoked_token_is_healed_by_one_login_for_all_callers(
    flext_world: World, stack: Any
) -> None:
    client = await flext_world.client(flext_world.host({"services": services(stack)}), "flexcore")
    await client.get(PLUGINS)
    stack.auth.revoke_all()
    responses = await flext_world.together(20, lambda: client.get(PLUGINS))
    assert [each.status_code for each in responses] == [200] * 20
    assert stack.auth.logins == 2


async def test_a_pool_of_one_connection_heals_a_401(flext_world: World, stack: Any) -> None:
    one = services(stack, max_connections=1, timeout=3)
    one["flext-auth"]["max_connections"] = 1
    client = await flext_world.client(flext_world.host({"services": one}), "flexcore")
    await client.get(PLUGINS)
    stack.auth.revoke_all()
    assert (await client.get(PLUGINS)).status_code == 200


async def test_a_service_may_log_in_at_itself_even_with_one_connection(
    flext_world: World, stack: Any
) -> None:
    itself = {
        "flext-auth": {
            "base_url": stack.auth.url,
            "max_connections": 1,
            "timeout": 3,
            "plugins": {"auth": login()},
        }
    }
    client = await flext_world.client(flext_world.host({"services": itself}), "flext-auth")
    assert (await client.get("/auth/validate")).status_code == 200
    stack.auth.revoke_all()
    assert (await client.get("/auth/validate")).status_code == 200
    assert stack.auth.logins == logins_tried(stack) == 2
    marked = ["authorization" in each.headers for each in stack.auth.received]
    paths = [each.path.removeprefix("/auth/") for each in stack.auth.received]
    assert paths == ["login", "validate", "validate", "login", "validate"]
    assert marked == [False, True, True, False, True]


async def test_a_login_service_that_itself_logs_in_at_itself_does_not_wait_for_itself(
    flext_world: World, stack: Any
) -> None:
    both = services(stack)
    both["flext-auth"]["plugins"] = {"auth": login()}
    client = await flext_world.client(flext_world.host({"services": both}), "flexcore")
    with options(deadline=5):
        assert (await client.get(PLUGINS)).status_code == 200


async def test_a_fresh_token_that_is_rejected_stops_after_one_resend(
    flext_world: World, stack: Any
) -> None:
    client = await flext_world.client(flext_world.host({"services": services(stack)}), "flexcore")
    await client.get(PLUGINS)
    stack.flexcore.fault(Fault(status=401, times=None))
    assert (await client.get(PLUGINS)).status_code == 401
    assert len(stack.flexcore.received) == 3
    assert stack.auth.logins == 2


async def test_a_body_that_is_gone_is_not_sent_again(flext_world: World, stack: Any) -> None:
    client = await flext_world.client(flext_world.host({"services": services(stack)}), "flexcore")
    await client.get(PLUGINS)
    stack.auth.revoke_all()
    response = await client.request("POST", PLUGINS, content=flext_world.upload(b"one", b"two"))
    assert response.status_code == 401
    assert response.content
    assert [each.body for each in stack.flexcore.received[1:]] == [b"onetwo"]
    assert (await client.get(PLUGINS)).status_code == 200
    assert (stack.auth.logins, len(stack.flexcore.received)) == (2, 3)


class Seen:
    """What the plugins of a service are told."""

    stage = Stage.CALL
    told: list[object]

    def __init__(self) -> None:
        type(self).told = []

    @hookimpl
    def flext_event(self, event: object) -> None:
        self.told.append(event)


async def test_a_resend_after_a_401_is_told_like_any_other(flext_world: World, stack: Any) -> None:
    table = services(stack)
    table["flexcore"]["plugins"]["seen"] = {}
    host = flext_world.host({"services": table})
    host.register(Seen, "seen")
    client = await flext_world.client(host, "flexcore")
    await client.get(PLUGINS)
    stack.auth.revoke_all()
    await client.get(PLUGINS)
    told = [each for each in Seen.told if isinstance(each, events.Retried)]
    assert [(each.plugin, each.reason) for each in told] == [("auth", "401")]


async def test_each_login_is_told_once(flext_world: World, stack: Any, forget: Any) -> None:
    table = services(stack)
    table["flexcore"]["plugins"]["seen"] = {}
    host = flext_world.host({"services": table})
    host.register(Seen, "seen")
    client = await flext_world.client(host, "flexcore")
    stack.auth.fault(Fault(status=500))
    with pytest.raises(Refused):
        await client.get(PLUGINS)
    forget(host, "flexcore")
    await client.get(PLUGINS)
    told = [each for each in Seen.told if isinstance(each, events.TokenFetched)]
    assert [(each.issuer, each.outcome) for each in told] == [
        ("flext-auth", "failed"),
        ("flext-auth", "fetched"),
    ]
    assert all(0 < each.duration < 10 for each in told)


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (Fault(status=500), "failed with status 500"),
        (Fault(status=307, headers={"Location": "/auth/login"}), "failed with status 307"),
        (Fault(status=200), "answered without a token at 'access_token'"),
        (Fault(status=204), "answered with something that is no token"),
        (Fault(reset=True), "failed: read"),
        (Fault(cut_body=40), "failed: protocol"),
        (Fault(delay=0.6), "failed: timeout"),
    ],
    ids=["500", "307", "no-token", "no-json", "reset", "cut", "slow"],
)
async def test_a_login_that_breaks_is_refused_and_nothing_is_sent(
    flext_world: World, stack: Any, broken: Fault, expected: str
) -> None:
    stack.auth.fault(broken)
    table = services(stack)
    table["flext-auth"] |= {"timeout": 0.3, "max_connections": 1}
    table["other"] = services(stack, login(body={"tenant_id": "tenant-1", "x": 1}))["flexcore"]
    host = flext_world.host({"services": table})
    client = await flext_world.client(host, "flexcore")
    with pytest.raises(
        Refused, match=f"flexcore: auth: the login at 'flext-auth' {expected}"
    ) as it:
        await client.get(PLUGINS)
    assert isinstance(it.value, flext_world.lib.TransportError)
    call: Any = it.value.call
    assert call.answered_by == "auth"
    assert pickle.loads(pickle.dumps(it.value)).args == it.value.args
    assert stack.flexcore.received == []
    other = await flext_world.client(host, "other")  # the same login service, another login
    assert (await other.get(PLUGINS)).status_code == 200


async def test_a_login_service_that_is_down_is_one_refusal_for_all_callers(
    flext_world: World, stack: Any
) -> None:
    stack.auth.down()
    client = await flext_world.client(flext_world.host({"services": services(stack)}), "flexcore")

    async def told() -> str:
        with pytest.raises(Refused) as caught:
            await client.get(PLUGINS)
        return str(caught.value)

    messages = await flext_world.together(5, told)
    (message,) = {each.partition(" (")[0] for each in messages}
    assert message == "flexcore: auth: the login at 'flext-auth' failed: connect"
    assert stack.flexcore.received == []


async def test_a_login_slower_than_its_own_service_may_be_is_a_refusal_and_the_calls_own_deadline_is_not(
    flext_world: World, stack: Any
) -> None:
    table = services(stack)
    table["flext-auth"]["plugins"] = {"late": {}}
    host = flext_world.host({"services": table})
    host.register(Late, "late")
    client = await flext_world.client(host, "flexcore")
    with pytest.raises(flext_world.lib.TimeoutException) as caught, options(deadline=0.1):
        await client.get(PLUGINS)
    assert not isinstance(caught.value, Refused)
    table["flext-auth"]["deadline"] = 0.1
    host = flext_world.host({"services": table})
    host.register(Late, "late")
    client = await flext_world.client(host, "flexcore")
    with pytest.raises(Refused, match="took longer than that service may"):
        await client.get(PLUGINS)
    assert stack.flexcore.received == []


class Late:
    """Waits a while before each send."""

    @hookimpl
    async def flext_exchange(self, request: Any, send: Any, connection: Any) -> Any:
        await connection.sleep(0.2)
        return await send(request)


class Closed:
    """Refuses everything."""

    @hookimpl
    def flext_request(self) -> None:
        raise Refused("maintenance", retry_after=30)


async def test_a_refusal_at_the_login_service_passes_on_when_to_try_again(
    flext_world: World, stack: Any
) -> None:
    table = services(stack)
    table["flext-auth"]["plugins"] = {"closed": {}}
    host = flext_world.host({"services": table})
    host.register(Closed, "closed")
    client = await flext_world.client(host, "flexcore")
    with pytest.raises(Refused, match=r"was refused: flext-auth: closed: maintenance") as caught:
        await client.get(PLUGINS)
    assert caught.value.retry_after == 30
    assert (caught.value.service, caught.value.plugin) == ("flexcore", "auth")
    assert stack.flexcore.received == stack.auth.received == []


@pytest.mark.parametrize(
    ("changes", "posted"),
    [
        ({}, {"username": "admin", "password": PASSWORD, "tenant_id": "tenant-1"}),
        (
            {"body": {"user": "{username}", "secret": "{password}", "kind": "x-{username}"}},
            {"user": "admin", "secret": PASSWORD, "kind": "x-{username}"},
        ),
        (
            {"body": {"username": "other", "remember": True, "code": "env:FLEXT_TEST_CODE"}},
            {"username": "other", "password": PASSWORD, "remember": True, "code": "canary-code"},
        ),
    ],
    ids=["added", "renamed", "overridden"],
)
async def test_the_body_of_a_login_is_what_the_settings_say(
    flext_world: World,
    stack: Any,
    changes: dict[str, Any],
    posted: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLEXT_TEST_CODE", "canary-code")
    host = flext_world.host({"services": services(stack, login(**changes))})
    client = await flext_world.client(host, "flexcore")
    stack.auth.fault(Fault(status=418))
    with pytest.raises(Refused):
        await client.get(PLUGINS)
    assert json.loads(stack.auth.received[-1].body) == posted
    assert "canary" not in str(host.explain("flexcore"))


async def test_url_and_token_path_are_what_the_settings_say(flext_world: World, stack: Any) -> None:
    stack.auth.fault(Fault(status=418, path="/v2/sign-in"))
    client = await flext_world.client(
        flext_world.host(
            {"services": services(stack, login(url="/v2/sign-in", token_path="user.email"))}
        ),
        "flexcore",
    )
    with pytest.raises(Refused):
        await client.get(PLUGINS)
    assert stack.auth.received[-1].path == "/v2/sign-in"
    client = await flext_world.client(
        flext_world.host({"services": services(stack, login(token_path="user.email"))}), "flexcore"
    )
    await client.get("/health")
    assert stack.flexcore.received[-1].headers["authorization"].startswith("Bearer admin@")


class Outside:
    """Stands outside auth and shares the message with it, since its place is given by `order`."""

    saw: list[bool]

    def __init__(self) -> None:
        type(self).saw = []

    @hookimpl
    async def flext_exchange(self, request: Any, send: Any) -> Any:
        try:
            return await send(request)
        finally:
            self.saw.append("authorization" in request.headers)


class Guard(Outside):
    """Stands where a circuit breaker does."""

    stage = Stage.GUARD


@pytest.mark.parametrize("auth", [login(), {"scheme": "bearer", "token": "canary"}])
async def test_only_what_is_further_in_sees_the_credential(
    flext_world: World, stack: Any, auth: dict[str, Any]
) -> None:
    table = services(stack, auth)
    table["flexcore"]["plugins"] |= {"guard": {}, "outside": {}}
    table["flexcore"]["order"] = ["outside", "auth", "guard"]
    host = flext_world.host({"services": table})
    host.register(Outside, "outside")
    host.register(Guard, "guard")
    client = await flext_world.client(host, "flexcore")
    await client.get("/health")
    stack.flexcore.fault(Fault(reset=True))
    with pytest.raises(flext_world.lib.TransportError):
        await client.get("/health")
    assert (Outside.saw, Guard.saw) == ([False, False], [True, True])


async def test_a_failed_login_is_no_failure_that_a_guard_could_count(
    flext_world: World, stack: Any
) -> None:
    stack.auth.down()
    table = services(stack)
    table["flexcore"]["plugins"] = {"guard": {}, **table["flexcore"]["plugins"]}
    host = flext_world.host({"services": table})
    host.register(Guard, "guard")
    client = await flext_world.client(host, "flexcore")
    with pytest.raises(Refused):
        await client.get(PLUGINS)
    assert Guard.saw == []
    assert stack.flexcore.received == []


async def test_a_cancelled_login_is_taken_over_by_another_caller(
    flext_async_world: World, stack: Any
) -> None:
    client = await flext_async_world.client(
        flext_async_world.host({"services": services(stack)}), "flexcore"
    )
    stack.auth.fault(Fault(delay=0.3))
    first, *others = [asyncio.create_task(client.get(PLUGINS)) for _ in range(5)]
    await asyncio.sleep(0.1)
    first.cancel()
    responses = await asyncio.gather(*others)
    assert [each.status_code for each in responses] == [200] * 4
    assert stack.auth.logins == 1
