"""Messages as plugins see and change them: the same in every client library."""

from __future__ import annotations

import gc
import gzip
import hashlib
import io
import json
import ssl
import threading
import time
import zlib
from http.server import HTTPServer, SimpleHTTPRequestHandler

import pytest
from flext_plugins_devstack.certificates import authority
from pydantic import BaseModel
from trickle import HEAD, saying

from flext_plugins import (
    DeadlineExceeded,
    PluginError,
    Secret,
    Stage,
    events,
    hookimpl,
    options,
)
from flext_plugins.http import URL, Origin
from flext_plugins.testing import Answer, World, echo

# Addresses

TARGETS = {
    "": "/",
    "/admin%2Fusers": "/admin%2Fusers",
    "/a/../b": "/b",
    "/a;b=c": "/a;b=c",
    "/a//b": "/a//b",
    "//a/b": "//a/b",
    "/a b?c d": "/a%20b?c%20d",
    "/ä?ö=ü": "/%C3%A4?%C3%B6=%C3%BC",
    "?q=1": "/?q=1",
    "/a?q=%20#fragment": "/a?q=%20",
    "/a'(b)@c:d": "/a'(b)@c:d",
    "/a+b?c+d=?": "/a+b?c+d=?",
}
"""Paths as callers write them, and as every library sends them."""
SENT_DIFFERENTLY = ["/a?", "/%zz", "/a%2fb", "/a/%2e%2e/b", "/a?x=[1]|2", "/%41%7E", "/a\\b", "/^`"]


def seeing(seen):
    class Sees:
        @hookimpl
        def flext_request(self, request):
            seen.append((request.url, request.headers.copy()))

    return Sees


@pytest.mark.contract("url-is-as-sent")
@pytest.mark.parametrize("path", TARGETS)
def test_a_plugin_sees_the_address_that_is_sent(flext_service, flext_world, path):
    seen = []
    host = flext_world.serve(flext_service, seeing(seen))
    flext_world.get(host, flext_service.url + path)

    [(url, headers)], [received] = seen, flext_service.received
    target = TARGETS[path]
    assert (url.target, received.path) == (target, target)
    assert url == URL(Origin("http", "127.0.0.1", flext_service.port), target)
    assert str(url) == f"http://127.0.0.1:{flext_service.port}{target}"
    assert (url.scheme, url.host, url.port) == ("http", "127.0.0.1", flext_service.port)
    path, mark, query = target.partition("?")
    assert (url.path, url.query) == (path, query if mark else None)
    assert headers["host"] == received.headers["host"] == f"127.0.0.1:{flext_service.port}"


@pytest.mark.contract("url-is-as-sent")
@pytest.mark.parametrize("path", SENT_DIFFERENTLY)
def test_where_libraries_encode_in_their_own_way_a_plugin_sees_it(flext_service, flext_world, path):
    seen = []
    flext_world.get(flext_world.serve(flext_service, seeing(seen)), flext_service.url + path)

    [(url, _)], [received] = seen, flext_service.received
    assert url.target == received.path


