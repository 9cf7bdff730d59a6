"""Oracle databases beside a service, under the same plugins as its requests."""

from .database import AsyncOracleDatabase
from .errors import (
    ConstraintViolated,
    DatabaseError,
    DatabaseUnavailable,
    OutcomeUnknown,
    RowRefused,
)
from .plugin import Oracle
from .pool import Usage
from .report import BadRow, DatabaseHealth, LoadReport
from .settings import DatabaseSettings, OracleSettings
from .sync import OracleDatabase, Transaction
from .transaction import AsyncTransaction

__all__ = [
    "AsyncOracleDatabase",
    "AsyncTransaction",
    "BadRow",
    "ConstraintViolated",
    "DatabaseError",
    "DatabaseHealth",
    "DatabaseSettings",
    "DatabaseUnavailable",
    "LoadReport",
    "Oracle",
    "OracleDatabase",
    "OracleSettings",
    "OutcomeUnknown",
    "RowRefused",
    "Transaction",
    "Usage",
]

for _name in __all__:
    globals()[_name].__module__ = __name__  # where it is imported from, as tracebacks say
