"""Credentials for each request to a service."""

from .plugin import Auth
from .settings import AuthSettings

__all__ = ["Auth", "AuthSettings"]
