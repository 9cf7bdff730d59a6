"""requests: the chain is an adapter, with `HTTPAdapter.send` as its innermost call."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.exceptions import (
    ConnectionError as WireError,
)
from requests.exceptions import (
    InvalidHeader,
    StreamConsumedError,
    Timeout,
)
from requests.utils import default_headers, rewind_body
from urllib3 import exceptions
from urllib3.util import Timeout as Seconds
from urllib3.util import parse_url

from flext_plugins._call import least
from flext_plugins._chain.drive import drive
from flext_plugins._clients.bodies import NO_LIMIT, Upload
from flext_plugins._clients.gate import CALL, GatedWire, origin
from flext_plugins._clients.hop import edge
from flext_plugins._clients.requests.failures import PoolTimeout, failure_of
from flext_plugins._clients.requests.messages import (
    Raw,
    RequestView,
    ResponseView,
    made,
    translated,
)
from flext_plugins._clients.requests.session import beginning, hops_under_way, session_class
from flext_plugins._deadline import Limit
from flext_plugins._errors import ConfigError
from flext_plugins.redaction import redact_record

if TYPE_CHECKING:
    from flext_plugins._call import Call
    from flext_plugins._messages import BodyEnd, Failure
    from flext_plugins._service import Service

SESSION_OPTIONS = frozenset({"auth", "cookies", "headers", "hooks", "max_redirects", "params"})
SENT = "flext_plugins.requests"
"""The key in a request's `extensions` under which the session's options for this send stand."""


class Library:
    """What is needed of requests."""

    def __init__(self) -> None:
        logging.getLogger("urllib3.connectionpool").addFilter(redact_record)

    name = "requests"
    refused, timed_out, bad_status = WireError, Timeout, requests.HTTPError

    def wire(self, service: Service, *, asynchronous: bool, tls: dict[Any, Any]) -> RequestsWire:
        """A new way to `service`, with a pool of its own; urllib3 keeps the TLS contexts."""
        del asynchronous, tls
        return RequestsWire(service)

    def is_async(self, kind: type) -> bool:
        """Whether a class belongs to an event loop; none of requests' does."""
        del kind
        return False

    def transport(self, kind: type, ground: Any, name: str) -> Any:
        """An adapter through the service's connection."""
        if kind not in {BaseAdapter, HTTPAdapter}:
            raise ConfigError(
                f"cannot make a transport of {kind.__module__}.{kind.__qualname__}: expected "
                "requests.adapters.BaseAdapter"
            )
        return Adapter(ground, name)

    def client(self, kind: type, ground: Any, service: Service, options: dict[str, Any]) -> Any:
        """A session of the class `kind` on top of the service's connection."""
        if unknown := options.keys() - SESSION_OPTIONS:
            raise ConfigError(
                f"connect({service.name!r}) does not take {', '.join(sorted(unknown))}: a session "
                f"takes {', '.join(sorted(SESSION_OPTIONS))}, the configuration says the rest"
            )
        session = session_class(kind)()
        session.flext_base_url = service.base_url
        session.flext_origin = beginning(service.base_url)
        for name, value in options.items():
            current = getattr(session, name)
            if name == "headers" or (isinstance(value, Mapping) and hasattr(current, "update")):
                current.update(value)  # pairs too: requests' own defaults stay
            else:
                setattr(session, name, value)
        adapter = Adapter(ground, service.name)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session


class Adapter(HTTPAdapter):
    """An adapter through a service's connection; closing it closes nothing else."""

    def __init__(self, ground: Any, service: str) -> None:
        super().__init__()
        self._ground, self._service = ground, service

    def send(
        self,
        request: Any,
        stream: bool = False,  # noqa: FBT001, FBT002 - requests' own signature
        timeout: Any = None,
        verify: Any = True,  # noqa: FBT002
        cert: Any = None,
        proxies: Any = None,
    ) -> Any:
        del stream  # the session reads what is not streamed
        composed = self._ground.composed(self._service)
        sending = hops_under_way.get()
        hops = sending and sending[1]
        sent = {"timeout": timeout, "verify": verify, "cert": cert, "proxies": proxies}
        view = RequestView(request, {**(hops or {}), SENT: sent})
        try:
            response = drive(edge(view, self._ground, composed, "requests"), composed.layers)
        except requests.RequestException as error:
            error.request = request
            raise
        finally:
            if hops is not None and CALL in view.extensions:
                hops[CALL] = view.extensions[CALL]
        native = response.native
        native.extensions, native.connection = response.extensions, self
        native.url = native.url or request.url
        return native

    def close(self) -> None:
        """Nothing: the pool belongs to the host."""


