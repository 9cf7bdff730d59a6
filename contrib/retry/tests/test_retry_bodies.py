"""What is sent the second time: all of it, or nothing."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flext_plugins.testing import Answer, LoopbackService, World

WHOLE = b"0123456789" * 1000


def fail_once(service: LoopbackService) -> None:
    service.answer = lambda _: Answer(503 if len(service.received) == 1 else 200)


@pytest.mark.parametrize(
    ("options", "body"),
    [({"content": WHOLE}, WHOLE), ({"json": {"a": [1]}}, b""), ({"data": {"a": "1"}}, b"a=1")],
    ids=["bytes", "json", "form"],
)
def test_bytes_are_sent_again_whole(
    flext_world: World,
    flext_service: LoopbackService,
    serve: Any,
    options: dict[str, Any],
    body: bytes,
) -> None:
    fail_once(flext_service)
    assert flext_world.send(serve(), "PUT", "/", **options).status_code == 200
    first, second = [each.body for each in flext_service.received]
    assert first == second == (body or first)
    assert first


def test_a_generator_body_is_sent_once_where_httpx_retries_crashes(
    flext_world: World, flext_service: LoopbackService, serve: Any, seen: Any
) -> None:
    fail_once(flext_service)
    body = flext_world.upload(b"abc", b"def")
    answer = flext_world.send(serve(), "PUT", "/", content=body)
    assert answer.status_code == 503
    assert [each.body for each in flext_service.received] == [b"abcdef"]
    assert seen.told == []


def test_an_error_after_a_generator_body_says_why_it_is_the_last(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    flext_service.answer = Answer(reset=True)
    with pytest.raises(flext_world.lib.ReadError) as caught:
        flext_world.send(serve(), "PUT", "/", content=flext_world.upload(b"abc"))
    note, _ = caught.value.__notes__  # the host names the service in the other
    assert note == "retry: attempt 1 of 3; the body cannot be sent again"
    assert len(flext_service.received) == 1


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_generator_body_that_has_not_begun_goes_out_when_the_service_is_back(
    flext_world: World, flext_service: LoopbackService, serve: Any, seen: Any, method: str
) -> None:
    host = serve()
    flext_service.refuse()
    seen.then = flext_service.listen
    answer = flext_world.send(host, method, "/", content=flext_world.upload(b"abc", b"def"))
    assert answer.status_code == 200
    assert [each.body for each in flext_service.received] == [b"abcdef"]


async def _chunks(file: Any) -> AsyncIterator[bytes]:
    while chunk := file.read(4096):
        yield chunk


def test_a_file_as_body_is_never_sent_empty_as_other_libraries_second_sends_are(
    flext_world: World, flext_service: LoopbackService, serve: Any, tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(WHOLE)
    fail_once(flext_service)
    with (tmp_path / "body").open("rb") as file:
        content: Any = _chunks(file) if flext_world.asynchronous else file
        answer = flext_world.send(serve(), "PUT", "/", content=content)
    sent = [each.body for each in flext_service.received]
    rewound = flext_world.name == "requests"
    assert answer.status_code == (200 if rewound else 503)
    assert sent == [WHOLE] * (2 if rewound else 1)


def test_multipart_of_seekable_files_is_sent_again_whole(
    flext_world: World, flext_service: LoopbackService, serve: Any, tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(WHOLE)
    fail_once(flext_service)
    with (tmp_path / "body").open("rb") as file:
        files = {"one": ("a", io.BytesIO(b"in memory")), "two": ("b", file)}
        answer = flext_world.send(serve(), "PUT", "/", files=files, data={"field": "value"})
    assert answer.status_code == 200
    first, second = [each.body for each in flext_service.received]
    assert first == second
    assert all(part in first for part in (b"in memory", WHOLE, b"value"))


class Pipe(io.RawIOBase):
    """A file that can be read once."""

    def __init__(self) -> None:
        self._left = [b"once", b""]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        del size
        return self._left.pop(0) if self._left else b""


def test_multipart_of_a_file_that_can_be_read_once_is_sent_once_unless_it_was_read_before(
    flext_world: World, flext_service: LoopbackService, serve: Any
) -> None:
    fail_once(flext_service)
    answer = flext_world.send(serve(), "PUT", "/", files={"one": ("a", Pipe())})
    in_memory = flext_world.name == "requests"  # which makes bytes of all multipart
    assert answer.status_code == (200 if in_memory else 503)
    whole = [b"once" in each.body for each in flext_service.received]
    assert whole == [True] * (2 if in_memory else 1)
