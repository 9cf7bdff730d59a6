"""httpx, and every library with the same names.

`client` is the way in, `wire` the way out, `messages` what goes along both.
"""

from __future__ import annotations

import ssl
from functools import cache, cached_property, lru_cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.request import getproxies

from flext_plugins._clients.bodies import Body, Guarded, Transformed, Upload
from flext_plugins._clients.httpx.client import AsyncTransport, Transport, client_class
from flext_plugins._clients.httpx.messages import FAILURES, HttpxMessages
from flext_plugins._clients.httpx.wire import HttpxWire
from flext_plugins._clients.transports import transport_for
from flext_plugins._config.proxies import proxy_for as standard_proxy_for
from flext_plugins._errors import ConfigError
from flext_plugins._logging import filter_loggers, mask_value, redact_value
from flext_plugins._messages import Failure

if TYPE_CHECKING:
    from types import ModuleType

    from flext_plugins._messages import Response
    from flext_plugins._runtime import Runtime
    from flext_plugins._service import Service

SERVICE_OPTIONS = frozenset(
    {"base_url", "cert", "http1", "http2", "limits", "mounts", "proxy", "transport", "trust_env"}
    | {"verify"}
)
"""Options of a client that are the connection's, which is the host's."""

_CORE_LOGGERS = ("connection", "http11", "http2", "proxy", "socks")
"""The loggers of httpcore, which does the sending."""


class HttpxLibrary:
    """httpx or a library with the same names, made from its public ones."""

    def __init__(self, module: ModuleType) -> None:
        lib: Any = module
        self.module, self.name = lib, module.__name__
        streams = (lib.SyncByteStream, lib.AsyncByteStream)
        self.body: Any = type("Body", (Body, *streams), {"stream_closed": lib.StreamClosed})
        self.upload: Any = type("Upload", (Upload, *streams), {})
        self.guarded: Any = type("Guarded", (Guarded, *streams), {})
        self.transformed: Any = type("Transformed", (Transformed, *streams), {})
        failures = [(getattr(lib, name), kind) for name, kind in FAILURES.items()]
        # An async client lets it through as it is where TLS breaks after the handshake.
        self.failures = (*failures, (ssl.SSLError, Failure.READ))
        self.refused, self.timed_out = lib.TransportError, lib.TimeoutException
        self.bad_status = lib.HTTPStatusError
        self.transports: dict[type, Any] = {
            lib.BaseTransport: type("Transport", (Transport, lib.BaseTransport), {}),
            lib.AsyncBaseTransport: type(
                "AsyncTransport", (AsyncTransport, lib.AsyncBaseTransport), {}
            ),
        }
        core = self.name.replace("httpx", "httpcore")
        filter_loggers((self.name, *(f"{core}.{each}" for each in _CORE_LOGGERS)), redact_value)
        filter_loggers(("hpack.hpack", "hpack.table"), mask_value)

    @cached_property
    def defaults(self) -> dict[str, str]:
        """The headers that a client sends though nobody set them."""
        return dict(self.module.Client(transport=self.module.MockTransport(print)).headers)

    def body_of(self, response: Response) -> Body:
        """The body of `response`, which may have come without a connection."""
        native = response.native
        if not isinstance(native.stream, Body):
            native.stream = self.body(native.stream)
        body: Body = native.stream
        return body

    def wire(self, service: Service, runtime: Runtime, *, asynchronous: bool) -> HttpxWire:
        """A new way to `service`, with a pool of its own."""
        messages = HttpxMessages(self, service)
        return HttpxWire(self, service, messages, runtime, asynchronous=asynchronous)

    def check(self, service: Service, runtime: Runtime, *, asynchronous: bool) -> None:
        """See that there is a transport for a client."""
        if transport_for(service, self.name, asynchronous=asynchronous) == "own":
            runtime.maker(service, self.base(asynchronous=asynchronous))

    def transport_class(self, name: str, *, asynchronous: bool) -> Any:
        """The class of what exchanges go over, unless the application makes that itself."""
        if name == "aiohttp":
            return self._over_aiohttp
        return self.module.AsyncHTTPTransport if asynchronous else self.module.HTTPTransport

    @cached_property
    def _over_aiohttp(self) -> Any:
        # Only here, since it is an extra.
        over_aiohttp = import_module("flext_plugins._clients.httpx.aiohttp")
        return over_aiohttp.transport_class(self.module)

    def proxy_for(self, url: Any) -> str | None:
        """The proxy that a plain client which is made now takes to `url`."""
        said = frozenset(getproxies().items())
        return _way(self.module, said, url.scheme, url.host, url.port) if said else None

    def base(self, *, asynchronous: bool) -> Any:
        """The class of all transports."""
        return self.module.AsyncBaseTransport if asynchronous else self.module.BaseTransport

    def is_async(self, kind: type) -> bool:
        """Whether a client or transport class belongs to an event loop."""
        return issubclass(kind, (self.module.AsyncClient, self.module.AsyncBaseTransport))

    def transport(self, kind: type, runtime: Runtime, service: str) -> Any:
        """A transport of that kind through the service's connection."""
        transport = self.transports.get(kind)
        if transport is None:
            raise ConfigError(
                f"cannot make a transport of {kind.__module__}.{kind.__qualname__}: expected "
                f"{self.name}.BaseTransport or {self.name}.AsyncBaseTransport"
            )
        return transport(runtime, service, self)

    def client(
        self, kind: type, runtime: Runtime, service: Service, options: dict[str, Any]
    ) -> Any:
        """An instance of the client class `kind` on top of the service's connection."""
        if clash := options.keys() & SERVICE_OPTIONS:
            raise ConfigError(
                f"connect({service.name!r}) does not take {', '.join(sorted(clash))}: the host "
                "makes the connection, from the service's configuration; for a client of your own "
                "see host.transport"
            )
        base = self.base(asynchronous=self.is_async(kind))
        options.setdefault("timeout", self.module.Timeout(**service.timeout._asdict()))
        transport = self.transport(base, runtime, service.name)
        client = client_class(kind, self.module)(
            transport=transport, base_url=service.base_url or "", **options
        )
        client.flext_transport = transport
        return client


