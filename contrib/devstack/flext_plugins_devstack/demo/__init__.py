"""The demo, `flext-devstack demo`: shows live what flext-plugins does, and checks it."""

from .performance import perform

__all__ = ["perform"]
