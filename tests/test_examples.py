"""The example plugins do what they say, in every client library, and keep to the contract."""

from __future__ import annotations

import subprocess
import sys
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest

from flext_plugins import PluginError
from flext_plugins.testing import Answer, PluginConformance

pytestmark = pytest.mark.once

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

from cache import Cache  # noqa: E402
from encryption import Encryption, Opener, Sealer  # noqa: E402

KEY, OTHER = "yqdlZ-tYemfogSmv7Ws5PQ", "BO3ZVPxUlnLORbVGMpbT1Q"


def decoded(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def passed(machine, body, size=7):
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(map(machine.feed, parts)) + machine.end()


class TestEncryption(PluginConformance):
    plugin = Encryption
    settings = {"key": KEY}

    def answers(self, received):
        """The service opens what it is sent, and seals what it says."""
        letter = passed(Opener(decoded(KEY)), received.body) if received.body else b"nothing"
        sealed = passed(Sealer(decoded(KEY)), b"read: " + letter)
        return Answer(headers={"Content-Encoding": "aes128gcm"}, body=sealed)

    async def exercise(self, trial):
        answer = await trial.send("PUT", "/letter", content=b"I am the walrus")
        assert answer.content == b"read: I am the walrus"
        assert b"walrus" not in trial.service.received[-1].body


class TestCache(PluginConformance):
    plugin = Cache
    answers = (Answer(headers={"Cache-Control": "max-age=60"}, body=b"kept"),)

    async def exercise(self, trial):
        await trial.get("/kept")
        before = len(trial.service.received)
        assert (await trial.get("/kept")).content == b"kept"
        assert len(trial.service.received) == before


# Encryption

WALRUS = "I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg"
"""RFC 8188, section 3.1."""
PADDED = (
    "uNCkWiNYzKTnBN9ji3-qWAAAABkCYTHOG8chz_gnvgOqdGYovxyjuqRyJFjEDyoF1Fvkj6hQPdPHI51OEUKEpgz3SsLW"
    "IqS_uA"
)
"""Section 3.2: two records, a padding and a key's name."""


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(("key", "sealed"), [(KEY, WALRUS), (OTHER, PADDED)])
def test_what_the_standard_shows_is_opened(key, sealed, size):
    assert passed(Opener(decoded(key)), decoded(sealed), size) == b"I am the walrus"


def test_what_is_sealed_is_what_the_standard_shows():
    salt = decoded(WALRUS)[:16]
    assert passed(Sealer(decoded(KEY), salt), b"I am the walrus") == decoded(WALRUS)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 16, 1000])
def test_a_body_of_any_length_comes_back(length):
    body = bytes(range(256)) * 4
    sealed = passed(Sealer(decoded(KEY), size=25), body[:length])
    assert passed(Opener(decoded(KEY)), sealed) == body[:length]


def encrypting(world, server, **options):
    config = {"base_url": server.url, "plugins": {"encryption": {"key": "env:KEY"}}, **options}
    return world.host({"services": {"service": config}}, encryption=Encryption)


@pytest.mark.parametrize("large", [False, True])
def test_what_is_sent_is_sealed_and_an_answer_is_opened(
    flext_service, flext_world, monkeypatch, large
):
    monkeypatch.setenv("KEY", KEY)
    body = b"I am the walrus" * (10_000 if large else 1)
    flext_service.answer = lambda received: Answer(
        headers={"Content-Encoding": "aes128gcm"}, body=received.body
    )
    host = encrypting(flext_world, flext_service)
    answer = flext_world.send(host, "PUT", "/letter", content=body)

    [received] = flext_service.received
    assert received.headers["content-encoding"] == "aes128gcm"
    assert b"walrus" not in received.body
    assert answer.content == body
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("spoiled", ["changed", "cut", "of another key"])
def test_a_letter_that_was_opened_on_its_way_is_not_read(
    flext_service, flext_world, monkeypatch, spoiled
):
    monkeypatch.setenv("KEY", KEY)
    sealed = passed(
        Sealer(decoded(OTHER if "key" in spoiled else KEY), size=25), b"I am the walrus"
    )
    if spoiled == "changed":
        sealed = sealed[:-3] + bytes([sealed[-3] ^ 1]) + sealed[-2:]
    if spoiled == "cut":
        sealed = sealed[: 21 + 25]
    flext_service.answer = Answer(headers={"Content-Encoding": "aes128gcm"}, body=sealed)
    host = encrypting(flext_world, flext_service, max_connections=1)
    for _ in range(2):
        with pytest.raises(PluginError, match="transform raised") as caught:
            flext_world.get(host)
        assert caught.value.plugin == "encryption"


