"""httpx's messages over aiohttp's connections, which take less of the processor.

Each message goes out as httpx has made it, and once: aiohttp's own headers, cookies, redirects and
second tries are kept out by its public means.
"""

from __future__ import annotations

import asyncio
import re
import select
import sys
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import aiohttp
from yarl import URL

from flext_plugins._clients.bodies import BodyBroke, error_of
from flext_plugins._clients.httpx.aiohttp_bodies import AnswerBody, Upload
from flext_plugins._clients.tls import FileContext

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

HEAD = 100 * 1024
"""Bytes of a header of an answer at most; h11 has as many for all together."""
MOST_HEADERS = 10_000
"""Headers of an answer at most."""
NEVER = float("inf")
"""From here on aiohttp rounds time-outs to whole seconds."""
HEADERS = re.compile(
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++\x00(?:[^\x00\s](?:[^\x00\r\n]*[^\x00\s])?)?\n)*+"
)
"""Names and values that h11 lets through."""


class AiohttpTransport:
    """An `AsyncBaseTransport` of httpx, or of a library with the same names, over aiohttp.

    Made as the library's own is; of its arguments these are heeded:

    Args:
        verify: the TLS context.
        limits: how long a connection is kept that nobody uses.
        proxy: the address of an HTTP proxy.

    Attributes:
        lib: the library.
        body: its kind of body of an answer.
    """

    lib: Any
    body: Any

    def __init__(
        self, *, verify: ssl.SSLContext, limits: Any, proxy: str | None = None, **_: object
    ) -> None:
        self._verify, self._limits = verify, limits
        self._files = verify if isinstance(verify, FileContext) else None
        self._proxy: URL | None = None
        self._proxy_headers: dict[str, str] = {}
        if proxy is not None:
            self._proxy, self._proxy_headers = _without_user(proxy)
        self._session: aiohttp.ClientSession | None = None
        self._connector: Any = None
        self.closing: asyncio.Future[None] | None = None
        """Done once it is closed."""

    async def handle_async_request(self, request: Any) -> Any:
        """Send once, and give the answer when its head is there.

        Raises:
            TransportError: the library's own, as its own transport would.
        """
        if self._files is not None and self._files.is_due:
            await asyncio.to_thread(self._files.look)
        self._refuse_no_time(request)
        session, url = self._session or self._open(), self._url(request)
        more = self._proxy_headers if url.scheme == "http" else {}
        exchange = Exchange(self.lib, request, more, self._connector)
        try:
            answer = await session.request(
                request.method,
                url,
                data=exchange.upload,
                headers=exchange.length,
                skip_auto_headers=("Content-Type",),
                allow_redirects=False,
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
                ssl=self._verify,
                server_hostname=request.extensions.get("sni_hostname"),
                timeout=exchange.timeout(is_proxied=self._proxy is not None),
                middlewares=(exchange.send,),
            )
        except BaseException as error:
            exchange.abort()
            if not isinstance(error, KINDS):
                raise
            failure = exchange.failure(error)
        else:
            return self._response(answer, exchange)
        finally:
            exchange.end()
        if self.closing is not None:
            await self.closing
            failure = self.lib.ReadError("The connection was closed", request=request)
        raise failure

    def _open(self) -> aiohttp.ClientSession:
        self._connector = Connector(
            limit=0,  # who may connect is decided before
            keepalive_timeout=self._limits.keepalive_expiry,
            timeout_ceil_threshold=NEVER,
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=HEAD,
            max_field_size=HEAD,
            max_headers=MOST_HEADERS,
        )
        return self._session

    def _refuse_no_time(self, request: Any) -> None:
        # Within a time of nothing aiohttp may well find an answer, or write all that there is.
        seconds = request.extensions.get("timeout", {})
        for phase, failure in (("write", "WriteTimeout"), ("read", "ReadTimeout")):
            if seconds.get(phase) is not None and seconds[phase] <= 0:
                raise getattr(self.lib, failure)("", request=request)

    def _url(self, request: Any) -> URL:
        url = request.url
        if url.scheme not in ("http", "https"):
            what = f"Request URL has an unsupported protocol '{url.scheme}://'."
            raise self.lib.UnsupportedProtocol(what, request=request)
        target, netloc = url.raw_path.decode("ascii"), url.netloc.decode("ascii")
        made = URL(f"{url.scheme}://{netloc}{target}", encoded=True)
        if made.raw_path_qs != target or "target" in request.extensions:
            what = f"aiohttp cannot send {target!r} as it is"
            raise self.lib.LocalProtocolError(what, request=request)
        return made

    def _response(self, answer: aiohttp.ClientResponse, exchange: Exchange) -> Any:
        version = answer.version or aiohttp.HttpVersion11
        return self.lib.Response(
            answer.status,
            headers=answer.raw_headers,
            stream=self.body(self, answer, exchange),
            extensions={
                "http_version": b"HTTP/%d.%d" % (version.major, version.minor),
                "reason_phrase": (answer.reason or "").encode("ascii", "replace"),
            },
        )

    async def aclose(self) -> None:
        """Close all connections; calls under way end before this does."""
        session, self._session = self._session, None
        if session is None:
            return
        self.closing = asyncio.get_running_loop().create_future()
        try:
            # aiohttp would wait until all is sent, and forget those who read.
            self._connector.abort()
            for _ in range(2):
                await asyncio.sleep(0)
        finally:  # a scope of anyio's cancels here again
            try:
                await session.close()
            finally:
                self.closing.set_result(None)


