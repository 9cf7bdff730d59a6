"""FlexCore and flext-auth to talk to: real servers on loopback, with faults on request."""

from .fault import Fault
from .stack import Devstack

__all__ = ["Devstack", "Fault"]
