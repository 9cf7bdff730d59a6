"""Masking in what a service answered the secrets that it was sent."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flext_plugins._errors import FlextError
from flext_plugins._logging import text_of
from flext_plugins.redaction import MASK, is_secret, redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ESCAPED = re.compile(r"[\\'\"\x00-\x1f]+")
"""What a `repr` shows in another way."""


def without(text: str, secrets: Iterable[str]) -> str:
    """`text` with each of `secrets`, and each part that a `repr` leaves as it is, masked."""
    parts = {part for each in secrets for part in (each, *_ESCAPED.split(each)) if len(part) > 2}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, MASK)
    return text


class Mask:
    """Masks in what a service answered the secrets that it was sent, or that are known of it.

    Args:
        headers: those of the request that was sent.
        source: who answered: the service, or another origin's host.

    Attributes:
        secrets: each has `get_secret_value`.
    """

    __slots__ = ("_sent", "secrets", "source")

    def __init__(self, headers: Mapping[str, Any], source: str) -> None:
        from pydantic import SecretStr  # noqa: PLC0415 - `flext-plugins list` does without

        # Now: a plugin may take off again what it put on. Wrapped: the response carries this.
        self._sent = tuple(SecretStr(each) for each in _credentials(headers))
        self.source, self.secrets = source, tuple[Any, ...]()

    def __call__(self, text: str) -> str:
        return redact(without(text, self._values()))

    def _values(self) -> Iterator[str]:
        for secret in (*self.secrets, *self._sent):
            with suppress(FlextError):  # its variable or file is gone
                yield secret.get_secret_value()


def _credentials(headers: Mapping[str, Any]) -> Iterator[str]:
    for name, value in headers.items():
        if is_secret(_text(name)):
            shown = _text(value)
            yield shown
            yield shown.partition(" ")[2]  # the credential without its scheme


def _text(value: object) -> str:
    """A header's name or value, which a plugin may have set to what only requests can send."""
    return value.decode("latin-1") if isinstance(value, bytes) else text_of(value)
