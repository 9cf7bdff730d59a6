"""A service composed with its plugins and open; what hooks are handed."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, cast, overload

from flext_plugins._call import Call, least, new_call, scope
from flext_plugins._chain.drive import drive
from flext_plugins._chain.layer import blame, lacks_loop
from flext_plugins._connections.messaging import Messaging
from flext_plugins._connections.resource import Resource
from flext_plugins._connections.work import apply, apply_any, in_time
from flext_plugins._errors import DeadlineExceeded, FlextError, PluginError
from flext_plugins._permits import Permit, hold, hold_nothing, tell_wait
from flext_plugins._wire import builder

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Awaitable,
        Callable,
        Coroutine,
        Hashable,
        Iterator,
        Mapping,
    )

    from flext_plugins._chain.layer import Layer
    from flext_plugins._connections.channel import Channel
    from flext_plugins._messages import Response
    from flext_plugins._service import Operation, PluginInfo, Service

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
E = TypeVar("E", bound=FlextError)
ROUNDING = 0.002
"""Seconds that a library's time-out may come early, so that it never comes before the deadline."""


class Connection(Messaging):
    """A plugin's view of the open connection to one service; each plugin has its own.

    The awaitables finish without suspending where `asynchronous` is false: there a hook awaits
    nothing else.
    """

    __slots__ = ("_state",)

    def __init__(self, channel: Channel, layer: Layer) -> None:
        super().__init__(channel, layer)
        self._state: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Connection {self._channel.service.name!r} for {self._layer.name!r}>"

    @property
    def asynchronous(self) -> bool:
        """Whether this connection belongs to an event loop."""
        return self._channel.asynchronous

    @property
    def has_receivers(self) -> bool:
        """Whether a plugin of the service has `flext_event`: if not, no event need be made."""
        return self._channel.has_receivers

    @property
    def service(self) -> Service:
        """The service at the other end."""
        return self._channel.service

    @property
    def plugin(self) -> PluginInfo:
        """The plugin whose view this is, one of `service.plugins`: for the name that it goes by."""
        return next(each for each in self.service.plugins if each.name == self._layer.name)

    @property
    def state(self) -> dict[str, Any]:
        """A dict of the plugin's own for this connection, empty when it opens.

        All threads share that of a sync connection.
        """
        return self._state

    @property
    def waits(self) -> bool:
        """Whether plugins wait here, and refuse what is too much or hopeless.

        False only inside the kit's `without_waiting`: there a guard lets everything through and
        counts nothing.
        """
        return self._channel.runtime.waits

    @property
    def _name(self) -> tuple[str, str]:
        """The names of service and plugin, which a forked child's own has too."""
        return self.service.name, self._layer.name

    def _time_left(self, waiting_for: str) -> float | None:
        call = self.call
        return call.check(f"{self._layer.name}'s {waiting_for}") if call else None

    async def _in_time(self, waiting_for: str, apply: Callable[..., Awaitable[T]], *args: Any) -> T:
        """The result of `apply(*args)`, which ends with the call's deadline."""
        asynchronous, what = self.asynchronous, f"{self._layer.name}'s {waiting_for}"
        work = partial(apply, *args, asynchronous=asynchronous)
        return await in_time(self.call, what, work, asynchronous=asynchronous)

    async def sleep(self, seconds: float) -> None:
        """Wait, or only let others run where nothing `waits`.

        Raises:
            DeadlineExceeded: at once, if the call's deadline comes first.
        """
        left = self._time_left("sleep")
        if not self.waits:
            seconds = 0
        if left is not None and seconds >= left:
            raise DeadlineExceeded(f"no time left to wait {seconds:g} s")
        if self.asynchronous:
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)  # noqa: ASYNC251 - driven: there is no loop to block

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """`function(*args)`, which may block: in place, or in a worker thread.

        Raises:
            DeadlineExceeded: the call's deadline passed first. What runs in a thread goes on there;
                in place, the function ends before this is raised, from its own error if it raised
                one.
        """
        return await self._in_time("blocking work", apply, function, args)

    async def once(
        self, key: Hashable, work: Callable[[], Awaitable[T]], *, shared: bool = False
    ) -> T:
        """Share the result of `work()` among all that ask with `key` at the same time; one runs it.

        Shared by the service's threads and loops. Waiters share the result or the error. If the
        leader is cancelled, a waiter runs its own `work`; who would wait for itself runs it too.

        Args:
            key: belongs to this plugin instance, and so to one service.
            work: gives the result.
            shared: whether all instances of the plugin's class in the host share it. `key` then has
                to name all that the result depends on.

        Raises:
            DeadlineExceeded: the call's deadline passed while waiting.
        """
        call, plugin = self.call, self._layer.plugin
        full_key = (type(plugin) if shared else self._name, key)
        result: T = await self._channel.runtime.singleflight.once(
            full_key, work, asynchronous=self.asynchronous, deadline=call.deadline if call else None
        )
        return result

    def permit(
        self,
        key: Hashable,
        capacity: int,
        queue: int | None = None,
        timeout: float | None = None,
        *,
        shared: bool = False,
        always: bool = False,
    ) -> Permit:
        """A permit to go on, of which `capacity` are held at a time, in threads and event loops.

        `async with` it, or `await` it and call its `release()`. Who comes first is first. A call
        that holds one of `key` gets it again without counting, in its own context.

        Where nothing `waits` everybody gets one, unless it is for `always`.

        Args:
            key: belongs to this plugin instance, and so to one service.
            capacity: the same each time that `key` is used.
            queue: refuses who finds none free and so many waiting.
            timeout: seconds to wait; then it refuses.
            shared: whether all instances of the plugin's class in the host share `key`.
            always: whether it counts where nothing `waits` as well: for what there is only so much
                of, such as connections, and not for a limit that a test has no use for.

        Raises:
            Refused: while awaited; the message says why.
            DeadlineExceeded: while awaited; the call's deadline passed.
            PluginError: `key` has another capacity.
        """
        runtime, plugin = self._channel.runtime, self._layer.plugin
        full_key = (type(plugin) if shared else self._name, key)
        permits = runtime.permits.of(full_key, capacity)
        waiting_for, asynchronous = f"{self._layer.name}'s permit", self.asynchronous
        tidy = partial(runtime.channels.tidy, asynchronous=asynchronous)
        line = partial(tell_wait, self.emit, self._layer.name)
        acquiring: Any = (
            hold(permits, queue, timeout, waiting_for, tidy, line, asynchronous=asynchronous)
            if always or self.waits
            else hold_nothing()
        )
        acquiring.__qualname__ = "Connection.permit"  # Python warns of one that nobody awaits
        return Permit(acquiring)

    async def request(
        self,
        service: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        json: Any = None,
    ) -> Response:
        """Send to this service, or to one that this plugin's settings name.

        They do so by the type `ServiceName`, or by a `ServiceURL`, whose `origin` is the service's
        name. Goes through that service's own connection and plugins, this instance excepted. The
        response's body is unread: `read` it or `close` it. Redirects are not followed. It ends
        with the call's deadline.

        Raises:
            PluginError: the settings do not name `service`, or `url` is another origin's.
            DeadlineExceeded: the call has no time left.
        """
        build = builder(headers, content, json)
        del headers, content, json  # often secrets: nobody who renders locals shall see them here
        if service not in self._layer.services and service != self.service.name:
            raise PluginError(
                f"requested service {service!r}, which its settings do not name by a field of the "
                "type ServiceName"
            )
        await self._survive_fork()
        outer = scope.get()
        runtime, channel = self._channel.runtime, self._channel
        library = outer.wire.library if outer and outer.wire else runtime.default_library
        if service != channel.service.name or not channel.is_changing:
            channel = await runtime.channels.get(service, asynchronous=self.asynchronous)
        wire = channel.wire(library)
        call = new_call(channel.service)
        absent = (outer.absent if outer else frozenset()) | {id(self._layer.plugin)} | channel.gone
        message = build(wire.messages, method, url)
        if not wire.messages.owns(message):
            raise PluginError(f"requested another origin than service {service!r}'s")
        response: Response = await channel.exchange(message, wire, call, absent)
        return response

    def begin_call(self) -> Call:
        """The call under way here, or a new one, for operations that belong together.

        All that are performed with `call=` it have its deadline and its correlation id.
        """
        return self.call or new_call(self.service)

    @overload
    async def perform(
        self,
        operation: Operation,
        function: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        call: Call | None = None,
    ) -> T: ...
    @overload
    async def perform(
        self,
        operation: Operation,
        function: Callable[[*Ts], T],
        *args: *Ts,
        call: Call | None = None,
    ) -> T: ...
    async def perform(
        self,
        operation: Operation,
        function: Callable[[*Ts], Any],
        *args: *Ts,
        call: Call | None = None,
    ) -> Any:
        """`function(*args)` as an operation, inside the service's plugins for operations.

        A plain `function` runs as in `run`, an `async def` is awaited, and so is an awaitable that
        a plain one returns. The operation belongs to `call`, which `begin_call` gave, else to the
        call under way here, else to one of its own. What `function` raises keeps its class: a
        `FlextError` gets this plugin and the service, any other error a note of them.

        Raises:
            DeadlineExceeded: as `run` does.
        """

        async def work() -> Any:
            what = f"{operation.name} at {operation.system} {operation.target}"
            try:
                return await self._in_time(what, apply_any, function, args)
            except Exception as error:
                if not self.asynchronous and lacks_loop(error):
                    raise blame(error, self._layer, "perform", self.service.name) from error
                self._attribute(error, operation)
                raise

        await self._survive_fork()
        absent = self._channel.gone | {id(self._layer.plugin)}
        return await self._channel.operate(operation, work, absent, call or self.begin_call())

    async def _survive_fork(self) -> None:
        """Go on with the child's own plugins, if the process was forked since this was handed out.

        Its copies of the parent's may have had their locks held by another thread.
        """
        if self._channel.is_inherited:
            channel = await self._channel.successor()
            twin = next(each for each in channel.views if each._layer.name == self._layer.name)  # noqa: SLF001
            self._channel, self._layer, self._state = channel, twin._layer, twin._state  # noqa: SLF001

    def _attribute(self, error: Exception, operation: Operation) -> None:
        """Say in `error` whose operation it arose in."""
        layer, service = self._layer, self._channel.service.name
        if isinstance(error, FlextError):
            blame(error, layer, "perform", service, self.call, self._channel)
            return
        what = f"{operation.name!r} at {operation.system} {operation.target}"
        note = f"in the operation {what}, by plugin {layer.name!r} of service {service!r}"
        if note not in getattr(error, "__notes__", ()):
            with suppress(Exception):  # a frozen error takes no notes
                error.add_note(note)

    @overload
    def timeout(self, seconds: float) -> float: ...
    @overload
    def timeout(self, seconds: float | None) -> float | None: ...
    def timeout(self, seconds: float | None) -> float | None:
        """`seconds`, or those until the call's deadline if they are fewer; `None` is for ever.

        For a time-out of a library that the plugin uses.

        Raises:
            DeadlineExceeded: none are left.
        """
        left = self._time_left("work")
        return least(seconds, None if left is None else left + ROUNDING)

    def add_context(self, error: E) -> E:
        """Say in `error` that it is this plugin's, unless it names others; return it.

        For what a resource raises outside of operations: `perform` does it inside.
        """
        layer = self._layer
        return error.add_context(
            service=self._channel.service.name,
            plugin=layer.name,
            distribution=layer.distribution,
            call=self.call,
        )

    def emit(self, event: object) -> None:
        """Hand a record to every `flext_event` of this service."""
        if not self._channel.is_inherited:  # else those that hear would be the parent's
            self._channel.emit(event)

    def provide(
        self,
        kind: type[T],
        value: T,
        name: str | None = None,
        close: Callable[[], Any] | None = None,
    ) -> None:
        """Lend `value` to the application, which asks `host.resource(service, kind, name)`.

        Args:
            kind: the type to be asked for.
            value: what is lent.
            name: needed where a service lends several of a kind.
            close: called (and awaited, if it is `async def`) when the connection closes.

        Raises:
            PluginError: `value` is no `kind`, or there is one of that type and name already.
        """
        self._channel.resources.provide(Resource(kind, name, value, close, self._layer.name))

    def drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that awaits only what connections offer, for a sync resource's method."""
        if self.asynchronous:
            coroutine.close()
            raise PluginError("drive belongs to sync connections; await the coroutine")
        return drive(coroutine, self._channel.layers)

    def iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """Yield what an async generator yields, for a sync resource's method; see `drive`.

        Whoever leaves the iterator, or lets it be collected, closes the generator.
        """

        async def following() -> T | None:
            return await anext(items, end)

        end: Any = object()
        try:
            while (item := self.drive(following())) is not end:
                yield cast("T", item)
        finally:
            self.drive(items.aclose())
