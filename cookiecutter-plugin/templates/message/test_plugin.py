"""What the plugin does, in all client libraries, sync and async."""

import hashlib
import hmac
from typing import Any

import pytest
from flext_plugins import ConfigError, Host
from flext_plugins.testing import LoopbackService, Received, World

from {{ cookiecutter.__package }} import {{ cookiecutter.__class }}

NAME = "{{ cookiecutter.name }}"
SETTINGS = {"client": "acme", "key": "env:{{ cookiecutter.__variable }}_KEY"}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("{{ cookiecutter.__variable }}_KEY", "first")


def host(world: World, service: LoopbackService, **settings: Any) -> Host:
    table = {**SETTINGS, **settings}
    config = {"base_url": service.url, "plugins": {NAME: table}}
    return world.host({"services": {"service": config}}, **{NAME: {{ cookiecutter.__class }}})


def signature(received: Received, key: str, body: str | None = None) -> str:
    """What the service would compute from what it got."""
    if body is None:
        body = hashlib.sha256(received.body).hexdigest()
    text = f"{received.headers['x-client']}\n{received.method}\n{received.path}\n{body}"
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def test_the_service_can_check_what_it_got(
    flext_world: World, flext_service: LoopbackService
) -> None:
    sender = host(flext_world, flext_service)
    flext_world.send(sender, "POST", "/a%2Fb?c=d", content=b"an order")
    (received,) = flext_service.received
    assert (received.method, received.path) == ("POST", "/a%2Fb?c=d")
    assert received.headers["x-client"] == "acme"
    assert received.headers["x-signature"] == signature(received, "first")


def test_the_signature_stays_what_services_know(
    flext_world: World, flext_service: LoopbackService
) -> None:
    flext_world.get(host(flext_world, flext_service), "/orders")
    (received,) = flext_service.received
    assert received.headers["x-signature"] == (
        "22007168d09db1dede2aad08931384b2d82c969a2d439d50f8ca491692318849"
    )


def test_a_body_that_can_be_sent_once_is_sent_unread(
    flext_world: World, flext_service: LoopbackService
) -> None:
    upload = flext_world.upload(b"one", b"two")
    flext_world.send(host(flext_world, flext_service), "POST", "/", content=upload)
    (received,) = flext_service.received
    assert received.body == b"onetwo"
    assert received.headers["x-signature"] == signature(received, "first", "UNSIGNED")


def test_a_renewed_key_is_used_at_once(
    flext_world: World, flext_service: LoopbackService, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = host(flext_world, flext_service)
    flext_world.get(sender)
    monkeypatch.setenv("{{ cookiecutter.__variable }}_KEY", "second")
    flext_world.get(sender)
    received = flext_service.received[-1]
    assert received.headers["x-signature"] == signature(received, "second")


def test_the_callers_own_request_shows_no_signature(
    flext_world: World, flext_service: LoopbackService
) -> None:
    answer = flext_world.get(host(flext_world, flext_service))
    assert "X-Signature" not in answer.request.headers


def test_the_header_can_be_another(flext_world: World, flext_service: LoopbackService) -> None:
    flext_world.get(host(flext_world, flext_service, header="X-Mac"))
    (received,) = flext_service.received
    assert received.headers["x-mac"] == signature(received, "first")
    assert "x-signature" not in received.headers


def test_it_cannot_be_made_an_observer(flext_world: World, flext_service: LoopbackService) -> None:
    with pytest.raises(ConfigError, match="observer"):
        host(flext_world, flext_service, observer=True).check()
