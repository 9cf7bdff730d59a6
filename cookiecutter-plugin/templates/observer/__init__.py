"""{{ cookiecutter.__sentence }}."""

from .plugin import {{ ['Slow', cookiecutter.__class] | sort | join(', ') }}
from .settings import {{ cookiecutter.__class }}Settings

__all__ = [
    "{{ cookiecutter.__class }}",
    "{{ cookiecutter.__class }}Settings",
    "Slow",
]
