"""What the caller's own request is wrong with: told to him, and held against no service."""

from __future__ import annotations

import http.client
import io

import httpcore
import httpx
import httpx2
import pytest
import requests
import urllib3

from flext_plugins import Failure, FlextError, hookimpl
from flext_plugins.events import CallFinished, HopFinished
from flext_plugins.testing import Answer

MISTAKE = "the caller's own"


class ElsewhereDown(FlextError):
    """What a directory raises, say, whose entries are the body of a request."""

    failure = Failure.READ


RAISED = {
    "an error of the system": OSError,
    "a reset": ConnectionResetError,
    "a pipe that broke": BrokenPipeError,
    "a time-out": TimeoutError,
    "a value": ValueError,
    "httpx's": httpx.ReadError,
    "httpx2's": httpx2.ConnectError,
    "httpcore's of writing": httpcore.WriteError,
    "httpcore's of reading": httpcore.ReadError,
    "requests'": requests.ConnectionError,
    "urllib3's": urllib3.exceptions.ProtocolError,
    "http.client's": http.client.BadStatusLine,
    "a failure elsewhere": ElsewhereDown,
}


class File(io.BytesIO):
    """A file that breaks, once its length is known."""

    def __init__(self, error):
        super().__init__(b"x" * 10)
        self.error = error

    def read(self, size=-1):
        raise self.error


def stream(world, error):
    """A body that begins, and breaks."""

    def begins():
        yield b"begins"
        raise error

    async def abegins():
        yield b"begins"
        raise error

    return abegins() if world.asynchronous else begins()


class Judges:
    """Keeps what the connection says of errors, and how hops and calls ended."""

    def __init__(self):
        self.failures, self.outcomes, self.sends = [], [], 0

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        self.sends += 1
        try:
            return await send(request)
        except Exception as error:
            self.failures.append(connection.failure(error))
            raise

    @hookimpl
    def flext_event(self, event):
        if isinstance(event, (CallFinished, HopFinished)):
            self.outcomes.append(event.outcome)


@pytest.fixture
def judged(flext_world, flext_service):
    """Sends a request that cannot be; its error, after another request went well."""

    def judged(*, kinds, **request):
        class Judging(Judges):
            def __init__(self):
                super().__init__()
                judged.judge = self

        host = flext_world.serve(flext_service, Judging, max_connections=1, timeout=5)
        with pytest.raises(kinds) as caught:
            flext_world.send(host, request.pop("method", "PUT"), request.pop("url", "/"), **request)
        judge = judged.judge
        assert {*judge.failures} <= {Failure.CALLER, None}
        assert {*judge.outcomes} <= {"error"}
        assert judge.sends <= 1
        flext_service.answer = Answer(200)
        assert flext_world.get(host).status_code == 200  # the only permit is free
        return caught.value

    return judged


@pytest.mark.parametrize("kind", RAISED.values(), ids=RAISED)
@pytest.mark.contract("callers-mistake")
def test_what_a_body_raises_reaches_the_caller_as_it_is(flext_world, judged, kind):
    error = kind(MISTAKE)
    key = "data" if flext_world.name == "requests" else "content"
    assert judged(kinds=kind, **{key: stream(flext_world, error)}) is error


@pytest.mark.parametrize("kind", RAISED.values(), ids=RAISED)
@pytest.mark.contract("callers-mistake")
def test_what_a_file_raises_reaches_the_caller_as_it_is(flext_world, judged, kind):
    error = kind(MISTAKE)
    assert judged(kinds=kind, files={"file": ("name", File(error))}) is error


HEADERS = {
    "a line break": {"X-A": "a\nb"},
    "a return in bytes": {"X-A": b"a\r\nb"},
    "no ASCII": {"X-A": "\u20ac"},
    "half a character": {"X-A": "\udc80"},
    "a number": {"X-A": 5},
    "a blank in the name": {"X A": "a"},
    "a colon in the name": {"X:A": "a"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
@pytest.mark.contract("callers-mistake")
def test_a_header_that_cannot_be_sent_is_the_callers(flext_world, flext_service, judged, headers):
    lib = flext_world.lib
    judged(
        kinds=(lib.TransportError, requests.RequestException, TypeError, UnicodeError),
        headers=headers,
    )
    assert [each.method for each in flext_service.received] == ["GET"]


def closed():
    """A file that was closed before it was sent."""
    file = io.BytesIO(b"x")
    file.close()
    return file


REQUESTS = {
    "json of an object": {"json": object()},
    "json that is no number": {"json": float("nan")},
    "a closed file": {"files": {"file": closed()}},
    "an address that is none": {"url": "http://["},
    "an address of another scheme": {"url": "ftp://elsewhere.invalid/"},
    "no time": {"timeout": 0},
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.contract("callers-mistake")
def test_a_request_that_cannot_be_made_is_the_callers(flext_world, judged, request_):
    judged(kinds=Exception, **request_)


@pytest.mark.parametrize("phase", ["connect", "read", "write"])
@pytest.mark.contract("callers-mistake")
def test_a_phase_for_which_there_is_less_than_no_time_is_the_callers(flext_world, judged, phase):
    if not flext_world.asynchronous:
        pytest.skip("Python itself refuses it, and leaves the socket open")
    timeout = flext_world.lib.Timeout(5, **{phase: -1})
    judged(kinds=flext_world.lib.TransportError, timeout=timeout, content=b"x" * 5_000_000)


@pytest.mark.contract("callers-mistake")
def test_text_and_files_are_sent_as_the_library_sends_them(flext_world, flext_service):
    if flext_world.name == "requests":
        bodies = [{"data": io.StringIO("text")}, {"data": io.BytesIO(b"x" * 20_000)}]
        bodies += [{"data": iter(["f", "ü"])}, {"data": iter([b"", b"a", b""])}]
        expected = [b"text", b"x" * 20_000, "fü".encode(), b"a"]
    else:

        async def chunks():
            yield b"a"
            yield b""

        bodies = [{"content": chunks() if flext_world.asynchronous else iter([b"a", b""])}]
        expected = [b"a"]
    host = flext_world.serve(flext_service)
    for body in bodies:
        assert flext_world.send(host, "PUT", "/", **body).status_code == 200
    assert [each.body for each in flext_service.received] == expected
