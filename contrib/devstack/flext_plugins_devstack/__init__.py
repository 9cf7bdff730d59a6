"""Runs FlexCore, flext-auth, a directory and a database on loopback, with faults on request."""

from .auth import TokenError
from .directory import DirectoryServer
from .fault import Fault
from .oracle import OracleCompatibleServer
from .process import NotInstalled
from .stack import Devstack

__all__ = [
    "Devstack",
    "DirectoryServer",
    "Fault",
    "NotInstalled",
    "OracleCompatibleServer",
    "TokenError",
]

for _public in (
    Devstack,
    DirectoryServer,
    Fault,
    NotInstalled,
    OracleCompatibleServer,
    TokenError,
):
    _public.__module__ = __name__  # where it is imported from, as tracebacks say
