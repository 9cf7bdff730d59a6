"""Masking in what a service answered the secrets that it was sent."""

from __future__ import annotations

import html
import math
import re
from base64 import b64decode
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flext_plugins._errors import FlextError
from flext_plugins._logging import text_of
from flext_plugins.redaction import MASK, is_secret, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_LEFT_OUT = re.compile(r"[\\'\"\x00-\x1f]+")
"""What a `repr` shows in another way."""
_ESCAPE = re.compile(
    rb"%[0-9A-Fa-f]{2}"
    rb"|\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}"
    rb"|\\U[0-9A-Fa-f]{8}|\\x[0-9A-Fa-f]{2}|\\[\\/'\"bfnrt]"
    rb"|&#[0-9]{1,16};?|&#[xX][0-9A-Fa-f]{1,16};?|&\w{1,24};"
)
"""What percent-encoding, JSON, a `repr` and HTML write for a character."""
_LETTERS = dict(zip("bfnrt", "\b\f\n\r\t", strict=True))
_LEVELS = 4
"""How often a text is decoded that was encoded again and again."""
MOST_PARTS = 500
"""Of so many secrets, and parts of such, texts of a service are masked; with more none is shown."""


def without(text: str, secrets: Iterable[str]) -> str:
    """`text` with each of `secrets` masked."""
    return masking(secrets)(text)


def masking(secrets: Iterable[str], most: float = math.inf) -> Callable[[str], str]:
    """A function that masks each of `secrets`, and each part that a `repr` leaves as it is.

    It finds every spelling: percent-encoded, escaped as in JSON, a `repr` or HTML, or in several of
    these. Its time is linear in the length of the text. With more than so many parts it shows
    nothing of any text: to look for each of them could take minutes.
    """
    parts = {part for each in secrets for part in (each, *_LEFT_OUT.split(each)) if len(part) > 2}
    if len(parts) > most:
        return lambda _: MASK
    plain = {each: data for each in parts if len(data := _decoded(each)[0]) > 2}

    def masked(text: str) -> str:
        data, firsts, lasts = _decoded(text)
        here = [each for each in parts if each in text]
        found = [(at, at + len(each)) for each in here for at in _places(text, each)]
        for each in [each for each in plain.values() if each in data]:
            found += [(firsts[at], lasts[at + len(each) - 1]) for at in _places(data, each)]
        pieces, end = list[str](), 0
        for first, last in sorted(found):
            if first >= end:
                pieces += text[end:first], MASK
            end = max(end, last)
        return "".join(pieces) + text[end:] if pieces else text

    return masked


def _places(text: Any, part: Any) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + len(part))


def _decoded(text: str) -> tuple[bytes, Sequence[int], Sequence[int]]:
    """`text` without escapes, in UTF-8: and where in it the spelling of each byte begins and ends.

    A `+` counts as a space, which it is in a form, wherever it stands.
    """
    data = text.encode(errors="surrogatepass")
    firsts: Sequence[int] = range(len(data))
    if len(data) > len(text):
        firsts = [at for at, each in enumerate(text) for _ in each.encode(errors="surrogatepass")]
    lasts: Sequence[int] = [at + 1 for at in firsts]
    for _ in range(_LEVELS):
        pieces, begins, ends, done = bytearray(), list[int](), list[int](), 0
        for found in _ESCAPE.finditer(data):
            start, end = found.span()
            plain = _unescaped(found[0].decode())
            pieces += data[done:start] + plain
            begins += [*firsts[done:start], *[firsts[start]] * len(plain)]
            ends += [*lasts[done:start], *[lasts[end - 1]] * len(plain)]
            done = end
        if not done:
            break
        data, firsts = bytes(pieces + data[done:]), [*begins, *firsts[done:]]
        lasts = [*ends, *lasts[done:]]
    return data.replace(b"+", b" "), firsts, lasts


def _unescaped(escape: str) -> bytes:
    if escape[0] == "&":
        return html.unescape(escape).encode(errors="surrogatepass")
    if escape[0] == "%" or escape[1] == "x":
        return bytes.fromhex(escape[-2:])
    if escape[1] == "U":
        return bytes.fromhex(escape[2:]).decode("utf-32-be", "replace").encode()
    if escape[1] == "u":
        units = bytes.fromhex(escape.replace("\\u", ""))
        return units.decode("utf-16-be", "surrogatepass").encode(errors="surrogatepass")
    return _LETTERS.get(escape[1], escape[1]).encode()


class Mask:
    """Masks in what a service answered the secrets that it was sent, or that are known of it.

    Args:
        headers: those of the request that was sent.
        source: who answered: the service, or another origin's host.
        secrets: each has `get_secret_value`.
    """

    __slots__ = ("_sent", "secrets", "source")

    def __init__(
        self, headers: Mapping[str, Any], source: str, secrets: Iterable[Any] = ()
    ) -> None:
        from pydantic import SecretStr  # noqa: PLC0415 - `flext-plugins list` does without

        # Now: a plugin may take off again what it put on. Wrapped: the response carries this.
        self._sent = tuple(SecretStr(each) for each in _credentials(headers))
        self.source, self.secrets = source, tuple(secrets)

    def __call__(self, text: str) -> str:
        return self.snapshot()(text)

    def snapshot(self) -> Callable[[str], str]:
        """A function that masks in several texts, with the secrets as they are now."""
        masked = masking({each for value in self._values() for each in _forms(value)}, MOST_PARTS)
        return lambda text: redact(masked(text))

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
            if _text(name).lower() == "cookie":
                yield from (each.partition("=")[2].strip() for each in shown.split(";"))


def _forms(value: str) -> Iterator[str]:
    """A secret; of basic authentication also what is in it."""
    yield value
    scheme, _, pair = value.partition(" ")
    if scheme.lower() == "basic":
        yield pair
        with suppress(ValueError):
            text = b64decode(pair).decode(errors="surrogateescape")
            yield text
            yield text.partition(":")[2]


def _text(value: object) -> str:
    """A header's name or value, which a plugin may have set to what only requests can send."""
    return value.decode("latin-1") if isinstance(value, bytes) else text_of(value)
