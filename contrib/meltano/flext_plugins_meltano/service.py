"""Runs jobs at a FLEXT Service, over the service's own connection."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from flext_plugins import Failure, FlextError

from .errors import Late, PipelineError, PipelinesUnavailable, Unreachable
from .job import Blocks, Singer
from .status import ExecutionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flext_plugins import Connection, Response

    from .job import Job
    from .settings import MeltanoSettings

KINDS = {Failure.CONNECT: Unreachable, Failure.TIMEOUT: Late}
_TEXTS = ("detail", "error", "message", "title")
LONGEST_REASON = 500
DOWN = frozenset({502, 503, 504})
GROWTH, MOST = 1.5, 20
"""How the wait between two looks grows, and to how many times the first."""


class ServiceRunner:
    """Submits jobs to the service, and asks it how they stand."""

    def __init__(self, settings: MeltanoSettings, connection: Connection) -> None:
        self._settings, self._connection = settings, connection

    async def submit(self, job: Job, key: str | None) -> str:
        """See `Runner.submit`."""
        path, body, marks = self._request(job)
        headers = {**marks, "Idempotency-Key": key or str(uuid4())}
        answer = await self._ask("POST", path, headers, body)
        run = answer.get(self._settings.id_field)
        if not isinstance(run, (str, int)) or run == "":
            field = self._settings.id_field
            raise self._error(f"the service's answer has no {field!r}")
        return str(run)

    async def status(self, run: str) -> ExecutionStatus:
        """See `Runner.status`."""
        answer = await self._ask("GET", self._settings.status_path.format(id=quote(run, "")))
        word = str(answer.get(self._settings.state_field, "")).lower()
        state = self._settings.words.get(word)
        if state is None:
            field = self._settings.state_field
            problem = f"the service's {field} is {word!r:.60}, which states does not explain"
            raise self._error(problem)
        return ExecutionStatus(
            run,
            state,
            _counts(answer.get("records")),
            _text(answer.get("error")),
            _texts(answer.get("failures")),
            _texts(answer.get("complaints")),
            _table(answer.get("exit_codes")),
            _number(answer.get("duration")),
            answer,
        )

    async def changed(self, run: str, seconds: float, looks: int) -> None:
        """See `Runner.changed`: a service tells nothing by itself, so it is a wait that grows."""
        del run
        wait = self._settings.poll * min(GROWTH ** min(looks, MOST), MOST)
        await self._connection.sleep(min(wait, seconds))

    async def cancel(self, run: str) -> None:
        """See `Runner.cancel`."""
        path = self._settings.cancel_path.format(id=quote(run, ""))
        await self._ask("POST", path, {"Idempotency-Key": str(uuid4())})

    def _request(self, job: Job) -> tuple[str, dict[str, Any], dict[str, str]]:
        settings = self._settings
        body: dict[str, Any]
        if isinstance(job, Singer):
            body = {
                "tap": job.tap,
                "target": job.target,
                "config": {**job.config},
                "catalog": job.catalog,
                "state": job.state,
            }
            if job.transform is not None:
                body["transform"] = job.transform
            return settings.execute_path, body, {"X-Pipeline-Type": "singer"}
        if isinstance(job, Blocks):
            body = {
                "name": job.name,
                "blocks": [*job.blocks],
                "environment": job.environment or settings.environment,
                "full_refresh": job.full_refresh,
            }
            return settings.meltano_path, body, {"X-Pipeline-Type": "singer"}
        body = {
            "project_path": job.project,
            "models": [*job.models],
            "vars": {**job.vars},
            "target": job.target,
        }
        return settings.dbt_path, body, {"X-Transformation-Engine": "dbt"}

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        connection = self._connection
        try:
            response = await connection.request(
                connection.service.name, method, path, headers=headers, json=body
            )
            content = await connection.read(response)
        except FlextError:
            raise
        except Exception as error:
            failure = connection.failure(error)
            if failure is None or failure is Failure.CALLER:
                raise
            kind = KINDS.get(failure, PipelinesUnavailable)
            raise connection.add_context(kind(f"{method} {path}: {error}")) from error
        return self._answer(response, content, f"{method} {path}")

    def _answer(self, response: Response, content: bytes, what: str) -> dict[str, Any]:
        answer: Any = None
        with suppress(ValueError, RecursionError):
            answer = json.loads(content) if content else {}
        if response.status_code >= 400:
            known = answer if isinstance(answer, dict) else {}
            reason = next((known[each] for each in _TEXTS if isinstance(known.get(each), str)), "")
            problem = f"{what}: {response.status_code} {reason[:LONGEST_REASON]}".rstrip()
            kind = PipelinesUnavailable if response.status_code in DOWN else PipelineError
            raise self._connection.add_context(kind(problem, response.status_code))
        if not isinstance(answer, dict):
            raise self._error(f"{what}: the answer is no JSON object", response.status_code)
        return answer

    def _error(self, problem: str, code: int | None = None) -> PipelineError:
        return self._connection.add_context(PipelineError(problem, code))


def _table(value: Any) -> dict[str, int]:
    """The whole numbers in a table."""
    every = value if isinstance(value, dict) else {}
    return {str(name): number for name, number in every.items() if isinstance(number, int)}


def _counts(value: Any) -> dict[str, int]:
    """Records by stream, or of all streams together."""
    return {"records": value} if type(value) is int else _table(value)


def _text(value: Any) -> str | None:
    return value[:LONGEST_REASON] if isinstance(value, str) and value else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
