"""Bodies of requests' requests, of any kind that its plain session sends."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body, super_len

from flext_plugins._clients.bodies import Upload, can_seek

if TYPE_CHECKING:
    from collections.abc import Iterator
    from weakref import WeakValueDictionary

BLOCK = 16_384
"""Bytes of a file that are read at a time, as many as urllib3 does."""


class Parts(Upload):
    """An iterable as the body of a request, in the parts that urllib3 makes of it."""

    def __iter__(self) -> Iterator[Any]:
        parts: Iterator[Any] = super().__iter__()
        return (each.encode() if isinstance(each, str) else each for each in parts)


class File(Upload):
    """A file as the body of a request, read in blocks as urllib3 reads one.

    Args:
        source: has `read`.
        begun: as in `Upload`.
        place: where the body begins, if the file can be read again from there.
    """

    def __init__(
        self, source: Any, begun: WeakValueDictionary[int, Any], place: int | None
    ) -> None:
        super().__init__(source, begun)
        self._place = place
        self.is_replayable = place is not None

    @property
    def begun(self) -> bool:
        return not self.is_replayable and super().begun

    def __iter__(self) -> Iterator[Any]:
        if self._place is not None and self._source.tell() != self._place:
            self._source.seek(self._place)
        if not self._sent:
            self._begin()
        while data := self._source.read(BLOCK):
            yield data.encode() if isinstance(data, str) else data


def shareable(native: Any, begun: WeakValueDictionary[int, Any]) -> Any:
    """The body of a request, of which no two clones send a part each.

    Args:
        native: requests' own, just before it is sent.
        begun: bodies that have been sent, by `id`.
    """
    body, place = native.body, None
    if not hasattr(body, "read"):
        return body if is_buffer(body) or not hasattr(body, "__iter__") else Parts(body, begun)
    is_left = False
    if begun.get(id(body)) is body:  # then it need not stand where it began
        with suppress(UnrewindableBodyError):
            rewind_body(native)
        is_left = not super_len(body)  # type: ignore[no-untyped-call]
    if not is_left and can_seek(body):
        with suppress(Exception):  # one of a class that has no `tell`
            place = body.tell()
    return File(body, begun, place)


def is_buffer(body: Any) -> bool:
    """Whether `body` is like bytes: an array, a `bytearray`, a `memoryview`."""
    try:
        memoryview(body).release()
    except TypeError:
        return False
    return True
