"""The way in: transports and clients of httpx, or of a library with the same names.

A client makes its requests from those that it made before, for parsing and merging are half of what
a call costs: httpx parses a relative URL, joins it to `base_url` and parses the whole, merges
headers, cookies and parameters, and asks the cookie jar about each answer. The outcome is kept for
requests that are nothing but a method and a path of the own origin, as long as the client stays as
it was.
"""

from __future__ import annotations

from functools import cache
from http.cookiejar import CookieJar
from inspect import signature
from typing import TYPE_CHECKING, Any

from flext_plugins._call import Hops
from flext_plugins._chain.drive import drive
from flext_plugins._clients.hop import hop
from flext_plugins._clients.httpx.messages import HttpxRequest
from flext_plugins.redaction import is_secret

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import ModuleType

    from flext_plugins._clients.httpx import HttpxLibrary
    from flext_plugins._runtime import Runtime


class Transport:
    """A sync transport through a service's connection; closing it closes nothing else."""

    def __init__(self, runtime: Runtime, service: str, library: HttpxLibrary) -> None:
        self._runtime, self._service, self._library = runtime, service, library

    def handle_request(self, request: Any) -> Any:
        composition = self._runtime.composed(self._service)
        view = HttpxRequest(request, request.extensions)
        sending = hop(view, self._runtime, composition, self._library, self)
        return drive(sending, composition.layers)


class AsyncTransport:
    """An async transport through a service's connection in the running loop."""

    def __init__(self, runtime: Runtime, service: str, library: HttpxLibrary) -> None:
        self._runtime, self._service, self._library = runtime, service, library

    def handle_async_request(self, request: Any) -> Awaitable[Any]:
        composition = self._runtime.composed(self._service)
        view = HttpxRequest(request, request.extensions)
        return hop(view, self._runtime, composition, self._library, self, asynchronous=True)


@cache
def client_class(kind: type, module: ModuleType) -> Any:
    """A subclass of `kind` with each `send` a call of its own, even of the same request again."""
    base: Any = kind

    def send(self: Any, request: Any, **options: Any) -> Any:
        with Hops(self.flext_transport):
            return base.send(self, request, **options)

    async def asend(self: Any, request: Any, **options: Any) -> Any:
        with Hops(self.flext_transport):
            return await base.send(self, request, **options)

    asend.__name__, asend.__qualname__ = send.__name__, send.__qualname__
    body: dict[str, Any] = {"flext_transport": None}
    body["send"] = asend if issubclass(kind, module.AsyncClient) else send
    body |= {**_prepared_requests(kind, module), "__module__": kind.__module__}
    return type(kind.__name__, (kind,), body)


MOST = 128
"""Addresses that a client keeps parsed."""
_PREPARED = "_flext_prepared"
"""Where a client keeps its `Prepared`."""


class Prepared:
    """A request for each method, parsed addresses, and what the client was like then."""

    __slots__ = ("_base_url", "_headers", "_is_secret", "_methods", "_origin", "base", "urls")

    def __init__(self, client: Any) -> None:
        self._base_url, self._headers = client.base_url, client.headers.raw
        self._is_secret = any(is_secret(name) for name in client.headers)
        if self._is_secret:  # what is taken off the client must not stay here
            self._headers = []
        base = self._base_url
        text = str(base)
        if base.raw_path == b"/" and not text.endswith("/"):
            text += "/"  # which httpx does not write
        is_plain = base.host and text.startswith("http") and not {"?", "#"} & {*text}
        self.base = text if is_plain and text.endswith("/") else None
        self._origin = base.raw_scheme, base.raw_host, base.port
        self._methods: dict[str, Any] = {}
        self.urls: dict[str, Any] = {}

    def hold(self, client: Any) -> bool:
        """Whether `client` makes the same requests still; its URL is immutable."""
        if self._base_url is not client.base_url:
            return False
        # With a secret among them nothing is made of the headers: they need not be the same.
        return self._is_secret or self._headers == client.headers.raw

    def joined(self, url: str) -> str | None:
        """`url` as an address, if it is a path that needs no more than to be put behind the base.

        Parsed once then, not before and after; any other is the library's to join.
        """
        if self.base and url[:1] == "/" and url[1:2] != "/" and "#" not in url:
            return self.base + url[1:]
        return None

    def of(self, method: str, target: Any, module: Any) -> Any:
        """A request of that method, as the client was then, whatever others do to it meanwhile."""
        request = self._methods.get(method)
        if request is None:
            headers = module.Headers(self._headers)
            request = self._methods[method] = module.Request(method, target, headers=headers)
        return request

    def parsed(self, url: str, module: Any) -> Any:
        """The address that `url` means, if it is the own origin's and surely no secret."""
        address = self.urls.get(url)
        if address is None and not (self._is_secret or "?" in url or "@" in url):
            text = self.joined(url) or url
            if not text.startswith("http"):
                return None
            address = module.URL(text)
            if (address.raw_scheme, address.raw_host, address.port) != self._origin:
                return None
            if len(self.urls) >= MOST:
                self.urls.clear()
            self.urls[url] = address
        return address


def _prepared_requests(kind: Any, module: Any) -> dict[str, Any]:
    """Methods for a subclass of the client class `kind`; none if `kind` is not httpx's own."""
    if kind not in {module.Client, module.AsyncClient}:
        return {}
    options = signature(kind.build_request).parameters.values()
    defaults = {each.name: each.default for each in options if each.kind is each.KEYWORD_ONLY}
    build, make = kind.build_request, module.Request

    def _all_unset(options: dict[str, Any]) -> bool:
        for name, value in options.items():  # noqa: SIM110 - a generator costs twice as much
            if value is not defaults.get(name, defaults):
                return False
        return True

    def build_request(self: Any, method: str, url: Any, **options: Any) -> Any:
        if type(url) is not str or not url.isprintable():
            return build(self, method, url, **options)
        prepared: Prepared | None = vars(self).get(_PREPARED)
        if prepared is None or not prepared.hold(self):
            prepared = vars(self)[_PREPARED] = Prepared(self)
        target = None
        if _all_unset(options) and not self.cookies and not self.params:
            target = prepared.parsed(url, module)
        if target is None:
            return build(self, method, prepared.joined(url) or url, **options)
        first = prepared.of(method, target, module)
        timeout = {"timeout": self.timeout.as_dict()}
        again = make(method, target, headers=first.headers, stream=first.stream, extensions=timeout)
        again.read()
        return again

    return {"build_request": build_request, "cookies": _cookies(kind, module)}


def _cookies(kind: Any, module: Any) -> property:
    """`kind.cookies`, which asks the jar only about answers that set one, as httpx2 does itself."""

    class Cookies(module.Cookies):  # type: ignore[misc]
        def __init__(self, cookies: Any) -> None:
            self.cookies = cookies

        @property
        def jar(self) -> Any:
            return self.cookies.jar

        @jar.setter
        def jar(self, value: Any) -> None:
            self.cookies.jar = value

        def extract_cookies(self, response: Any) -> None:
            own = type(self.jar).extract_cookies is not CookieJar.extract_cookies
            if own or "set-cookie" in response.headers or "set-cookie2" in response.headers:
                super().extract_cookies(response)

    def cookies(self: Any) -> Any:
        own = kind.cookies.fget(self)
        ours: Any = vars(self).get("_flext_cookies")
        if ours is None or ours.cookies is not own:
            ours = vars(self)["_flext_cookies"] = Cookies(own)
        return ours

    return property(cookies, kind.cookies.fset, doc=kind.cookies.__doc__)
