"""The way out: one connection's pools in requests; `HTTPAdapter.send` is the innermost call."""

from __future__ import annotations

import ssl
from base64 import b64encode
from contextlib import nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import requests
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from requests.exceptions import (
    ContentDecodingError,
    InvalidHeader,
    SSLError,
    StreamConsumedError,
)
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_auth_from_url, select_proxy
from urllib3 import exceptions
from urllib3.util import Timeout as Seconds
from urllib3.util.ssl_ import create_urllib3_context

from flext_plugins._call import hops_under_way, least
from flext_plugins._clients.bodies import CLOSING, NO_LIMIT, Guarded, guarded
from flext_plugins._clients.decoding import without_codings
from flext_plugins._clients.gate import GatedWire
from flext_plugins._clients.requests.bodies import translated, watched
from flext_plugins._clients.requests.connections import sending, watch_connections
from flext_plugins._clients.requests.failures import PoolTimeout
from flext_plugins._clients.requests.messages import (
    ENVIRONMENT,
    HOST,
    OPTIONS,
    RequestsResponse,
    parts_of,
)
from flext_plugins._clients.requests.uploads import is_buffer
from flext_plugins._clients.tls import shared_context
from flext_plugins._clients.watchdog import SWITCHED
from flext_plugins._config.service_checks import is_socks
from flext_plugins._deadline import Limit
from flext_plugins._errors import note_failures
from flext_plugins._messages import TOKEN, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from flext_plugins._call import Call
    from flext_plugins._clients.gate import Permit
    from flext_plugins._clients.requests import RequestsLibrary
    from flext_plugins._clients.requests.messages import RequestsMessages
    from flext_plugins._messages import BodyEnd
    from flext_plugins._runtime import Runtime
    from flext_plugins._service import Service


class RequestsWire(GatedWire):
    """One connection's pool in requests, and what the chain asks of that library."""

    _full = PoolTimeout
    _consumed = staticmethod(partial(StreamConsumedError, "the request's body was sent before"))

    def __init__(
        self,
        library: RequestsLibrary,
        service: Service,
        messages: RequestsMessages,
        runtime: Runtime,
    ) -> None:
        size = service.max_connections
        super().__init__(library, service, messages, runtime, asynchronous=False)
        contexts = partial(shared_context, runtime, library.name, _usual)
        self._own = _Adapter(contexts, pool_connections=1, pool_maxsize=size)
        self._bare = _Adapter(contexts, pool_maxsize=size)

    async def _dispatch(
        self, request: Any, call: Call, left: float | None, permit: Permit, *, own: bool
    ) -> Any:
        if own and ENVIRONMENT in request.extensions:
            request.headers.setdefault("Authorization", request.extensions[ENVIRONMENT])
        _check(request)
        if own and self._stays:  # else no proxy is worth choosing twice
            self._leaves_machine(self._proxy(request))
        adapter = self._own if own else self._bare
        host = request.headers.get("Host")
        if is_usual := host is not None and host == request.extensions.get(HOST):
            del request.headers["Host"]  # http.client sends it, before all others
        is_whole = _is_whole(request.native)
        guard = nullcontext() if is_whole else guarded(request.native, "body", Guarded)
        watch = None if call.deadline is None else self._watchdog.watch(call.deadline)
        try:
            with sending(watch), guard:
                native = adapter.send(
                    request.native, stream=True, **self._options(request, left, own)
                )
        except requests.RequestException as error:
            error.request = None  # plugins have marked it: neither outer ones nor causes show it
            raise
        finally:
            if is_usual:
                request.headers["Host"] = host
        if watch is not None and native.status_code == SWITCHED:
            watch.end()
            watch = None
        native.raw = watched(native.raw, permit, _body_limit(call), watch, self._gate.dropped)
        return RequestsResponse(native, request, self._service)

    def _options(self, request: Any, left: float | None, own: bool) -> dict[str, Any]:  # noqa: FBT001
        """The options of `HTTPAdapter.send`; apart, for a proxy's password stands in this frame."""
        service, chosen = self._service, _chosen(request)
        timeout = chosen.get("timeout")
        timeout = service.timeout[:2] if timeout is None else timeout
        verify = chosen.get("verify", True)
        return {
            "timeout": timeout if left is None else _shortened(timeout, left),
            "verify": verify if service.verify is True else service.verify,
            "cert": chosen.get("cert") or (service.cert if own else None),
            "proxies": self._proxies(chosen),
        }

    def _proxies(self, chosen: dict[str, Any]) -> Any:
        proxy = self._service.proxy
        if proxy is None:
            return chosen.get("proxies")
        address = proxy.get_secret_value() if proxy else ""
        return {"http": address, "https": address} if address else {}

    def _proxy(self, request: Any) -> SecretStr | None:
        """The proxy that requests would choose for `request`."""
        proxies = self._proxies(_chosen(request))
        address = select_proxy(request.native.url, proxies) if proxies else None
        return SecretStr(address) if address else None

    async def read(self, message: Any, most: int) -> bytes:
        native = message.native
        if isinstance(message, Request):
            if not self.messages.sendable(message):
                raise StreamConsumedError("the request's body was read before")
            content = b"".join(parts_of(native))
            if native.body is not None:
                native.body = content
            return content
        raw = native.raw
        try:
            data = raw.within(most)
        except BaseException as error:
            with note_failures(error, CLOSING):
                raw.close()
            if isinstance(error, exceptions.HTTPError):
                raise translated(error) from error
            raise
        raw.close()
        native.raw = raw.replayed(data)
        return without_codings(data, message.headers, most, ContentDecodingError)

    async def close(self, response: Any) -> None:
        response.native.raw.close()

    def watch(self, response: Any, callback: BodyEnd) -> None:
        response.native.raw.watch(callback)

    async def aclose(self) -> None:
        self._closed = True
        await self._gate.close_dropped()
        self._own.close()
        self._bare.close()


