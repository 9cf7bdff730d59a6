"""Layers folded into one callable: `async def` from end to end.

An async client awaits it. For a sync one every awaitable that the host hands out finishes without
suspending, so `drive` runs it to its end. Nothing is written twice.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flext_plugins._chain.layer import (
    IDENTIFIED,
    arranged,
    blame,
    cause_of,
    check_request,
    discard,
    refuse_answer,
    refuse_change,
    refuse_coroutine,
    supersede,
)
from flext_plugins._chain.small_hooks import ENTER, LEAVE, unrolled
from flext_plugins._errors import PluginError
from flext_plugins._logging import text_of
from flext_plugins._service import Operation
from flext_plugins.events import Retried
from flext_plugins.hookspecs import Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from flext_plugins._call import Call, Scope
    from flext_plugins._chain.layer import Layer, Receiver
    from flext_plugins._chain.small_hooks import Inner


class Send:
    """The way inward, which a `flext_exchange` or `flext_operation` calls."""

    __slots__ = (
        *("_around", "_before", "_busy", "_ended", "_errors", "_message", "_method", "_scope"),
        "_status",
        *("changed", "error", "response", "sent"),
    )

    def __init__(self, around: Around, message: Any, scope: Scope) -> None:
        self._around, self._scope, self._message = around, scope, message
        self.sent = self._busy = False
        self._ended = 0.0
        self._errors: tuple[BaseException, ...] = ()
        """Those of the sends before the last."""
        self.response: Any = None
        self.error: BaseException | None = None
        self._before = message.fields() if around.identifies else None
        self._method = message.method if around.observes and around.closes else None
        self._status: int | None = None
        self.changed = False
        """Whether an observer changed what it may not."""

    async def __call__(self, message: Any) -> Any:
        around = self._around
        if self._busy:
            what = f"{around.way} was called again before it had returned"
            raise PluginError(what, around.name)
        if around.observes:
            message = self._message
            self.put_back()
        elif message is not self._message:
            around.check(message, self._scope)
        if self.sent:
            await self._again(message)
        if self._before is not None and message.fields() != self._before:
            message.extensions[IDENTIFIED] = True
        inward = message
        if around.clones:  # what is done to the clone stays further in
            inward = self._scope.wire.messages.clone(message)
        self.sent = self._busy = True
        try:
            self.response = response = await around.inner(inward, self._scope)
            if around.clones:
                response.request = message
            if self._method is not None:
                self._status = response.status_code
            return response
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._busy = False
            self._ended = time.monotonic()

    async def _again(self, message: Any) -> None:
        """Get ready for a second send; each resend of each plugin, and no redirect, passes here."""
        around, call = self._around, self._scope.call
        if around.observes:
            raise PluginError("an observer cannot send twice", around.name)
        if around.closes:
            wire = self._scope.wire
            if not wire.messages.sendable(message):
                raise PluginError("the request's body cannot be replayed", around.name)
            if self.response is not None:
                await discard(wire, self.response)
        delay = time.monotonic() - self._ended
        around.receiver.emit(Retried(call, around.layer.name, self._reason(), delay))
        call.attempt += 1
        call._resends += around.closes  # noqa: SLF001
        call.answered_by = None
        if self.error is not None:
            self._errors += (self.error,)
        self.response = self.error = None

    def put_back(self) -> None:
        """Undo what an observer changed of the messages."""
        if self._method is not None and self._message.method != self._method:
            self._message.method, self.changed = self._method, True
        if self._status is not None and self.response.status_code != self._status:
            self.response.status_code, self.changed = self._status, True

    def is_own(self, error: BaseException) -> bool:
        """Whether one of the sends raised `error`."""
        return error is self.error or any(error is each for each in self._errors)

    def _reason(self) -> str:
        """The outcome of the send before, in one word."""
        if self.error is None:
            return text_of(getattr(self.response, "status_code", "done"))
        failure = None
        with suppress(Exception):  # a closed host has nothing left that could tell
            failure = self._around.connection.failure(self.error)
        return failure.value if failure else type(self.error).__name__


class Around:
    """A plugin with `flext_exchange`, or with `flext_operation`, and all inside it."""

    __slots__ = (
        *("_hook", "clones", "closes", "connection"),
        *("identifies", "inner", "layer", "name", "receiver", "way"),
    )
    observes = False

    def __init__(
        self, name: str, inner: Inner, layer: Layer, connection: Any, receiver: Receiver
    ) -> None:
        first = ("request", "send") if name == "flext_exchange" else ("operation", "proceed")
        self._hook = arranged(layer.hooks[name], (*first, "connection"))
        self.name, self.inner, self.layer, self.way = name, inner, layer, first[1]
        self.connection, self.receiver = connection, receiver
        self.closes = name == "flext_exchange"
        self.clones = self.closes and layer.stage <= Stage.AUTH
        self.identifies = self.closes and layer.identifies

    async def __call__(self, message: Any, scope: Scope) -> Any:
        send = Send(self, message, scope)
        try:
            response = await self._hook(message, send, self.connection)
        except BaseException as error:
            if self.closes:
                await discard(scope.wire, send.response, error)
            if send.is_own(error) or not isinstance(error, Exception):
                raise
            call = scope.call
            raise blame(
                error, self.layer, self.name, call.service, call, self.receiver
            ) from cause_of(error)
        if response is not send.response or response is None:
            await self._accept(response, send.response, message, scope)
        if not send.sent:
            scope.call.answered_by = self.layer.name
        return response

    async def _accept(self, result: Any, response: Any, message: Any, scope: Scope) -> None:
        """Take what the hook returned in place of what its `send` gave.

        Raises:
            PluginError: it cannot be what came of an exchange or operation.
        """
        if self.closes:
            await supersede(result, response, message, self.layer, self.name, scope)
            return
        try:
            refuse_coroutine(result, self.name)
        except PluginError as error:
            raise blame(error, self.layer, self.name, scope.call.service, scope.call) from None

    def check(self, message: Any, scope: Scope) -> None:
        """See to it that what the hook sends is a message of the kind that it was handed.

        Raises:
            PluginError: it is not.
        """
        if self.closes:
            check_request(message, self.way, self.name, scope)
        elif not isinstance(message, Operation):
            kind = type(message).__name__
            raise PluginError(
                f"{self.way} was called with {kind}, expected an operation", self.name
            )


class Observed(Around):
    """An observer and all inside it: whatever it does, its message is sent unchanged, once."""

    __slots__ = ()
    observes = True

    async def __call__(self, message: Any, scope: Scope) -> Any:
        send = Send(self, message, scope)
        try:
            result = await self._hook(message, send, self.connection)
            refuse_answer(result, (send.response,), self.name)
            send.put_back()
            refuse_change(send.changed, self.name)
        except BaseException as error:
            if not isinstance(error, Exception):
                if self.closes:
                    await discard(scope.wire, send.response, error)
                raise
            if error is not send.error:
                self.receiver.report(self.layer, self.name, error, (message,))
        send.put_back()
        if not send.sent:
            await send(message)
        if send.error is not None:
            raise send.error
        return send.response


def around(name: str, inner: Inner, layer: Layer, connection: Any, receiver: Receiver) -> Around:
    """`layer`'s hook `name` around `inner`."""
    kind = Observed if layer.observer else Around
    return kind(name, inner, layer, connection, receiver)


