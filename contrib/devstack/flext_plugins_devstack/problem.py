"""Answers that say what went wrong, as RFC 9457 has them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"


class Problem(HTTPException):
    """An answer with an error status, and why."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))


def document(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer of that status whose problem document has this `detail`."""
    told = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return as_answer(told, headers)


def as_answer(told: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """The answer whose problem document is `told`."""
    return JSONResponse(told, told["status"], headers, MEDIA_TYPE)


async def on_error(_: Request, error: Exception) -> Response:
    """Answer what a router or an endpoint raised."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these alone
    return document(error.status_code, error.detail, error.headers)
