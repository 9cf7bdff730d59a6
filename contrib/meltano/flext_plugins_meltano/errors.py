"""The errors of pipelines, typed by what the caller can do about them.

    FlextError
    └── PipelineError               it was refused: an unknown name, a run that nobody knows
        ├── RunFailed               a run came to its end, and failed: see `status`
        │   └── RunCancelled        somebody ended it
        ├── StillRunning            `wait` has waited long enough; the run goes on
        └── PipelinesUnavailable    nobody answered: try later

If the settings cannot be used, it is a `ConfigError`, as everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flext_plugins import Failure, FlextError

if TYPE_CHECKING:
    from .status import ExecutionStatus


class PipelineError(FlextError):
    """A request cannot be fulfilled.

    Attributes:
        code: the status of the service's answer; `None` if it was found here.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class RunFailed(PipelineError):
    """A run ended without having done what it was to do.

    Attributes:
        status: all that is known of it.
    """

    def __init__(self, message: str, status: ExecutionStatus) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.status), vars(self)


class RunCancelled(RunFailed):
    """A run was ended by somebody, or by the end of its time."""


class StillRunning(PipelineError):
    """The run goes on; ask again.

    Attributes:
        status: all that is known of it.
    """

    def __init__(self, message: str, status: ExecutionStatus) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.status), vars(self)


class PipelinesUnavailable(PipelineError):
    """The service did not answer.

    Attributes:
        failure: the place on the wire, for circuit-breaker and retry.
    """

    failure = Failure.READ


class Unreachable(PipelinesUnavailable):
    """Nothing was sent."""

    failure = Failure.CONNECT


class Late(PipelinesUnavailable):
    """No answer came in time."""

    failure = Failure.TIMEOUT