def _to_wire(request: Any, scope: Scope) -> Awaitable[Any]:
    call: Call = scope.call
    call.answered_by = None  # whoever refused an operation on the way here
    sending: Awaitable[Any] = scope.wire.send(request, call)
    return sending


def _to_work(operation: Any, scope: Scope) -> Awaitable[Any]:
    if scope.wire is None or not getattr(operation, "idempotent", False):
        scope.call.sent = True
    work: Awaitable[Any] = scope.work()
    return work


def exchange_chain(layers: Iterable[tuple[Layer, Any]], receiver: Receiver) -> Inner:
    """`layers`, outermost first and each with its connection, around the wire."""
    chain: Inner = _to_wire
    run: list[tuple[Layer, Any]] = []
    for layer, connection in reversed(list(layers)):
        if layer.hooks.keys() & {ENTER, LEAVE}:
            run.insert(0, (layer, connection))
        elif "flext_exchange" in layer.hooks:
            if run:
                chain, run = unrolled(chain, run, receiver), []
            chain = around("flext_exchange", chain, layer, connection, receiver)
    return unrolled(chain, run, receiver) if run else chain


def operation_chain(layers: Iterable[tuple[Layer, Any]], receiver: Receiver) -> Inner:
    """`layers` with `flext_operation`, outermost first, around `scope.work`."""
    chain: Inner = _to_work
    for layer, connection in reversed(list(layers)):
        if "flext_operation" in layer.hooks:
            chain = around("flext_operation", chain, layer, connection, receiver)
    return chain
