"""Runs jobs in a project of Meltano's on this machine, by flext-plugins-meltano."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flext_plugins import FlextError, Host

from .jobs import Blocks, Job, Refusal, Singer
from .process import NotInstalled

if TYPE_CHECKING:
    from flext_plugins_meltano import Execution

NAME = "pipelines"


class Project:
    """Runs jobs by Meltano and dbt, through a host of its own.

    Args:
        folder: the project's.
        settings: further settings of the plugin `meltano`.

    Raises:
        NotInstalled: the plugin is not installed.
        ConfigError: the settings cannot be used.
    """

    plugin = "meltano"
    capabilities = (
        "pipeline_execution",
        "meltano_execution",
        "dbt_operations",
        "singer_taps_targets",
        "state_management",
        "environment_support",
    )

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        try:
            from flext_plugins_meltano import Pipelines  # noqa: PLC0415
        except ImportError:
            raise NotInstalled(
                "flext-plugins-meltano is not installed: the devstack's extra meltano brings it"
            ) from None
        plugins = {"meltano": {**settings, "project": str(folder)}}
        self._host = Host({"services": {NAME: {"plugins": plugins}}})
        self._host.check()
        self._pipelines = self._host.resource(NAME, Pipelines)

    def submit(self, job: Job) -> "Submitted":
        """See `Runner.submit`."""
        try:
            return Submitted(self._execution(job))
        except FlextError as error:
            raise Refusal(str(error)) from error

    def close(self) -> None:
        """End all runs."""
        self._host.close()

    def _execution(self, job: Job) -> "Execution":
        if isinstance(job, Singer):
            return self._pipelines.execute(
                job.tap,
                job.target,
                config=job.config,
                catalog=job.catalog,
                state=job.state,
                transform=job.transform,
            )
        if isinstance(job, Blocks):
            return self._pipelines.meltano(
                *job.blocks, environment=job.environment, full_refresh=job.full_refresh
            )
        return self._pipelines.dbt(
            job.models, project=job.project_path, vars=job.vars, target=job.target
        )


class Submitted:
    """A run of Meltano's or dbt's.

    Attributes:
        id: its id.
    """

    def __init__(self, execution: "Execution") -> None:
        self.id, self._execution = execution.id, execution

    def status(self) -> dict[str, Any]:
        """See `Run.status`."""
        facts = asdict(self._execution.status())
        del facts["answer"]
        return {"execution_id": facts.pop("id"), "status": facts.pop("state"), **facts}

    def cancel(self) -> None:
        """See `Run.cancel`."""
        self._execution.cancel()
