"""The scheme `login`: posts a user name and a password as JSON and gets a token."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .credential import reveal
from .token import Question

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flext_plugins import Secret

    from .credential import Credential
    from .settings import AuthSettings


@dataclass(frozen=True)
class Login:
    """The grant of the scheme `login`."""

    service: str
    url: str
    username: Secret | None
    password: Secret | None
    fields: tuple[tuple[str, Any], ...] = field(repr=False)
    token_path: str

    @classmethod
    def of(cls, settings: AuthSettings) -> Login:
        """The grant that the settings describe."""
        return cls(
            settings.service or "",
            settings.url or "",
            settings.username,
            settings.password,
            tuple(sorted((settings.body or {}).items())),
            settings.token_path or "",
        )

    @property
    def place(self) -> str:
        """The login's place, for messages."""
        return f"the login at {self.service!r}"

    def questions(self, refresh: Credential | None) -> Iterator[Question]:
        """Yield the only question; references are read now."""
        del refresh
        headers = {"Content-Type": "application/json"}
        content = json.dumps(self._body(), default=reveal).encode()
        yield Question(headers, content, self.token_path)

    def _body(self) -> dict[str, Any]:
        """The fields to post, their secrets still wrapped."""
        body: dict[str, Any] = {}
        placed = {value for _, value in self.fields if isinstance(value, str)}
        known = {"{username}": self.username, "{password}": self.password}
        for template, secret in known.items():
            if template not in placed:
                body[template.strip("{}")] = secret
        for name, value in self.fields:
            body[name] = known.get(value, value) if isinstance(value, str) else value
        return body
