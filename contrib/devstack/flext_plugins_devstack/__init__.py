"""Runs FlexCore, flext-auth and a directory on loopback, with faults on request."""

from .directory import DirectoryServer
from .fault import Fault
from .stack import Devstack

__all__ = ["Devstack", "DirectoryServer", "Fault"]

for _public in (Devstack, DirectoryServer, Fault):
    _public.__module__ = __name__  # where it is imported from, as tracebacks say
