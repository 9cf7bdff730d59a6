"""{{ cookiecutter.__sentence }}."""

from .plugin import {{ cookiecutter.__class }}
from .settings import {{ cookiecutter.__class }}Settings

__all__ = [
    "{{ cookiecutter.__class }}",
    "{{ cookiecutter.__class }}Settings",
]
