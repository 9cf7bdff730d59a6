"""One call by the application, and what is known about it."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import threading
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from flext_plugins._errors import DeadlineExceeded
from flext_plugins._logging import log, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from flext_plugins._connections.channel import Channel
    from flext_plugins._service import Service


def late(call: Call, waiting_for: str) -> DeadlineExceeded:
    """The error of a call whose time is up."""
    error = DeadlineExceeded(f"no time left, waiting for {waiting_for}")
    return error.add_context(service=call.service, call=call)


def least(*seconds: float | None) -> float | None:
    """The shortest of several limits; `None` is none."""
    limits = [each for each in seconds if each is not None]
    return min(limits) if limits else None


CORRELATION = "X-Correlation-ID"
"""The header that ties requests to what caused them, across services."""


@dataclass(slots=True, eq=False)
class Call:
    """One call by the application: its hops and attempts share this."""

    service: str
    route: str | None = None
    """The path's template (`/orders/{id}`), as the application named it."""
    user: str | None = None
    correlation_id: str = ""
    """What ties this call to others, here and in other services; `id` if nobody said."""
    deadline: float | None = None
    """When the call must have ended, on the clock of `time.monotonic`."""
    attempt: int = 1
    """The number of the send under way, of all hops; an operation's repetitions count too."""
    answered_by: str | None = None
    """The plugin that answered or refused; `None` if the service did."""
    started: float = field(default_factory=time.monotonic)
    """On the clock of `time.monotonic`."""
    id: str = field(default_factory=lambda: os.urandom(8).hex())
    sent: bool = False
    """Whether anything of it, any hop or attempt, was handed to a transport, or an operation of it
    began; one that is idempotent counts only if it is itself the call."""
    _resends: int = field(default=0, init=False, repr=False)
    """How many of its sends were a plugin's second or a later one of the same hop."""
    _is_drained: bool = field(default=False, init=False, repr=False)
    """Whether it was told that closing the host refused or ended it."""

    def __post_init__(self) -> None:
        self.correlation_id = self.correlation_id or self.id

    def remaining(self) -> float | None:
        """Seconds until the deadline, negative once it has passed; `None` without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def check(self, waiting_for: str) -> float | None:
        """`remaining()`, for something that is about to wait.

        Raises:
            DeadlineExceeded: nothing remains; its message says what would have been waited for.
        """
        left = self.remaining()
        if left is not None and left <= 0:
            raise late(self, waiting_for)
        return left


class Scope(NamedTuple):
    """The exchange or operation under way in this context."""

    call: Call
    wire: Any
    """A `Wire`, or `None` for an operation outside of an exchange."""
    absent: frozenset[int] = frozenset()
    """`id`s of plugin instances that caused this exchange and so stay out of it."""
    work: Any = None
    """Inside an operation: what it is about."""
    held: tuple[Any, ...] = ()
    """A `Holding` for each permit that was taken in this context."""


def restore(variable: ContextVar[Any], token: Token[Any]) -> None:
    """Undo a `variable.set`, unless the garbage collector closes what did it.

    It does so in another context, where nothing is to be undone, and may do so in another thread.
    """
    with suppress(ValueError):
        variable.reset(token)


scope: ContextVar[Scope | None] = ContextVar("flext_plugins.scope", default=None)


class Hops:
    """The hops of one `send` of a client that `connect` made, which are one call.

    Args:
        owner: the client's transport; a hop through any other belongs to another call.
    """

    __slots__ = ("_started", "_token", "call", "channel", "owner", "wire")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.call: Call | None = None
        """The call, from its first hop on."""
        self.channel: Channel | None = None
        """The channel whose plugins saw a hop; `None` if all went elsewhere."""
        self.wire: Any = None

    def __enter__(self) -> Self:
        self._token = hops_under_way.set(self)
        self._started = time.monotonic()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        restore(hops_under_way, self._token)
        if self.channel is not None and self.call is not None:
            passed = time.monotonic() - self._started
            self.channel.finish_call(self.call, self.wire, error, passed)


hops_under_way: ContextVar[Hops | None] = ContextVar("flext_plugins.hops", default=None)


_options: ContextVar[tuple[Mapping[str, Any], ...]] = ContextVar(
    "flext_plugins.options", default=()
)
"""What each `options` block that is open here says, the innermost last."""


def within(current: Scope | None, function: Callable[..., None]) -> Callable[..., None]:
    """`function`, to be called later as if it were inside `current`."""

    def call(*args: Any) -> None:
        token = scope.set(current)
        try:
            function(*args)
        finally:
            restore(scope, token)

    return call


def inside(call: Call, function: Callable[..., None]) -> Callable[..., None]:
    """`function`, to be called as if it were inside `call`, or here if something is under way."""
    return within(scope.get() or Scope(call, None), function)


@contextmanager
def options(
    *,
    route: str | None = None,
    deadline: float | None = None,
    user: str | None = None,
    correlation_id: str | None = None,
) -> Iterator[None]:
    """Say what the application knows about the calls made inside the `with` block.

    Works for every client, and for libraries on top of one. Blocks nest, key by key.

    Args:
        route: the path's template, such as `/orders/{id}`.
        deadline: seconds for each call from its start, over all attempts and hops, what its
            plugins wait for and the answer's body included.
        user: who the call is made for.
        correlation_id: what ties this call to others, sent as `X-Correlation-ID`: up to 128
            characters of visible ASCII. One that came from outside is better bound in structlog's
            context, where it is replaced if it is not of that form.

    Raises:
        TypeError: `deadline` is no number, or something else no text.
        ValueError: `deadline` is not positive or no time, or `correlation_id` cannot be sent.
    """
    for key, value in {"route": route, "user": user, "correlation_id": correlation_id}.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"options({key}=...) takes text, not {type(value).__name__}")
    if correlation_id is not None and correlation(correlation_id) is None:
        raise ValueError(
            "options(correlation_id=...) takes 1 to 128 characters of visible ASCII, no blanks"
        )
    if deadline is not None:
        deadline = _seconds(deadline)
    every = {"route": route, "deadline": deadline, "user": user, "correlation_id": correlation_id}
    said = {key: value for key, value in every.items() if value is not None}
    token = _options.set((*_options.get(), said))
    try:
        yield
    finally:
        still = tuple(each for each in _options.get() if each is not said)
        with suppress(ValueError):  # as in `restore`
            _options.reset(token)
            _options.set(still)  # blocks of generators may end in any order


def _seconds(deadline: object) -> float:
    """The seconds that `options` was given.

    Raises:
        TypeError: it is no number.
        ValueError: nothing can end after so many seconds.
    """
    takes = "options(deadline=...) takes a positive number of seconds"
    if isinstance(deadline, bool) or not isinstance(deadline, Real):
        kind = type(deadline).__name__
        remedy = "; call its total_seconds()" if hasattr(deadline, "total_seconds") else ""
        raise TypeError(f"{takes}, not {kind}{remedy}")
    try:
        seconds = float(deadline)
    except OverflowError:
        seconds = -math.inf if deadline < 0 else math.inf
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        forever = "; without it a call may take for ever" if seconds > 0 else ""
        raise ValueError(f"{takes}, not {seconds:g}{forever}")
    return seconds


def new_call(service: Service) -> Call:
    """A call on `service`, with what `options` and the call that causes it say."""
    blocks, cause = _options.get(), scope.get()
    said = {key: value for block in blocks for key, value in block.items()} if blocks else None
    call = Call(service.name)
    seconds = service.deadline
    if said is not None:
        seconds = least(said.get("deadline"), seconds)
    if cause is not None:
        call.user, call.correlation_id = cause.call.user, cause.call.correlation_id
    elif said is not None:
        call.route, call.user = said.get("route"), said.get("user")
        call.correlation_id = said.get("correlation_id") or _bound() or call.id
    else:
        call.correlation_id = _bound() or call.id
    if seconds is not None:
        call.deadline = call.started + seconds
    if cause is not None:
        call.deadline = least(call.deadline, cause.call.deadline)
    return call


def correlation(value: object) -> str | None:
    """`value` as a correlation id, if it may be one: visible ASCII, 128 characters at most."""
    text = value.decode("latin-1") if type(value) is bytes else text_of(value)
    return text if re.fullmatch(r"[!-~]{1,128}", text) else None


def _bound() -> str:
    """The `correlation_id` in structlog's context, if the program uses that, else nothing."""
    if (structlog := sys.modules.get("structlog.contextvars")) is None:
        return ""
    get: Any = getattr(structlog, "get_contextvars", dict)  # it may be about to be imported
    value = get().get("correlation_id")
    if value is None:
        return ""
    found = correlation(value)
    if found is None:
        _tell_replaced()
    return found or ""


@cache
def _tell_replaced() -> None:
    """Warn once in a program, so that whoever sends such ids cannot fill its log."""
    log(
        logging.WARNING,
        "correlation_id in structlog's context is not 1 to 128 characters of visible ASCII; "
        "such ones are replaced",
    )
