"""Sessions of requests: relative URLs, hops that share a call, and what is made once."""

from __future__ import annotations

from contextvars import ContextVar
from functools import cache
from typing import Any

import requests
from urllib3.util import parse_url

from .template import MOST

hops_under_way: ContextVar[dict[str, Any] | None] = ContextVar("flext_plugins.hops", default=None)
"""What the hops of one `Session.send` share."""


def beginning(address: str | None) -> str:
    """What only URLs of the same origin begin with: it ends where a host and port can but end."""
    url = parse_url(address or "")
    return f"{url.scheme}://{url.netloc}/"


@cache
def session_class(kind: type) -> Any:
    """A subclass of the session class `kind` for a service's connection."""
    base: Any = kind

    def request(self: Any, method: str, url: Any, *args: Any, **options: Any) -> Any:
        text = url.decode() if isinstance(url, bytes) else str(url)
        if "://" not in text.partition("?")[0]:
            text = f"{self.flext_base_url.rstrip('/')}/{text.lstrip('/')}"
        return base.request(self, method, text, *args, **options)

    def send(self: Any, message: Any, **options: Any) -> Any:
        if hops_under_way.get() is not None and options.get("allow_redirects") is False:
            return base.send(self, message, **options)
        token = hops_under_way.set({})
        try:
            return base.send(self, message, **options)
        finally:
            hops_under_way.reset(token)

    def merge_environment_settings(
        self: Any, url: str, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> dict[str, Any]:
        # requests goes twice through all variables for each request; httpx looks once, as this.
        if proxies or not url.startswith(self.flext_origin):
            found: dict[str, Any] = base.merge_environment_settings(
                self, url, proxies, stream, verify, cert
            )
            return found
        own = (self.trust_env, dict(self.proxies), self.stream, self.verify, self.cert)
        state, known = (*own, stream, verify, cert), vars(self).get("_flext_settings")
        if known is None or known[0] != state:
            found = base.merge_environment_settings(self, url, proxies, stream, verify, cert)
            self._flext_settings = known = state, found
        return {**known[1], "proxies": known[1]["proxies"].copy()}

    methods = [request, send, merge_environment_settings]
    if kind is requests.Session:
        methods.append(prepare_request)
    return type(kind.__name__, (kind,), {each.__name__: each for each in methods})


def prepare_request(self: Any, request: Any) -> Any:
    """`Session.prepare_request`, from what came of the same before; see `template`."""
    state = (self.trust_env, list(self.headers.items()))
    known = vars(self).get("_flext_prepared")
    if known is None or known[0] != state:
        known = self._flext_prepared = state, {}, {}
    _, methods, urls = known
    own = self.auth or self.params or self.cookies or any(self.hooks.values())
    if own or not (_is_simple(request) and f"{request.url}/".startswith(self.flext_origin)):
        return requests.Session.prepare_request(self, request)
    found = methods.get(request.method)
    if found is None:
        found = requests.Session.prepare_request(self, request)
        if "Authorization" in found.headers:  # of a .netrc
            return found
        methods[request.method] = found
    made = found.copy()
    made.hooks = {event: [*hooks] for event, hooks in found.hooks.items()}
    if request.url in urls:
        made.url = urls[request.url]
    else:
        made.prepare_url(request.url, {})
        if len(urls) >= MOST:
            urls.clear()
        urls[request.url] = made.url
    return made


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
