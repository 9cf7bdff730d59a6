"""Errors, typed by what the caller can do about them.

    FlextError
    ├── ConfigError               mend the configuration; `problems` lists all that was found
    │   ├── PluginNotFound        install the plugin, or mend its name
    │   ├── PluginConflict        say which distribution is meant with `use`
    │   └── PluginIncompatible    install a version that fits
    ├── PluginError               a plugin broke its contract: tell its distribution
    ├── Refused                   a plugin did not send: try later, see `retry_after` and `sent`
    ├── DeadlineExceeded          the call's time is up
    ├── AnswerTooLong             a plugin would have had to read more than it may: mend the
    │                             service, or raise its `max_plugin_read`
    └── ServiceError              the service answered with an error: see `status`, `detail`

Where `Refused`, `AnswerTooLong` or `DeadlineExceeded` leaves a client, it is also that library's
own transport error or time-out (`httpx.TransportError`, `httpx.TimeoutException`), so existing
handlers keep working; what `raise_for_status` raises is also the library's own
(`httpx.HTTPStatusError`).
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from functools import cache
from http import HTTPStatus
from numbers import Real
from pathlib import PurePath
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flext_plugins._logging import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import FrameType
    from typing import Self

    from flext_plugins._call import Call

    A = TypeVar("A", bound=BaseException)
    E = TypeVar("E", bound="FlextError")


class FlextError(Exception):
    """Root of the tree; the host fills in who and where."""

    service: str | None = None
    plugin: str | None = None
    distribution: str | None = None
    call: Call | None = None

    def add_context(
        self,
        *,
        service: str | None = None,
        plugin: str | None = None,
        distribution: str | None = None,
        call: Call | None = None,
    ) -> Self:
        """Fill in who and where, so far as nobody has: the innermost knows best.

        Args:
            service: the service that was talked to.
            plugin: the plugin it happened in.
            distribution: that plugin's; it goes with `plugin`.
            call: the call under way.
        """
        if self.plugin is None:
            self.plugin, self.distribution = plugin, distribution
        self.service = self.service or service
        self.call = self.call or call
        return self

    def __str__(self) -> str:
        who = [part for part in (self.service, self.plugin) if part]
        return ": ".join([*who, text_of(self.args[0]) if self.args else type(self).__name__])


class ConfigError(FlextError):
    """The configuration cannot be used.

    Attributes:
        problems: one sentence for each thing to mend: where, what was expected, never a value.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class PluginNotFound(ConfigError):
    """No installed distribution offers a plugin of this name."""


class PluginConflict(ConfigError):
    """More than one distribution offers a plugin of this name, or a stranger a reserved one."""


class PluginIncompatible(ConfigError):
    """The plugin asks for another version of flext-plugins, or its distribution is corrupt."""


class PluginError(FlextError):
    """A plugin broke its contract or raised something of its own, which is the `__cause__`.

    Attributes:
        hook: the hook it happened in, if any.
    """

    def __init__(self, message: str, hook: str | None = None) -> None:
        super().__init__(message)
        self.hook = hook


def _seconds(value: Any) -> float | None:
    """`value`, if somebody can wait for so long; what has passed is 0.

    Raises:
        TypeError: it is no number.
        ValueError: it is not finite.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"retry_after takes seconds, not {type(value).__name__}")
    seconds = cast("float", value)
    if not -math.inf < seconds < math.inf:
        raise ValueError(f"retry_after takes seconds, not {seconds:g}")
    return max(seconds, 0)


class Refused(FlextError):
    """A plugin did not send, or the host is closed; retrying at once is pointless.

    Attributes:
        retry_after: seconds after which it may be worth it, at least 0, or `None`.
        sent: whether something of the call was sent before: by an earlier attempt or hop, which
            the service may have acted on. The host sets it; if it is false, nothing of the call
            was handed to a transport, and repeating it later does nothing twice.
    """

    retry_after: float | None = None
    sent: bool = False

    def __init__(self, message: str = "refused", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = _seconds(retry_after)

    def add_context(
        self,
        *,
        service: str | None = None,
        plugin: str | None = None,
        distribution: str | None = None,
        call: Call | None = None,
    ) -> Self:
        """Fill in who and where; of `sent` the outermost knows best, whose call this ends."""
        if call is not None:
            self.sent = call.sent
        return super().add_context(
            service=service, plugin=plugin, distribution=distribution, call=call
        )


class DeadlineExceeded(FlextError):
    """The call's deadline passed; the message says what was waited for."""


class AnswerTooLong(FlextError):
    """An answer that a plugin reads has more bytes, as sent or decoded, than plugins may read.

    To `connection.failure` it is `Failure.READ`.
    """


