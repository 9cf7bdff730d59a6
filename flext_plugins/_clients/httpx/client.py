"""The way in: transports and clients of httpx, or of a library with the same names."""

from __future__ import annotations

from functools import cache
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any

from flext_plugins._call import Hops
from flext_plugins._chain.drive import drive
from flext_plugins._clients.hop import hop
from flext_plugins._clients.httpx.messages import HttpxRequest

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
    body["__module__"] = kind.__module__
    if module.__name__ == "httpx" and kind in {module.Client, module.AsyncClient}:
        body["cookies"] = _cookies(kind, module)
    return type(kind.__name__, (kind,), body)


def _cookies(kind: Any, module: Any) -> property:
    """`kind.cookies`, which asks the jar only about answers that set one, as httpx2 does itself.

    The jar, the standard library's, takes a tenth of a call to find that there is none.
    """

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