class Connector(aiohttp.TCPConnector):
    """aiohttp's connections, of which none is used again that the service has closed meanwhile.

    aiohttp learns of that in a turn of the event loop, which may not have come yet, and would send
    again; httpx looks at the socket, as this does.

    Attributes:
        exchanges: who gets the connection for a request.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.exchanges: dict[aiohttp.ClientRequest, Exchange] = {}
        self._used: dict[Any, Any] = {}
        """The transports of the connections that were used before, by their protocols."""

    async def connect(
        self, req: aiohttp.ClientRequest, *args: Any, **options: Any
    ) -> aiohttp.connector.Connection:
        """Get a connection that is kept, or a new one."""
        while True:
            connection = await super().connect(req, *args, **options)
            transport: Any = connection.transport
            protocol = connection.protocol
            if protocol in self._used and _is_readable(transport.get_extra_info("socket")):
                connection.close()
                continue
            if protocol not in self._used:
                for each in [each for each, its in self._used.items() if its.is_closing()]:
                    del self._used[each]
                self._used[protocol] = transport
            self.exchanges[req].begin(protocol, transport)
            return connection

    def abort(self) -> None:
        """Let go of all connections, whatever is still to be sent."""
        for each in list(self._used.values()):
            each.abort()


class Ended(Exception):
    """Carries a failure past aiohttp, which would send again for an error of its own."""

    def __init__(self, failure: BaseException) -> None:
        self.failure = failure


class Exchange:
    """One request, and what becomes of it.

    Attributes:
        upload: its body, if it has one.
        length: by this header aiohttp decides whether to send a body in chunks.
        protocol: aiohttp's end of the connection that it goes over.
        read: the time-out for reading, in seconds.
    """

    def __init__(
        self, lib: Any, request: Any, more: Mapping[str, str], connector: Connector
    ) -> None:
        self._lib, self._request, self._connector = lib, request, connector
        self._headers = [*_pairs(lib, request), *more.items()]
        self._seconds: dict[str, float | None] = request.extensions.get("timeout", {})
        self.read = self._seconds.get("read")
        headers = request.headers
        is_chunked = "Transfer-Encoding" in headers
        length = None if is_chunked else headers.get("Content-Length")
        self.upload = Upload.of(lib, request, self._seconds.get("write"), is_chunked=is_chunked)
        self.length = {} if length is None else {"Content-Length": length}
        self._sending: aiohttp.ClientRequest | None = None
        self.protocol: Any = None
        self._transport: Any = None
        self._tick: asyncio.TimerHandle | None = None

    def timeout(self, *, is_proxied: bool) -> aiohttp.ClientTimeout:
        """The time-outs of the phases in which aiohttp waits itself."""
        connect = self._seconds.get("connect")
        if connect is None and is_proxied:
            connect = self.read  # what a proxy answers is among it
        return aiohttp.ClientTimeout(
            connect=_positive(connect), sock_read=_positive(self.read), ceil_threshold=NEVER
        )

    async def send(
        self, sending: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send the request's own headers, and show aiohttp no error for which it sends again."""
        self._sending = sending
        self._connector.exchanges[sending] = self
        sending.headers.clear()
        sending.headers.extend(self._headers)
        try:
            return await handler(sending)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            ended = Ended(self.failure(error))
        raise ended

    def begin(self, protocol: Any, transport: Any) -> None:
        """Take the connection that it goes over."""
        self.protocol, self._transport = protocol, transport
        self._watch()

    def _watch(self) -> None:
        """Start the time-out for reading anew, which aiohttp drops at an answer of 1xx.

        The pause is longer than the time-out, so that whatever is due comes before.
        """
        if self.read:
            if self._tick is not None and (self.upload is None or self.upload.is_written):
                self.protocol.start_timeout()
            loop = asyncio.get_running_loop()
            self._tick = loop.call_later(1.5 * self.read, self._watch)

    def end(self) -> None:
        """Wait for the head no more."""
        if self._tick is not None:
            self._tick.cancel()
        if self._sending is not None:
            self._connector.exchanges.pop(self._sending, None)

    def abort(self) -> None:
        """Let go of the connection, whatever is still to be sent over it."""
        if self._transport is not None:
            self._transport.abort()

    def failure(self, error: BaseException) -> BaseException:
        """The library's own error instead of aiohttp's, which holds the request's headers."""
        if self.upload is not None and self.upload.broken is not None:
            broken, self.upload.broken = self.upload.broken, None  # else a circle of references
            return error_of(broken) if isinstance(broken, BodyBroke) else broken
        if isinstance(error, Ended):
            return error.failure
        name, words = next(each[1:] for each in FAILURES if isinstance(error, each[0]))
        if isinstance(error, aiohttp.ClientHttpProxyError):
            words = f"{error.status} {error.message}"
        cause = _systems_error(error)
        words = words or (cause and cause.strerror) or ""
        failure: Exception = getattr(self._lib, name)(words, request=self._request)
        failure.__cause__ = cause
        return failure


