"""Real calls through retry: what is sent again, what is not, and what the caller gets."""

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flext_plugins import (
    ConfigError,
    DeadlineExceeded,
    Failure,
    FlextError,
    Host,
    Operation,
    PluginError,
    Refused,
    Stage,
    hookimpl,
    options,
)
from flext_plugins.testing import Answer, LoopbackService, Received, World

IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]
OTHERS = ["POST", "PATCH"]
FAR = 60
"""Seconds that no test waits for."""


def after(service: LoopbackService, *failures: Answer) -> None:
    """Fail so, once each, then answer."""
    left: Iterator[Answer] = iter(failures)
    service.answer = lambda _: next(left, Answer())


def attempts(answer: Any) -> int:
    number: int = answer.extensions["flext_plugins.call"].attempt
    return number


def notes(error: BaseException) -> list[str]:
    told = getattr(error, "__notes__", [])
    return [each for each in told if each != "in a call of service 'service'"]


# statuses


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_passing_failure_is_not_seen_by_the_caller(
    flext_world: World, flext_service: LoopbackService, serve: Any, status: int
) -> None:
    after(flext_service, Answer(status), Answer(status))
    answer = flext_world.get(serve())
    assert (answer.status_code, attempts(answer)) == (200, 3)
    assert len(flext_service.received) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500, 501])
def test_other_answers_are_the_callers(
    flext_world: World, flext_service: LoopbackService, serve: Any, status: int
) -> None:
    flext_service.answer = Answer(status)
    answer = flext_world.get(serve())
    assert (answer.status_code, attempts(answer)) == (status, 1)
    assert len(flext_service.received) == 1


