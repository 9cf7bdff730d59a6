"""Awaiting so that a cancellation loses no connection."""

from __future__ import annotations

from asyncio import CancelledError, current_task
from contextlib import suppress
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CancelScope  # httpx brings it, and httpcore waits by it

from flext_plugins._errors import note_failures

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

T = TypeVar("T")
ANYIO = "Cancelled via cancel scope"
"""How the cancellations of an anyio scope begin."""
TURNS = 100
"""A cancellation is put off over so many turns of the loop in a row, then lands on one of them."""


@coroutine
def steady(
    awaited: Awaitable[T],
    discard: Callable[[T], Awaitable[Any]] | None = None,
    shield: CancelScope | None = None,
) -> Generator[Any, Any, T]:
    """Await something so that a cancellation lands only where it really waits, or at its end.

    A pool that is cancelled at a mere turn of the loop (`sleep(0)` inside a lock) may lose the
    connection that it was about to use: cancelled so, plain httpx with `max_connections=1` never
    sends again. The cancellation is put off to the next thing that is waited for. Where there is
    none it lands at the end: Python 3.11 and 3.12 would deliver it at whatever is awaited next,
    past the `asyncio.timeout` that it came from.

    An anyio scope cancels again at each turn, and whoever takes a lock inside it turns until a
    cancellation has come: none may be swallowed, so they pass, but for those that `shield` holds.

    Args:
        awaited: what is awaited.
        discard: gives up a result that comes too late.
        shield: stands around `awaited`, at mere turns alone.
    """
    inner: Any = awaited if isinstance(awaited, CoroutineType) else awaited.__await__()
    step: Any = inner.send
    argument: BaseException | None = None
    put_off = turns = 0
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
        turns = turns + 1 if waited is None else 0
        if shield is not None and shield.shield is not (held := 0 < turns <= TURNS):
            shield.shield = held
        try:
            yield waited
        except CancelledError as error:
            if waited is None and put_off < TURNS and not str(error).startswith(ANYIO):
                put_off += 1
                _cancel_again(error)
            else:
                put_off = 0
                step, argument = inner.throw, error
        except GeneratorExit:  # nothing can be awaited any more
            inner.close()
            raise
        except BaseException as error:
            step, argument = inner.throw, error


@coroutine
def shielded(
    awaited: Awaitable[T], discard: Callable[[T], Awaitable[Any]] | None = None
) -> Generator[Any, Any, T]:
    """Await a pool's work: at mere turns, hold off the cancellations of the anyio scopes around.

    Those of a scope that was opened inside, as connecting does, pass. A scope costs 3 microseconds,
    and only a pool that is about to use a connection needs one.

    Args:
        awaited: what is awaited.
        discard: gives up a result that comes too late.
    """
    shield = CancelScope()
    shield.__enter__()
    try:
        result: T = yield from steady(awaited, discard, shield)
    except GeneratorExit:
        with suppress(RuntimeError):  # it may be closed in any task, or in none
            shield.__exit__(None, None, None)
        raise
    except BaseException as error:
        shield.__exit__(type(error), error, error.__traceback__)
        raise
    shield.__exit__(None, None, None)
    return result


def _cancel_again(error: CancelledError) -> None:
    if task := current_task():
        task.uncancel()
        task.cancel(*error.args)


def _landing(result: T, discard: Callable[[T], Awaitable[Any]] | None) -> Generator[Any, Any, None]:
    try:
        yield
    except CancelledError as error:
        if discard is not None:
            with note_failures(error, "closing the response that came too late"):
                yield from steady(discard(result))
        raise
