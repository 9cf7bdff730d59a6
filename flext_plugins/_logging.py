"""Loggers: our own, and those of client libraries, which log whole URLs."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from flext_plugins.redaction import MASK, is_secret, redact

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime"}
"""What a log record has of its own, and lets nobody overwrite."""


def redact_record(record: logging.LogRecord) -> bool:
    """A `logging` filter for client libraries that log whole URLs; never drops a record."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            redact(str(value)) if "://" in str(value) or "?" in str(value) else value
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
        key: MASK if is_secret(key) else redact(str(value))
        for key, value in fields.items()
        if value is not None
    }
    bound = " ".join(f"{key}={value}" for key, value in shown.items())
    message = f"{redact(str(event))}  {bound}"
    extra = {key: value for key, value in shown.items() if key not in _RECORD}
    return {"msg": message.rstrip().replace("%", "%%"), "extra": extra, "exc_info": error}
