"""FLEXT Service: runs pipelines that are posted to it."""

import asyncio
import hashlib
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import problem
from .api import api
from .auth import FlextAuth
from .copies import TAPS, TARGETS, TRANSFORMS, Copies, Transform
from .jobs import Blocks, Dbt, Job, Refusal, Run, Runner, Singer, problems
from .metrics import Metrics
from .problem import Problem
from .project import Project
from .server import Server

API = "/api/v1"
VERSION = "0.9.0"
ENDS = ("succeeded", "failed", "cancelled")
MOST_UNFINISHED, MOST_FINISHED = 200, 500
"""So many runs may wait and go on; so many that are over can still be asked about."""
MOST_BYTES = 1_048_576
"""A longer body is refused."""
LONGEST_KEY = 255
LONGEST_WAIT = 10
"""Seconds that an answer to a submit waits for the end of a run, if it is asked to."""
POLL = 0.02


class FlextService(Server):
    """A FLEXT Service; with an `authority`, all under /api/ demands a token that it issued.

    Args:
        port: 0 finds a free one.
        authority: issues those tokens.
        project: the folder of a Meltano project that runs the pipelines; without it, JSON lines
            are copied from file to file.
        settings: further settings of the plugin `meltano`, for the project.

    Attributes:
        taps: the files that are copied, by the names of taps; without a project.
        targets: the files that are written, by the names of targets, relative to `folder`.
        transforms: functions from record to record, by name.

    Raises:
        NotInstalled: a project needs flext-plugins-meltano.
        ConfigError: the project or the settings cannot be used.
    """

    def __init__(
        self,
        port: int = 0,
        authority: FlextAuth | None = None,
        project: Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.taps, self.targets = dict(TAPS), dict(TARGETS)
        self.transforms: dict[str, Transform] = dict(TRANSFORMS)
        self._project, self._settings = project, dict(settings or {})
        if project is not None:
            Project(project, self._settings).close()  # so that what is wrong is told now
        self._held = ExitStack()
        self._folder: Path | None = None
        self._runner: Runner | None = None
        self._executions = _Executions()
        self._metrics = Metrics([(Project if project else Copies).plugin])
        runs = f"{API}/pipelines/{{id}}"
        routes = [
            Route("/health", self._health),
            Route(f"{API}/pipelines/execute", self._submits(Singer), methods=["POST"]),
            Route(f"{API}/meltano/execute", self._submits(Blocks), methods=["POST"]),
            Route(f"{API}/transformations/dbt/run", self._submits(Dbt), methods=["POST"]),
            Route(f"{runs}/status", self._status),
            Route(f"{runs}/cancel", self._cancel, methods=["POST"]),
        ]
        bearer = {"WWW-Authenticate": "Bearer"}
        refusal = partial(problem.document, 401, headers=bearer)
        super().__init__(
            "flext-service", api(routes, self._metrics, authority, refusal, problem.on_error), port
        )

    @property
    def folder(self) -> Path:
        """The folder where targets are written; a RuntimeError unless it was started."""
        if self._folder is None:
            raise RuntimeError("flext-service has not been started: it has no folder yet")
        return self._folder

    def up(self) -> None:
        """See `Server.up`. Runs go on while it is down, until `close`."""
        if self._runner is None:
            with ExitStack() as held:
                name = held.enter_context(TemporaryDirectory(prefix="flext-service-"))
                self._folder = Path(name)
                self._runner = self._new_runner(self._folder)
                held.callback(self._runner.close)
                held.callback(self._executions.cancel)
                self._held = held.pop_all()
        super().up()

    def close(self) -> None:
        """Stop, and end all runs; do nothing the second time."""
        try:
            super().close()
        finally:
            self._held.close()
            self._runner = self._folder = None

    def _new_runner(self, folder: Path) -> Runner:
        if self._project is not None:
            return Project(self._project, self._settings)
        return Copies(folder, self.taps, self.targets, self.transforms)

    async def _health(self, _: Request) -> Response:
        assert self._runner is not None  # noqa: S101 - it is up
        return JSONResponse(
            {
                "status": "healthy",
                "service": self.name,
                "version": VERSION,
                "capabilities": list(self._runner.capabilities),
                "unfinished": await run_in_threadpool(self._executions.unfinished),
            }
        )

    def _submits(self, kind: type[Job]) -> Callable[[Request], Awaitable[Response]]:
        async def submit(request: Request) -> Response:
            body = await request.body()
            job = _job(kind, body)
            key = request.headers.get("Idempotency-Key")
            if key is not None and not 0 < len(key) <= LONGEST_KEY:
                raise Problem(
                    HTTPStatus.BAD_REQUEST, f"Idempotency-Key: 1 to {LONGEST_KEY} characters"
                )
            content = hashlib.sha256(request.url.path.encode() + b"\0" + body).digest()
            run = await run_in_threadpool(self._submit, job, key, content)
            status = await _ended(run, _wait(request.headers.get("Prefer", "")))
            return JSONResponse(
                status,
                HTTPStatus.OK if status["status"] in ENDS else HTTPStatus.ACCEPTED,
                {"Location": f"{API}/pipelines/{run.id}/status"},
            )

        return submit

    def _submit(self, job: Job, key: str | None, content: bytes) -> Run:
        runner = self._runner
        assert runner is not None  # noqa: S101 - it is up

        def begin() -> Run:
            run = runner.submit(job)
            self._metrics.executed(runner.plugin)
            return run

        try:
            return self._executions.submit(begin, key, content)
        except Refusal as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None

    async def _status(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._known(request).status))

    async def _cancel(self, request: Request) -> Response:
        run = self._known(request)
        await run_in_threadpool(run.cancel)
        return JSONResponse(await run_in_threadpool(run.status))

    def _known(self, request: Request) -> Run:
        name = request.path_params["id"]
        run = self._executions.runs.get(name)
        if run is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"there is no run {name!r:.80}")
        return run


