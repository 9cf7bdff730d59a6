"""What flext-plugins does, shown live and checked: `flext-devstack demo`."""

from .performance import perform

__all__ = ["perform"]
