"""Nothing secret comes into a span."""

from collections.abc import Callable
from typing import Any

import pytest
from flext_plugins_tracing.redaction import redacted

from flext_plugins import Host, PluginError, Refused, Stage, hookimpl
from flext_plugins.testing import Answer, LoopbackService, World

Serve = Callable[..., Host]

CANARIES = "token=canary-1&api_key=canary-2&page=7&X-Amz-Signature=canary-3;%74oken=canary-4"


class Refuses:
    """Refuses, with too many words."""

    stage = Stage.GUARD

    @hookimpl
    def flext_request(self) -> None:
        raise Refused("busy at http://ana:canary-5@busy.example/?token=canary-6")


class RefusesInside(Refuses):
    """The same, inside of the span."""

    stage = Stage.MESSAGE


class Raises:
    """Fails further in, with too many words."""

    @hookimpl
    def flext_request(self) -> None:
        raise ValueError("canary-7")


def test_user_info_and_secret_parameters_are_masked(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    url = flext_service.url.replace("://", "://ana:canary-8@")
    headers = {"Authorization": "Bearer canary-9", "X-API-Key": "canary-10"}
    flext_world.get(serve(), f"{url}/orders?{CANARIES}", headers=headers)
    assert "canary-1" in flext_service.received[0].path
    assert "canary" not in spans.text
    assert "page=7" in spans.ended[0].attributes["url.full"]


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [(Refuses, Refused), (RefusesInside, Refused), (Raises, PluginError)],
    ids=["refused", "refused inside", "raised"],
)
def test_what_a_plugin_says_is_masked(
    plugin: type, expected: Any, flext_world: World, serve: Serve, spans: Any
) -> None:
    with spans.tracer.start_as_current_span("the caller's", record_exception=False):
        with pytest.raises(expected):
            flext_world.get(serve(plugin))
    assert spans.ended[0].events != ()
    assert "canary" not in spans.text


def test_what_a_library_says_of_a_request_is_left_out(
    flext_world: World, flext_service: LoopbackService, serve: Serve, spans: Any
) -> None:
    host = serve(timeout={"read": 0.2})
    bad = {"X-API-Key": "canary-11\n"}
    with pytest.raises(Exception, match=r"(?i)header"):
        flext_world.get(host, f"/?{CANARIES}", headers=bad)
    flext_service.answer = Answer(reset=True)
    with pytest.raises(flext_world.lib.TransportError):
        flext_world.get(host, f"/?{CANARIES}")
    flext_service.refuse()
    with pytest.raises(flext_world.lib.TransportError):
        flext_world.get(host, f"/?{CANARIES}")
    *header, reset, refused = [[*each.events[0].attributes] for each in spans.ended]
    assert reset == refused == ["exception.type", "exception.message"]
    assert header == ([] if flext_world.name == "requests" else [["exception.type"]])
    assert "canary" not in spans.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://ana:pw@a.example/", "http://REDACTED:REDACTED@a.example/"),
        ("http://ana@a.example/", "http://REDACTED:REDACTED@a.example/"),
        ("http://a.example/?sig=1&q=2", "http://a.example/?sig=REDACTED&q=2"),
        ("http://a.example/#access_token=1", "http://a.example/#access_token=REDACTED"),
        ("http://a.example/?p%61ssword=1", "http://a.example/?p%61ssword=REDACTED"),
        (
            "http://a.example/?session_id=1&pwd=2",
            "http://a.example/?session_id=REDACTED&pwd=REDACTED",
        ),
        ("http://a.example/?client_assertion=1", "http://a.example/?client_assertion=REDACTED"),
        ("http://a.example/?design=1&monkey=2", "http://a.example/?design=1&monkey=2"),
    ],
)
def test_an_address_keeps_what_is_no_secret(text: str, expected: Any) -> None:
    assert redacted(text) == expected


def test_a_long_address_is_cut_after_it_was_redacted() -> None:
    assert (
        redacted("http://a.example/?token=" + "canary" * 1000 + "&q=" + "x" * 5000)
        == ("http://a.example/?token=REDACTED&q=" + "x" * 5000)[:2044] + " ..."
    )
