"""What can go wrong, typed by what the caller can do about it.

    FlextError
    ├── ConfigError               mend the configuration; `problems` lists all that was found
    │   ├── PluginNotFound        install the plugin, or mend its name
    │   ├── PluginConflict        say which distribution is meant with `use`
    │   └── PluginIncompatible    install a version that fits
    ├── PluginError               a plugin broke its contract: tell its distribution
    ├── Refused                   nothing was sent: try later, see `retry_after`
    └── DeadlineExceeded          the call's time is up

Where `Refused` or `DeadlineExceeded` leaves a client, it is also that library's own transport error
or time-out (`httpx.TransportError`, `httpx.TimeoutException`), so existing handlers keep working.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .service import Call

    E = TypeVar("E", bound="FlextError")


class FlextError(Exception):
    """Root of the tree; the host fills in who and where."""

    service: str | None = None
    plugin: str | None = None
    distribution: str | None = None
    call: Call | None = None

    def __str__(self) -> str:
        who = [part for part in (self.service, self.plugin) if part]
        return ": ".join([*who, str(self.args[0]) if self.args else type(self).__name__])


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


class Refused(FlextError):
    """Nothing was sent; retrying at once is pointless.

    Attributes:
        retry_after: seconds after which it may be worth it, or `None`.
    """

    retry_after: float | None = None

    def __init__(self, message: str = "refused", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(FlextError):
    """The call's deadline passed; the message says what was waited for."""


@cache
def _native_class(kind: type[FlextError], base: type[Exception]) -> type[FlextError]:
    def reduce(error: Any) -> Any:
        return native, (error.plain, base)

    body = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__reduce__": reduce}
    return type(kind.__name__, (kind, base), body)


def native(error: E, base: type[Exception]) -> E:
    """`error` as one that is also a `base`, with the same message, facts, cause and traceback."""
    kind: Any = _native_class(type(error), base)  # type: ignore[arg-type] # classes are hashable
    made = kind.__new__(kind)
    base.__init__(made, str(error))
    vars(made).update(vars(error))
    made.args, made.plain, made.__cause__ = error.args, error, error.__cause__
    made.__suppress_context__ = True
    result: E = made.with_traceback(error.__traceback__)
    return result
