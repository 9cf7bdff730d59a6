"""The settings in `[services.NAME.plugins.circuit-breaker]`."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from flext_plugins import Seconds

_WINDOW = re.compile(r"(\d{1,9})|(\d{1,9}(?:\.\d{1,6})?)\s*s", re.ASCII)


def _window(value: object) -> int | str:
    match = _WINDOW.fullmatch(str(value))
    if match is None or not float(match[1] or match[2]):
        expected = "expected a number of calls, such as 100, or of seconds, such as '60s'"
        raise PydanticCustomError("window", expected)
    return int(match[1]) if match[1] else f"{match[2]}s"


Rate: TypeAlias = Annotated[float, Field(gt=0, le=1)]
Count: TypeAlias = Annotated[int, Field(gt=0, le=1_000_000_000)]
Status: TypeAlias = Annotated[int, Field(ge=400, le=599)] | Literal["4xx", "5xx"]
Kind: TypeAlias = Literal["connect", "timeout", "read", "write", "protocol"]


class CircuitBreakerSettings(BaseModel):
    """When the circuit opens, and how it closes again."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    failure_threshold: Count | None = 5
    """Consecutive failures that open the circuit; off by default if `failure_rate` is set."""
    failure_rate: Rate | None = None
    """The share of failures among the calls in `window` that opens the circuit."""
    slow_rate: Rate | None = None
    """The share of slow calls among those in `window` that opens the circuit."""
    slow_call: Seconds | None = None
    """Seconds until the headers come, beyond which a call is slow; goes with `slow_rate`."""
    window: Annotated[Count | str, BeforeValidator(_window)] = 100
    """The calls that rates look at: the latest `100`, or those of the last `"60s"`."""
    minimum_calls: Count = 20
    """Calls in the window before rates are judged; by default no more than it holds."""
    failure_statuses: tuple[Status, ...] = ("5xx",)
    """Answers that are failures: `"4xx"`, `"5xx"` or single statuses. Others from 400 on do not
    count, those below are successes."""
    failure_kinds: tuple[Kind, ...] = ("connect", "timeout", "read", "write", "protocol")
    """Errors on the wire that are failures. All others do not count."""
    recovery_timeout: Seconds = 60.0
    """Seconds that it stays open before a probe; after each failed probe longer."""
    max_recovery_timeout: Seconds = 300.0
    """Bound of those seconds, `Retry-After` included; by default no less than the first."""
    half_open_calls: Count = 1
    """Probes at a time, and the number of successful ones that close the circuit."""
    forced_open: bool = False
    """Refuse everything until `reset()`."""
    disabled: bool = False
    """Count calls, and refuse none."""
    shared: Path | None = None
    """A folder in which the processes of this machine tell each other, and those that start later,
    what is done by hand to the circuits; by default it is done in one process only."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        judged = self.failure_rate is not None or self.slow_rate is not None
        holds = self.window if isinstance(self.window, int) else self.minimum_calls
        if self.failure_rate is not None:
            self._unless_given("failure_threshold", None)
        self._unless_given("minimum_calls", min(self.minimum_calls, holds))
        longest = max(self.max_recovery_timeout, self.recovery_timeout)
        self._unless_given("max_recovery_timeout", longest)
        wrong = {
            "slow_rate and slow_call go together": (self.slow_rate is None)
            is not (self.slow_call is None),
            "window and minimum_calls are of no use without failure_rate or slow_rate": not judged
            and bool(self.model_fields_set & {"window", "minimum_calls"}),
            "minimum_calls is more than window holds": self.minimum_calls > holds,
            "max_recovery_timeout is less than recovery_timeout": self.max_recovery_timeout
            < self.recovery_timeout,
            "failure_statuses and failure_kinds are empty, so that nothing opens it": not (
                self.failure_statuses or self.failure_kinds or self.slow_rate
            ),
            "forced_open and disabled contradict each other": self.forced_open and self.disabled,
        }
        if problems := [what for what, is_so in wrong.items() if is_so]:
            raise PydanticCustomError("contradiction", "; ".join(problems))
        return self

    def _unless_given(self, name: str, value: float | None) -> None:
        if name not in self.model_fields_set:
            object.__setattr__(self, name, value)  # it is frozen for everybody else
