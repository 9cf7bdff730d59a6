"""The part of a connection that is about requests and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flext_plugins._call import restore, scope
from flext_plugins._chain.layer import IDENTIFIED
from flext_plugins._chain.transformation import Blamed
from flext_plugins._errors import AnswerTooLong, PluginError
from flext_plugins._messages import Response, Sent
from flext_plugins._wire import failure_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flext_plugins._call import Call
    from flext_plugins._chain.layer import Layer
    from flext_plugins._connections.channel import Channel
    from flext_plugins._messages import BodyEnd, Failure, Request, Transformation
    from flext_plugins._wire import Wire


def _is_status(value: object) -> bool:
    return isinstance(value, int) and 100 <= value <= 999


class Messaging:
    """Asks about, answers, reads, replaces and transforms messages; `Connection` is one."""

    __slots__ = ("_channel", "_layer")

    def __init__(self, channel: Channel, layer: Layer) -> None:
        self._channel, self._layer = channel, layer

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

    async def read(self, message: Request | Response) -> bytes:
        """The message's body, decoded; it stays readable for everybody else.

        Raises:
            AnswerTooLong: it is an answer that has more bytes, as sent or decoded, than the
                `max_plugin_read` of the service that sent it.
        """
        service = (isinstance(message, Response) and message.service) or self._channel.service
        try:
            return await self._wire.read(message, service.max_plugin_read)
        except AnswerTooLong as error:
            raise error.add_context(service=service.name) from None

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
        return failure_of(error, self._wire)

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
