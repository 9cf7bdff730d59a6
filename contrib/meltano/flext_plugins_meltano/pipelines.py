"""Pipelines for event loops; those for threads drive them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from flext_plugins import events
from flext_plugins.http import is_header_value

from .errors import RunCancelled, RunFailed, StillRunning
from .job import Blocks, Dbt, Job, Singer, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from flext_plugins import Connection

    from .settings import MeltanoSettings
    from .status import ExecutionStatus

    OnProgress: TypeAlias = Callable[[ExecutionStatus], object]

LONGEST_KEY = 255


class Runner(Protocol):
    """Runs jobs: the service, or this machine."""

    async def submit(self, job: Job, key: str | None) -> str:
        """Have `job` run; the id of the run. The same `key` is the same run."""
        ...

    async def status(self, run: str) -> ExecutionStatus:
        """Tell how a run stands."""
        ...

    async def changed(self, run: str, seconds: float, looks: int) -> None:
        """Wait until it may be worth looking again after so many looks, `seconds` at most."""
        ...

    async def cancel(self, run: str) -> None:
        """End a run."""
        ...


class AsyncExecution:
    """A run that was submitted.

    Attributes:
        id: its id, by which `execution` finds it again.
    """

    def __init__(
        self, run: str, job: str, timeout: float, runner: Runner, connection: Connection
    ) -> None:
        self.id, self._job, self._timeout = run, job, timeout
        self._runner, self._connection = runner, connection

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} of {self._job}>"

    async def status(self) -> ExecutionStatus:
        """Tell how it stands now.

        Raises:
            PipelineError: nobody knows it.
            PipelinesUnavailable: the service did not answer.
        """
        return await self._runner.status(self.id)

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - after it the run goes on
        on_progress: OnProgress | None = None,
    ) -> ExecutionStatus:
        """Wait until it has ended well, and tell how; it is looked at again and again until then.

        Args:
            timeout: seconds to wait at most, in place of the settings'; the run goes on then.
            on_progress: called each time that its status is another one.

        Raises:
            RunFailed: it failed, or was cancelled: `RunCancelled`.
            StillRunning: it takes longer than `timeout`.
            DeadlineExceeded: the call's deadline came first.
        """
        call = self._connection.begin_call()
        waits = self._timeout if timeout is None else timeout
        end = time.monotonic() + waits
        last: ExecutionStatus | None = None
        looks = 0
        while True:
            status = await self._runner.status(self.id)
            if status != last:
                self._tell(status, on_progress)
                last = status
            if status.is_over:
                return self._judged(status)
            left = end - time.monotonic()
            if left <= 0:
                problem = f"{self._job} still runs after {waits:g} s"
                raise self._connection.add_context(StillRunning(problem, status))
            until_deadline = call.check(f"the end of {self._job}")
            left = left if until_deadline is None else min(left, until_deadline)
            await self._runner.changed(self.id, left, looks)
            looks += 1

    async def cancel(self) -> None:
        """End it, and all that it has started; one that has ended stays as it is.

        On this machine its programs have `kill_after` seconds; a second `cancel` leaves them none.
        """
        await self._runner.cancel(self.id)

    def _tell(self, status: ExecutionStatus, on_progress: OnProgress | None) -> None:
        if on_progress is not None:
            on_progress(status)
        if self._connection.has_receivers and status.records:
            self._connection.emit(events.Progress("pipeline", status.moved, None, "records"))

    def _judged(self, status: ExecutionStatus) -> ExecutionStatus:
        if status.state == "succeeded":
            return status
        kind = RunCancelled if status.state == "cancelled" else RunFailed
        reason = status.error or ", ".join(status.failures) or status.state
        raise self._connection.add_context(kind(f"{self._job}: {reason}", status))


class AsyncPipelines:
    """Runs pipelines: at a FLEXT Service, or in a project on this machine.

    Each question is an operation or a request, which passes the service's plugins.
    """

    def __init__(self, runner: Runner, settings: MeltanoSettings, connection: Connection) -> None:
        self._runner, self._settings, self._connection = runner, settings, connection

    @property
    def is_local(self) -> bool:
        """Whether runs are programs on this machine, which end with the host."""
        return self._settings.is_local

    async def execute(
        self,
        tap: str,
        target: str,
        *,
        config: Mapping[str, Any] | None = None,
        catalog: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
        transform: str | None = None,
        key: str | None = None,
    ) -> AsyncExecution:
        """Submit a tap into a target; the run, which goes on by itself.

        Args:
            tap: the name of a tap that is configured there.
            target: the name of a target.
            config: settings of the tap, in place of those that it has there.
            catalog: what to take of the source, in Singer's form.
            state: where to go on, in Singer's form; by default where the last run ended.
            transform: the name of a transformation to run after it.
            key: two submits with the same key are one run; by default each has one of its own, so
                that a repeated request starts no second run.

        Raises:
            ValueError: `key` is not 1 to 255 characters that a header can carry.
            PipelineError: it was refused: a name is unknown.
            PipelinesUnavailable: the service did not answer.
        """
        job = Singer(tap, target, config or {}, catalog, state, transform)
        return await self._submit(job, key, self._settings.run_timeout)

    async def meltano(
        self,
        *blocks: str,
        environment: str | None = None,
        full_refresh: bool = False,
        key: str | None = None,
    ) -> AsyncExecution:
        """Submit what `meltano run` takes: names of taps and targets, `plugin:command`, jobs."""
        job = Blocks(blocks, environment, full_refresh)
        return await self._submit(job, key, self._settings.run_timeout)

    async def dbt(
        self,
        models: str | Sequence[str] = (),
        *,
        project: str | None = None,
        vars: Mapping[str, Any] | None = None,  # noqa: A002 - as dbt calls it
        target: str = "dev",
        key: str | None = None,
    ) -> AsyncExecution:
        """Submit dbt's models, to be built and tested; all of them if none is named."""
        job = Dbt(texts(models), project, vars or {}, target)
        return await self._submit(job, key, self._settings.dbt_timeout)

    def execution(self, run: str) -> AsyncExecution:
        """A run that was submitted before, by its id."""
        return AsyncExecution(run, run, self._settings.run_timeout, self._runner, self._connection)

    async def _submit(self, job: Job, key: str | None, waits: float) -> AsyncExecution:
        if key and not (len(key) <= LONGEST_KEY and is_header_value(key)):
            raise ValueError(
                f"key takes 1 to {LONGEST_KEY} characters of visible ASCII, and spaces in between"
            )
        run = await self._runner.submit(job, key)
        return AsyncExecution(run, job.name, waits, self._runner, self._connection)
