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


def opened(middlewares: int, stack: ExitStack, runner: asyncio.Runner) -> ClientSession:
    """A session with so many client middlewares that do nothing."""

    async def made() -> ClientSession:
        return ClientSession(middlewares=[_through] * middlewares)

    session = runner.run(made())
    stack.callback(lambda: runner.run(session.close()))
    return session


async def answered(request: Any) -> Answer:
    """The answer to a request of a session, read to its end."""
    async with request as response:
        return Answer(response.status, await response.read())


def getting(
    middlewares: int, stack: ExitStack, url: str, runner: asyncio.Runner
) -> Callable[[], Awaitable[Answer]]:
    """A GET by a session with so many of them."""
    session = opened(middlewares, stack, runner)
    return lambda: answered(session.get(url))
