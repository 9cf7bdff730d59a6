"""The settings."""

from flext_plugins import Seconds
from pydantic import BaseModel


class {{ cookiecutter.__class }}Settings(BaseModel):
    """What `[services.NAME.plugins.{{ cookiecutter.name }}]` may say."""

    statuses: frozenset[int] = frozenset({429, 503})
    """The statuses with which a service asks for a pause, if it says how long."""
    longest: Seconds = 60.0
    """The longest pause in seconds, whatever the service asks for."""
