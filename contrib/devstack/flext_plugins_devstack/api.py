"""A server's routes, behind its guard, with its metrics."""

from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from .auth import FlextAuth, TokenError
from .metrics import Metrics


def api(
    routes: Sequence[BaseRoute],
    metrics: Metrics,
    authority: FlextAuth | None,
    refusal: Callable[[str], Response],
    on_error: Callable[[Request, Exception], Any],
) -> ASGIApp:
    """An application of these routes and the page of its metrics.

    Args:
        routes: what it answers.
        metrics: count what it does.
        authority: issues the tokens that all under /api/ demands; `None` demands none.
        refusal: makes the answer to whoever has no token, from the reason.
        on_error: answers an `HTTPException`, such as that of an unknown path.
    """
    every = [*routes, *metrics.routes()]
    answering = Starlette(routes=every, exception_handlers={HTTPException: on_error})

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if authority is not None and scope["path"].startswith("/api/"):
            try:
                authority.authenticate(Request(scope).headers.get("authorization"))
            except TokenError as error:
                await refusal(str(error))(scope, receive, send)
                return
        await answering(scope, receive, send)

    return metrics.timed(guard, every)
