"""httpx, and every library with the same names."""

from __future__ import annotations

import logging
import ssl
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flext_plugins._call import least
from flext_plugins._chain.drive import drive
from flext_plugins._clients.bodies import NO_LIMIT, Body, Upload, seekable
from flext_plugins._clients.cancellation import steady
from flext_plugins._clients.gate import CALL, GatedWire, proxy_for
from flext_plugins._clients.hop import edge
from flext_plugins._clients.httpx.prepared import templated
from flext_plugins._deadline import Limit
from flext_plugins._errors import ConfigError
from flext_plugins._messages import Failure
from flext_plugins.redaction import redact_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from types import ModuleType

    from flext_plugins._call import Call
    from flext_plugins._messages import BodyEnd
    from flext_plugins._service import Service

FAILURES = {
    "ConnectError": Failure.CONNECT,
    "ConnectTimeout": Failure.CONNECT,
    "ProxyError": Failure.CONNECT,
    "PoolTimeout": Failure.POOL,
    "TimeoutException": Failure.TIMEOUT,
    "WriteError": Failure.WRITE,
    "ReadError": Failure.READ,
    "CloseError": Failure.READ,
    "RemoteProtocolError": Failure.PROTOCOL,
    "LocalProtocolError": Failure.CALLER,
    "UnsupportedProtocol": Failure.CALLER,
    "InvalidURL": Failure.CALLER,
    "StreamError": Failure.CALLER,
}


class Library:
    """What is needed of one client library, made from its public names."""

    def __init__(self, module: ModuleType) -> None:
        lib: Any = module
        self.module, self.name = lib, module.__name__
        streams = (lib.SyncByteStream, lib.AsyncByteStream)
        self.body: Any = type("Body", (Body, *streams), {})
        self.upload: Any = type("Upload", (Upload, *streams), {})
        self.failures = tuple((getattr(lib, name), kind) for name, kind in FAILURES.items())
        self.refused, self.timed_out = lib.TransportError, lib.TimeoutException
        self.bad_status = lib.HTTPStatusError
        self.transports: dict[type, Any] = {
            lib.BaseTransport: type("Transport", (Transport, lib.BaseTransport), {}),
            lib.AsyncBaseTransport: type(
                "AsyncTransport", (AsyncTransport, lib.AsyncBaseTransport), {}
            ),
        }
        logging.getLogger(self.name).addFilter(redact_record)

    @cached_property
    def defaults(self) -> dict[str, str]:
        """The headers that a client sends though nobody set them."""
        return dict(self.module.Client(transport=self.module.MockTransport(print)).headers)

    def wire(self, service: Service, *, asynchronous: bool, tls: dict[Any, Any]) -> HttpxWire:
        """A new way to `service`, with a pool of its own."""
        return HttpxWire(self, service, asynchronous=asynchronous, tls=tls)

    def is_async(self, kind: type) -> bool:
        """Whether a client or transport class belongs to an event loop."""
        return issubclass(kind, (self.module.AsyncClient, self.module.AsyncBaseTransport))

    def transport(self, kind: type, ground: Any, name: str) -> Any:
        """A transport of that kind through the service's connection."""
        made = self.transports.get(kind)
        if made is None:
            raise ConfigError(
                f"cannot make a transport of {kind.__module__}.{kind.__qualname__}: expected "
                f"{self.name}.BaseTransport or {self.name}.AsyncBaseTransport"
            )
        return made(ground, name, self.name)

    def client(self, kind: type, ground: Any, service: Service, options: dict[str, Any]) -> Any:
        """An instance of the client class `kind` on top of the service's connection."""
        if clash := options.keys() & SERVICE_OPTIONS:
            raise ConfigError(
                f"connect({service.name!r}) does not take {', '.join(sorted(clash))}: the host "
                "makes the connection, from the service's configuration; for a client of your own "
                "see host.transport"
            )
        base = "AsyncBaseTransport" if self.is_async(kind) else "BaseTransport"
        options.setdefault("timeout", self.module.Timeout(**service.timeout._asdict()))
        return _own_calls(kind, self.module)(
            transport=self.transport(getattr(self.module, base), ground, service.name),
            base_url=service.base_url or "",
            **options,
        )


