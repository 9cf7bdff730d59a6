"""The way out: one connection's pools in requests; `HTTPAdapter.send` is the innermost call."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING, Any

import requests
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader, StreamConsumedError
from requests.utils import get_auth_from_url, rewind_body, select_proxy
from urllib3 import exceptions
from urllib3.util import Timeout as Seconds

from flext_plugins._call import least
from flext_plugins._clients.bodies import CLOSING, NO_LIMIT
from flext_plugins._clients.gate import GatedWire
from flext_plugins._clients.requests.bodies import translated, watched, whole
from flext_plugins._clients.requests.failures import PoolTimeout
from flext_plugins._clients.requests.messages import (
    ENVIRONMENT,
    HOST,
    OPTIONS,
    RequestsResponse,
    seekable,
)
from flext_plugins._deadline import Limit
from flext_plugins._errors import note_failures
from flext_plugins._messages import Request

if TYPE_CHECKING:
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
        self._own = _Adapter(pool_connections=1, pool_maxsize=size)
        self._bare = _Adapter(pool_maxsize=size)

    async def _dispatch(
        self, request: Any, call: Call, left: float | None, permit: Permit, *, own: bool
    ) -> Any:
        if own and ENVIRONMENT in request.extensions:
            request.headers.setdefault("Authorization", request.extensions[ENVIRONMENT])
        _check(request)
        if seekable(request.native):
            rewind_body(request.native)
        if own and self._stays:  # else no proxy is worth choosing twice
            self._leaves_machine(self._proxy(request))
        adapter = self._own if own else self._bare
        host = request.headers.get("Host")
        if is_usual := host is not None and host == request.extensions.get(HOST):
            del request.headers["Host"]  # http.client sends it, before all others
        try:
            native = adapter.send(request.native, stream=True, **self._options(request, left, own))
        except requests.RequestException as error:
            error.request = None  # plugins have marked it: neither outer ones nor causes show it
            raise
        finally:
            if is_usual:
                request.headers["Host"] = host
        limit = _body_limit(native.raw.connection, call)
        native.raw = watched(native.raw, permit, limit, self._gate.dropped)
        return RequestsResponse(native, request)

    def _options(self, request: Any, left: float | None, own: bool) -> dict[str, Any]:  # noqa: FBT001
        """The options of `HTTPAdapter.send`; apart, for a proxy's password stands in this frame."""
        service, chosen = self._service, request.extensions.get(OPTIONS, {})
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
        proxies = self._proxies(request.extensions.get(OPTIONS, {}))
        address = select_proxy(request.native.url, proxies) if proxies else None
        return SecretStr(address) if address else None

    async def read(self, message: Any) -> bytes:
        native = message.native
        if isinstance(message, Request):
            if not self.messages.sendable(message):
                raise StreamConsumedError("the request's body was read before")
            body = native.body
            if seekable(native):
                rewind_body(native)
            if not isinstance(body, (bytes, str, type(None))):
                body = body.read() if hasattr(body, "read") else b"".join(body)
            native.body = body.encode() if isinstance(body, str) else body
            return native.body or b""
        raw = native.raw
        try:
            data = b"".join(raw.stream(decode_content=False))
        except BaseException as error:
            with note_failures(error, CLOSING):
                raw.close()
            if isinstance(error, exceptions.HTTPError):
                raise translated(error) from error
            raise
        raw.close()
        native.raw = raw.replayed(data)
        return whole(data, message.headers).read(decode_content=True)

    async def close(self, response: Any) -> None:
        response.native.raw.close()

    def watch(self, response: Any, callback: BodyEnd) -> None:
        response.native.raw.watch(callback)

    async def aclose(self) -> None:
        self._closed = True
        await self._gate.close_dropped()
        self._own.close()
        self._bare.close()


def _shortened(timeout: Any, left: float) -> Seconds:
    """A session's time-outs, for all that is waited for `left` seconds at most."""
    if not isinstance(timeout, Seconds):
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        timeout = Seconds(connect=connect, read=read)
    total: Any = timeout.total
    shortened: Seconds = timeout.clone()
    shortened.total = least(total, left)
    return shortened


def _body_limit(connection: Any, call: Call) -> Any:
    if call.deadline is None:
        return NO_LIMIT

    def shorten(left: float) -> None:
        sock = getattr(connection, "sock", None)
        if sock is not None:
            sock.settimeout(least(sock.gettimeout(), left))

    waiting_for = f"the body of {call.service}'s answer"
    return Limit(call, waiting_for, TimeoutError, shorten)


class _Adapter(HTTPAdapter):
    """requests' own, which tells a proxy user and password in UTF-8, as httpx does."""

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        pair = ":".join(get_auth_from_url(proxy)).encode(errors="surrogateescape")
        return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"} if pair != b":" else {}


def _check(request: Request) -> None:
    """Refuse what was set since requests checked; http.client's own error would quote the value."""
    for name in [each for each, value in request.headers.items() if _is_broken(value)]:
        raise InvalidHeader(f"header {name!r}: its value has a line break or is not Latin-1")


def _is_broken(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return "\n" in value or "\r" in value or not (value.isascii() or max(value) <= "\xff")
