"""The way in: sessions of requests, and the adapter in them.

A session makes its requests from those that it prepared before, as httpx's clients do, and looks
once through the environment's settings for all requests to the own origin.
"""

from __future__ import annotations

from functools import cache, partial
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
from flext_plugins.redaction import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flext_plugins._clients.requests import RequestsLibrary
    from flext_plugins._runtime import Runtime

MOST = 128
"""Addresses that a session keeps parsed."""


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
        if (credential := _of_environment(request)) is not None:
            view.extensions[ENVIRONMENT] = credential
        del options, proxies, credential  # secrets: nobody who renders locals shall see them here
        try:
            sending = hop(view, self._runtime, composition, self._library, self)
            native = drive(sending, composition.layers)
        except requests.RequestException as error:
            error.request = request
            raise
        native.connection = self
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

    __slots__ = ("next_is_redirect",)

    def __init__(self, owner: object) -> None:
        super().__init__(owner)
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

    prepare = prepare_request if kind is requests.Session else base.prepare_request

    def prepare_with_own_header(self: Any, request: Any) -> Any:
        prepared = prepare(self, request)
        own = _own_credential(self, request)
        if own is not None and _of_environment(prepared) is not None:  # which reads the file
            prepared.headers["Authorization"] = own
        return prepared

    methods = [request, *_sending(base), _keeping_own_header(base)]
    if base.merge_environment_settings is requests.Session.merge_environment_settings:
        methods.append(merge_environment_settings)
    body: dict[str, Any] = {"flext_base_url": "", "flext_origin": ""}  # while `__init__` runs
    body["flext_adapter"] = None
    body["__attrs__"] = [*base.__attrs__, *body]  # what a copy takes over
    body["prepare_request"] = prepare_with_own_header
    return type(kind.__name__, (kind,), body | {each.__name__: each for each in methods})


def _sending(base: Any) -> tuple[Any, Any]:
    """`base.send` and `base.resolve_redirects`, with each `send` of the application's one call."""

    def send(self: Any, message: Any, **options: Any) -> Any:
        hops = _hops_of(self)
        if hops is None or not hops.next_is_redirect:
            with SessionHops(self.flext_adapter):
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
        entry = get_netrc_auth(request.url)
        if (
            entry is not None
            and HTTPBasicAuth(*entry)(_Headers()).headers["Authorization"] == value
        ):
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


def merge_environment_settings(
    self: Any, url: str, proxies: Any, stream: Any, verify: Any, cert: Any
) -> dict[str, Any]:
    """`Session.merge_environment_settings`, which goes twice through all variables each time.

    httpx looks once, as this does.
    """
    merge: Any = partial(requests.Session.merge_environment_settings, self)
    if proxies or not (self.flext_origin and url.startswith(self.flext_origin)):
        settings: dict[str, Any] = merge(url, proxies, stream, verify, cert)
        return settings
    own = (self.trust_env, dict(self.proxies), self.stream, self.verify, self.cert)
    state, known = (*own, stream, verify, cert), vars(self).get("_flext_settings")
    if known is None or known[0] != state:
        self._flext_settings = known = state, merge(url, proxies, stream, verify, cert)
    return {**known[1], "proxies": known[1]["proxies"].copy()}


def prepare_request(self: Any, request: Any) -> Any:
    """`Session.prepare_request`, from a request of the same kind that was prepared before."""
    prepare = partial(requests.Session.prepare_request, self, request)
    if self.headers is None or self.hooks is None:
        return prepare()
    state = (self.trust_env, list(self.headers.items()))
    known = vars(self).get("_flext_prepared")
    if known is None or known[0] != state:
        if any(is_secret(name) for name, _ in state[1]):
            return prepare()  # what is taken off the session must not stay here
        self._flext_prepared = known = state, {}, {}
    _, methods, urls = known
    own = self.auth or self.params or self.cookies or any(self.hooks.values())
    is_own = self.flext_origin and f"{request.url}/".startswith(self.flext_origin)
    if own or not (is_own and _is_simple(request)):
        return prepare()
    first = methods.get(request.method)
    if first is None:
        first = _prepared(request, *state)
        if "Authorization" in first.headers:  # of a .netrc
            return prepare()
        methods[request.method] = first
    again = first.copy()
    again.hooks = {event: [*hooks] for event, hooks in first.hooks.items()}
    if (url := urls.get(request.url)) is not None:
        again.url = url
    else:
        again.prepare_url(request.url, {})
        if len(urls) >= MOST:
            urls.clear()
        urls[request.url] = again.url
    return again


def _prepared(request: Any, trust_env: bool, headers: list[tuple[str, Any]]) -> Any:  # noqa: FBT001
    """Prepare `request` as a session in this state would, whatever others do to it meanwhile."""
    with requests.Session() as session:
        session.trust_env = trust_env
        session.headers.clear()
        session.headers.update(headers)
        return session.prepare_request(request)


def _is_simple(request: Any) -> bool:
    """Whether it is nothing but a method and a URL."""
    if not (request.auth is request.json is request.cookies is None):
        return False
    if type(request.url) is not str or "?" in request.url:
        return False
    for each in (request.headers, request.params, request.data, request.files):
        if type(each) not in {dict, list} or each:  # others may not say whether they are empty
            return False
    return not any(request.hooks.values())
