"""The way out: one connection's pools in httpx, or in a library with the same names."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from flext_plugins._call import least
from flext_plugins._chain.layer import discard
from flext_plugins._clients.bodies import NO_LIMIT
from flext_plugins._clients.cancellation import shielded
from flext_plugins._clients.gate import GatedWire
from flext_plugins._clients.httpx.messages import HttpxResponse
from flext_plugins._config.proxies import proxy_for
from flext_plugins._deadline import Limit
from flext_plugins._messages import Response

if TYPE_CHECKING:
    from flext_plugins._call import Call
    from flext_plugins._clients.gate import Permit
    from flext_plugins._clients.httpx import HttpxLibrary
    from flext_plugins._clients.httpx.messages import HttpxMessages
    from flext_plugins._messages import BodyEnd
    from flext_plugins._runtime import Runtime
    from flext_plugins._service import Service

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For pools that only ever speak plain HTTP: a real context costs 30 ms."""


class HttpxWire(GatedWire):
    """One connection's pools in one library."""

    def __init__(
        self,
        library: HttpxLibrary,
        service: Service,
        messages: HttpxMessages,
        runtime: Runtime,
        *,
        asynchronous: bool,
    ) -> None:
        # HTTP/2 has many exchanges on one socket, so its pool has nothing to queue for.
        permits = service.max_connections * (100 if service.http2 else 1)
        super().__init__(library, service, messages, runtime, permits, asynchronous=asynchronous)
        self._lib, self._tls = library.module, runtime.tls
        self._body, self._body_of = library.body, library.body_of
        self._full, self._consumed = self._lib.PoolTimeout, self._lib.StreamConsumed
        self._pools: dict[tuple[SecretStr | None, bool, bool], Any] = {}
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
            # The pool looks at this very dictionary again when it begins to read the body.
            shorten = lambda rest: seconds.update(read=least(seconds["read"], rest))  # noqa: E731
            body, timed_out = f"the body of {call.service}'s answer", self.library.timed_out
            limit = Limit(call, body, timed_out, shorten, base=timed_out)
        try:
            if self.asynchronous:
                response = await shielded(pool.handle_async_request(native), _discard)
            else:
                response = pool.handle_request(native)
        finally:
            native.extensions = own_extensions
        response.stream = self._body(response.stream, permit, limit)
        return HttpxResponse(response, request)

    def _pool(self, url: Any, *, own: bool) -> Any:
        chosen, secure = proxy_for(url, self._service.proxy), url.scheme == "https"
        proxy = SecretStr(chosen) if chosen else None
        del chosen  # nobody who renders locals shall see its password here
        # Each time: who sends credentials there may be composed later.
        is_judged = own and self._leaves_machine(proxy)
        pool = self._pools.get(key := (proxy, own, secure))
        if pool is None:
            size = self._service.max_connections
            kind = self._lib.AsyncHTTPTransport if self.asynchronous else self._lib.HTTPTransport
            pool = kind(
                verify=self._context(own=own) if secure or proxy else _NO_TLS,
                trust_env=False,
                http2=self._service.http2,
                limits=self._lib.Limits(max_connections=size, max_keepalive_connections=size),
                proxy=proxy.get_secret_value() if proxy else None,
            )
            pool = self._pools.setdefault(key, pool)
        if own and not is_judged:
            self._own = pool
        return pool

    def _context(self, *, own: bool) -> ssl.SSLContext:
        verify, cert = self._service.verify, self._service.cert if own else None
        key = self.library.name, verify, cert
        context: ssl.SSLContext | None = self._tls.get(key)
        if context is None:
            if isinstance(verify, bool):
                context = self._lib.create_ssl_context(verify=verify)
            else:
                context = (
                    ssl.create_default_context(capath=verify)
                    if Path(verify).is_dir()
                    else ssl.create_default_context(cafile=verify)
                )
            if cert:
                context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
            context = self._tls.setdefault(key, context)
        return context

    async def read(self, message: Any) -> bytes:
        is_response = isinstance(message, Response)
        if not (is_response or self.messages.sendable(message)):
            raise self._lib.StreamConsumed
        native = message.native
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
        decoded = self._lib.Response(200, headers=message.headers, content=raw)
        content: bytes = decoded.content
        return content

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
        pools, self._pools, self._own = self._pools, {}, None
        for pool in pools.values():
            if self.asynchronous:
                await pool.aclose()
            else:
                pool.close()


async def _discard(response: Any) -> None:
    await response.stream.aclose()
