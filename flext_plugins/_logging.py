"""Log lines: our own, and those of client libraries, which log whole URLs.

Telling of a call must not end it, and what is told must not pass for a line of its own: everything
is told by `harmless`, and every value is put into a line by `inline`.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flext_plugins.redaction import MASK, is_secret, printable, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SECONDS = 60.0
"""What keeps going wrong is a warning once in this time."""
MOST = 100_000
"""So many things that keep going wrong are told apart."""
LONGEST = 1000
"""Characters of a value in a line of ours."""
_KEPT = frozenset({"message", "asctime"})
"""Attributes of a log record that formatters write; those that it has already are kept too."""
_BYTES = r"""b?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_PAIR = re.compile(rf"\(({_BYTES}), ({_BYTES})\)")
"""A header, as httpcore writes it."""
_QUOTED = re.compile(
    rf"(\bauth=)\({_BYTES}, {_BYTES}\)|(\bexception=\w*ProtocolError\(|\bunparsed data: ).*",
    re.DOTALL,
)
"""A SOCKS proxy's credentials; headers that h11 refuses, or that urllib3 cannot parse."""


class Occasions:
    """Counts what keeps happening, so that it is told once in a time.

    Args:
        seconds: the time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._lock = seconds, threading.Lock()
        self._last: dict[tuple[str, ...], tuple[float, int]] = {}

    def take(self, key: tuple[str, ...]) -> int | None:
        """Count it: how often it was passed over before, or `None` if it is passed over now."""
        now = time.monotonic()
        with self._lock:
            if len(self._last) >= MOST and key not in self._last:
                del self._last[next(iter(self._last))]  # the one that was told first
            last, passed_over = self._last.get(key, (None, 0))
            if last is not None and now - last < self._seconds:
                self._last[key] = last, passed_over + 1
                return None
            self._last[key] = now, 0
            return passed_over


def harmless(work: Callable[..., object], *args: Any) -> None:
    """Do `work(*args)`, which tells of a call; if it raises, that is noted as `logging` does it."""
    try:
        work(*args)
    except Exception as error:
        with suppress(Exception):  # no `sys.stderr`, or a closed one
            if logging.raiseExceptions:
                sys.stderr.write(f"flext_plugins: not logged: {inline(type(error).__name__)}\n")


def text_of(value: object, show: Callable[[Any], str] = str) -> str:
    """`show(value)`, or something in its place if that raises."""
    try:
        return show(value)
    except Exception:
        return f"<{type(value).__name__} without text>"


def inline(value: object, most: int | None = None) -> str:
    """`value` within a line: escaped so far as it would not print, and without secrets of a URL.

    Args:
        value: what is told.
        most: characters.
    """
    text = text_of(value)
    if most is not None:
        text = text[: most * 20]  # a secret that this cuts in two is far behind what is shown
    return printable(redact(printable(text)), most)


def filter_loggers(names: Iterable[str], redacted: Callable[[Any], Any]) -> None:
    """Have what client libraries log under these names redacted, each of its values by itself.

    No record is dropped. A name stands for its logger alone: filters do not reach those below it.
    """

    def redact_record(record: logging.LogRecord) -> bool:
        harmless(_redact, record, redacted)
        return True

    for name in names:
        logging.getLogger(name).addFilter(redact_record)


def _redact(record: logging.LogRecord, redacted: Callable[[Any], Any]) -> None:
    args, record.args = record.args, ()  # if anything raises, they are not shown
    record.exc_info = None  # its error quotes headers that could not be parsed
    if not args:
        record.msg = redact_value(record.msg)
    elif isinstance(args, tuple):
        record.args = tuple(map(redacted, args))
    else:  # a mapping that is the only argument
        record.args = {key: redacted(each) for key, each in args.items()}


def redact_value(value: Any) -> Any:
    """`value`, or its text if that has to be shown in another way: escaped, or without secrets."""
    text = text_of(value)
    if "(" in text or "unparsed data" in text:
        text = _QUOTED.sub(lambda found: f"{found[1] or found[2]}{MASK}", text)
        text = _PAIR.sub(_redacted_pair, text)
    shown = inline(text)
    with suppress(Exception):
        if shown == str(value):
            return value  # which may have to be a number
    return shown


def _redacted_pair(pair: re.Match[str]) -> str:
    name = pair[1].lstrip("b")[1:-1]
    return f"({pair[1]}, {MASK})" if is_secret(name) else pair[0]


def mask_value(value: Any) -> Any:
    """`value` if it is a number; hpack logs any header, and blocks of encoded ones."""
    return value if isinstance(value, int) else MASK


def log(level: int, message: str, *values: object, **fields: object) -> None:
    """Log a line to `flext_plugins`, whatever the values, the factories and the handlers do.

    It reads well unconfigured (`circuit opened  service=flexcore ...`). The fields, and what is
    bound in structlog's context, are attributes of the record too, for an application's own
    handlers, unless it has others of these names.

    Args:
        level: one of `logging`'s.
        message: with a `{}` for each of `values`.
        values: what the message tells.
        fields: what is shown behind it, unless it is `None`.
    """
    harmless(_log, level, message, values, fields)


def tell_stale(occasions: Occasions, what: str, why: str) -> None:
    """Warn, once in a time, that what was read before is used since `what` cannot be."""
    if occasions.take((what,)) is not None:
        log(logging.WARNING, "{}: {}; what was read before stays in use", what, why)


def _bound_values() -> dict[str, Any]:
    """The values bound in structlog's context: none if the program has not imported it.

    Importing it here would stop an event loop for as long as that takes, at the first line.
    """
    structlog = sys.modules.get("structlog.contextvars")
    get: Any = getattr(structlog, "get_contextvars", dict)  # it may be about to be imported
    values: dict[str, Any] = get()
    return values


def _log(level: int, message: str, values: tuple[object, ...], fields: dict[str, object]) -> None:
    logger = logging.getLogger("flext_plugins")
    if not logger.isEnabledFor(level):
        return
    shown = {
        inline(key, LONGEST): MASK if is_secret(key) else inline(value, LONGEST)
        for key, value in {**_bound_values(), **fields}.items()
        if value is not None
    }
    bound = " ".join(f"{key}={value}" for key, value in shown.items())
    text = f"{message.format(*(inline(each, LONGEST) for each in values))}  {bound}".rstrip()
    file, line, function, _ = logger.findCaller(stacklevel=4)
    record = logger.makeRecord(logger.name, level, file, line, text, (), None, function)
    for key, value in shown.items():  # `extra` would raise for those that a record factory set
        if key not in _KEPT:
            vars(record).setdefault(key, value)
    logger.handle(record)
