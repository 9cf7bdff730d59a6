"""A service composed with its plugins and open; what hooks are handed."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from flext_plugins._call import Call, least, new_call, restore, scope
from flext_plugins._chain.drive import drive
from flext_plugins._chain.layer import IDENTIFIED, blame
from flext_plugins._chain.transformation import Blamed
from flext_plugins._connections.resource import Resource
from flext_plugins._connections.work import apply, apply_any, in_time
from flext_plugins._errors import DeadlineExceeded, FlextError, PluginError
from flext_plugins._messages import Failure, Sent
from flext_plugins._permits import Permit, hold, hold_nothing
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
    from flext_plugins._messages import BodyEnd, Request, Response, Transformation
    from flext_plugins._service import Operation, Service
    from flext_plugins._wire import Wire

T = TypeVar("T")
E = TypeVar("E", bound=FlextError)
ROUNDING = 0.002
"""Seconds that a library's time-out may come early, so that it never comes before the deadline."""


def _is_status(value: object) -> bool:
    return isinstance(value, int) and 100 <= value <= 999


class Connection:
    """A plugin's view of the open connection to one service; each plugin has its own.

    The awaitables finish without suspending where `asynchronous` is false: there a hook awaits
    nothing else.
    """

    __slots__ = ("_channel", "_layer", "_state")

    def __init__(self, channel: Channel, layer: Layer) -> None:
        self._channel, self._layer = channel, layer
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
    def call(self) -> Call | None:
        """The call under way here, or `None`."""
        current = scope.get()
        return current.call if current else None

    @property
    def _wire(self) -> Wire:
        current = scope.get()
        wire: Wire | None = current.wire if current else None
        return wire or self._channel.wire(self._channel.runtime.default_library)

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

    async def run(self, function: Callable[..., T], *args: Any) -> T:
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
        full_key = (type(plugin) if shared else id(plugin), key)
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
    ) -> Permit:
        """A permit to go on, of which `capacity` are held at a time, in threads and event loops.

        `async with` it, or `await` it and call its `release()`. Who comes first is first. A call
        that holds one of `key` gets it again without counting, in its own context.

        Where nothing `waits` everybody gets one.

        Args:
            key: belongs to this plugin instance, and so to one service.
            capacity: the same each time that `key` is used.
            queue: refuses who finds none free and so many waiting.
            timeout: seconds to wait; then it refuses.
            shared: whether all instances of the plugin's class in the host share `key`.

        Raises:
            Refused: while awaited; the message says why.
            DeadlineExceeded: while awaited; the call's deadline passed.
            PluginError: `key` has another capacity.
        """
        runtime, plugin = self._channel.runtime, self._layer.plugin
        full_key = (type(plugin) if shared else id(plugin), key)
        permits = runtime.permits.of(full_key, capacity)
        waiting_for, asynchronous = f"{self._layer.name}'s permit", self.asynchronous
        tidy = partial(runtime.channels.tidy, asynchronous=asynchronous)
        acquiring: Any = (
            hold(permits, queue, timeout, waiting_for, tidy, asynchronous=asynchronous)
            if self.waits
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
        """Send to a service that this plugin's settings name.

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
        if service not in self._layer.services:
            raise PluginError(
                f"requested service {service!r}, which its settings do not name by a field of the "
                "type ServiceName"
            )
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
        function: Callable[..., Awaitable[T]],
        *args: Any,
        call: Call | None = None,
    ) -> T: ...
    @overload
    async def perform(
        self,
        operation: Operation,
        function: Callable[..., T],
        *args: Any,
        call: Call | None = None,
    ) -> T: ...
    async def perform(
        self,
        operation: Operation,
        function: Callable[..., Any],
        *args: Any,
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
            what = f"{operation.name} at {operation.system}"
            try:
                return await self._in_time(what, apply_any, function, args)
            except Exception as error:
                self._attribute(error, operation)
                raise

        absent = self._channel.gone | {id(self._layer.plugin)}
        return await self._channel.operate(operation, work, absent, call or self.begin_call())

    def _attribute(self, error: Exception, operation: Operation) -> None:
        """Say in `error` whose operation it arose in."""
        layer, service = self._layer, self._channel.service.name
        if isinstance(error, FlextError):
            blame(error, layer, "perform", service, self.call, self._channel)
            return
        what = f"{operation.name!r} at {operation.system}"
        note = f"in the operation {what}, by plugin {layer.name!r} of service {service!r}"
        if note not in getattr(error, "__notes__", ()):
            with suppress(Exception):  # a frozen error takes no notes
                error.add_note(note)

    async def read(self, message: Request | Response) -> bytes:
        """The message's body, decoded; it stays readable for everybody else."""
        return await self._wire.read(message)

    async def close(self, response: Response) -> None:
        """Close a response that goes no further; closing twice is fine."""
        await self._wire.close(response)

    def respond(
        self, status: int, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> Response:
        """An answer made here, in the current exchange's library, else httpx's.

        Raises:
            PluginError: `status` is no number from 100 to 999, or `content` no bytes.
        """
        if not _is_status(status):
            raise PluginError(f"respond takes a status from 100 to 999, not {status!r:.40}")
        if not isinstance(content, bytes):
            raise PluginError(f"respond takes content in bytes, not {type(content).__name__}")
        response: Response = self._wire.messages.respond(status, headers, content)
        return response

    def failure(self, error: BaseException) -> Failure | None:
        """The place on the wire where `error` arose; `None` if it is not the wire's."""
        declared = getattr(type(error), "failure", None)
        if isinstance(declared, Failure):
            return declared
        return None if isinstance(error, FlextError) else self._wire.messages.failure(error)

    def replayable(self, request: Request) -> bool:
        """Whether the body of `request` can be sent any number of times.

        Bytes, forms and files that can be sought are; an iterator or a pipe is not.
        """
        return self._wire.messages.replayable(request)

    def sendable(self, request: Request) -> bool:
        """Whether `request` can be sent now: it is replayable, or nothing of it was sent before."""
        return self._wire.messages.sendable(request)

    def size(self, message: Request | Response) -> int | None:
        """The bytes of the message's body on the wire, not decoded; `None` if nobody knows yet."""
        return self._wire.messages.size(message)

    def sent(self, response: Response) -> Sent | None:
        """The request that `response` answers, as it was sent in the end.

        For a plugin that keeps answers: whether this one may be for whoever asked alone. `None` if
        a plugin further in made the answer.
        """
        request, own = response.sent, response.request
        if request is None or own is None:
            return None
        before = {name.lower(): value for name, value in own.headers.items()}
        after = {name.lower(): value for name, value in request.headers.items()}
        headers = frozenset(name for name in after if after[name] != before.get(name))
        identified = IDENTIFIED in request.extensions or self._wire.messages.identified(request)
        return Sent(headers, identified)

    def replace(self, message: Request | Response, content: bytes) -> None:
        """Make `content` the body of `message`, and its length `Content-Length`.

        The request can be sent any number of times then. `content` stands on the wire as it is: if
        it is not encoded as the header `Content-Encoding` says, change that too.

        Raises:
            PluginError: `content` is no bytes, or the plugin is an observer.
        """
        self._refuse_observer("replace")
        if not isinstance(content, bytes):
            raise PluginError(f"replace takes bytes, not {type(content).__name__}")
        self._wire.messages.replace(message, content)

    def _refuse_observer(self, what: str) -> None:
        if self._layer.observer:
            raise PluginError(f"an observer cannot {what} a body")

    def transform(self, message: Request | Response, start: Callable[[], Transformation]) -> None:
        """Transform the body of `message` as it passes, without keeping more than a chunk of it.

        The bytes are those of the wire: a body with the header `Content-Encoding` is encoded still.
        `Content-Length` goes. A message without a body stays as it is. What the transformation
        raises reaches whoever reads the body as a `PluginError`.

        Args:
            message: of plugins that transform it, the one further out transforms a request first,
                the one further in a response.
            start: called anew for each send and each answer; gives an object with
                `feed(chunk) -> bytes` and `end() -> bytes`, the latter for a whole body only.
        """
        self._refuse_observer("transform")
        layer, service, call = self._layer, self._channel.service.name, self.call
        self._wire.messages.transform(message, lambda: Blamed(start, layer, service, call))

    def watch(self, response: Response, callback: BodyEnd) -> None:
        """Call `callback(error_or_none, bytes)` once, when the body was read, broke or closed.

        It is called where the application reads, and finds the exchange's `call` and `failure` as
        they are here. A read that was cancelled is told as that `CancelledError`.
        """
        current, sent = scope.get(), (response.request,)  # not the response, which holds this

        def ended(error: BaseException | None, size: int) -> None:
            token = scope.set(current)
            try:
                callback(error, size)
            except Exception as raised:
                self._channel.report(self._layer, "watch", raised, sent)
            finally:
                restore(scope, token)

        self._wire.watch(response, ended)

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
