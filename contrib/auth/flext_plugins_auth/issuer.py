"""Asking a token service: whatever goes wrong there is a refusal here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flext_plugins import ConfigError, DeadlineExceeded, PluginError, Refused
from flext_plugins.http import retry_after

from .token import Problem

if TYPE_CHECKING:
    from flext_plugins import Call, Connection

    from .kept import Kept
    from .token import Grant, Question, Token

BUSY = frozenset({429, 503})
"""With these, `Retry-After` says how long a token service wants to be left alone."""


async def fetched(grant: Grant, kept: Kept, connection: Connection) -> Token:
    """A new token.

    Raises:
        Refused: there is none; nothing else goes out, and it is no failure of the target.
        DeadlineExceeded: the call's own time is up.
        ConfigError: a secret cannot be read.
    """
    problem = Problem("was not asked")
    retry_after = None
    for question in grant.questions(kept.refresh):
        found, retry_after = await _asked(grant, question, connection)
        if not isinstance(found, Problem):
            return found
        problem = found
        if not problem.is_stale:
            break
        kept.refresh = None
    raise Refused(f"{grant.place} {problem.said}", retry_after=retry_after)


async def _asked(
    grant: Grant, question: Question, connection: Connection
) -> tuple[Token | Problem, float | None]:
    """The answer to one question, and the seconds after which it may be put again."""
    asked = time.monotonic()
    try:
        response = await connection.request(
            grant.service, "POST", grant.url, headers=question.headers, content=question.content
        )
        status = response.status_code
        try:
            return (
                grant.answer(status, await connection.read(response), question, asked),
                retry_after(response.headers) if status in BUSY else None,
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
        said = f"{grant.place} was refused: {error}"
        raise Refused(said, retry_after=error.retry_after) from error
    except Exception as error:
        if connection.call is not None:
            connection.call.check(grant.place)
        kind = connection.failure(error)
        said = f"{grant.place} failed: {kind.value if kind else type(error).__name__}"
        raise Refused(said) from error


def _is_own(error: DeadlineExceeded, call: Call | None) -> bool:
    """Whether the call's time is up, and not merely what the token service is given."""
    if call is None or call.deadline is None:
        return False
    inherited = error.call is not None and error.call.deadline == call.deadline
    return inherited or time.monotonic() >= call.deadline
