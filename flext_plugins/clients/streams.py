"""Bodies on their way: counted, sent once, and awaited without losing a connection."""

from __future__ import annotations

from asyncio import CancelledError, current_task
from contextlib import nullcontext, suppress
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
    from weakref import WeakValueDictionary

    from flext_plugins.message import BodyEnd

T = TypeVar("T")
ANYIO = "Cancelled via cancel scope"
"""How anyio's own cancellations begin, such as those of connecting; `cancel()` again is not its."""
NO_LIMIT: Any = nullcontext()
"""For a body that no deadline ends; else a `Limit`."""


@coroutine
def steady(
    awaited: Awaitable[T], discard: Callable[[T], Awaitable[Any]] | None = None
) -> Generator[Any, Any, T]:
    """Await something so that a cancellation lands only where it really waits, or at its end.

    A pool that is cancelled at a mere turn of the loop (`sleep(0)` inside a lock) may lose the
    connection that it was about to use: cancelled so, plain httpx with `max_connections=1` never
    sends again. The cancellation is put off to the next thing that is waited for. Where there is
    none it lands at the end: Python 3.11 and 3.12 would deliver it at whatever is awaited next,
    past the `asyncio.timeout` that it came from.

    Args:
        awaited: what is awaited.
        discard: gives up a result that comes too late.
    """
    inner: Any = awaited if isinstance(awaited, CoroutineType) else awaited.__await__()
    step: Any = inner.send
    given: BaseException | None = None
    put_off = False
    while True:
        try:
            waited = step(given)
        except StopIteration as end:
            if put_off:
                yield from _landing(end.value, discard)
            result: T = end.value
            return result
        except Exception:
            if put_off:
                yield
            raise
        step, given = inner.send, None
        try:
            yield waited
        except CancelledError as error:
            task = current_task()
            if waited is not None or task is None:
                put_off = False
                step, given = inner.throw, error
            elif not str(error).startswith(ANYIO):  # which comes again by itself
                put_off = True
                task.uncancel()
                task.cancel()
        except BaseException as error:
            step, given = inner.throw, error


def _landing(result: T, discard: Callable[[T], Awaitable[Any]] | None) -> Generator[Any, Any, None]:
    try:
        yield
    except CancelledError:
        if discard is not None:
            yield from discard(result).__await__()
        raise


class Body:
    """A response's stream, counted; tells how it ended, and gives back its permit when closed."""

    def __init__(
        self, stream: Any, closed: Callable[[], Any] | None = None, limit: Any = NO_LIMIT
    ) -> None:
        self._stream, self._closed, self._limit = stream, closed, limit
        self._watchers: list[BodyEnd] = []
        self._size = 0
        self._chunks: Any = None
        self._ended: tuple[BaseException | None, int] | None = None

    def watch(self, callback: BodyEnd) -> None:
        """Call `callback` at the end, or now if that has been."""
        if self._ended is None:
            self._watchers.append(callback)
        else:
            callback(*self._ended)

    def _end(self, error: BaseException | None) -> None:
        if self._ended is None:
            self._ended = error, self._size
            for callback in self._watchers:
                callback(*self._ended)

    def _close(self) -> None:
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()
        self._end(None)

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream if self._limit is NO_LIMIT else self._limited():
                self._size += len(chunk)
                yield chunk
        except GeneratorExit:  # who reads no further says why by closing
            raise
        except BaseException as error:
            self._end(error)
            self.close()  # not every client does, and some other call waits for the permit
            raise
        self._end(None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._chunks = aiter(self._stream)
        return self

    async def __anext__(self) -> bytes:
        try:
            if self._limit is NO_LIMIT:
                chunk: bytes = await steady(self._chunks.__anext__())
            else:
                async with self._limit:
                    chunk = await steady(self._chunks.__anext__())
        except StopAsyncIteration:
            self._end(None)
            raise
        except GeneratorExit:  # a coroutine that is closed cannot wait
            raise
        except BaseException as error:
            self._end(error)
            await self.aclose()
            raise
        self._size += len(chunk)
        return chunk

    def _limited(self) -> Iterator[bytes]:
        iterator = iter(self._stream)
        while True:
            with self._limit:
                chunk = next(iterator, None)
            if chunk is None:
                return
            yield chunk

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._close()

    async def aclose(self) -> None:
        try:
            await steady(self._stream.aclose())
        finally:
            self._close()


class Upload:
    """A request's stream that can be sent once; notes when that began."""

    def __init__(self, source: Any, begun: WeakValueDictionary[int, Any]) -> None:
        self._source, self._begun = source, begun
        self._sent = False

    @property
    def begun(self) -> bool:
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


def seekable(stream: Any) -> bool:
    """Whether `stream` is a multipart body whose files can all be read again."""
    fields = getattr(stream, "fields", None)
    if fields is None:
        return False
    files = [each.file for each in fields if hasattr(each, "file")]
    return all(isinstance(each, (str, bytes)) or each.seekable() for each in files)
