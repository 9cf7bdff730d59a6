"""The scheme `login`: posts a user name and a password as JSON and gets a token."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .credential import reveal
from .token import Problem, Question, token_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flext_plugins import Secret

    from .credential import Credential
    from .settings import AuthSettings
    from .token import Token


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
        yield Question(headers, json.dumps(self._body(), default=reveal).encode())

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

    def answer(
        self, status: int, body: bytes, question: Question, sent_at: float
    ) -> Token | Problem:
        """The token at `token_path` in the answer."""
        del question
        if not 200 <= status < 300:
            return Problem(f"failed with status {status}")
        try:
            inner = whole = json.loads(body)
        except ValueError:
            return Problem("answered with something that is not JSON")
        *path, last = self.token_path.split(".")
        for name in path:
            inner = inner.get(name) if isinstance(inner, dict) else None
        value = inner.get(last) if isinstance(inner, dict) else None
        if not isinstance(value, str) or not value:
            return Problem(f"answered without a token at {self.token_path!r}")
        return token_of(value, sent_at, inner, whole)
