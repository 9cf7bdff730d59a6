"""The way out: one connection's pools in httpx, or in a library with the same names."""

from __future__ import annotations

import ssl
from collections import deque
from contextlib import suppress
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from flext_plugins._call import least
from flext_plugins._chain.layer import discard
from flext_plugins._clients.bodies import NO_LIMIT, guarded
from flext_plugins._clients.cancellation import shielded, steady
from flext_plugins._clients.decoding import Within, without_codings
from flext_plugins._clients.gate import GatedWire
from flext_plugins._clients.httpx.connecting import Connecting, socks_transport
from flext_plugins._clients.httpx.messages import HttpxResponse
from flext_plugins._clients.tls import shared_context
from flext_plugins._clients.transports import transport_for
from flext_plugins._clients.watchdog import SWITCHED
from flext_plugins._config.service_checks import NO_OTHER_PROXY, is_plain, is_socks
from flext_plugins._connections.resource import kind_of
from flext_plugins._deadline import Limit
from flext_plugins._errors import ConfigError, Refused
from flext_plugins._messages import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flext_plugins._call import Call
    from flext_plugins._clients.gate import Permit
    from flext_plugins._clients.httpx import HttpxLibrary
    from flext_plugins._clients.httpx.messages import HttpxMessages
    from flext_plugins._clients.watchdog import Watch
    from flext_plugins._messages import BodyEnd
    from flext_plugins._permits import Permits
    from flext_plugins._runtime import Runtime
    from flext_plugins._service import Service

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For pools that only ever speak plain HTTP: a real context costs 30 ms."""
_SECURE = ("https", "wss")


STREAMS = 100
"""So many calls share a connection of HTTP/2; httpcore has no more streams on one."""
ALONE = 10
"""So many connections may be made at a time to a service that speaks HTTP/2."""


class Transports:
    """The library's own transports for a service, of one connection each; last in, first out.

    There are as many as permits are taken, so nothing queues in a pool, whose cost grows with those
    that wait. Those that are not needed stay behind, and are closed when they have been idle for
    long, or are too many.

    Args:
        make: makes one.
        expiry: seconds.
        most: how many there may be.
    """

    def __init__(self, make: Callable[[], Any], expiry: float, most: int) -> None:
        self._make, self._expiry, self._most = make, expiry, most
        self._idle: deque[tuple[float, Any]] = deque()
        self._all: dict[Any, object] = {}
        """The origin that each was lent for; `None` where all are for the same."""
        self._is_closed = False
        self.streams: dict[Any, Any] = {}
        """The `network_stream` of the last answer over each, if its library has such."""

    def lend(self, origin: object = None) -> Loan:
        """Lend the one that was given back last by a call for `origin`, or a new one."""
        others = []
        try:
            while True:
                idle = since, transport = self._idle.pop()
                if self._all.get(transport) == origin:
                    break
                others.append(idle)
        except IndexError:
            transport, since = self._make(), -inf
            self._all[transport] = origin
        if others:
            self._idle.extend(reversed(others))
        return Loan(self, transport, connects=monotonic() - since >= self._expiry)

    def _forget(self, transport: Any) -> Any:
        """Count one no more; gives it, to be closed."""
        self._all.pop(transport, None)
        self.streams.pop(transport, None)
        return transport

    def take_back(self, transport: Any, *, is_whole: bool) -> Iterator[Any]:
        """Take one back that is `is_whole`; those that are to be closed."""
        now = monotonic()
        if is_whole and not self._is_closed:
            self._idle.append((now, transport))
        else:
            yield self._forget(transport)
        until = now - self._expiry
        with suppress(IndexError):  # others take and give at the same time
            while self._idle[0][0] < until or len(self._idle) > self._most:
                yield self._forget(self._idle.popleft()[1])

    def close(self) -> set[Any]:
        """Lend and keep no more; all that are to be closed, those that are lent among them."""
        self._is_closed = True
        self._idle.clear()
        every, self._all = self._all, {}
        self.streams.clear()
        return {*every}


class SharedTransports(Transports):
    """Transports of one event loop, each for many calls at a time once it has spoken HTTP/2.

    Until then a call has it for itself: a service may speak HTTP/1.1 alone, and where a connection
    is being made, a call that is cancelled would take the others with it. One that did not carry a
    call to its end is lent no more, and closed after its last call: what the service still sends of
    an answer that nobody reads counts for ever against the 16 MiB that httpcore lets a connection
    send.

    Args:
        make: makes one.
        expiry: seconds.
        most: how many there may be.
        gate: admits as many calls as they carry, and those that have one for themselves.
    """

    most_calls: float = STREAMS

    def __init__(self, make: Callable[[], Any], expiry: float, most: int, gate: Permits) -> None:
        super().__init__(make, expiry, most)
        self._gate = gate
        self._speaks_http2 = False
        self._shared: dict[Any, int] = {}
        """How many calls each carries."""
        self._leaving: dict[Any, int] = {}
        """The same for those that carry no more than these."""
        self._unused: dict[Any, float] = {}
        """Since when each of the shared ones carries none."""

    def lend(self, origin: object = None) -> Loan:
        """Lend the first shared one that can carry a call more, or one that nobody has."""
        until = monotonic() - self._expiry
        for transport, calls in self._shared.items():
            if calls < self.most_calls and self._unused.get(transport, until) >= until:
                self._shared[transport] += 1
                self._unused.pop(transport, None)
                return Loan(self, transport, is_shared=True)
        return super().lend(origin)

    def share(self, loan: Loan) -> None:
        """Lend to others what was lent for one call, which was answered in HTTP/2."""
        if not loan.is_shared:
            loan.is_shared = self._speaks_http2 = True
            self._shared[loan.transport] = 1
            self._admit()

    def take_back(self, transport: Any, *, is_whole: bool) -> Iterator[Any]:
        """End a call; those that are to be closed."""
        if transport not in self._shared and transport not in self._leaving:
            yield from super().take_back(transport, is_whole=is_whole)
            return
        if transport in self._shared and (self._is_closed or not is_whole):
            self._leaving[transport] = self._shared.pop(transport)
        calls = self._shared if transport in self._shared else self._leaving
        calls[transport] -= 1
        if calls is self._shared and not calls[transport]:
            self._unused[transport] = monotonic()
        yield from self._over()
        self._admit()

    def _over(self) -> Iterator[Any]:
        """Forget those that carry nothing any more, or have not for long."""
        until = monotonic() - self._expiry
        over = [each for each, calls in self._leaving.items() if not calls]
        over += [each for each, since in self._unused.items() if since < until]
        for each in over:
            for known in (self._shared, self._leaving, self._unused):
                known.pop(each, None)
            yield self._forget(each)

    def _admit(self) -> None:
        shared = len(self._shared)
        alone = min(self._most, ALONE) if self._speaks_http2 else self._most
        alone = min(alone, self._most - shared)
        self._gate.resize(shared * STREAMS + sum(self._leaving.values()) + alone)


class Elsewhere(SharedTransports):
    """A pool of one event loop for all other origins, until a call in it does not come to its end.

    httpcore may then believe its connection in use for ever: so where it begins TLS in a tunnel.
    """

    most_calls = inf

    def lend(self, origin: object = None) -> Loan:
        """Lend the pool, which has connections to several origins, to one call more."""
        loan = super().lend(origin)
        loan.connects = True
        self.share(loan)
        return loan

    def _admit(self) -> None:
        """Nothing: the pool itself has its limits."""


class Loan:
    """A transport that one exchange has for itself.

    It goes back only if the body was read to its end, and closed, without an error: a pool that was
    cancelled, or broke, may believe its connection in use for ever. Any other is closed.
    """

    __slots__ = ("_transports", "_watch", "connects", "is_shared", "transport")

    def __init__(
        self,
        transports: Transports,
        transport: Any,
        *,
        is_shared: bool = False,
        connects: bool = False,
    ) -> None:
        self._transports, self.transport = [transports], transport
        self._watch: Watch | None = None
        self.is_shared = is_shared
        """Whether it carries other calls as well."""
        self.connects = connects
        """Whether it has no connection yet, or one that is too old to be used."""

    def watch(self, watch: Watch, native: Any) -> None:
        """Have the connection cut in time that is kept, and each that is made for a request."""
        self._watch = watch
        if (stream := self._transports[0].streams.get(self.transport)) is not None:
            watch.see(stream.get_extra_info("socket"))
        native.extensions = {
            **native.extensions,
            "trace": watch.tracing(native.extensions.get("trace")),
        }

    async def send(self, native: Any, *, asynchronous: bool) -> Any:
        """Send a request over it; if that fails, nobody uses it again."""
        connecting = None
        if asynchronous and self.connects and native.url.scheme in _SECURE:
            connecting = Connecting(native)
        try:
            if self.is_shared:
                return await shielded(self.transport.handle_async_request(native), _discard)
            if asynchronous:
                return await self.transport.handle_async_request(native)
            response = self.transport.handle_request(native)
            stream = response.extensions.get("network_stream")
            self._transports[0].streams[self.transport] = stream
            if self._watch is not None and response.status_code == SWITCHED:
                self._watch.end()
            return response
        except GeneratorExit:  # a coroutine that is closed cannot wait
            raise
        except BaseException:
            if asynchronous:
                await self.aclose()
                if connecting is not None:
                    await connecting.aclose()
            else:
                self.close()
            raise

    def close(self, *, is_whole: bool = False) -> None:
        """Give it back, or close it; nothing the second time."""
        if self._watch is not None and self._watch.end():
            is_whole = False
        for each in self._given_back(is_whole=is_whole):
            with suppress(Exception):
                each.close()

    async def aclose(self, *, is_whole: bool = False) -> None:
        """Do the same in an event loop."""
        for each in self._given_back(is_whole=is_whole):
            with suppress(Exception):
                await steady(each.aclose())

    def _given_back(self, *, is_whole: bool) -> Iterator[Any]:
        try:
            transports = self._transports.pop()  # atomic: two threads may close one body
        except IndexError:
            return iter(())
        return transports.take_back(self.transport, is_whole=is_whole)


class HttpxWire(GatedWire):
    """One connection's transports and pools in one library."""

    def __init__(
        self,
        library: HttpxLibrary,
        service: Service,
        messages: HttpxMessages,
        runtime: Runtime,
        *,
        asynchronous: bool,
    ) -> None:
        # Threads that share a connection of httpcore's HTTP/2 spoil its state (httpx2's issue 808).
        self._shares = service.http2 and asynchronous
        super().__init__(library, service, messages, runtime, asynchronous=asynchronous)
        self._library, self._lib = library, library.module
        default = self._lib.create_ssl_context
        self._shared_context = partial(shared_context, runtime, library.name, default)
        self._body, self._body_of = library.body, library.body_of
        self._full, self._consumed = self._lib.PoolTimeout, self._lib.StreamConsumed
        self._pools: dict[tuple[SecretStr | None, bool, bool], Any] = {}
        self._transport_name = transport_for(service, library.name, asynchronous=asynchronous)
        self._transport = self._application_transport(runtime)
        """The application's own transport, over which everything goes."""
        self._own: Any = None
        """The pool for the own origin: its proxy is chosen once, unless it has to be judged."""

    async def _dispatch(
        self, request: Any, call: Call, left: float | None, permit: Permit, *, own: bool
    ) -> Any:
        pool, native = self._own if own else None, request.native
        if pool is None:
            pool = self._pool(native.url, own=own)
        limit, own_extensions = NO_LIMIT, native.extensions
        if left is not None:
            configured = own_extensions.get("timeout", {})
            seconds = {
                phase: least(configured.get(phase), left) for phase in self._service.timeout._fields
            }
            native.extensions = {**own_extensions, "timeout": seconds}
            body = f"the body of {call.service}'s answer"
            limit = Limit(call, body, base=self.library.timed_out)
        origin = None if own else (native.url.scheme, native.url.host, native.url.port)
        try:
            if isinstance(native.stream, self._lib.ByteStream):
                response, loan = await self._over(pool, native, call, origin)
            else:
                with guarded(native, "stream", self._library.guarded):
                    response, loan = await self._over(pool, native, call, origin)
        finally:
            native.extensions = own_extensions
        explained = partial(self.explained, call)
        response.stream = self._body(response.stream, permit, limit, loan, explained)
        return HttpxResponse(response, request, self._service)

    async def _over(
        self, pool: Any, native: Any, call: Call, origin: object
    ) -> tuple[Any, Loan | None]:
        """The answer that comes over a transport of `pool`, which is lent if it has several."""
        if isinstance(pool, Transports):
            loan = pool.lend(origin)
            if call.deadline is not None and not self.asynchronous:
                loan.watch(self._watchdog.watch(call.deadline), native)
            response = await loan.send(native, asynchronous=self.asynchronous)
            if self._closed:
                raise await self._too_late(response, loan, call)
            version = response.extensions.get("http_version")
            if isinstance(pool, SharedTransports) and version == b"HTTP/2":
                pool.share(loan)
            return response, loan
        if self.asynchronous:
            return await shielded(pool.handle_async_request(native), _discard), None
        return pool.handle_request(native), None

    async def _too_late(self, response: Any, loan: Loan, call: Call) -> Refused:
        """Close what came over a connection that was made while the host was closing others."""
        stream = response.extensions.get("network_stream")
        with suppress(Exception):
            if self.asynchronous:
                await response.stream.aclose()
                await loan.aclose()
                await stream.aclose()
            else:
                response.stream.close()
                loan.close()
                stream.close()
        return self._drained(call)

    def _application_transport(self, runtime: Runtime) -> Any:
        if self._transport_name != "own":
            return None
        service, base = self._service, self._library.base(asynchronous=self.asynchronous)
        transport = runtime.maker(service, base)(service)
        if not isinstance(transport, base):
            what = f"host.provide({self._library.name}.{base.__name__}, ...) was given a function"
            kind = kind_of(transport)
            raise ConfigError(f"service {service.name!r}: {what} that makes none of it, but {kind}")
        return transport

    def _pool(self, url: Any, *, own: bool) -> Any:
        if self._transport is not None:
            return self._transport
        proxy, secure = self._proxy(url), url.scheme in _SECURE
        # Each time: who sends credentials there may be composed later.
        is_judged = own and self._leaves_machine(proxy)
        pool = self._pools.get(key := (proxy, own, secure))
        if pool is None:
            pool = self._pools.setdefault(key, self._new_pool(proxy, own=own, secure=secure))
        if own and not is_judged:
            self._own = pool
        return pool

    def _proxy(self, url: Any) -> SecretStr | None:
        """The proxy to `url`; apart, for its password stands in this frame."""
        if (setting := self._service.proxy) is not None:
            return setting or None
        chosen = self._library.proxy_for(url)
        return SecretStr(chosen) if chosen else None

    def _new_pool(self, proxy: SecretStr | None, *, own: bool, secure: bool) -> Any:
        service = self._service
        if self._transport_name == "aiohttp" and proxy and not is_plain(proxy.get_secret_value()):
            what = f"{NO_OTHER_PROXY}, and the environment names another"
            raise ConfigError(f"service {service.name!r}: {what}; say proxy = false")
        size = service.max_connections if self.asynchronous and not own else 1
        make = partial(
            self._transport_class(proxy),
            verify=self._context(own=own) if secure or proxy else _NO_TLS,
            trust_env=False,
            http2=service.http2 and (own or self.asynchronous),
            limits=self._lib.Limits(
                max_connections=size,
                max_keepalive_connections=size,
                keepalive_expiry=service.keepalive_expiry,
            ),
            proxy=proxy.get_secret_value() if proxy else None,
        )
        expiry, most = service.keepalive_expiry, service.max_connections
        if not own and self.asynchronous:
            return Elsewhere(make, expiry, most, self._gate)
        if self._shares:
            return SharedTransports(make, expiry, most, self._gate)
        return Transports(make, expiry, most)

    def _transport_class(self, proxy: SecretStr | None) -> Any:
        if proxy and is_socks(proxy.get_secret_value()):
            kind = socks_transport(self._lib, asynchronous=self.asynchronous)
            return partial(kind, self._watchdog)
        name = self._transport_name
        return self._library.transport_class(name, asynchronous=self.asynchronous)

    def _context(self, *, own: bool) -> ssl.SSLContext:
        return self._shared_context(self._service.verify, self._service.cert if own else None)

    async def read(self, message: Any, most: int) -> bytes:
        is_response = isinstance(message, Response)
        if not (is_response or self.messages.sendable(message)):
            raise self._lib.StreamConsumed
        native = message.native
        if is_response:
            self._body_of(message).transform(partial(Within, most))
        try:
            if self.asynchronous:
                raw = b"".join([chunk async for chunk in native.stream])
            else:
                raw = b"".join(native.stream)
        except BaseException as error:
            if is_response:
                await discard(self, message, error)
            raise
        if is_response:
            await self.close(message)
        native.stream = self._lib.ByteStream(raw)
        if not is_response:
            return raw
        return without_codings(raw, message.headers, most, self._lib.DecodingError)

    async def close(self, response: Any) -> None:
        if self.asynchronous:
            await response.native.stream.aclose()
        else:
            response.native.stream.close()

    def watch(self, response: Any, callback: BodyEnd) -> None:
        self._body_of(response).watch(callback)

    async def aclose(self) -> None:
        self._closed = True
        await self._gate.close_dropped()
        pools, self._pools, self._own = [*self._pools.values()], {}, None
        for pool in pools if self._transport is None else [self._transport]:
            for each in pool.close() if isinstance(pool, Transports) else (pool,):
                if self.asynchronous:
                    await each.aclose()
                else:
                    each.close()


async def _discard(response: Any) -> None:
    """Close an answer that nobody gets."""
    await response.stream.aclose()
