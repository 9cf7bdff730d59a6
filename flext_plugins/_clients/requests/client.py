"""The way in: sessions of requests, and the adapter in them."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.structures import CaseInsensitiveDict
from requests.utils import get_netrc_auth

from flext_plugins._call import Hops, hops_under_way
from flext_plugins._chain.drive import drive
from flext_plugins._clients.hop import hop
from flext_plugins._clients.requests.messages import ENVIRONMENT, OPTIONS, RequestsRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flext_plugins._clients.requests import RequestsLibrary
    from flext_plugins._runtime import Runtime


class Adapter(HTTPAdapter):
    """An adapter through a service's connection; closing it closes nothing else."""

    def __init__(self, runtime: Runtime, service: str, library: RequestsLibrary) -> None:
        super().__init__()
        self._runtime, self._service, self._library = runtime, service, library

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
        composition = self._runtime.composed(self._service)
        options = {"timeout": timeout, "verify": verify, "cert": cert, "proxies": proxies}
        view = RequestsRequest(request, {OPTIONS: options})
        trusts = getattr(hops_under_way.get(), "trusts_environment", True)
        if trusts and (credential := _of_environment(request)) is not None:
            view.extensions[ENVIRONMENT] = credential
            del credential
        del options, proxies  # secrets: nobody who renders locals shall see them here
        try:
            sending = hop(view, self._runtime, composition, self._library, self)
            native = drive(sending, composition.layers)
        except requests.RequestException as error:
            error.request = request
            raise
        native.connection, native.raw.is_passed_over = self, native.is_redirect
        native.url = native.url or request.url
        return native

    def close(self) -> None:
        """Nothing: the pool belongs to the host."""

    def __copy__(self) -> Adapter:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Adapter:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("an adapter of a host cannot be pickled: its connections stay here")


class SessionHops(Hops):
    """The hops of one `send` of a session, which sends each redirect by the same method."""

    __slots__ = ("next_is_redirect", "trusts_environment")

    def __init__(self, session: Any) -> None:
        super().__init__(session.flext_adapter)
        self.trusts_environment: bool = session.trust_env
        """Whether what plugins send meanwhile heeds the environment, as the session does."""
        self.next_is_redirect = False
        """Whether the session is about to send a redirect, and no response hook something else."""


@cache
def session_class(kind: type) -> Any:
    """A subclass of the session class `kind` for a service's connection."""
    base: Any = kind

    def request(self: Any, method: str, url: Any, *args: Any, **options: Any) -> Any:
        text = url.decode() if isinstance(url, bytes) else str(url)
        if "://" not in text.partition("?")[0]:
            text = f"{self.flext_base_url.rstrip('/')}/{text.lstrip('/')}"
        return base.request(self, method, text, *args, **options)

    def prepare_request(self: Any, request: Any) -> Any:
        prepared = base.prepare_request(self, request)
        if self.trust_env and _of_environment(prepared) is not None:
            own = _own_credential(self, request)
            if own is not None:
                prepared.headers["Authorization"] = own
        return prepared

    methods = [request, prepare_request, *_sending(base), _keeping_own_header(base)]
    body: dict[str, Any] = {"flext_base_url": "", "flext_adapter": None}  # while `__init__` runs
    body["__attrs__"] = [*base.__attrs__, *body]  # what a copy takes over
    return type(kind.__name__, (kind,), body | {each.__name__: each for each in methods})


def _sending(base: Any) -> tuple[Any, Any]:
    """`base.send` and `base.resolve_redirects`, with each `send` of the application's one call."""

    def send(self: Any, message: Any, **options: Any) -> Any:
        hops = _hops_of(self)
        if hops is None or not hops.next_is_redirect:
            with SessionHops(self):
                return base.send(self, message, **options)
        hops.next_is_redirect = False  # a response hook that sends begins a call of its own
        return base.send(self, message, **options)

    def resolve_redirects(self: Any, *args: Any, **options: Any) -> Iterator[Any]:
        following, hops = base.resolve_redirects(self, *args, **options), _hops_of(self)
        del args, options  # among them are proxies, whose addresses may be secret
        if hops is None:
            yield from following
            return
        while True:
            hops.next_is_redirect = True
            try:
                each = next(following, None)
            finally:
                hops.next_is_redirect = False
            if each is None:
                return
            yield each

    return send, resolve_redirects


def _hops_of(session: Any) -> SessionHops | None:
    """The hops that `session` is sending here, if it is."""
    hops = hops_under_way.get()
    if isinstance(hops, SessionHops) and hops.owner is session.flext_adapter:
        return hops
    return None


def _keeping_own_header(base: Any) -> Any:
    """`base.rebuild_auth`, which lets no `.netrc` replace the caller's header on a redirect."""

    def rebuild_auth(self: Any, message: Any, response: Any) -> None:
        own = message.headers.get("Authorization")
        if own == _of_environment(response.request):
            own = None
        base.rebuild_auth(self, message, response)
        if own is not None and not self.should_strip_auth(response.request.url, message.url):
            message.headers["Authorization"] = own

    return rebuild_auth


def _of_environment(request: Any) -> str | None:
    """The credential of a prepared request, if it is what the machine's `.netrc` says."""
    value = request.headers.get("Authorization")
    if isinstance(value, str) and value.startswith("Basic ") and request.url:
        with suppress(ValueError):  # it is no text, and a plain session may never have opened it
            entry = get_netrc_auth(request.url)
            if entry and HTTPBasicAuth(*entry)(_Headers()).headers["Authorization"] == value:
                return value
    return None


class _Headers:
    """The part of a request that `HTTPBasicAuth` needs."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


def _own_credential(session: Any, request: Any) -> Any:
    """The `Authorization` that the caller set as a header, which a `.netrc` would replace."""
    if request.auth or session.auth:
        return None  # these replace it by the caller's own will
    for headers in (request.headers, session.headers):
        named = CaseInsensitiveDict(headers or {})
        if "Authorization" in named:
            return named["Authorization"]
    return None