def test_the_example_of_encryption_runs():
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "encryption.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "sent: False kept: I am the walrus\n"), ran.stderr


# Cache


def caching(world, server, **options):
    config = {"base_url": server.url, "plugins": {"cache": {"size": 100}}, **options}
    return world.host({"services": {"service": config}}, cache=Cache)


def answering(body=b"kept", **headers):
    return Answer(headers={"Cache-Control": "max-age=60", **headers}, body=body)


def test_an_answer_that_may_be_kept_is_asked_for_once(flext_service, flext_world):
    flext_service.answer = answering()
    host = caching(flext_world, flext_service)
    answers = [flext_world.get(host, "/a?b") for _ in range(3)]
    assert [each.content for each in answers] == [b"kept"] * 3
    assert [each.headers["content-length"] for each in answers[1:]] == ["4"] * 2
    assert flext_service.paths() == ["/a?b"]
    flext_world.get(host, "/a?c")
    assert flext_service.paths() == ["/a?b", "/a?c"]


NOT_KEPT = {
    "no-store": (answering(**{"Cache-Control": "no-store, max-age=60"}), {}, {}),
    "without an age": (answering(**{"Cache-Control": "public"}), {}, {}),
    "that varies": (answering(Vary="Accept"), {}, {}),
    "with a cookie": (answering(**{"Set-Cookie": "a=b"}), {}, {}),
    "too large": (answering(b"x" * 101), {}, {}),
    "that broke": (Answer(headers={"Cache-Control": "max-age=60"}, body=b"long", cut=2), {}, {}),
    "that is an error": (Answer(500, headers={"Cache-Control": "max-age=60"}), {}, {}),
    "to the caller's token": (answering(), {"headers": {"Authorization": "Bearer t"}}, {}),
    "to the service's token": (answering(), {}, {"headers": {"Authorization": "Bearer t"}}),
}


@pytest.mark.parametrize("what", NOT_KEPT)
def test_an_answer_is_not_kept(flext_service, flext_world, what):
    flext_service.answer, options, config = NOT_KEPT[what]
    host = caching(flext_world, flext_service, **config)
    for _ in range(2):
        if what == "that broke":
            with pytest.raises(flext_world.lib.TransportError):
                flext_world.get(host, **options)
        else:
            flext_world.get(host, **options)
    assert len(flext_service.received) == 2


def test_a_credential_that_is_added_further_in_is_no_secret_to_it(
    flext_service, flext_world, monkeypatch
):
    monkeypatch.setenv("TOKEN", "token-1")
    flext_service.answer = answering()
    config = {
        "base_url": flext_service.url,
        "plugins": {"cache": {}, "auth": {"scheme": "bearer", "token": "env:TOKEN"}},
    }
    host = flext_world.host({"services": {"service": config}}, cache=Cache)
    for _ in range(2):
        flext_world.get(host)
    assert [each.headers["authorization"] for each in flext_service.received] == [
        "Bearer token-1"
    ] * 2


def test_an_answer_that_is_not_read_to_its_end_is_not_kept(flext_service, flext_world):
    flext_service.answer = answering()
    host = caching(flext_world, flext_service)
    if flext_world.asynchronous:

        async def leave():
            async with flext_world.aconnect(host) as client, client.stream("GET", "/"):
                pass

        flext_world.run(leave)
    elif flext_world.name == "requests":
        with flext_world.connect(host) as session:
            session.get("/", stream=True).close()
    else:
        with flext_world.connect(host) as client, client.stream("GET", "/"):
            pass
    flext_world.get(host)
    assert len(flext_service.received) == 2