SERVICE_OPTIONS = frozenset(
    {"base_url", "cert", "http1", "http2", "limits", "mounts", "proxy", "transport", "trust_env"}
    | {"verify"}
)
"""Options of a client that are the connection's, which is the host's."""

library_of = cache(Library)


@cache
def _own_calls(kind: type, module: ModuleType) -> Any:
    """`kind` with each `send` a call of its own, also when it sends the same request again."""

    def send(self: Any, request: Any, **options: Any) -> Any:
        request.extensions.pop(CALL, None)
        return kind.send(self, request, **options)  # type: ignore[attr-defined]

    body = {"send": send, **templated(kind, module), "__module__": kind.__module__}
    return type(kind.__name__, (kind,), body)


class Transport:
    """A sync transport through a service's connection; closing it closes nothing else."""

    def __init__(self, ground: Any, service: str, library: str) -> None:
        self._ground, self._service, self._library = ground, service, library

    def handle_request(self, request: Any) -> Any:
        composed = self._ground.composed(self._service)
        return drive(edge(request, self._ground, composed, self._library), composed.layers)


class AsyncTransport:
    """An async transport through a service's connection in the running loop."""

    def __init__(self, ground: Any, service: str, library: str) -> None:
        self._ground, self._service, self._library = ground, service, library

    def handle_async_request(self, request: Any) -> Awaitable[Any]:
        composed = self._ground.composed(self._service)
        return edge(request, self._ground, composed, self._library, asynchronous=True)