class _Way(Exception):
    """Stops a request where its way has been chosen."""

    def __init__(self, proxy: str | None = None) -> None:
        self.proxy = proxy


@lru_cache(maxsize=1000)
def _way(
    lib: Any, said: frozenset[tuple[str, str]], scheme: str, host: str, port: int | None
) -> str | None:
    """The proxy of the environment to an origin, as the library itself reads it.

    A plain client is sent there, which has in place of its proxies what stops the request.

    Args:
        lib: the library's module.
        said: the environment's proxies, and whom they are not for.
        scheme: of the origin.
        host: likewise.
        port: likewise; `None` for the scheme's own.
    """

    def stop(address: str | None, *_: object) -> NoReturn:
        raise _Way(address)

    proxies = dict(said)
    is_for_all = "*" not in [each.strip() for each in proxies.pop("no", "").split(",")]
    mounts = {}
    for name in {"http", "https", "all"} & proxies.keys() if is_for_all else ():
        address = proxies[name] if "://" in proxies[name] else f"http://{proxies[name]}"
        mounts[f"{name}://"] = lib.MockTransport(partial(stop, address))
    url = lib.URL(scheme=scheme, host=host, port=port, path="/")
    if not mounts:
        return None
    try:
        with lib.Client(mounts=mounts, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as client:
            client.get(url, extensions={"trace": lambda *_: stop(None)})
    except _Way as way:
        return way.proxy
    except Exception:  # it cannot be read: no plain client can be made
        return standard_proxy_for(url)
    return None


library_of = cache(HttpxLibrary)
