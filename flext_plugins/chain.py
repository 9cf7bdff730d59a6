"""Layers folded into one callable: `async def` from end to end.

An async client awaits it. For a sync one every awaitable that the host hands out finishes without
suspending, so `drive` runs it to its end. Nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import FlextError, PluginError
from .hookspecs import Stage
from .layer import arranged, blame, cause_of, guarded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .layer import Layer, Receiver
    from .service import Scope

Inner: TypeAlias = Callable[[Any, "Scope"], Awaitable[Any]]
"""The rest of the onion: takes a message or an operation, gives what came of it."""


class Messages:
    """A run of neighbouring plugins with `flext_request` or `flext_response`: two plain loops."""

    __slots__ = ("_entering", "_inner", "_leaving", "_receiver")

    def __init__(
        self, inner: Inner, layers: Sequence[tuple[Layer, Any]], receiver: Receiver
    ) -> None:
        self._inner, self._receiver = inner, receiver
        both = ("request", "connection")
        self._entering = tuple(self._steps("flext_request", both, layers))
        self._leaving = tuple(self._steps("flext_response", ("response", *both), layers))[::-1]

    def _steps(
        self, name: str, offered: tuple[str, ...], layers: Sequence[tuple[Layer, Any]]
    ) -> Iterator[tuple[int, Callable[..., Any], bool, bool, Any, Layer]]:
        for place, (layer, connection) in enumerate(layers):
            if hook := layer.hooks.get(name):
                if layer.observer:
                    hook = guarded(layer, name, hook, self._receiver)
                short = hook.arguments == offered[:-1]  # spares an adapter for the common form
                function = hook.function if short else arranged(hook, offered)
                yield place, function, short, hook.asynchronous, connection, layer

    def _blamed(self, error: Exception, layer: Layer, hook: str, scope: Scope) -> FlextError:
        return blame(error, layer, hook, scope.call.service, scope.call, self._receiver)

    async def __call__(self, request: Any, scope: Scope) -> Any:
        response: Any = None
        depth = -1
        for place, function, short, awaits, connection, layer in self._entering:
            try:
                answer = function(request) if short else function(request, connection)
                if awaits:
                    answer = await answer
            except Exception as error:
                raise self._blamed(error, layer, "flext_request", scope) from cause_of(error)
            if answer is not None:
                response = checked(answer, request, layer, "flext_request", scope)
                depth, scope.call.answered_by = place, layer.name
                break
        else:
            response = await self._inner(request, scope)
        for place, function, short, awaits, connection, layer in self._leaving:
            if -1 < depth <= place:
                continue
            try:
                after = (
                    function(response, request)
                    if short
                    else function(response, request, connection)
                )
                if awaits:
                    after = await after
                if after is not None and after is not response:
                    checked(after, request, layer, "flext_response", scope)
                    response, replaced = after, response
                    await _wire(scope).close(replaced)
            except BaseException as error:
                await _discard(response, error, scope)
                if not isinstance(error, Exception):
                    raise
                raise self._blamed(error, layer, "flext_response", scope) from cause_of(error)
        return response


def checked(answer: Any, request: Any, layer: Layer, hook: str, scope: Scope) -> Any:
    """`answer`, if it is a response; to `request`, as whoever sees it next expects."""
    if hasattr(answer, "status_code"):
        answer.request = request
        return answer
    error = PluginError(f"{hook} returned {type(answer).__name__}, expected a response", hook)
    raise blame(error, layer, hook, scope.call.service, scope.call)


def _wire(scope: Scope) -> Any:
    return scope.wire


async def _discard(response: Any, error: BaseException, scope: Scope) -> None:
    """Close what an error leaves behind; a coroutine that is being closed cannot wait."""
    if response is not None and not isinstance(error, GeneratorExit):
        await _wire(scope).close(response)


class Send:
    """What a `flext_exchange` or `flext_operation` calls to go inward."""

    __slots__ = ("_around", "_busy", "_scope", "error", "given", "response", "sent")

    def __init__(self, around: Around, given: Any, scope: Scope) -> None:
        self._around, self._scope, self.given = around, scope, given
        self.sent = self._busy = False
        self.response: Any = None
        self.error: BaseException | None = None

    async def __call__(self, message: Any) -> Any:
        around, scope = self._around, self._scope
        if self._busy:
            raise PluginError("send was called again before it had returned", around.name)
        if around.layer.observer:
            if self.sent:
                raise PluginError("an observer cannot send twice", around.name)
            message = self.given
        if self.sent:
            await self._again(message)
        self.sent = self._busy = True
        try:
            if around.clones:
                self.response = await around.inner(_wire(scope).clone(message), scope)
                self.response.request = message  # what is done to the clone stays further in
            else:
                self.response = await around.inner(message, scope)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._busy = False
        return self.response

    async def _again(self, message: Any) -> None:
        if self._around.closes:
            if not _wire(self._scope).replayable(message):
                raise PluginError("the request's body cannot be replayed", self._around.name)
            if self.response is not None:
                await _wire(self._scope).close(self.response)
        self._scope.call.attempt += 1
        self._scope.call.answered_by = None
        self.response = self.error = None


class Around:
    """A plugin with `flext_exchange`, or with `flext_operation`, and all inside it."""

    __slots__ = ("_connection", "_hook", "_receiver", "clones", "closes", "inner", "layer", "name")

    def __init__(
        self, name: str, inner: Inner, layer: Layer, connection: Any, receiver: Receiver
    ) -> None:
        first = ("request", "send") if name == "flext_exchange" else ("operation", "proceed")
        self._hook = arranged(layer.hooks[name], (*first, "connection"))
        self.name, self.inner, self.layer = name, inner, layer
        self._connection, self._receiver = connection, receiver
        self.closes = name == "flext_exchange"
        self.clones = self.closes and layer.stage <= Stage.AUTH

    async def __call__(self, message: Any, scope: Scope) -> Any:
        send = Send(self, message, scope)
        if self.layer.observer:
            return await self._observed(send, message, scope)
        try:
            response = await self._hook(message, send, self._connection)
        except BaseException as error:
            if self.closes:
                await _discard(send.response, error, scope)
            if error is send.error or not isinstance(error, Exception):
                raise
            call = scope.call
            raise blame(
                error, self.layer, self.name, call.service, call, self._receiver
            ) from cause_of(error)
        if self.closes and response is not send.response:
            if send.response is not None:
                await _wire(scope).close(send.response)
            checked(response, message, self.layer, self.name, scope)
        if not send.sent:
            scope.call.answered_by = self.layer.name
        return response

    async def _observed(self, send: Send, message: Any, scope: Scope) -> Any:
        try:
            await self._hook(message, send, self._connection)
        except BaseException as error:
            if not isinstance(error, Exception):
                if self.closes:
                    await _discard(send.response, error, scope)
                raise
            if error is not send.error:
                self._receiver.report(self.layer, self.name, error)
        if not send.sent:
            await send(message)
        if send.error is not None:
            raise send.error
        return send.response


async def _to_wire(request: Any, scope: Scope) -> Any:
    scope.call.answered_by = None  # whoever refused an operation on the way here
    return await _wire(scope).send(request, scope.call)


async def _to_work(operation: Any, scope: Scope) -> Any:  # noqa: ARG001
    return await scope.work()


def exchange_chain(layers: Iterable[tuple[Layer, Any]], receiver: Receiver) -> Inner:
    """`layers`, outermost first and each with its connection, around the wire."""
    chain: Inner = _to_wire
    run: list[tuple[Layer, Any]] = []
    for layer, connection in reversed(list(layers)):
        if layer.hooks.keys() & {"flext_request", "flext_response"}:
            run.insert(0, (layer, connection))
        elif "flext_exchange" in layer.hooks:
            if run:
                chain, run = Messages(chain, run, receiver), []
            chain = Around("flext_exchange", chain, layer, connection, receiver)
    return Messages(chain, run, receiver) if run else chain


def operation_chain(layers: Iterable[tuple[Layer, Any]], receiver: Receiver) -> Inner:
    """`layers` with `flext_operation`, outermost first, around `scope.work`."""
    chain: Inner = _to_work
    for layer, connection in reversed(list(layers)):
        if "flext_operation" in layer.hooks:
            chain = Around("flext_operation", chain, layer, connection, receiver)
    return chain
