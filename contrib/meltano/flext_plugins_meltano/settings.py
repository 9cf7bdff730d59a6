"""The settings in `[services.NAME.plugins.meltano]`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from flext_plugins import Seconds, Secret

from .status import State


def _path(value: str) -> str:
    if not value.startswith("/") or value.startswith("//"):
        raise PydanticCustomError("path", "expected a path that begins with /")
    return value


def _path_of_one(value: str) -> str:
    if "{id}" not in value:
        raise PydanticCustomError("path", "expected a path with {{id}} in it")
    return _path(value)


Folder = Annotated[Path, AfterValidator(Path.resolve)]
UrlPath = Annotated[str, AfterValidator(_path)]
UrlPathOfOne = Annotated[str, AfterValidator(_path_of_one)]


class MeltanoSettings(BaseModel):
    """Settings: pipelines run at the service, or in a project on this machine."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    project: Folder | None = None
    """The folder of a Meltano project on this machine; without it the service runs pipelines."""
    meltano: str = "meltano"
    """The program, which has an environment of its own."""
    dbt_project: Folder | None = None
    """The folder of a dbt project on this machine; by default `transform` in `project`."""
    dbt: str = "dbt"
    """The program, which has an environment of its own."""
    environment: str | None = None
    """The project's environment to run in; by default its own `default_environment`."""
    variables: dict[str, Secret] = Field(default_factory=dict)
    """Variables for the programs, such as `TAP_SHOP_PASSWORD`; nothing else of this process's
    environment but `PATH`, `HOME` and what names the language and the time zone is handed on."""
    kill_after: Seconds = 5.0
    """Seconds that programs have to end by themselves when they are told to."""
    run_timeout: Seconds = 300.0
    """Seconds that `wait` waits for a pipeline."""
    dbt_timeout: Seconds = 600.0
    """Seconds that `wait` waits for dbt."""
    poll: Seconds = 0.25
    """Seconds before `wait` asks the service again; they grow to twenty times that."""
    execute_path: UrlPath = "/api/v1/pipelines/execute"
    """Where a tap and a target are posted."""
    meltano_path: UrlPath = "/api/v1/meltano/execute"
    """Where what `meltano run` runs is posted."""
    dbt_path: UrlPath = "/api/v1/transformations/dbt/run"
    """Where dbt's models are posted."""
    status_path: UrlPathOfOne = "/api/v1/pipelines/{id}/status"
    """Where the status of a run is read."""
    cancel_path: UrlPathOfOne = "/api/v1/pipelines/{id}/cancel"
    """Where the end of a run is posted."""
    id_field: str = "execution_id"
    """The answer's field with the id of a run."""
    state_field: str = "status"
    """The answer's field with its state."""
    states: dict[str, State] = Field(default_factory=dict)
    """States by further words of the service's, such as `ready = "succeeded"`."""

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        for name in ("project", "dbt_project"):
            folder = getattr(self, name)
            if folder is not None and not folder.is_dir():
                raise PydanticCustomError("folder", f"{name}: there is no folder {folder}")
        return self

    @property
    def is_local(self) -> bool:
        """Whether pipelines run on this machine."""
        return self.project is not None or self.dbt_project is not None

    @property
    def words(self) -> Mapping[str, State]:
        """The states that a service's words stand for."""
        return {**_WORDS, **{key.lower(): value for key, value in self.states.items()}}


_WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("queued", "pending", "accepted", "submitted", "scheduled"), "queued"),
    **dict.fromkeys(("running", "started", "in_progress", "executing"), "running"),
    **dict.fromkeys(("succeeded", "success", "completed", "done", "ok", "finished"), "succeeded"),
    **dict.fromkeys(("failed", "failure", "error", "errored", "timeout", "timed_out"), "failed"),
    **dict.fromkeys(("cancelled", "canceled", "aborted", "stopped", "killed"), "cancelled"),
}
