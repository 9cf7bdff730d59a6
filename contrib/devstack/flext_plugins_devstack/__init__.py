"""Runs FlexCore, flext-auth and a directory on loopback, with faults on request."""

from .auth import TokenError
from .directory import DirectoryServer, NotInstalled
from .fault import Fault
from .stack import Devstack

__all__ = ["Devstack", "DirectoryServer", "Fault", "NotInstalled", "TokenError"]

for _public in (Devstack, DirectoryServer, Fault, NotInstalled, TokenError):
    _public.__module__ = __name__  # where it is imported from, as tracebacks say
