"""{{ cookiecutter.__sentence }}."""

from .plugin import {{ ['Paused', cookiecutter.__class] | sort | join(', ') }}
from .settings import {{ cookiecutter.__class }}Settings

__all__ = [
    "Paused",
    "{{ cookiecutter.__class }}",
    "{{ cookiecutter.__class }}Settings",
]
