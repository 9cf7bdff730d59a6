"""Keeping secrets out of spans."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

MASK = "REDACTED"
"""The word of OpenTelemetry's conventions for it."""
LONGEST = 2048
"""Characters of a text in a span."""

_SECRET = re.compile(
    r"passw|secret|token|credential|signature|session|api[-_]?key|access[-_]?key|private[-_]?key"
    r"|^(auth|authorization|key|sig|code|assertion|jwt|pwd|pin|otp)$|x-amz-|x-goog-",
    re.IGNORECASE,
)
"""Names of parameters whose values are secrets."""
_USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")
_PARAMETER = re.compile(r"(?<=[?&;#])([^=&;#\s]+)=([^&;#\s]*)")


def redacted(text: str) -> str:
    """`text`, with what is secret in any address in it masked, and not too long."""
    if "@" not in text and "=" not in text:
        return text[:LONGEST]

    def user(found: re.Match[str]) -> str:
        return f"{MASK}:{MASK}@" if ":" in found[0] else f"{MASK}@"

    def parameter(found: re.Match[str]) -> str:
        return f"{found[1]}={MASK}" if _SECRET.search(unquote_plus(found[1])) else found[0]

    return _PARAMETER.sub(parameter, _USER_INFO.sub(user, text))[:LONGEST]
