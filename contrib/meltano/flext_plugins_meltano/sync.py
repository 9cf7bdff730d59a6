"""Pipelines for threads, which drive the coroutines of the async ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from flext_plugins import Connection

    from .pipelines import AsyncExecution, AsyncPipelines, OnProgress
    from .status import ExecutionStatus

T = TypeVar("T")


class Execution:
    """Does for threads what `AsyncExecution` does.

    Attributes:
        id: its id, by which `execution` finds it again.
    """

    def __init__(self, execution: AsyncExecution, connection: Connection) -> None:
        self.id = execution.id
        self._execution, self._connection = execution, connection

    def __repr__(self) -> str:
        return repr(self._execution).replace("AsyncExecution", "Execution", 1)

    def status(self) -> ExecutionStatus:
        """See `AsyncExecution.status`."""
        return self._drive(self._execution.status())

    def wait(
        self, timeout: float | None = None, on_progress: OnProgress | None = None
    ) -> ExecutionStatus:
        """See `AsyncExecution.wait`."""
        return self._drive(self._execution.wait(timeout, on_progress))

    def cancel(self) -> None:
        """See `AsyncExecution.cancel`."""
        self._drive(self._execution.cancel())

    def _drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._connection.drive(coroutine)


class Pipelines:
    """Does for threads what `AsyncPipelines` does; any number of them may share it."""

    def __init__(self, pipelines: AsyncPipelines, connection: Connection) -> None:
        self._pipelines, self._connection = pipelines, connection

    @property
    def is_local(self) -> bool:
        """See `AsyncPipelines.is_local`."""
        return self._pipelines.is_local

    def execute(
        self,
        tap: str,
        target: str,
        *,
        config: Mapping[str, Any] | None = None,
        catalog: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
        transform: str | None = None,
        key: str | None = None,
    ) -> Execution:
        """See `AsyncPipelines.execute`."""
        submitting = self._pipelines.execute(
            tap,
            target,
            config=config,
            catalog=catalog,
            state=state,
            transform=transform,
            key=key,
        )
        del config  # often with secrets: nobody who renders locals shall see them here
        return self._submitted(submitting)

    def meltano(
        self,
        *blocks: str,
        environment: str | None = None,
        full_refresh: bool = False,
        key: str | None = None,
    ) -> Execution:
        """See `AsyncPipelines.meltano`."""
        return self._submitted(
            self._pipelines.meltano(
                *blocks, environment=environment, full_refresh=full_refresh, key=key
            )
        )

    def dbt(
        self,
        models: str | Sequence[str] = (),
        *,
        project: str | None = None,
        vars: Mapping[str, Any] | None = None,  # noqa: A002 - as dbt calls it
        target: str = "dev",
        key: str | None = None,
    ) -> Execution:
        """See `AsyncPipelines.dbt`."""
        return self._submitted(
            self._pipelines.dbt(models, project=project, vars=vars, target=target, key=key)
        )

    def execution(self, run: str) -> Execution:
        """See `AsyncPipelines.execution`."""
        return Execution(self._pipelines.execution(run), self._connection)

    def _submitted(self, submitting: Coroutine[Any, Any, AsyncExecution]) -> Execution:
        return Execution(self._connection.drive(submitting), self._connection)