class ServiceError(FlextError):
    """A service answered with status 400 or above; `raise_for_status` raises it.

    What the service said has its secrets masked, as far as they are known here: those of the
    service's configuration, and those in the headers that were sent.

    Attributes:
        status: the HTTP status.
        title: what kind of problem it is; the status's own phrase, unless the service said more.
        detail: what went wrong this time, if the service said so.
        type: a URI that names the kind of problem; `about:blank` is none.
        instance: a URI that names this occurrence, if the service said one.
        extensions: what else the service said, as JSON has it.
        correlation_id: by which the service knows the call.
        caused_by: the error of a service behind this one, if this one told.
        unread: why nothing of the answer's body is here, or empty.
    """

    def __init__(self, title: str = "", status: int = 500) -> None:
        super().__init__(title, status)
        self.title, self.status = title, status
        self.detail: str | None = None
        self.type = "about:blank"
        self.instance: str | None = None
        self.extensions: dict[str, Any] = {}
        self.correlation_id: str | None = None
        self.caused_by: ServiceError | None = None
        self.unread = ""

    @property
    def root_cause(self) -> ServiceError:
        """The innermost `caused_by`, or this error itself."""
        return [self, *self._causes()][-1]

    def problem(self, status: int = 502) -> dict[str, Any]:
        """The problem document (RFC 9457) of an answer that fails because of this error.

        Its member `caused_by` tells of this error, and `raise_for_status` reads it back, so that
        the first caller learns of the last service. It is for services that trust each other.

        Args:
            status: of the answer.
        """
        told = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
        if self.correlation_id is not None:
            told["correlation_id"] = self.correlation_id
        return {**told, "caused_by": _facts(self)}

    def __str__(self) -> str:
        chain = [self, *self._causes()]
        told = "; caused by ".join(_sentence(each) for each in chain)
        unread = f" ({self.unread})" if self.unread else ""
        ids = [each.correlation_id for each in chain if each.correlation_id]
        return told + unread + (f" [correlation id {ids[-1]}]" if ids else "")

    def _causes(self) -> Iterator[ServiceError]:
        error = self.caused_by
        while error is not None:
            yield error
            error = error.caused_by


def _facts(error: ServiceError) -> dict[str, Any]:
    names = ("service", "type", "title", "status", "detail", "instance", "correlation_id")
    facts = {name: getattr(error, name) for name in names}
    facts["caused_by"] = _facts(error.caused_by) if error.caused_by else None
    return {name: value for name, value in facts.items() if value is not None}


def _sentence(error: ServiceError) -> str:
    what = f"{error.status} {_line(error.title)}"
    parts = (error.service, error.plugin, what.rstrip(), error.detail)
    return ": ".join(_line(each) for each in parts if each)


def _line(text: str) -> str:
    """`text` in one short line of printable characters."""
    printable = "".join(each if each.isprintable() else " " for each in text)
    line = " ".join(printable.split())
    return line if len(line) <= 200 else f"{line[:196]} ..."


@cache
def _native_class(kind: type[FlextError], base: type[Exception]) -> type[FlextError]:
    def reduce(error: Any) -> Any:
        if issubclass(kind, ServiceError):  # the response that it holds does not come along
            return _unchanged, (error.plain,)
        if issubclass(kind, Refused):  # it may have ended an outer call since
            error.plain.sent = error.sent
        return native, (error.plain, base)

    body = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__reduce__": reduce}
    return type(kind.__name__, (kind, base), body)


def _unchanged(error: E) -> E:
    return error


def native(error: E, base: type[Exception], **facts: Any) -> E:
    """`error` as one that is also a `base`, with the same message, facts, cause and traceback.

    Args:
        error: one that is a `base` already is given back.
        base: an error class of a client library.
        facts: what `base` takes beside a message.
    """
    if isinstance(error, base):
        return error
    kind: Any = _native_class(type(error), base)  # type: ignore[arg-type] # classes are hashable
    made = kind.__new__(kind)
    base.__init__(made, str(error), **facts)
    vars(made).update(vars(error))
    made.args, made.plain, made.__cause__ = error.args, error, error.__cause__
    made.__suppress_context__ = True
    result: E = made.with_traceback(error.__traceback__)
    return result


def name_service(error: BaseException, service: str) -> None:
    """Add to an error in a call of which service it is, unless it is ours, which says so."""
    note = f"in a call of service {service!r}"
    if not isinstance(error, FlextError) and note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def with_notes(error: A, failures: list[Exception], masked: Callable[[str], str]) -> A:
    """`error`, with a note for each failure of what had to be undone; `masked` hides secrets."""
    for each in failures:
        error.add_note(f"while undoing the opening: {masked(text_of(each, repr))}")
    return error


@contextmanager
def note_failures(error: BaseException, doing: str) -> Iterator[None]:
    """Add to `error`, which is on its way, that what is done because of it failed too."""
    try:
        yield
    except Exception as failed:
        error.add_note(f"{doing} raised {type(failed).__name__}")


def account_of(error: BaseException, place: str, masked: Callable[[str], str]) -> str:
    """`RuntimeError at tenant.py:12: no such tenant`, in one line: an error as people are told it.

    Args:
        error: whose class and text it is.
        place: from `place_of`.
        masked: takes the secrets out of the text.
    """
    text = _line(masked(text_of(error)))
    return f"{type(error).__name__}{place}" + (f": {text}" if text else "")


def place_of(error: BaseException, packages: Iterable[str]) -> str:
    """` at tenant.py:57`: the innermost line of a plugin's own that `error` passed, or nothing.

    Args:
        error: one that was raised; if it arose further in, the module is told as well.
        packages: what counts as the plugin's own code: the first that the error passed.
    """
    frames = list(walk_tb(error.__traceback__))
    for package in packages:
        own = [each for each in frames if package_of(module_of(each[0])) == package]
        if own:
            frame, number = own[-1]
            innermost = module_of(frames[-1][0])
            further = "" if package_of(innermost) == package else f", in {innermost}"
            return f"{line_of(frame, number)}{further}"
    return ""


def packages_of(kind: type) -> Iterable[str]:
    """The packages that a class and its bases come from, its own first."""
    return dict.fromkeys(package_of(each.__module__) for each in kind.__mro__)


def line_of(frame: FrameType, number: int) -> str:
    """` at tenant.py:57`: a line of the file whose code runs in `frame`."""
    return f" at {PurePath(frame.f_code.co_filename).name}:{number}"


def module_of(frame: FrameType) -> str:
    """The name of the module whose code runs in `frame`."""
    name: str = frame.f_globals.get("__name__", "")
    return name


def package_of(module: str) -> str:
    """The outermost package that `module` lies in."""
    return module.partition(".")[0]
