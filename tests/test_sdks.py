"""Real SDKs on top, as they come: what heals a 401 and what refuses is underneath."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import httpx
import httpx2
import pytest
import requests
from flext_plugins_circuit_breaker import CircuitOpen

from flext_plugins import Host, Refused
from flext_plugins.testing import Answer


def sdk(name: str) -> Any:
    """The SDK, which CI must have."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{name} is not installed: {error}")


EXAMPLES = Path(__file__).parent.parent / "examples"


class Api:
    """A service behind a login: a token is good until the next one, or `revoke`."""

    def __init__(self, server: Any, login: Any) -> None:
        self.server, self.login = server, login
        self.says: dict[str, Answer] = {}
        self.token: str | None = None
        self._tokens = (f"token-{number}" for number in count(1))
        server.answer, login.answer = self._answer, self._issue

    def revoke(self) -> None:
        """End the session, and forget what was received so far."""
        self.token = None
        self.forget()

    def forget(self) -> None:
        self.server.received.clear()
        self.login.received.clear()

    def _issue(self, _: Any) -> Answer:
        self.token = next(self._tokens)
        return _json({"access_token": self.token})

    def _answer(self, received: Any) -> Answer:
        if self.token and received.headers.get("authorization") == f"Bearer {self.token}":
            return self.says[received.path]
        return _json({"error": {"message": "who are you?"}}, 401)


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(value).encode())


class Sdk:
    """One SDK over a host's connection to `api`."""

    path = ""
    answer: Answer
    native: Any
    """What the SDK raises where there is no connection."""
    result: Any
    """What `call` gives."""
    replace = False
    """Whether the plugin's credential takes the place of the SDK's."""

    def __init__(self, host: Host, url: str) -> None:
        self.host, self.url = host, url

    def call(self) -> Any:
        raise NotImplementedError

    def cause(self, error: BaseException) -> Any:
        """What our connection raised."""
        return error

    def close(self) -> None:
        self.host.close()


class OpenAI(Sdk):
    """It wants a key and sends it; `auth` puts its own in its place."""

    replace = True

    path = "/v1/chat/completions"
    library: Any = httpx2
    answer = _json(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "small",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "hello"},
                }
            ],
        }
    )
    result = "hello"
    asked: ClassVar[Any] = {
        "model": "small",
        "messages": [{"role": "user", "content": "say hello"}],
    }

    def __init__(self, host: Host, url: str) -> None:
        super().__init__(host, url)
        self.native = sdk("openai").APIConnectionError
        self.options = {"base_url": f"{url}/v1", "api_key": "unused", "max_retries": 0}

    def client(self) -> Any:
        http = self.host.connect("api", self.library.Client)
        return sdk("openai").OpenAI(**self.options, http_client=http)

    def call(self) -> Any:
        return self.client().chat.completions.create(**self.asked).choices[0].message.content

    def cause(self, error: BaseException) -> Any:
        assert error.request.headers.get("authorization") in {"Bearer unused", None}
        return error.__cause__


class OpenAIOverHttpx(OpenAI):
    library = httpx


def delta(text: str) -> bytes:
    choices = [{"index": 0, "delta": {"content": text}}]
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "small"}
    return json.dumps({**chunk, "choices": choices}).encode()


class OpenAIStream(OpenAI):
    answer = Answer(
        headers={"Content-Type": "text/event-stream"},
        body=b"".join(b"data: %s\n\n" % part for part in (delta("hel"), delta("lo"), b"[DONE]")),
    )

    replace = False

    def call(self) -> Any:
        keyless = {"Authorization": sdk("openai").Omit()}  # the other way
        stream = self.client().chat.completions.create(
            **self.asked, stream=True, extra_headers=keyless
        )
        return "".join(chunk.choices[0].delta.content for chunk in stream)


class AsyncOpenAI(OpenAI):
    def __init__(self, host: Host, url: str) -> None:
        super().__init__(host, url)
        self.runner = asyncio.Runner()

    async def _call(self) -> Any:
        http = await self.host.aconnect("api", self.library.AsyncClient)
        client = sdk("openai").AsyncOpenAI(**self.options, http_client=http)
        completion = await client.chat.completions.create(**self.asked)
        return completion.choices[0].message.content

    def call(self) -> Any:
        return self.runner.run(self._call())

    def close(self) -> None:
        self.runner.run(self.host.aclose())
        self.runner.close()


class Authlib(Sdk):
    """Fetches an OAuth token from behind a gateway, whose login is the plugin's."""

    path = "/oauth/token"
    answer = _json({"access_token": "a-partner's", "token_type": "Bearer", "expires_in": 3600})
    result = "a-partner's"
    native = httpx2.TransportError

    def client(self) -> Any:
        return sdk("authlib.integrations.httpx_client").OAuth2Client(
            "an-id",
            "a-secret",
            token_endpoint_auth_method="client_secret_post",
            transport=self.host.transport("api", httpx2.BaseTransport),
        )

    def call(self) -> Any:
        with self.client() as client:
            return client.fetch_token(f"{self.url}{self.path}")["access_token"]


class AsyncAuthlib(Authlib):
    close = AsyncOpenAI.close

    def __init__(self, host: Host, url: str) -> None:
        super().__init__(host, url)
        self.runner = asyncio.Runner()

    async def _call(self) -> Any:
        async with sdk("authlib.integrations.httpx_client").AsyncOAuth2Client(
            "an-id",
            "a-secret",
            token_endpoint_auth_method="client_secret_post",
            transport=self.host.transport("api", httpx2.AsyncBaseTransport),
        ) as client:
            return (await client.fetch_token(f"{self.url}{self.path}"))["access_token"]

    def call(self) -> Any:
        return self.runner.run(self._call())


