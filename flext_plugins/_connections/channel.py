"""The open connection behind the views that plugins get of it."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
import time
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from flext_plugins._call import Call, Scope, hops_under_way, restore, scope, within
from flext_plugins._chain import exchange_chain, operation_chain
from flext_plugins._chain.layer import Layer, arranged, blame, cause_of, refuse_coroutine
from flext_plugins._connections.connection import Connection
from flext_plugins._connections.log import ServiceLog, outcome_of, tell_drained
from flext_plugins._connections.resource import Resources
from flext_plugins._errors import (
    FlextError,
    PluginError,
    Refused,
    account_of,
    name_service,
    packages_of,
    place_of,
    with_notes,
)
from flext_plugins._logging import harmless
from flext_plugins._masking import Mask
from flext_plugins._service import Status
from flext_plugins._wire import Load, failure_of
from flext_plugins.events import BodyEnded, CallFinished, HopFinished, Outcome, PluginFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from flext_plugins._chain.small_hooks import Inner
    from flext_plugins._runtime import Runtime
    from flext_plugins._service import Operation, Service
    from flext_plugins._wire import Library, Wire

_changing: ContextVar[tuple[Channel, ...]] = ContextVar("flext_plugins.changing", default=())
"""The channels that this context opens or closes, the innermost last."""
HOST_CLOSED = "the host is closed"


class Channel:
    """One service's open connection in one world, shared by the views that plugins get of it.

    Attributes:
        calls: as many as have no answer yet, operations included.
        asks: the other services that its plugins may send to.
        gone: `id`s of the plugins that have disconnected, or never connected, while it closes.
    """

    def __init__(
        self, service: Service, layers: tuple[Layer, ...], runtime: Runtime, *, asynchronous: bool
    ) -> None:
        self.service, self.layers, self.runtime = service, layers, runtime
        self.asynchronous = asynchronous
        self.resources = Resources(service.name)
        self.wires: dict[str, Wire] = {}
        self.asks = frozenset[str]().union(*(each.services for each in layers)) - {service.name}
        self.gone = frozenset[int]()
        self.is_open = self._is_changing = False
        self._closed = ""
        self._making = threading.RLock()
        self._lock: Any = asyncio.Lock() if asynchronous else threading.Lock()
        self._views = [(layer, Connection(self, layer)) for layer in layers]
        self._origin = runtime.channels
        self._connected: list[tuple[Layer, Connection]] = []
        self._receivers = self._every_receiver = [
            (layer, view, arranged(layer.hooks["flext_event"], ("event", "connection")))
            for layer, view in self._views
            if "flext_event" in layer.hooks
        ]
        self._chains: dict[tuple[str, frozenset[int]], Inner] = {}
        self._exchange = self.chain("exchange", frozenset())
        self._log = ServiceLog(service.name, runtime.occasions)
        self.calls = deque[None]()  # appending and popping are atomic

    def wire(self, library: Library) -> Wire:
        """The way to the network through a client library, made at its first use."""
        if self._closed and not self.is_changing:
            raise Refused(self._closed)
        wire = self.wires.get(library.name)
        return wire if wire is not None else self._new_wire(library)

    def _new_wire(self, library: Library) -> Wire:
        with self._making:  # an application's transport is made once, and closed
            if self._closed and not self.is_changing:
                raise Refused(self._closed)
            wire = self.wires.get(library.name)
            if wire is None:
                wire = library.wire(self.service, self.runtime, asynchronous=self.asynchronous)
                wire.receiver, self.wires[library.name] = self, wire
        return wire

    @property
    def under_way(self) -> int:
        """The calls under way, bodies and operations included."""
        return max(len(self.calls), self.load.under_way)

    @property
    def load(self) -> Load:
        """The exchanges through all its wires now."""
        loads = [Load(), *(each.load for each in [*self.wires.values()])]
        return Load(*(sum(column) for column in zip(*loads, strict=True)))

    @property
    def has_dropped(self) -> bool:
        """Whether there are bodies that were collected before anybody closed them."""
        return any(each.has_dropped for each in list(self.wires.values()))

    async def close_dropped(self) -> None:
        """Close those bodies, so that who watches them is told."""
        for each in list(self.wires.values()):
            await each.close_dropped()

    @property
    def views(self) -> list[Connection]:
        """The views of it that its plugins are handed."""
        return [view for _, view in self._views]

    @property
    def is_inherited(self) -> bool:
        """Whether it was opened before this process was forked."""
        return self._origin is not self.runtime.channels

    async def successor(self) -> Channel:
        """The forked child's own channel to the service in this world."""
        self._refuse_closed()
        channels = self.runtime.channels
        return await channels.get(self.service.name, asynchronous=self.asynchronous)

    def chain(self, kind: str, absent: frozenset[int]) -> Inner:
        """The compiled onion without the plugins in `absent`."""
        chain = self._chains.get((kind, absent))
        if chain is None:
            views = [(layer, view) for layer, view in self._views if id(layer.plugin) not in absent]
            fold = exchange_chain if kind == "exchange" else operation_chain
            chain = self._chains[kind, absent] = fold(views, self)
        return chain

    async def exchange(
        self,
        request: Any,
        wire: Wire,
        call: Call,
        absent: frozenset[int] = frozenset(),
        *,
        ends_call: bool = True,
    ) -> Any:
        """Send a clone of `request` through the onion; its end is also the call's if it says so."""
        outer = scope.get()
        current = Scope(call, wire, absent, None, outer.held if outer else ())
        token = scope.set(current)
        self.calls.append(None)
        started, before = time.monotonic(), call._resends  # noqa: SLF001
        outcome: Outcome = "cancelled"
        chain = self.chain("exchange", absent) if absent else self._exchange
        try:
            response = await chain(wire.messages.adopt(request, call), current)
            outcome = "answered"
        except Exception as error:
            outcome = outcome_of(error, wire)
            if isinstance(error, FlextError):
                error.add_context(service=call.service, call=call)
            elif ends_call and outer is None:
                self._log.failed(call, error, failure_of(error, wire))
            raise
        finally:
            try:
                if self._receivers:
                    passed, sends = time.monotonic() - started, call._resends - before + 1  # noqa: SLF001
                    self._tell(HopFinished(call, outcome, passed, sends))
                    if ends_call:
                        self._tell(CallFinished(call, outcome, passed, call.attempt))
            finally:
                restore(scope, token)
                self.calls.pop()
        if self._receivers:
            wire.watch(response, partial(self._end_body, current))
        return response

    def _end_body(self, current: Scope, error: BaseException | None, size: int) -> None:
        call = current.call
        if isinstance(error, Exception) and scope.get() is None and hops_under_way.get() is None:
            # It breaks where the application reads it; whoever reads it before is told by `send`.
            harmless(name_service, error, self.service.name)
            self._log.failed(call, error, failure_of(error, current.wire))
        within(current, self._tell)(BodyEnded(call, error, size))

    def finish_call(
        self, call: Call, wire: Wire, error: BaseException | None, duration: float
    ) -> None:
        """Tell the receivers that a client has its answer, or `error`."""
        if isinstance(error, Exception) and scope.get() is None:
            harmless(name_service, error, self.service.name)
            self._log.failed(call, error, failure_of(error, wire))
        if not self._receivers:
            return
        token = scope.set(Scope(call, wire))
        try:
            self._tell(CallFinished(call, outcome_of(error, wire), duration, call.attempt))
        finally:
            restore(scope, token)

    async def operate(
        self,
        operation: Operation,
        work: Callable[[], Awaitable[Any]],
        absent: frozenset[int],
        call: Call,
    ) -> Any:
        """Do `work` inside the plugins that surround operations.

        Raises:
            Refused: it was closed.
        """

        def at_work() -> Awaitable[Any]:
            self._refuse_closed(call)  # it may have been closed between two attempts
            return work()

        self._refuse_closed(call)
        outer = scope.get()
        if outer is None:
            self.calls.append(None)
        wire = outer.wire if outer else None
        if outer:
            absent |= outer.absent
        current = Scope(call, wire, absent, at_work, outer.held if outer else ())
        token = scope.set(current)
        try:
            return await self.chain("operation", current.absent)(operation, current)
        except FlextError as error:
            error.add_context(service=self.service.name, call=call)
            raise
        except Exception as error:
            if outer is None:
                self._log.failed(call, error, failure_of(error, wire))
            raise
        finally:
            if outer is None:
                self.calls.pop()
            restore(scope, token)

    def _refuse_closed(self, call: Call | None = None) -> None:
        """See to it that it is open, or that this context closes it.

        Raises:
            Refused: it was closed, or its host, which knows nothing of loops that have gone.
        """
        channels = self.runtime.channels
        is_over = (channels.closed or channels.refuses_new()) and not changes(self.runtime)
        if is_over or (self._closed and not self.is_changing):
            tell_drained(call, self.emit)
            error = Refused(self._closed or HOST_CLOSED)
            raise error.add_context(service=self.service.name, call=call)

    def emit(self, event: object, unless: Layer | None = None) -> None:
        """Tell every receiver but `unless`, and the log."""
        self._tell(event, unless)
        self._log.tell(event)

    def _tell(self, event: object, unless: Layer | None = None) -> None:
        for layer, view, receive in self._receivers:
            if layer is not unless:
                try:
                    refuse_coroutine(receive(event, view), "flext_event")
                except Exception as error:
                    is_own = issubclass(type(event), PluginFailed)  # `isinstance` asks the object
                    self.report(layer, "flext_event", error, quiet=is_own)

    def report(
        self,
        layer: Layer,
        hook: str,
        error: Exception,
        handed: tuple[Any, ...] = (),
        *,
        quiet: bool = False,
    ) -> None:
        """Tell of an error that hurts nobody: the log once a minute, the receivers unless `quiet`.

        Args:
            layer: whose error it is: an observer's, or anyone's in `flext_event` or a callback.
            hook: where it was raised.
            error: what was raised.
            handed: what the hook was handed; the credentials in its headers are not shown.
            quiet: whether it is about such an error itself.
        """
        if self.runtime.occasions.take((self.service.name, layer.name, hook)) is not None:
            harmless(self._log_failure, layer, hook, error, handed)
        if not quiet:
            unless = layer if hook == "flext_event" else None
            self.emit(PluginFailed(layer.name, hook, error), unless)

    def _log_failure(
        self, layer: Layer, hook: str, error: Exception, handed: tuple[Any, ...]
    ) -> None:
        messages = [*handed, *(getattr(each, "request", None) for each in handed)]
        masks = [Mask(each.headers, "") for each in messages if hasattr(each, "headers")]
        place = place_of(error, packages_of(type(layer.plugin)))
        text = account_of(
            error, place, lambda text: reduce(lambda one, mask: mask(one), masks, self.masked(text))
        )
        what = "{}.{} raised {}; the call goes on"
        who = type(layer.plugin).__name__
        self._log.write(logging.WARNING, what, who, hook, text, plugin=layer.name)

    @property
    def has_receivers(self) -> bool:
        """Whether anybody receives events."""
        return bool(self._receivers)

    def status(self) -> dict[str, Status]:
        """The state of each plugin that reports one, by name; from any thread."""
        states = {}
        for layer, view in self._views:
            if hook := layer.hooks.get("flext_status"):
                try:
                    states[layer.name] = _status(arranged(hook, ("connection",))(view))
                except Exception as error:
                    self.report(layer, "flext_status", error)
        return states

    @property
    def is_changing(self) -> bool:
        """Whether this context is opening or closing it: nobody else can use it meanwhile."""
        return self._is_changing and self in _changing.get()

    @contextmanager
    def _changes(self) -> Iterator[None]:
        """Let this context use it, which has the lock, and give the lock back."""
        token = _changing.set((*_changing.get(), self))
        self._is_changing = True
        try:
            yield
        finally:
            self._is_changing = False
            restore(_changing, token)
            self._lock.release()

    async def _acquire(self, *, wait: bool) -> bool:
        if not self.asynchronous:
            return bool(self._lock.acquire(wait))
        return (wait or not self._lock.locked()) and bool(await self._lock.acquire())

    async def open(self) -> None:
        """Run every `flext_connect`, all or nothing; whoever comes second waits for the first.

        Raises:
            Refused: it was closed meanwhile.
            FlextError: a plugin could not connect.
        """
        await self._acquire(wait=True)
        with self._changes():
            await self._open()
        if self._closed:  # by somebody who left it to whoever had the lock
            raise with_notes(Refused(self._closed), await self._release_if_free(), self.masked)

    def masked(self, text: str) -> str:
        """`text` without the secrets of the service and its plugins."""
        return Mask({}, self.service.name, self.runtime.composed(self.service.name).secrets)(text)

    async def _open(self) -> None:
        if self.is_open or self._closed:
            return
        self.gone, self._receivers = frozenset(), self._every_receiver
        try:
            for layer, view in self._views:
                view.state.clear()
                if await self._call(layer, "flext_connect", view):
                    self._connected.append((layer, view))
                if self._closed:
                    raise Refused(self._closed)
        except BaseException as error:
            with_notes(error, await self._release(), self.masked)
            raise
        self.is_open = True

    async def _call(self, layer: Layer, name: str, view: Connection) -> bool:
        """Call one of the hooks of a connection's life if there is one; gives whether it went well.

        Raises:
            FlextError: it raised, and is none that may fail unnoticed.
        """
        hook = layer.hooks.get(name)
        if hook is None:
            return True
        try:
            waiting = arranged(hook, ("connection",))(view)
            if hook.shape.asynchronous:
                await waiting
            else:
                refuse_coroutine(waiting, name)
        except Exception as error:
            opens = name == "flext_connect" and isinstance(error, FlextError)
            if layer.observer and not opens:
                self.report(layer, name, error)
                return False
            raise blame(error, layer, name, self.service.name) from cause_of(error)
        return True

    async def _disconnect(self, layer: Layer, view: Connection) -> None:
        self.gone |= {id(layer.plugin)}
        self._receivers = [each for each in self._receivers if each[0] is not layer]
        token = scope.set(None)  # it belongs to no call, whoever closes
        try:
            await self._call(layer, "flext_disconnect", view)
        finally:
            restore(scope, token)

    def _ends(self) -> Iterator[Callable[[], Any]]:
        """Yield what has to be called to close it, in order; each is taken off before."""
        while self._connected:
            layer, view = self._connected.pop()
            if "flext_disconnect" in layer.hooks:
                yield partial(self._disconnect, layer, view)
        while self.resources:
            resource = self.resources.pop()
            if resource.close is not None:
                yield resource.close
        while self.wires:
            yield self.wires.popitem()[1].aclose

    async def _release(self) -> list[Exception]:
        """Disconnect the plugins, close what was provided, then the pools; whatever happens, all.

        Raises:
            BaseException: what interrupted it, after all of it.
        """
        self.is_open = False
        connected = [each for each, _ in self._connected]
        self.gone = frozenset(
            id(each.plugin)
            for each in self.layers
            if each not in connected and {"flext_connect", "flext_disconnect"} & each.hooks.keys()
        )
        failed, interruption = list[Exception](), None
        for end in self._ends():
            try:
                waiting = end()
                if inspect.isawaitable(waiting):
                    await waiting
            except Exception as error:
                failed.append(error)
            except GeneratorExit:  # a coroutine that is thrown away cannot go on
                raise
            except BaseException as error:
                interruption = interruption or error
        if interruption is not None:
            raise interruption
        return failed

    async def _release_if_free(self) -> list[Exception]:
        """Close it, unless somebody is at it, who will; gives what went wrong."""
        if not await self._acquire(wait=False):
            return []
        with self._changes():
            return await self._release()

    async def close(self, reason: str) -> None:
        """Close all that was provided and the pools, for good.

        Args:
            reason: what whoever wants to use it is told.

        Raises:
            ExceptionGroup: what went wrong on the way, all of it.
        """
        with self._making:
            self._closed = reason
        if calls := self.under_way:
            self._log.write(logging.WARNING, "closed with {} calls under way", calls)
        if failed := await self._release_if_free():
            raise ExceptionGroup(f"closing {self.service.name!r}", failed)


def changes(runtime: Runtime) -> bool:
    """Whether this context is opening or closing a channel of this host."""
    return any(each.runtime is runtime and each.is_changing for each in _changing.get())


def _status(value: object) -> Status:
    if not isinstance(value, Status):
        raise PluginError(f"flext_status returned {type(value).__name__}, expected a Status")
    try:
        json.dumps(value.facts, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        names = sorted(map(str, value.facts))
        raise PluginError(f"flext_status returned facts that are no JSON: {names}") from None
    return value
