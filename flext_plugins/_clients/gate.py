"""The way out: who may send now, through which proxy, and until when."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from flext_plugins._call import late, least
from flext_plugins._chain.layer import discard
from flext_plugins._config.proxies import carrier, is_for_this_machine
from flext_plugins._config.service_checks import by_proxy
from flext_plugins._connections.channel import HOST_CLOSED
from flext_plugins._connections.log import tell_drained
from flext_plugins._deadline import Limit
from flext_plugins._errors import ConfigError, FlextError, Refused, native
from flext_plugins._masking import Mask
from flext_plugins._permits import Holding, Permits, tell_wait
from flext_plugins._wire import Library, Load, Messages, Wire, blame_caller
from flext_plugins.http import Origin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import SecretStr

    from flext_plugins._call import Call
    from flext_plugins._chain.layer import Receiver
    from flext_plugins._messages import Request
    from flext_plugins._runtime import Runtime
    from flext_plugins._service import Service

MASK = "flext_plugins.mask"
"""The key in an error response's `extensions` under which its `Mask` stands."""


class Gate(Permits):
    """Admits so many exchanges at a time.

    Stands before a pool whose own queue is quadratic in those that wait: 1,000 waiting in httpcore
    take 37 s, behind a gate 2 s.
    """

    def __init__(self, capacity: int, *, asynchronous: bool) -> None:
        super().__init__(capacity)
        self.is_asynchronous = asynchronous
        self.dropped: deque[Callable[[], Any]] = deque()
        """Closes what was collected before anybody closed it."""

    async def enter(
        self,
        seconds: float | None,
        call: Call,
        full: type[Exception],
        emit: Callable[[object], None],
    ) -> None:
        """Take a permit in one's turn.

        Args:
            seconds: to wait at most.
            call: which waits.
            full: the error if none becomes free.
            emit: is handed the events of the wait, if there is one.

        Raises:
            full: none was free for `seconds`.
            DeadlineExceeded: none was free before the call's deadline.
        """
        left = call.check("a free connection")
        wait = least(seconds, left)
        try:
            line = partial(tell_wait, emit, None, call)
            await self.acquire(wait, asynchronous=self.is_asynchronous, line=line)
        except TimeoutError:
            if left is not None and wait == left:
                raise late(call, "a free connection") from None
            raise full(f"no connection was free for {seconds:g} s") from None

    async def close_dropped(self) -> None:
        """Close what was dropped, so that the pool counts it no more and its watchers are told."""
        while self.dropped:
            with suppress(Exception):  # another caller came first, or the connection is broken
                closing = self.dropped.popleft()()
                if closing is not None:
                    await closing


class Permit(Holding):
    """Admits one exchange."""

    __slots__ = ()

    def drop(self, body: Any) -> None:
        """Put it back for a body that is being collected before anybody closed it.

        The collector strikes in any thread and under any lock, the pool's among them. So the body
        is kept, and the next exchange that is admitted, or waits for a plugin's permit, closes it.
        """
        try:
            gate: Any = self._permits.pop()
        except IndexError:
            return
        gate.dropped.append(body.aclose if gate.is_asynchronous else body.close)
        gate.give()


