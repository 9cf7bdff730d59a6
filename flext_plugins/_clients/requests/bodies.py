"""Bodies of requests' responses on their way.

A response keeps urllib3's own object, so that it is used as with plain requests. What is ours sits
in the file that http.client reads from, which all of its methods pass, however many there are.
"""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager, suppress
from functools import partial
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any, cast

from requests.exceptions import ChunkedEncodingError, Timeout
from requests.exceptions import ConnectionError as WireError
from urllib3 import HTTPResponse, exceptions
from urllib3.util.response import is_fp_closed

from flext_plugins._clients.bodies import Watched
from flext_plugins._clients.decoding import Within
from flext_plugins._errors import AnswerTooLong, DeadlineExceeded, native

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Generator, Iterator

    from flext_plugins._clients.gate import Permit
    from flext_plugins._clients.watchdog import Watch
    from flext_plugins._messages import Start, Transformation


class Reader(io.BufferedIOBase):
    """The file below a response of http.client, which closes it at the end of the body.

    Every wait ends with the call's deadline. The permit is back when it is closed; who collects a
    file closes it.

    Args:
        file: the connection's.
        limit: the call's deadline.
        end: called when it is closed.
        chunked: whether the size of each part stands in a line before it, and is not of the body.
    """

    def __init__(self, file: Any, limit: Any, end: Callable[[], None], *, chunked: bool) -> None:
        self._file, self._limit, self._end = file, limit, end
        self._chunk = 0 if chunked else None
        self.size = 0
        """Bytes of the body that have passed."""
        self.is_malformed = self._has_ended = False

    def _count(self, size: int) -> None:
        if self._chunk is not None:
            size = min(size, self._chunk)  # the rest is the line break behind it
            self._chunk -= size
        self.size += size

    def _wait(self, read: Callable[[int], bytes], size: int | None) -> bytes:
        with self._limit:
            return read(-1 if size is None else size)

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size < -1:  # of a chunk; to the file it is a mere `ValueError`
            raise IncompleteRead(b"")
        data = self._wait(self._file.read, size)
        self._count(len(data))
        return data

    def read1(self, size: int | None = -1) -> bytes:
        data = self._wait(self._file.read1, size)
        self._count(len(data))
        return data

    def readinto(self, buffer: Any) -> int:
        with self._limit:
            size: int = self._file.readinto(buffer)
        self._count(size)
        return size

    def readline(self, size: int | None = -1) -> bytes:
        line = self._wait(self._file.readline, size)
        if self._chunk is None:
            self._count(len(line))
        elif len(line) == size:  # urllib3 closes the response, and then says that it is too long
            self.is_malformed = True
        else:
            self._begin_chunk(line)
        return line

    def _begin_chunk(self, line: bytes) -> None:
        try:
            self._chunk = int(line.partition(b";")[0], 16)
        except ValueError:
            self.is_malformed = not self._has_ended  # else it is a trailer
        else:
            self._has_ended = self._chunk == 0

    def peek(self, size: int = 0) -> bytes:
        return self._wait(self._file.peek, size)

    @property
    def is_over(self) -> bool:
        return self.closed

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        descriptor: int = self._file.fileno()
        return descriptor

    def close(self) -> None:
        try:
            self._file.close()
        finally:
            self._end()
            super().close()


class Memory(io.BytesIO):
    """A body that came without a connection, or has been read from it."""

    is_malformed = False

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._length, self.size = len(data), 0
        self._has_begun = False

    def read(self, size: int | None = -1) -> bytes:
        data, self._has_begun = super().read(size), True
        self.size += len(data)
        return data

    read1 = read

    @property
    def is_over(self) -> bool:
        return self.closed or self.size == self._length

    def isclosed(self) -> bool:
        """Whether it would be closed on a connection, where an empty body is so when it is read."""
        return self.closed or (self._has_begun and self.size == self._length)