@pytest.mark.contract("url-is-as-sent")
@pytest.mark.parametrize(
    ("base_url", "host", "port", "header"),
    [
        ("http://A.Example", "a.example", 80, "a.example"),
        ("https://a.example:443/v1/", "a.example", 443, "a.example"),
        ("http://a.example:8080", "a.example", 8080, "a.example:8080"),
        ("http://[::1]:81", "::1", 81, "[::1]:81"),
        ("http://[2001:db8::1]", "2001:db8::1", 80, "[2001:db8::1]"),
        ("http://bücher.example", "xn--bcher-kva.example", 80, "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_one_in_all_spellings(flext_world, base_url, host, port, header):
    seen = []

    class Answers(seeing(seen)):
        @hookimpl
        def flext_request(self, request, connection):
            seen.append((request.url, request.headers["Host"]))
            return connection.respond(204)

    config = {"services": {"service": {"base_url": base_url, "plugins": {"answers": {}}}}}
    flext_world.get(flext_world.host(config, answers=Answers), "/x")
    [(url, sent)] = seen
    assert (url.host, url.port, sent) == (host, port, header)
    assert url.origin == Origin.of(base_url)


@pytest.mark.contract("url-is-as-sent")
def test_a_guard_by_path_refuses_the_same_in_every_library(flext_service, flext_world):
    class Guards:
        @hookimpl
        def flext_request(self, request, connection):
            return connection.respond(403) if request.url.path.startswith("/admin/") else None

    host = flext_world.serve(flext_service, Guards)
    codes = {path: flext_world.get(host, path).status_code for path in ("/admin/x", "/admin%2Fx")}
    assert codes == {"/admin/x": 403, "/admin%2Fx": 200}


@pytest.mark.contract("host-among-headers")
def test_the_host_is_sent_as_a_plain_client_does_unless_it_was_changed(flext_service, flext_world):
    class Turns:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send):
            await send(request)
            assert "Host" in request.headers
            request.headers["Host"] = "other.example"
            return await send(request)

    flext_world.get(flext_world.serve(flext_service, Turns))
    first, second = flext_service.received
    assert next(iter(first.headers)) == "host"
    assert first.headers["host"] == f"127.0.0.1:{flext_service.port}"
    assert second.headers["host"] == "other.example"


@pytest.mark.contract("host-among-headers")
def test_a_host_of_the_callers_stays(flext_service, flext_world):
    seen = []
    host = flext_world.serve(flext_service, seeing(seen))
    flext_world.get(host, headers={"Host": "virtual.example"})
    assert seen[0][1]["host"] == flext_service.received[0].headers["host"] == "virtual.example"


# Bodies in place of others


def replacing(content, message="request"):
    class Replaces:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            if message == "request":
                connection.replace(request, content)
                assert connection.replayable(request)
                assert connection.size(request) == len(content)
                return await send(request)
            answer = await send(request)
            connection.replace(answer, content)
            assert connection.size(answer) == len(content)
            return answer

    return Replaces


def contents(world):
    return {
        "bytes": {"content": b"plain"},
        "nothing": {},
        "a form": {"data": {"a": "b"}},
        "a stream": {"content": world.upload(b"pla", b"in")},
        "a file": {"files": {"f": io.BytesIO(b"plain")}},
    }


@pytest.mark.contract("bodies-are-replaced")
@pytest.mark.parametrize("kind", ["bytes", "nothing", "a form", "a stream", "a file"])
def test_a_requests_body_is_replaced(flext_service, flext_world, kind):
    host = flext_world.serve(flext_service, replacing(b"sealed"))
    flext_world.send(host, "POST", "/", **contents(flext_world)[kind])

    [received] = flext_service.received
    assert received.body == b"sealed"
    assert received.headers["content-length"] == "6"
    assert "transfer-encoding" not in received.headers


@pytest.mark.contract("bodies-are-replaced")
@pytest.mark.parametrize("coding", [None, "gzip"])
def test_a_responses_body_is_replaced(flext_service, flext_world, flext_record, coding):
    class Opens(replacing(b"open", "response")):
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            answer = await super().flext_exchange(request, send, connection)
            answer.headers.pop("Content-Encoding", None)
            return answer

    body = gzip.compress(b"sealed") if coding else b"sealed"
    flext_service.answer = Answer(headers={"Content-Encoding": coding} if coding else {}, body=body)
    host = flext_world.serve(flext_service, Opens, flext_record.of(), max_connections=1)
    for _ in range(3):
        answer = flext_world.get(host)
        assert answer.content == b"open"
        assert answer.headers["Content-Length"] == "4"
    assert flext_service.most_sockets == 1
    assert [each.error for each in flext_record.events(events.BodyEnded)] == [None] * 3


@pytest.mark.contract("bodies-are-replaced")
def test_who_watched_the_replaced_body_is_told_of_the_new_one(flext_service, flext_world):
    told = []

    class Watches:
        stage = Stage.SIGN

        @hookimpl
        def flext_response(self, response, connection):
            connection.watch(response, lambda error, size: told.append((error, size)))

    flext_service.answer = Answer(body=b"sealed")
    host = flext_world.serve(flext_service, replacing(b"open", "response"), Watches)
    assert flext_world.get(host).content == b"open"
    assert told == [(None, 4)]


@pytest.mark.contract("bodies-are-replaced")
def test_what_replaces_a_body_is_encoded_as_the_headers_say(flext_service, flext_world):
    class Packs:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            answer = await send(request)
            connection.replace(answer, gzip.compress(b"packed"))
            answer.headers["Content-Encoding"] = "gzip"
            return answer

    assert flext_world.get(flext_world.serve(flext_service, Packs)).content == b"packed"


@pytest.mark.contract("bodies-are-replaced")
def test_a_body_is_replaced_by_bytes(flext_service, flext_world):
    with pytest.raises(PluginError, match="takes bytes, not str") as caught:
        flext_world.get(flext_world.serve(flext_service, Wrong := _replacing_text()))
    assert caught.value.plugin == Wrong.__name__.lower()
    assert flext_service.received == []


def _replacing_text():
    class Wrong:
        @hookimpl
        def flext_request(self, request, connection):
            connection.replace(request, "text")

    return Wrong


# Bodies that are transformed as they pass


class Xor:
    """A cipher for tests: each byte differs, a mark follows at the end."""

    def __init__(self, tail=b"", begun=None):
        self._tail = tail
        if begun is not None:
            begun.append(self)
        self.ended = 0

    def feed(self, chunk):
        return bytes(each ^ 1 for each in chunk)

    def end(self):
        self.ended += 1
        return self._tail


def transforming(start, message="request"):
    class Transforms:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            if message == "request":
                connection.transform(request, start)
                return await send(request)
            answer = await send(request)
            connection.transform(answer, start)
            return answer

    return Transforms


def xored(data):
    return Xor().feed(data)


@pytest.mark.contract("bodies-are-transformed")
@pytest.mark.parametrize("kind", ["bytes", "a form", "a stream", "a file"])
def test_a_requests_body_is_transformed_as_it_is_sent(flext_service, flext_world, kind):
    options = contents(flext_world)[kind]
    plain = flext_world.serve(flext_service)
    flext_world.send(plain, "POST", "/", **contents(flext_world)[kind])
    host = flext_world.serve(flext_service, transforming(lambda: Xor(b"!")))
    flext_world.send(host, "POST", "/", **options)

    before, after = flext_service.received
    if kind == "a file":  # the boundary is another each time
        assert b"plain" in xored(after.body[:-1])
    else:
        assert after.body == xored(before.body) + b"!"
    assert after.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in after.headers


@pytest.mark.contract("bodies-are-transformed")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_without_a_body_stays_without_one(flext_service, flext_world, method):
    host = flext_world.serve(flext_service, transforming(lambda: Xor(b"!")))
    flext_world.send(host, method, "/")
    assert flext_service.received[0].body == b""
    assert "transfer-encoding" not in flext_service.received[0].headers


@pytest.mark.contract("bodies-are-transformed")
@pytest.mark.parametrize("kind", ["bytes", "a form", "a file"])
def test_a_transformation_begins_anew_for_each_send(flext_service, flext_world, kind):
    begun = []

    class Repeats:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            connection.transform(request, lambda: Xor(b"!", begun))
            await send(request)
            return await send(request)

    host = flext_world.serve(flext_service, Repeats)
    flext_world.send(host, "PUT", "/", **contents(flext_world)[kind])
    first, second = flext_service.received
    assert first.body == second.body != b""
    assert [each.ended for each in begun] == [1, 1]


@pytest.mark.contract("bodies-are-transformed")
def test_a_stream_is_as_little_replayable_as_it_was(flext_service, flext_world):
    told = []

    class Asks:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            connection.transform(request, Xor)
            told.append((connection.replayable(request), connection.sendable(request)))
            answer = await send(request)
            told.append((connection.replayable(request), connection.sendable(request)))
            return answer

    host = flext_world.serve(flext_service, Asks)
    flext_world.send(host, "PUT", "/", content=flext_world.upload(b"a", b"b"))
    assert told == [(False, True), (False, False)]


@pytest.mark.contract("bodies-are-transformed")
def test_the_outer_plugin_transforms_a_request_first_and_a_response_last(
    flext_service, flext_world
):
    class Appends:
        def __init__(self, letter):
            self.feed = bytes.upper if letter == b"o" else bytes
            self.end = lambda: letter

    def around(letter):
        class Appending:
            stage = Stage.CALL if letter == b"o" else Stage.SIGN

            @hookimpl
            async def flext_exchange(self, request, send, connection):
                connection.transform(request, lambda: Appends(letter))
                answer = await send(request)
                connection.transform(answer, lambda: Appends(letter))
                return answer

        Appending.__name__ = f"Appends{letter.decode()}"
        return Appending

    flext_service.answer = lambda received: Answer(body=received.body)
    host = flext_world.serve(flext_service, around(b"o"), around(b"i"))
    assert flext_world.send(host, "POST", "/", content=b"-").content == b"-OIIo"


@pytest.mark.contract("bodies-are-transformed")
@pytest.mark.parametrize(
    "coded", [(None, bytes), ("gzip", gzip.compress), ("deflate", zlib.compress)]
)
@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_a_tee_sees_what_the_network_brought(
    flext_service, flext_world, flext_record, coded, chunked
):
    coding, encode = coded
    seen = []

    class Tee:
        def __init__(self):
            self.parts = []

        def feed(self, chunk):
            self.parts.append(chunk)
            return chunk

        def end(self):
            seen.append(b"".join(self.parts))
            return b""

    body = encode(b"data" * 1000)
    headers = {"Content-Encoding": coding} if coding else {}
    if chunked:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        parts = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{lines}\r\n"
        flext_service.answer = Answer(raw=head.encode() + parts)
    else:
        flext_service.answer = Answer(headers=headers, body=body)
    host = flext_world.serve(
        flext_service, transforming(Tee, "response"), flext_record.of(), max_connections=1
    )
    for _ in range(2):
        answer = flext_world.get(host)
        assert answer.content == b"data" * 1000
        assert "Content-Length" not in answer.headers
    assert seen == [body] * 2
    told = flext_record.events(events.BodyEnded)
    assert [(each.error, each.bytes) for each in told] == [(None, len(body))] * 2


@pytest.mark.contract("bodies-are-transformed")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_stays_as_it_is(flext_service, flext_world, method, status):
    flext_service.answer = Answer(raw=b"HTTP/1.1 %d -\r\nContent-Length: 2\r\n\r\n" % status)
    host = flext_world.serve(flext_service, transforming(lambda: Xor(b"!"), "response"))
    answer = flext_world.send(host, method, "/")
    assert answer.content == b""
    assert answer.headers["Content-Length"] == "2"


@pytest.mark.contract("bodies-are-transformed")
def test_a_transformed_answer_arrives_as_it_comes(flext_world):
    sent = [b"%x\r\n%s\r\n" % (len(each), each) for each in (b"first", b"second")]
    with saying(HEAD + sent[0], sent[1], b"0\r\n\r\n", pause=0.4) as port:
        config = {"base_url": f"http://127.0.0.1:{port}", "plugins": {"xors": {}}}
        host = flext_world.host(
            {"services": {"service": config}}, xors=transforming(Xor, "response")
        )
        begun, arrived = time.monotonic(), []
        for part in _streamed(flext_world, host):
            arrived.append((part, time.monotonic() - begun))
    assert b"".join(part for part, _ in arrived) == xored(b"firstsecond")
    assert arrived[0][0] == xored(b"first")
    assert arrived[0][1] < arrived[-1][1] - 0.2


def _streamed(world, host):
    if world.asynchronous:

        async def parts():
            async with world.aconnect(host) as client, client.stream("GET", "/") as answer:
                return [(yielded, time.monotonic()) async for yielded in answer.aiter_raw()]

        yield from _at_their_times(world.run(parts))
    elif world.name == "requests":
        with world.connect(host) as session, session.get("/", stream=True) as answer:
            yield from answer.iter_content(1024)
    else:
        with world.connect(host) as client, client.stream("GET", "/") as answer:
            yield from answer.iter_raw()


def _at_their_times(parts):
    ends = parts[-1][1]
    for part, at in parts:
        if at < ends - 0.2:
            yield part
        else:
            time.sleep(0.3)
            yield part


class Fails:
    def __init__(self, at="feed", error=None):
        self._at, self._error = at, error or ValueError("canary-2f")
        if at == "start":
            raise self._error

    def feed(self, chunk):
        if self._at == "feed":
            raise self._error
        return "text" if self._at == "text" else chunk

    def end(self):
        if self._at == "end":
            raise self._error
        return b""


FAILURES = {
    "start": "transform raised ValueError at test_messages.py",
    "feed": "transform raised ValueError at test_messages.py",
    "end": "transform raised ValueError at test_messages.py",
    "text": "feed returned str, expected bytes",
}


@pytest.mark.contract("transformations-are-blamed")
@pytest.mark.parametrize("at", FAILURES)
def test_a_response_that_cannot_be_transformed_is_the_plugins_mistake_where_it_is_read(
    flext_service, flext_world, flext_record, at
):
    host = flext_world.serve(
        flext_service,
        transforming(lambda: Fails(at), "response"),
        flext_record.of(),
        max_connections=1,
    )
    kept = []
    for _ in range(2):
        with pytest.raises(PluginError, match=FAILURES[at]) as caught:
            flext_world.get(host)
        kept.append(caught)  # so that nothing is closed by the garbage collector
        assert caught.value.plugin == "transforms"
        assert caught.value.service == "service"
        assert "canary" not in str(caught.value)
    told = [each.error for each in flext_record.events(events.BodyEnded)]
    assert [type(each) for each in told] == [PluginError] * 2


@pytest.mark.contract("transformations-are-blamed")
@pytest.mark.parametrize("at", FAILURES)
def test_a_request_that_cannot_be_transformed_is_the_plugins_mistake(
    flext_service, flext_world, at
):
    host = flext_world.serve(flext_service, transforming(lambda: Fails(at)), max_connections=1)
    for _ in range(2):
        with pytest.raises(PluginError, match=FAILURES[at]) as caught:
            flext_world.send(host, "POST", "/", content=b"data")
        assert caught.value.plugin == "transforms"
    assert flext_service.received == []


@pytest.mark.contract("bodies-are-transformed")
def test_a_body_that_breaks_has_no_end(flext_service, flext_world):
    begun = []
    flext_service.answer = Answer(body=b"long enough", cut=4)
    host = flext_world.serve(
        flext_service, transforming(lambda: Xor(b"!", begun), "response"), max_connections=1
    )
    for _ in range(2):
        with pytest.raises(flext_world.lib.TransportError):
            flext_world.get(host)
    assert [each.ended for each in begun] == [0, 0]


@pytest.mark.contract("bodies-are-transformed")
def test_a_transformed_body_can_be_read_by_plugins(flext_service, flext_world):
    read = []

    class Reads:
        stage = Stage.CALL

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            answer = await send(request)
            read.append(await connection.read(answer))
            return answer

    class Hashes:
        stage = Stage.SIGN

        @hookimpl
        async def flext_request(self, request, connection):
            digest = hashlib.sha256(await connection.read(request)).hexdigest()
            request.headers["X-Digest"] = digest

    class Both(transforming(Xor)):
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            answer = await super().flext_exchange(request, send, connection)
            connection.transform(answer, Xor)
            return answer

    flext_service.answer = lambda received: Answer(body=received.body)
    host = flext_world.serve(flext_service, Reads, Both, Hashes)
    answer = flext_world.send(host, "POST", "/", content=b"data")
    assert answer.content == b"data"
    assert read == [b"data"]
    [received] = flext_service.received
    assert received.headers["x-digest"] == hashlib.sha256(xored(b"data")).hexdigest()


# Sizes


@pytest.mark.contract("sizes-before-reading")
def test_a_body_says_how_long_it_is_before_it_is_read(flext_service, flext_world):
    told = []

    class Asks:
        @hookimpl
        def flext_request(self, request, connection):
            told.append(connection.size(request))

        @hookimpl
        def flext_response(self, response, connection):
            told.append(connection.size(response))

    flext_service.answer = lambda received: {"/": echo(received), "/no": Answer(204, body=b"")}.get(
        received.path, Answer()
    )
    host = flext_world.serve(flext_service, Asks)

    def sizes(method, path, **options):
        told.clear()
        answer = flext_world.send(host, method, path, **options)
        return told[0], told[1], len(answer.content)

    sent, received, length = sizes("POST", "/", content=b"12345")
    assert (sent, received) == (5, length)
    assert sizes("GET", "/ok") == (0, 2, 2)
    assert sizes("HEAD", "/ok") == (0, 0, 0)
    assert sizes("GET", "/no")[:2] == (0, 0)
    assert sizes("PUT", "/ok", content=flext_world.upload(b"a"))[0] is None
    assert sizes("PUT", "/ok", data={"a": "b"})[0] == 3


@pytest.mark.contract("sizes-before-reading")
def test_nobody_knows_the_size_of_a_chunked_answer(flext_service, flext_world):
    told = []

    class Asks:
        @hookimpl
        def flext_response(self, response, connection):
            told.append(connection.size(response))

    flext_service.answer = Answer(raw=HEAD + b"2\r\nok\r\n0\r\n\r\n")
    assert flext_world.get(flext_world.serve(flext_service, Asks)).content == b"ok"
    assert told == [None]


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "+1", "1_0", "0x1", ""])
@pytest.mark.contract("sizes-before-reading")
def test_a_length_that_is_no_number_is_none(flext_service, flext_world, length):
    told = []

    class Asks:
        @hookimpl
        def flext_request(self, request, connection):
            before = request.headers["Content-Length"]
            request.headers["Content-Length"] = length
            told.append(connection.size(request))
            request.headers["Content-Length"] = before

    host = flext_world.serve(flext_service, Asks)
    assert flext_world.send(host, "POST", "/", content=b"12345").status_code == 200
    assert told == [None]


