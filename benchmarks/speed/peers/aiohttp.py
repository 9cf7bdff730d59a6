"""aiohttp's own client, which has no part in common with httpx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import ClientSession

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack


class Answer(NamedTuple):
    """What others' responses have."""

    status_code: int
    content: bytes


async def _through(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
    return await handler(request)


def getting(
    middlewares: int, stack: ExitStack, url: str, runner: asyncio.Runner
) -> Callable[[], Awaitable[Answer]]:
    """A session with so many client middlewares that do nothing."""

    async def made() -> ClientSession:
        return ClientSession(middlewares=[_through] * middlewares)

    session = runner.run(made())
    stack.callback(lambda: runner.run(session.close()))

    async def get() -> Answer:
        async with session.get(url) as response:
            return Answer(response.status, await response.read())

    return get
