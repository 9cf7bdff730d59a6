"""Runs jobs on this machine: Meltano and dbt, as programs of environments of their own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Mapping
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flext_plugins import ConfigError, DeadlineExceeded, Operation
from flext_plugins.redaction import is_secret

from .errors import PipelineError
from .job import Blocks, Dbt, Singer
from .log import Log, secrets_in
from .project import NAME, Project
from .run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flext_plugins import Connection

    from .job import Job
    from .settings import MeltanoSettings
    from .status import ExecutionStatus

SYSTEM = "meltano"
HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE")
QUIET = {
    "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
    "MELTANO_CLI_LOG_LEVEL": "info",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "NO_COLOR": "1",
    "PYTHONUNBUFFERED": "1",
}
KEPT = 1000
"""So many runs that are over can still be asked about."""
GRACE = 1.0
"""Seconds beyond `kill_after` that closing waits."""
LOOKS = 0.1
"""Seconds between two looks at a run."""
LOCK = "flext.lock"
MODEL = re.compile(r"\+?([A-Za-z_][A-Za-z0-9_]*)\+?")


class LocalRunner:
    """Starts programs, and watches them; one run of a project after the other."""

    def __init__(self, settings: MeltanoSettings, connection: Connection) -> None:
        self._settings, self._connection = settings, connection
        self._runs: dict[str, Run] = {}
        self._by_key: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()

    async def submit(self, job: Job, key: str | None) -> str:
        """See `Runner.submit`.

        Raises:
            PipelineError: the project has no such thing.
        """
        try:
            run = await self._connection.run(self._prepared, job)
        except PipelineError as error:
            raise self._connection.add_context(error) from None
        with self._lock:
            known = self._runs.get(self._by_key.get(key, "")) if key else None
            if known is not None:
                if known.job != job:
                    problem = f"the key {key!r:.80} is another run's: {known.job.name}"
                    raise self._connection.add_context(PipelineError(problem))
                return known.id
            self._forget()
            self._runs[run.id] = run
            if key:
                self._by_key[key] = run.id
        self._start(run)
        return run.id

    async def status(self, run: str) -> ExecutionStatus:
        """See `Runner.status`."""
        return self._known(run).status

    async def changed(self, run: str, seconds: float, looks: int) -> None:
        """See `Runner.changed`."""
        del looks  # at a run of one's own as often as one likes
        if not self._known(run).over.is_set():
            await self._connection.sleep(min(LOOKS, seconds))

    async def cancel(self, run: str) -> None:
        """See `Runner.cancel`."""
        known = self._known(run)
        known.stop(0.0 if known.is_stopped else self._settings.kill_after)

    def close(self) -> None:
        """End all runs, and wait until they have ended."""
        self._stop()
        end = time.monotonic() + self._settings.kill_after + GRACE
        for thread in list(self._threads):
            thread.join(max(end - time.monotonic(), 0.0))

    async def aclose(self) -> None:
        """Close like `close`, without stopping the event loop."""
        self._stop()
        if tasks := list(self._tasks):
            await asyncio.wait(tasks, timeout=self._settings.kill_after + GRACE)

    def _stop(self) -> None:
        with self._lock:
            runs = [each for each in self._runs.values() if not each.over.is_set()]
        for each in runs:
            each.stop(self._settings.kill_after)

    def _known(self, run: str) -> Run:
        known = self._runs.get(run)
        if known is None:
            raise self._connection.add_context(PipelineError(f"there is no run {run!r:.80}"))
        return known

    def _forget(self) -> None:
        """Forget runs that ended long ago."""
        over = [each for each, run in self._runs.items() if run.over.is_set()]
        for each in over[: max(len(over) - KEPT, 0)]:
            del self._runs[each]
        self._by_key = {key: run for key, run in self._by_key.items() if run in self._runs}

    def _start(self, run: Run) -> None:
        if self._connection.asynchronous:
            task = asyncio.create_task(self._perform(run))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        arguments = (copy_context().run, run)
        thread = threading.Thread(
            target=self._drive, args=arguments, name=f"meltano {run.id}", daemon=True
        )
        self._threads.add(thread)
        thread.start()

    def _drive(self, inside: Callable[..., None], run: Run) -> None:
        try:
            inside(self._connection.drive, self._perform(run))
        finally:
            self._threads.discard(threading.current_thread())

    async def _perform(self, run: Run) -> None:
        """Do a run as an operation; what becomes of it is in its status."""
        operation = Operation(SYSTEM, run.job.kind, run.folder.name)
        try:
            await self._connection.perform(operation, self._in_turn, run, call=run.call)
        except BaseException as error:
            if isinstance(error, DeadlineExceeded) or not isinstance(error, Exception):
                run.stop(self._settings.kill_after)
            run.conclude(error)
            if not isinstance(error, Exception):
                raise
        else:
            run.conclude(None)

    async def _in_turn(self, run: Run) -> ExecutionStatus:
        kill_after = self._settings.kill_after
        async with self._connection.permit(f"runs of {run.folder}", 1, always=True):
            try:
                return await self._connection.run(run.execute, kill_after)
            except asyncio.CancelledError:
                run.stop(kill_after)
                raise

    def _prepared(self, job: Job) -> Run:
        if isinstance(job, Singer):
            return self._singer(job)
        if isinstance(job, Blocks):
            blocks = self._project().check_blocks(job.blocks)
            return self._meltano(job, blocks, job.environment, full_refresh=job.full_refresh)
        return self._dbt(job)

    def _project(self) -> Project:
        if self._settings.project is None:
            raise PipelineError("the settings name no project of Meltano's")
        return Project(self._settings.project)

    def _singer(self, job: Singer) -> Run:
        project = self._project()
        tap = project.check(job.tap, ("extractors",), "tap")
        target = project.check(job.target, ("loaders",), "target")
        blocks = [tap, target]
        if job.transform is not None:
            blocks.append(project.check_block(job.transform))
        run = self._meltano(job, blocks, None)
        prefix = tap.upper().replace("-", "_").replace(".", "_")
        for name, value in job.config.items():
            setting = project.check_setting(tap, name)
            run.environment[f"{prefix}_{setting}"] = (
                value if isinstance(value, str) else json.dumps(value)
            )
        run.log.hide([each for each in job.config.values() if isinstance(each, str)])
        run.log.hide([*secrets_in(job.config)])
        for extra, content in (("CATALOG", job.catalog), ("STATE", job.state)):
            if content is not None:
                run.files[f"{prefix}__{extra}"] = content
        return run

    def _meltano(
        self,
        job: Job,
        blocks: list[str],
        environment: str | None,
        *,
        full_refresh: bool = False,
    ) -> Run:
        project = self._project()
        words = [self._settings.meltano, "--log-format", "json"]
        chosen = environment or self._settings.environment
        if chosen is not None:
            words += ["--environment", project.check_environment(chosen)]
        words.append("run")
        options = ["--full-refresh"] if full_refresh else []
        lock = project.folder / ".meltano" / LOCK
        run = self._run(job, [*words, *options, *blocks], project.folder, lock)
        run.options_at = len(words)
        run.project = project
        return run

    def _dbt(self, job: Dbt) -> Run:
        folder = self._settings.dbt_project
        if folder is None and self._settings.project is not None:
            folder = self._settings.project / "transform"
        if folder is None or not (folder / "dbt_project.yml").is_file():
            raise PipelineError("the settings name no project of dbt's")
        if job.project is not None and Path(job.project).name != folder.name:
            raise PipelineError(f"there is no dbt project {job.project!r:.80}; it is {folder.name}")
        if not NAME.fullmatch(job.target):
            raise PipelineError(f"{job.target!r:.80} is no name of a target")
        words = [self._settings.dbt, "--log-format", "json", "build", "--project-dir", str(folder)]
        if (folder / "profiles.yml").is_file():
            words += ["--profiles-dir", str(folder)]
        words += ["--target", job.target]
        if job.models:
            words += ["--select", *(_model(each, folder) for each in job.models)]
        if job.vars:
            words += ["--vars", json.dumps(_public(job.vars))]
        return self._run(job, words, folder, folder / "target" / LOCK)

    def _run(self, job: Job, words: list[str], folder: Path, lock: Path) -> Run:
        environment = {name: os.environ[name] for name in HANDED_ON if name in os.environ} | QUIET
        if shutil.which(words[0], path=environment.get("PATH")) is None:
            setting = "dbt" if isinstance(job, Dbt) else "meltano"
            raise ConfigError(f"there is no program {words[0]!r}; the setting {setting} names it")
        secrets = {
            name: secret.get_secret_value() for name, secret in self._settings.variables.items()
        }
        call = self._connection.begin_call()
        return Run(job, words, folder, environment | secrets, lock, Log(secrets.values()), call)


def _model(name: object, folder: Path) -> str:
    """`name`, which is a model, seed or snapshot of the project, with a `+` at most."""
    found = MODEL.fullmatch(name) if isinstance(name, str) else None
    known = {
        file.stem
        for kind in ("*.sql", "*.py", "*.csv")
        for file in folder.rglob(kind)
        if not {"target", "dbt_packages", ".venv"} & {*file.relative_to(folder).parts}
    }
    if found is None or found[1] not in known:
        raise PipelineError(f"the dbt project has no model {name!r:.80}")
    return found[0]


def _public(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """`variables`, which everybody on this machine can see."""
    for name in variables:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise PipelineError(f"{name!r:.80} is no name of a variable")
    for name in _names_in(variables):
        if is_secret(name):
            raise PipelineError(
                f"vars: {name!r:.80} looks like a secret, and dbt is told these where everybody on "
                "the machine can read them: use the setting variables, and env_var in the project"
            )
    return variables


def _names_in(value: object) -> Iterator[str]:
    """Yield the names in a table, and in those inside it."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            yield from _names_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _names_in(inner)
