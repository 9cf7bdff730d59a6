"""What retries do.

An adapter is `Retry(url)`, with the library's defaults, or `Retry(url, attempts, backoff)`, the
latter in seconds. `send(method, url, **body)` sends and raises what a caller would see, or returns.
"""

from __future__ import annotations

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flext_plugins.testing import Answer, LoopbackService, Received

from .measurement import OFFERED, Outcome, behaviour, outcome, services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TITLE = "Retries"
BODY = b"a body of which nothing may be lost" * 1000
CALLS = 100


@contextmanager
def retrying(adapter: Any, *settings: Any) -> Iterator[tuple[Any, LoopbackService]]:
    """An adapter, and the server at which its requests arrive."""
    with services() as (service,):
        made = adapter(service.url, *settings)
        try:
            yield made, service
        finally:
            made.close()


def fails_once(answer: Answer) -> Callable[[Received], Answer]:
    """The answers of a service that has recovered when the second request comes."""
    answers = iter([answer])
    return lambda _: next(answers, Answer())


def caught(adapter: Any, *args: Any, **body: Any) -> Exception | None:
    """What sending raised."""
    try:
        adapter.send(*args, **body)
    except Exception as error:
        return error
    return None


@behaviour()
def attempts_in_the_first_second(adapter: Any, _: str) -> Outcome:
    """Requests in the first second of one GET that is answered with 503, by default."""
    with retrying(adapter) as (retry, service):
        service.answer = Answer(503)
        thread = threading.Thread(target=caught, args=(retry, "GET", service.url))
        thread.start()
        time.sleep(1.0)
        seen = len(service.received)
        service.answer = Answer()
        thread.join()
        return Outcome(str(seen) if seen < CALLS else f"over {CALLS}")


def _resent(adapter: Any, **body: Any) -> Outcome:
    """Whether a PUT is sent again with its whole body."""
    with retrying(adapter, 3, 0.01) as (retry, service):
        service.answer = fails_once(Answer(503))
        error = caught(retry, "PUT", service.url, **body)
        bodies = [each.body for each in service.received]
        if error is None and len(bodies) == 2:
            whole = all(BODY in each for each in bodies)
            return outcome(whole, "is sent empty" if not bodies[1] else "is sent in part")
        if error is None or getattr(error, "response", None) is not None:
            return Outcome("no", "refuses: the caller gets the 503")
        return outcome(False, type(error).__name__)


@behaviour()
def a_generator_is_not_sent_again(adapter: Any, _: str) -> Outcome:
    """A PUT of a generator ends with its first answer: neither a crash nor an empty body."""
    found = _resent(adapter, content=_parts())
    return Outcome(OFFERED) if found.seen.startswith("refuses") else found


def _parts() -> Iterator[bytes]:
    yield BODY


@behaviour()
def a_multipart_file_is_sent_again(adapter: Any, _: str) -> Outcome:
    """A multipart upload of an open file is sent again whole."""
    with tempfile.TemporaryFile() as file:
        file.write(BODY)
        file.seek(0)
        return _resent(adapter, files={"file": file})


@behaviour()
def an_open_file_is_sent_again(adapter: Any, _: str) -> Outcome:
    """An open file as the body (`content=open(...)`) is sent again whole."""
    with tempfile.TemporaryFile() as file:
        file.write(BODY)
        file.seek(0)
        return _resent(adapter, content=file)


@behaviour()
def retry_after_is_honoured(adapter: Any, _: str) -> Outcome:
    """A 503 with `Retry-After: 1` is not followed by another request for a second."""
    came: list[float] = []
    first = fails_once(Answer(503, {"Retry-After": "1"}))

    def answer(received: Received) -> Answer:
        came.append(time.monotonic())
        return first(received)

    with retrying(adapter, 3, 0.01) as (retry, service):
        service.answer = answer
        caught(retry, "GET", service.url)
        if len(came) != 2:
            return outcome(False, f"{len(came)} requests")
        return outcome(came[1] - came[0] > 0.95, "comes earlier")


@behaviour()
def a_post_is_not_repeated(adapter: Any, _: str) -> Outcome:
    """A POST whose connection breaks after it was written is not sent again."""
    with retrying(adapter, 3, 0.01) as (retry, service):
        service.answer = Answer(reset=True)
        caught(retry, "POST", service.url, content=b"an order")
        seen = len(service.received)
        return outcome(seen == 1, f"{seen} times")


@behaviour()
def a_post_that_never_left_is_repeated(adapter: Any, _: str) -> Outcome:
    """A POST that found no connection is sent again."""
    with retrying(adapter, 10, 0.2) as (retry, service):
        service.answer = Answer()
        service.refuse()
        timer = threading.Timer(0.3, service.listen)
        timer.start()
        caught(retry, "POST", service.url, content=b"an order")
        timer.join()
        return outcome(len(service.received) == 1, "gives up")


@behaviour()
def requests_in_an_outage(adapter: Any, _: str) -> Outcome:
    """Requests for 100 calls, 3 attempts each, that are all answered with 503."""
    with retrying(adapter, 3, 0.001) as (retry, service):
        service.answer = Answer(503)
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda _: caught(retry, "GET", service.url), range(CALLS)))
        return Outcome(str(len(service.received)))


BEHAVIOURS = (
    attempts_in_the_first_second,
    a_generator_is_not_sent_again,
    a_multipart_file_is_sent_again,
    an_open_file_is_sent_again,
    retry_after_is_honoured,
    a_post_is_not_repeated,
    a_post_that_never_left_is_repeated,
    requests_in_an_outage,
)