# The native message


@pytest.mark.contract("url-is-as-sent")
def test_the_client_gets_its_own_messages_back(flext_service, flext_world):
    answer = flext_world.get(flext_world.serve(flext_service, seeing([])), "/a?b#c")
    assert type(answer.request).__module__.partition(".")[0] in {"httpx", "httpx2", "requests"}
    assert str(answer.request.url).startswith(flext_service.url)
    assert json.loads(answer.content)["path"] == "/a?b"


# Whose answer it is


def asking(told):
    class Asks:
        stage = Stage.CALL

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            answer = await send(request)
            told.append(connection.sent(answer))
            return answer

    return Asks


class Tenant:
    """Adds a header that is no secret by its name."""

    identifies = True

    @hookimpl
    def flext_request(self, request, connection):
        if connection.call.user is not None:
            request.headers["X-Tenant"] = connection.call.user


class TenantAround:
    identifies = True

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        if connection.call.user is not None:
            request.headers["X-Tenant"] = connection.call.user
        return await send(request)


class Language:
    @hookimpl
    def flext_request(self, request):
        request.headers["Accept-Language"] = "en"


class Key(BaseModel):
    key: Secret


class Signs:
    """Has a secret, and says nothing of who asks."""

    Settings = Key

    def __init__(self, settings):
        self.key = settings.key

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Signed"] = "yes"


