"""Bodies on their way: counted, and sent once."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from flext_plugins._clients.cancellation import steady

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from weakref import WeakValueDictionary

    from flext_plugins._clients.gate import Permit
    from flext_plugins._messages import BodyEnd

NO_LIMIT: Any = nullcontext()
"""For a body that no deadline ends; else a `Limit`."""


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
    """

    def __init__(self, stream: Any, permit: Permit | None = None, limit: Any = NO_LIMIT) -> None:
        self._stream, self._permit, self._limit = stream, permit, limit
        self._size = 0
        self._chunks: Any = None

    def _close(self) -> None:
        permit, self._permit = self._permit, None
        try:
            self._end(None, self._size)
        finally:
            if permit is not None:
                permit.give_back()

    def __del__(self) -> None:
        if self._permit is not None:
            self._permit.drop(self)

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream if self._limit is NO_LIMIT else self._limited():
                self._size += len(chunk)
                yield chunk
        except GeneratorExit:  # who reads no further says why by closing
            raise
        except BaseException as error:
            self._end(error, self._size)
            self.close()  # not every client does, and some other call waits for the permit
            raise
        self._end(None, self._size)

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
            self._end(None, self._size)
            raise
        except GeneratorExit:  # a coroutine that is closed cannot wait
            raise
        except BaseException as error:
            self._end(error, self._size)
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
