"""Keeping secrets out of what people read."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from flext_plugins._errors import FlextError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, MutableMapping

MASK = "***"
SECRET_NAME = re.compile(
    r"(passw|secret|token|credential|api[-_]?key|private[-_]?key|access[-_]?key|signature)"
    r"(?!.*(path|url|type|file|lifetime)$)|^(auth|authorization|proxy-authorization|cookie|set-cookie|key|sig|code|assertion)$|x-amz-",
    re.IGNORECASE,
)
"""Names of headers, query parameters and settings whose values are secrets."""

_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime"}
"""What a log record has of its own, and lets nobody overwrite."""
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
_ESCAPED = re.compile(r"[\\'\"\x00-\x1f]+")
"""What a `repr` shows in another way."""
_PARAMETER = re.compile(r"(?<=[?&;#])([^=&;#\s]+)(=[^&;#\s]*)?")
"""Names without a value too: passed over, or the time for a long one is quadratic."""


def redact_url(text: str) -> str:
    """`text` with user info and the values of secret-named parameters masked in any URL in it."""

    def mask(found: re.Match[str]) -> str:
        name = found[1]
        return f"{name}={MASK}" if found[2] and SECRET_NAME.search(name) else found[0]

    return _PARAMETER.sub(mask, _USERINFO.sub(f"{MASK}@", text))


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
        return redact_url(without(text, self._values()))

    def _values(self) -> Iterator[str]:
        for secret in (*self.secrets, *self._sent):
            with suppress(FlextError):  # its variable or file is gone
                yield secret.get_secret_value()


def _credentials(headers: Mapping[str, Any]) -> Iterator[str]:
    for name, value in headers.items():
        if SECRET_NAME.search(name):
            shown = value.decode("latin-1") if isinstance(value, bytes) else value
            yield shown
            yield shown.partition(" ")[2]  # the credential without its scheme


def redact_record(record: logging.LogRecord) -> bool:
    """A `logging` filter for client libraries that log whole URLs; never drops a record."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            redact_url(str(value)) if "://" in str(value) or "?" in str(value) else value
            for value in record.args
        )
    return True


@cache
def logger(name: str = "flext_plugins") -> Any:
    """A structlog logger over the standard library's logger `name`.

    The message reads well unconfigured (`circuit opened  service=flexcore ...`); what is bound is
    also on the record as attributes, for an application's own handlers.
    """
    import structlog  # noqa: PLC0415 - only a program that logs pays for it

    return structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.contextvars.merge_contextvars, _to_record],
    )


def _to_record(
    _logger: Any, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    event = fields.pop("event")
    error = fields.pop("exc_info", None)
    shown = {
        key: MASK if SECRET_NAME.search(key) else redact_url(str(value))
        for key, value in fields.items()
        if value is not None
    }
    message = "  ".join([str(event), " ".join(f"{key}={value}" for key, value in shown.items())])
    extra = {key: value for key, value in shown.items() if key not in _RECORD}
    return {"msg": message.rstrip().replace("%", "%%"), "extra": extra, "exc_info": error}