def test_the_settings_say_which_answers_and_how_often(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    flext_service.answer = Answer(500)
    answer = flext_world.get(serve(retry={"statuses": [500], "attempts": 5}))
    assert (answer.status_code, attempts(answer)) == (500, 5)
    flext_service.answer = Answer(503)
    answer = flext_world.get(serve(retry={"statuses": [500]}))
    assert (answer.status_code, attempts(answer)) == (503, 1)


def test_the_last_answer_is_the_callers_with_its_body(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    after(flext_service, Answer(503), Answer(502), Answer(504, body=b"the third"))
    answer = flext_world.get(serve())
    assert (answer.status_code, answer.content, attempts(answer)) == (504, b"the third", 3)


async def test_the_last_answer_is_open_and_unread(
    flext_httpx_world: World, flext_service: LoopbackService
) -> None:
    world = flext_httpx_world
    flext_service.answer = Answer(503, body=b"busy")
    config = {"base_url": flext_service.url, "plugins": {"retry": {"backoff": 0.001}}}
    client = (await world.client(world.host({"services": {"service": config}}))).plain
    request = client.build_request("GET", "/")
    if world.asynchronous:
        answer = await client.send(request, stream=True)
        assert not answer.is_closed
        assert await answer.aread() == b"busy"
    else:
        answer = client.send(request, stream=True)
        assert not answer.is_closed
        assert answer.read() == b"busy"


@pytest.mark.parametrize("method", IDEMPOTENT)
def test_idempotent_methods_are_sent_again(
    flext_world: World, flext_service: LoopbackService, serve: Any, method: str
) -> None:
    after(flext_service, Answer(503), Answer(reset=True))
    answer = flext_world.send(serve(), method, "/")
    assert (answer.status_code, attempts(answer)) == (200, 3)
    assert [each.method for each in flext_service.received] == [method] * 3


@pytest.mark.parametrize("method", OTHERS)
def test_other_methods_are_not(
    flext_world: World, flext_service: LoopbackService, serve: Any, method: str
) -> None:
    after(flext_service, Answer(503), Answer(reset=True))
    host = serve()
    assert flext_world.send(host, method, "/", content=b"x").status_code == 503
    with pytest.raises(flext_world.lib.ReadError) as caught:
        flext_world.send(host, method, "/", content=b"x")
    assert len(flext_service.received) == 2
    assert notes(caught.value) == []


@pytest.mark.parametrize("method", OTHERS)
def test_a_request_with_an_idempotency_key_is_sent_again_whatever_its_method(
    flext_world: World, flext_service: LoopbackService, serve: Any, method: str
) -> None:
    after(flext_service, Answer(503), Answer(reset=True))
    headers = {"idempotency-key": "mine"}
    answer = flext_world.send(serve(), method, "/", content=b"x", headers=headers)
    assert (answer.status_code, attempts(answer)) == (200, 3)
    sent = [(each.headers["idempotency-key"], each.body) for each in flext_service.received]
    assert sent == [("mine", b"x")] * 3


def test_a_key_is_added_when_told_the_same_for_all_attempts_of_a_call_and_no_other(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    flext_service.answer = Answer(503)
    host = serve(retry={"idempotency_key": True})
    for _ in range(2):
        answer = flext_world.send(host, "POST", "/", content=b"x")
        assert (answer.status_code, attempts(answer)) == (503, 3)
        assert "idempotency-key" not in answer.request.headers
    first, *more = [each.headers["idempotency-key"] for each in flext_service.received]
    assert more[:2] == [first] * 2
    assert more[2:] == [more[2]] * 3
    assert first != more[2]


def test_the_added_key_stays_over_a_redirect(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    def answer(received: Received) -> Answer:
        return Answer(307, {"Location": "/there"}) if received.path == "/" else Answer()

    flext_service.answer = answer
    host = serve(retry={"idempotency_key": True})
    options = {"client_options": {"follow_redirects": True}}
    assert flext_world.send(host, "POST", "/", content=b"x", **options).status_code == 200
    assert flext_service.paths() == ["/", "/there"]
    assert len({each.headers["idempotency-key"] for each in flext_service.received}) == 1


def test_neither_a_callers_own_key_nor_an_idempotent_method_gets_one(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    host = serve(retry={"idempotency_key": True})
    flext_world.send(host, "POST", "/", headers={"Idempotency-Key": "mine"})
    flext_world.send(host, "PUT", "/")
    sent = [each.headers.get("idempotency-key") for each in flext_service.received]
    assert sent == ["mine", None]


# the wire


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_connection_is_tried_again_whatever_the_method(
    flext_world: World, flext_service: LoopbackService, serve: Any, seen: Any, method: str
) -> None:
    host = serve()
    flext_service.refuse()
    seen.then = flext_service.listen
    answer = flext_world.send(host, method, "/", content=b"x")
    assert (answer.status_code, attempts(answer)) == (200, 2)
    assert [each.body for each in flext_service.received] == [b"x"]


@pytest.mark.parametrize(
    ("fault", "ends", "reason"),
    [
        (Answer(reset=True), "ReadError", "read"),
        (Answer(raw=b"SSH-2.0-other\r\n"), "RemoteProtocolError", "protocol"),
        (Answer(delay=FAR), "ReadTimeout", "timeout"),
    ],
    ids=["reset", "not HTTP", "time-out"],
)
def test_the_caller_gets_the_last_error_of_the_wire_with_its_attempts(
    flext_world: World,
    flext_service: LoopbackService,
    serve: Any,
    seen: Any,
    fault: Answer,
    ends: str,
    reason: str,
) -> None:
    flext_service.answer = fault
    if flext_world.name == "requests" and reason == "protocol":
        ends = "ConnectError"
    with pytest.raises(getattr(flext_world.lib, ends)) as caught:
        flext_world.get(serve(timeout={"read": 0.15}))
    assert len(flext_service.received) == 3
    error: Any = caught.value
    assert error.flext_call.attempt == 3
    assert notes(error) == [f"retry: attempt 3 of 3, after {reason}, {reason}"]
    assert [(each.plugin, each.reason) for each in seen.told] == [("longest", reason)] * 2
    assert seen.waits == [0.001, 0.002]


def test_refused_connections_end_with_the_last_refusal(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    host = serve()
    flext_service.refuse()
    with pytest.raises(flext_world.lib.ConnectError) as caught:
        flext_world.send(host, "POST", "/", content=b"x")
    assert not isinstance(caught.value, (PluginError, Refused))
    error: Any = caught.value
    assert error.flext_call.attempt == 3
    assert notes(error) == ["retry: attempt 3 of 3, after connect, connect"]


def test_one_attempt_is_no_retry(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    flext_service.answer = Answer(reset=True)
    with pytest.raises(flext_world.lib.ReadError) as caught:
        flext_world.get(serve(retry={"attempts": 1}))
    assert len(flext_service.received) == 1
    assert notes(caught.value) == []


def test_a_body_that_breaks_is_the_applications_to_see(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    flext_service.answer = Answer(body=b"0123456789", cut=4)
    with pytest.raises(flext_world.lib.TransportError):
        flext_world.get(serve())
    assert len(flext_service.received) == 1


def test_what_cannot_be_sent_as_it_is_is_not_tried_again(
    flext_world: World, flext_service: LoopbackService, serve: Any, seen: Any
) -> None:
    host = serve()
    with pytest.raises(flext_world.lib.LocalProtocolError):
        flext_world.get(host, headers={"X-Bad": "a\r\nb"})
    assert flext_world.get(host, "/good").status_code == 200
    assert (flext_service.paths(), seen.told) == (["/good"], [])


# the pool


async def test_an_answer_is_closed_before_the_wait_so_that_others_have_its_connection(
    flext_world: World, flext_service: LoopbackService, serve: Any, seen: Any
) -> None:
    after(flext_service, Answer(503, {"Retry-After": "1"}))
    host = serve(max_connections=1, timeout={"pool": 0.5, "read": 5})
    client = await flext_world.client(host)
    answers = await flext_world.together(2, lambda: client.get("/"))
    assert [each.status_code for each in answers] == [200, 200]
    assert len(seen.told) == 1


async def test_a_full_pool_is_our_own_congestion_and_is_not_tried_again(
    flext_world: World, flext_service: LoopbackService, serve: Any, seen: Any
) -> None:
    flext_service.answer = Answer(delay=0.4)
    client = await flext_world.client(serve(max_connections=1, timeout={"pool": 0.1, "read": 5}))

    async def end() -> str:
        try:
            return str((await client.get("/")).status_code)
        except flext_world.lib.TransportError as error:
            return type(error).__name__

    ends = await flext_world.together(3, end)
    assert sorted(ends) == ["200", "PoolTimeout", "PoolTimeout"]
    assert seen.told == []


# waiting


def test_it_waits_as_long_as_the_service_asks(
    flext_world: World, flext_service: LoopbackService, serve: Any, seen: Any
) -> None:
    after(flext_service, Answer(503, {"Retry-After": "1"}))
    started = time.monotonic()
    assert flext_world.get(serve()).status_code == 200
    assert time.monotonic() - started >= 1
    assert [(each.reason, each.delay >= 1) for each in seen.told] == [("503", True)]


@pytest.mark.parametrize("value", ["31", str(10**400), "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_service_that_asks_for_too_long_a_wait_gets_no_other_attempt(
    flext_world: World, flext_service: LoopbackService, serve: Any, value: str
) -> None:
    flext_service.answer = Answer(429, {"Retry-After": value})
    answer = flext_world.get(serve())
    assert (answer.status_code, attempts(answer)) == (429, 1)
    assert len(flext_service.received) == 1


@pytest.mark.parametrize("value", ["0", "soon", "-5", "Sun, 06 Nov 1994 08:49:37 GMT"])
def test_a_retry_after_that_is_past_or_makes_no_sense_leaves_the_backoff(
    flext_world: World, flext_service: LoopbackService, serve: Any, seen: Any, value: str
) -> None:
    after(flext_service, Answer(503, {"Retry-After": value}))
    assert flext_world.get(serve()).status_code == 200
    assert seen.waits == [0.001]
    assert [each.delay < FAR for each in seen.told] == [True]


def test_the_backoff_doubles_up_to_the_longest_wait_and_each_resend_is_told(
    flext_world: World, flext_service: LoopbackService, serve: Any, seen: Any
) -> None:
    after(flext_service, Answer(502), *[Answer(503)] * 4)
    retry = {"attempts": 6, "backoff": 0.01, "longest_wait": 0.05}
    answer = flext_world.get(serve(retry=retry))
    assert (answer.status_code, attempts(answer)) == (200, 6)
    assert seen.waits == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert all(each.delay >= wait for each, wait in zip(seen.told, seen.waits, strict=True))
    assert [each.reason for each in seen.told] == ["502"] + ["503"] * 4
    call = answer.extensions["flext_plugins.call"]
    assert {each.call.id for each in seen.told} == {call.id}


def test_by_default_it_waits_where_httpx_retries_tries_11_times_within_2_ms(
    flext_world: World, flext_service: LoopbackService
) -> None:
    random.seed(1)  # chance would have it shorter now and then
    flext_service.answer = Answer(503)
    config = {"base_url": flext_service.url, "plugins": {"retry": {}}}
    started = time.monotonic()
    answer = flext_world.get(flext_world.host({"services": {"service": config}}))
    assert time.monotonic() - started > 0.1
    assert (answer.status_code, len(flext_service.received)) == (503, 3)


# the deadline


@pytest.mark.parametrize("asked", [{}, {"Retry-After": "5"}], ids=["backoff", "Retry-After"])
def test_the_caller_gets_the_answer_at_hand_if_the_deadline_comes_before_the_next(
    flext_world: World, flext_service: LoopbackService, serve: Any, asked: dict[str, str]
) -> None:
    flext_service.answer = Answer(503, asked, b"busy")
    with options(deadline=1.0):
        answer = flext_world.get(serve(retry={"backoff": 0.98}))
    assert (answer.status_code, answer.content, attempts(answer)) == (503, b"busy", 1)


def test_the_caller_gets_the_real_error_if_the_deadline_comes_before_the_next_attempt(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    flext_service.answer = Answer(reset=True)
    host = serve(retry={"backoff": 0.98}, deadline=1.0)
    with pytest.raises(flext_world.lib.ReadError) as caught:
        flext_world.get(host)
    assert not isinstance(caught.value, DeadlineExceeded)
    assert notes(caught.value) == ["retry: attempt 1 of 3; the deadline comes first"]


class Slow:
    """Waits, inside retry."""

    @hookimpl
    async def flext_request(self, connection: Any) -> None:
        await connection.sleep(FAR)


def test_a_deadline_that_passed_is_not_tried_again(
    flext_world: World, serve: Any, seen: Any
) -> None:
    with pytest.raises(DeadlineExceeded), options(deadline=0.5):
        flext_world.get(serve(Slow))
    assert seen.told == []


# refusals, mistakes, cancellation


class Broken:
    """Refuses or raises something of its own, inside retry, and counts how often."""

    stage = Stage.GUARD
    tried = 0
    error: Exception

    @hookimpl
    def flext_request(self) -> None:
        type(self).tried += 1
        raise self.error


class OfTheWire(Refused):
    """A refusal that could be taken for a failure."""

    failure = Failure.CONNECT


@pytest.mark.parametrize(
    "error",
    [
        Refused("no", retry_after=0),
        OfTheWire("no"),
        DeadlineExceeded(),
        ConfigError("no"),
        PluginError("no"),
        ValueError("no"),
        ConnectionError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_the_wires_is_not_tried_again(
    flext_world: World, flext_service: LoopbackService, serve: Any, error: Exception
) -> None:
    Broken.tried, Broken.error = 0, error
    ours = (Refused, DeadlineExceeded, ConfigError, PluginError)
    with pytest.raises(ours) as caught:
        flext_world.get(serve(Broken))
    assert (Broken.tried, len(flext_service.received)) == (1, 0)
    assert notes(caught.value) == []


class Opens:
    """Refuses from the second attempt on, as a circuit does that has opened."""

    stage = Stage.GUARD
    tried = 0

    @hookimpl
    def flext_request(self) -> None:
        type(self).tried += 1
        if type(self).tried > 1:
            raise Refused("open")


def test_a_refusal_ends_the_attempts_and_tells_what_came_before(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    Opens.tried = 0
    flext_service.answer = Answer(503)
    with pytest.raises(flext_world.lib.TransportError) as caught:
        flext_world.get(serve(Opens, retry={"attempts": 5}))
    error: Any = caught.value
    assert isinstance(error, Refused)
    call: Any = error.call
    assert (error.plugin, call.attempt) == ("opens", 2)
    assert (Opens.tried, len(flext_service.received)) == (2, 1)
    assert notes(error) == ["retry: attempt 2 of 5, after status 503"]
    assert error.sent is True


@pytest.mark.parametrize(
    ("fault", "ends", "reason"),
    [(Answer(reset=True), "ReadError", "read"), (Answer(delay=FAR), "ReadTimeout", "timeout")],
    ids=["reset", "time-out"],
)
def test_a_refusal_after_a_failure_is_a_note_on_the_failure(
    flext_world: World,
    flext_service: LoopbackService,
    serve: Any,
    fault: Answer,
    ends: str,
    reason: str,
) -> None:
    Opens.tried = 0
    flext_service.answer = fault
    with pytest.raises(getattr(flext_world.lib, ends)) as caught:
        flext_world.get(serve(Opens, timeout={"read": 0.15}))
    error: Any = caught.value
    assert not isinstance(error, (Refused, PluginError))
    assert (error.flext_call.attempt, error.flext_call.sent) == (2, True)
    assert str(error.request.url) == f"{flext_service.url}/"
    told = f"retry: attempt 2 of 3, after {reason}, was refused: service: opens: open"
    assert notes(error) == [told]
    while error is not None:
        error = error.__cause__ or error.__context__
        assert not isinstance(error, Refused)


def test_a_refusal_after_an_answer_after_a_failure_is_the_callers(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    Opens.tried = -1  # so that it opens at the third
    after(flext_service, Answer(reset=True), Answer(503))
    with pytest.raises(Refused) as caught:
        flext_world.get(serve(Opens))
    assert caught.value.sent is True
    assert notes(caught.value) == ["retry: attempt 3 of 3, after read, status 503"]


def test_a_first_refusal_was_preceded_by_nothing(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    Opens.tried = 1
    with pytest.raises(Refused) as caught:
        flext_world.get(serve(Opens))
    assert (caught.value.sent, flext_service.received) == (False, [])


async def received(service: LoopbackService, count: int) -> None:
    for _ in range(500):
        if len(service.received) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the service saw too few requests")


@pytest.mark.parametrize(
    "answer",
    [Answer(delay=FAR), Answer(503, {"Retry-After": "20"})],
    ids=["while it is sent", "while it waits"],
)
async def test_a_cancelled_call_is_not_tried_again(
    flext_async_world: World, flext_service: LoopbackService, answer: Answer
) -> None:
    flext_service.answer = answer
    config = {"base_url": flext_service.url, "plugins": {"retry": {}}, "max_connections": 1}
    client = await flext_async_world.client(
        flext_async_world.host({"services": {"service": config}})
    )
    call = asyncio.create_task(client.get("/"))
    await received(flext_service, 1)
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    flext_service.answer = Answer()
    assert (await client.get("/")).status_code == 200
    assert len(flext_service.received) == 2


def test_it_cannot_be_an_observer() -> None:
    table = {"base_url": "http://localhost", "plugins": {"retry": {"observer": True}}}
    with pytest.raises(ConfigError, match="retry"):
        Host({"services": {"one": table}}).check()


# operations


class Directory:
    """Asks something that does not speak HTTP, for each request."""

    tried = 0
    idempotent = True
    errors: list[Exception]

    @hookimpl
    async def flext_request(self, connection: Any) -> None:
        operation = Operation("ldap", "search", "dir:389", idempotent=self.idempotent)
        await connection.perform(operation, self.search)

    def search(self) -> None:
        type(self).tried += 1
        if self.errors:
            raise self.errors.pop(0)


def broken(kind: Failure) -> Exception:
    made: type[Exception] = type("Broken", (Exception,), {"failure": kind})
    return made(kind.value)


@pytest.mark.parametrize("kind", Failure)
def test_an_idempotent_operation_is_done_again_after_a_failure_of_the_wire(
    flext_world: World, serve: Any, seen: Any, kind: Failure
) -> None:
    Directory.tried, Directory.idempotent = 0, True
    Directory.errors = [broken(kind), broken(kind)]
    host = serve(Directory)
    if kind in {Failure.POOL, Failure.CALLER}:
        with pytest.raises(PluginError):
            flext_world.get(host)
        assert (Directory.tried, seen.told) == (1, [])
    else:
        assert flext_world.get(host).status_code == 200
        assert Directory.tried == 3
        assert [each.reason for each in seen.told] == [kind.value] * 2


def test_an_operation_that_keeps_failing_is_tried_so_often_and_not_once_more_for_the_request(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    Directory.tried, Directory.idempotent = 0, True
    Directory.errors = [broken(Failure.CONNECT) for _ in range(9)]
    with pytest.raises(PluginError) as caught:
        flext_world.get(serve(Directory))
    assert (Directory.tried, len(flext_service.received)) == (3, 0)
    assert caught.value.__cause__ is not None
    assert notes(caught.value.__cause__) == [
        "in the operation 'search' at ldap dir:389, by plugin 'directory' of service 'service'",
        "retry: attempt 3 of 3, after connect, connect",
    ]


class Closes:
    """Refuses operations from the second attempt on."""

    stage = Stage.GUARD
    tried = 0

    @hookimpl
    async def flext_operation(self, operation: Any, proceed: Any) -> object:
        type(self).tried += 1
        if type(self).tried > 1:
            raise Refused("open")
        return await proceed(operation)


def test_a_refusal_of_an_operation_after_a_failure_is_a_note_on_the_failure(
    flext_world: World, serve: Any
) -> None:
    Directory.tried, Directory.idempotent, Closes.tried = 0, True, 0
    Directory.errors = [broken(Failure.CONNECT)]
    with pytest.raises(PluginError) as caught:
        flext_world.get(serve(Directory, Closes))
    failed: Any = caught.value.__cause__
    assert type(failed).__name__ == "Broken"
    assert notes(failed) == [
        "in the operation 'search' at ldap dir:389, by plugin 'directory' of service 'service'",
        "retry: attempt 2 of 3, after connect, was refused: service: closes: open",
    ]


@pytest.mark.parametrize("failure", list(Failure))
def test_an_operation_that_is_not_idempotent_is_done_once(
    flext_world: World, serve: Any, failure: Failure
) -> None:
    Directory.tried, Directory.idempotent, Directory.errors = 0, False, [broken(failure)]
    with pytest.raises(PluginError):
        flext_world.get(serve(Directory))
    assert Directory.tried == 1


def test_an_operation_that_could_not_be_done_does_not_send_a_post_again(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    class Unreachable(FlextError):
        failure = Failure.CONNECT

    class LooksUp:
        """Asks a directory who it was, once the answer is there."""

        stage = Stage.GUARD

        def ask(self) -> None:
            raise Unreachable("no directory")

        @hookimpl
        async def flext_response(self, connection: Any) -> None:
            await connection.perform(Operation("ldap", "search", "dir:389"), self.ask)

    with pytest.raises(Unreachable):
        flext_world.send(serve(LooksUp), "POST", "/orders")
    assert len(flext_service.received) == 1


def test_an_operation_that_fails_by_itself_is_done_once(flext_world: World, serve: Any) -> None:
    Directory.tried, Directory.idempotent, Directory.errors = 0, True, [KeyError("cn")]
    with pytest.raises(PluginError):
        flext_world.get(serve(Directory))
    assert Directory.tried == 1