class Filter(io.BufferedIOBase):
    """A body that is transformed as it is read from another response.

    Args:
        raw: the response that it comes from.
        start: begins the transformation.
    """

    is_malformed = False

    def __init__(self, raw: Raw, start: Start) -> None:
        self._raw, self._start = raw, start
        self._current: Transformation | None = None
        self._rest = b""
        self._has_ended = False
        self.broken: Exception | None = None
        """What the other response raised, which urllib3 would take for an error of its own."""

    @property
    def is_over(self) -> bool:
        return self._has_ended and not self._rest

    @property
    def size(self) -> int:
        """Bytes that have come from the network."""
        return self._raw.passed

    def _read_on(self) -> None:
        """Read until there is something to give, or nothing more to come."""
        if self._current is None:
            self._current = self._start()
        while not self._rest and not self._has_ended:
            try:
                data = self._raw.read1(io.DEFAULT_BUFFER_SIZE, decode_content=False)
            except Exception as error:
                self.broken = error
                raise
            if data:
                self._rest = self._current.feed(data)
            else:
                self._rest = self._current.end()
                self._has_ended = True

    def read1(self, size: int | None = -1) -> bytes:
        self._read_on()
        end = len(self._rest) if size is None or size < 0 else size
        data, self._rest = self._rest[:end], self._rest[end:]
        return data

    def read(self, size: int | None = -1) -> bytes:
        parts, left = [], sys.maxsize if size is None or size < 0 else size
        while left and (data := self.read1(left)):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def readable(self) -> bool:
        return True

    def isclosed(self) -> bool:
        """Whether it would be closed on a connection, where it is so at the end."""
        return self.closed or self.is_over

    def close(self) -> None:
        self._raw.close()
        super().close()


class Raw(Watched, HTTPResponse):
    """urllib3's response; tells how its body ended, and stays broken if it broke."""

    _fp: Any
    reader: Reader | Memory | Filter | None = None
    _broken: Exception | None = None
    dropped: deque[Callable[[], Any]] | None = None
    is_passed_over = False
    """Whether it is a redirect's: a session that cannot read or decode it reads what is left of
    it, to be rid of it."""

    @contextmanager
    def _reading(self, *, what_is_left: bool = False) -> Iterator[None]:
        if self._broken is not None and not (what_is_left and self.is_passed_over):
            raise self._broken  # urllib3 would give nothing, as if the body were complete
        try:
            yield
        except GeneratorExit:  # who iterates over chunks goes no further
            self._end(None, self.passed)
            raise
        except DeadlineExceeded as error:  # the native one, an `OSError`, is no broken connection
            late = native(error, Timeout)
            self._break(late)
            raise late from error.__cause__
        except BaseException as error:
            if self.is_passed_over and isinstance(error, exceptions.DecodeError):
                raise
            inner = self.reader.broken if isinstance(self.reader, Filter) else None
            if inner is not None:
                self._break(inner)
                raise inner from inner.__cause__
            self._break(error)
            raise
        if is_fp_closed(self._fp) if self.reader is None else self.reader.is_over:
            self._end(None, self.passed)

    # Every other method that reads goes through one of these.

    def read(self, *args: Any, **options: Any) -> bytes:
        with self._reading(what_is_left=(args, options) == ((), {"decode_content": False})):
            return super().read(*args, **options)

    def read1(self, *args: Any, **options: Any) -> bytes:
        with self._reading():
            return super().read1(*args, **options)

    def read_chunked(self, *args: Any, **options: Any) -> Generator[bytes, None, None]:
        with self._reading():
            yield from super().read_chunked(*args, **options)

    def drain_conn(self) -> None:
        with self._reading():
            super().drain_conn()

    @property
    def passed(self) -> int:
        return self.tell() if self.reader is None else self.reader.size

    def hold(
        self, permit: Permit, limit: Any, watch: Watch | None, dropped: deque[Callable[[], Any]]
    ) -> None:
        """Give `permit` back, and end `watch`, when the body is over, closed or collected."""
        self.dropped = dropped
        if watch is not None:  # cut, a body without a length would seem whole
            watch.outlasts = True
        end = partial(_end, permit, [watch] if watch is not None else [], self.connection)
        if getattr(self._fp, "fp", None) is None:  # nothing is left on a connection
            end()
        else:
            reader = self.reader = Reader(self._fp.fp, limit, end, chunked=self.chunked)
            self._fp.fp = reader

    def replayed(self, data: bytes) -> Raw:
        """A response as this one was before `data` was read from it."""
        return self._around(Memory(data), self.headers)

    def _around(self, file: Memory | Filter, headers: Any) -> Raw:
        """A response as this one, whose body comes from `file`."""
        again = _whole(
            file,
            headers,
            self.status,
            version=self.version,
            reason=self.reason,
            decode_content=self.decode_content,
            original_response=self._original_response,
            retries=self.retries,
            request_url=self.geturl(),
        )
        again.dropped = self.dropped
        again.version_string = getattr(self, "version_string", "")  # not in urllib3 before 2.3
        return again

    def replaced(self, data: bytes) -> Raw:
        """A response as this one, which is closed, with `data` in place of its body."""
        again = self._around(Memory(data), self._without_length())
        self.hand_over(again)
        self.close()
        return again

    def transformed(self, start: Start) -> Raw:
        """A response as this one, whose body is transformed as it is read."""
        again = self._around(Filter(self, start), self._without_length())
        self.hand_over(again)
        return again

    def _without_length(self) -> Any:
        headers = self.headers.copy()
        for name in ("Content-Length", "Transfer-Encoding"):  # the body's as it was
            headers.discard(name)
        return headers

    def stream(self, amt: int | None = 2**16, decode_content: bool | None = None) -> Any:  # noqa: FBT001
        if not isinstance(self.reader, Filter):
            yield from super().stream(amt, decode_content)
            return
        while data := self.read1(amt, decode_content):  # whatever is there: it may be a stream
            yield data

    def within(self, most: int) -> bytes:
        """Read all of it, undecoded.

        Raises:
            AnswerTooLong: there are more than `most` bytes; then it is broken for everybody.
        """
        counted, parts = Within(most), list[bytes]()
        for chunk in self.stream(decode_content=False):
            try:
                parts.append(counted.feed(chunk))
            except AnswerTooLong as error:
                self._break(error)
                raise
        return b"".join(parts)

    def _break(self, error: BaseException) -> None:
        size = self.passed
        if isinstance(error, Exception):
            self._broken = error
        else:
            self._broken = exceptions.ProtocolError(f"Connection broken: {error!r}", error)
        super().close()  # not every error is one of the network
        if isinstance(self.reader, Filter):
            self.reader.close()
        self._fp = io.BytesIO()  # not closed: who reads shall come to the error
        self._end(translated(error), size)

    @property
    def closed(self) -> bool:
        return self._broken is not None or super().closed

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self.reader is None or not self.reader.is_malformed:  # or the error is on its way
                self._end(None, self.passed)

    def __del__(self) -> None:
        # Not now: the collector strikes under any lock, also under one that a watcher takes.
        if self.dropped is not None and self._ending is None and self._watchers:
            for callback in self._watchers:
                self.dropped.append(partial(callback, None, self.passed))
        self._watchers = ()
        super().__del__()