class RequestsWire(GatedWire):
    """One connection's pool in requests, and what the chain asks of that library."""

    library = "requests"
    _full, _timed_out = PoolTimeout, Timeout
    _consumed = staticmethod(partial(StreamConsumedError, "the request's body was sent before"))

    def __init__(self, service: Service) -> None:
        super().__init__(service, service.max_connections, asynchronous=False)
        self._defaults = {name.lower(): value for name, value in default_headers().items()}
        size = service.max_connections
        self._own = HTTPAdapter(pool_connections=1, pool_maxsize=size)
        self._bare = HTTPAdapter(pool_maxsize=size)
        base = service.base_url
        self._origin = origin(parse_url(base)) if base else None
        self._beginning = beginning(base) if base else ()

    def owns(self, request: Any) -> bool:
        if request.native.url.startswith(self._beginning):
            return True
        try:
            return origin(request.url) == self._origin
        except exceptions.LocationParseError:
            return False  # a redirect to nowhere: requests has an error of its own for it

    def build(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Any:
        if "://" not in url.partition("?")[0]:
            url = f"{(self._service.base_url or '').rstrip('/')}/{url.lstrip('/')}"
        request = requests.Request(method, url, headers=dict(headers), data=content)
        return RequestView(request.prepare(), {})

    def clone(self, request: Any) -> Any:
        native = request.native.copy()
        body = native.body
        if not isinstance(body, (bytes, str, Upload, type(None))) and not _seekable(native):
            native.body = Upload(body, self._begun)
        return RequestView(native, dict(request.extensions))

    def replayable(self, request: Any) -> bool:
        body = request.stream
        return not isinstance(body, Upload) or not body.begun

    def _patience(self, request: Any) -> float | None:
        del request  # a session's time-outs say nothing of the pool
        return self._service.timeout.pool

    async def _dispatch(self, request: Any, call: Call, left: float | None, *, own: bool) -> Any:
        service, sent = self._service, request.extensions.get(SENT, {})
        timeout = sent.get("timeout")
        timeout = service.timeout[:2] if timeout is None else timeout
        verify = sent.get("verify", True)
        proxies = sent.get("proxies")
        if service.proxy is not None:
            address = service.proxy.get_secret_value() if service.proxy else ""
            proxies = {"http": address, "https": address} if address else {}
        options: dict[str, Any] = {
            "timeout": timeout if left is None else _shortened(timeout, left),
            "verify": verify if service.verify is True else service.verify,
            "cert": sent.get("cert") or (service.cert if own else None),
            "proxies": proxies,
        }
        _check(request.native.headers)
        if _seekable(request.native):
            rewind_body(request.native)
        adapter = self._own if own else self._bare
        try:
            native = adapter.send(request.native, stream=True, **options)
        except requests.RequestException as error:
            error.request = None  # plugins have marked it: neither outer ones nor causes show it
            raise
        native.raw = Raw(native.raw, self._gate.leave, _body_limit(native.raw, call))
        return ResponseView(native, request)

    async def read(self, message: Any) -> bytes:
        if isinstance(message, RequestView):
            if not self.replayable(message):
                raise StreamConsumedError("the request's body was read before")
            body = message.stream
            if not isinstance(body, (bytes, str, type(None))):
                body = body.read() if hasattr(body, "read") else b"".join(body)
            message.stream = body.encode() if isinstance(body, str) else body
            return message.stream or b""
        raw = message.stream
        try:
            data = b"".join(raw.stream(decode_content=False))
        except exceptions.HTTPError as error:
            raise translated(error) from error
        finally:
            raw.close()
        raw.replay(data)
        return made(data, message.headers).read(decode_content=True)

    async def close(self, response: Any) -> None:
        response.stream.close()

    def respond(self, status: int, headers: Mapping[str, str] | None, content: bytes) -> Any:
        native = requests.Response()
        native.status_code = status
        native.headers.update(headers or {})
        native.headers.setdefault("Content-Length", str(len(content)))
        native.raw = Raw(made(content, native.headers, status))
        return ResponseView(native, None)

    def failure(self, error: BaseException) -> Failure | None:
        return failure_of(error)

    def watch(self, response: Any, callback: BodyEnd) -> None:
        response.stream.watch(callback)

    async def aclose(self) -> None:
        self._closed = True
        self._own.close()
        self._bare.close()


def _shortened(timeout: Any, left: float) -> Seconds:
    """A session's time-outs, for all that is waited for `left` seconds at most."""
    if not isinstance(timeout, Seconds):
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        timeout = Seconds(connect=connect, read=read)
    total: Any = timeout.total
    made: Seconds = timeout.clone()
    made.total = least(total, left)
    return made


def _body_limit(raw: Any, call: Call) -> Any:
    if call.deadline is None:
        return NO_LIMIT

    def shorten(left: float) -> None:
        sock = getattr(raw.connection, "sock", None)
        if sock is not None:
            sock.settimeout(least(sock.gettimeout(), left))

    waiting_for = f"the body of {call.service}'s answer"
    return Limit(call, waiting_for, exceptions.ReadTimeoutError, shorten, Timeout)


def _check(headers: Mapping[str, Any]) -> None:
    """Refuse what was set since requests checked; http.client's own error would quote the value."""
    for name, value in headers.items():
        if isinstance(value, str) and ("\n" in value or "\r" in value):
            raise InvalidHeader(f"header {name!r}: its value has a line break")


def _seekable(native: Any) -> bool:
    """Whether the body is a file that can be read again."""
    return hasattr(native.body, "seek") and native.body.seekable()
