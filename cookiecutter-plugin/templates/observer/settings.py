"""The settings."""

from pydantic import BaseModel, NonNegativeFloat


class {{ cookiecutter.__class }}Settings(BaseModel):
    """What `[services.NAME.plugins.{{ cookiecutter.name }}]` may say."""

    threshold: NonNegativeFloat = 1.0
    """The seconds from which on an attempt is slow; with 0 each one is told."""
