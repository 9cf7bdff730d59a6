"""Plugins read so much of an answer and no more; the application reads all."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from contextlib import suppress
from functools import cache

import pytest
from pydantic import BaseModel

from flext_plugins import AnswerTooLong, Failure, ServiceName, ServiceURL, hookimpl
from flext_plugins._clients.decoding import Output, Undecodable, _zstandard, _zstd
from flext_plugins.testing import Answer

MOST, BOMB = 100_000, 32 * 1024 * 1024
COSTS = 4 * 1024 * 1024
"""Bytes of memory that reading a bomb may take; the buffers of the sockets are among them."""
ZEROS = b"0" * BOMB


def deflated(data, form):
    stream = zlib.compressobj(wbits=form)
    return stream.compress(data) + stream.flush()


def brotli(data):
    return pytest.importorskip("brotli").compress(data)


def zstandard(data):
    return pytest.importorskip("zstandard").compress(data)


CODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate, raw": lambda data: deflated(data, -zlib.MAX_WBITS),
    "br": brotli,
    "zstd": zstandard,
    "gzip, deflate": lambda data: zlib.compress(gzip.compress(data)),
    "gzip, gzip, gzip": lambda data: gzip.compress(gzip.compress(gzip.compress(data))),
    "deflate, BR": lambda data: brotli(zlib.compress(data)),
}
"""How a body is encoded, by the header `Content-Encoding` (and a word that is not sent)."""
ONLY_FOR_PLUGINS = {"x-gzip", "deflate, BR", "zstd"}
"""What some client library gives its caller as it came, or cannot decode."""


@cache
def encoded(coding, data):
    return Answer(
        headers={"Content-Encoding": coding.removesuffix(", raw")}, body=CODINGS[coding](data)
    )


BOMBS = {
    "longer, as it says": lambda: Answer(body=b"x" * (MOST + 1)),
    "longer, as it does not say": lambda: Answer(chunks=[b"x" * 1000] * (MOST // 1000 + 1)),
    "without end": lambda: Answer(chunks=[b"x" * 50_000] * 100_000),
    "in gzip's second member": lambda: Answer(
        headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"first") + gzip.compress(ZEROS)
    ),
    **{coding: lambda coding=coding: encoded(coding, ZEROS) for coding in CODINGS},
}


def reading(read):
    class Reads:
        @hookimpl
        async def flext_response(self, response, connection):
            try:
                read.append(await connection.read(response))
            except Exception as error:
                read.append((error, connection.failure(error)))
                raise

    return Reads


@pytest.mark.contract("reads-are-bounded")
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_plugin_that_reads_too_long_an_answer_is_told_so_and_nothing_is_lost(
    flext_world, flext_service, bomb
):
    read, answer = [], BOMBS[bomb]()
    flext_service.answer = lambda received: answer if received.path == "/bomb" else Answer()
    limits = {"max_connections": 1, "max_plugin_read": MOST, "timeout": 10}
    host = flext_world.serve(flext_service, reading(read), **limits)
    flext_world.get(host, "/")  # imports and opens all that there is
    tracemalloc.start()
    try:
        with pytest.raises(flext_world.lib.TransportError) as caught:
            flext_world.get(host, "/bomb")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(caught.value, AnswerTooLong)
    assert str(caught.value).startswith(f"service: reads: its answer has more than {MOST} bytes")
    assert "max_plugin_read" in str(caught.value)
    (_, (error, failure)) = read
    assert (type(error), failure) == (AnswerTooLong, Failure.READ)
    assert peak < COSTS
    assert flext_world.get(host, "/").status_code == 200  # the only permit is back
    assert flext_service.sockets <= 1


@pytest.mark.contract("reads-are-bounded")
@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_as_long_as_it_may_be_is_read_and_stays_readable(
    flext_world, flext_service, coding
):
    read, data = [], bytes(range(256)) * (MOST // 256)
    flext_service.answer = answer = encoded(coding, data)
    host = flext_world.serve(
        flext_service, reading(read), max_plugin_read=max(len(data), len(answer.body))
    )

    got = flext_world.get(host, "/")

    assert [len(read[0]), read[0] == data] == [len(data), True]
    if coding not in ONLY_FOR_PLUGINS:
        assert [len(got.content), got.content == data] == [len(data), True]


@pytest.mark.parametrize("module", ["zstandard", "backports.zstd"])
@pytest.mark.contract("read-leaves-readable")
def test_a_frame_that_is_cut_short_is_no_answer(module):
    """The client libraries say so too; of gzip they and we take what there is."""
    zstd = pytest.importorskip(module)
    decode = (_zstandard if module == "zstandard" else _zstd)(zstd)
    frame = zstd.compress(b"x" * 1000)
    for data in (frame[:-1], frame + frame[:-3]):
        with pytest.raises(Undecodable, match="cut short"):
            decode(data, Output(MOST))
    decode(frame + frame, output := Output(MOST))
    assert output.data == b"x" * 2000


@pytest.mark.contract("reads-are-bounded")
def test_the_application_reads_what_is_too_long_for_a_plugin(flext_world, flext_service):
    class Tries:
        @hookimpl
        async def flext_response(self, response, connection):
            with suppress(AnswerTooLong):
                await connection.read(response)

    data = b"x" * (2 * MOST)
    host = flext_world.serve(flext_service, Tries, max_plugin_read=MOST, timeout=10)

    flext_service.answer = encoded("gzip", data)
    assert flext_world.get(host, "/").content == data
    # Nothing is left of one whose bytes as sent are too many: it is broken, and not cut short.
    flext_service.answer = Answer(body=data)
    with pytest.raises((AnswerTooLong, flext_world.lib.TransportError)):
        print(len(flext_world.get(host, "/").content))


class AsksSettings(BaseModel):
    service: ServiceName | None = None
    url: ServiceURL | None = None


class Asks:
    Settings = AsksSettings

    def __init__(self, settings):
        self._url, self._service = settings.url or "/", settings.service
        if settings.url is not None:
            self._service = settings.url.origin

    @hookimpl
    async def flext_request(self, connection):
        await connection.read(await connection.request(self._service, "GET", self._url))


@pytest.mark.contract("reads-are-bounded")
@pytest.mark.parametrize("kind", ["service", "url"])
def test_how_much_a_plugin_reads_is_said_by_the_service_that_answers(
    flext_world, flext_service, flext_elsewhere, kind
):
    flext_elsewhere.answer = Answer(body=b"x" * (MOST + 1))
    url = flext_elsewhere.url
    services = {
        "service": {
            "base_url": flext_service.url,
            "max_plugin_read": 10,
            "plugins": {"asks": {kind: "other" if kind == "service" else url}},
        },
        "other": {"base_url": url, "max_plugin_read": MOST},
    }
    config = {"defaults": {"max_plugin_read": MOST}, "services": services}
    host = flext_world.host(config, asks=Asks)

    with pytest.raises(AnswerTooLong, match=f"more than {MOST} bytes") as caught:
        flext_world.get(host, "/")
    assert caught.value.service == ("other" if kind == "service" else url)
    assert caught.value.plugin == "asks"
    assert not flext_service.received
