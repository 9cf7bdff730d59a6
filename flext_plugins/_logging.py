"""Loggers: our own, and those of client libraries, which log whole URLs."""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from flext_plugins.redaction import MASK, is_secret, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime"}
"""What a log record has of its own, and lets nobody overwrite."""


_BYTES = r"""b?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_PAIR = re.compile(rf"\(({_BYTES}), ({_BYTES})\)")
"""A header, as httpcore writes it."""
_QUOTED = re.compile(
    rf"(\bauth=)\({_BYTES}, {_BYTES}\)|(\bexception=\w*ProtocolError\(|\bunparsed data: ).*",
    re.DOTALL,
)
"""A SOCKS proxy's credentials; headers that h11 refuses, or that urllib3 cannot parse."""


def filter_loggers(names: Iterable[str], redacted: Callable[[Any], Any]) -> None:
    """Have what client libraries log under these names redacted, each of its values by itself.

    No record is dropped. A name stands for its logger alone: filters do not reach those below it.
    """

    def redact_record(record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and record.args:
            record.args = tuple(map(redacted, record.args))
        else:
            record.msg = redact_value(record.msg)
        record.exc_info = None  # its error quotes headers that could not be parsed
        return True

    for name in names:
        logging.getLogger(name).addFilter(redact_record)


def redact_value(value: Any) -> Any:
    """`value`; if it tells of a URL or of headers, its text with what is secret masked."""
    text = str(value)
    if "(" in text or "unparsed data" in text:
        text = _QUOTED.sub(lambda found: f"{found[1] or found[2]}{MASK}", text)
        text = _PAIR.sub(_redacted_pair, text)
    text = redact(text)
    return value if text == str(value) else text


def _redacted_pair(pair: re.Match[str]) -> str:
    name = pair[1].lstrip("b")[1:-1]
    return f"({pair[1]}, {MASK})" if is_secret(name) else pair[0]


def mask_value(value: Any) -> Any:
    """`value` if it is a number; hpack logs any header, and blocks of encoded ones."""
    return value if isinstance(value, int) else MASK


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
        key: MASK if is_secret(key) else redact(str(value))
        for key, value in fields.items()
        if value is not None
    }
    bound = " ".join(f"{key}={value}" for key, value in shown.items())
    message = f"{redact(str(event))}  {bound}"
    extra = {key: value for key, value in shown.items() if key not in _RECORD}
    return {"msg": message.rstrip().replace("%", "%%"), "extra": extra, "exc_info": error}