ASKED = {
    "by nobody": ([], {}, {}, None, (set(), False)),
    "with a header of no secret": ([Language], {}, {}, None, ({"accept-language"}, False)),
    "by a plugin for its user": ([Tenant], {}, {}, "ann", ({"x-tenant"}, True)),
    "by a plugin around it": ([TenantAround], {}, {}, "ann", ({"x-tenant"}, True)),
    "by a plugin that marked nothing": ([Tenant, TenantAround], {}, {}, None, (set(), False)),
    "by a plugin with a secret": ([Signs], {}, {}, None, ({"x-signed"}, True)),
    "with the caller's token": ([], {}, {"Authorization": "Bearer t"}, None, (set(), True)),
    "with the caller's cookie": ([], {}, {"Cookie": "a=b"}, None, (set(), True)),
    "with the caller's key": ([], {}, {"X-API-Key": "k"}, None, (set(), True)),
    "with a secret of the service": ([], {"X-Own": "env:FLEXT_T"}, {}, None, (set(), True)),
    "with a header of the service": ([], {"X-Own": "plain"}, {}, None, (set(), False)),
}


@pytest.mark.contract("whose-answer-it-is")
@pytest.mark.parametrize("how", ASKED)
def test_a_plugin_learns_whether_the_answer_may_be_somebodys(
    flext_service, flext_world, monkeypatch, how
):
    monkeypatch.setenv("FLEXT_T", "secret")
    plugins, service_headers, headers, user, (names, identified) = ASKED[how]
    told = []
    kinds = {each.__name__.lower(): each for each in [asking(told), *plugins]}
    config = {
        "base_url": flext_service.url,
        "headers": service_headers,
        "plugins": {
            name: {"key": "env:FLEXT_T"} if kind is Signs else {} for name, kind in kinds.items()
        },
    }
    host = flext_world.host({"services": {"service": config}}, **kinds)
    with options(user=user):
        flext_world.get(host, headers=headers)
    assert told == [(frozenset(names), identified)]