class GatedWire(Wire):
    """A service's way out through one library: admits, ends with the deadline, then sends."""

    _full: type[Exception]
    """The library's error when no connection is free in time."""
    _consumed: Callable[[], Exception]
    """The library's error when a body was sent before."""
    receiver: Receiver

    def __init__(
        self,
        library: Library,
        service: Service,
        messages: Messages,
        runtime: Runtime,
        *,
        asynchronous: bool,
    ) -> None:
        self.library, self.messages = library, messages
        self._service, self.asynchronous = service, asynchronous
        self._closed = False
        self._credentials, self._watchdog = runtime.credentials, runtime.watchdog
        self._stays = not service.allow_insecure and is_for_this_machine(service.base_url)
        self._gate = Gate(service.max_connections, asynchronous=asynchronous)

    @property
    def load(self) -> Load:
        return Load(self._gate.in_use, self._gate.waiting, self._gate.capacity)

    @property
    def has_dropped(self) -> bool:
        return bool(self._gate.dropped)

    async def close_dropped(self) -> None:
        await self._gate.close_dropped()

    @abstractmethod
    async def _dispatch(
        self, request: Any, call: Call, left: float | None, permit: Permit, *, own: bool
    ) -> Any:
        """Send an admitted request, each wait of `left` seconds at most.

        The response's body ends with the call's deadline, and releases `permit`.
        """

    def _leaves_machine(self, proxy: SecretStr | None) -> bool:
        """Whether `proxy` would take plain requests to the service off this machine.

        Raises:
            ConfigError: it would, and with them credentials that may not be sent in clear.
        """
        if proxy is None or not self._stays:
            return False
        service = self._service
        name = carrier(proxy.get_secret_value(), service.proxy)
        if name is None:
            return False
        if who := self._credentials.get(service.name):
            found = by_proxy(name, service.proxy)
            what = f"{who} would send credentials {found.way}"
            raise ConfigError(f"{what}; {found.remedy}, or say {found.settings}")
        return True

    def send(self, request: Any, call: Call) -> Awaitable[Any]:
        return self._admitted(request, call, own=True)

    def bare(self, request: Any, call: Call) -> Awaitable[Any]:
        return self._admitted(request, call, own=False)

    async def _admitted(self, request: Any, call: Call, *, own: bool) -> Any:
        if not self.messages.sendable(request):
            raise self._consumed()
        if call.deadline is not None or not self._gate.take():
            seconds, emit = self.messages.pool_timeout(request), self.receiver.emit
            await self._gate.enter(seconds, call, self._full, emit)
        permit = Permit(self._gate)
        response = None
        try:
            if self._gate.dropped:
                await self._gate.close_dropped()
            if self._closed:
                raise self._drained(call)
            answerer = call.service if own else _host(request)
            if call.deadline is None:
                call.sent = True
                response = await self._dispatch(request, call, None, permit, own=own)
            else:
                waiting_for = f"the answer of {answerer}"
                left, limit = call.check(waiting_for), Limit(call, waiting_for)
                call.sent = True
                if self.asynchronous:
                    async with limit:
                        response = await self._dispatch(request, call, left, permit, own=own)
                else:
                    with limit:
                        response = await self._dispatch(request, call, left, permit, own=own)
            if self._closed:
                raise self._drained(call)
            if response.status_code >= 400:  # what was really sent is known only here
                response.extensions[MASK] = Mask(request.headers, answerer)
            return response
        except BaseException as error:
            if response is None:
                permit.release()
            is_failure = self._failed(request, error)
            await discard(self, response, error)
            if not (self._closed and is_failure):
                raise
        raise self._drained(call)

    def _failed(self, request: Any, error: BaseException) -> bool:
        """Whether the exchange failed; where its time-outs leave no time, the caller is blamed."""
        if isinstance(error, FlextError) or not isinstance(error, Exception):
            return False
        if not self.messages.waits(request):
            blame_caller(error)
        return True

    def _drained(self, call: Call) -> Refused:
        """Tell, and word, what closing the host has done to a call, which is nobody's failure."""
        tell_drained(call, self.receiver.emit)
        return Refused(HOST_CLOSED).add_context(service=call.service, call=call)

    def explained(self, call: Call, error: BaseException) -> BaseException:
        """Why a body broke: `error`, or that we have closed its connection."""
        if not (self._closed and isinstance(error, self.library.refused)):
            return error
        return native(self._drained(call), self.library.refused)


def _host(request: Request) -> str:
    """The host of a request that goes elsewhere; a redirect may lead to what is no address."""
    try:
        return Origin.of(request.native.url).host
    except ValueError:
        return "another host"
