"""Jobs that are posted to FLEXT Service, and the interface of those who do them."""

from typing import Any, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Refusal(Exception):
    """A job cannot be done; the message says why."""


class _Posted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Singer(_Posted):
    """A tap into a target, and a transformation after it."""

    tap: str
    target: str
    config: dict[str, Any] = Field(default_factory=dict)
    catalog: dict[str, Any] | None = None
    state: dict[str, Any] | None = None
    transform: str | None = None


class Blocks(_Posted):
    """Plugins, commands and jobs for `meltano run`, one after the other."""

    name: str = ""
    """For people."""
    blocks: list[str] = Field(min_length=1)
    environment: str | None = None
    full_refresh: bool = False


class Dbt(_Posted):
    """Models for `dbt build`; all of them if none is named."""

    project_path: str | None = None
    models: list[str] = Field(default_factory=list)
    vars: dict[str, Any] = Field(default_factory=dict)
    target: str = "dev"


Job: TypeAlias = Singer | Blocks | Dbt


class Run(Protocol):
    """A job that was submitted."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    def status(self) -> dict[str, Any]:
        """Tell how it stands, as the answer has it."""
        ...

    def cancel(self) -> None:
        """Have it end."""
        ...


class Runner(Protocol):
    """Does jobs; thread-safe."""

    @property
    def plugin(self) -> str:
        """Its name in the metrics."""
        ...

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Words for what it can do."""
        ...

    def submit(self, job: Job) -> Run:
        """Have a job done.

        Raises:
            Refusal: it cannot be.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


def problems(error: ValidationError) -> str:
    """Say what is wrong with what was posted, without its values, which may be secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"]))) for each in found
    )
