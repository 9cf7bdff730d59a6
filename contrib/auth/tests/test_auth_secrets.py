"""A canary in every secret, and nowhere else than on the wire."""

import json
import logging
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_auth import AuthSettings

from flext_plugins import Stage, hookimpl
from flext_plugins.testing import Answer, LoopbackService, World

LOGIN = {"scheme": "login", "service": "tokens", "username": "canary-user"}
OAUTH2 = {"scheme": "oauth2", "service": "tokens", "url": "/token", "client_id": "id"}
SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {"scheme": "bearer", "token": "canary-token"},
    "basic": {"scheme": "basic", "username": "canary-user", "password": "canary-password"},
    "api-key": {"scheme": "api-key", "key": "canary-key"},
    "login": {**LOGIN, "password": "canary-password", "body": {"pin": "env:CANARY_PIN"}},
    "oauth2": {**OAUTH2, "client_secret": "canary-secret"},
    "oauth2-body": {**OAUTH2, "client_secret": "canary-secret", "client_auth": "body"},
    "oauth2-refresh": {
        **OAUTH2,
        "client_secret": "canary-secret",
        "client_id": "env:CANARY_ID",
        "refresh_token": "canary-refresh",
    },
}
CANARY = re.compile(r"canary-|Y2FuYXJ5|OmNhbmFyeS|pjYW5hcnkt", re.IGNORECASE)
"""Also as basic authentication encodes it, wherever it stands in there."""
TOKEN = b'{"access_token": "canary-access", "refresh_token": "canary-next", "expires_in": 100}'
OURS = re.compile(r"flext_plugins(_auth)?/")


class Seen:
    """What whoever measures, traces or audits is told."""

    stage = Stage.CALL
    observer = True
    told: list[str]

    def __init__(self) -> None:
        type(self).told = []

    @hookimpl
    async def flext_exchange(self, request: Any, send: Any, connection: Any) -> Any:
        response = await send(request)
        self.told.append(f"{response!r} {vars(response)!r} {request.url!s}")
        if connection.service.name == "tokens":
            return response  # whose plugins do see what it is asked
        self.told.append(f"{dict(request.headers)!r} {dict(response.request.headers)!r}")
        return response

    @hookimpl
    def flext_event(self, event: object, connection: Any) -> None:
        self.told.append(f"{event!r} {connection!r} {connection.service!r} {connection.call!r}")


