"""Bodies on their way: counted, transformed, and sent once."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from flext_plugins._clients.cancellation import steady
from flext_plugins._errors import note_failures
from flext_plugins._wire import blame_caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from weakref import WeakValueDictionary

    from flext_plugins._clients.gate import Permit
    from flext_plugins._clients.httpx.wire import Loan
    from flext_plugins._messages import BodyEnd, Start

CLOSING = "closing the body that broke"
NO_LIMIT: Any = nullcontext()
"""For a body that no deadline ends; else a `Limit`."""


class Pipeline:
    """Transformations, one behind the other; itself one."""

    def __init__(self, starts: Iterable[Start]) -> None:
        self._all = [start() for start in starts]

    def feed(self, chunk: bytes) -> bytes:
        for each in self._all:
            if chunk:
                chunk = each.feed(chunk)
        return chunk

    def end(self) -> bytes:
        rest = b""
        for each in self._all:
            rest = (each.feed(rest) if rest else rest) + each.end()
        return rest


class Transformed:
    """A request's stream, transformed as it is sent; each time anew.

    Args:
        source: the stream as it was.
        start: begins the transformation.
    """

    def __init__(self, source: Any, start: Start) -> None:
        self.source, self._start = source, start

    def __iter__(self) -> Iterator[bytes]:
        current = self._start()
        for chunk in self.source:
            if chunk and (data := current.feed(chunk)):  # an empty chunk would end the body
                yield data
        if data := current.end():
            yield data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        current = self._start()
        async for chunk in self.source:
            if chunk and (data := current.feed(chunk)):
                yield data
        if data := current.end():
            yield data


class BodyBroke(Exception):
    """Carries what a request's own body raised past a library that would take it for the wire's.

    httpcore and urllib3 swallow an error of writing, or make one of their own of it.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Guarded:
    """A request's body while it is sent, which tells its own errors from the wire's."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._source
        except Exception as error:
            raise BodyBroke(error) from None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._source:
                yield chunk
        except Exception as error:
            raise BodyBroke(error) from None


@contextmanager
def guarded(native: Any, name: str, guard: Callable[[Any], Any]) -> Iterator[None]:
    """Put a guard around the body `native.name` while it is sent.

    What the body raises is raised as it is, and marked as the caller's whatever its class: a body
    may be another service's answer.
    """
    body = getattr(native, name)
    setattr(native, name, guard(body))
    try:
        yield
        return
    except BodyBroke as broke:
        error = error_of(broke)
    finally:
        setattr(native, name, body)
    raise error


def error_of(broke: BodyBroke) -> Exception:
    """The error that it carries, marked as the caller's."""
    blame_caller(broke.error)
    return broke.error


def original(stream: Any) -> Any:
    """The stream of a request as it was before all transformations."""
    while isinstance(stream, Transformed):
        stream = stream.source
    return stream


class Watched:
    """A body that ends once, and tells those who watch it how."""

    _watchers: tuple[BodyEnd, ...] = ()
    _ending: tuple[BaseException | None, int] | None = None

    def watch(self, callback: BodyEnd) -> None:
        """Call `callback` at the end, or now if that has been."""
        if self._ending is None:
            self._watchers += (callback,)
        else:
            callback(*self._ending)

    def hand_over(self, body: Watched) -> None:
        """Have those who watch told of the end of `body`, which comes in place of this one."""
        watchers, self._watchers = self._watchers, ()
        for callback in watchers:
            body.watch(callback)

    def _end(self, error: BaseException | None, size: int) -> None:
        if self._ending is None:
            self._ending = error, size
            for callback in self._watchers:
                callback(error, size)