FAILURES: tuple[tuple[type[Exception], str, str], ...] = (
    (aiohttp.ClientHttpProxyError, "ProxyError", ""),
    (aiohttp.ConnectionTimeoutError, "ConnectTimeout", ""),
    (aiohttp.ClientConnectorError, "ConnectError", ""),
    (aiohttp.ServerTimeoutError, "ReadTimeout", ""),
    (
        aiohttp.ServerDisconnectedError,
        "RemoteProtocolError",
        "Server disconnected without sending a response.",
    ),
    (aiohttp.ClientOSError, "ReadError", ""),
    (aiohttp.ClientPayloadError, "RemoteProtocolError", "The body is not what was promised"),
    (aiohttp.ClientResponseError, "RemoteProtocolError", "The service did not answer in HTTP/1.1"),
    (aiohttp.ClientError, "LocalProtocolError", ""),
    (TimeoutError, "ReadTimeout", ""),
    (OSError, "ReadError", ""),
    (ValueError, "LocalProtocolError", "The method or a header cannot be sent"),
)
"""aiohttp's errors, and the library's by name and words: aiohttp's own show addresses."""
KINDS = aiohttp.ClientError, OSError, ValueError, Ended


def _systems_error(error: BaseException) -> OSError | None:
    """Find the system's own error that `error` tells of, or is."""
    places = ("certificate_error", "os_error", "__cause__")
    for each in (*(getattr(error, place, None) for place in places), error):
        if isinstance(each, OSError) and not isinstance(each, aiohttp.ClientError):
            return each
    return None


def _positive(seconds: float | None) -> float | None:
    """`seconds` for aiohttp, which takes 0 for none."""
    return seconds if seconds is None else max(seconds, 1e-6)


def _pairs(lib: Any, request: Any) -> list[tuple[str, str]]:
    """The headers as aiohttp takes them, in the order in which h11 sends them.

    Raises:
        LocalProtocolError: one cannot be sent.
    """
    raw, what = request.headers.raw, ""
    if not HEADERS.fullmatch(b"".join(b"%b\0%b\n" % pair for pair in raw)):
        what = "Illegal header name or value"
    try:
        pairs = [(name.decode(), value.decode()) for name, value in raw]
    except UnicodeDecodeError:  # which quotes the value
        what = "aiohttp sends headers in UTF-8 alone"
    if what:
        raise lib.LocalProtocolError(what, request=request)
    pairs.sort(key=lambda pair: pair[0].lower() != "host")
    return pairs


def _without_user(proxy: str) -> tuple[URL, dict[str, str]]:
    """The address of a proxy, and what it is told of the user, as httpx has it."""
    url = URL(proxy, encoded=True)
    if url.raw_user is None:
        return url, {}
    user = b":".join(unquote_to_bytes(each or "") for each in (url.raw_user, url.raw_password))
    return url.with_user(None), {"Proxy-Authorization": "Basic " + b64encode(user).decode("ascii")}


if sys.platform == "win32":

    def _is_readable(socket: Any) -> bool:
        return bool(select.select([socket], [], [], 0)[0])
else:

    def _is_readable(socket: Any) -> bool:
        poll = select.poll()
        poll.register(socket, select.POLLIN)
        return bool(poll.poll(0))


def transport_class(lib: Any) -> type[AiohttpTransport]:
    """The class for one library."""
    body = type("AnswerBody", (AnswerBody, lib.AsyncByteStream), {})
    bases = AiohttpTransport, lib.AsyncBaseTransport
    return type("AiohttpTransport", bases, {"lib": lib, "body": body})