@pytest.mark.contract("whose-answer-it-is")
def test_an_answer_that_a_plugin_made_was_not_sent(flext_world, flext_service):
    told = []

    class Answers:
        @hookimpl
        def flext_request(self, connection):
            return connection.respond(200)

    flext_world.get(flext_world.serve(flext_service, asking(told), Answers))
    assert told == [None]


@pytest.mark.contract("whose-answer-it-is")
@pytest.mark.parametrize("shown", [True, False])
def test_who_shows_a_client_certificate_says_who_asks(flext_world, tmp_path, shown):
    ca, told = authority(tmp_path), []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.server)
    server = HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        config = {
            "base_url": f"https://127.0.0.1:{server.server_port}",
            "verify": str(ca.path),
            "plugins": {"asks": {}},
            **({"cert": str(ca.client)} if shown else {}),
        }
        host = flext_world.host({"services": {"service": config}}, asks=asking(told))
        flext_world.send(host, "HEAD", "/")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert told == [(frozenset(), shown)]


@pytest.mark.contract("whose-answer-it-is")
def test_a_service_says_where_its_plugins_stand_and_which_identify(flext_service, flext_world):
    told = []

    class Looks:
        stage = Stage.CALL

        def __init__(self, service):
            told.extend((each.name, each.stage, each.identifies) for each in service.plugins)

        @hookimpl
        def flext_request(self, request): ...

    flext_world.get(flext_world.serve(flext_service, Looks, Tenant))
    assert told == [("looks", Stage.CALL, False), ("tenant", Stage.MESSAGE, True)]


