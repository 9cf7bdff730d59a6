"""Texts as they may be shown: which names are secret, and what stands in place of the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import unquote_plus

__all__ = ["MASK", "is_secret", "printable", "redact", "redact_headers"]

MASK = "***"
"""Stands in place of a secret."""

_ANYWHERE = re.compile(
    r"passw|passphrase|passcode|pwd|pswd|jwt|[cx]srf|credential|signature|sessid|(?<!ob)(?<!pos)session"
    r"|secret(?!ar[iy])|token(?!i[sz][aei])"
    r"|(api|private|access|auth|account|functions|master|shared|signing|subscription)[^a-z0-9]?key"
    r"|x[-_](amz|goog)[-_]|saml[^a-z0-9]?(response|art)"
)
"""In any part of a name, since these are also written in one word."""
_WORDS = re.compile(
    r"(^|_)(creds?|jw[es]|[ht]?otp|cvv|cvc)(_|$)"
    # The last word.
    r"|(^|_)(authorization|assertion|pass|pin|sig)$"
    r"|(^|_)((access|auth|authorization|device|login|mfa|recovery|user)_code|code_verifier)$"
    # All words: beside others they are harmless, as in `status_code` and `sort_key`.
    r"|^((x_|basic_)?auth|(set_)?cookies?2?|bearer|code|connect_sid|hmac|key|sid)$"
)
_HARMLESS = re.compile(
    r"(_|credential|key|password|secret|session|token)(file|lifetime|path|timeout|ttl|type|ur[il])$"
)
"""Ends of names that say where a secret is, of what kind or how long: what settings are named."""
_ALWAYS = re.compile(r"x_(amz|goog)_")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LONGEST_KNOWN = 64
_LEVELS = 3
"""How often a name is decoded, which a proxy or a redirect may have encoded again."""
_USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")
_NAME = re.compile(r"(?<![^?&;#])([^?&;#=\s]+)=")
"""A parameter's name, which ends before the next may begin: the time for a text is linear."""
_REST = re.compile(r"[^&#\s]*")
"""A value, with any `;`: to a service that is a part of it."""


def is_secret(name: str) -> bool:
    """Whether values of this name are secrets, be it a header, parameter, setting or log field.

    The name may be in any case, of words joined in any way, percent-encoded too: `X-API-Key`,
    `apiKey`, `user[api_key]`. A CSRF token counts; `state` and `nonce` do not, which are worth
    nothing without a browser's session.
    """
    return (_known if len(name) <= _LONGEST_KNOWN else _judged)(name)


def _judged(name: str) -> bool:
    for _ in range(_LEVELS):
        if "%" in name or "+" in name:
            name = unquote_plus(name)
    words = _SEPARATORS.sub("_", name).strip("_").lower()
    if _ANYWHERE.search(name.lower()) is None and _WORDS.search(words) is None:
        return False
    return _HARMLESS.search(words) is None or _ALWAYS.search(words) is not None


_known = lru_cache(1024)(_judged)  # the same few names come with every request


def printable(text: str, most: int | None = None) -> str:
    """`text` as it may stand in a line, a label or a span: what would not print is escaped.

    So it is one line, and text in UTF-8.

    Args:
        text: anybody's.
        most: characters; of a longer text the end is left out, and ` ...` says so.
    """
    shown = text if most is None else text[: most + 1]
    if not shown.isprintable():
        shown = "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown
        )
    return shown if most is None or len(shown) <= most else f"{shown[: most - 4]} ..."


def redact(text: str) -> str:
    """`text` with the user info and the secret parameters of any URL in it masked.

    A query or a form by itself is read too: `page=1&pwd=***`.
    """
    if "@" in text:
        text = _USER_INFO.sub(f"{MASK}@", text)
    shown, end = list[str](), 0
    for found in _NAME.finditer(text) if "=" in text else ():
        if found.start() >= end and is_secret(found[1]):
            value = _REST.match(text, found.end())
            shown += text[end : found.end()], MASK
            end = value.end() if value else found.end()
    return "".join(shown) + text[end:] if shown else text


def redact_headers(
    headers: Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str | bytes, str | bytes]],
) -> dict[str, str]:
    """The `headers` as they may be shown, in their order and spelling.

    Those of a secret name are masked, URLs in the others redacted, and the values of a name that
    comes several times joined with commas.

    Args:
        headers: a mapping, or pairs of names and values.
    """
    pairs: Iterable[tuple[str | bytes, str | bytes]]
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    shown: dict[str, str] = {}
    for each, value in pairs:
        name = _text(each)
        if is_secret(name):
            shown[name] = MASK
        else:
            said = redact(_text(value))
            shown[name] = f"{shown[name]}, {said}" if name in shown else said
    return shown


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
