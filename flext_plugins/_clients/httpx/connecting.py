"""Connections that come to nothing while they are made; httpcore's extension `trace` shows them."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from flext_plugins._clients.cancellation import steady

if TYPE_CHECKING:
    from flext_plugins._clients.watchdog import Watch, Watchdog


class Connecting:
    """Closes a connection that is given up while it is made, by httpcore's extension `trace`.

    httpcore leaves the socket open where a cancellation strikes in the TLS handshake.
    """

    def __init__(self, native: Any) -> None:
        self._also, self._streams = native.extensions.get("trace"), list[Any]()
        native.extensions = {**native.extensions, "trace": self}

    async def __call__(self, event: str, details: dict[str, Any]) -> None:
        """Note the socket's stream; httpcore calls this at each step."""
        if event.endswith("connect_tcp.complete"):
            self._streams.append(details["return_value"])
        elif event.endswith("request_headers.started") and details["request"].method != b"CONNECT":
            self._streams.clear()  # it is made, TLS in a tunnel too: others may go over it
        if self._also is not None:
            await self._also(event, details)

    async def aclose(self) -> None:
        """Close what was opened; closing twice is fine."""
        for each in self._streams:
            with suppress(Exception):
                await steady(each.aclose())


class Handshake:
    """A talk with a SOCKS proxy before a request is sent.

    httpcore has no time-out there, where it fails leaves the socket open, and lets out what socksio
    raises, or an `assert`. Here it may take the time-out for connecting, ends with the library's
    own error, and its socket is closed.
    """

    def __init__(self, lib: Any, request: Any, watchdog: Watchdog) -> None:
        self._lib, self._request, self._watchdog = lib, request, watchdog
        self._seconds: float | None = request.extensions.get("timeout", {}).get("connect")
        self._also = request.extensions.get("trace")
        self._watch: Watch | None = None
        self.stream: Any = None
        """httpcore's connection to the proxy, while it is spoken with."""

    def trace(self, event: str, details: dict[str, Any]) -> Any:
        """Note where it stands; httpcore calls this at each step."""
        if event.endswith("connect_tcp.complete"):
            self.stream = details["return_value"]
            if self._seconds is not None:
                self._watch = self._watchdog.watch(monotonic() + max(self._seconds, 0))
                self._watch.see(self.stream.get_extra_info("socket"))
        elif event.endswith("setup_socks5_connection.complete") and not self.is_late():
            self.stream = None
        return None if self._also is None else self._also(event, details)

    async def atrace(self, event: str, details: dict[str, Any]) -> None:
        """Do the same where httpcore awaits it."""
        noting = self.trace(event, details)
        if noting is not None:
            await noting

    def is_late(self) -> bool:
        """Watch no more; whether the time was up, and the connection is cut."""
        watch, self._watch = self._watch, None
        return watch is not None and watch.end()

    def failure(self, error: Exception, *, is_late: bool) -> Exception:
        """The library's own for `error`, in whose frames the proxy's password stands."""
        if is_late or isinstance(error, self._lib.TimeoutException):
            what = "the SOCKS proxy took too long"
            timeout: Exception = self._lib.ConnectTimeout(what, request=self._request)
            return timeout
        is_told = isinstance(error, self._lib.ProxyError)
        what = str(error) if is_told else "the SOCKS proxy hung up, or speaks something else"
        refused: Exception = self._lib.ProxyError(what, request=self._request)
        return refused


class _BySocks:
    """The library's own transport by way of a SOCKS proxy."""

    lib: Any

    def __init__(self, watchdog: Watchdog, **options: Any) -> None:
        super().__init__(**options)
        self._watchdog = watchdog


class SocksTransport(_BySocks):
    """A sync one."""

    def handle_request(self, request: Any) -> Any:
        """Send once."""
        handshake = Handshake(self.lib, request, self._watchdog)
        request.extensions = {**request.extensions, "trace": handshake.trace}
        try:
            return super().handle_request(request)  # type: ignore[misc]
        except BaseException as error:
            if (stream := handshake.stream) is None:
                raise
            is_late = handshake.is_late()
            with suppress(Exception):
                stream.close()
            if not isinstance(error, Exception):
                raise
            failure = handshake.failure(error, is_late=is_late)
        raise failure


class AsyncSocksTransport(_BySocks):
    """One for event loops."""

    async def handle_async_request(self, request: Any) -> Any:
        """Send once."""
        handshake = Handshake(self.lib, request, self._watchdog)
        request.extensions = {**request.extensions, "trace": handshake.atrace}
        try:
            return await super().handle_async_request(request)  # type: ignore[misc]
        except GeneratorExit:  # a coroutine that is closed cannot wait
            raise
        except BaseException as error:
            if (stream := handshake.stream) is None:
                raise
            is_late = handshake.is_late()
            with suppress(Exception):
                await steady(stream.aclose())
            if not isinstance(error, Exception):
                raise
            failure = handshake.failure(error, is_late=is_late)
        raise failure


def socks_transport(lib: Any, *, asynchronous: bool) -> Any:
    """The class of one library's own transport by way of a SOCKS proxy."""
    if asynchronous:
        bases: tuple[Any, ...] = AsyncSocksTransport, lib.AsyncHTTPTransport
    else:
        bases = SocksTransport, lib.HTTPTransport
    return type(bases[0].__name__, bases, {"lib": lib})
