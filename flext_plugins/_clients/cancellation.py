"""Awaiting so that a cancellation loses no connection."""

from __future__ import annotations

from asyncio import CancelledError, current_task
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

T = TypeVar("T")
ANYIO = "Cancelled via cancel scope"
"""How anyio's own cancellations begin, such as those of connecting; `cancel()` again is not its."""


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
    argument: BaseException | None = None
    put_off = False
    while True:
        try:
            waited = step(argument)
        except StopIteration as end:
            if put_off:
                yield from _landing(end.value, discard)
            result: T = end.value
            return result
        except Exception:
            if put_off:
                yield
            raise
        step, argument = inner.send, None
        try:
            yield waited
        except CancelledError as error:
            task = current_task()
            if waited is not None or task is None:
                put_off = False
                step, argument = inner.throw, error
            elif not str(error).startswith(ANYIO):  # which comes again by itself
                put_off = True
                task.uncancel()
                task.cancel()
        except BaseException as error:
            step, argument = inner.throw, error


def _landing(result: T, discard: Callable[[T], Awaitable[Any]] | None) -> Generator[Any, Any, None]:
    try:
        yield
    except CancelledError:
        if discard is not None:
            yield from discard(result).__await__()
        raise
