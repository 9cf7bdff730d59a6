"""Keeping out of spans what is secret, and what an exporter would lose a whole batch over."""

from __future__ import annotations

from flext_plugins.redaction import MASK, printable, redact

WORD = "REDACTED"
"""In place of a secret, as OpenTelemetry's conventions have it for `url.full`."""
LONGEST = 2048
"""Characters of a text in a span."""


def redacted(text: str) -> str:
    """`text`, with what is secret in any address in it masked, in one line that is not too long."""
    shown = redact(text[: LONGEST * 20])  # a secret that this cuts in two is not shown
    return shown_as(shown.replace(f"{MASK}@", f"{WORD}:{WORD}@").replace(MASK, WORD))


def shown_as(text: str) -> str:
    """`text` in one line that is not too long; a text that is no Unicode would cost the batch."""
    return printable(text, LONGEST)