class _Executions:
    """Runs that were submitted, until there are too many that are over; thread-safe."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self._open: set[str] = set()
        self._by_key: dict[str, tuple[bytes, str]] = {}
        self._lock = threading.Lock()

    def submit(self, begin: Callable[[], Run], key: str | None, content: bytes) -> Run:
        """The run that `begin` begins, or that of the same `key`, whose `content` is the same."""
        with self._lock:
            known = self._by_key.get(key) if key is not None else None
            if known is not None:
                if known[0] != content:
                    raise Problem(
                        HTTPStatus.UNPROCESSABLE_ENTITY,
                        "Idempotency-Key: it was for something else",
                    )
                return self.runs[known[1]]
            self._forget()
            if len(self._open) >= MOST_UNFINISHED:
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"{MOST_UNFINISHED} runs wait or go on already",
                    {"Retry-After": "1"},
                )
            run = begin()
            self.runs[run.id] = run
            self._open.add(run.id)
            if key is not None:
                self._by_key[key] = content, run.id
        return run

    def unfinished(self) -> int:
        """Count those that wait or go on."""
        with self._lock:
            self._forget()
            return len(self._open)

    def cancel(self) -> None:
        """End all that are not over, and forget all."""
        with self._lock:
            for each in self._open:
                self.runs[each].cancel()
            self.runs.clear()
            self._open.clear()
            self._by_key.clear()

    def _forget(self) -> None:
        """Forget the oldest of those that are over."""
        self._open = {each for each in self._open if self.runs[each].status()["status"] not in ENDS}
        over = [each for each in self.runs if each not in self._open]
        if len(over) > MOST_FINISHED:
            for each in over[: len(over) - MOST_FINISHED]:
                del self.runs[each]
            self._by_key = {key: of for key, of in self._by_key.items() if of[1] in self.runs}


def _job(kind: type[Job], body: bytes) -> Job:
    if len(body) > MOST_BYTES:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"over {MOST_BYTES} bytes")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        is_json = all(each["type"] != "json_invalid" for each in error.errors())
        status = HTTPStatus.UNPROCESSABLE_ENTITY if is_json else HTTPStatus.BAD_REQUEST
        raise Problem(status, problems(error)) from None


def _wait(preference: str) -> float:
    """The seconds that RFC 7240's `Prefer: wait=5` asks for."""
    found = re.search(r"\bwait=(\d{1,9})\b", preference)
    return min(int(found[1]), LONGEST_WAIT) if found else 0


async def _ended(run: Run, seconds: float) -> dict[str, Any]:
    """Tell how a run stands when it is over, or after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        status = await run_in_threadpool(run.status)
        if status["status"] in ENDS or time.monotonic() >= end:
            return status
        await asyncio.sleep(POLL)
