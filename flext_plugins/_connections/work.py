"""Work of a plugin's that may block: in place or in a worker thread, and in time."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from flext_plugins._deadline import Limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flext_plugins._call import Call

T = TypeVar("T")


async def in_time(
    call: Call | None, waiting_for: str, work: Callable[[], Awaitable[T]], *, asynchronous: bool
) -> T:
    """The result of `work()`, which ends with the deadline of `call`.

    In a sync connection nothing can interrupt it: there it ends late.
    """
    if call is None:
        return await work()
    limit = Limit(call, waiting_for)
    if asynchronous:
        async with limit:
            return await work()
    with limit:
        return await work()


async def apply(function: Callable[..., T], args: tuple[Any, ...], *, asynchronous: bool) -> T:
    """`function(*args)`: in place, or in a worker thread."""
    if asynchronous:
        return await asyncio.to_thread(function, *args)
    return function(*args)


async def apply_any(
    function: Callable[..., Any], args: tuple[Any, ...], *, asynchronous: bool
) -> Any:
    """`function(*args)`, awaited if it can be."""
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    result = await apply(function, args, asynchronous=asynchronous)
    return await result if inspect.isawaitable(result) else result
