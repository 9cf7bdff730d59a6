"""Meltano and dbt pipelines: at a FLEXT Service, or in a project on this machine."""

from .errors import PipelineError, PipelinesUnavailable, RunCancelled, RunFailed, StillRunning
from .pipelines import AsyncExecution, AsyncPipelines
from .plugin import Meltano
from .settings import MeltanoSettings
from .status import ExecutionStatus
from .sync import Execution, Pipelines

__all__ = [
    "AsyncExecution",
    "AsyncPipelines",
    "Execution",
    "ExecutionStatus",
    "Meltano",
    "MeltanoSettings",
    "PipelineError",
    "Pipelines",
    "PipelinesUnavailable",
    "RunCancelled",
    "RunFailed",
    "StillRunning",
]

for _name in __all__:
    globals()[_name].__module__ = __name__  # where it is imported from, as tracebacks say
