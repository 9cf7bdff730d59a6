"""A run, as far as it is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDS: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class ExecutionStatus:
    """A run, as it stood when somebody looked."""

    id: str
    state: State
    records: Mapping[str, int] = field(default_factory=dict)
    """The records that were moved, by stream."""
    error: str | None = None
    """Why it failed, in a line."""
    failures: tuple[str, ...] = ()
    """The names of dbt's models and tests that failed."""
    complaints: tuple[str, ...] = ()
    """Errors that a tap or target logged, the first hundred; the run may have ended well."""
    exit_codes: Mapping[str, int] = field(default_factory=dict)
    """Exit codes, by what ended with them: `extractors`, `loaders`, `meltano`, `dbt`."""
    duration: float | None = field(default=None, compare=False)
    """Seconds."""
    answer: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The whole of what the service said, if one did."""

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDS

    @property
    def moved(self) -> int:
        """The records of all streams."""
        return sum(self.records.values())