class HttpxWire(GatedWire):
    """One connection's pool in one library, and what the chain asks of that library."""

    def __init__(
        self, library: Library, service: Service, *, asynchronous: bool, tls: dict[Any, Any]
    ) -> None:
        # HTTP/2 has many exchanges on one socket, so its pool has nothing to queue for.
        permits = service.max_connections * (100 if service.http2 else 1)
        super().__init__(service, permits, asynchronous=asynchronous)
        self.library = library.name
        self._library, self._lib, self._tls = library, library.module, tls
        self._full, self._consumed = self._lib.PoolTimeout, self._lib.StreamConsumed
        self._timed_out = library.timed_out
        self._defaults = library.defaults
        self._pools: dict[tuple[str | None, bool, bool], Any] = {}
        self._own: Any = None
        """The pool for the own origin: its proxy is chosen once."""
        self._base = self._lib.URL(service.base_url or "")
        base = self._base
        self._origin = (base.raw_scheme, base.raw_host, base.port) if service.base_url else None

    def owns(self, request: Any) -> bool:
        url = request.url
        return (url.raw_scheme, url.raw_host, url.port) == self._origin

    def build(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Any:
        target = self._lib.URL(url)
        if target.is_relative_url:
            path = self._base.raw_path.rstrip(b"/") + b"/" + target.raw_path.lstrip(b"/")
            target = self._base.copy_with(raw_path=path)
        timeout = self._service.timeout._asdict()
        return self._lib.Request(
            method, target, headers=headers, content=content, extensions={"timeout": timeout}
        )

    def clone(self, request: Any) -> Any:
        clone = self._copied(request)
        clone.headers.encoding = request.headers.encoding  # else each copy looks for it again
        return clone

    def _copied(self, request: Any) -> Any:
        stream = request.stream
        if not isinstance(stream, (self._lib.ByteStream, Upload)) and not seekable(stream):
            stream = self._library.upload(stream, self._begun)
        return self._lib.Request(
            request.method,
            request.url,
            headers=request.headers,
            stream=stream,
            extensions=request.extensions,
        )

    def replayable(self, request: Any) -> bool:
        stream = request.stream
        if isinstance(stream, Upload):
            return not stream.begun
        return isinstance(stream, self._lib.ByteStream) or seekable(stream)

    def _patience(self, request: Any) -> float | None:
        seconds: float | None = request.extensions.get("timeout", {}).get("pool")
        return seconds

    async def _dispatch(self, request: Any, call: Call, left: float | None, *, own: bool) -> Any:
        if not own:
            pool = self._pool(request.url, own=False)
        elif self._own is not None:
            pool = self._own
        else:
            pool = self._own = self._pool(request.url, own=True)
        limit, own_extensions = NO_LIMIT, request.extensions
        if left is not None:
            given = own_extensions.get("timeout", {})
            seconds = {
                phase: least(given.get(phase), left) for phase in self._service.timeout._fields
            }
            request.extensions = {**own_extensions, "timeout": seconds}
            # The pool looks at this very dictionary again when it begins to read the body.
            shorten = lambda rest: seconds.update(read=least(seconds["read"], rest))  # noqa: E731
            body = f"the body of {call.service}'s answer"
            limit = Limit(call, body, self._timed_out, shorten, self._timed_out)
        try:
            if self._asynchronous:
                response = await steady(pool.handle_async_request(request), _closed)
            else:
                response = pool.handle_request(request)
        finally:
            request.extensions = own_extensions
        response.request = request
        response.stream = self._library.body(response.stream, self._gate.leave, limit)
        return response

    def _pool(self, url: Any, *, own: bool) -> Any:
        key = proxy_for(url, self._service), own, url.scheme == "https"
        pool = self._pools.get(key)
        if pool is None:
            proxy, _, secure = key
            size = self._service.max_connections
            kind = self._lib.AsyncHTTPTransport if self._asynchronous else self._lib.HTTPTransport
            made = kind(
                verify=self._context(own=own) if secure or proxy else _NO_TLS,
                trust_env=False,
                http2=self._service.http2,
                limits=self._lib.Limits(max_connections=size, max_keepalive_connections=size),
                proxy=proxy,
            )
            pool = self._pools.setdefault(key, made)
        return pool

    def _context(self, *, own: bool) -> ssl.SSLContext:
        verify, cert = self._service.verify, self._service.cert if own else None
        key = self.library, verify, cert
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
        is_response = hasattr(message, "status_code")
        if not (is_response or self.replayable(message)):
            raise self._lib.StreamConsumed
        try:
            if self._asynchronous:
                raw = b"".join([chunk async for chunk in message.stream])
            else:
                raw = b"".join(message.stream)
        finally:
            if is_response:
                await self.close(message)
        message.stream = self._lib.ByteStream(raw)
        if not is_response:
            return raw
        decoded = self._lib.Response(200, headers=message.headers, content=raw)
        content: bytes = decoded.content
        return content

    async def close(self, response: Any) -> None:
        if self._asynchronous:
            await response.stream.aclose()
        else:
            response.stream.close()

    def respond(self, status: int, headers: Mapping[str, str] | None, content: bytes) -> Any:
        response = self._lib.Response(status, headers=headers, stream=self._lib.ByteStream(content))
        response.headers.setdefault("Content-Length", str(len(content)))
        return response

    def failure(self, error: BaseException) -> Failure | None:
        return next(
            (kind for each, kind in self._library.failures if isinstance(error, each)), None
        )

    def watch(self, response: Any, callback: BodyEnd) -> None:
        if not isinstance(response.stream, Body):
            response.stream = self._library.body(response.stream)
        response.stream.watch(callback)

    async def aclose(self) -> None:
        self._closed = True
        pools, self._pools, self._own = self._pools, {}, None
        for pool in pools.values():
            if self._asynchronous:
                await pool.aclose()
            else:
                pool.close()


async def _closed(response: Any) -> None:
    await response.stream.aclose()


_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For pools that only ever speak plain HTTP: a real context costs 30 ms."""
