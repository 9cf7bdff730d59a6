"""Adds a service's credential to each of its requests."""

from .plugin import Auth
from .settings import AuthSettings

__all__ = ["Auth", "AuthSettings"]

for _public in (Auth, AuthSettings):
    _public.__module__ = __name__  # where it is imported from, as tracebacks say