def _chosen(request: Any) -> dict[str, Any]:
    """The session's options for `request`, or the environment's for one that a plugin made."""
    chosen: Any = request.extensions.get(OPTIONS)
    if chosen is None:
        trusts_environment = getattr(hops_under_way.get(), "trusts_environment", True)
        session = _session(trusts_environment=trusts_environment)
        chosen = session.merge_environment_settings(request.native.url, {}, None, None, None)
    options: dict[str, Any] = chosen
    return options


@cache
def _session(*, trusts_environment: bool) -> requests.Session:
    """A session that is asked what a plain one would do, and sends nothing."""
    session = requests.Session()
    session.trust_env = trusts_environment
    return session


def _shortened(timeout: Any, left: float) -> Seconds:
    """A session's time-outs, for all that is waited for `left` seconds at most."""
    if not isinstance(timeout, Seconds):
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        timeout = Seconds(connect=connect, read=read)
    total: Any = timeout.total
    shortened: Seconds = timeout.clone()
    shortened.total = least(total, left)
    return shortened


def _body_limit(call: Call) -> Any:
    if call.deadline is None:
        return NO_LIMIT
    return Limit(call, f"the body of {call.service}'s answer")


def _usual(verify: bool) -> ssl.SSLContext:  # noqa: FBT001 - as the setting has it
    """The context that trusts the authorities that requests does, or anybody."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)
    if verify:
        context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


class _Adapter(HTTPAdapter):
    """requests' own, which tells a proxy user and password in UTF-8, as httpx does.

    Args:
        contexts: gives the TLS context for `verify` and `cert`; urllib3 would read files for each
            connection, whole or not, between connecting and the handshake.
        options: of `HTTPAdapter`.
    """

    def __init__(self, contexts: Callable[[Any, Any], ssl.SSLContext], **options: Any) -> None:
        super().__init__(**options)
        self._contexts = contexts

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        watch_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        watch_connections(manager, SecretStr(proxy) if is_socks(proxy) else None)
        return manager

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, tls = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https":
            try:
                context = self._contexts(verify, cert)
            except ssl.SSLError as error:  # a file that is none of certificates
                raise SSLError(str(error), request=request) from None
            tls = {"cert_reqs": tls["cert_reqs"], "ssl_context": context}
        return host, tls

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing: the context has it all."""

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        pair = ":".join(get_auth_from_url(proxy)).encode(errors="surrogateescape")
        return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"} if pair != b":" else {}


def _is_whole(native: Any) -> bool:
    """Whether the body is there already, so that reading it raises nothing, or cannot be read.

    Of what cannot be read urllib3 says so before it sends anything.
    """
    body = native.body
    if isinstance(body, (bytes, str, type(None))) or is_buffer(body):
        return True
    return not (hasattr(body, "__iter__") or hasattr(body, "__getitem__"))


def _check(request: Request) -> None:
    """Refuse headers that no service takes, or whose value http.client's own error would quote."""
    name: Any  # may be bytes, in a session of requests
    for name in request.headers:
        if not TOKEN.fullmatch(name.decode("latin-1") if isinstance(name, bytes) else name):
            raise InvalidHeader(f"header {name!r} has a name that cannot be sent")
    for name in [each for each, value in request.headers.items() if _is_broken(value)]:
        raise InvalidHeader(f"header {name!r}: its value has a line break or is not Latin-1")


def _is_broken(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return "\n" in value or "\r" in value or not (value.isascii() or max(value) <= "\xff")
