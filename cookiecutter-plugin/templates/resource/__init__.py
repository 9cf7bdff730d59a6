"""{{ cookiecutter.__sentence }}."""

from .entries import AsyncEntries, Entries, EntriesError, EntriesUnavailable
from .plugin import {{ cookiecutter.__class }}
from .settings import {{ cookiecutter.__class }}Settings

__all__ = [
    "AsyncEntries",
    "Entries",
    "EntriesError",
    "EntriesUnavailable",
    "{{ cookiecutter.__class }}",
    "{{ cookiecutter.__class }}Settings",
]
