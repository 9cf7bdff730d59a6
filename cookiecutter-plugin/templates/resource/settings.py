"""The settings."""

from flext_plugins import Seconds
from pydantic import BaseModel


class {{ cookiecutter.__class }}Settings(BaseModel):
    """What `[services.NAME.plugins.{{ cookiecutter.name }}]` may say."""

    path: str
    """The file of the database; made if it is not there."""
    timeout: Seconds = 5.0
    """The seconds to wait while others write; less if the call's deadline comes first."""
