"""The settings."""

from flext_plugins import Secret
from pydantic import BaseModel, Field


class {{ cookiecutter.__class }}Settings(BaseModel):
    """What `[services.NAME.plugins.{{ cookiecutter.name }}]` may say."""

    client: str = Field(min_length=1)
    """Who signs; sent as `X-Client`."""
    key: Secret
    """What the service knows too: `env:NAME` or `file:/path`, and never the key itself."""
    header: str = "X-Signature"
    """The header that the signature is sent in."""
