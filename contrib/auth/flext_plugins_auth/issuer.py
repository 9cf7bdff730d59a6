"""Fetches tokens; if the token service fails, the request that needed one is refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flext_plugins import AnswerTooLong, ConfigError, DeadlineExceeded, PluginError, Refused
from flext_plugins.http import retry_after

from .answer import read_answer
from .token import Problem

if TYPE_CHECKING:
    from flext_plugins import Call, Connection

    from .cache import TokenCache
    from .token import Grant, Question, Token

BUSY = frozenset({429, 503})
"""With these, `Retry-After` says how long a token service wants to be left alone."""


async def fetch_token(grant: Grant, cache: TokenCache, connection: Connection) -> Token:
    """Fetch a new token.

    Raises:
        Refused: the token service gave none; the service that is called has not failed.
        DeadlineExceeded: the call's own time is up.
        ConfigError: a secret cannot be read.
    """
    problem = Problem("was not asked")
    retry_after = None
    for question in grant.questions(cache.refresh):
        answer, retry_after = await _post(grant, question, connection)
        if not isinstance(answer, Problem):
            return answer
        problem = answer
        if problem.is_stale:
            cache.refresh = None
        if problem.is_transient:
            break
    raise Refused(f"{grant.place} {problem.reason}", retry_after=retry_after)


async def _post(
    grant: Grant, question: Question, connection: Connection
) -> tuple[Token | Problem, float | None]:
    """Post one question; its answer, and the seconds after which it may be asked again."""
    sent_at = time.monotonic()
    try:
        response = await connection.request(
            grant.service, "POST", grant.url, headers=question.headers, content=question.content
        )
        status = response.status_code
        try:
            headers, read = response.headers, connection.read
            return (
                read_answer(question, status, headers, await read(response), sent_at),
                retry_after(headers) if status in BUSY else None,
            )
        finally:
            await connection.close(response)  # a body that breaks leaves it open
    except (ConfigError, PluginError):
        raise
    except DeadlineExceeded as error:
        if _is_own(error, connection.call):
            raise
        raise Refused(f"{grant.place} took longer than that service may") from error
    except Refused as error:
        message = f"{grant.place} was refused: {error}"
        raise Refused(message, retry_after=error.retry_after) from error
    except AnswerTooLong as error:
        raise Refused(f"{grant.place} failed: {error.args[0]}") from error
    except Exception as error:
        if connection.call is not None:
            connection.call.check(grant.place)
        kind = connection.failure(error)
        message = f"{grant.place} failed: {kind.value if kind else type(error).__name__}"
        raise Refused(message) from error


def _is_own(error: DeadlineExceeded, call: Call | None) -> bool:
    """Whether the call's own time is up, and not only that of the token service."""
    if call is None or call.deadline is None:
        return False
    inherited = error.call is not None and error.call.deadline == call.deadline
    return inherited or time.monotonic() >= call.deadline