@pytest.fixture(params=SCHEMES)
def auth(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("CANARY_ID", "canary-id")
    monkeypatch.setenv("CANARY_PIN", "canary-pin")
    return SCHEMES[request.param]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def told_by(error: BaseException) -> Iterator[str]:
    """All that `error` and those before it say, and what our own frames held meanwhile."""
    seen: list[BaseException] = [error]
    for each in seen:
        seen += [more for more in (each.__cause__, each.__context__) if more and more not in seen]
        yield f"{each!r} {each} {each.args!r} {vars(each)!r} {each.__reduce__()!r}"
        yield "".join(traceback.format_exception(each))
        request = getattr(each, "_request", None) or vars(each).get("request")
        if request is not None:
            yield f"{dict(request.headers)!r} {getattr(request, 'body', None)!r}"
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if OURS.search(frame.f_code.co_filename):
                file = Path(frame.f_code.co_filename)
                name = f"{file.parent.name}/{file.name}:{frame.f_code.co_name}"
                for key, value in frame.f_locals.items():
                    yield f"{name}: {key} = {value!r}"


def quoted(auth: dict[str, Any]) -> Answer:
    """A token service that has no manners."""
    said = f"what is {auth.get('client_secret')} of canary-refresh canary-id?"
    return Answer(400, body=json.dumps({"error": "x", "error_description": said}).encode())


async def test_a_canary_in_every_secret_shows_nowhere_but_on_the_wire(
    flext_world: World,
    flext_service: LoopbackService,
    flext_elsewhere: LoopbackService,
    logged: pytest.LogCaptureFixture,
    auth: dict[str, Any],
) -> None:
    config = {
        "api": {
            "base_url": flext_service.url,
            "headers": {"X-Pin": "env:CANARY_PIN"},
            "plugins": {"auth": auth, "seen": {}},
        },
        "tokens": {"base_url": flext_elsewhere.url, "plugins": {"seen": {}}},
    }
    elsewhere = f"{flext_elsewhere.url}/away"
    flext_elsewhere.answer = lambda received: Answer(
        body=b"bare" if received.path == "/away" else TOKEN
    )
    flext_service.answer = lambda received: (
        Answer(302, {"Location": elsewhere})
        if received.path == "/redirect"
        else Answer(reset=received.path == "/reset")
    )
    host = flext_world.host({"services": config}, seen=Seen)
    client = await flext_world.client(host, "api", follow_redirects=True)
    shown = [repr(AuthSettings(**auth)), str(host.explain("api")), repr(host.explain("api"))]
    shown += [AuthSettings(**auth).model_dump_json(), repr(host._runtime.composed("api"))]

    answers = [await client.get("/"), await client.get("/redirect")]
    for each in [*answers, *answers[1].history]:
        shown += [repr(each), repr(dict(each.request.headers)), repr(dict(each.headers))]
    with pytest.raises(flext_world.lib.TransportError) as broken:
        await client.get("/reset")
    shown += told_by(broken.value)
    sent = [each.headers for each in flext_service.received]
    assert all(CANARY.search(repr(each)) for each in sent)
    assert not CANARY.search(repr(flext_elsewhere.received[-1].headers))
    shown += Seen.told

    if "service" in auth:
        for trouble in (Answer(reset=True), quoted(auth), Answer(503), Answer(body=b"canary-")):
            other = flext_world.host({"services": config}, seen=Seen)
            client = await flext_world.client(other, "api")
            flext_elsewhere.answer = trouble
            with pytest.raises(flext_world.lib.TransportError) as refused:
                await client.get("/")
            shown += told_by(refused.value)
            shown += Seen.told
    shown += [*Seen.told, logged.text, *(repr(vars(each)) for each in logged.records)]
    assert len(shown) > 30
    assert [each for each in shown if CANARY.search(each)] == []


async def test_a_secret_whose_file_is_gone_stays_in_use_and_is_told_without_its_text(
    caplog: pytest.LogCaptureFixture,
    flext_world: World,
    flext_service: LoopbackService,
    flext_elsewhere: LoopbackService,
    auth: dict[str, Any],
    tmp_path: Path,
) -> None:
    flext_elsewhere.answer = Answer(body=TOKEN)
    secrets = [key for key, each in auth.items() if "canary" in str(each) and key != "body"]
    for missing in secrets:
        written = {}
        for key in secrets:
            file = tmp_path / key
            file.write_text(str(auth[key]).replace("env:CANARY_ID", "canary-id"))
            written[key] = f"file:{file}"
        plugins = {"auth": {**auth, **written}}
        api = {"base_url": flext_service.url, "plugins": plugins}
        config = {"services": {"api": api, "tokens": {"base_url": flext_elsewhere.url}}}
        client = await flext_world.client(flext_world.host(config), "api")
        (tmp_path / missing).unlink()
        assert (await client.get("/")).status_code == 200
        assert f"{tmp_path / missing}: cannot be read" in caplog.text
    assert len(flext_service.received) == len(secrets) > 0
    assert not CANARY.search(caplog.text)


@pytest.mark.parametrize(
    "broken",
    [
        {"scheme": "bearer", "token": "canary-\n"},
        {"scheme": "api-key", "key": "canary-\n"},
        {"scheme": "basic", "username": "canary-:", "password": "canary-password"},
        {**SCHEMES["oauth2"], "scope": ["canary-", 5]},
        {**SCHEMES["oauth2"], "url": "canary- x"},
        {**SCHEMES["login"], "client_secret": "canary-secret"},
    ],
)
async def test_a_configuration_that_is_wrong_tells_no_secret(
    flext_httpx_world: World, flext_service: LoopbackService, broken: dict[str, Any]
) -> None:
    services = {
        "api": {"base_url": flext_service.url, "plugins": {"auth": broken}},
        "tokens": {"base_url": flext_service.url},
    }
    host = flext_httpx_world.host({"services": services})
    with pytest.raises(Exception, match="api: ") as caught:
        await flext_httpx_world.client(host, "api")
    found = [each for each in told_by(caught.value) if CANARY.search(each)]
    # The host's own frames hold the configuration while it is read.
    assert [each for each in found if not each.startswith(("_composition/", "_config/"))] == []