def watched(
    raw: Any,
    permit: Permit,
    limit: Any,
    watch: Watch | None,
    dropped: deque[Callable[[], Any]],
) -> Raw:
    """`raw` itself, which gives `permit` back and ends `watch`."""
    if not isinstance(raw, HTTPResponse):
        raw = HTTPResponse(raw, raw.headers, raw.status, preload_content=False)
    # Its class is changed, rather than another response put around it: of two that hold the
    # connection each would close it or give it to the pool.
    raw.__class__ = Raw
    raw.hold(permit, limit, watch, dropped)
    return cast("Raw", raw)


def _end(permit: Permit, watches: list[Watch], connection: Any) -> None:
    """End an exchange; urllib3 gives its connection to another call next."""
    with suppress(IndexError):
        if watches.pop().end() and connection is not None:
            connection.close()
    permit.release()


def whole(data: bytes, headers: Any, status: int = 200) -> Raw:
    """urllib3's response around `data`, which is whole whatever `Content-Length` says."""
    return _whole(Memory(data), headers, status)


def _whole(file: Memory | Filter, headers: Any, status: int, **options: Any) -> Raw:
    response = Raw(
        file, headers, status, preload_content=False, enforce_content_length=False, **options
    )
    response.reader = file
    return response


def translated(error: BaseException) -> BaseException:
    """urllib3's error as requests would raise it while a body is read."""
    if isinstance(error, exceptions.ProtocolError):
        return ChunkedEncodingError(error)
    return WireError(error) if isinstance(error, exceptions.HTTPError) else error