# What broke is broken for all, and nobody reads on in another call's answer


class EndsOnce:
    """Fails at its first end, as a plugin may that counts on nothing."""

    failures = 0

    def feed(self, chunk):
        return chunk

    def end(self):
        type(self).failures += 1
        if self.failures == 1:
            raise ValueError
        return b""


@pytest.mark.contract("transformations-are-blamed", "broken-for-all")
@pytest.mark.parametrize("replaced", [False, True], ids=["from the network", "replaced"])
def test_who_reads_after_a_transformation_failed_gets_its_error_and_no_other_answer(
    flext_service, flext_world, replaced
):
    class Once(EndsOnce):
        pass

    class Swallows:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            answer = await send(request)
            if request.url.path == "/other":
                return answer
            if replaced:
                connection.replace(answer, b"in its place")
            connection.transform(answer, Once)
            with pytest.raises(PluginError):
                await connection.read(answer)
            return answer

    flext_service.answer = lambda received: Answer(body=received.path.encode())
    host = flext_world.serve(flext_service, Swallows, max_connections=1)
    for _ in range(2):
        Once.failures = 0
        with pytest.raises(PluginError, match="transform raised ValueError"):
            flext_world.get(host, "/one")
        assert flext_world.get(host, "/other").content == b"/other"


@pytest.mark.contract("bodies-are-transformed", "deadline-ends-a-body")
def test_a_transformed_body_ends_with_the_deadline_as_any_other(flext_world, flext_record):
    with saying(HEAD, *[b"1\r\nx\r\n"] * 100) as port:
        config = {
            "base_url": f"http://127.0.0.1:{port}",
            "deadline": 0.3,
            "plugins": {"xors": {}, "witness": {}},
        }
        host = flext_world.host(
            {"services": {"service": config}},
            xors=transforming(Xor, "response"),
            witness=flext_record.of(),
        )
        with pytest.raises(DeadlineExceeded) as caught:
            flext_world.get(host)
    assert isinstance(caught.value, flext_world.lib.TimeoutException)
    [told] = flext_record.events(events.BodyEnded)
    assert isinstance(told.error, DeadlineExceeded)


