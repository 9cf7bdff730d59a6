"""Keeping secrets out of spans."""

from __future__ import annotations

from flext_plugins.redaction import MASK, redact

WORD = "REDACTED"
"""In place of a secret, as OpenTelemetry's conventions have it for `url.full`."""
LONGEST = 2048
"""Characters of a text in a span."""


def redacted(text: str) -> str:
    """`text`, with what is secret in any address in it masked, and not too long."""
    shown = redact(text)
    return shown.replace(f"{MASK}@", f"{WORD}:{WORD}@").replace(MASK, WORD)[:LONGEST]
