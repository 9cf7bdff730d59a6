"""Error answers of services, read into a `ServiceError`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar

from flext_plugins._call import CORRELATION, correlation
from flext_plugins._clients import library_for
from flext_plugins._clients.gate import MASK
from flext_plugins._clients.hop import CALL
from flext_plugins._errors import ConfigError, ServiceError, native
from flext_plugins.http import Origin
from flext_plugins.redaction import redact

R = TypeVar("R")
MOST_BYTES = 65_536
"""A longer body is not looked at."""
MOST_CAUSES = 8
_TEXTS = ("detail", "error_description", "error", "message")
"""Where services write what went wrong: RFC 9457, OAuth, FLEXT's and others'."""


def raise_for_status(response: R) -> R:
    """`response`, unless its status is 400 or above; for the responses of every client.

    Reads of the body what the client has read already, up to 64 KiB, and waits for nothing: of a
    streamed response read the body first, if what it says is wanted.

    Raises:
        ServiceError: which is also the client library's own (`httpx.HTTPStatusError`,
            `requests.HTTPError`).
    """
    answer: Any = response
    if answer.status_code < 400:
        return response
    error = _error(answer)
    try:
        base = library_for(type(answer)).bad_status
        error = native(error, base, request=answer.request, response=answer)
    except (ConfigError, RuntimeError):  # of no library of ours, or belongs to no request
        pass
    raise error


def _error(answer: Any) -> ServiceError:
    extensions: Mapping[str, Any] = getattr(answer, "extensions", {})
    call, mask = extensions.get(CALL), extensions.get(MASK)
    body, unread = _body(answer)
    members: dict[str, Any] = {}
    with suppress(ValueError, RecursionError):  # what could not be masked is not shown
        parsed = _parsed(body, answer.headers.get("Content-Type", ""))
        members = _masked(parsed, mask.snapshot() if mask else redact)
    error = _read(members, answer.status_code, MOST_CAUSES)
    error.unread = unread
    error.service = mask.source if mask else _host(answer)
    error.add_context(call=call)
    ids = (answer.headers.get(CORRELATION), error.correlation_id)
    error.correlation_id = next(
        (each for each in ids if each and correlation(each)), call.correlation_id if call else None
    )
    return error


def _host(answer: Any) -> str | None:
    with suppress(RuntimeError, ValueError):
        return Origin.of(answer.url).host
    return None


def _body(answer: Any) -> tuple[bytes, str]:
    """The body, if the client has read it, else why there is none."""
    raw = getattr(answer, "raw", None)
    content = None
    if raw is None or raw.closed:  # else `content` of requests would wait for it
        with suppress(Exception):
            content = answer.content
    if content is None:
        return b"", "its body was not read"
    if len(content) > MOST_BYTES:
        return b"", f"its body has more than {MOST_BYTES} bytes"
    return content, ""


def _parsed(body: bytes, kind: str) -> dict[str, Any]:
    kind = kind.partition(";")[0].strip().lower()
    if kind == "text/plain":
        return {"detail": body.decode(errors="replace").strip()}
    found = json.loads(body) if kind == "application/json" or kind.endswith("+json") else None
    return found if isinstance(found, dict) else {}


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(key): _masked(each, mask) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, mask) for each in value]
    if isinstance(value, (int, float)) and mask(shown := str(value)) != shown:
        return mask(shown)  # a PIN
    return value


def _read(members: dict[str, Any], status: int, causes: int) -> ServiceError:
    """The error that a body describes; members of an unexpected type are left out."""
    rest = dict(members)

    def text(name: str) -> str | None:
        value = rest.get(name)
        if isinstance(value, Mapping) and name == "error":
            value = value.get("message")
        return rest.pop(name) and value if isinstance(value, str) and value else None

    title = text("title")
    if title is None:
        title = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    error = ServiceError(title, status)
    error.detail = next((each for name in _TEXTS if (each := text(name))), None)
    error.type, error.instance = text("type") or error.type, text("instance")
    error.service, error.correlation_id = text("service"), text("correlation_id")
    if not (error.correlation_id and correlation(error.correlation_id)):
        error.correlation_id = None
    rest.pop("status", None)
    inner = rest.pop("caused_by", None)
    if causes and isinstance(inner, dict) and _is_status(inner.get("status")):
        error.caused_by = _read(inner, inner["status"], causes - 1)
    error.extensions = rest
    return error


def _is_status(value: object) -> bool:
    return isinstance(value, int) and 100 <= value <= 599