@pytest.mark.contract("bodies-are-replaced")
def test_bytes_in_place_of_a_body_are_there_after_the_deadline_too(flext_service, flext_world):
    class Dawdles(replacing(b"open", "response")):
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            answer = await super().flext_exchange(request, send, connection)
            connection.call.deadline = time.monotonic() - 1
            return answer

    assert flext_world.get(flext_world.serve(flext_service, Dawdles)).content == b"open"


@pytest.mark.contract("observer-changes-nothing")
@pytest.mark.parametrize("how", ["replace", "transform"])
@pytest.mark.parametrize("message", ["request", "response"])
def test_an_observer_changes_no_body(flext_service, flext_world, how, message):
    kind = replacing(b"mine", message) if how == "replace" else transforming(Xor, message)
    kind.observer = True
    flext_service.answer = lambda received: Answer(body=received.body)
    host = flext_world.serve(flext_service, kind)
    assert flext_world.send(host, "POST", "/", content=b"data").content == b"data"
    assert [each.body for each in flext_service.received] == [b"data"]


@pytest.mark.contract("permit-comes-back")
def test_a_watched_answer_that_is_dropped_waits_for_no_cyclic_collector(flext_service):
    class Watches:
        @hookimpl
        def flext_response(self, response, connection):
            connection.watch(response, lambda *_: None)

    with World("requests sync") as world:
        host = world.serve(flext_service, Watches, max_connections=1)
        with world.connect(host) as session:
            gc.disable()
            try:
                for _ in range(3):
                    session.get("/", stream=True, timeout=1)
            finally:
                gc.enable()


@pytest.mark.contract("library-objects-are-its-own")
@pytest.mark.parametrize("changed", [transforming(Xor, "response"), replacing(b"mine", "response")])
def test_a_changed_body_that_is_read_by_hand_is_closed_at_its_end(flext_service, changed):
    with World("requests sync") as world:
        host = world.serve(flext_service, changed)
        with world.connect(host) as session, session.get("/", stream=True) as answer:
            turns = 0
            while not answer.raw.closed:
                answer.raw.read()
                turns += 1
    assert turns == 1


@pytest.mark.contract("read-leaves-readable")
def test_a_file_is_whole_when_it_is_read_after_it_was_sent(flext_service):
    class Again:
        stage = Stage.RETRY

        @hookimpl
        async def flext_exchange(self, request, send, connection):
            await send(request)
            assert await connection.read(request) == b"data"
            return await send(request)

    file = io.BytesIO(b"not data")
    file.seek(4)
    with World("requests sync") as world:
        world.send(world.serve(flext_service, Again), "PUT", "/", content=file)
    assert [each.body for each in flext_service.received] == [b"data"] * 2