class Body(Watched):
    """An httpx response's stream; gives back its permit when it is closed or collected.

    Args:
        stream: the library's own.
        permit: what the exchange was admitted with.
        limit: the call's deadline.
        loan: the connection that it comes over, if it is no pool's.
        explained: gives the error that stands for one of the network's.

    Attributes:
        stream_closed: the library's error for a stream that is read after it was closed.
    """

    stream_closed: type[Exception]

    def __init__(
        self,
        stream: Any,
        permit: Permit | None = None,
        limit: Any = NO_LIMIT,
        loan: Loan | None = None,
        explained: Callable[[BaseException], BaseException] | None = None,
    ) -> None:
        self._stream, self._permit, self._limit, self._loan = stream, permit, limit, loan
        self._explained = explained
        self._size = 0
        self._chunks: Any = None
        self._has_ended = self._has_closed = False
        self._broken: Exception | None = None
        self._starts: tuple[Start, ...] = ()
        self._pipeline: Pipeline | None = None
        """What is between the network and whoever reads, from the first chunk to the last."""

    def transform(self, start: Start) -> None:
        """Have what is read from now on transformed, behind what is so already."""
        self._starts += (start,)

    def replace(self, stream: Any) -> None:
        """Give `stream` in place of what comes from the network, which is closed with it."""
        self._stream, self._starts = _Instead(stream, self._stream), ()
        self._limit = NO_LIMIT  # nothing is waited for

    def __del__(self) -> None:
        if self._permit is not None:
            self._permit.drop(self)

    def __iter__(self) -> Iterator[bytes]:
        self._check()
        if self._has_ended:
            return
        try:
            if self._starts and self._pipeline is None:
                self._pipeline = Pipeline(self._starts)
            pipeline = self._pipeline
            for chunk in self._stream if self._limit is NO_LIMIT else self._limited():
                self._size += len(chunk)
                data = pipeline.feed(chunk) if pipeline else chunk
                if data:
                    yield data
            if pipeline and (data := pipeline.end()):
                yield data
        except GeneratorExit:  # who reads no further says why by closing
            raise
        except BaseException as caught:
            error = self._break(caught)
            with note_failures(error, CLOSING):
                self.close()  # not every client does, and some other call waits for the permit
            if error is not caught:
                raise error from None
            raise
        self._has_ended = True
        self._end(None, self._size)

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._chunks = aiter(self._stream)
        return self

    def _check(self) -> None:
        """See to it that nobody reads on where a body broke or was closed.

        Its connection may be another call's already.
        """
        if self._broken is not None:
            raise self._broken
        if self._has_closed and not self._has_ended:
            raise self.stream_closed

    def _break(self, error: BaseException) -> BaseException:
        """Remember why nobody reads on, which is what the reader is told."""
        if self._explained is not None:
            error = self._explained(error)
        self._broken = error if isinstance(error, Exception) else self.stream_closed()
        self._end(error, self._size)
        return error

    async def __anext__(self) -> bytes:
        self._check()
        if self._has_ended:
            raise StopAsyncIteration
        try:
            if not self._starts:
                return await self._chunk()
            return await self._transformed()
        except StopAsyncIteration:
            self._has_ended = True
            self._end(None, self._size)
            raise
        except GeneratorExit:  # a coroutine that is closed cannot wait
            raise
        except BaseException as caught:
            error = self._break(caught)
            with note_failures(error, CLOSING):
                await self.aclose()
            if error is not caught:
                raise error from None
            raise

    async def _chunk(self) -> bytes:
        if self._limit is NO_LIMIT:
            chunk: bytes = await self._next()
        else:
            async with self._limit:
                chunk = await self._next()
        self._size += len(chunk)
        return chunk

    def _next(self) -> Awaitable[bytes]:
        waiting: Awaitable[bytes] = self._chunks.__anext__()
        return steady(waiting) if self._is_shared else waiting

    async def _transformed(self) -> bytes:
        if self._pipeline is None:
            self._pipeline = Pipeline(self._starts)
        try:
            while not (data := self._pipeline.feed(await self._chunk())):
                pass
        except StopAsyncIteration:
            data, self._starts = self._pipeline.end(), ()
            if not data:
                raise
        return data

    def _limited(self) -> Iterator[bytes]:
        iterator = iter(self._stream)
        while True:
            with self._limit:
                chunk = next(iterator, None)
            if chunk is None:
                return
            yield chunk

    def close(self) -> None:
        self._has_closed, is_whole, permit = True, False, self._permit
        try:
            self._stream.close()
            is_whole = self._is_whole
        finally:
            self._permit = None
            try:
                try:
                    self._end(None, self._size)
                finally:
                    if self._loan is not None:
                        self._loan.close(is_whole=is_whole)
            finally:
                if permit is not None:
                    permit.release()

    async def aclose(self) -> None:
        self._has_closed, is_whole, permit, loan = True, False, self._permit, self._loan
        try:
            closing = self._stream.aclose()
            await (steady(closing) if self._is_shared else closing)
            is_whole = self._is_whole
        except GeneratorExit:  # a coroutine that is closed cannot wait
            loan = None
            raise
        finally:
            self._permit = None
            try:
                try:
                    self._end(None, self._size)
                finally:
                    if loan is not None:
                        await loan.aclose(is_whole=is_whole)
            finally:
                if permit is not None:
                    permit.release()

    @property
    def _is_shared(self) -> bool:
        """Whether other calls go over the same connection, or through the same pool."""
        return self._loan is None or self._loan.is_shared

    @property
    def _is_whole(self) -> bool:
        """Whether all that the network had of it was read."""
        is_replaced = isinstance(self._stream, _Instead)
        return self._has_ended and self._broken is None and not is_replaced


class _Instead:
    """A stream in place of another, which is closed with it."""

    def __init__(self, stream: Any, replaced: Any) -> None:
        self._stream, self._replaced = stream, replaced

    def close(self) -> None:
        self._replaced.close()

    async def aclose(self) -> None:
        await self._replaced.aclose()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)


def can_seek(file: Any, place: int | None = None) -> bool:
    """Whether a file can be read again, from `place` or from where it stands now.

    It may lack `seekable`, as `mmap` does before Python 3.13 and many a wrapper.
    """
    try:
        if hasattr(file, "seekable"):
            return bool(file.seekable())
        file.seek(file.tell() if place is None else place)
    except Exception:
        return False
    return True


class Upload:
    """A request's stream that can be sent once; notes when that began."""

    is_replayable = False
    """Whether it can be sent more than once after all."""

    def __init__(self, source: Any, begun: WeakValueDictionary[int, Any]) -> None:
        self._source, self._begun = source, begun
        self._sent = False

    @property
    def begun(self) -> bool:
        """Whether it, or what it takes its parts from, has been sent."""
        return self._sent or self._begun.get(id(self._source)) is self._source

    def _begin(self) -> None:
        self._sent = True
        with suppress(TypeError):  # a list's iterator cannot be remembered beyond this call
            self._begun[id(self._source)] = self._source

    def __iter__(self) -> Iterator[bytes]:
        self._begin()
        yield from self._source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._begin()
        async for chunk in self._source:
            yield chunk