class Singer(Sdk):
    path = "/orders"
    answer = _json([{"id": 1}, {"id": 2}])
    result: ClassVar[Any] = [{"id": 1}, {"id": 2}]
    native = requests.ConnectionError

    def call(self) -> Any:
        singer, types = sdk("singer_sdk"), sdk("singer_sdk.typing")
        host, url = self.host, self.url

        class Orders(singer.RESTStream):
            name, path = "orders", "/orders"
            url_base = url
            schema = types.PropertiesList(types.Property("id", types.IntegerType)).to_dict()

            @cached_property
            def requests_session(self):
                return host.connect("api", requests.Session)

            def backoff_max_tries(self):
                return 1

        class Tap(singer.Tap):
            name = "tap-orders"
            config_jsonschema = types.PropertiesList().to_dict()

            def discover_streams(self):
                return [Orders(self)]

        return list(Tap(config={}).streams["orders"].get_records(None))


SDKS = [OpenAI, OpenAIOverHttpx, OpenAIStream, AsyncOpenAI, Authlib, AsyncAuthlib, Singer]


@pytest.fixture
def api(flext_service, flext_elsewhere):
    return Api(flext_service, flext_elsewhere)


@pytest.fixture(params=SDKS, ids=lambda kind: kind.__name__)
def top(request, api):
    """Each SDK in turn."""
    kind = request.param
    api.says[kind.path] = kind.answer
    login = {"scheme": "login", "service": "login", "username": "ana", "password": "pw"}
    plugins = {
        "auth": {**login, "replace": kind.replace},
        "circuit-breaker": {"failure_threshold": 2},
    }
    services = {
        "login": {"base_url": api.login.url},
        "api": {"base_url": api.server.url, "plugins": plugins},
    }
    made = kind(Host({"services": services}), api.server.url)
    yield made
    made.close()


def test_a_401_is_healed_below_the_sdk(api, top):
    assert top.call() == top.result
    api.revoke()

    assert top.call() == top.result
    assert api.server.paths() == [top.path, top.path]
    sent = [each.headers["authorization"] for each in api.server.received]
    assert sent == ["Bearer token-1", "Bearer token-2"]
    assert api.server.received[0].body == api.server.received[1].body
    assert api.login.paths() == ["/auth/login"]


def test_an_open_circuit_is_the_sdks_own_error_and_nothing_is_sent(api, top):
    assert top.call() == top.result
    api.server.refuse()
    for _ in range(2):
        with pytest.raises(top.native) as down:
            top.call()
        assert not isinstance(top.cause(down.value), Refused)

    api.server.listen()
    api.forget()
    with pytest.raises(top.native) as refused:
        top.call()
    assert isinstance(top.cause(refused.value), CircuitOpen)
    assert top.cause(refused.value).retry_after > 0
    assert api.server.received == []


def test_a_login_that_fails_is_the_sdks_own_error_and_nothing_is_sent(api, top):
    api.login.answer = lambda _: Answer(500)
    with pytest.raises(top.native) as refused:
        top.call()
    assert isinstance(top.cause(refused.value), Refused)
    assert "login" in str(top.cause(refused.value))
    assert api.server.received == []


@pytest.mark.parametrize("top", [OpenAI, OpenAIOverHttpx], indirect=True, ids=["httpx2", "httpx"])
def test_openais_own_retries_pass_through_the_plugins_each_time(api, top):
    """So the circuit counts each of them, and is open at the last."""
    top.options["max_retries"] = 2
    api.says[top.path] = Answer(503, {"Retry-After-Ms": "1"})
    with pytest.raises(top.native) as refused:
        top.call()

    assert isinstance(top.cause(refused.value), CircuitOpen)
    assert api.server.paths() == [top.path, top.path]


@pytest.mark.parametrize("top", [Authlib], indirect=True, ids=["sync"])
def test_a_token_of_authlibs_is_left_alone_and_without_it_the_plugins_goes(api, top):
    api.says["/orders"] = Answer()
    with top.client() as client:
        client.fetch_token(f"{top.url}{top.path}")
        mine = client.get(f"{top.url}/orders")
        plugins = client.request("GET", f"{top.url}/orders", withhold_token=True)

    sent = [each.headers["authorization"] for each in api.server.received]
    assert sent == ["Bearer token-1", "Bearer a-partner's", "Bearer token-1"]
    assert (mine.status_code, plugins.status_code) == (401, 200)
    assert "authorization" not in plugins.request.headers


@pytest.mark.parametrize(
    ("example", "module", "healed"),
    [
        ("openai_client", "openai", "hello [401, 200]"),
        ("authlib_client", "authlib", "the partner's [401, 200]"),
        ("singer_stream", "singer_sdk", "2 requests, 2 logins in all"),
    ],
)
def test_the_examples_show_it(example, module, healed):
    sdk(module)
    ran = subprocess.run(
        [sys.executable, EXAMPLES / f"{example}.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert healed in ran.stdout
    down = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("down:")]
    assert len(down) == 3
    assert "CircuitOpen" not in down[:2]
    assert down[2] == "CircuitOpen"
