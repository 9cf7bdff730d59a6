"""Reads the answers of token services, for all schemes that fetch a token."""

from __future__ import annotations

import json
import math
import re
import time
from calendar import timegm
from email.utils import parsedate
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus

import jwt

from flext_plugins.http import is_header_value

from .credential import Credential
from .token import Problem, Token

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .token import Question

_LONGEST = 200
"""Characters of a token service's own words in a message, at most."""
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))")
"""What JSON and a `repr` write for a character."""
_LEVELS = 2
"""How often a text is read that was escaped again and again."""


def read_answer(
    question: Question, status: int, headers: Mapping[str, str], body: bytes, sent_at: float
) -> Token | Problem:
    """The token in the answer to a question that was sent at `sent_at`, or the problem.

    The token itself has to be one that a header can carry. Anything else that is missing, or has
    an odd form, counts as not said.
    """
    is_transient = status == 429 or status >= 500
    answer = _fields(body)
    error = answer.get("error") if answer else None
    if error and answer and question.secrets is not None:
        words = _quotable((error, answer.get("error_description")), question.secrets)
        reason = f"refused: {words or f'status {status}'}"
        return Problem(reason, is_transient=is_transient, is_stale=error == "invalid_grant")
    if not 200 <= status < 300:
        return Problem(f"failed with status {status}", is_transient=is_transient)
    if answer is None:
        return Problem("answered with something that is no token")
    *path, last = question.token_path.split(".")
    tables = _nested(answer, path)
    value = tables[0].get(last) if tables else None
    if value is None or value == "":
        return Problem(f"answered without a token at {question.token_path!r}")
    if not isinstance(value, str) or not is_header_value(value):
        return Problem("answered with a token that a header cannot carry")
    if str(_nearest(tables, "token_type") or "bearer").strip().lower() != "bearer":
        return Problem("answered with a token that is no bearer token")
    refresh = _nearest(tables, "refresh_token")
    is_new = isinstance(refresh, str) and is_header_value(refresh)
    return Token(
        f"Bearer {value}",
        sent_at,
        _life(value, tables, headers),
        Credential(refresh) if is_new else question.refresh,
    )


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda found: found[3] or chr(int(found[1] or found[2], 16)), text)


_READERS = (_plain, unescape, unquote, unquote_plus)


def _fields(body: bytes) -> dict[str, Any] | None:
    """The fields of an answer in JSON, or in a form's encoding as servers had before the RFC."""
    # Whatever a character cannot be read as is no part of a token: a header could not carry it.
    text = body.decode(json.detect_encoding(body), "replace")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        try:
            return dict(parse_qsl(text.strip(), strict_parsing=True)) or None
        except ValueError:
            return None
    return answer if isinstance(answer, dict) else None


def _nested(answer: dict[str, Any], path: Iterable[str]) -> list[dict[str, Any]]:
    """The tables along `path`, innermost first; none if it leads nowhere."""
    tables = [answer]
    for name in path:
        inner = tables[0].get(name)
        if not isinstance(inner, dict):
            return []
        tables.insert(0, inner)
    return tables


def _nearest(tables: Iterable[Mapping[str, Any]], name: str) -> Any:
    """The field `name` that stands next to the token, or else further out."""
    return next((each[name] for each in tables if each.get(name) not in (None, "")), None)


def _life(token: str, tables: Sequence[Mapping[str, Any]], headers: Mapping[str, str]) -> float:
    """Seconds for which a new token is valid."""
    for table in tables:
        if (seconds := _number(table.get("expires_in"))) is not None:
            return max(seconds, 0.0)
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError):
        return math.inf  # until it is rejected
    if (end := _number(claims.get("exp"))) is None:
        return math.inf
    # By the issuer's clock rather than by ours. A clock by which a new token has expired is wrong.
    starts = _number(claims.get("iat")), _clock(headers), time.time()
    lives = (end - start for start in starts if start is not None)
    return next((life for life in lives if life > 0), math.inf)


def _clock(headers: Mapping[str, str]) -> float | None:
    """The time at the server when it answered."""
    try:
        date = parsedate(headers.get("Date"))
        return float(timegm(date)) if date else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float, str)) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _quotable(words: tuple[object, ...], secrets: tuple[str, ...]) -> str:
    """The token service's own words, without those that quote a secret it was sent."""
    forms = {form for each in secrets if each for form in (each, quote_plus(each), quote(each))}
    fine = [
        each
        for each in words
        if isinstance(each, str) and each and each.isascii() and each.isprintable()
        if not any(form in reading for form in forms for reading in _readings(each))
    ]
    return ": ".join(each[:_LONGEST] for each in fine)


def _readings(text: str) -> set[str]:
    """`text`, and what it says once the escapes of JSON, HTML and URLs are read, in any order."""
    readings = {text}
    for _ in range(_LEVELS):
        readings |= {read(each) for each in readings for read in _READERS}
    return readings
